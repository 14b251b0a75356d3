//! What is measured of a value of two models, batch by batch, in memory that does not grow.

use calipers_ir::QuantParams;

/// Sums over all elements that were seen: `x` of the first model, `y` of the second.
#[derive(Clone, Debug, Default)]
pub(super) struct Measure {
    pub count: u64,
    signal: f64,
    other: f64,
    product: f64,
    pub noise: f64,
    pub largest: f64,
    /// The smallest and the largest `x`.
    pub observed: Option<(f32, f32)>,
    integers: Option<Integers>,
    /// Power of what the first model makes of the second one's inputs, and that of the difference to it.
    own: Option<(f64, f64)>,
}

#[derive(Clone, Debug)]
struct Integers {
    count: u64,
    at_ends: u64,
    least: i64,
    greatest: i64,
}

impl Measure {
    pub fn add(&mut self, x: &[f32], y: &[f32]) {
        for (&x, &y) in x.iter().zip(y) {
            let (x, y) = (finite(x), finite(y));
            let difference = x - y;
            self.count += 1;
            self.signal += x * x;
            self.other += y * y;
            self.product += x * y;
            self.noise += difference * difference;
            self.largest =
                if difference.is_nan() { f64::INFINITY } else { self.largest.max(difference.abs()) };
        }
        for &x in x.iter().filter(|x| x.is_finite()) {
            let (low, high) = self.observed.unwrap_or((x, x));
            self.observed = Some((low.min(x), high.max(x)));
        }
    }

    /// Takes in the integers that stand for `y`.
    pub fn add_integers(&mut self, stored: &[f32], params: &QuantParams) {
        let Some((low, high)) = params.dtype.integer_range() else { return };
        // What is zero stands at the end of its type on purpose, as behind a Relu.
        let is_zero =
            |integer: i64| params.zero_point.first() == Some(&integer) && params.zero_point.len() == 1;
        let integers = self.integers.get_or_insert(Integers {
            count: 0,
            at_ends: 0,
            least: i64::MAX,
            greatest: i64::MIN,
        });
        for &stored in stored {
            let stored = stored as i64;
            integers.count += 1;
            integers.at_ends += u64::from((stored <= low || stored >= high) && !is_zero(stored));
            integers.least = integers.least.min(stored);
            integers.greatest = integers.greatest.max(stored);
        }
    }

    /// Takes in what the first model makes of the second one's inputs.
    pub fn add_own(&mut self, x: &[f32], y: &[f32]) {
        let (mut signal, mut noise) = self.own.unwrap_or_default();
        for (&x, &y) in x.iter().zip(y) {
            let (x, y) = (finite(x), finite(y));
            signal += x * x;
            noise += (x - y) * (x - y);
        }
        self.own = Some((signal, noise));
    }

    /// Signal to quantization noise, in decibels; `None` where nothing differs.
    pub fn sqnr(&self) -> Option<f64> {
        decibels(self.signal, self.noise)
    }

    /// The same for inputs without error; the outer `None` when it was not measured.
    pub fn own_sqnr(&self) -> Option<Option<f64>> {
        self.own.map(|(signal, noise)| decibels(signal, noise))
    }

    /// Cosine of the angle between the two; 1 where both are zero.
    pub fn cosine(&self) -> f64 {
        match (self.signal == 0.0, self.other == 0.0) {
            (true, true) => 1.0,
            (true, false) | (false, true) => 0.0,
            (false, false) => self.product / (self.signal.sqrt() * self.other.sqrt()),
        }
    }

    /// The share of integers at an end of their type.
    pub fn saturated(&self) -> Option<f64> {
        self.integers.as_ref().map(|found| found.at_ends as f64 / found.count.max(1) as f64)
    }

    /// The share of the integer range, at both ends, that never occurs.
    pub fn dead(&self, params: &QuantParams) -> Option<f64> {
        let found = self.integers.as_ref().filter(|found| found.count > 0)?;
        let (low, high) = params.dtype.integer_range()?;
        let levels = high as f64 - low as f64 + 1.0;
        Some(1.0 - (found.greatest as f64 - found.least as f64 + 1.0) / levels)
    }
}

/// What is not finite counts as the largest f32, so that sums stay numbers.
pub(super) fn finite(number: f32) -> f64 {
    let number = if number.is_nan() { f32::MAX } else { number.clamp(-f32::MAX, f32::MAX) };
    f64::from(number)
}

fn decibels(signal: f64, noise: f64) -> Option<f64> {
    if noise == 0.0 {
        None
    } else if signal == 0.0 {
        // Nothing is there to compare with: as bad as it gets, and a number that JSON can say.
        Some(-200.0)
    } else {
        Some((10.0 * (signal / noise).log10()).clamp(-200.0, 200.0))
    }
}

#[cfg(test)]
mod tests {
    use calipers_ir::{DType, QuantParams};

    use super::Measure;

    // numpy: x = [1, 2, 3], y = [1, 2, 2.5]: 10 log10(14 / 0.25), x @ y / (|x| |y|).
    #[test]
    fn numbers_equal_numpy() {
        let mut measure = Measure::default();
        measure.add(&[1.0, 2.0], &[1.0, 2.0]);
        assert_eq!(measure.sqnr(), None);
        measure.add(&[3.0], &[2.5]);
        assert!((measure.sqnr().unwrap() - 17.481_880).abs() < 1e-5);
        assert!((measure.cosine() - 0.996_023_8).abs() < 1e-6, "{}", measure.cosine());
        assert_eq!((measure.largest, measure.observed), (0.5, Some((1.0, 3.0))));
    }

    #[test]
    fn zeros_behind_a_relu_are_not_saturated() {
        let params =
            QuantParams { scale: vec![0.1], zero_point: vec![0], axis: None, block: None, dtype: DType::U8 };
        let mut measure = Measure::default();
        measure.add_integers(&[0.0, 0.0, 255.0, 127.0], &params);
        assert_eq!(measure.saturated(), Some(0.25));
        assert_eq!(measure.dead(&params), Some(0.0));
        let mut half = Measure::default();
        half.add_integers(&[0.0, 127.0], &params);
        assert_eq!(half.dead(&params), Some(0.5));
    }
}
