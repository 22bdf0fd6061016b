//! Headers, one a line, as `name:value`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entra_workload::fuzz::retry_after(data));
