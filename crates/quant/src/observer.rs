//! Running statistics of one value in bounded memory.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{ActivationScheme, Histogram, ranges};

/// The extremes of a set of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The smallest.
    pub min: f32,
    /// The largest.
    pub max: f32,
}

impl Range {
    /// The range of a slice; `None` when it is empty.
    ///
    /// # Errors
    /// The first element that is not finite.
    pub fn of(data: &[f32]) -> Result<Option<Range>, NotFinite> {
        // Sixteen independent lanes, because a float minimum in order is one long chain of dependent instructions.
        let mut lanes = [(f32::INFINITY, f32::NEG_INFINITY, 0u32); 16];
        let (chunks, rest) = data.as_chunks::<16>();
        let take = |lane: &mut (f32, f32, u32), x: f32| {
            lane.0 = if x < lane.0 { x } else { lane.0 };
            lane.1 = if x > lane.1 { x } else { lane.1 };
            lane.2 = lane.2.max(x.to_bits() & 0x7fff_ffff);
        };
        for chunk in chunks {
            for (lane, &x) in lanes.iter_mut().zip(chunk) {
                take(lane, x);
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(rest) {
            take(lane, x);
        }
        if lanes.iter().any(|lane| lane.2 >= f32::INFINITY.to_bits()) {
            let index = data.iter().position(|x| !x.is_finite()).unwrap_or_default();
            return Err(NotFinite { index, found: data[index] });
        }
        let range = lanes.iter().fold(Range { min: f32::INFINITY, max: f32::NEG_INFINITY }, |range, lane| {
            range.union(Range { min: lane.0, max: lane.1 })
        });
        Ok((!data.is_empty()).then_some(range))
    }

    /// Whether both ends are numbers.
    pub fn is_finite(self) -> bool {
        self.min.is_finite() && self.max.is_finite()
    }

    /// A range that is moved towards another by a share of their distance.
    fn moved(self, to: Range, share: f32) -> Range {
        Range { min: self.min + share * (to.min - self.min), max: self.max + share * (to.max - self.max) }
    }

    /// The smallest range that holds both.
    pub fn union(self, other: Range) -> Range {
        Range { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// An element that is NaN or infinite.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[error("element {index} is {found}")]
pub struct NotFinite {
    /// Position in the slice.
    pub index: usize,
    /// What was there.
    pub found: f32,
}

/// How the range of an activation is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ObserverKind {
    /// The one of min-max, percentiles, entropy and MSE that changes least what the readers of the value compute. See
    /// [`crate::judge`]; where nothing was judged, MSE.
    #[default]
    Auto,
    /// `min = min(min, min(X))`, `max = max(max, max(X))`, as PyTorch's `MinMaxObserver`.
    MinMax,
    /// The first tensor's range, then `min = min + c (min(X) - min)` and the same for `max`, in f32, as PyTorch's
    /// `MovingAverageMinMaxObserver`. The order of the tensors matters.
    MovingAverage {
        /// The weight `c` of the newest tensor, above 0 and at most 1.
        #[serde(default = "averaging_constant")]
        constant: f32,
    },
    /// The range that leaves out the same share of numbers at either end. See [`ranges::percentile`].
    Percentile {
        /// Per cent of the numbers that lie within, above 0 and at most 100.
        #[serde(default = "percent")]
        percent: f32,
    },
    /// The range whose quantized distribution diverges least from the one observed. See [`ranges::entropy`].
    Entropy,
    /// The range with the least mean squared error of what was observed. See [`ranges::mse`].
    Mse,
}

/// PyTorch's default weight of the newest tensor in a moving average.
pub fn averaging_constant() -> f32 {
    0.01
}

fn percent() -> f32 {
    99.99
}

impl ObserverKind {
    /// The kinds that [`ObserverKind::Auto`] chooses from; an earlier one wins a draw.
    pub const CANDIDATES: [ObserverKind; 6] = [
        ObserverKind::MinMax,
        ObserverKind::Percentile { percent: 99.999 },
        ObserverKind::Percentile { percent: 99.99 },
        ObserverKind::Percentile { percent: 99.9 },
        ObserverKind::Mse,
        ObserverKind::Entropy,
    ];

    /// Whether the range comes from a histogram.
    pub fn needs_histogram(self) -> bool {
        match self {
            ObserverKind::MinMax | ObserverKind::MovingAverage { .. } => false,
            ObserverKind::Auto
            | ObserverKind::Percentile { .. }
            | ObserverKind::Entropy
            | ObserverKind::Mse => true,
        }
    }

    /// What is wrong with the constants of the kind.
    pub(crate) fn check(self) -> Result<(), (&'static str, f32)> {
        match self {
            ObserverKind::MovingAverage { constant } if !(constant > 0.0 && constant <= 1.0) => {
                Err(("an averaging constant above 0 and at most 1", constant))
            }
            ObserverKind::Percentile { percent } if !(percent > 0.0 && percent <= 100.0) => {
                Err(("a percentage above 0 and at most 100", percent))
            }
            ObserverKind::Auto
            | ObserverKind::MinMax
            | ObserverKind::MovingAverage { .. }
            | ObserverKind::Percentile { .. }
            | ObserverKind::Entropy
            | ObserverKind::Mse => Ok(()),
        }
    }
}

impl std::fmt::Display for ObserverKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ObserverKind::Auto => f.write_str("auto"),
            ObserverKind::MinMax => f.write_str("min-max"),
            ObserverKind::MovingAverage { constant } => write!(f, "moving average {constant}"),
            ObserverKind::Percentile { percent } => write!(f, "percentile {percent}"),
            ObserverKind::Entropy => f.write_str("entropy"),
            ObserverKind::Mse => f.write_str("MSE"),
        }
    }
}

/// A moving average of ranges.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Average {
    /// The range of the first tensor.
    pub first: Range,
    /// The average so far.
    pub now: Range,
    /// Tensors in it: those that were not empty.
    pub tensors: u64,
}

