//! QUANTIZE, DEQUANTIZE, and CONCATENATION of differing parameters.

use super::element::{Element, Unsupported, saturate, truncate};
use super::fixed::FixedMultiplier;
use super::unary::apply;
use crate::quantize::Params;

/// `q = saturate(round_half_away(x / scale) + zero point)` with the parameters of the element's slice, in f32.
///
/// The tensor is `[outer, params.len(), inner]`. What does not fit 32 bits before the zero point is added, and what is
/// not a number, becomes the smallest 32-bit integer.
pub fn quantize<T: Element>(input: &[f32], params: &[Params], inner: usize, output: &mut [T]) {
    for_each_slice(input, params, inner, output, |x, params| {
        saturate(truncate((x / params.scale).round()).wrapping_add(params.zero_point))
    });
}

/// `x = scale * (q - zero point)` with the parameters of the element's slice, as in [`quantize`].
pub fn dequantize<T: Element>(input: &[T], params: &[Params], inner: usize, output: &mut [f32]) {
    for_each_slice(input, params, inner, output, |q, params| {
        params.scale * q.widen().wrapping_sub(params.zero_point) as f32
    });
}

fn for_each_slice<T: Copy, U>(
    input: &[T],
    params: &[Params],
    inner: usize,
    output: &mut [U],
    operation: impl Fn(T, Params) -> U,
) {
    assert_eq!(input.len(), output.len(), "lengths");
    let inner = inner.max(1);
    let pairs = input.chunks(inner).zip(output.chunks_mut(inner));
    for ((input, output), params) in pairs.zip(params.iter().cycle()) {
        apply(input, output, |x| operation(x, *params));
    }
}

/// QUANTIZE of integers: `saturate(multiplier.apply(q - zero point) + output zero point)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Requantize {
    input_zero_point: i32,
    output_zero_point: i32,
    multiplier: FixedMultiplier,
}

impl Requantize {
    /// Prepares the operator.
    pub fn new(input: Params, output: Params) -> Result<Requantize, Unsupported> {
        Ok(Requantize {
            input_zero_point: input.zero_point,
            output_zero_point: output.zero_point,
            multiplier: FixedMultiplier::new(f64::from(input.scale) / f64::from(output.scale))?,
        })
    }

    /// Requantizes.
    pub fn run<T: Element, U: Element>(&self, input: &[T], output: &mut [U]) {
        apply(input, output, |q| {
            let scaled = self.multiplier.apply(q.widen().wrapping_sub(self.input_zero_point));
            saturate(scaled.wrapping_add(self.output_zero_point))
        });
    }
}

/// CONCATENATION of `u8` operands, each with its parameters: along an axis of inputs `[outer, runs[i]]`.
///
/// Where parameters differ from the output's, `q = clamp(round_half_away(x * (scale / output scale) - zero point *
/// (scale / output scale)) + output zero point, 0, 255)` in f32. (`i8` and `i16` operands have to have the output's.)
pub fn concatenate(operands: &[(&[u8], usize, Params)], to: Params, output: &mut [u8]) {
    let width: usize = operands.iter().map(|(_, run, _)| run).sum();
    let inverse = 1.0 / to.scale;
    for (outer, row) in output.chunks_exact_mut(width.max(1)).enumerate() {
        let mut rest = row;
        for (values, run, from) in operands {
            let (part, others) = rest.split_at_mut(*run);
            rest = others;
            let values = &values[outer * run..][..*run];
            if *from == to {
                part.copy_from_slice(values);
                continue;
            }
            let scale = from.scale * inverse;
            let bias = from.zero_point.wrapping_neg() as f32 * scale;
            apply(values, part, |x| {
                saturate(truncate((f32::from(x) * scale + bias).round()).wrapping_add(to.zero_point))
            });
        }
    }
}
