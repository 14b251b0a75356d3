//! The 8-bit storage types that activations have.

/// An 8-bit integer that stores a quantized value: `u8` or `i8`.
pub trait Quantized: Copy + Send + Sync + PartialOrd + PartialEq + std::fmt::Debug + 'static {
    /// The smallest value.
    const MIN: i32;
    /// The largest value.
    const MAX: i32;
    /// What is added to reach the unsigned range: 0 for `u8`, 128 for `i8`.
    const TO_UNSIGNED: i32;

    /// The value.
    fn widen(self) -> i32;

    /// The low byte of `value`; the value itself when it lies in `MIN..=MAX`.
    fn narrow(value: i32) -> Self;

    /// The value plus [`Quantized::TO_UNSIGNED`].
    fn to_unsigned(self) -> u8;

    /// The slice itself when the type is `u8`.
    fn as_unsigned(values: &[Self]) -> Option<&[u8]>;
}

impl Quantized for u8 {
    const MIN: i32 = 0;
    const MAX: i32 = 255;
    const TO_UNSIGNED: i32 = 0;

    #[inline(always)]
    fn widen(self) -> i32 {
        i32::from(self)
    }

    #[inline(always)]
    fn narrow(value: i32) -> u8 {
        value as u8
    }

    #[inline(always)]
    fn to_unsigned(self) -> u8 {
        self
    }

    #[inline(always)]
    fn as_unsigned(values: &[u8]) -> Option<&[u8]> {
        Some(values)
    }
}

impl Quantized for i8 {
    const MIN: i32 = -128;
    const MAX: i32 = 127;
    const TO_UNSIGNED: i32 = 128;

    #[inline(always)]
    fn widen(self) -> i32 {
        i32::from(self)
    }

    #[inline(always)]
    fn narrow(value: i32) -> i8 {
        value as i8
    }

    #[inline(always)]
    fn to_unsigned(self) -> u8 {
        (self as u8) ^ 0x80
    }

    #[inline(always)]
    fn as_unsigned(_values: &[i8]) -> Option<&[u8]> {
        None
    }
}
