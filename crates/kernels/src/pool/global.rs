//! The mean or the largest element of whole images.

use super::Ordered;
use crate::isa::Execution;
use crate::quantize::Params;
use crate::requant::{Requantization, Rule};
use crate::storage::Quantized;

/// `y[b, c] = (sum over pixels p of x[b, p, c]) / pixels`, pixels in order.
pub fn global_average_floats(
    execution: Execution,
    pixels: usize,
    channels: usize,
    input: &[f32],
    output: &mut [f32],
) {
    check(pixels, input.len(), output.len());
    execution.split(output, channels.max(1), pixels * channels, |first, output| {
        execution.isa.vectorize(
            #[inline(always)]
            || {
                for (image, sums) in output.chunks_exact_mut(channels).enumerate() {
                    sums.fill(0.0);
                    let start = (first + image) * pixels * channels;
                    for pixel in input[start..start + pixels * channels].chunks_exact(channels) {
                        for (sum, value) in sums.iter_mut().zip(pixel) {
                            *sum += value;
                        }
                    }
                    sums.iter_mut().for_each(|sum| *sum /= pixels as f32);
                }
            },
        );
    });
}

/// The mean of an image by integer sums: ONNX Runtime's QLinearGlobalAveragePool.
///
/// `y = requantize(sum over pixels of (x - zero point))` with the multiplier
/// `input scale / (output scale * pixels)`, computed in f32.
pub fn global_average_bytes<T: Quantized>(
    execution: Execution,
    pixels: usize,
    channels: usize,
    input: &[T],
    from: Params,
    to: Params,
    output: &mut [T],
) {
    check(pixels, input.len(), output.len());
    let requantization = Requantization {
        rule: Rule::OnnxRuntime(vec![from.scale / (to.scale * pixels as f32)]),
        zero_point: to.zero_point,
        min: T::MIN,
        max: T::MAX,
    };
    execution.split(output, channels.max(1), pixels * channels, |first, output| {
        let offsets = vec![(pixels as i32).wrapping_mul(from.zero_point).wrapping_neg(); channels];
        let mut sums = vec![0i32; channels];
        execution.isa.vectorize(
            #[inline(always)]
            || {
                for (image, results) in output.chunks_exact_mut(channels).enumerate() {
                    sums.fill(0);
                    let start = (first + image) * pixels * channels;
                    for pixel in input[start..start + pixels * channels].chunks_exact(channels) {
                        for (sum, value) in sums.iter_mut().zip(pixel) {
                            *sum = sum.wrapping_add(value.widen());
                        }
                    }
                    requantization.apply_row(&sums, &offsets, 0, results);
                }
            },
        );
    });
}

/// `y[b, c] = max over pixels p of x[b, p, c]`.
pub fn global_max<T: Ordered>(
    execution: Execution,
    pixels: usize,
    channels: usize,
    input: &[T],
    output: &mut [T],
) {
    check(pixels, input.len(), output.len());
    execution.split(output, channels.max(1), pixels * channels, |first, output| {
        execution.isa.vectorize(
            #[inline(always)]
            || {
                for (image, largest) in output.chunks_exact_mut(channels).enumerate() {
                    largest.fill(T::LEAST);
                    let start = (first + image) * pixels * channels;
                    for pixel in input[start..start + pixels * channels].chunks_exact(channels) {
                        for (largest, value) in largest.iter_mut().zip(pixel) {
                            *largest = if *value > *largest { *value } else { *largest };
                        }
                    }
                }
            },
        );
    });
}

fn check(pixels: usize, input: usize, output: usize) {
    assert_eq!(input, output * pixels, "input length");
}
