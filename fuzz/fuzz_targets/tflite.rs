//! Fuzzes the TFLite reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| calipers_fuzzing::tflite(bytes));
