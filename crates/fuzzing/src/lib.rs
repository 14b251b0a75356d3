//! What every fuzz target checks of its bytes; the targets in `fuzz/` and the replay in `tests/` call these functions.
//!
//! Each takes any bytes and panics when a promise is broken. A file that is refused keeps its promise.
#![forbid(unsafe_code)]

mod readers;

mod draws;
mod generator;
mod programs;

pub use programs::programs;
pub use readers::{onnx, text, tflite};
