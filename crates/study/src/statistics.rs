//! Intervals: of a share, and of a paired ratio.

use calipers_random::Random;

pub use calipers_inspect::statistics::{Interval, wilson};

const RESAMPLES: usize = 2_000;

/// Quantile of sorted numbers by linear interpolation between the two nearest ranks. 0 for no numbers.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (place - place.floor())
}

/// Median of numbers in any order. 0 for no numbers.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, 0.5)
}

/// The geometric mean of `numerators[i] / denominators[i]` over pairs measured side by side, with the percentile
/// bootstrap interval over pairs (Efron, "Bootstrap methods: another look at the jackknife", 1979), of 2,000 resamples
/// drawn by `seed`. `None` when there is no pair, or a number that is not positive.
pub fn paired_ratio(numerators: &[f64], denominators: &[f64], seed: u64) -> Option<Interval> {
    let logs: Vec<f64> = numerators.iter().zip(denominators).map(|(a, b)| (a / b).ln()).collect();
    if logs.is_empty() || logs.iter().any(|log| !log.is_finite()) {
        return None;
    }
    let mut random = Random::new(seed, "study/bootstrap");
    let mean =
        |draw: &mut dyn FnMut() -> f64| (0..logs.len()).map(|_| draw()).sum::<f64>() / logs.len() as f64;
    let mut means: Vec<f64> =
        (0..RESAMPLES).map(|_| mean(&mut || logs[random.below(logs.len() as u64) as usize])).collect();
    means.sort_by(f64::total_cmp);
    Some(Interval {
        value: (logs.iter().sum::<f64>() / logs.len() as f64).exp(),
        low: quantile(&means, 0.025).exp(),
        high: quantile(&means, 0.975).exp(),
    })
}

#[cfg(test)]
mod tests {
    use super::{median, paired_ratio, quantile};

    // Numbers of numpy.quantile([1, 2, 4, 8], [0.5, 0.9]).
    #[test]
    fn quantiles_equal_numpy() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        assert_eq!((quantile(&sorted, 0.5), median(&[8.0, 1.0, 4.0, 2.0])), (3.0, 3.0));
        assert!((quantile(&sorted, 0.9) - 6.8).abs() < 1e-12);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }

    #[test]
    fn a_ratio_is_measured_within_pairs() {
        // A machine that slows down for both leaves the ratio alone.
        let slow: Vec<f64> = (0..20).map(|round| 2.0 + f64::from(round)).collect();
        let fast: Vec<f64> = slow.iter().map(|time| time / 2.0).collect();
        let ratio = paired_ratio(&fast, &slow, 1).unwrap();
        assert!((ratio.value - 0.5).abs() < 1e-12 && ratio.relative_width() < 1e-9);
        let noisy: Vec<f64> =
            slow.iter().enumerate().map(|(i, time)| time * if i % 2 == 0 { 1.1 } else { 0.9 }).collect();
        let interval = paired_ratio(&noisy, &slow, 1).unwrap();
        assert!(interval.contains(1.0) && interval.relative_width() > 0.03, "{interval:?}");
        assert_eq!(paired_ratio(&[], &[], 1), None);
        assert_eq!(paired_ratio(&[0.0], &[1.0], 1), None);
    }
}
