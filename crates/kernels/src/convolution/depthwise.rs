//! Convolution with one input and one output channel in each group: vectorised across channels.

use super::Geometry;
use crate::gemm::clamp;
use crate::isa::{Execution, Supported};
use crate::requant::Requantization;
use crate::storage::Quantized;

/// `[channel][tap]` weights as `[tap][channel]`.
pub(super) fn taps_first<W: Copy>(geometry: &Geometry, weights: &[W]) -> Vec<W> {
    let taps = geometry.kernel[0] * geometry.kernel[1];
    let channels = geometry.input_channels;
    (0..taps * channels).map(|index| weights[index % channels * taps + index / channels]).collect()
}

/// [`super::scalar::convolve_floats`] for depthwise geometry.
#[allow(clippy::too_many_arguments)]
pub(super) fn convolve_floats(
    execution: Execution,
    isa: Supported,
    geometry: &Geometry,
    input: &[f32],
    taps: &[f32],
    bias: Option<&[f32]>,
    range: [f32; 2],
    output: &mut [f32],
) {
    let channels = geometry.input_channels;
    execution.split(output, channels, geometry.depth() * channels, |first, output| {
        isa.vectorize(
            #[inline(always)]
            || {
                for (index, sums) in output.chunks_exact_mut(channels).enumerate() {
                    sums.fill(0.0);
                    for_each_tap(
                        geometry,
                        first + index,
                        #[inline(always)]
                        |tap, start| {
                            let taps = &taps[tap * channels..][..channels];
                            for ((sum, x), w) in
                                sums.iter_mut().zip(&input[start..start + channels]).zip(taps)
                            {
                                *sum = x.mul_add(*w, *sum);
                            }
                        },
                    );
                    for (channel, sum) in sums.iter_mut().enumerate() {
                        *sum = clamp(*sum + bias.map_or(0.0, |bias| bias[channel]), range);
                    }
                }
            },
        );
    });
}

/// [`super::scalar::convolve_bytes`] for depthwise geometry.
#[allow(clippy::too_many_arguments)]
pub(super) fn convolve_bytes<T: Quantized>(
    execution: Execution,
    isa: Supported,
    geometry: &Geometry,
    input: &[T],
    input_zero_point: i32,
    taps: &[i32],
    bias: Option<&[i32]>,
    requantization: &Requantization,
    output: &mut [T],
) {
    let channels = geometry.input_channels;
    execution.split(output, channels, geometry.depth() * channels, |first, output| {
        let zeros = vec![0; channels];
        let offsets = bias.unwrap_or(&zeros);
        let mut sums = vec![0i32; channels];
        isa.vectorize(
            #[inline(always)]
            || {
                for (index, results) in output.chunks_exact_mut(channels).enumerate() {
                    sums.fill(0);
                    for_each_tap(
                        geometry,
                        first + index,
                        #[inline(always)]
                        |tap, start| {
                            let taps = &taps[tap * channels..][..channels];
                            for ((sum, x), w) in
                                sums.iter_mut().zip(&input[start..start + channels]).zip(taps)
                            {
                                *sum = sum.wrapping_add((x.widen() - input_zero_point) * w);
                            }
                        },
                    );
                    requantization.apply_row(&sums, offsets, 0, results);
                }
            },
        );
    });
}

/// Calls `body` with each tap inside the image and the index of the first channel of the pixel that it meets.
#[inline(always)]
fn for_each_tap(geometry: &Geometry, pixel: usize, mut body: impl FnMut(usize, usize)) {
    let column = pixel % geometry.output[1];
    let row = pixel / geometry.output[1] % geometry.output[0];
    let image = pixel / geometry.output[1] / geometry.output[0];
    for i in 0..geometry.kernel[0] {
        let Some(y) = geometry.source(0, row, i) else { continue };
        for j in 0..geometry.kernel[1] {
            let Some(x) = geometry.source(1, column, j) else { continue };
            let start = ((image * geometry.input[0] + y) * geometry.input[1] + x) * geometry.input_channels;
            body(i * geometry.kernel[1] + j, start);
        }
    }
}
