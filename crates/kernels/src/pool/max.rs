//! The largest element of a window.

use super::Window;
use crate::isa::Execution;

/// A number with a least value, which padding counts as.
pub trait Ordered: Copy + PartialOrd + Send + Sync {
    /// Not larger than any number.
    const LEAST: Self;
}

impl Ordered for f32 {
    const LEAST: f32 = f32::NEG_INFINITY;
}

impl Ordered for u8 {
    const LEAST: u8 = u8::MIN;
}

impl Ordered for i8 {
    const LEAST: i8 = i8::MIN;
}

/// `y[b, r, s, c] = max over taps (i, j) inside the image of x[b, r * stride + i * dilation - pad, ..., c]`.
pub fn max<T: Ordered>(execution: Execution, window: &Window, input: &[T], output: &mut [T]) {
    window.check(input.len(), output.len());
    let channels = window.channels;
    execution.split(output, channels.max(1), window.work(), |first, output| {
        execution.isa.vectorize(
            #[inline(always)]
            || {
                for (index, largest) in output.chunks_exact_mut(channels).enumerate() {
                    largest.fill(T::LEAST);
                    window.for_each_tap(
                        first + index,
                        #[inline(always)]
                        |start| {
                            for (largest, value) in largest.iter_mut().zip(&input[start..start + channels]) {
                                *largest = if *value > *largest { *value } else { *largest };
                            }
                        },
                    );
                }
            },
        );
    });
}
