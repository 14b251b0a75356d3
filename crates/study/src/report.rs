//! What is shown: the types of `report.json`, whose format `docs/report.md` documents.

mod assemble;
mod chart;
mod html;
mod markdown;
mod paper;
mod provenance;
mod row;
mod table;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cell::{Cell, Framework};
use crate::machine::Machine;
use crate::spec::Spec;
use crate::statistics::Interval;

pub(crate) use assemble::assemble;
pub use html::html;
pub use markdown::markdown;
pub use table::table;

/// Version of the report's format; it changes when a field changes its meaning or goes.
pub const VERSION: u32 = 1;

/// Everything that is known about a finished study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// Version of Calipers.
    pub calipers: String,
    /// The command line that made it.
    pub command: Vec<String>,
    /// When the command began, in UTC.
    pub started: String,
    /// When the report was written, in UTC.
    pub finished: String,
    /// Where it ran.
    pub machine: Machine,
    /// Threads that each framework was held to.
    pub threads: usize,
    /// The specification, with what the command line changed.
    pub study: Spec,
    /// The model's size.
    pub model: ModelFacts,
    /// The data's size and origin.
    pub data: DataFacts,
    /// Who took part.
    pub frameworks: Vec<FrameworkFacts>,
    /// Whether all frameworks compute and train the same thing.
    pub gates: Gates,
    /// The comparison.
    pub cells: Vec<CellReport>,
    /// How well the timing can be trusted; absent when nothing was timed.
    pub timing: Option<Timing>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether every gate passed.
    pub fn gates_pass(&self) -> bool {
        self.gates.parity.iter().all(|gate| gate.passed) && self.gates.steps.iter().all(|gate| gate.passed)
    }

    /// The report of a cell, where the cell is part of the study.
    pub fn cell(&self, cell: &Cell) -> Option<&CellReport> {
        self.cells.iter().find(|report| report.cell == *cell)
    }
}

/// Size of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Name of the architecture.
    pub name: String,
    /// Numbers in its weights, running statistics included.
    pub parameters: usize,
    /// Bytes of the ONNX file that every framework is given.
    pub onnx_bytes: u64,
}

/// Size and origin of the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataFacts {
    /// Name of the set.
    pub name: String,
    /// Training samples.
    pub train: usize,
    /// Test samples.
    pub test: usize,
    /// Calibration samples, drawn from the training samples.
    pub calibration: usize,
    /// Hash of the training split.
    pub train_hash: String,
    /// Hash of the test split.
    pub test_hash: String,
    /// Training samples left out because the test split has the same image.
    pub dropped_from_training: usize,
}

/// One framework that took part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameworkFacts {
    /// Which one.
    pub framework: Framework,
    /// Package name to version; empty when the worker could not be started.
    pub versions: BTreeMap<String, String>,
    /// Version of Python, where it runs in one.
    pub python: Option<String>,
    /// Threads that it was held to; a worker that reports another number is refused. Absent when it is not there.
    pub threads: Option<usize>,
}

/// The checks that must pass before quantized rows mean anything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gates {
    /// Same weights, same inputs: same logits.
    pub parity: Vec<ParityGate>,
    /// Same start, same batches: same weights after five steps.
    pub steps: Vec<StepGate>,
}

/// Logits of one framework against the first one's, in float, on the same weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParityGate {
    /// Seed.
    pub seed: u64,
    /// `initial`, or `trained by pytorch` and the like.
    pub weights: String,
    /// Whose logits.
    pub framework: Framework,
    /// Against whose logits.
    pub reference: Framework,
    /// Largest absolute difference; absent when there are no logits.
    pub difference: Option<f64>,
    /// Largest difference allowed: 1e-4 x max(1, largest |logit|).
    pub allowed: f64,
    /// Samples compared.
    pub samples: usize,
    /// Whether the difference is allowed.
    pub passed: bool,
    /// Why there is no difference.
    pub error: Option<String>,
}

