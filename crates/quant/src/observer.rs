//! Running statistics of one value in bounded memory.

use serde::{Deserialize, Serialize};
use thiserror::Error;

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

/// How the ranges of several tensors become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ObserverKind {
    /// `min = min(min, min(X))`, `max = max(max, max(X))`, as PyTorch's `MinMaxObserver`.
    #[default]
    MinMax,
    /// The first tensor's range, then `min = min + c (min(X) - min)` and the same for `max`, in f32, as PyTorch's
    /// `MovingAverageMinMaxObserver`. The order of the tensors matters.
    MovingAverage {
        /// The weight `c` of the newest tensor, above 0 and at most 1.
        #[serde(default = "averaging_constant")]
        constant: f32,
    },
}

/// PyTorch's default weight of the newest tensor in a moving average.
pub fn averaging_constant() -> f32 {
    0.01
}

/// The statistics of one value: a range and how much it was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observer {
    /// How tensors are combined.
    pub kind: ObserverKind,
    /// The range so far; `None` before the first element.
    pub range: Option<Range>,
    /// Tensors seen.
    pub tensors: u64,
    /// Elements seen.
    pub elements: u64,
}

impl Observer {
    /// An observer that has seen nothing.
    pub fn new(kind: ObserverKind) -> Self {
        Observer { kind, range: None, tensors: 0, elements: 0 }
    }

    /// Takes in one tensor. An empty one counts, and changes no range.
    ///
    /// # Errors
    /// The first element that is not finite; the statistics are then as before.
    pub fn observe(&mut self, data: &[f32]) -> Result<(), NotFinite> {
        let seen = Range::of(data)?;
        let range = match (self.range, seen) {
            (range, None) => range,
            (None, Some(seen)) => Some(seen),
            (Some(range), Some(seen)) => Some(match self.kind {
                ObserverKind::MinMax => range.union(seen),
                ObserverKind::MovingAverage { constant } => Range {
                    min: range.min + constant * (seen.min - range.min),
                    max: range.max + constant * (seen.max - range.max),
                },
            }),
        };
        // A difference of two numbers near the largest overflows.
        if let Some(overflown) = range.filter(|range| !range.is_finite()) {
            return Err(NotFinite { index: 0, found: overflown.max - overflown.min });
        }
        self.range = range;
        self.tensors += 1;
        self.elements += data.len() as u64;
        Ok(())
    }

    /// Takes in what another observer saw of other tensors of the same value.
    ///
    /// # Errors
    /// A sentence, unless both are min-max observers: a moving average depends on the order of the tensors, which two
    /// separate observers no longer know.
    pub fn merge(&mut self, other: &Observer) -> Result<(), String> {
        if self.kind != ObserverKind::MinMax || other.kind != ObserverKind::MinMax {
            return Err(format!(
                "only min-max observers merge, because a moving average depends on the order of tensors; found {:?} \
                 and {:?}. Observe all tensors with one observer",
                self.kind, other.kind
            ));
        }
        self.range = match (self.range, other.range) {
            (Some(a), Some(b)) => Some(a.union(b)),
            (range, None) | (None, range) => range,
        };
        self.tensors += other.tensors;
        self.elements += other.elements;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{NotFinite, Observer, ObserverKind, Range};

    #[test]
    fn not_finite_is_refused_and_changes_nothing() {
        let mut observer = Observer::new(ObserverKind::MinMax);
        observer.observe(&[1.0, -2.0]).unwrap();
        let before = observer.clone();
        for bad in [f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(observer.observe(&[9.0, bad]), Err(NotFinite { index: 1, found: bad }));
        }
        assert!(observer.observe(&[f32::NAN]).unwrap_err().found.is_nan());
        assert_eq!(observer, before);
    }

    #[test]
    fn moving_averages_do_not_merge() {
        let mut average = Observer::new(ObserverKind::MovingAverage { constant: 0.01 });
        let error = average.merge(&Observer::new(ObserverKind::MinMax)).unwrap_err();
        assert!(error.contains("order of tensors"), "{error}");
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
        fn min_max_merged_is_min_max_of_all(
            tensors in prop::collection::vec(prop::collection::vec(-1e30f32..1e30, 0..9), 0..9),
            split in 0usize..9,
        ) {
            let observe = |tensors: &[Vec<f32>]| {
                let mut observer = Observer::new(ObserverKind::MinMax);
                for tensor in tensors {
                    observer.observe(tensor).unwrap();
                }
                observer
            };
            let split = split.min(tensors.len());
            let mut merged = observe(&tensors[..split]);
            merged.merge(&observe(&tensors[split..])).unwrap();
            prop_assert_eq!(&merged, &observe(&tensors));
            let all = tensors.concat();
            prop_assert_eq!(merged.range.map(|range| range.min), all.iter().copied().reduce(f32::min));
            prop_assert_eq!(merged.range.map(|range| range.max), all.iter().copied().reduce(f32::max));
        }

        #[test]
        fn a_moving_average_stays_within_what_was_seen(
            tensors in prop::collection::vec(prop::collection::vec(-1e3f32..1e3, 1..9), 1..9),
        ) {
            let mut observer = Observer::new(ObserverKind::MovingAverage { constant: 0.25 });
            for tensor in &tensors {
                observer.observe(tensor).unwrap();
            }
            let all = Range::of(&tensors.concat()).unwrap().unwrap();
            let range = observer.range.unwrap();
            prop_assert!(range.min >= all.min - 1e-3 && range.max <= all.max + 1e-3);
        }
    }
}
