//! Operators on two operands, which are broadcast.

use super::broadcast;
use super::element::{Activation, Element, Unsupported, require, saturate};
use super::fixed::FixedMultiplier;
use super::gemmlowp::{divide_by_power, high_mul, reciprocal};
use crate::quantize::Params;

/// What a binary operator computes of two real numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOperation {
    /// `x + y`
    Add,
    /// `x - y`
    Subtract,
    /// `x * y`
    Multiply,
    /// `x / y`; y must not be its zero point.
    Divide,
    /// `(x - y)^2`, for `i8`.
    SquaredDifference,
}

/// An arithmetic operator on two quantized operands of the same type.
///
/// Sums, differences and squared differences bring both operands, shifted left by 20 bits (15 for `i16`, 7 for
/// squares), to twice the larger scale; see [`FixedMultiplier`] for the rounding of every step. Products are
/// requantized from `scale x * scale y`. Quotients use a fixed-point reciprocal.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    zero_points: [i32; 2],
    output_zero_point: i32,
    range: [i32; 2],
    arithmetic: Arithmetic,
}

#[derive(Clone, Debug, PartialEq)]
enum Arithmetic {
    Sum { sign: i32, left_shift: u32, inputs: [FixedMultiplier; 2], output: FixedMultiplier },
    SquaredDifference { inputs: [FixedMultiplier; 2], output: FixedMultiplier },
    // 16-bit operands whose scales are powers of two: the shifts to the right that bring both to the output's scale.
    PowersOfTwo { sign: i32, shifts: [i32; 2] },
    Product(FixedMultiplier),
    Quotient(FixedMultiplier),
}

impl Binary {
    /// Prepares an operator. `power_of_two_scales` is the file's `pot_scale_int16` of ADD and SUB on `i16`.
    pub fn new<T: Element>(
        operation: BinaryOperation,
        left: Params,
        right: Params,
        output: Params,
        activation: Activation,
        power_of_two_scales: bool,
    ) -> Result<Binary, Unsupported> {
        let is_wide = T::MAX > 255;
        let arithmetic = match operation {
            BinaryOperation::Add | BinaryOperation::Subtract => {
                let sign = if operation == BinaryOperation::Add { 1 } else { -1 };
                let logarithms = [left, right, output].map(|params| logarithm_of_power_of_two(params.scale));
                match logarithms {
                    [Some(x), Some(y), Some(z)] if is_wide && power_of_two_scales => {
                        let shifts = [z - x, z - y];
                        require(
                            shifts.contains(&0),
                            "the larger of the scales",
                            "the output's",
                            output.scale,
                        )?;
                        require(
                            shifts.iter().all(|shift| (0..=31).contains(shift)),
                            "a scale",
                            "at most the output's",
                            left.scale.max(right.scale),
                        )?;
                        Arithmetic::PowersOfTwo { sign, shifts }
                    }
                    _ => {
                        let left_shift = if is_wide { 15 } else { 20 };
                        let (inputs, twice) = common_scale(left, right)?;
                        let real = twice / f64::from((1 << left_shift) as f32 * output.scale);
                        let output = FixedMultiplier::of_fraction(real)?;
                        Arithmetic::Sum { sign, left_shift, inputs, output }
                    }
                }
            }
            BinaryOperation::SquaredDifference => {
                let (inputs, twice) = common_scale(left, right)?;
                let real = twice * twice / f64::from((1 << 14) as f32 * output.scale);
                Arithmetic::SquaredDifference { inputs, output: FixedMultiplier::of_fraction(real)? }
            }
            BinaryOperation::Multiply => {
                Arithmetic::Product(FixedMultiplier::new(f64::from(left.scale * right.scale / output.scale))?)
            }
            BinaryOperation::Divide => {
                let real = left.scale / (right.scale * output.scale);
                Arithmetic::Quotient(FixedMultiplier::new(f64::from(real))?)
            }
        };
        Ok(Binary {
            zero_points: [left.zero_point, right.zero_point],
            output_zero_point: output.zero_point,
            range: activation.range::<T>(output),
            arithmetic,
        })
    }

    /// Computes the operator on operands of these shapes.
    pub fn run<T: Element>(&self, left: (&[T], &[usize]), right: (&[T], &[usize]), output: &mut [T]) {
        apply(left, right, output, |x, y| T::narrow(self.element(x.widen(), y.widen())));
    }