/// Weights of one framework against the first one's, after training steps on the same batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepGate {
    /// Seed.
    pub seed: u64,
    /// Whose weights.
    pub framework: Framework,
    /// Against whose weights.
    pub reference: Framework,
    /// Steps done; the rate falls to a tenth after the third.
    pub steps: usize,
    /// Difference of all weights relative to the reference, in the Euclidean norm; absent without weights.
    pub weights: Option<f64>,
    /// The same of BatchNorm's running statistics after the first step; absent in models without them.
    pub statistics: Option<f64>,
    /// The tensor that differs most.
    pub worst: Option<String>,
    /// Largest difference allowed.
    pub allowed: f64,
    /// Whether both are allowed.
    pub passed: bool,
    /// Why there is nothing to compare.
    pub error: Option<String>,
}

/// How a cell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Measured.
    Ok,
    /// It could not be done; the error says at which stage and why.
    Failed,
    /// It was not tried; the error's message says why.
    Skipped,
}

/// One row of the comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellReport {
    /// Framework, path, variant and seed.
    #[serde(flatten)]
    pub cell: Cell,
    /// How it ended.
    pub status: Status,
    /// What was measured; fields that do not apply are absent.
    pub metrics: Metrics,
    /// What was made; absent unless it is there.
    pub artefact: Option<Artefact>,
    /// Why it failed or was skipped.
    pub error: Option<CellError>,
}

/// Files of a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artefact {
    /// Folder, relative to the report.
    pub folder: String,
    /// The deployed file, relative to the report.
    pub file: String,
}

/// Why a cell has no numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellError {
    /// The stage that failed, such as `convert`; absent for a skipped cell.
    pub stage: Option<String>,
    /// What happened, in a sentence or a few.
    pub message: String,
    /// Traceback, or the end of the worker's standard error.
    pub details: Option<String>,
}

/// What was measured of one cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// Top-1 accuracy on the test split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Accuracy>,
    /// Share of test samples on which it decides as the float cell of its framework and seed does, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement_with_float: Option<f64>,
    /// Bytes of the deployed file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Training of this variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingMetrics>,
    /// Post-training quantization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationMetrics>,
    /// Seconds to convert a trained model into its deployed form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub convert_seconds: Option<f64>,
    /// Time of one inference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyMetrics>,
    /// Operators that run in 8 bit, by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub quantized_operators: BTreeMap<String, u64>,
    /// Operators that run in float, by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub float_operators: BTreeMap<String, u64>,
}

/// Top-1 accuracy with Wilson's 95 % interval; shares of 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Correct decisions.
    pub correct: usize,
    /// Test samples.
    pub total: usize,
    /// Share of correct decisions.
    #[serde(flatten)]
    pub share: Interval,
}

/// Cost of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingMetrics {
    /// Epochs of this variant (those of its starting weights not counted).
    pub epochs: usize,
    /// Median seconds of a step.
    pub seconds_per_step: f64,
    /// Median seconds of an epoch.
    pub seconds_per_epoch: f64,
    /// Seconds of all epochs.
    pub seconds: f64,
    /// Mean loss of the last epoch.
    pub final_loss: f64,
    /// Of QAT: time of a step over that of a float step, measured in alternating blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overhead: Option<Interval>,
}

/// Cost of post-training quantization, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationMetrics {
    /// Samples.
    pub samples: u64,
    /// Fusing and inserting observers.
    pub prepare_seconds: f64,
    /// Running the samples.
    pub calibrate_seconds: f64,
    /// Making the quantized model.
    pub convert_seconds: f64,
}

/// Time of one inference at batch 1, from float32 input to float32 logits, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyMetrics {
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Inferences timed.
    pub inferences: usize,
    /// Time over that of the float cell of its framework, paired by round; absent for that cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_float: Option<Interval>,
    /// Time over that of the study's first timed cell, paired by round; absent for that cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_first: Option<Interval>,
}

/// How well the timing can be trusted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Rounds in which every cell ran one block.
    pub rounds: usize,
    /// The cell of the null test.
    pub null_cell: Cell,
    /// Time of a second process of that cell over the first one's.
    pub null_ratio: Interval,
    /// Whether the null interval contains 1 and is at most 3 % wide.
    pub trustworthy: bool,
    /// The fastest cell; absent when the machine was too noisy, or when the next one's interval reaches it.
    pub fastest: Option<Cell>,
}
