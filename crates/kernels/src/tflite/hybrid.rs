//! Dynamic-range arithmetic: f32 activations that are quantized on the fly and `i8` weights.

use super::convolution::convolve;
use super::element::{Activation, Unsupported, require, truncate};
use super::matmul::MatrixShapes;
use crate::convolution::Geometry;

/// Rows of f32 as `i8`: `x = scale * (q - zero point)`, each row with its own parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedRows {
    /// The integers.
    pub values: Vec<i8>,
    /// The scale of each row; 1 for a row of zeros.
    pub scales: Vec<f32>,
    /// The zero point of each row.
    pub zero_points: Vec<i32>,
}

impl QuantizedRows {
    /// Quantizes rows of `depth` elements.
    ///
    /// Symmetric: `scale = max |x| / 127`, `q = clamp(round_half_away(x * (127 / max |x|)), -127, 127)`. Asymmetric:
    /// the range with zero in it is spread over -128..=127, the zero point is rounded, and `q =
    /// clamp(round_half_away(x * (1 / scale)) + zero point, -128, 127)`. This is what LiteRT computes where it has
    /// vector instructions; elsewhere the last bits of asymmetric scales differ.
    pub fn new(depth: usize, input: &[f32], asymmetric: bool) -> QuantizedRows {
        let rows = input.len() / depth.max(1);
        let mut quantized = QuantizedRows {
            values: vec![0; input.len()],
            scales: Vec::with_capacity(rows),
            zero_points: Vec::with_capacity(rows),
        };
        let pairs = input.chunks_exact(depth.max(1)).zip(quantized.values.chunks_exact_mut(depth.max(1)));
        for (row, values) in pairs {
            let (scale, zero_point) =
                if asymmetric { quantize_asymmetric(row, values) } else { quantize_symmetric(row, values) };
            quantized.scales.push(scale);
            quantized.zero_points.push(zero_point);
        }
        quantized
    }

    fn row(&self, row: usize, depth: usize) -> &[i8] {
        &self.values[row * depth..][..depth]
    }
}

/// The smallest and the largest element, the first of equal ones.
fn bounds(row: &[f32]) -> [f32; 2] {
    let first = row.first().copied().unwrap_or(0.0);
    row.iter().fold([first, first], |[min, max], x| {
        [if *x < min { *x } else { min }, if *x < max { max } else { *x }]
    })
}

fn quantize_symmetric(row: &[f32], values: &mut [i8]) -> (f32, i32) {
    let [min, max] = bounds(row);
    let range = if min.abs() < max.abs() { max.abs() } else { min.abs() };
    if range == 0.0 {
        values.fill(0);
        return (1.0, 0);
    }
    let inverse = 127.0 / range;
    for (value, x) in values.iter_mut().zip(row) {
        *value = truncate((x * inverse).round()).clamp(-127, 127) as i8;
    }
    (range / 127.0, 0)
}

fn quantize_asymmetric(row: &[f32], values: &mut [i8]) -> (f32, i32) {
    let [min, max] = bounds(row);
    let (min, max) = (min.min(0.0), max.max(0.0));
    if min == max {
        values.fill(0);
        return (1.0, 0);
    }
    let scale = f64::from(max - min) / 255.0;
    let (min, max) = (f64::from(min), f64::from(max));
    let from_min_is_closer = 128.0 + (min / scale).abs() < 127.0 + (max / scale).abs();
    let zero_point = if from_min_is_closer { -128.0 - min / scale } else { 127.0 - max / scale };
    let zero_point = zero_point.clamp(-128.0, 127.0).round() as i32;
    let scale = scale as f32;
    let inverse = 1.0 / scale;
    for (value, x) in values.iter_mut().zip(row) {
        let steps = truncate((x * inverse).round());
        *value = steps.wrapping_add(zero_point).clamp(-128, 127) as i8;
    }
    (scale, zero_point)
}

/// `sum of (row - zero point) * weights`, where the zero point's part is subtracted at the end.
#[inline(always)]
fn dot(row: &[i8], zero_point: i32, weights: impl Iterator<Item = i8> + Clone) -> i32 {
    let sum = |values: &mut dyn Iterator<Item = i32>| values.fold(0i32, i32::wrapping_add);
    let products = sum(&mut row.iter().zip(weights.clone()).map(|(x, w)| i32::from(*x) * i32::from(w)));
    if zero_point == 0 {
        return products;
    }
    products.wrapping_sub(zero_point.wrapping_mul(sum(&mut weights.map(i32::from))))
}