    #[inline(always)]
    fn element(&self, x: i32, y: i32) -> i32 {
        let [min, max] = self.range;
        let x_offset = x.wrapping_sub(self.zero_points[0]);
        let y_offset = y.wrapping_sub(self.zero_points[1]);
        let scaled = match &self.arithmetic {
            Arithmetic::Sum { sign, left_shift, inputs, output } => {
                let x = inputs[0].apply(x_offset.wrapping_shl(*left_shift));
                let y = inputs[1].apply(y_offset.wrapping_shl(*left_shift));
                output.apply(x.wrapping_add(y.wrapping_mul(*sign)))
            }
            Arithmetic::SquaredDifference { inputs, output } => {
                let difference = inputs[0].apply(x_offset << 7).wrapping_sub(inputs[1].apply(y_offset << 7));
                output.apply(difference.wrapping_mul(difference))
            }
            Arithmetic::PowersOfTwo { sign, shifts } => {
                let x = divide_by_power::<16>(x, shifts[0]);
                let y = divide_by_power::<16>(y, shifts[1]);
                let sum = x + y * sign;
                let sum = if *sign > 0 { sum.clamp(-32768, 32767) } else { sum };
                return sum.max(min).min(max);
            }
            Arithmetic::Product(multiplier) => multiplier.apply(x_offset.wrapping_mul(y_offset)),
            Arithmetic::Quotient(multiplier) => quotient(x_offset, y_offset, *multiplier),
        };
        scaled.wrapping_add(self.output_zero_point).max(min).min(max)
    }
}

/// `x / y * multiplier`.
#[inline(always)]
fn quotient(x: i32, y: i32, multiplier: FixedMultiplier) -> i32 {
    let (x, y) = if y < 0 { (x.wrapping_neg(), y.wrapping_neg()) } else { (x, y) };
    let (inverse, bits_over_unit) = reciprocal(y, 31);
    let headroom = if x >= 0 { x.leading_zeros() } else { x.leading_ones() } as i32 - 1;
    let quotient = high_mul::<32>(x.wrapping_shl(headroom as u32), inverse);
    let scaled = high_mul::<32>(quotient, multiplier.mantissa);
    divide_by_power::<32>(scaled, bits_over_unit + headroom - multiplier.shift)
}

/// The multipliers that bring both operands to twice the larger scale, and that scale.
fn common_scale(left: Params, right: Params) -> Result<([FixedMultiplier; 2], f64), Unsupported> {
    let twice = f64::from(2.0 * left.scale.max(right.scale));
    let fraction = |params: Params| FixedMultiplier::of_fraction(f64::from(params.scale) / twice);
    Ok(([fraction(left)?, fraction(right)?], twice))
}

/// The whole number nearest to `log2(x)` if it is within a thousandth, computed in f32.
pub(crate) fn logarithm_of_power_of_two(x: f32) -> Option<i32> {
    let logarithm = libm::log(f64::from(x)) as f32 * (1.0 / std::f32::consts::LN_2);
    let rounded = logarithm.round();
    ((logarithm - rounded).abs() < 1e-3).then_some(rounded as i32)
}

/// A choice between two operands, which is made on integers of equal parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extremum {
    /// The larger.
    Maximum,
    /// The smaller.
    Minimum,
}

impl Extremum {
    /// Chooses element by element.
    pub fn run<T: Element>(self, left: (&[T], &[usize]), right: (&[T], &[usize]), output: &mut [T]) {
        match self {
            Extremum::Maximum => apply(left, right, output, |x, y| if x > y { x } else { y }),
            Extremum::Minimum => apply(left, right, output, |x, y| if x < y { x } else { y }),
        }
    }
}

/// A comparison of two real numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `x == y`
    Equal,
    /// `x != y`
    NotEqual,
    /// `x > y`
    Greater,
    /// `x >= y`
    GreaterEqual,
    /// `x < y`
    Less,
    /// `x <= y`
    LessEqual,
}

