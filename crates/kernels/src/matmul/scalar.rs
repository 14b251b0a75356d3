//! The definitions of matrix products.

use super::Extent;
use crate::gemm::{clamp, pick};
use crate::requant::Requantization;
use crate::storage::Quantized;

/// f32: fused multiply-adds in order, bias last, then the clamp.
pub fn multiply_floats(
    extent: Extent,
    input: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    range: [f32; 2],
    output: &mut [f32],
) {
    for (index, result) in output.iter_mut().enumerate() {
        let (row, column) = (index / extent.outputs, index % extent.outputs);
        let row = &input[row * extent.depth..][..extent.depth];
        let weights = &weights[column * extent.depth..][..extent.depth];
        let sum: f32 = row.iter().zip(weights).fold(0.0, |sum, (x, w)| x.mul_add(*w, sum));
        *result = clamp(sum + bias.map_or(0.0, |bias| bias[column]), range);
    }
}

/// 8-bit: `requantize(sum)` of [`sums`].
#[allow(clippy::too_many_arguments)]
pub fn multiply_bytes<T: Quantized>(
    extent: Extent,
    input: &[T],
    input_zero_point: i32,
    weights: &[i8],
    weight_zero_points: &[i32],
    bias: Option<&[i32]>,
    requantization: &Requantization,
    output: &mut [T],
) {
    sums(extent, input, input_zero_point, weights, weight_zero_points, bias, output.len(), |index, sum| {
        output[index] = T::narrow(requantization.apply(sum, index % extent.outputs));
    });
}

/// 8-bit: `f32(sum) * scale` of [`sums`], with one scale for all outputs or one for each.
#[allow(clippy::too_many_arguments)]
pub fn multiply_bytes_to_floats<T: Quantized>(
    extent: Extent,
    input: &[T],
    input_zero_point: i32,
    weights: &[i8],
    weight_zero_points: &[i32],
    bias: Option<&[i32]>,
    scales: &[f32],
    output: &mut [f32],
) {
    sums(extent, input, input_zero_point, weights, weight_zero_points, bias, output.len(), |index, sum| {
        let scale = if scales.len() == 1 { scales[0] } else { scales[index % extent.outputs] };
        output[index] = sum as f32 * scale;
    });
}

/// Calls `body` with the index of each of `count` results and
/// `bias + sum of (x - x zero point) * (w - w zero point)` in wrapping 32-bit arithmetic.
#[allow(clippy::too_many_arguments)]
pub fn sums<T: Quantized>(
    extent: Extent,
    input: &[T],
    input_zero_point: i32,
    weights: &[i8],
    weight_zero_points: &[i32],
    bias: Option<&[i32]>,
    count: usize,
    mut body: impl FnMut(usize, i32),
) {
    for index in 0..count {
        let (row, column) = (index / extent.outputs, index % extent.outputs);
        let row = &input[row * extent.depth..][..extent.depth];
        let weights = &weights[column * extent.depth..][..extent.depth];
        let weight_zero_point = pick(weight_zero_points, column);
        let mut sum = bias.map_or(0, |bias| bias[column]);
        for (x, w) in row.iter().zip(weights) {
            sum = sum.wrapping_add((x.widen() - input_zero_point) * (i32::from(*w) - weight_zero_point));
        }
        body(index, sum);
    }
}