/// What a candidate of [`ObserverKind::Auto`] does to the readers of a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// How its range was found.
    pub observer: ObserverKind,
    /// That range.
    pub range: Range,
    /// Squared error of what the readers compute, relative to its square, summed over the readers.
    pub error: f64,
}

/// The statistics of one value: its extremes, how much it was seen, and what the kind of observer needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observer {
    /// How the range is found.
    pub kind: ObserverKind,
    /// The smallest and the largest number so far; `None` before the first element.
    pub range: Option<Range>,
    /// The moving average, for observers of that kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average: Option<Average>,
    /// Tensors seen.
    pub tensors: u64,
    /// Elements seen.
    pub elements: u64,
    /// How the numbers are distributed, for the kinds that need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram: Option<Histogram>,
    /// The candidates of an automatic choice, in the order of [`ObserverKind::CANDIDATES`]; empty before they are
    /// judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

impl Observer {
    /// An observer that has seen nothing.
    pub fn new(kind: ObserverKind) -> Self {
        Observer {
            kind,
            range: None,
            average: None,
            tensors: 0,
            elements: 0,
            histogram: kind.needs_histogram().then(Histogram::default),
            candidates: Vec::new(),
        }
    }

    /// Takes in one tensor. An empty one counts, and changes no range.
    ///
    /// # Errors
    /// The first element that is not finite; the statistics are then as before.
    pub fn observe(&mut self, data: &[f32]) -> Result<(), NotFinite> {
        let seen = Range::of(data)?;
        if let Some(seen) = seen {
            if let ObserverKind::MovingAverage { constant } = self.kind {
                let now = match self.average {
                    None => seen,
                    Some(Average { now, .. }) => now.moved(seen, constant),
                };
                // A difference of two numbers near the largest overflows.
                if !now.is_finite() {
                    return Err(NotFinite { index: 0, found: now.max - now.min });
                }
                let average = self.average.unwrap_or(Average { first: seen, now, tensors: 0 });
                self.average = Some(Average { now, tensors: average.tensors + 1, ..average });
            }
            self.range = Some(self.range.map_or(seen, |range| range.union(seen)));
            if let Some(histogram) = &mut self.histogram {
                histogram.add(data, seen);
            }
            self.candidates.clear();
        }
        self.tensors += 1;
        self.elements += data.len() as u64;
        Ok(())
    }

    /// Takes in what another observer of the same kind saw of other tensors of the same value. For a moving average,
    /// they come after the tensors of this one. What was judged is forgotten, because ranges change.
    ///
    /// # Errors
    /// A sentence, when the observers are of two kinds.
    pub fn merge(&mut self, other: &Observer) -> Result<(), String> {
        if self.kind != other.kind {
            return Err(format!(
                "its two observers are of different kinds, {} and {}; observe with one recipe",
                self.kind, other.kind
            ));
        }
        self.range = match (self.range, other.range) {
            (Some(a), Some(b)) => Some(a.union(b)),
            (range, None) | (None, range) => range,
        };
        self.average = match (self.average, other.average, self.kind) {
            (Some(a), Some(b), ObserverKind::MovingAverage { constant }) => {
                // Had `b` begun with the average of `a` in the place of its first range, that difference would have
                // shrunk by `1 - c` with each tensor.
                let left = (1.0 - constant).powi(i32::try_from(b.tensors).unwrap_or(i32::MAX));
                let end = |a: f32, first: f32, now: f32| now + left * (a - first);
                let now = Range {
                    min: end(a.now.min, b.first.min, b.now.min),
                    max: end(a.now.max, b.first.max, b.now.max),
                };
                Some(Average { first: a.first, now, tensors: a.tensors + b.tensors })
            }
            (average, None, _) | (None, average, _) | (average, Some(_), _) => average,
        };
        if let (Some(histogram), Some(more)) = (&mut self.histogram, &other.histogram) {
            histogram.merge(more);
        }
        self.tensors += other.tensors;
        self.elements += other.elements;
        self.candidates.clear();
        Ok(())
    }

