//! What is in the file of the service-account token.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entra_workload::fuzz::jwt(data));
