//! Input: the value of a `WWW-Authenticate` header.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entra_workload::fuzz::challenge(data));
