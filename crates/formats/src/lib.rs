//! Model files to graphs and back: the only place that knows wire formats.
//!
//! What is read here comes from outside: a broken file is an error that says where and what, never a panic, and memory
//! is only taken in proportion to the bytes that are there.
#![deny(unsafe_code)] // Two exceptions, which say why they are sound: the memory map in `file`, the accessors that flatc makes.

mod file;
pub mod onnx;
pub mod tflite;
