//! Pooling, channels-last: the largest element or the mean of a window, or of the whole image.
//!
//! Every kernel here is its own definition: one body, compiled for each instruction set, whose additions keep their
//! order.

mod average;
mod global;
mod max;
#[cfg(test)]
mod tests;

pub use average::{average_bytes, average_floats};
pub use global::{global_average_bytes, global_average_floats, global_max};
pub use max::{Ordered, max};

/// The extents of a pooling. Pairs are height, width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Images.
    pub batch: usize,
    /// Extent of an input image.
    pub input: [usize; 2],
    /// Channels.
    pub channels: usize,
    /// Extent of an output image.
    pub output: [usize; 2],
    /// Taps.
    pub kernel: [usize; 2],
    /// Distance between windows, at least 1.
    pub stride: [usize; 2],
    /// Distance between taps, at least 1.
    pub dilation: [usize; 2],
    /// Rows above and columns to the left of the image that windows begin in.
    pub pad_begin: [usize; 2],
    /// Rows below and columns to the right of the image that count as padding.
    pub pad_end: [usize; 2],
}

impl Window {
    /// Calls `body` with the index of the first channel of every input pixel in the window of an output pixel.
    #[inline(always)]
    fn for_each_tap(&self, pixel: usize, mut body: impl FnMut(usize)) {
        let column = pixel % self.output[1];
        let row = pixel / self.output[1] % self.output[0];
        let image = pixel / self.output[1] / self.output[0];
        for i in 0..self.kernel[0] {
            let Some(y) = self.source(0, row, i) else { continue };
            for j in 0..self.kernel[1] {
                let Some(x) = self.source(1, column, j) else { continue };
                body(((image * self.input[0] + y) * self.input[1] + x) * self.channels);
            }
        }
    }

    #[inline(always)]
    fn source(&self, axis: usize, output: usize, tap: usize) -> Option<usize> {
        let position = output * self.stride[axis] + tap * self.dilation[axis];
        position.checked_sub(self.pad_begin[axis]).filter(|position| *position < self.input[axis])
    }

    /// Taps of an output pixel's window that lie in the image, or in the image and its padding.
    fn count(&self, pixel: usize, include_padding: bool) -> usize {
        let along = |axis: usize, output: usize| {
            (0..self.kernel[axis])
                .filter(|tap| {
                    let position = output * self.stride[axis] + tap * self.dilation[axis];
                    if include_padding {
                        position < self.pad_begin[axis] + self.input[axis] + self.pad_end[axis]
                    } else {
                        self.source(axis, output, *tap).is_some()
                    }
                })
                .count()
        };
        along(0, pixel / self.output[1] % self.output[0]) * along(1, pixel % self.output[1])
    }

    fn work(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.channels
    }

    fn check(&self, input: usize, output: usize) {
        assert_eq!(input, self.batch * self.input[0] * self.input[1] * self.channels, "input length");
        assert_eq!(output, self.batch * self.output[0] * self.output[1] * self.channels, "output length");
    }
}
