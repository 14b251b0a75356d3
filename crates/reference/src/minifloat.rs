//! Floats of 4 and 8 bits: each code's value, and the code that a value rounds to.

use calipers_ir::DType;

/// A format of sign, exponent and mantissa; codes of one sign ascend with their values.
struct Format {
    mantissa_bits: u32,
    bias: i32,
    /// The code of the largest finite value.
    largest: u8,
    /// The code of plus infinity.
    infinity: Option<u8>,
    /// The code of a positive NaN.
    nan: Option<u8>,
    sign: u8,
    /// Whether the code of minus zero is the only NaN.
    unsigned_zero: bool,
}

const E4M3FN: Format = Format {
    mantissa_bits: 3,
    bias: 7,
    largest: 0x7e,
    infinity: None,
    nan: Some(0x7f),
    sign: 0x80,
    unsigned_zero: false,
};
const E4M3FN_UZ: Format = Format {
    mantissa_bits: 3,
    bias: 8,
    largest: 0x7f,
    infinity: None,
    nan: Some(0x80),
    sign: 0x80,
    unsigned_zero: true,
};
const E5M2: Format = Format {
    mantissa_bits: 2,
    bias: 15,
    largest: 0x7b,
    infinity: Some(0x7c),
    nan: Some(0x7e),
    sign: 0x80,
    unsigned_zero: false,
};
const E5M2FN_UZ: Format = Format {
    mantissa_bits: 2,
    bias: 16,
    largest: 0x7f,
    infinity: None,
    nan: Some(0x80),
    sign: 0x80,
    unsigned_zero: true,
};
const E2M1: Format = Format {
    mantissa_bits: 1,
    bias: 1,
    largest: 7,
    infinity: None,
    nan: None,
    sign: 8,
    unsigned_zero: false,
};

fn format(dtype: DType) -> Option<&'static Format> {
    Some(match dtype {
        DType::F8E4M3Fn => &E4M3FN,
        DType::F8E4M3FnUz => &E4M3FN_UZ,
        DType::F8E5M2 => &E5M2,
        DType::F8E5M2FnUz => &E5M2FN_UZ,
        DType::F4E2M1 => &E2M1,
        _ => return None,
    })
}

impl Format {
    /// The value of a code without its sign, past the largest one as if the exponents went on.
    fn magnitude(&self, code: u8) -> f32 {
        let exponent = i32::from(code >> self.mantissa_bits);
        let mantissa =
            f32::from(code & ((1 << self.mantissa_bits) - 1)) / (1u32 << self.mantissa_bits) as f32;
        match exponent {
            0 => mantissa * 2f32.powi(1 - self.bias),
            _ => (1.0 + mantissa) * 2f32.powi(exponent - self.bias),
        }
    }

    fn value(&self, code: u8) -> f32 {
        let (magnitude, negative) = (code & !self.sign, code & self.sign != 0);
        if self.unsigned_zero && code == self.sign
            || magnitude > self.largest && Some(magnitude) != self.infinity
        {
            return f32::NAN;
        }
        let value = if magnitude > self.largest { f32::INFINITY } else { self.magnitude(magnitude) };
        if negative { -value } else { value }
    }

    fn code(&self, value: f32, saturate: bool) -> u8 {
        let sign = if value.is_sign_negative() { self.sign } else { 0 };
        if value.is_nan() {
            // Without a NaN it becomes minus zero.
            return self.nan.map_or(self.sign, |nan| nan | sign);
        }
        let value = value.abs();
        let rounded =
            (0..=self.largest).rev().find(|&code| self.magnitude(code) <= value).map_or(0, |below| {
                let middle = (self.magnitude(below) + self.magnitude(below + 1)) / 2.0;
                below + u8::from(value > middle || value == middle && below % 2 == 1)
            });
        let magnitude = match (rounded > self.largest, saturate) {
            (false, _) => rounded,
            (true, true) => self.largest,
            (true, false) => match (self.infinity, self.nan) {
                (Some(infinity), _) => infinity,
                (None, Some(nan)) => return if self.unsigned_zero { nan } else { nan | sign },
                (None, None) => self.largest,
            },
        };
        if magnitude == 0 && self.unsigned_zero { 0 } else { magnitude | sign }
    }
}

/// The value of a code of a type of 4 or 8 bits; `None` for other types.
pub(crate) fn value(dtype: DType, code: u8) -> Option<f32> {
    if dtype == DType::F8E8M0 {
        return Some(if code == 0xff { f32::NAN } else { 2f64.powi(i32::from(code) - 127) as f32 });
    }
    format(dtype).map(|format| format.value(code))
}

/// The code that `value` rounds to, half to even, in a type of 4 or 8 bits with a sign; `None` for other types. What
/// is larger than the largest value becomes that with `saturate`, else infinity or NaN as the format has it.
pub(crate) fn code(dtype: DType, value: f32, saturate: bool) -> Option<u8> {
    format(dtype).map(|format| format.code(value, saturate))
}

/// How a value is rounded to a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// Away from zero.
    Up,
    /// Towards zero.
    Down,
    /// To the nearest.
    Nearest,
}

/// The exponent that stands for the magnitude of `value` in the type of powers of two; NaN and infinity are 255.
pub(crate) fn exponent(value: f32, saturate: bool, rounding: Rounding) -> u8 {
    let bits = value.to_bits();
    let exponent = ((bits >> 23) & 0xff) as u8;
    if exponent == 0xff {
        return 0xff;
    }
    let fraction = bits & 0x7f_ffff;
    let up = match rounding {
        Rounding::Up => fraction > 0,
        Rounding::Down => false,
        Rounding::Nearest => fraction > 0x40_0000 || fraction == 0x40_0000 && exponent > 0,
    };
    if up && !(saturate && exponent == 0xfe) { exponent + 1 } else { exponent }
}

#[cfg(test)]
mod tests {
    use super::{code, value};
    use calipers_ir::DType;

    // ml_dtypes 0.5: numpy.array(values, numpy.float32).astype(type).view(numpy.uint8).
    #[test]
    fn codes_are_those_of_ml_dtypes() {
        let values = [f32::INFINITY, 5.0, 0.25, 0.75, -0.1, 460.0, 464.0, 465.0, 248.0, -1e-9, 61440.0];
        let codes = |dtype| values.map(|value| code(dtype, value, false).unwrap());
        assert_eq!(
            codes(DType::F8E4M3Fn),
            [0x7f, 0x4a, 0x28, 0x34, 0x9d, 0x7e, 0x7e, 0x7f, 0x78, 0x80, 0x7f]
        );
        assert_eq!(code(DType::F8E4M3FnUz, 247.0, false), Some(0x7f));
        assert_eq!(code(DType::F8E4M3FnUz, 248.0, false), Some(0x80));
        assert_eq!(code(DType::F8E5M2, 61439.0, false), Some(0x7b));
        assert_eq!(code(DType::F8E5M2, 61440.0, false), Some(0x7c));
        assert_eq!(code(DType::F8E5M2, 61440.0, true), Some(0x7b));
        assert_eq!(code(DType::F4E2M1, 5.0, false), Some(6));
        assert_eq!(code(DType::F4E2M1, 100.0, false), Some(7));
    }

    #[test]
    fn every_code_comes_back() {
        for dtype in [DType::F8E4M3Fn, DType::F8E4M3FnUz, DType::F8E5M2, DType::F8E5M2FnUz] {
            for byte in 0..=u8::MAX {
                let value = value(dtype, byte).unwrap();
                assert!(value.is_nan() || code(dtype, value, false) == Some(byte), "{dtype} {byte:#x}");
            }
        }
    }
}
