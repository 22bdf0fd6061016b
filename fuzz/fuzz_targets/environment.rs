//! Variables, one a line, as `NAME=value`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entra_workload::fuzz::environment(data));
