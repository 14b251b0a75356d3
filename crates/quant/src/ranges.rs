//! Ranges from histograms: percentile, entropy and mean squared error.
//!
//! What a histogram cannot tell apart is the accuracy of these: within a bin, which is a 512th of the largest magnitude's
//! octave or a 64th of its own octave wide, numbers count as spread evenly.

mod entropy;
mod mse;

pub use entropy::entropy;
pub use mse::{mse, squared_error};

use crate::{Histogram, Range};

/// The range between the quantiles `(1 - p) / 2` and `1 - (1 - p) / 2` for `p = percent / 100`, as in ONNX Runtime's
/// percentile calibration, within `range`, that of all numbers.
pub fn percentile(histogram: &Histogram, range: Range, percent: f64) -> Range {
    let cut = (1.0 - percent / 100.0).clamp(0.0, 1.0) / 2.0 * histogram.count() as f64;
    let bins = histogram.bins(range);
    let from_below = |bins: &mut dyn Iterator<Item = (f64, f64, u64)>| {
        let mut before = 0.0;
        let mut last = 0.0;
        for (near, far, count) in bins {
            let after = before + count as f64;
            if after >= cut {
                return near + (far - near) * (cut - before) / count as f64;
            }
            (before, last) = (after, far);
        }
        last
    };
    let low = from_below(&mut bins.iter().map(|bin| (bin.low, bin.high, bin.count)));
    let high = from_below(&mut bins.iter().rev().map(|bin| (bin.high, bin.low, bin.count)));
    if bins.is_empty() || low > high {
        return range;
    }
    Range { min: low as f32, max: high as f32 }
}

#[cfg(test)]
mod tests {
    use super::percentile;
    use crate::{ActivationScheme, Observer, ObserverKind, Range};

    fn observer(data: &[f32]) -> Observer {
        let mut observer = Observer::new(ObserverKind::Auto);
        observer.observe(data).unwrap();
        observer
    }

    #[test]
    fn a_percentile_leaves_out_both_ends() {
        let data: Vec<f32> = (0..=1000).map(|index| index as f32 - 500.0).collect();
        let observer = observer(&data);
        let (histogram, range) = (observer.histogram.as_ref().unwrap(), observer.range.unwrap());
        assert_eq!(percentile(histogram, range, 100.0), range);
        // Of 1,001 numbers one per cent at each end is ten of them.
        let inner = percentile(histogram, range, 98.0);
        assert!((inner.min + 490.0).abs() < 2.0 && (inner.max - 490.0).abs() < 2.0, "{inner:?}");
    }

    #[test]
    fn one_number_many_times_is_its_own_range() {
        for x in [0f32, 2.5, -1e-20, f32::MAX] {
            let observer = observer(&[x; 10]);
            for kind in ObserverKind::CANDIDATES {
                let range = observer.range_by(kind, &ActivationScheme::default()).unwrap();
                assert!(range.min <= range.max, "{kind} of {x}: {range:?}");
                assert!(range.min.min(0.0) <= x && x <= range.max.max(0.0), "{kind} of {x}: {range:?}");
            }
            assert_eq!(
                observer.range_by(ObserverKind::Percentile { percent: 99.9 }, &ActivationScheme::default()),
                Some(Range { min: x, max: x })
            );
        }
    }
}
