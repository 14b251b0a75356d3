//! The mean of a window.

use super::Window;
use crate::isa::Execution;
use crate::quantize::Params;
use crate::requant::round_into;
use crate::storage::Quantized;

/// `y = (sum over taps inside the image of x) / count`, where `count` is the number of those taps or, with
/// `include_padding`, of all taps inside the image and its padding.
pub fn average_floats(
    execution: Execution,
    window: &Window,
    include_padding: bool,
    input: &[f32],
    output: &mut [f32],
) {
    window.check(input.len(), output.len());
    let channels = window.channels;
    execution.split(output, channels.max(1), window.work(), |first, output| {
        execution.isa.vectorize(
            #[inline(always)]
            || {
                for (index, sums) in output.chunks_exact_mut(channels).enumerate() {
                    sums.fill(0.0);
                    window.for_each_tap(
                        first + index,
                        #[inline(always)]
                        |start| {
                            for (sum, value) in sums.iter_mut().zip(&input[start..start + channels]) {
                                *sum += value;
                            }
                        },
                    );
                    let count = window.count(first + index, include_padding) as f32;
                    sums.iter_mut().for_each(|sum| *sum /= count);
                }
            },
        );
    });
}

/// The mean of dequantized values, quantized: ONNX Runtime's QLinearAveragePool.
///
/// `y = clamp(round_half_even((sum over taps of scale * (x - zero point)) / count / output scale + output zero
/// point))`, every operation in f32, taps in row-major order.
pub fn average_bytes<T: Quantized>(
    execution: Execution,
    window: &Window,
    include_padding: bool,
    input: &[T],
    from: Params,
    to: Params,
    output: &mut [T],
) {
    window.check(input.len(), output.len());
    let channels = window.channels;
    let bounds = [T::MIN as f32, T::MAX as f32];
    execution.split(output, channels.max(1), window.work(), |first, output| {
        let mut sums = vec![0.0f32; channels];
        execution.isa.vectorize(
            #[inline(always)]
            || {
                for (index, results) in output.chunks_exact_mut(channels).enumerate() {
                    sums.fill(0.0);
                    window.for_each_tap(
                        first + index,
                        #[inline(always)]
                        |start| {
                            for (sum, value) in sums.iter_mut().zip(&input[start..start + channels]) {
                                *sum += from.scale * (value.widen() - from.zero_point) as f32;
                            }
                        },
                    );
                    let count = window.count(first + index, include_padding) as f32;
                    for (result, sum) in results.iter_mut().zip(&sums) {
                        let real = sum / count;
                        *result = T::narrow(round_into(real / to.scale + to.zero_point as f32, bounds));
                    }
                }
            },
        );
    });
}
