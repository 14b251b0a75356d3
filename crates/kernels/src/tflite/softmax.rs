//! SOFTMAX and LOG_SOFTMAX along the last axis, and L2_NORMALIZATION.

use super::element::{Element, Unsupported, require, saturate};
use super::fixed::FixedMultiplier;
use super::gemmlowp::{
    divide_by_power, exp_on_negative_values, high_mul, inverse_square_root, logarithm, reciprocal, rescale,
};
use super::lookup::Knots;
use crate::quantize::Params;

/// Integer bits of the differences to the largest element.
const DIFFERENCE_BITS: i32 = 5;
/// Integer bits of the sum of exponentials.
const SUM_BITS: i32 = 12;

/// The multiplier of differences to the largest element and the smallest difference that counts.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Differences {
    multiplier: FixedMultiplier,
    least: i32,
}

impl Differences {
    fn new(beta: f32, scale: f32) -> Result<Differences, Unsupported> {
        let real = f64::from(beta) * f64::from(scale) * f64::from(1 << (31 - DIFFERENCE_BITS));
        require(real > 1.0, "beta * scale", "above 2^-26", beta * scale)?;
        // The multiplier is capped: at 2^31 only the largest element counts.
        let FixedMultiplier { mantissa, shift } = fixed_up_to_2_31(real.min(2_147_483_647.0));
        let radius = f64::from((1 << DIFFERENCE_BITS) - 1) * f64::from(1 << (31 - DIFFERENCE_BITS))
            / (1i64 << shift) as f64;
        Ok(Differences { multiplier: FixedMultiplier { mantissa, shift }, least: -(radius.floor() as i32) })
    }

    /// `difference * multiplier`, with [`DIFFERENCE_BITS`]; the shift to the left wraps.
    #[inline(always)]
    fn scaled(&self, difference: i32) -> i32 {
        high_mul::<32>(difference.wrapping_shl(self.multiplier.shift as u32), self.multiplier.mantissa)
    }

    /// The sum of `exp(x - largest)` over the elements whose difference counts.
    #[inline(always)]
    fn sum<T: Element>(&self, row: &[T], largest: i32) -> i32 {
        row.iter().map(|x| x.widen() - largest).filter(|difference| *difference >= self.least).fold(
            0,
            |sum: i32, difference| {
                let exponential = exp_on_negative_values::<32>(self.scaled(difference), DIFFERENCE_BITS);
                sum.wrapping_add(rescale::<32>(exponential, 0, SUM_BITS))
            },
        )
    }
}

fn fixed_up_to_2_31(real: f64) -> FixedMultiplier {
    let (fraction, shift) = libm::frexp(real);
    let mantissa = (fraction * 2_147_483_648.0).round() as i64;
    if mantissa == 1 << 31 {
        FixedMultiplier { mantissa: 1 << 30, shift: shift + 1 }
    } else {
        FixedMultiplier { mantissa: mantissa as i32, shift }
    }
}

fn largest<T: Element>(row: &[T]) -> i32 {
    row.iter().map(|x| x.widen()).max().unwrap_or(T::MIN)
}

/// `exp(beta * x) / sum of exp(beta * x)` of 8-bit data.
#[derive(Clone, Debug, PartialEq)]
pub struct Softmax8 {
    differences: Differences,
}

impl Softmax8 {
    /// Prepares the operator. The output has scale 1/256 and the smallest integer as its zero point (an `i16` output
    /// `2^-16` and -32768).
    pub fn new(beta: f32, input: Params) -> Result<Softmax8, Unsupported> {
        Ok(Softmax8 { differences: Differences::new(beta, input.scale)? })
    }

    /// Computes rows of `depth` elements.
    pub fn run<T: Element, U: Element>(&self, depth: usize, input: &[T], output: &mut [U]) {
        assert_eq!(input.len(), output.len(), "lengths");
        let bits = if U::MAX > 255 { 16 } else { 8 };
        for (row, output) in input.chunks_exact(depth.max(1)).zip(output.chunks_exact_mut(depth.max(1))) {
            let largest = largest(row);
            let sum = self.differences.sum(row, largest);
            let (inverse, bits_over_unit) = reciprocal(sum, SUM_BITS);
            for (output, x) in output.iter_mut().zip(row) {
                let difference = x.widen() - largest;
                *output = if difference >= self.differences.least {
                    let exponential =
                        exp_on_negative_values::<32>(self.differences.scaled(difference), DIFFERENCE_BITS);
                    let product = high_mul::<32>(inverse, exponential);
                    saturate(divide_by_power::<32>(product, bits_over_unit + 31 - bits).wrapping_add(U::MIN))
                } else {
                    U::narrow(U::MIN)
                };
            }
        }
    }
}

/// `x - ln(sum of exp(x))` of 8-bit data; the output has scale 16/256 and the largest integer as its zero point.
#[derive(Clone, Debug, PartialEq)]
pub struct LogSoftmax8 {
    differences: Differences,
    reverse: FixedMultiplier,
}

