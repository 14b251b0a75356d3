//! What is shown: the types of `report.json`, whose format `docs/report.md` documents.

mod assemble;
mod changes;
mod chart;
mod checks;
mod csv;
mod figures;
mod files;
mod html;
mod markdown;
mod metrics;
mod paper;
mod provenance;
mod row;
mod summary;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cell::{Cell, Framework};
use crate::machine::Machine;
use crate::spec::Spec;
use crate::statistics::Interval;

pub(crate) use assemble::assemble;
pub use changes::{AccuracyChange, Changes, Difference, Moved, Ratio, changes};
pub use csv::csv;
pub use files::{ReadError, read, render, write};
pub use html::html;
pub use markdown::markdown;
pub use metrics::{
    Accuracy, AgainstFloat, CalibrationMetrics, EpochPoint, Histogram, IntegerShares, KindTime,
    LatencyMetrics, Ledger, LedgerEntry, Memory, Metrics, Profile, Start, ThroughputMetrics, TrainingMetrics,
    WeightReport,
};
pub(crate) use metrics::{class_name, kind_name};
pub use table::table;

/// Version of the report's format; it changes when a field changes its meaning or goes.
pub const VERSION: u32 = 2;

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
    /// Multiply-accumulates of one sample, taps on padding included.
    #[serde(default)]
    pub macs: u64,
    /// Classes that its first output tells apart; absent where its shape does not say.
    #[serde(default)]
    pub classes: Option<usize>,
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
    /// Training samples left out because the test split has the same one.
    pub dropped_from_training: usize,
    /// Whether there are labels, without which there is no accuracy, only agreement with float.
    pub has_labels: bool,
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
    /// Framework, path, tuning, variant, weights and seed.
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

/// How well the timing can be trusted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Rounds in which every cell ran one block of each batch.
    pub rounds: usize,
    /// Samples of an inference of the larger batch.
    pub batch: usize,
    /// One for each framework whose cells were timed.
    pub null_tests: Vec<NullTest>,
    /// Whether every null interval contains 1 and is at most 3 % wide.
    pub trustworthy: bool,
    /// The fastest cell at batch 1; absent when the machine was too noisy, or when the next one's interval reaches it.
    pub fastest: Option<Cell>,
    /// The same at the larger batch.
    pub fastest_batch: Option<Cell>,
}

/// Two processes of one and the same cell, timed as two cells are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NullTest {
    /// The cell.
    pub cell: Cell,
    /// Time of the second process over the first one's, at batch 1.
    pub ratio: Interval,
    /// Whether the interval contains 1 and is at most 3 % wide.
    pub passed: bool,
}
