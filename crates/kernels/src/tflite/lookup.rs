//! Functions of one element that are tabulated: 8-bit data in full, 16-bit data with linear interpolation.

use super::element::{Element, Unsupported, require, saturate, truncate};
use super::fixed::FixedMultiplier;
use super::gemmlowp::inverse_square_root;
use super::unary::apply;
use crate::quantize::Params;

/// A function of a real number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// TANH of 8-bit data
    Tanh,
    /// LOGISTIC of 8-bit data, `1 / (1 + exp(-x))`; the output's scale is 1/256.
    Logistic,
    /// EXP of `i8` and `i16`
    Exp,
    /// LOG of `i8` and `i16`, the smallest output where `x <= 0`
    Log,
    /// ELU of `i8`, `exp(x) - 1` below zero
    Elu,
    /// GELU of 8-bit data and `i16`, `x * (1 + erf(x / sqrt(2))) / 2`
    Gelu,
    /// GELU, `x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2`
    GeluTanh,
    /// SQRT of `i8` and `i16`, rounded down; for `x >= 0`
    Sqrt,
    /// RSQRT of `i8` and `i16`, `1 / sqrt(x)`, the largest output where `x = 0`; for `x >= 0`
    Rsqrt,
}

impl Function {
    /// The function in f32, as the reference rounds it; elementary functions are those of f64, rounded.
    fn evaluate<T: Element>(self, x: f32, output: Params) -> f32 {
        let of = |function: fn(f64) -> f64, x: f32| function(f64::from(x)) as f32;
        match self {
            Function::Tanh => of(libm::tanh, x),
            Function::Logistic => 1.0 / (1.0 + of(libm::exp, -x)),
            Function::Exp => of(libm::exp, x),
            Function::Log if x <= 0.0 => T::MIN.wrapping_sub(output.zero_point) as f32 * output.scale,
            Function::Log => of(libm::log, x),
            Function::Elu => {
                if x < 0.0 {
                    of(libm::expm1, x)
                } else {
                    x
                }
            }
            Function::Gelu => 0.5 * x * of(libm::erfc, x * -std::f32::consts::FRAC_1_SQRT_2),
            Function::GeluTanh => {
                let root = (std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2) as f32;
                0.5 * x * (1.0 + of(libm::tanh, root * (x + 0.044715 * x * x * x)))
            }
            Function::Sqrt => x.sqrt(),
            Function::Rsqrt if x <= 0.0 => T::MAX as f32 * output.scale,
            Function::Rsqrt => 1.0 / x.sqrt(),
        }
    }

    fn check(self, input: Params, output: Params) -> Result<(), Unsupported> {
        for params in [input, output] {
            require(params.scale > 0.0 && params.scale.is_finite(), "a scale", "positive", params.scale)?;
        }
        if self == Function::Logistic {
            require(output.scale == 1.0 / 256.0, "the output's scale", "1/256", output.scale)?;
        }
        Ok(())
    }

    fn is_root(self) -> bool {
        matches!(self, Function::Sqrt | Function::Rsqrt)
    }
}

/// A function of 8-bit data.
#[derive(Clone, Debug, PartialEq)]
pub struct Table8<T> {
    // By the value's low byte.
    results: Vec<T>,
    least: i32,
}

impl<T: Element> Table8<T> {
    /// Tabulates a function: `saturate(round_half_away(f(scale * (x - zero point)) / output scale) + output zero
    /// point)`, in f32. Roots are computed in their own ways: SQRT truncates, RSQRT is in fixed point.
    pub fn new(function: Function, input: Params, output: Params) -> Result<Table8<T>, Unsupported> {
        function.check(input, output)?;
        assert!(T::MAX <= 255, "8-bit data");
        let rsqrt = FixedMultiplier::new(match function {
            Function::Rsqrt => 1.0 / f64::from(input.scale.sqrt() * output.scale),
            _ => 0.0,
        })?;
        let inverse = 1.0 / output.scale;
        let mut results = vec![T::narrow(0); 256];
        for value in T::MIN..=T::MAX {
            let offset = value.wrapping_sub(input.zero_point);
            let real = input.scale * offset as f32;
            let result = match function {
                Function::Rsqrt => reciprocal_root(offset, rsqrt, output.zero_point),
                Function::Sqrt => truncate(function.evaluate::<T>(real, output) / output.scale)
                    .wrapping_add(output.zero_point),
                _ => {
                    let rescaled = (function.evaluate::<T>(real, output) * inverse).round();
                    (rescaled + output.zero_point as f32) as i32
                }
            };
            results[usize::from(value as u8)] = saturate(result);
        }
        let least = if function.is_root() { input.zero_point } else { T::MIN };
        Ok(Table8 { results, least })
    }

    /// Looks elements up; roots refuse negative numbers.
    pub fn run(&self, input: &[T], output: &mut [T]) -> Result<(), Unsupported> {
        check_least(input, self.least)?;
        apply(input, output, |x| self.results[usize::from(x.widen() as u8)]);
        Ok(())
    }
}

