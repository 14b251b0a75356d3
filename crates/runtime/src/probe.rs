//! The one hook into a run: what a probe wants is said before planning, and handed over as the plan produces it.

use std::collections::BTreeMap;
use std::time::Duration;

use calipers_ir::Tensor;

use crate::plan::StepInfo;

/// What a probe wants of a run. Values and times are never taken in the same run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Demand {
    /// Nothing.
    #[default]
    Nothing,
    /// The values of these names.
    Values(Vec<String>),
    /// How long each step takes.
    Times,
}

/// Looks at a run.
///
/// Wanted values are in the graph's own layout and storage type. A value that integer steps compute past (the f32
/// result of a convolution between Dequantize and Quantize) is computed beside them as the graph states it, so that
/// looking never changes an integer result.
pub trait Probe {
    /// What the probe wants. The answer is asked for once for each run, before it is planned.
    fn demand(&self) -> Demand {
        Demand::Nothing
    }

    /// Takes a wanted value, in the order in which values are computed; each once in a run.
    fn value(&mut self, _name: &str, _value: &Tensor) {}

    /// Takes the duration of a step.
    fn step(&mut self, _step: &StepInfo, _duration: Duration) {}
}

/// Wants nothing.
impl Probe for () {}

/// Keeps the wanted values of the latest run.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    wanted: Vec<String>,
    /// The values by name.
    pub values: BTreeMap<String, Tensor>,
}

impl Recorder {
    /// Wants the values of these names.
    pub fn new(wanted: impl IntoIterator<Item = impl Into<String>>) -> Recorder {
        Recorder { wanted: wanted.into_iter().map(Into::into).collect(), values: BTreeMap::new() }
    }
}

impl Probe for Recorder {
    fn demand(&self) -> Demand {
        Demand::Values(self.wanted.clone())
    }

    fn value(&mut self, name: &str, value: &Tensor) {
        self.values.insert(name.to_owned(), value.clone());
    }
}

/// The durations of one step over all runs of a [`Profiler`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepTime {
    /// The step.
    pub step: StepInfo,
    /// One duration for each run.
    pub durations: Vec<Duration>,
}

/// Keeps the duration of every step of every run of one plan.
#[derive(Clone, Debug, Default)]
pub struct Profiler {
    /// The steps in the order in which they run.
    pub steps: Vec<StepTime>,
    at: usize,
}

impl Profiler {
    /// Wants times.
    pub fn new() -> Profiler {
        Profiler::default()
    }
}

impl Probe for Profiler {
    fn demand(&self) -> Demand {
        Demand::Times
    }

    fn step(&mut self, step: &StepInfo, duration: Duration) {
        // A run begins again at the first step; another plan's steps take the place of what was there.
        if step.index == 0 {
            self.at = 0;
        }
        match self.steps.get_mut(self.at) {
            Some(known) if known.step == *step => known.durations.push(duration),
            _ => {
                self.steps.truncate(self.at);
                self.steps.push(StepTime { step: step.clone(), durations: vec![duration] });
            }
        }
        self.at += 1;
    }
}