fn clamp(value: f32, [min, max]: [f32; 2]) -> f32 {
    let value = if value < min { min } else { value };
    if max < value { max } else { value }
}

/// An operator whose `i8` weights have zero point 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Hybrid {
    /// One scale or one for each output channel.
    pub weight_scales: Vec<f32>,
    /// Whether rows are quantized asymmetrically, where the operator has the choice.
    pub asymmetric: bool,
    /// The fused activation.
    pub activation: Activation,
}

impl Hybrid {
    /// FULLY_CONNECTED: `y[b, o] = activate(bias[o] + (sum of (q[b, d] - zero point) * w[o, d]) * scale)`, where scale
    /// is `row scale * weight scale`.
    pub fn fully_connected(
        &self,
        [units, depth]: [usize; 2],
        input: &[f32],
        weights: &[i8],
        bias: Option<&[f32]>,
        output: &mut [f32],
    ) {
        assert_eq!(weights.len(), units * depth, "weight length");
        assert_eq!(input.len() * units, output.len() * depth, "lengths");
        let rows = QuantizedRows::new(depth, input, self.asymmetric);
        let range = self.activation.float_range();
        for (batch, output) in output.chunks_exact_mut(units.max(1)).enumerate() {
            for (unit, output) in output.iter_mut().enumerate() {
                let column = weights[unit * depth..][..depth].iter().copied();
                let sum = dot(rows.row(batch, depth), rows.zero_points[batch], column);
                let scale = rows.scales[batch] * self.weight_scale(unit);
                let sum = bias.map_or(0.0, |bias| bias[unit]) + sum as f32 * scale;
                *output = if self.activation == Activation::None { sum } else { clamp(sum, range) };
            }
        }
    }

    /// CONV_2D; an image is a row. With differing weight scales, always asymmetric, `y = activate(sum * weight scale *
    /// image scale + bias)`; with equal ones, always symmetric and without groups, `y = activate(sum * (image scale *
    /// weight scale) + bias)`.
    pub fn convolve(
        &self,
        geometry: &Geometry,
        input: &[f32],
        weights: &[i8],
        bias: &[f32],
        output: &mut [f32],
    ) -> Result<(), Unsupported> {
        let differ = self.weight_scales.iter().any(|scale| *scale != self.weight_scales[0]);
        require(
            differ || geometry.groups == 1,
            "groups",
            "1 without a scale for each",
            geometry.groups as f64,
        )?;
        self.convolve_images(geometry, input, weights, bias, output, differ, |sum, image, weight| {
            if differ { sum * weight * image } else { sum * (image * weight) }
        });
        Ok(())
    }

    /// DEPTHWISE_CONV_2D, a convolution with as many groups as input channels: `y = activate(sum * (weight scale * image
    /// scale) + bias)`, always asymmetric.
    pub fn convolve_depthwise(
        &self,
        geometry: &Geometry,
        input: &[f32],
        weights: &[i8],
        bias: &[f32],
        output: &mut [f32],
    ) {
        self.convolve_images(geometry, input, weights, bias, output, true, |sum, image, weight| {
            sum * (weight * image)
        });
    }

    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    fn convolve_images(
        &self,
        geometry: &Geometry,
        input: &[f32],
        weights: &[i8],
        bias: &[f32],
        output: &mut [f32],
        asymmetric: bool,
        scaled: impl Fn(f32, f32, f32) -> f32,
    ) {
        let images = QuantizedRows::new(geometry.input_len() / geometry.batch.max(1), input, asymmetric);
        let range = self.activation.float_range();
        let zero_points = |image: usize| images.zero_points[image];
        convolve(geometry, (&images.values, weights, 0), zero_points, output, |sum: i32, image, channel| {
            let real = scaled(sum as f32, images.scales[image], self.weight_scale(channel));
            clamp(real + bias[channel], range)
        });
    }

