//! 8-bit convolution by packed weights.

use super::gather::gather;
use super::{Geometry, depthwise};
use crate::gemm::{ByteProduct, ByteRows, Constants, Target, Unsigned, pick};
use crate::isa::{Execution, Supported};
use crate::requant::Requantization;
use crate::storage::Quantized;

/// What an 8-bit convolution knows before it runs, beside its weights.
#[derive(Clone, Copy, Debug)]
pub struct ByteConstants<'a> {
    /// The zero point of the input.
    pub input_zero_point: i32,
    /// Zero points of the weights: one for all output channels or one for each.
    pub weight_zero_points: &'a [i32],
    /// In units of `input scale * weight scale`, one for each output channel, or none.
    pub bias: Option<&'a [i32]>,
}

/// The weights and other constants of one 8-bit convolution with inputs of type `T`, packed for one instruction set.
#[derive(Clone)]
pub struct PackedBytes<T> {
    packed: Packed,
    input_zero_point: i32,
    storage: std::marker::PhantomData<fn() -> T>,
}

#[derive(Clone)]
enum Packed {
    Depthwise {
        isa: Supported,
        /// `[tap][channel]`, zero points taken off.
        taps: Vec<i32>,
        bias: Option<Vec<i32>>,
    },
    /// One for each group.
    Products(Vec<ByteProduct>),
}

impl<T: Quantized> PackedBytes<T> {
    /// Packs `[output channel, height, width, input channel of the group]` weights.
    ///
    /// Only the channel counts, kernel and groups of the geometry matter.
    pub fn pack(
        isa: Supported,
        geometry: &Geometry,
        weights: &[i8],
        constants: ByteConstants<'_>,
    ) -> PackedBytes<T> {
        assert_eq!(weights.len(), geometry.weight_len(), "weight length");
        PackedBytes {
            packed: pack::<T>(isa, geometry, weights, constants),
            input_zero_point: constants.input_zero_point,
            storage: std::marker::PhantomData,
        }
    }
}

fn pack<T: Quantized>(
    isa: Supported,
    geometry: &Geometry,
    weights: &[i8],
    constants: ByteConstants<'_>,
) -> Packed {
    if geometry.is_depthwise() {
        let taps = geometry.kernel[0] * geometry.kernel[1];
        let wide: Vec<i32> = weights
            .iter()
            .enumerate()
            .map(|(index, weight)| i32::from(*weight) - pick(constants.weight_zero_points, index / taps))
            .collect();
        return Packed::Depthwise {
            isa,
            taps: depthwise::taps_first(geometry, &wide),
            bias: constants.bias.map(<[i32]>::to_vec),
        };
    }
    let outputs = geometry.group_outputs();
    let products = (0..geometry.groups)
        .map(|group| {
            let channels = group * outputs..(group + 1) * outputs;
            let zero_points = match constants.weight_zero_points {
                [one] => std::slice::from_ref(one),
                each => &each[channels.clone()],
            };
            ByteProduct::pack(
                isa,
                outputs,
                geometry.depth(),
                &weights[channels.start * geometry.depth()..channels.end * geometry.depth()],
                &Constants {
                    input_zero_point: constants.input_zero_point + T::TO_UNSIGNED,
                    weight_zero_points: zero_points,
                    bias: constants.bias.map(|bias| &bias[channels]),
                },
            )
        })
        .collect();
    Packed::Products(products)
}

/// Convolves 8-bit data and requantizes the sums.
pub fn convolve_bytes<T: Quantized>(
    execution: Execution,
    geometry: &Geometry,
    input: &[T],
    weights: &PackedBytes<T>,
    requantization: &Requantization,
    output: &mut [T],
) {
    geometry.check(input.len(), output.len());
    match &weights.packed {
        Packed::Depthwise { isa, taps, bias } => depthwise::convolve_bytes(
            execution,
            *isa,
            geometry,
            input,
            weights.input_zero_point,
            taps,
            bias.as_deref(),
            requantization,
            output,
        ),
        Packed::Products(products) => {
            let outputs = geometry.group_outputs();
            let padding = (weights.input_zero_point + T::TO_UNSIGNED) as u8;
            for (group, product) in products.iter().enumerate() {
                let rows = Patches { geometry, input, group, padding };
                let first = group * outputs;
                let target = Target { output: &mut *output, stride: geometry.output_channels, offset: first };
                product.run(execution, geometry.pixels(), &rows, requantization, first, target);
            }
        }
    }
}

/// Output pixels as rows of the inputs that they see, as unsigned bytes.
struct Patches<'a, T> {
    geometry: &'a Geometry,
    input: &'a [T],
    group: usize,
    padding: u8,
}

impl<T: Quantized> ByteRows for Patches<'_, T> {
    fn in_place(&self, depth: usize) -> Option<(&[u8], usize)> {
        let channels = self.geometry.input_channels;
        if self.geometry.is_pointwise() && depth == channels {
            T::as_unsigned(self.input).map(|input| (input, channels))
        } else {
            None
        }
    }

    #[inline(always)]
    fn gather<L: Unsigned>(&self, first: usize, stride: usize, output: &mut [L]) {
        gather(
            self.geometry,
            self.input,
            self.group,
            L::from(self.padding),
            #[inline(always)]
            |from, to| L::copy(from, to),
            first,
            stride,
            output,
        );
    }
}
