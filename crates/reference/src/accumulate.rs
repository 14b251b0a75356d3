//! Sums of products in every class of numbers.

/// Numbers whose products are summed; integers wrap.
pub(crate) trait Accumulate: Copy + Default {
    /// `self + a * b`.
    fn plus_product(self, a: Self, b: Self) -> Self;
}

impl Accumulate for f32 {
    #[inline(always)]
    fn plus_product(self, a: f32, b: f32) -> f32 {
        self + a * b
    }
}

impl Accumulate for f64 {
    #[inline(always)]
    fn plus_product(self, a: f64, b: f64) -> f64 {
        self + a * b
    }
}

impl Accumulate for i64 {
    #[inline(always)]
    fn plus_product(self, a: i64, b: i64) -> i64 {
        self.wrapping_add(a.wrapping_mul(b))
    }
}

impl Accumulate for u64 {
    #[inline(always)]
    fn plus_product(self, a: u64, b: u64) -> u64 {
        self.wrapping_add(a.wrapping_mul(b))
    }
}

/// `out[i] += factor * values[i]`.
#[inline]
pub(crate) fn add_scaled<T: Accumulate>(out: &mut [T], factor: T, values: &[T]) {
    for (out, &value) in out.iter_mut().zip(values) {
        *out = out.plus_product(factor, value);
    }
}
