//! Fuzzes the ONNX reader and writer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| calipers_fuzzing::onnx(bytes));
