//! Model files to graphs and back: the only place that knows wire formats.
//!
//! What is read here comes from outside: a broken file is an error that says where and what, never a panic, and memory
//! is only taken in proportion to the bytes that are there.
#![deny(unsafe_code)] // One exception, the memory map in `file`, which says why it is sound.

mod file;
pub mod onnx;