/// `1 / sqrt(offset)` times a multiplier.
fn reciprocal_root(offset: i32, multiplier: FixedMultiplier, zero_point: i32) -> i32 {
    const SHIFT: i32 = 20;
    if offset <= 0 {
        return i32::MAX;
    }
    let (mantissa, shift) = inverse_square_root(offset);
    let root = FixedMultiplier { mantissa, shift: shift + SHIFT }.apply(1);
    let FixedMultiplier { mantissa, shift } = multiplier;
    FixedMultiplier { mantissa, shift: shift - SHIFT }.apply(root).wrapping_add(zero_point)
}

fn check_least<T: Element>(input: &[T], least: i32) -> Result<(), Unsupported> {
    match input.iter().find(|x| x.widen() < least) {
        Some(x) => require(false, "the integer under a root", "at least its zero point", x.widen()),
        None => Ok(()),
    }
}

/// A function of `i16` data: 513 knots, between which results are interpolated.
#[derive(Clone, Debug, PartialEq)]
pub struct Table16 {
    knots: Knots,
    least: i32,
    // SQRT has no knots.
    root: Option<[Params; 2]>,
}

impl Table16 {
    /// Tabulates a function; all zero points are 0.
    pub fn new(function: Function, input: Params, output: Params) -> Result<Table16, Unsupported> {
        function.check(input, output)?;
        let knots = Knots::of_f32(input, output, |x| function.evaluate::<i16>(x, output));
        let least = if function.is_root() { input.zero_point } else { i32::from(i16::MIN) };
        Ok(Table16 { knots, least, root: (function == Function::Sqrt).then_some([input, output]) })
    }

    /// Looks elements up; roots refuse negative numbers.
    pub fn run(&self, input: &[i16], output: &mut [i16]) -> Result<(), Unsupported> {
        check_least(input, self.least)?;
        match self.root {
            None => apply(input, output, |x| self.knots.at(x)),
            Some([from, to]) => apply(input, output, |x| {
                let real = from.scale * i32::from(x).wrapping_sub(from.zero_point) as f32;
                saturate(truncate(real.sqrt() / to.scale).wrapping_add(to.zero_point))
            }),
        }
        Ok(())
    }
}

/// A function at `-32768, -32640, .., 32640, 32767`, moved by half the interpolation's error between knots.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Knots(Vec<i16>);

macro_rules! knots {
    ($name:ident, $float:ty) => {
        /// The knots of a function from and to real numbers of these parameters, all computed in one float type.
        pub(crate) fn $name<S: Into<$float>>(
            input: (S, i32),
            output: (S, i32),
            function: impl Fn($float) -> $float,
        ) -> Knots {
            const STEPS: usize = 512;
            let (min, max) = (i32::from(i16::MIN), i32::from(i16::MAX));
            let real =
                |(scale, zero_point): ($float, i32), q: i32| scale * q.wrapping_sub(zero_point) as $float;
            let input = (input.0.into(), input.1);
            let output = (output.0.into(), output.1);
            let (input_min, input_max) = (real(input, min), real(input, max));
            let step = (input_max - input_min) / STEPS as $float;
            let half_step = step / 2.0;
            let inverse = (max - min + 1) as $float / (real(output, max) - real(output, min));
            // What is not a number becomes zero.
            let bounds = |x: $float| x.clamp(min as $float, max as $float) as i16;
            let mut knots: Vec<i16> = (0..STEPS)
                .map(|index| {
                    let at = function(input_min + index as $float * step);
                    let between = function(input_min + index as $float * step + half_step);
                    let next = function(input_min + (index + 1) as $float * step);
                    let sample = (at * inverse).round();
                    let interpolated = ((next * inverse + (at * inverse).round()) / 2.0).round();
                    let error = interpolated - (between * inverse).round();
                    bounds(sample - (error / 2.0).round())
                })
                .collect();
            knots.push(bounds((function(input_max) * inverse).round()));
            Knots(knots)
        }
    };
}

impl Knots {
    knots!(with_f32, f32);
    knots!(with_f64, f64);

    fn of_f32(input: Params, output: Params, function: impl Fn(f32) -> f32) -> Knots {
        let pair = |params: Params| (params.scale, params.zero_point);
        Knots::with_f32(pair(input), pair(output), function)
    }

    /// `knot + round_half_up(slope * distance / 128)`
    #[inline(always)]
    pub(crate) fn at(&self, x: i16) -> i16 {
        let index = (256 + (i32::from(x) >> 7)) as usize;
        let knot = self.0[index];
        let slope = i32::from(self.0[index + 1].wrapping_sub(knot));
        let distance = i32::from(x & 0x7f);
        (i32::from(knot) + ((slope * distance + 64) >> 7)) as i16
    }
}