impl LogSoftmax8 {
    /// Prepares the operator.
    pub fn new(input: Params) -> Result<LogSoftmax8, Unsupported> {
        let differences = Differences::new(1.0, input.scale)?;
        let FixedMultiplier { mantissa, shift } = differences.multiplier;
        let reverse = f64::from(1i32.wrapping_shl((31 - shift) as u32)) / f64::from(mantissa);
        Ok(LogSoftmax8 { differences, reverse: FixedMultiplier::of_fraction(reverse)? })
    }

    /// Computes rows of `depth` elements.
    pub fn run<T: Element>(&self, depth: usize, input: &[T], output: &mut [T]) {
        const OUTPUT_BITS: i32 = 4;
        assert_eq!(input.len(), output.len(), "lengths");
        for (row, output) in input.chunks_exact(depth.max(1)).zip(output.chunks_exact_mut(depth.max(1))) {
            let largest = largest(row);
            let log_sum = logarithm(self.differences.sum(row, largest), SUM_BITS, DIFFERENCE_BITS);
            let least = self.reverse.apply(log_sum.wrapping_add(i32::MIN)).max(self.differences.least - 1);
            for (output, x) in output.iter_mut().zip(row) {
                let difference = x.widen() - largest;
                *output = if difference > least {
                    let result = self.differences.scaled(difference).wrapping_sub(log_sum);
                    saturate(divide_by_power::<32>(result, 31 - DIFFERENCE_BITS - OUTPUT_BITS) + T::MAX)
                } else {
                    T::narrow(T::MIN)
                };
            }
        }
    }
}

/// `exp(beta * x) / sum of exp(beta * x)` of `i16` data, by tables; the output has scale `2^-15`.
#[derive(Clone, Debug, PartialEq)]
pub struct Softmax16 {
    multiplier: FixedMultiplier,
    exponential: Knots,
    inverse: Knots,
}

impl Softmax16 {
    /// Prepares the operator.
    pub fn new(beta: f32, input: Params) -> Result<Softmax16, Unsupported> {
        let range = 65535.0;
        let multiplier = FixedMultiplier::new(f64::from(input.scale * beta) / (10.0 / 65535.0))?;
        let exponential = Knots::with_f64((10.0 / range, 32767), (2.0 / range, 0), libm::exp);
        let inverse = Knots::with_f64((1.0 / range, -32768), (2.0 / range, 0), |x| 1.0 / (1.0 + x));
        Ok(Softmax16 { multiplier, exponential, inverse })
    }

    /// Computes rows of `depth` elements.
    pub fn run(&self, depth: usize, input: &[i16], output: &mut [i16]) {
        assert_eq!(input.len(), output.len(), "lengths");
        let saturate = |x: i32| x.clamp(-32768, 32767) as i16;
        for (row, output) in input.chunks_exact(depth.max(1)).zip(output.chunks_exact_mut(depth.max(1))) {
            let largest = largest(row);
            let mut sum = 0i32;
            for (output, x) in output.iter_mut().zip(row) {
                let scaled = self.multiplier.apply(i32::from(*x) - largest);
                *output = self.exponential.at(saturate(scaled.wrapping_add(32767)));
                sum = sum.wrapping_add(i32::from(*output));
            }
            let headroom_plus_one = sum.leading_zeros();
            let normalized = (((i64::from(sum) << (headroom_plus_one.max(1) - 1)) + (1 << 13)) >> 14) as i32;
            let inverse = i64::from(self.inverse.at(saturate(normalized - (1 << 15) - (1 << 16))));
            let shift = 31 - headroom_plus_one.min(30);
            for output in output.iter_mut() {
                let product = i64::from(*output) * inverse + (1 << (shift - 1));
                *output = ((product >> shift) as i32).clamp(0, 32767) as i16;
            }
        }
    }
}

/// `x / sqrt(sum of x^2)` along the last axis of 8-bit data; the output has scale 1/128 and the middle of its range as
/// its zero point.
pub fn normalize_l2<T: Element>(input_zero_point: i32, depth: usize, input: &[T], output: &mut [T]) {
    assert_eq!(input.len(), output.len(), "lengths");
    let is_unsigned = T::MIN == 0;
    for (row, output) in input.chunks_exact(depth.max(1)).zip(output.chunks_exact_mut(depth.max(1))) {
        let offset = |x: &T| x.widen().wrapping_sub(input_zero_point);
        let squares = row.iter().fold(0i32, |sum, x| sum.wrapping_add(offset(x).wrapping_mul(offset(x))));
        let (mantissa, shift) = inverse_square_root(squares);
        for (output, x) in output.iter_mut().zip(row) {
            *output = if is_unsigned {
                let scaled = high_mul::<32>(offset(x).wrapping_mul(128), mantissa);
                saturate(divide_by_power::<32>(scaled, -shift).wrapping_add(128))
            } else {
                saturate(FixedMultiplier { mantissa, shift: shift + 7 }.apply(offset(x)))
            };
        }
    }
}
