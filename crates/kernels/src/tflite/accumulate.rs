//! The sums that convolutions and matrix products are computed in, and their multipliers.

use super::element::{Activation, Element, Unsupported};
use super::fixed::FixedMultiplier;
use crate::quantize::Params;
use crate::requant::{Requantization, Rule};

/// A sum of products, which is also the type of a bias: `i32`, or `i64` for 16-bit activations.
pub trait Accumulator: Copy + Send + Sync + 'static {
    /// The empty sum.
    const ZERO: Self;

    /// `self + left * right`, wrapping.
    fn multiply_add(self, left: i32, right: i32) -> Self;

    /// `self + other`, wrapping.
    fn plus(self, other: Self) -> Self;

    /// The result for an output channel.
    fn finish(self, requantization: &Requantization, channel: usize) -> i32;
}

impl Accumulator for i32 {
    const ZERO: i32 = 0;

    #[inline(always)]
    fn multiply_add(self, left: i32, right: i32) -> i32 {
        self.wrapping_add(left.wrapping_mul(right))
    }

    #[inline(always)]
    fn plus(self, other: i32) -> i32 {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn finish(self, requantization: &Requantization, channel: usize) -> i32 {
        requantization.apply(self, channel)
    }
}

impl Accumulator for i64 {
    const ZERO: i64 = 0;

    #[inline(always)]
    fn multiply_add(self, left: i32, right: i32) -> i64 {
        self.wrapping_add(i64::from(left) * i64::from(right))
    }

    #[inline(always)]
    fn plus(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn finish(self, requantization: &Requantization, channel: usize) -> i32 {
        requantization.apply_wide(self, channel)
    }
}

/// `self + sum of (left + left offset) * (right + right offset)` over two slices of equal length.
#[inline(always)]
pub(crate) fn dot<T: Element, W: Element, A: Accumulator>(
    sum: A,
    left: &[T],
    left_offset: i32,
    right: &[W],
    right_offset: i32,
) -> A {
    left.iter().zip(right).fold(sum, |sum, (left, right)| {
        sum.multiply_add(left.widen().wrapping_add(left_offset), right.widen().wrapping_add(right_offset))
    })
}

/// How the real multipliers `input scale * weight scale / output scale` are computed from f32 scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    /// The product in f64.
    Double,
    /// The product in f32, the quotient in f64.
    Single,
}

impl Product {
    pub(crate) fn multiplier(self, input: f32, weight: f32, output: f32) -> f64 {
        let product = match self {
            Product::Double => f64::from(input) * f64::from(weight),
            Product::Single => f64::from(input * weight),
        };
        product / f64::from(output)
    }
}

/// A requantization by fixed-point multipliers, one for each weight scale.
pub(crate) fn fixed_requantization<T: Element>(
    product: Product,
    input: Params,
    weight_scales: &[f32],
    output: Params,
    activation: Activation,
) -> Result<Requantization, Unsupported> {
    let multipliers = weight_scales
        .iter()
        .map(|weight| FixedMultiplier::new(product.multiplier(input.scale, *weight, output.scale)))
        .collect::<Result<_, _>>()?;
    let [min, max] = activation.range::<T>(output);
    Ok(Requantization { rule: Rule::TfLite(multipliers), zero_point: output.zero_point, min, max })
}
