//! The definitions of convolution.

use super::Geometry;
use crate::gemm::{clamp, pick};
use crate::requant::Requantization;
use crate::storage::Quantized;

/// f32: fused multiply-adds in the order of taps and channels, bias last, then the clamp.
pub fn convolve_floats(
    geometry: &Geometry,
    input: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    range: [f32; 2],
    output: &mut [f32],
) {
    for_each_output(geometry, |index, channel, window| {
        let mut sum = 0.0f32;
        window(&mut |x, w| sum = input[x].mul_add(weights[w], sum));
        output[index] = clamp(sum + bias.map_or(0.0, |bias| bias[channel]), range);
    });
}

/// 8-bit: `requantize(bias + sum of (x - x zero point) * (w - w zero point))` in wrapping 32-bit arithmetic.
///
/// `weight_zero_points` has one value for all output channels or one for each.
#[allow(clippy::too_many_arguments)]
pub fn convolve_bytes<T: Quantized>(
    geometry: &Geometry,
    input: &[T],
    input_zero_point: i32,
    weights: &[i8],
    weight_zero_points: &[i32],
    bias: Option<&[i32]>,
    requantization: &Requantization,
    output: &mut [T],
) {
    for_each_output(geometry, |index, channel, window| {
        let mut sum = bias.map_or(0, |bias| bias[channel]);
        let weight_zero_point = pick(weight_zero_points, channel);
        window(&mut |x, w| {
            let product = (input[x].widen() - input_zero_point) * (i32::from(weights[w]) - weight_zero_point);
            sum = sum.wrapping_add(product);
        });
        output[index] = T::narrow(requantization.apply(sum, channel));
    });
}

/// Calls `body` with the index of each output, its channel, and a walk over the indices of inputs and weights that
/// meet inside the image.
fn for_each_output(
    geometry: &Geometry,
    mut body: impl FnMut(usize, usize, &mut dyn FnMut(&mut dyn FnMut(usize, usize))),
) {
    let Geometry { kernel, output_channels, input_channels, .. } = *geometry;
    let inputs = geometry.group_inputs();
    for pixel in 0..geometry.pixels() {
        let column = pixel % geometry.output[1];
        let row = pixel / geometry.output[1] % geometry.output[0];
        let image = pixel / geometry.output[1] / geometry.output[0];
        for channel in 0..output_channels {
            let first = channel / geometry.group_outputs() * inputs;
            body(pixel * output_channels + channel, channel, &mut |meet| {
                for i in 0..kernel[0] {
                    let Some(y) = geometry.source(0, row, i) else { continue };
                    for j in 0..kernel[1] {
                        let Some(x) = geometry.source(1, column, j) else { continue };
                        let from = ((image * geometry.input[0] + y) * geometry.input[1] + x) * input_channels
                            + first;
                        let weight = ((channel * kernel[0] + i) * kernel[1] + j) * inputs;
                        for c in 0..inputs {
                            meet(from + c, weight + c);
                        }
                    }
                }
            });
        }
    }
}
