//! The sum of two 8-bit tensors.

use crate::isa::Execution;
use crate::quantize::Params;
use crate::requant::round_into;
use crate::storage::Quantized;

/// The constants of an 8-bit sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Addition {
    /// `left scale / output scale`.
    pub left_ratio: f32,
    /// `right scale / output scale`.
    pub right_ratio: f32,
    /// `output zero point - (left ratio * left zero point + right ratio * right zero point)`.
    pub fixed: f32,
    /// The range of results: the storage type's, or from the zero point on when a Relu is fused.
    pub range: [i32; 2],
}

impl Addition {
    /// The constants for these operands and result, in f32 with one rounding per operation.
    pub fn new(left: Params, right: Params, output: Params, range: [i32; 2]) -> Addition {
        let left_ratio = left.scale / output.scale;
        let right_ratio = right.scale / output.scale;
        let of_zero_points = left_ratio * left.zero_point as f32 + right_ratio * right.zero_point as f32;
        Addition { left_ratio, right_ratio, fixed: output.zero_point as f32 - of_zero_points, range }
    }
}

/// `y = clamp(round_half_even(fma(a, left ratio, fma(b, right ratio, fixed))))`: ONNX Runtime's QLinearAdd on x86-64
/// with AVX2, for operands of one shape.
pub fn add_bytes<T: Quantized>(
    execution: Execution,
    addition: &Addition,
    left: &[T],
    right: &[T],
    output: &mut [T],
) {
    assert!(left.len() == output.len() && right.len() == output.len(), "lengths");
    let Addition { left_ratio, right_ratio, fixed, range } = *addition;
    let bounds = [range[0] as f32, range[1] as f32];
    execution.split(output, 1, 2, |first, output| {
        execution.isa.vectorize(
            #[inline(always)]
            || {
                let operands = left[first..].iter().zip(&right[first..]);
                for (y, (a, b)) in output.iter_mut().zip(operands) {
                    let sum = (b.widen() as f32).mul_add(right_ratio, fixed);
                    let sum = (a.widen() as f32).mul_add(left_ratio, sum);
                    *y = T::narrow(round_into(sum, bounds));
                }
            },
        );
    });
}