    /// The range that a kind of observer finds in these statistics for a scheme; `None` when nothing was seen, or the
    /// statistics lack what that kind needs.
    pub fn range_by(&self, kind: ObserverKind, scheme: &ActivationScheme) -> Option<Range> {
        let range = self.range?;
        match kind {
            ObserverKind::Auto => match self.winner() {
                Some(winner) => Some(winner.range),
                None => self.range_by(ObserverKind::Mse, scheme),
            },
            ObserverKind::MinMax => Some(range),
            ObserverKind::MovingAverage { .. } => Some(self.average?.now),
            ObserverKind::Percentile { percent } => {
                Some(ranges::percentile(self.histogram.as_ref()?, range, f64::from(percent)))
            }
            ObserverKind::Entropy => Some(ranges::entropy(self.histogram.as_ref()?, range, scheme.dtype)),
            ObserverKind::Mse => Some(ranges::mse(self.histogram.as_ref()?, range, scheme)),
        }
    }

    /// The candidate of the least error; the first of several.
    pub fn winner(&self) -> Option<&Candidate> {
        self.candidates.iter().min_by(|a, b| a.error.total_cmp(&b.error))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{NotFinite, Observer, ObserverKind, Range};
    use crate::ActivationScheme;

    #[test]
    fn not_finite_is_refused_and_changes_nothing() {
        let mut observer = Observer::new(ObserverKind::Auto);
        observer.observe(&[1.0, -2.0]).unwrap();
        let before = observer.clone();
        for bad in [f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(observer.observe(&[9.0, bad]), Err(NotFinite { index: 1, found: bad }));
        }
        assert!(observer.observe(&[f32::NAN]).unwrap_err().found.is_nan());
        assert_eq!(observer, before);
    }

    #[test]
    fn observers_of_two_kinds_do_not_merge() {
        let mut average = Observer::new(ObserverKind::MovingAverage { constant: 0.01 });
        let error = average.merge(&Observer::new(ObserverKind::MinMax)).unwrap_err();
        assert!(error.contains("moving average 0.01 and min-max"), "{error}");
    }

    fn observe(kind: ObserverKind, tensors: &[Vec<f32>]) -> Observer {
        let mut observer = Observer::new(kind);
        for tensor in tensors {
            observer.observe(tensor).unwrap();
        }
        observer
    }

    proptest! {
        #[test]
        fn the_range_is_that_of_a_plain_loop(
            data in prop::collection::vec(-1e30f32..1e30, 0..70),
            bad in prop::option::of(0usize..70),
        ) {
            let mut data = data;
            match bad {
                Some(index) if index < data.len() => {
                    data[index] = f32::NAN;
                    prop_assert_eq!(Range::of(&data).unwrap_err().index, index);
                }
                _ => {
                    let ends = |range: Range| (range.min, range.max);
                    let min = data.iter().copied().reduce(f32::min);
                    let max = data.iter().copied().reduce(f32::max);
                    prop_assert_eq!(Range::of(&data).unwrap().map(ends), min.zip(max));
                }
            }
        }

        #[test]
        fn merged_is_the_observer_of_all(
            tensors in prop::collection::vec(prop::collection::vec(-1e30f32..1e30, 0..9), 0..9),
            split in 0usize..9,
        ) {
            let split = split.min(tensors.len());
            for kind in [ObserverKind::MinMax, ObserverKind::Auto] {
                let mut merged = observe(kind, &tensors[..split]);
                merged.merge(&observe(kind, &tensors[split..])).unwrap();
                prop_assert_eq!(&merged, &observe(kind, &tensors));
                let all = tensors.concat();
                prop_assert_eq!(merged.range.map(|range| range.min), all.iter().copied().reduce(f32::min));
                prop_assert_eq!(merged.range.map(|range| range.max), all.iter().copied().reduce(f32::max));
            }
        }

        #[test]
        fn a_moving_average_merges_and_stays_within_what_was_seen(
            tensors in prop::collection::vec(prop::collection::vec(-1e3f32..1e3, 1..9), 1..9),
            split in 0usize..9,
        ) {
            let kind = ObserverKind::MovingAverage { constant: 0.25 };
            let observer = observe(kind, &tensors);
            let all = Range::of(&tensors.concat()).unwrap().unwrap();
            let range = observer.range_by(kind, &ActivationScheme::default()).unwrap();
            prop_assert!(range.min >= all.min - 1e-3 && range.max <= all.max + 1e-3);
            let split = split.min(tensors.len());
            let mut merged = observe(kind, &tensors[..split]);
            merged.merge(&observe(kind, &tensors[split..])).unwrap();
            let again = merged.range_by(kind, &ActivationScheme::default()).unwrap();
            prop_assert!((again.min - range.min).abs() < 1e-2 && (again.max - range.max).abs() < 1e-2);
            prop_assert_eq!(merged.tensors, observer.tensors);
        }
    }
}
