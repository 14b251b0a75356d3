//! FULLY_CONNECTED and BATCH_MATMUL.

use super::accumulate::{Accumulator, Product, dot, fixed_requantization};
use super::broadcast;
use super::element::{Activation, Element, Unsupported, require};
use crate::quantize::Params;
use crate::requant::{Requantization, Rule};

/// `y[b, o] = requantize(bias[o] + sum over d of (x[b, d] - x zero point) * (w[o, d] - w zero point))`.
#[derive(Clone, Debug, PartialEq)]
pub struct FullyConnected {
    /// Products summed for one output.
    pub depth: usize,
    /// Outputs for one row of the input.
    pub units: usize,
    /// The zero point of the input.
    pub input_zero_point: i32,
    /// The zero point of the weights; 0 when there is a scale for each output.
    pub weight_zero_point: i32,
    /// From sums to outputs.
    pub requantization: Requantization,
}

impl FullyConnected {
    /// Prepares a layer whose weights, of 8 bits or fewer, have one scale or one for each output.
    pub fn new<T: Element>(
        [units, depth]: [usize; 2],
        input: Params,
        weight_scales: &[f32],
        weight_zero_point: i32,
        output: Params,
        activation: Activation,
    ) -> Result<FullyConnected, Unsupported> {
        let reals: Vec<f64> = weight_scales
            .iter()
            .map(|weight| Product::Double.multiplier(input.scale, *weight, output.scale))
            .collect();
        for real in &reals {
            require(real.is_finite() && *real >= 0.0, "a multiplier", "finite and positive", *real)?;
        }
        let [min, max] = activation.range::<T>(output);
        let rule = Rule::TfLiteFullyConnected(reals);
        let requantization = Requantization { rule, zero_point: output.zero_point, min, max };
        FullyConnected::with([units, depth], input, weight_scales, weight_zero_point, requantization)
    }

    /// Prepares a layer of `i16` activations and `i16` weights, which has sums of 64 bits.
    pub fn of_wide_weights(
        shape: [usize; 2],
        input: Params,
        weight_scales: &[f32],
        output: Params,
        activation: Activation,
    ) -> Result<FullyConnected, Unsupported> {
        let product = if weight_scales.len() == 1 { Product::Single } else { Product::Double };
        let requantization = fixed_requantization::<i16>(product, input, weight_scales, output, activation)?;
        FullyConnected::with(shape, input, weight_scales, 0, requantization)
    }

    fn with(
        [units, depth]: [usize; 2],
        input: Params,
        weight_scales: &[f32],
        weight_zero_point: i32,
        requantization: Requantization,
    ) -> Result<FullyConnected, Unsupported> {
        assert!([1, units].contains(&weight_scales.len()), "a scale for each output");
        let weight_zero_point = if weight_scales.len() == 1 { weight_zero_point } else { 0 };
        let input_zero_point = input.zero_point;
        Ok(FullyConnected { depth, units, input_zero_point, weight_zero_point, requantization })
    }

    /// Multiplies rows. Sums have 32 bits for 8-bit activations; for `i16` ones they have the bits of the bias, 64
    /// without one.
    pub fn run<T: Element, W: Element, A: Accumulator>(
        &self,
        input: &[T],
        weights: &[W],
        bias: Option<&[A]>,
        output: &mut [T],
    ) {
        assert_eq!(weights.len(), self.units * self.depth, "weight length");
        assert_eq!(input.len() * self.units, output.len() * self.depth, "lengths");
        if self.depth == 0 || self.units == 0 {
            return;
        }
        for (row, output) in input.chunks_exact(self.depth).zip(output.chunks_exact_mut(self.units)) {
            let columns = weights.chunks_exact(self.depth);
            for (unit, (output, column)) in output.iter_mut().zip(columns).enumerate() {
                let offsets = [self.input_zero_point, self.weight_zero_point].map(i32::wrapping_neg);
                let sum = dot(A::ZERO, row, offsets[0], column, offsets[1]);
                let sum = bias.map_or(sum, |bias| sum.plus(bias[unit]));
                *output = T::narrow(sum.finish(&self.requantization, unit));
            }
        }
    }
}

