//! Fuzzes small graphs against the definitions of their operators.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| calipers_fuzzing::programs(bytes));
