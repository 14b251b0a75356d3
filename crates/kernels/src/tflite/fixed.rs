//! Multiplication by a real number in integers.

use super::element::{Unsupported, require};
use super::gemmlowp::{divide_by_power, high_mul};

/// A real number as `mantissa * 2^(shift - 31)`, to multiply integers by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FixedMultiplier {
    /// Zero, or in `2^30..2^31`.
    pub mantissa: i32,
    /// `-31..=30`
    pub shift: i32,
}

impl FixedMultiplier {
    /// The nearest multiplier, halves away from zero; below about `2^-32` it is zero.
    ///
    /// `real` is not negative and below `2^30`.
    pub fn new(real: f64) -> Result<FixedMultiplier, Unsupported> {
        require(real.is_finite() && real >= 0.0, "a multiplier", "finite and not negative", real)?;
        if real == 0.0 {
            return Ok(FixedMultiplier { mantissa: 0, shift: 0 });
        }
        let (fraction, mut shift) = libm::frexp(real);
        let mut mantissa = (fraction * 2_147_483_648.0).round() as i64;
        if mantissa == 1 << 31 {
            mantissa /= 2;
            shift += 1;
        }
        require(shift <= 30, "a multiplier", "below 2^30", real)?;
        if shift < -31 {
            return Ok(FixedMultiplier { mantissa: 0, shift: 0 });
        }
        Ok(FixedMultiplier { mantissa: mantissa as i32, shift })
    }

    /// As [`FixedMultiplier::new`], for a real number between 0 and 1.
    pub(crate) fn of_fraction(real: f64) -> Result<FixedMultiplier, Unsupported> {
        require(real > 0.0 && real < 1.0, "a multiplier", "above 0 and below 1", real)?;
        let fixed = FixedMultiplier::new(real)?;
        require(fixed.shift <= 0, "a multiplier", "below 1", real)?;
        Ok(fixed)
    }

    /// `round(round(x * 2^max(shift, 0) * mantissa / 2^31) / 2^max(-shift, 0))`: halves are rounded up in the inner
    /// rounding and away from zero in the outer one. The left shift wraps.
    #[inline(always)]
    pub fn apply(self, x: i32) -> i32 {
        let shifted = x.wrapping_shl(self.shift.max(0) as u32);
        divide_by_power::<32>(high_mul::<32>(shifted, self.mantissa), (-self.shift).max(0))
    }

    /// `floor((x * mantissa16 + 2^(14 - shift)) / 2^(15 - shift))` with the mantissa rounded to 16 bits, for
    /// `|x| < 2^47`. The result wraps to 32 bits.
    #[inline(always)]
    pub fn apply_wide(self, x: i64) -> i32 {
        let mantissa = if self.mantissa < 0x7fff_0000 { (self.mantissa + (1 << 15)) >> 16 } else { 0x7fff };
        let product = x.wrapping_mul(i64::from(mantissa));
        let shift = 15 - self.shift;
        if shift < 1 {
            return product.wrapping_shl(-shift as u32) as i32;
        }
        (product.wrapping_add(1 << (shift - 1)) >> shift) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::FixedMultiplier;

    #[test]
    fn a_mantissa_that_rounds_up_to_one_is_halved() {
        let fixed = FixedMultiplier::new(1.0 - 1e-12).unwrap();
        assert_eq!(fixed, FixedMultiplier { mantissa: 1 << 30, shift: 1 });
    }

    #[test]
    fn what_cannot_be_a_multiplier_is_refused() {
        for real in [f64::NAN, f64::INFINITY, -1.0, 2f64.powi(31)] {
            assert!(FixedMultiplier::new(real).is_err());
        }
        assert!(FixedMultiplier::of_fraction(1.0).is_err());
        assert_eq!(FixedMultiplier::new(1e-12).unwrap().mantissa, 0);
    }
}
