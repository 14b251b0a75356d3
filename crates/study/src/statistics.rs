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

/// The median of `numerators[i] / denominators[i]` over pairs measured side by side, with the percentile bootstrap
/// interval over pairs (Efron, "Bootstrap methods: another look at the jackknife", 1979), of 2,000 resamples drawn by
/// `seed`. A few pairs that something else on the machine disturbed do not move a median. `None` when there is no pair, or
/// a number that is not positive.
pub fn paired_ratio(numerators: &[f64], denominators: &[f64], seed: u64) -> Option<Interval> {
    let ratios: Vec<f64> = numerators.iter().zip(denominators).map(|(a, b)| a / b).collect();
    if ratios.is_empty() || ratios.iter().any(|ratio| !ratio.is_finite() || *ratio <= 0.0) {
        return None;
    }
    let mut random = Random::new(seed, "study/bootstrap");
    let mut draw = || ratios[random.below(ratios.len() as u64) as usize];
    let mut medians: Vec<f64> =
        (0..RESAMPLES).map(|_| median(&(0..ratios.len()).map(|_| draw()).collect::<Vec<f64>>())).collect();
    medians.sort_by(f64::total_cmp);
    Some(Interval { value: median(&ratios), low: quantile(&medians, 0.025), high: quantile(&medians, 0.975) })
}

/// Difference of the shares of right decisions of two models on the same samples: `gained` samples only the first gets
/// right, `lost` only the second. With the percentile bootstrap interval over samples, of 2,000 resamples drawn by
/// `seed`. Resamples are drawn from the counts with half a sample added to each of the four outcomes (Agresti and Min,
/// "Effects and non-effects of paired identical observations in comparing proportions with binary matched-pairs data",
/// 2004): from the bare counts, an outcome that was seen on no sample would count as one that is impossible.
pub fn paired_difference(gained: usize, lost: usize, samples: usize, seed: u64) -> Interval {
    let n = samples.max(1) as f64;
    let value = (gained as f64 - lost as f64) / n;
    let discordant = (gained + lost + 1) as f64;
    let share_gained = (gained as f64 + 0.5) / discordant;
    let mut random = Random::new(seed, "study/difference");
    // A resample has a binomial number of discordant samples, of which a binomial number is gained.
    let mut differences: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn = binomial(&mut random, samples, discordant / (n + 2.0));
            let gained = binomial(&mut random, drawn, share_gained);
            (2.0 * gained as f64 - drawn as f64) / n
        })
        .collect();
    differences.sort_by(f64::total_cmp);
    Interval { value, low: quantile(&differences, 0.025), high: quantile(&differences, 0.975) }
}

/// Successes among trials that each succeed with probability `share`, counted by the gaps between them (Devroye,
/// "Non-uniform random variate generation", 1986, X.4.3).
fn binomial(random: &mut Random, trials: usize, share: f64) -> usize {
    if share <= 0.0 {
        return 0;
    }
    if share > 0.5 {
        return trials - binomial(random, trials, 1.0 - share);
    }
    let log = (-share).ln_1p();
    let (mut successes, mut at) = (0, 0.0);
    loop {
        at += ((1.0 - random.uniform_f64()).ln() / log).floor() + 1.0;
        if at > trials as f64 {
            return successes;
        }
        successes += 1;
    }
}

/// Two-sided p-value of McNemar's exact test: how likely it is that of `gained + lost` samples on which only one of two
/// equally good models is right, the split is as uneven as it is, or more (McNemar, "Note on the sampling error of the
/// difference between correlated proportions or percentages", 1947; the exact form is the binomial test at 1/2).
pub fn mcnemar(gained: usize, lost: usize) -> f64 {
    let n = gained + lost;
    let least = gained.min(lost);
    // ln C(n, k) by its recurrence, so that thousands of samples do not overflow.
    let mut log = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = log.exp();
    for k in 1..=least {
        log += ((n - k + 1) as f64 / k as f64).ln();
        tail += log.exp();
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::{mcnemar, median, paired_difference, paired_ratio, quantile};

    // Numbers of scipy.stats.binomtest(min(b, c), b + c, 0.5).pvalue.
    #[test]
    fn mcnemar_equals_scipy() {
        for (gained, lost, expected) in [
            (5, 15, 0.041_389_465),
            (0, 0, 1.0),
            (10, 10, 1.0),
            (1, 12, 0.003_417_969),
            (300, 360, 0.021_568),
        ] {
            assert!(
                (mcnemar(gained, lost) - expected).abs() < 1e-5,
                "{gained} {lost}: {}",
                mcnemar(gained, lost)
            );
        }
    }

    #[test]
    fn a_paired_difference_has_the_width_of_its_discordant_samples() {
        let interval = paired_difference(30, 50, 1_000, 1);
        assert!((interval.value + 0.02).abs() < 1e-12);
        // Wald: sqrt(0.08 - 0.02^2) / sqrt(1000) = 0.00892, times 1.96.
        assert!((interval.high - interval.low - 2.0 * 1.96 * 0.008_92).abs() < 0.003, "{interval:?}");
        // Where few samples differ, it agrees with McNemar's test: p is 0.125 for 4 against none.
        let few = paired_difference(0, 4, 2_000, 1);
        assert!(few.low < 0.0 && few.high >= 0.0, "{few:?}");
        let none = paired_difference(0, 0, 100, 1);
        assert!(none.low < 0.0 && none.high > 0.0, "{none:?}");
    }

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
        // Three rounds that something else disturbed are no difference.
        let disturbed: Vec<f64> =
            slow.iter().enumerate().map(|(i, time)| time * if i % 7 == 0 { 3.0 } else { 1.0 }).collect();
        let ratio = paired_ratio(&disturbed, &slow, 1).unwrap();
        assert!((ratio.value - 1.0).abs() < 1e-12 && ratio.relative_width() < 1e-9, "{ratio:?}");
        assert_eq!(paired_ratio(&[], &[], 1), None);
        assert_eq!(paired_ratio(&[0.0], &[1.0], 1), None);
    }
}
