//! Matrix products with the right side `[outputs, depth]`: fully connected layers, Gemm and MatMul.
//!
//! `y[m, n] = finish(bias[n] + sum over k of x[m, k] * w[n, k])`. f32 finishes by a clamp; 8-bit data is summed as
//! `(x - x zero point) * (w - w zero point)` in 32 bits and requantized, or scaled to f32.

mod byte;
mod float;
pub mod scalar;
#[cfg(test)]
mod tests;

pub use byte::{PackedBytes, multiply_bytes, multiply_bytes_to_floats};
pub use float::{PackedFloats, multiply_floats};

/// The right side of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Columns of the result.
    pub outputs: usize,
    /// Products summed for one result.
    pub depth: usize,
}
