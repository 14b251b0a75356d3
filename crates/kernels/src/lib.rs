//! Arithmetic on slices: the scalar definition of every operator and the vectorised kernels that equal it.
//!
//! Nothing here knows a graph. Spatial data is channels-last (`[batch, height, width, channels]`), convolution
//! weights are `[output channel, height, width, input channel of the group]`, matrix weights are
//! `[output, input]`. Kernels are bit-identical to their scalar definition on every instruction set and for every
//! thread count: integers by nature, floats because a definition fixes the order of its fused multiply-adds (finite
//! weights assumed: padding multiplies them by zero).
//!
//! Lengths that do not fit the stated shapes are errors of the caller and panic; callers plan with checked shapes.

pub mod isa;
pub mod requant;
pub mod storage;

mod aligned;
mod gemm;

pub mod convolution;
pub mod elementwise;
pub mod layout;
pub mod matmul;
pub mod normalize;
pub mod pool;
pub mod quantize;

pub mod tflite;

pub use isa::{Execution, Isa, Supported};
pub use requant::{Requantization, Rule};
pub use storage::Quantized;
