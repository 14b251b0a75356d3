//! The definitions of TFLite's quantized operators, equal bit by bit to LiteRT's reference kernels
//! (`OpResolverType.BUILTIN_REF`).
//!
//! An operator is a struct that is prepared once from scales, zero points and attributes and then run on slices.
//! Data is channels-last. Convolution weights are `[output channel, taps..., input channel of the group]`, those of a
//! depthwise convolution too (the file has its output channels last); matrix weights are `[output, input]`. 4-bit
//! weights are given unpacked. Scales are those of the file; `i8` activations may have any zero point, `i16` ones
//! have zero point 0, as their weights have.
//!
//! Scalar definitions as they are, they are not fast. The requantization of an 8-bit convolution or fully connected layer
//! goes to the packed kernels of [`crate::convolution`] and [`crate::matmul`] too, with the same results.
//!
//! Where the reference's C++ leaves a result undefined (a conversion that does not fit, a signed overflow), these
//! definitions take what x86-64 gives: the smallest integer, a wrapped sum.
//!
//! Lengths that do not fit the stated shapes are errors of the caller and panic. Parameters that LiteRT refuses or
//! aborts on are [`Unsupported`].

mod element;
mod gemmlowp;

mod fixed;

mod accumulate;
pub mod broadcast;

pub mod convolution;
pub mod hybrid;
pub mod hybrid_lstm;
pub mod matmul;

pub mod binary;
pub mod lookup;
pub mod lstm;
pub mod pool;
pub mod quantize;
pub mod reduce;
pub mod resize;
pub mod sigmoid;
pub mod softmax;
pub mod unary;

#[cfg(test)]
mod tests;

pub use accumulate::Accumulator;
pub use element::{Activation, Element, Unsupported};
pub use fixed::FixedMultiplier;