impl Relation {
    #[inline(always)]
    fn holds<T: PartialOrd>(self, x: T, y: T) -> bool {
        match self {
            Relation::Equal => x == y,
            Relation::NotEqual => x != y,
            Relation::Greater => x > y,
            Relation::GreaterEqual => x >= y,
            Relation::Less => x < y,
            Relation::LessEqual => x <= y,
        }
    }
}

/// A comparison of quantized operands, each as `multiplier.apply((x - zero point) * 2^8)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    relation: Relation,
    zero_points: [i32; 2],
    multipliers: [FixedMultiplier; 2],
}

impl Comparison {
    /// Prepares a comparison.
    pub fn new(relation: Relation, left: Params, right: Params) -> Result<Comparison, Unsupported> {
        let multiplier = |params: Params| {
            require(
                params.scale > 0.0 && params.scale != 1.0,
                "a scale",
                "positive and not 1",
                params.scale,
            )?;
            FixedMultiplier::new(f64::from(params.scale))
        };
        Ok(Comparison {
            relation,
            zero_points: [left.zero_point, right.zero_point],
            multipliers: [multiplier(left)?, multiplier(right)?],
        })
    }

    /// Compares element by element. Orderings of `i16` operands are those of the integers, whatever the scales.
    pub fn run<T: Element>(&self, left: (&[T], &[usize]), right: (&[T], &[usize]), output: &mut [bool]) {
        let is_equality = matches!(self.relation, Relation::Equal | Relation::NotEqual);
        if T::MAX > 255 && !is_equality {
            return apply(left, right, output, |x, y| self.relation.holds(x, y));
        }
        let scaled = |operand: usize, x: T| {
            let FixedMultiplier { mantissa, shift } = self.multipliers[operand];
            let shifted = x.widen().wrapping_sub(self.zero_points[operand]).wrapping_shl(8);
            divide_by_power::<32>(high_mul::<32>(shifted, mantissa), -shift)
        };
        apply(left, right, output, |x, y| self.relation.holds(scaled(0, x), scaled(1, y)));
    }
}

/// `x` where it is not below its zero point, `alpha * x` elsewhere: PRELU with quantized, broadcast slopes.
#[derive(Clone, Debug, PartialEq)]
pub struct Prelu {
    input_zero_point: i32,
    alpha_zero_point: i32,
    output_zero_point: i32,
    identity: FixedMultiplier,
    slope: FixedMultiplier,
}

impl Prelu {
    /// Prepares the operator.
    pub fn new(input: Params, alpha: Params, output: Params) -> Result<Prelu, Unsupported> {
        Ok(Prelu {
            input_zero_point: input.zero_point,
            alpha_zero_point: alpha.zero_point,
            output_zero_point: output.zero_point,
            identity: FixedMultiplier::new(f64::from(input.scale / output.scale))?,
            slope: FixedMultiplier::new(f64::from(input.scale * alpha.scale / output.scale))?,
        })
    }

    /// Computes the operator; the output has the input's shape. `i16` inputs have `i8` slopes.
    pub fn run<T: Element, U: Element>(
        &self,
        input: (&[T], &[usize]),
        alpha: (&[U], &[usize]),
        output: &mut [T],
    ) {
        apply(input, alpha, output, |x, alpha| {
            let x = x.widen().wrapping_sub(self.input_zero_point);
            let scaled = if x >= 0 {
                self.identity.apply(x)
            } else {
                let alpha = alpha.widen().wrapping_sub(self.alpha_zero_point);
                self.slope.apply(x.wrapping_mul(alpha))
            };
            saturate(scaled.wrapping_add(self.output_zero_point))
        });
    }
}

fn apply<T: Copy, U: Copy, V>(
    (left, left_shape): (&[T], &[usize]),
    (right, right_shape): (&[U], &[usize]),
    output: &mut [V],
    operation: impl Fn(T, U) -> V,
) {
    let count = |shape: &[usize]| shape.iter().product::<usize>();
    assert_eq!(left.len(), count(left_shape), "length of the left operand");
    assert_eq!(right.len(), count(right_shape), "length of the right operand");
    assert_eq!(output.len(), count(&broadcast::shape(left_shape, right_shape)), "length of the output");
    let mut output = output.iter_mut();
    broadcast::for_each(left_shape, right_shape, |x, y| {
        if let Some(output) = output.next() {
            *output = operation(left[x], right[y]);
        }
    });
}
