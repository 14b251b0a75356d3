//! The real functions that neither `std` nor `libm` has, in f64.

use libm::{erf, exp, expm1, log1p, tanh};

/// `1 / (1 + exp(-x))`.
pub(crate) fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + exp(-x)) } else { exp(x) / (1.0 + exp(x)) }
}

/// `ln(exp(x) + 1)`.
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + log1p(exp(-x.abs()))
}

/// `x / 2 (1 + erf(x / sqrt 2))`.
pub(super) fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))
}

/// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`.
pub(super) fn gelu_tanh(x: f64) -> f64 {
    0.5 * x * (1.0 + tanh((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)))
}

/// `max(0, x) + min(0, alpha (exp(x / alpha) - 1))`.
pub(super) fn celu(x: f64, alpha: f64) -> f64 {
    if x.is_nan() { x } else { x.max(0.0) + (alpha * expm1(x / alpha)).min(0.0) }
}

/// `x` for `x >= 0`, else `alpha (exp(x) - 1)`.
pub(super) fn elu(x: f64, alpha: f64) -> f64 {
    if x < 0.0 { alpha * expm1(x) } else { x }
}

/// The sign as a number; 0 and NaN stay.
pub(super) fn sign(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() { x } else { x.signum() }
}
