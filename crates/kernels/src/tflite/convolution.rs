//! CONV_2D, DEPTHWISE_CONV_2D and TRANSPOSE_CONV.

use super::accumulate::{Accumulator, Product, dot, fixed_requantization};
use super::element::{Activation, Element, Unsupported};
use crate::convolution::Geometry;
use crate::quantize::Params;
use crate::requant::Requantization;

/// A convolution, or with [`Convolution::transposed`] a transposed one, on integers.
///
/// `y[b, r, s, o] = requantize(bias[o] + sum over taps (i, j) inside the image and channels c of (x[b, r * stride + i *
/// dilation - pad, ..., c] - x zero point) * (w[o, i, j, c] - w zero point))`. The bias has the scale `input scale *
/// weight scale`. A depthwise convolution has as many groups as input channels; its weights are transposed from the
/// file's `[1, height, width, output channel]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Convolution {
    /// The extents; [`Convolution::transposed`] says how it reads them.
    pub geometry: Geometry,
    /// The zero point of the input.
    pub input_zero_point: i32,
    /// The zero point of the weights: 0 but for `u8`.
    pub weight_zero_point: i32,
    /// From sums to outputs.
    pub requantization: Requantization,
}

impl Convolution {
    /// Prepares a convolution of `T` activations: `i8` and `i16` with `i8` weights of zero point 0 and one scale or
    /// one for each output channel, or `u8` with `u8` weights of one scale.
    pub fn new<T: Element>(
        geometry: Geometry,
        input: Params,
        weight_scales: &[f32],
        weight_zero_point: i32,
        output: Params,
        activation: Activation,
    ) -> Result<Convolution, Unsupported> {
        assert!([1, geometry.output_channels].contains(&weight_scales.len()), "a scale for each channel");
        let product = if T::MIN == 0 { Product::Single } else { Product::Double };
        Ok(Convolution {
            geometry,
            input_zero_point: input.zero_point,
            weight_zero_point,
            requantization: fixed_requantization::<T>(product, input, weight_scales, output, activation)?,
        })
    }

    /// Convolves. Sums and bias have 32 bits for 8-bit activations and 64 for `i16` ones, or 32 if the file says so.
    pub fn run<T: Element, W: Element, A: Accumulator>(
        &self,
        input: &[T],
        weights: &[W],
        bias: Option<&[A]>,
        output: &mut [T],
    ) {
        let zero_points = |_| self.input_zero_point;
        let operands = (input, weights, self.weight_zero_point);
        convolve(&self.geometry, operands, zero_points, output, |sum, _, channel| {
            self.finish(sum, bias, channel)
        });
    }

    /// Convolves transposed: every input pixel adds its products to the outputs that it reaches.
    ///
    /// `y[b, r, s, o] = requantize(bias[o] + sum over taps (i, j), input pixels (r', s') with r' * stride + i - pad =
    /// r, ..., and channels c of (x[b, r', s', c] - x zero point) * (w[o, i, j, c] - w zero point))`. Of the geometry,
    /// `pad_begin` is what is cut off above and left of the output; dilation and groups are 1.
    pub fn transposed<T: Element, W: Element, A: Accumulator>(
        &self,
        input: &[T],
        weights: &[W],
        bias: Option<&[A]>,
        output: &mut [T],
    ) {
        let geometry = &self.geometry;
        geometry.check(input.len(), output.len());
        assert_eq!(weights.len(), geometry.weight_len(), "weight length");
        assert!(geometry.groups == 1 && geometry.dilation == [1, 1], "one group without dilation");
        let inputs = geometry.input_channels;
        let [rows, columns] = geometry.output;
        let source = |axis: usize, output: usize, tap: usize| -> Option<usize> {
            let position = (output + geometry.pad_begin[axis]).checked_sub(tap)?;
            let index = position / geometry.stride[axis];
            (position.is_multiple_of(geometry.stride[axis]) && index < geometry.input[axis]).then_some(index)
        };
        for (pixel, output) in output.chunks_exact_mut(geometry.output_channels.max(1)).enumerate() {
            let (batch, row, column) = (pixel / (rows * columns), pixel / columns % rows, pixel % columns);
            for (channel, output) in output.iter_mut().enumerate() {
                let mut sum = A::ZERO;
                for tap_row in 0..geometry.kernel[0] {
                    let Some(source_row) = source(0, row, tap_row) else { continue };
                    for tap_column in 0..geometry.kernel[1] {
                        let Some(source_column) = source(1, column, tap_column) else { continue };
                        let pixel =
                            (batch * geometry.input[0] + source_row) * geometry.input[1] + source_column;
                        let tap = (channel * geometry.kernel[0] + tap_row) * geometry.kernel[1] + tap_column;
                        sum = dot(
                            sum,
                            &input[pixel * inputs..][..inputs],
                            self.input_zero_point.wrapping_neg(),
                            &weights[tap * inputs..][..inputs],
                            self.weight_zero_point.wrapping_neg(),
                        );
                    }
                }
                *output = self.finish(sum, bias, channel);
            }
        }
    }

    #[inline(always)]
    fn finish<T: Element, A: Accumulator>(&self, sum: A, bias: Option<&[A]>, channel: usize) -> T {
        let sum = bias.map_or(sum, |bias| sum.plus(bias[channel]));
        T::narrow(sum.finish(&self.requantization, channel))
    }
}

/// Calls `finish` with every output's sum, image and channel. Zero points are those of input images and of the weights.
#[inline(always)]
pub(crate) fn convolve<T: Element, W: Element, A: Accumulator, U>(
    geometry: &Geometry,
    (input, weights, weight_zero_point): (&[T], &[W], i32),
    zero_point: impl Fn(usize) -> i32,
    output: &mut [U],
    finish: impl Fn(A, usize, usize) -> U,
) {
    geometry.check(input.len(), output.len());
    assert_eq!(weights.len(), geometry.weight_len(), "weight length");
    let inputs = geometry.group_inputs();
    let outputs = geometry.group_outputs();
    let [rows, columns] = geometry.output;
    for (pixel, output) in output.chunks_exact_mut(geometry.output_channels.max(1)).enumerate() {
        let (batch, row, column) = (pixel / (rows * columns), pixel / columns % rows, pixel % columns);
        let offset = zero_point(batch).wrapping_neg();
        for (channel, output) in output.iter_mut().enumerate() {
            let mut sum = A::ZERO;
            for tap_row in 0..geometry.kernel[0] {
                let Some(source_row) = geometry.source(0, row, tap_row) else { continue };
                for tap_column in 0..geometry.kernel[1] {
                    let Some(source_column) = geometry.source(1, column, tap_column) else { continue };
                    let pixel = (batch * geometry.input[0] + source_row) * geometry.input[1] + source_column;
                    let first = pixel * geometry.input_channels + channel / outputs * inputs;
                    let tap = (channel * geometry.kernel[0] + tap_row) * geometry.kernel[1] + tap_column;
                    sum = dot(
                        sum,
                        &input[first..first + inputs],
                        offset,
                        &weights[tap * inputs..][..inputs],
                        weight_zero_point.wrapping_neg(),
                    );
                }
            }
            *output = finish(sum, batch, channel);
        }
    }
}
