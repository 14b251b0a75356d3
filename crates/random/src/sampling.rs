//! Distributions and orders drawn from the generator's bits.

use crate::Random;

impl Random {
    /// Uniform on [0, 1), a multiple of 2^-24 made of the top 24 bits of one draw.
    #[inline]
    pub fn uniform_f32(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 * (1.0 / (1u32 << 24) as f32)
    }

    /// Uniform on [0, 1), a multiple of 2^-53 made of the top 53 bits of one draw.
    #[inline]
    pub fn uniform_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform on the integers 0 to `n - 1`, without bias (Lemire, "Fast Random Integer
    /// Generation in an Interval", 2019). Uses one draw, and rarely more.
    ///
    /// # Panics
    ///
    /// When `n` is zero: there is no such integer.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "below(0): there is no integer to draw");
        // Of the 2^64 draws, the `2^64 mod n` whose low half is smallest are refused.
        let refused = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(n);
            if product as u64 >= refused {
                return (product >> 64) as u64;
            }
        }
    }

    /// Uniform on the integers `lo` to `hi - 1`, without bias.
    ///
    /// # Panics
    ///
    /// When `lo >= hi`: there is no such integer.
    #[inline]
    pub fn range(&mut self, lo: i64, hi: i64) -> i64 {
        assert!(lo < hi, "range({lo}, {hi}): there is no integer to draw");
        lo.wrapping_add(self.below(hi.wrapping_sub(lo) as u64) as i64)
    }

    /// Standard normal: mean 0, deviation 1, magnitude below 8.6. Uses two draws.
    ///
    /// `sqrt(-2 ln(1 - u)) cos(2 pi v)` of two uniform numbers (Box and Muller, 1958), in software
    /// arithmetic so that the bits do not depend on the platform.
    pub fn normal_f64(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform_f64()));
        let angle = 2.0 * std::f64::consts::PI * self.uniform_f64();
        radius * libm::cos(angle)
    }

    /// Puts the items in a uniformly drawn order (Fisher and Yates, from the last to the first).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let chosen = self.below(last as u64 + 1) as usize;
            items.swap(last, chosen);
        }
    }

    /// The integers 0 to `n - 1` in a uniformly drawn order.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_numbers_are_the_top_bits() {
        let mut bits = Random::new(3, "uniform");
        let mut single = bits.clone();
        let mut double = bits.clone();
        for _ in 0..1000 {
            let draw = bits.next_u64();
            let top_24 = single.uniform_f32() * 16_777_216.0;
            let top_53 = double.uniform_f64() * 9_007_199_254_740_992.0;
            assert_eq!(top_24 as u64, draw >> 40);
            assert_eq!(top_53 as u64, draw >> 11);
        }
    }

    #[test]
    fn below_reaches_every_integer_equally_often() {
        let mut random = Random::new(1, "below");
        let mut counts = [0u32; 6];
        for _ in 0..60_000 {
            counts[random.below(6) as usize] += 1;
        }
        // Five degrees of freedom: 20.5 is exceeded by one seed in a thousand.
        let chi_square: f64 =
            counts.iter().map(|&count| (f64::from(count) - 10_000.0).powi(2) / 10_000.0).sum();
        assert!(chi_square < 20.5, "{counts:?}");
    }

    #[test]
    fn below_refuses_what_would_bias() {
        // For n = 3 * 2^62 a quarter of all draws is refused, and thirds stay thirds.
        let mut random = Random::new(2, "below");
        let n = 3u64 << 62;
        let mut counts = [0u32; 3];
        for _ in 0..30_000 {
            counts[(random.below(n) >> 62) as usize] += 1;
        }
        for count in counts {
            assert!((9_600..10_400).contains(&count), "{counts:?}");
        }
    }

    #[test]
    fn range_takes_its_lower_end_and_not_its_upper() {
        let mut random = Random::new(5, "range");
        let drawn: Vec<i64> = (0..1000).map(|_| random.range(-2, 3)).collect();
        for value in -2..3 {
            assert!(drawn.contains(&value));
        }
        assert!(drawn.iter().all(|value| (-2..3).contains(value)));
        for _ in 0..100 {
            assert_ne!(random.range(i64::MIN, i64::MAX), i64::MAX);
        }
    }

    #[test]
    fn normal_numbers_have_the_moments_of_the_normal_distribution() {
        let mut random = Random::new(11, "normal");
        let count = 200_000;
        let mut moments = [0.0f64; 4];
        for _ in 0..count {
            let value = random.normal_f64();
            assert!(value.abs() < 8.6);
            for (power, moment) in moments.iter_mut().enumerate() {
                *moment += value.powi(power as i32 + 1) / f64::from(count);
            }
        }
        for (moment, expected) in moments.iter().zip([0.0, 1.0, 0.0, 3.0]) {
            assert!((moment - expected).abs() < 0.1, "{moments:?}");
        }
    }

    #[test]
    fn a_permutation_holds_every_index_once_and_all_orders_occur() {
        let mut random = Random::new(9, "order");
        let mut sorted = random.permutation(1000);
        assert_ne!(sorted, (0..1000).collect::<Vec<_>>());
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());

        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..6000 {
            *seen.entry(random.permutation(3)).or_insert(0u32) += 1;
        }
        assert_eq!(seen.len(), 6);
        assert!(seen.values().all(|count| (850..1150).contains(count)));
        assert!(random.permutation(0).is_empty());
    }
}
