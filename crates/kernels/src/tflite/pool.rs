//! AVERAGE_POOL_2D and MAX_POOL_2D.

use super::element::{Activation, Element, Unsupported, require};
use crate::pool::Window;
use crate::quantize::Params;

/// Pooling of integers whose parameters are the output's too. The window has no dilation, and only taps inside the
/// image count.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// The extents.
    pub window: Window,
    range: [i32; 2],
}

impl Pool {
    /// Prepares a pooling.
    pub fn new<T: Element>(
        window: Window,
        output: Params,
        activation: Activation,
    ) -> Result<Pool, Unsupported> {
        require(window.dilation == [1, 1], "dilation", "1", window.dilation[0] as f64)?;
        Ok(Pool { window, range: activation.range::<T>(output) })
    }

    /// `round_half_away(sum / count)` of the taps inside the image; a window without any is refused.
    pub fn average<T: Element>(&self, input: &[T], output: &mut [T]) -> Result<(), Unsupported> {
        self.fold(input, output, |taps| {
            let (sum, count) = taps.fold((0i32, 0), |(sum, count), x| (sum.wrapping_add(x), count + 1));
            require(count > 0, "taps inside the image", "at least one", count)?;
            Ok(if sum > 0 { (sum + count / 2) / count } else { (sum - count / 2) / count })
        })
    }

    /// The largest of the taps inside the image.
    pub fn max<T: Element>(&self, input: &[T], output: &mut [T]) {
        // Without an error in the closure there is none.
        let _ = self.fold(input, output, |taps| Ok(taps.max().unwrap_or(T::MIN)));
    }

    fn fold<T: Element>(
        &self,
        input: &[T],
        output: &mut [T],
        result: impl Fn(&mut dyn Iterator<Item = i32>) -> Result<i32, Unsupported>,
    ) -> Result<(), Unsupported> {
        let window = &self.window;
        let channels = window.channels;
        let [rows, columns] = window.output;
        assert_eq!(output.len(), window.batch * rows * columns * channels, "output length");
        assert_eq!(input.len(), window.batch * window.input[0] * window.input[1] * channels, "input length");
        // The input's rows or columns that a window covers.
        let covered = |axis: usize, output: usize| {
            let begin = output * window.stride[axis];
            let first = begin.saturating_sub(window.pad_begin[axis]);
            let end = (begin + window.kernel[axis]).saturating_sub(window.pad_begin[axis]);
            first..end.min(window.input[axis])
        };
        for (pixel, output) in output.chunks_exact_mut(channels.max(1)).enumerate() {
            let (batch, row, column) = (pixel / (rows * columns), pixel / columns % rows, pixel % columns);
            for (channel, output) in output.iter_mut().enumerate() {
                let mut taps = covered(0, row).flat_map(|y| {
                    covered(1, column).map(move |x| {
                        let pixel = (batch * window.input[0] + y) * window.input[1] + x;
                        input[pixel * channels + channel].widen()
                    })
                });
                *output = T::narrow(result(&mut taps)?.max(self.range[0]).min(self.range[1]));
            }
        }
        Ok(())
    }
}
