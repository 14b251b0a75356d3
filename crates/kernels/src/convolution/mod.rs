//! Two-dimensional convolution, channels-last.
//!
//! For group g, output channel o of that group, and taps (i, j):
//! `y[b, r, s, o] = finish(bias[o] + sum over i, j, c of x[b, r * stride + i * dilation - pad, ..., c] * w[o, i, j, c])`
//! where x outside the image is zero (its zero point, for 8-bit data). f32 finishes by a clamp; 8-bit data is summed
//! as `(x - x zero point) * (w - w zero point)` in 32 bits and requantized. One-dimensional data has height 1.

mod byte;
mod depthwise;
mod float;
mod gather;
pub mod scalar;
#[cfg(test)]
mod tests;

pub use byte::{ByteConstants, PackedBytes, convolve_bytes};
pub use float::{PackedFloats, convolve_floats};

/// The extents of a convolution. Pairs are height, width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Images.
    pub batch: usize,
    /// Extent of an input image.
    pub input: [usize; 2],
    /// Channels of an input image.
    pub input_channels: usize,
    /// Extent of an output image.
    pub output: [usize; 2],
    /// Channels of an output image.
    pub output_channels: usize,
    /// Taps.
    pub kernel: [usize; 2],
    /// Distance between windows, at least 1.
    pub stride: [usize; 2],
    /// Distance between taps, at least 1.
    pub dilation: [usize; 2],
    /// Rows above and columns to the left of the image that windows begin in.
    pub pad_begin: [usize; 2],
    /// Groups that the channels are split into; divides both channel counts.
    pub groups: usize,
}

impl Geometry {
    /// Input channels of one group.
    pub fn group_inputs(&self) -> usize {
        self.input_channels / self.groups
    }

    /// Output channels of one group.
    pub fn group_outputs(&self) -> usize {
        self.output_channels / self.groups
    }

    /// Products summed for one output.
    pub fn depth(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.group_inputs()
    }

    /// Output pixels of all images.
    pub fn pixels(&self) -> usize {
        self.batch * self.output[0] * self.output[1]
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.input[0] * self.input[1] * self.input_channels
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.pixels() * self.output_channels
    }

    /// Elements of the weights.
    pub fn weight_len(&self) -> usize {
        self.output_channels * self.depth()
    }

    /// Whether each group has one input and one output channel.
    pub(crate) fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.group_inputs() == 1 && self.group_outputs() == 1
    }

    /// Whether the rows of the product are the pixels of the input.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.groups == 1
            && self.kernel == [1, 1]
            && self.stride == [1, 1]
            && self.pad_begin == [0, 0]
            && self.input == self.output
    }

    /// The input's row or column that a tap meets, if it is inside; `axis` 0 is height, 1 width.
    #[inline(always)]
    pub(crate) fn source(&self, axis: usize, output: usize, tap: usize) -> Option<usize> {
        let position = output * self.stride[axis] + tap * self.dilation[axis];
        position.checked_sub(self.pad_begin[axis]).filter(|position| *position < self.input[axis])
    }

    pub(crate) fn check(&self, input: usize, output: usize) {
        assert!(
            self.groups >= 1 && self.input_channels.is_multiple_of(self.groups),
            "groups divide the inputs"
        );
        assert!(self.output_channels.is_multiple_of(self.groups), "groups divide the outputs");
        assert!(self.group_inputs() >= 1 && self.kernel[0] >= 1 && self.kernel[1] >= 1, "an empty window");
        assert_eq!(input, self.input_len(), "input length");
        assert_eq!(output, self.output_len(), "output length");
    }
}
