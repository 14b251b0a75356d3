//! Shares and differences of shares with their 95 % intervals.

use serde::{Deserialize, Serialize};

/// An estimate with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The estimate.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Whether a number lies inside, the ends included.
    pub fn contains(&self, number: f64) -> bool {
        (self.low..=self.high).contains(&number)
    }

    /// Upper end over lower end, less one.
    pub fn relative_width(&self) -> f64 {
        self.high / self.low - 1.0
    }
}

const Z_95: f64 = 1.959_963_984_540_054;

/// Share of successes with Wilson's score interval
/// (Wilson, "Probable inference, the law of succession, and statistical inference", 1927).
pub fn wilson(successes: usize, trials: usize) -> Interval {
    if trials == 0 {
        return Interval { value: f64::NAN, low: 0.0, high: 1.0 };
    }
    let (n, p) = (trials as f64, successes as f64 / trials as f64);
    let z2 = Z_95 * Z_95;
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z_95 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    Interval { value: p, low: (centre - half).max(0.0), high: (centre + half).min(1.0) }
}

/// Difference of two shares of the same trials, of which `gained` succeeded only the second time and `lost` only the first
/// time, with the interval of Agresti and Min ("Simple improved confidence intervals for comparing matched proportions",
/// 2005): Wald's with half a trial added to each of the four counts.
pub fn paired_difference(gained: usize, lost: usize, trials: usize) -> Interval {
    if trials == 0 {
        return Interval { value: f64::NAN, low: -1.0, high: 1.0 };
    }
    let n = trials as f64 + 2.0;
    let difference = gained as f64 - lost as f64;
    let (centre, discordant) = (difference / n, (gained + lost) as f64 + 1.0);
    let half = Z_95 * (discordant / n - centre * centre).max(0.0).sqrt() / n.sqrt();
    Interval {
        value: difference / trials as f64,
        low: (centre - half).max(-1.0),
        high: (centre + half).min(1.0),
    }
}

/// Difference `a - b` of two shares of different trials, each with its Wilson interval (Newcombe, "Interval estimation for
/// the difference between independent proportions", 1998, method 10). Of the same trials it is wider than it need be.
pub fn unpaired_difference(a: Interval, b: Interval) -> Interval {
    let value = a.value - b.value;
    Interval {
        value,
        low: value - (a.value - a.low).hypot(b.high - b.value),
        high: value + (a.high - a.value).hypot(b.value - b.low),
    }
}

#[cfg(test)]
mod tests {
    use super::{paired_difference, unpaired_difference, wilson};

    // Numbers of statsmodels.stats.proportion.proportion_confint(count, nobs, method="wilson").
    #[test]
    fn wilson_equals_statsmodels() {
        let interval = wilson(8, 10);
        assert!((interval.low - 0.490_162_1).abs() < 1e-6, "{interval:?}");
        assert!((interval.high - 0.943_317_8).abs() < 1e-6, "{interval:?}");
        assert_eq!((wilson(0, 5).low, wilson(5, 5).high), (0.0, 1.0));
    }

    // The formula of the paper by hand: (20 - 10) / 102 +- 1.96 sqrt(31 / 102 - (10 / 102)^2) / sqrt(102).
    #[test]
    fn paired_differences_by_hand() {
        let interval = paired_difference(20, 10, 100);
        assert!((interval.value - 0.1).abs() < 1e-12);
        assert!((interval.low + 0.007_241_9).abs() < 1e-6, "{interval:?}");
        assert!((interval.high - 0.203_320_3).abs() < 1e-6, "{interval:?}");
        let nothing = paired_difference(0, 0, 1_000);
        assert!(nothing.contains(0.0) && nothing.high < 0.01, "{nothing:?}");
    }

    // Table II of the paper, method 10: 56/70 - 48/80 and 9/10 - 3/10.
    #[test]
    fn unpaired_differences_equal_newcombe() {
        for (a, b, low, high) in [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090)] {
            let found = unpaired_difference(wilson(a.0, a.1), wilson(b.0, b.1));
            assert!((found.low - low).abs() < 5e-5 && (found.high - high).abs() < 5e-5, "{found:?}");
        }
    }
}