    /// TRANSPOSE_CONV, as [`super::convolution::Convolution::transposed`] reads the geometry: `y = activate(sum over
    /// input pixels and channels, in this order, of (product * weight scale * image scale) + bias)` in f32, always
    /// asymmetric.
    pub fn transposed(
        &self,
        geometry: &Geometry,
        input: &[f32],
        weights: &[i8],
        bias: Option<&[f32]>,
        output: &mut [f32],
    ) {
        geometry.check(input.len(), output.len());
        assert_eq!(weights.len(), geometry.weight_len(), "weight length");
        let images = QuantizedRows::new(geometry.input_len() / geometry.batch.max(1), input, true);
        let range = self.activation.float_range();
        let inputs = geometry.input_channels;
        let [rows, columns] = geometry.output;
        let tap = |axis: usize, output: usize, input: usize| -> Option<usize> {
            let tap = (output + geometry.pad_begin[axis]).checked_sub(input * geometry.stride[axis])?;
            (tap < geometry.kernel[axis]).then_some(tap)
        };
        for (pixel, output) in output.chunks_exact_mut(geometry.output_channels.max(1)).enumerate() {
            let (image, row, column) = (pixel / (rows * columns), pixel / columns % rows, pixel % columns);
            for (channel, output) in output.iter_mut().enumerate() {
                let mut sum = 0.0f32;
                for source_row in 0..geometry.input[0] {
                    let Some(tap_row) = tap(0, row, source_row) else { continue };
                    for source_column in 0..geometry.input[1] {
                        let Some(tap_column) = tap(1, column, source_column) else { continue };
                        let pixel =
                            (image * geometry.input[0] + source_row) * geometry.input[1] + source_column;
                        let tap = (channel * geometry.kernel[0] + tap_row) * geometry.kernel[1] + tap_column;
                        let values = &images.values[pixel * inputs..][..inputs];
                        for (x, w) in values.iter().zip(&weights[tap * inputs..][..inputs]) {
                            let product = (i32::from(*x) - images.zero_points[image]) * i32::from(*w);
                            sum += product as f32 * self.weight_scale(channel) * images.scales[image];
                        }
                    }
                }
                let sum = bias.map_or(sum, |bias| sum + bias[channel]);
                *output = clamp(sum, range);
            }
        }
    }

    /// BATCH_MATMUL of a f32 left and an `i8` right operand, whose columns have one scale or one each.
    ///
    /// LiteRT mixes up the rows' parameters where more than one leading extent of the left operand is above 1; this
    /// does not.
    pub fn batch_matmul(&self, shapes: &MatrixShapes, left: &[f32], right: &[i8], output: &mut [f32]) {
        shapes.check(left.len(), right.len(), output.len());
        let (rows, depth, columns) = (shapes.rows, shapes.depth, shapes.columns);
        let mut row_major = vec![0.0; left.len()];
        for (target, source) in
            row_major.chunks_exact_mut((rows * depth).max(1)).zip(left.chunks_exact((rows * depth).max(1)))
        {
            for row in 0..rows {
                for index in 0..depth {
                    target[row * depth + index] = source[shapes.left(row, index)];
                }
            }
        }
        let quantized = QuantizedRows::new(depth, &row_major, self.asymmetric);
        shapes.for_each(|left_matrix, right_matrix, output_matrix| {
            let right = &right[right_matrix * depth * columns..];
            let output = &mut output[output_matrix * rows * columns..];
            for row in 0..rows {
                let index = left_matrix * rows + row;
                for column in 0..columns {
                    let weights = (0..depth).map(|index| right[shapes.right(index, column)]);
                    let products = dot(quantized.row(index, depth), 0, weights.clone());
                    let weight_sum: i32 = weights.map(i32::from).sum();
                    // The zero point's part is subtracted in f32.
                    let sum =
                        truncate(products as f32 - weight_sum as f32 * quantized.zero_points[index] as f32);
                    let scale = quantized.scales[index] * self.weight_scale(column);
                    output[row * columns + column] = 0.0 + scale * sum as f32;
                }
            }
        });
    }

    #[inline(always)]
    fn weight_scale(&self, channel: usize) -> f32 {
        if self.weight_scales.len() == 1 { self.weight_scales[0] } else { self.weight_scales[channel] }
    }
}
