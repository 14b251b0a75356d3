//! f32 convolution by packed weights.

use super::gather::gather;
use super::{Geometry, depthwise};
use crate::gemm::{Clamped, FloatProduct, Rows, Target};
use crate::isa::{Execution, Supported};

/// The weights of one f32 convolution, packed for one instruction set.
#[derive(Clone)]
pub struct PackedFloats(Packed);

#[derive(Clone)]
enum Packed {
    /// `[tap][channel]`.
    Depthwise(Supported, Vec<f32>),
    /// One product for each group.
    Products(Supported, Vec<FloatProduct>),
}

impl PackedFloats {
    /// Packs `[output channel, height, width, input channel of the group]` weights.
    ///
    /// Only the channel counts, kernel and groups of the geometry matter.
    pub fn pack(isa: Supported, geometry: &Geometry, weights: &[f32]) -> PackedFloats {
        assert_eq!(weights.len(), geometry.weight_len(), "weight length");
        if geometry.is_depthwise() {
            return PackedFloats(Packed::Depthwise(isa, depthwise::taps_first(geometry, weights)));
        }
        let per_group = geometry.group_outputs() * geometry.depth();
        let products = (0..geometry.groups)
            .map(|group| {
                let weights = &weights[group * per_group..][..per_group];
                FloatProduct::pack(isa, geometry.group_outputs(), geometry.depth(), weights)
            })
            .collect();
        PackedFloats(Packed::Products(isa, products))
    }
}

/// Convolves f32 data; `range` is the clamp of the fused activation, infinite for none.
pub fn convolve_floats(
    execution: Execution,
    geometry: &Geometry,
    input: &[f32],
    weights: &PackedFloats,
    bias: Option<&[f32]>,
    range: [f32; 2],
    output: &mut [f32],
) {
    geometry.check(input.len(), output.len());
    match &weights.0 {
        Packed::Depthwise(isa, taps) => {
            depthwise::convolve_floats(execution, *isa, geometry, input, taps, bias, range, output);
        }
        Packed::Products(isa, products) => {
            let outputs = geometry.group_outputs();
            for (group, product) in products.iter().enumerate() {
                let rows = Patches { geometry, input, group };
                let bias = bias.map(|bias| &bias[group * outputs..][..outputs]);
                let epilogue = Clamped { isa: *isa, bias, range };
                let target = Target {
                    output: &mut *output,
                    stride: geometry.output_channels,
                    offset: group * outputs,
                };
                product.run(execution, geometry.pixels(), &rows, &epilogue, target);
            }
        }
    }
}

/// Output pixels as rows of the inputs that they see.
struct Patches<'a> {
    geometry: &'a Geometry,
    input: &'a [f32],
    group: usize,
}

impl Rows<f32> for Patches<'_> {
    fn in_place(&self, depth: usize) -> Option<(&[f32], usize)> {
        let channels = self.geometry.input_channels;
        (self.geometry.is_pointwise() && depth == channels).then_some((self.input, channels))
    }

    #[inline(always)]
    fn gather(&self, first: usize, stride: usize, output: &mut [f32]) {
        gather(
            self.geometry,
            self.input,
            self.group,
            0.0,
            #[inline(always)]
            |from, to| to.copy_from_slice(from),
            first,
            stride,
            output,
        );
    }
}
