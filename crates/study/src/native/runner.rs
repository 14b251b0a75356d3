//! A model that runs: how it takes its samples, what runs for one, and its outputs for all.

use std::path::Path;
use std::time::Instant;

use calipers_inspect::numbers;
use calipers_ir::{Dim, Graph, Model, Tensor, ValueId};
use calipers_runtime::{Session, SessionOptions};
use calipers_workers::protocol::{ExecutedOperator, Failure, Stage};
use calipers_workers::serve::Reporter;

use super::data::{DataFile, Feed};
use super::{at, operators};
use crate::weights;

/// Height and width, and length of a sequence, where a model leaves them open, to list what runs.
const FREE_SIDE: usize = 224;
/// As [`FREE_SIDE`], for inputs that are no images.
const FREE_LENGTH: usize = 16;
/// The inputs of one run, as a session takes them.
pub(super) type Inputs<'a> = Vec<(&'a str, Tensor)>;

pub(super) fn borrowed(feed: &Feed) -> Inputs<'_> {
    feed.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect()
}

/// A model that runs, and how it takes its samples.
pub(super) struct Runner {
    pub session: Session,
    names: Vec<String>,
    /// Whether it takes samples one at a time alone.
    one_by_one: bool,
}

impl Runner {
    /// Of a model in canonical form.
    pub fn new(model: Model, threads: usize) -> Result<Runner, Failure> {
        let (names, one_by_one) = (input_names(&model.graph), takes_one(&model.graph)?);
        let options = SessionOptions::default().with_threads(threads);
        let session =
            Session::with_subgraphs(model.graph, model.subgraphs, options).map_err(at(Stage::Load))?;
        Ok(Runner { session, names, one_by_one })
    }

    /// The steps that run for one sample. Extents that the model leaves open are those of a small image or sequence.
    pub fn operators(&mut self) -> Result<Vec<ExecutedOperator>, Failure> {
        let graph = self.session.graph();
        let shape = |id: &ValueId| {
            let shape = graph.value(*id).ty.shape.clone().unwrap_or_default();
            let free = if shape.len() == 4 { FREE_SIDE } else { FREE_LENGTH };
            let extent = |(axis, dim): (usize, &Dim)| dim.known().unwrap_or(if axis == 0 { 1 } else { free });
            shape.iter().enumerate().map(extent).collect()
        };
        let shapes: Vec<Vec<usize>> = graph.inputs().iter().map(shape).collect();
        let steps: Vec<_> = self.session.plan(&shapes).map_err(at(Stage::Load))?.steps().cloned().collect();
        let graph = self.session.graph();
        Ok(steps.iter().map(|step| operators::executed(graph, step)).collect())
    }

    /// Samples of a data file as the runs that they take.
    fn parts(&self, data: &DataFile, from: usize, to: usize) -> Result<Vec<Feed>, Failure> {
        let size = if self.one_by_one { 1 } else { (to - from).max(1) };
        (from..to).step_by(size).map(|start| data.feed(start..(start + size).min(to), &self.names)).collect()
    }

    /// For each of the leading samples, the runs of a batch that begins there.
    pub fn windows(&self, path: &Path, samples: usize, batch: usize) -> Result<Vec<Vec<Feed>>, Failure> {
        let data = DataFile::read(path)?;
        let samples = samples.max(1);
        data.require(samples)?;
        let size = if self.one_by_one { 1 } else { batch };
        let runs = |index: usize| {
            (0..batch)
                .step_by(size.max(1))
                .map(|from| data.window(index + from, samples, size, &self.names))
                .collect()
        };
        (0..samples).map(runs).collect()
    }

    /// The first output of a run, whole.
    fn run(&mut self, feed: &Feed) -> Result<Tensor, Failure> {
        let outputs = self.session.run(&borrowed(feed), &mut ()).map_err(at(Stage::Evaluate))?;
        let first = outputs.into_iter().next();
        first.ok_or_else(|| Failure::new(Stage::Evaluate, "Error", "the model has no output"))
    }
}

/// Runs all samples in batches and writes the logits; the seconds of all inferences.
pub(super) fn run_all(
    runner: &mut Runner,
    data: &DataFile,
    batch: usize,
    output: &Path,
    reporter: &mut Reporter<'_>,
) -> Result<f64, Failure> {
    let total = data.samples();
    let mut logits: Vec<f32> = Vec::new();
    let mut seconds = 0.0;
    for from in (0..total).step_by(batch.max(1)) {
        let to = (from + batch.max(1)).min(total);
        for feed in runner.parts(data, from, to)? {
            let start = Instant::now();
            let result = runner.run(&feed)?;
            seconds += start.elapsed().as_secs_f64();
            let found = result.tensor_type();
            let numbers = numbers(&result).ok_or_else(|| {
                Failure::new(
                    Stage::Evaluate,
                    "Error",
                    format!("the model's first output is {found}, expected numbers"),
                )
            })?;
            logits.extend_from_slice(&numbers);
        }
        if !logits.len().is_multiple_of(to) {
            return Err(Failure::new(
                Stage::Evaluate,
                "Error",
                format!(
                    "the model's first output has {} numbers for {to} samples, expected as many for each",
                    logits.len()
                ),
            ));
        }
        reporter.report(Stage::Evaluate, to as u64, Some(total as u64), None);
    }
    weights::write_logits(output, total, logits).map_err(at(Stage::Save))?;
    Ok(seconds)
}

pub(super) fn input_names(graph: &Graph) -> Vec<String> {
    graph.inputs().iter().map(|&input| graph.value(input).name.clone()).collect()
}

/// Whether the model takes one sample at a time alone.
pub(super) fn takes_one(graph: &Graph) -> Result<bool, Failure> {
    let mut one = false;
    for &input in graph.inputs() {
        let value = graph.value(input);
        match value.ty.shape.as_ref().and_then(|shape| shape.first()) {
            Some(Dim::Known(1)) => one = true,
            Some(Dim::Known(batch)) => {
                return Err(Failure::new(
                    Stage::Load,
                    "Error",
                    format!(
                        "input `{}` takes batches of exactly {batch} samples\nhint: export the model with a free \
                         batch, or one of 1",
                        value.name
                    ),
                ));
            }
            Some(Dim::Symbolic(_)) | None => {}
        }
    }
    Ok(one)
}
