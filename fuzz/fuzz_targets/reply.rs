//! A reply of the token endpoint: the first two bytes are its status, the rest is its body.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entra_workload::fuzz::reply(data));
