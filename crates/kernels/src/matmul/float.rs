//! f32 matrix products by packed weights.

use super::Extent;
use crate::gemm::{Clamped, FloatProduct, Rows, Target};
use crate::isa::{Execution, Supported};

/// The right side of an f32 product, packed for one instruction set.
#[derive(Clone)]
pub struct PackedFloats {
    isa: Supported,
    extent: Extent,
    product: FloatProduct,
}

impl PackedFloats {
    /// Packs `[outputs, depth]` weights.
    pub fn pack(isa: Supported, extent: Extent, weights: &[f32]) -> PackedFloats {
        assert_eq!(weights.len(), extent.outputs * extent.depth, "weight length");
        let product = FloatProduct::pack(isa, extent.outputs, extent.depth, weights);
        PackedFloats { isa, extent, product }
    }
}

/// Multiplies `[rows, depth]` data to `[rows, outputs]`; `range` is the clamp of the fused activation.
pub fn multiply_floats(
    execution: Execution,
    input: &[f32],
    weights: &PackedFloats,
    bias: Option<&[f32]>,
    range: [f32; 2],
    output: &mut [f32],
) {
    let extent = weights.extent;
    let count = output.len().checked_div(extent.outputs).unwrap_or(0);
    assert_eq!(output.len(), count * extent.outputs, "output length");
    assert!(extent.outputs == 0 || input.len() == count * extent.depth, "input length");
    let epilogue = Clamped { isa: weights.isa, bias, range };
    let target = Target { output, stride: extent.outputs, offset: 0 };
    weights.product.run(execution, count, &Matrix { input, depth: extent.depth }, &epilogue, target);
}

struct Matrix<'a> {
    input: &'a [f32],
    depth: usize,
}

impl Rows<f32> for Matrix<'_> {
    fn in_place(&self, depth: usize) -> Option<(&[f32], usize)> {
        (depth == self.depth).then_some((self.input, depth))
    }

    #[inline(always)]
    fn gather(&self, first: usize, stride: usize, output: &mut [f32]) {
        let rows = self.input[first * self.depth..].chunks_exact(self.depth.max(1));
        for (to, from) in output.chunks_exact_mut(stride).zip(rows) {
            to[..self.depth].copy_from_slice(from);
        }
    }
}
