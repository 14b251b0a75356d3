//! Operators on one element at a time that are computed in integers.

use super::element::{Element, Unsupported, require, saturate};
use super::fixed::FixedMultiplier;
use super::gemmlowp::{divide_by_power, high_mul};
use crate::quantize::Params;

/// RELU, RELU6, RELU_N1_TO_1 and RELU_0_TO_1: `clamp(x, lower, upper)`, requantized to the output's parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Clamp {
    input_zero_point: i32,
    output_zero_point: i32,
    multiplier: FixedMultiplier,
    range: [i32; 2],
}

impl Clamp {
    /// Prepares the operator; `upper` is infinite for RELU.
    pub fn new<T: Element>(
        [lower, upper]: [f32; 2],
        input: Params,
        output: Params,
    ) -> Result<Clamp, Unsupported> {
        let quantize = |real: f32| output.zero_point.saturating_add((real / output.scale).round() as i32);
        let max = if upper == f32::INFINITY { T::MAX } else { T::MAX.min(quantize(upper)) };
        Ok(Clamp {
            input_zero_point: input.zero_point,
            output_zero_point: output.zero_point,
            multiplier: FixedMultiplier::new(f64::from(input.scale / output.scale))?,
            range: [T::MIN.max(quantize(lower)), max],
        })
    }

    /// Clamps.
    pub fn run<T: Element>(&self, input: &[T], output: &mut [T]) {
        apply(input, output, |x| {
            let scaled = self.multiplier.apply(x.widen().wrapping_sub(self.input_zero_point));
            T::narrow(scaled.wrapping_add(self.output_zero_point).max(self.range[0]).min(self.range[1]))
        });
    }
}

/// LEAKY_RELU: `x` where it is not below zero, `alpha * x` elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct LeakyRelu {
    input_zero_point: i32,
    output_zero_point: i32,
    identity: FixedMultiplier,
    slope: FixedMultiplier,
    slope_is_negative: bool,
}

impl LeakyRelu {
    /// Prepares the operator.
    pub fn new(alpha: f32, input: Params, output: Params) -> Result<LeakyRelu, Unsupported> {
        let slope = input.scale * alpha / output.scale;
        Ok(LeakyRelu {
            input_zero_point: input.zero_point,
            output_zero_point: output.zero_point,
            identity: FixedMultiplier::new(f64::from(input.scale / output.scale))?,
            slope: FixedMultiplier::new(f64::from(slope).abs())?,
            slope_is_negative: slope < 0.0,
        })
    }

    /// Computes the operator.
    pub fn run<T: Element>(&self, input: &[T], output: &mut [T]) {
        apply(input, output, |x| {
            let x = x.widen().wrapping_sub(self.input_zero_point);
            let scaled = if x >= 0 {
                self.identity.apply(x)
            } else if self.slope_is_negative {
                self.slope.apply(x).wrapping_neg()
            } else {
                self.slope.apply(x)
            };
            saturate(scaled.wrapping_add(self.output_zero_point))
        });
    }
}

/// HARD_SWISH: `x * clamp(x + 3, 0, 6) / 6` of 8-bit data, in 16-bit fixed point.
#[derive(Clone, Debug, PartialEq)]
pub struct HardSwish {
    input_zero_point: i32,
    output_zero_point: i32,
    output: [i32; 2],
    gate: [i32; 2],
}

impl HardSwish {
    /// Prepares the operator.
    pub fn new(input: Params, output: Params) -> Result<HardSwish, Unsupported> {
        // Mantissa of 16 bits, and shift.
        let narrow = |real: f32| -> Result<[i32; 2], Unsupported> {
            let FixedMultiplier { mantissa, shift } = FixedMultiplier::new(f64::from(real))?;
            let rounded =
                if mantissa >= i32::MAX - (1 << 15) { 0x7fff } else { (mantissa + (1 << 15)) >> 16 };
            Ok([rounded, shift])
        };
        let fine_scale = (1.0f32 / 128.0) * input.scale;
        let multiplier = narrow(fine_scale / output.scale)?;
        require(multiplier[1] <= 0, "input scale / output scale", "below 128", input.scale / output.scale)?;
        Ok(HardSwish {
            input_zero_point: input.zero_point,
            output_zero_point: output.zero_point,
            output: multiplier,
            gate: narrow(fine_scale / (3.0f32 / 32768.0))?,
        })
    }

    /// Computes the operator.
    pub fn run<T: Element>(&self, input: &[T], output: &mut [T]) {
        let [gate_mantissa, gate_shift] = self.gate;
        let shift_left = |x: i32, amount: i32| {
            (i64::from(x) << amount).clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i32
        };
        apply(input, output, |x| {
            let fine = i32::from(x.widen().wrapping_sub(self.input_zero_point).wrapping_mul(128) as i16);
            let scaled = high_mul::<16>(fine, self.output[0]);
            let mut gate = fine;
            if gate_shift > 0 {
                gate = shift_left(gate, gate_shift - 1);
            }
            gate = high_mul::<16>(gate, gate_mantissa);
            if gate_shift > 0 {
                gate = shift_left(gate, 1);
            }
            if gate_shift < 0 {
                gate = divide_by_power::<16>(gate, -gate_shift);
            }
            // From -1..1 to 0..1.
            let gate = (gate + (1 << 15)) >> 1;
            let product = gate * scaled / (1 << 15);
            let result = divide_by_power::<16>(product, -self.output[1]);
            saturate(i32::from(result.wrapping_add(self.output_zero_point) as i16))
        });
    }
}

/// ABS: `|x|`, requantized to the output's scale if that is another.
#[derive(Clone, Debug, PartialEq)]
pub struct Absolute {
    input_zero_point: i32,
    output_zero_point: i32,
    multiplier: Option<FixedMultiplier>,
}

impl Absolute {
    /// Prepares the operator on `i8` or `i16`.
    pub fn new(input: Params, output: Params) -> Result<Absolute, Unsupported> {
        let multiplier = FixedMultiplier::new(f64::from(input.scale / output.scale))?;
        Ok(Absolute {
            input_zero_point: input.zero_point,
            output_zero_point: output.zero_point,
            multiplier: (input.scale != output.scale).then_some(multiplier),
        })
    }

    /// Computes the operator.
    pub fn run<T: Element>(&self, input: &[T], output: &mut [T]) {
        apply(input, output, |x| {
            let magnitude = (x.widen().wrapping_sub(self.input_zero_point)).wrapping_abs();
            let scaled = self.multiplier.map_or(magnitude, |multiplier| multiplier.apply(magnitude));
            saturate(scaled.wrapping_add(self.output_zero_point))
        });
    }
}

/// NEG of `i8` or `i16`: `-x` of the integer itself, wrapping, whatever the parameters.
pub fn negate<T: Element>(input: &[T], output: &mut [T]) {
    apply(input, output, |x| T::narrow(x.widen().wrapping_neg()));
}

pub(crate) fn apply<T: Copy, U>(input: &[T], output: &mut [U], operation: impl Fn(T) -> U) {
    assert_eq!(input.len(), output.len(), "lengths");
    for (output, input) in output.iter_mut().zip(input) {
        *output = operation(*input);
    }
}
