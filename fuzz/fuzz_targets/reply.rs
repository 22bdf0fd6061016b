//! Input: a response of the token endpoint. The first two bytes are the status, the rest is the
//! body.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entra_workload::fuzz::reply(data));
