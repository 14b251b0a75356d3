//! LOGISTIC and TANH of `i16` data, by one table of the logistic function.

use super::binary::logarithm_of_power_of_two;
use super::element::{Unsupported, require};
use super::unary::apply;
use crate::quantize::Params;

/// The logistic function or the hyperbolic tangent of `i16` data; the output's scale is `2^-15`.
///
/// Inputs become multiples of `1 / (24 * 512)`, 1 / (48 * 256) for the tangent, and results are interpolated between
/// multiples of 1/24.
#[derive(Clone, Debug, PartialEq)]
pub struct Sigmoid16 {
    table: Vec<u32>,
    multiplier: i32,
    shift: u32,
    is_tanh: bool,
}

impl Sigmoid16 {
    /// Prepares LOGISTIC.
    pub fn logistic(input: Params, output: Params) -> Result<Sigmoid16, Unsupported> {
        Sigmoid16::new(input, output, false)
    }

    /// Prepares TANH.
    pub fn tanh(input: Params, output: Params) -> Result<Sigmoid16, Unsupported> {
        Sigmoid16::new(input, output, true)
    }

    fn new(input: Params, output: Params, is_tanh: bool) -> Result<Sigmoid16, Unsupported> {
        require(input.scale > 0.0 && input.scale.is_finite(), "the input's scale", "positive", input.scale)?;
        let output_power = logarithm_of_power_of_two(output.scale);
        require(output_power == Some(-15), "the output's scale", "2^-15", output.scale)?;
        let power = logarithm_of_power_of_two(input.scale).map(|logarithm| 12 + logarithm);
        let (multiplier, shift) = match power {
            Some(power) if power == 0 || is_tanh && power == 1 => (3 << power, 0),
            _ => {
                let mut multiplier = f64::from(input.scale) * 4096.0 * 3.0;
                let mut shift = 0;
                while multiplier <= 32767.0 / 2.0 && shift <= 30 {
                    shift += 1;
                    multiplier *= 2.0;
                }
                (multiplier as i32, shift)
            }
        };
        Ok(Sigmoid16 { table: table(), multiplier, shift, is_tanh })
    }

    /// Computes the function.
    pub fn run(&self, input: &[i16], output: &mut [i16]) {
        let rounding = if self.shift > 0 { 1i32.wrapping_shl(self.shift - 1) } else { 0 };
        apply(input, output, |x| {
            let scaled =
                i32::from(x).wrapping_mul(self.multiplier).wrapping_add(rounding) >> (self.shift & 31);
            if self.is_tanh { self.tanh_at(scaled) } else { self.logistic_at(scaled) }
        });
    }

    /// `table + (next - table) * distance`, in 25 bits after the point.
    #[inline(always)]
    fn logistic_at(&self, x: i32) -> i16 {
        let magnitude = x.unsigned_abs();
        let index = (magnitude >> 9) as usize;
        let result = if index >= 255 {
            0x7fff << 10
        } else {
            let (knot, next) = (self.table[index], self.table[index + 1]);
            (knot << 9) + (magnitude & 0x1ff) * (next - knot)
        };
        let result = if x >= 0 { result + (1 << 9) } else { (1 << 25) - result + (1 << 9) - 1 };
        (result >> 10) as i16
    }

    #[inline(always)]
    fn tanh_at(&self, x: i32) -> i16 {
        let magnitude = x.unsigned_abs();
        let index = (magnitude >> 8) as usize;
        let result = if index >= 255 {
            0xffff << 8
        } else {
            let (knot, next) = (self.table[index], self.table[index + 1]);
            ((knot << 8) + (magnitude & 0xff) * (next - knot)) as i32
        };
        let result = if x >= 0 { result - (1 << 23) + (1 << 7) } else { -result + (1 << 23) + (1 << 7) - 1 };
        (result >> 8) as i16
    }
}

/// `2^16 * logistic(i / 24)`, moved by half the interpolation's error in the middle of the interval.
fn table() -> Vec<u32> {
    let logistic = |x: f64| 1.0 / (1.0 + libm::exp(-x / 24.0));
    let mut table: Vec<u32> = (0..255)
        .map(|index| {
            let x = f64::from(index);
            let error = logistic(x + 0.5) - (logistic(x) + logistic(x + 1.0)) / 2.0;
            ((logistic(x) + error / 2.0) * 65536.0).round() as u32
        })
        .collect();
    table.push(65535);
    table
}
