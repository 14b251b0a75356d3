//! 8-bit matrix products by packed weights.

use super::Extent;
use crate::convolution::ByteConstants;
use crate::gemm::{ByteProduct, ByteRows, Constants, Target, Unsigned};
use crate::isa::{Execution, Supported};
use crate::requant::Requantization;
use crate::storage::Quantized;

/// The right side and other constants of an 8-bit product with inputs of type `T`, packed for one instruction set.
#[derive(Clone)]
pub struct PackedBytes<T> {
    extent: Extent,
    product: ByteProduct,
    storage: std::marker::PhantomData<fn() -> T>,
}

impl<T: Quantized> PackedBytes<T> {
    /// Packs `[outputs, depth]` weights.
    pub fn pack(
        isa: Supported,
        extent: Extent,
        weights: &[i8],
        constants: ByteConstants<'_>,
    ) -> PackedBytes<T> {
        assert_eq!(weights.len(), extent.outputs * extent.depth, "weight length");
        let ByteConstants { input_zero_point, weight_zero_points, bias } = constants;
        let moved =
            Constants { input_zero_point: input_zero_point + T::TO_UNSIGNED, weight_zero_points, bias };
        let product = ByteProduct::pack(isa, extent.outputs, extent.depth, weights, &moved);
        PackedBytes { extent, product, storage: std::marker::PhantomData }
    }

    fn rows(&self, input: usize, output: usize) -> usize {
        let count = output.checked_div(self.extent.outputs).unwrap_or(0);
        assert_eq!(output, count * self.extent.outputs, "output length");
        assert!(self.extent.outputs == 0 || input == count * self.extent.depth, "input length");
        count
    }
}

/// Multiplies `[rows, depth]` data to `[rows, outputs]` and requantizes the sums.
pub fn multiply_bytes<T: Quantized>(
    execution: Execution,
    input: &[T],
    weights: &PackedBytes<T>,
    requantization: &Requantization,
    output: &mut [T],
) {
    let extent = weights.extent;
    let count = weights.rows(input.len(), output.len());
    let rows = Matrix { input, depth: extent.depth };
    let target = Target { output, stride: extent.outputs, offset: 0 };
    weights.product.run(execution, count, &rows, requantization, 0, target);
}

/// Multiplies `[rows, depth]` data to `[rows, outputs]` of `f32(sum) * scale`.
///
/// `scales` are `input scale * weight scale`, one for all outputs or one for each.
pub fn multiply_bytes_to_floats<T: Quantized>(
    execution: Execution,
    input: &[T],
    weights: &PackedBytes<T>,
    scales: &[f32],
    output: &mut [f32],
) {
    let extent = weights.extent;
    let count = weights.rows(input.len(), output.len());
    let rows = Matrix { input, depth: extent.depth };
    let target = Target { output, stride: extent.outputs, offset: 0 };
    weights.product.run_to_float(execution, count, &rows, scales, target);
}

struct Matrix<'a, T> {
    input: &'a [T],
    depth: usize,
}

impl<T: Quantized> ByteRows for Matrix<'_, T> {
    fn in_place(&self, depth: usize) -> Option<(&[u8], usize)> {
        if depth == self.depth { T::as_unsigned(self.input).map(|input| (input, depth)) } else { None }
    }

    #[inline(always)]
    fn gather<L: Unsigned>(&self, first: usize, stride: usize, output: &mut [L]) {
        let rows = self.input[first * self.depth..].chunks_exact(self.depth.max(1));
        for (to, from) in output.chunks_exact_mut(stride).zip(rows) {
            L::copy(from, &mut to[..self.depth]);
        }
    }
}
