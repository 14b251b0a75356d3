//! The range with the least squared error.

use crate::histogram::Bin;
use crate::{ActivationScheme, Histogram, Parameters, Range};

/// Candidates for an end of the range, each smaller than the one before by this factor.
const STEP: f64 = 0.943_874_312_681_693_5; // 2^(-1/12)
/// How many of them.
const STEPS: usize = 72;

/// The range, within `range`, whose quantized numbers have the least squared error, by turns for its two ends: each is
/// tried at `2^(-k/12)` of where it stood for `k` up to 72, the other end as found so far, until neither moves. When
/// symmetric, both ends are one.
pub fn mse(histogram: &Histogram, range: Range, scheme: &ActivationScheme) -> Range {
    let bins = histogram.bins(range);
    let error = |range: Range| squared_error(&bins, &Parameters::of_activation(range, scheme));
    let (low, high) = (range.min.min(0.0), range.max.max(0.0));
    let mut best = (error(range), Range { min: low, max: high });
    let factors = || std::iter::successors(Some(1f64), |factor| Some(factor * STEP)).take(STEPS + 1);
    let shrunk = |end: f32, factor: f64| (f64::from(end) * factor) as f32;
    let ends: &[[bool; 2]] = match (low < 0.0, high > 0.0) {
        (true, true) if scheme.symmetric => &[[true, true]],
        (true, true) => &[[true, true], [false, true], [true, false]],
        (true, false) => &[[true, false]],
        (false, true) => &[[false, true]],
        (false, false) => return range,
    };
    for _ in 0..3 {
        let before = best.1;
        for &[at_low, at_high] in ends {
            let from = best.1;
            for factor in factors() {
                let candidate = if scheme.symmetric {
                    let end = shrunk(high.max(-low), factor);
                    Range { min: low.max(-end), max: high.min(end) }
                } else if at_low && at_high {
                    Range { min: shrunk(from.min, factor), max: shrunk(from.max, factor) }
                } else {
                    Range {
                        min: if at_low { shrunk(low, factor) } else { from.min },
                        max: if at_high { shrunk(high, factor) } else { from.max },
                    }
                };
                let found = error(candidate);
                if found < best.0 {
                    best = (found, candidate);
                }
            }
        }
        if before == best.1 || scheme.symmetric {
            break;
        }
    }
    best.1
}

/// The sum of squared differences between numbers and what they become, with numbers spread evenly within their bins.
pub fn squared_error(bins: &[Bin], parameters: &Parameters) -> f64 {
    let scale = f64::from(parameters.scale.first().copied().unwrap_or(1.0));
    let zero_point = f64::from(parameters.zero_point.first().copied().unwrap_or(0));
    let (least, largest) = parameters.dtype.limits();
    let (low, high) = (f64::from(least) - zero_point, f64::from(largest) - zero_point);
    // In units of the scale: the integral from 0 of the squared distance to the nearest integer, and beyond the ends of
    // the squared distance to the end. Between integers that distance integrates to 1/12.
    let integral = |x: f64| {
        let within = x.clamp(low, high);
        let nearest = within.round();
        nearest / 12.0 + (within - nearest).powi(3) / 3.0 + (x - within).powi(3) / 3.0
    };
    let at = |x: f64| {
        let distance = x - x.round_ties_even().clamp(low, high);
        distance * distance
    };
    let sum: f64 = bins
        .iter()
        .map(|bin| {
            let (from, to) = (bin.low / scale, bin.high / scale);
            // Narrow bins are as points: the difference of two integrals would lose its digits.
            let mean = if to - from < 1e-3 {
                at((from + to) / 2.0)
            } else {
                (integral(to) - integral(from)) / (to - from)
            };
            mean.max(0.0) * bin.count as f64
        })
        .sum();
    sum * scale * scale
}

#[cfg(test)]
mod tests {
    use super::squared_error;
    use crate::histogram::Bin;
    use crate::{IntegerType, Parameters};

    fn parameters(scale: f32, zero_point: i32) -> Parameters {
        Parameters::one(IntegerType::U8, scale, zero_point)
    }

    #[test]
    fn the_error_of_evenly_spread_numbers_is_a_twelfth_of_a_square() {
        let bins = [Bin { low: 0.0, high: 100.0, count: 12 }];
        assert!((squared_error(&bins, &parameters(1.0, 0)) - 1.0).abs() < 1e-9);
        assert!((squared_error(&bins, &parameters(0.5, 0)) - 0.25).abs() < 1e-9);
    }

    #[test]
    fn clipped_numbers_lie_at_the_end() {
        // Between 255 and 265 the mean squared distance to 255 is 100 / 3; the integers end at 255.
        let bins = [Bin { low: 255.0, high: 265.0, count: 3 }];
        assert!((squared_error(&bins, &parameters(1.0, 0)) - 100.0).abs() < 1e-6);
        let below = [Bin { low: -10.0, high: 0.0, count: 3 }, Bin { low: 4.25, high: 4.25, count: 2 }];
        assert!((squared_error(&below, &parameters(1.0, 0)) - 100.125).abs() < 1e-6);
    }
}
