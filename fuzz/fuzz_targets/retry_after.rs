//! Input: headers as `name:value`, one per line.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entra_workload::fuzz::retry_after(data));
