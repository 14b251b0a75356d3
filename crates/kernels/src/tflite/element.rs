//! What all operators share: the storage types, the fused activations, and refusals.

use crate::quantize::Params;

/// An integer that stores a quantized value: `i8`, `u8`, `i16`, and `i32` where an operator says so.
pub trait Element: Copy + PartialOrd + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    /// The smallest value.
    const MIN: i32;
    /// The largest value.
    const MAX: i32;

    /// The value.
    fn widen(self) -> i32;

    /// The value in `MIN..=MAX` with the low bits of `value`.
    fn narrow(value: i32) -> Self;
}

macro_rules! element {
    ($($type:ty),*) => {$(
        impl Element for $type {
            const MIN: i32 = <$type>::MIN as i32;
            const MAX: i32 = <$type>::MAX as i32;

            #[inline(always)]
            fn widen(self) -> i32 {
                self as i32
            }

            #[inline(always)]
            fn narrow(value: i32) -> $type {
                value as $type
            }
        }
    )*};
}

element!(i8, u8, i16, i32);

/// `clamp(value, T::MIN, T::MAX)` as a `T`.
#[inline(always)]
pub(crate) fn saturate<T: Element>(value: i32) -> T {
    T::narrow(value.clamp(T::MIN, T::MAX))
}

/// The conversion of C++ on x86-64: towards zero, and the smallest integer for what does not fit.
#[inline(always)]
pub(crate) fn truncate(value: f32) -> i32 {
    if (-2_147_483_648.0..2_147_483_648.0).contains(&value) { value as i32 } else { i32::MIN }
}

/// The activation fused into an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x`
    #[default]
    None,
    /// `max(x, 0)`
    Relu,
    /// `clamp(x, -1, 1)`
    ReluN1To1,
    /// `clamp(x, 0, 6)`
    Relu6,
}

impl Activation {
    /// The inclusive range of results that the activation leaves of a storage type:
    /// `max(T::MIN, zero point + round_half_away(lower / scale))`, and so the upper bound.
    pub fn range<T: Element>(self, output: Params) -> [i32; 2] {
        let quantize = |real: f32| {
            let steps = (real / output.scale).round();
            (steps as i64)
                .saturating_add(i64::from(output.zero_point))
                .clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
        };
        let [lower, upper] = match self {
            Activation::None => [T::MIN, T::MAX],
            Activation::Relu => [quantize(0.0), T::MAX],
            Activation::ReluN1To1 => [quantize(-1.0), quantize(1.0)],
            Activation::Relu6 => [quantize(0.0), quantize(6.0)],
        };
        [lower.max(T::MIN), upper.min(T::MAX)]
    }

    /// The range of f32 results; the largest finite numbers where there is no bound.
    pub fn float_range(self) -> [f32; 2] {
        match self {
            Activation::None => [f32::MIN, f32::MAX],
            Activation::Relu => [0.0, f32::MAX],
            Activation::ReluN1To1 => [-1.0, 1.0],
            Activation::Relu6 => [0.0, 6.0],
        }
    }
}

/// Why LiteRT does not take an operator's parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsupported {
    /// The parameter.
    pub what: &'static str,
    /// What it has to be.
    pub expected: &'static str,
    /// What it is.
    pub found: f64,
}

impl std::fmt::Display for Unsupported {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} has to be {}, found {}", self.what, self.expected, self.found)
    }
}

impl std::error::Error for Unsupported {}

/// The value of a parameter if it is what it has to be.
pub(crate) fn require(
    holds: bool,
    what: &'static str,
    expected: &'static str,
    found: impl Into<f64>,
) -> Result<(), Unsupported> {
    if holds { Ok(()) } else { Err(Unsupported { what, expected, found: found.into() }) }
}