/// The extents of a batched matrix product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatrixShapes {
    /// Leading extents of the left operand, as many as the right's; these are broadcast.
    pub left_batch: Vec<usize>,
    /// Leading extents of the right operand.
    pub right_batch: Vec<usize>,
    /// Rows of the left operand.
    pub rows: usize,
    /// Columns of the left and rows of the right operand.
    pub depth: usize,
    /// Columns of the right operand.
    pub columns: usize,
    /// Whether the left operand is stored as `[depth, rows]`.
    pub left_transposed: bool,
    /// Whether the right operand is stored as `[columns, depth]`.
    pub right_transposed: bool,
}

impl MatrixShapes {
    /// Calls `each` with the matrices of left, right and output operand.
    pub(crate) fn for_each(&self, mut each: impl FnMut(usize, usize, usize)) {
        let mut output = 0;
        broadcast::for_each(&self.left_batch, &self.right_batch, |left, right| {
            each(left, right, output);
            output += 1;
        });
    }

    /// Where a left matrix has its element.
    #[inline(always)]
    pub(crate) fn left(&self, row: usize, depth: usize) -> usize {
        if self.left_transposed { depth * self.rows + row } else { row * self.depth + depth }
    }

    /// Where a right matrix has its element.
    #[inline(always)]
    pub(crate) fn right(&self, depth: usize, column: usize) -> usize {
        if self.right_transposed { column * self.depth + depth } else { depth * self.columns + column }
    }

    pub(crate) fn check(&self, left: usize, right: usize, output: usize) {
        let count = |extents: &[usize]| extents.iter().product::<usize>();
        assert_eq!(left, count(&self.left_batch) * self.rows * self.depth, "length of the left operand");
        assert_eq!(
            right,
            count(&self.right_batch) * self.depth * self.columns,
            "length of the right operand"
        );
        let batch = broadcast::shape(&self.left_batch, &self.right_batch);
        assert_eq!(output, count(&batch) * self.rows * self.columns, "length of the output");
    }
}

/// `y[.., r, c] = requantize(sum over d of (left[.., r, d] - left zero point) * (right[.., d, c] - right zero point))`.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchMatMul {
    /// The extents.
    pub shapes: MatrixShapes,
    /// The zero point of the left operand.
    pub left_zero_point: i32,
    /// The zero point of the right operand.
    pub right_zero_point: i32,
    /// From sums to outputs.
    pub requantization: Requantization,
}

impl BatchMatMul {
    /// Prepares a product of `i8` or `i16` operands; the right one may be `i8` when the left is `i16`.
    pub fn new<T: Element>(
        shapes: MatrixShapes,
        left: Params,
        right: Params,
        output: Params,
    ) -> Result<BatchMatMul, Unsupported> {
        Ok(BatchMatMul {
            shapes,
            left_zero_point: left.zero_point,
            right_zero_point: right.zero_point,
            requantization: fixed_requantization::<T>(
                Product::Single,
                left,
                &[right.scale],
                output,
                Activation::None,
            )?,
        })
    }

    /// Multiplies `i8` matrices in sums of 32 bits (`A = i32`), `i16` ones in sums of 64 (`A = i64`).
    pub fn run<T: Element, W: Element, A: Accumulator>(&self, left: &[T], right: &[W], output: &mut [T]) {
        let shapes = &self.shapes;
        shapes.check(left.len(), right.len(), output.len());
        shapes.for_each(|left_matrix, right_matrix, output_matrix| {
            let left = &left[left_matrix * shapes.rows * shapes.depth..];
            let right = &right[right_matrix * shapes.depth * shapes.columns..];
            let output = &mut output[output_matrix * shapes.rows * shapes.columns..];
            for row in 0..shapes.rows {
                for column in 0..shapes.columns {
                    let mut sum = A::ZERO;
                    for depth in 0..shapes.depth {
                        sum = sum.multiply_add(
                            left[shapes.left(row, depth)].widen().wrapping_sub(self.left_zero_point),
                            right[shapes.right(depth, column)].widen().wrapping_sub(self.right_zero_point),
                        );
                    }
                    output[row * shapes.columns + column] = T::narrow(sum.finish(&self.requantization, 0));
                }
            }
        });
    }
}
