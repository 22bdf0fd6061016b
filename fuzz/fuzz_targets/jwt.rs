//! Input: the content of a token file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entra_workload::fuzz::jwt(data));
