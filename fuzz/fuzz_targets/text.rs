//! Fuzzes the text form of graphs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| calipers_fuzzing::text(bytes));
