//! What was measured of one cell.

use std::collections::BTreeMap;

use calipers_workers::protocol::{Class, Kind, ProfiledOperator};
use serde::{Deserialize, Serialize};

use crate::statistics::Interval;

/// What was measured of one cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// Top-1 accuracy on the test split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Accuracy>,
    /// Decisions against those of the first of its float cells that was measured ([`crate::Cell::float_cells`]); absent for
    /// that cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against_float: Option<AgainstFloat>,
    /// Bytes of the deployed file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Where each byte of the deployed file is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Ledger>,
    /// Bytes of the constants that operators multiply or gather, once for each operator, in the types that the loaded model
    /// holds them in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_bytes: Option<u64>,
    /// How much of the model really computes in integers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integer: Option<IntegerShares>,
    /// Training of this variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingMetrics>,
    /// Post-training quantization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationMetrics>,
    /// Seconds to convert a trained model into its deployed form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub convert_seconds: Option<f64>,
    /// From a new process to its first inference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// Time of one inference at batch 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyMetrics>,
    /// Samples a second at a larger batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput: Option<ThroughputMetrics>,
    /// Operators that compute, by kind and class: how many execute in one inference.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub operators: BTreeMap<String, BTreeMap<String, u64>>,
    /// Where the time of an inference goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Weights of each layer, of the first seed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<WeightReport>,
    /// The source of the framework's calls that made it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub recipe: String,
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

/// Decisions against those of a float model, on the same samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgainstFloat {
    /// Share of samples on which both decide the same, 0 to 1.
    pub agreement: f64,
    /// Samples that float alone gets wrong; absent without labels.
    pub gained: Option<usize>,
    /// Samples that float alone gets right; absent without labels.
    pub lost: Option<usize>,
    /// Accuracy less that of float, with the bootstrap's 95 % interval over samples; shares of 1.
    pub difference: Option<Interval>,
    /// Two-sided p-value of McNemar's exact test that both are right equally often.
    pub mcnemar: Option<f64>,
}

/// Resident memory of a process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// After the framework was imported and before anything else.
    pub idle: u64,
    /// The most while it worked.
    pub peak: u64,
}

impl Memory {
    /// The most above idle.
    pub fn above_idle(self) -> u64 {
        self.peak.saturating_sub(self.idle)
    }
}

/// Where the bytes of a file are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// Tensors, those that were the same initializer together, the largest first.
    pub entries: Vec<LedgerEntry>,
    /// What is left: structure, names, padding, compression counted against it.
    pub rest: i64,
}

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Its name.
    pub name: String,
    /// Its storage type.
    #[serde(rename = "type")]
    pub dtype: String,
    /// Its elements.
    pub elements: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Why it is in float; absent where it is not, or where it is a scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_float: Option<String>,
}

/// How much of a model computes in integers of 8 bits, by what was seen to execute; shares of 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntegerShares {
    /// Of the weights that are multiplied or gathered: held in 8 bits or fewer while it runs.
    pub stored_weights: f64,
    /// Of the same weights: multiplied as integers.
    pub weights: f64,
    /// Of the multiply-accumulates: done on integers, activations and weights of at most 8 bits.
    pub macs: f64,
    /// Weights that are multiplied or gathered.
    pub all_weights: u64,
    /// Multiply-accumulates of one sample.
    pub all_macs: u64,
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
    /// Learning rate, loss and training accuracy of each epoch.
    pub curve: Vec<EpochPoint>,
    /// Of QAT: time of a step over that of a float step, measured in alternating blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overhead: Option<Interval>,
    /// Memory of the process that trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
}

/// One epoch of a training curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochPoint {
    /// Number, from 0; later trainings of the same weights go on counting.
    pub epoch: usize,
    /// Rate of its first step.
    pub rate: f64,
    /// Mean loss.
    pub loss: f64,
    /// Share of training samples classified correctly, 0 to 1.
    pub accuracy: f64,
}

/// Cost of post-training quantization, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationMetrics {
    /// Samples; 0 where none are needed.
    pub samples: u64,
    /// Fusing and inserting observers.
    pub prepare_seconds: f64,
    /// Running the samples.
    pub calibrate_seconds: f64,
    /// Making the quantized model.
    pub convert_seconds: f64,
    /// Memory of the process that quantized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
}

impl CalibrationMetrics {
    /// Preparing, calibrating and converting.
    pub fn seconds(&self) -> f64 {
        self.prepare_seconds + self.calibrate_seconds + self.convert_seconds
    }

    /// Samples a second while calibrating; absent where no sample is needed, or no time was seen to pass.
    pub fn samples_per_second(&self) -> Option<f64> {
        (self.samples > 0 && self.calibrate_seconds > 0.0)
            .then(|| self.samples as f64 / self.calibrate_seconds)
    }
}

/// From a new process to its first inference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Seconds from starting the process to the answer of the framework that it is there.
    pub import_seconds: f64,
    /// Seconds from starting the process to the logits of the first sample.
    pub first_inference_seconds: f64,
    /// Memory of that process, at batch 1 and then at the larger batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
}

/// Time of one inference at batch 1, from float32 input to float32 logits, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyMetrics {
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Least, quartiles and greatest of the medians of the blocks.
    pub of_blocks: [f64; 5],
    /// Inferences timed.
    pub inferences: usize,
    /// Processor time over wall-clock time of the process while it was timed: the cores that it kept busy.
    pub cores: Option<f64>,
    /// Time over that of the first of its float cells that was timed ([`crate::Cell::float_cells`]), paired by round; absent
    /// for that cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_float: Option<Interval>,
    /// Time over that of the study's first timed cell, paired by round; absent for that cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_first: Option<Interval>,
}

/// Throughput at the larger batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThroughputMetrics {
    /// Samples of an inference.
    pub batch: usize,
    /// Samples a second, by the median inference.
    pub samples_per_second: f64,
    /// Median milliseconds of an inference.
    pub p50: f64,
    /// Inferences timed.
    pub inferences: usize,
    /// Time over that of the first of its float cells that was timed ([`crate::Cell::float_cells`]), paired by round; absent
    /// for that cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_float: Option<Interval>,
}

/// Where the time of an inference at batch 1 goes, measured in a run of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// What measured, such as `torch.profiler`.
    pub profiler: String,
    /// Smallest difference that it can tell, in nanoseconds.
    pub resolution_nanoseconds: u64,
    /// Mean nanoseconds of one inference while it was profiled.
    pub wall_nanoseconds: f64,
    /// What the bytes are, in a sentence; empty where there are none.
    pub bytes_are: String,
    /// By kind, the longest first.
    pub kinds: Vec<KindTime>,
    /// In the order of execution.
    pub operators: Vec<ProfiledOperator>,
    /// Chrome trace of one mean inference, relative to the report.
    pub trace: String,
}

impl Profile {
    /// Nanoseconds of all operators together.
    pub fn sum_nanoseconds(&self) -> f64 {
        self.operators.iter().map(|operator| operator.nanoseconds).sum()
    }

    /// Nanoseconds of an inference that no operator accounts for; negative where operators ran side by side.
    pub fn residual_nanoseconds(&self) -> f64 {
        self.wall_nanoseconds - self.sum_nanoseconds()
    }
}

/// The operators of one kind in a profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KindTime {
    /// The kind.
    pub kind: Kind,
    /// Calls in one inference.
    pub calls: u64,
    /// Nanoseconds in one inference.
    pub nanoseconds: f64,
    /// Memory in one inference.
    pub bytes: Option<u64>,
}

/// The weights of one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightReport {
    /// Name of the ONNX initializer.
    pub name: String,
    /// Name in the artefact.
    pub stored_as: String,
    /// Storage type.
    #[serde(rename = "type")]
    pub dtype: String,
    /// Elements.
    pub elements: usize,
    /// The float weights that it was made from: trained, with BatchNorm folded in where the artefact has it so.
    pub float: Histogram,
    /// What the artefact stands for, in the same bins.
    pub real: Histogram,
    /// The integers of the artefact, one bin for each value; absent for floats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integers: Option<Histogram>,
}

/// Counts of values in bins of equal width from `low` to `high`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Lower end of the first bin.
    pub low: f64,
    /// Upper end of the last bin.
    pub high: f64,
    /// Values in each bin.
    pub counts: Vec<u64>,
}

/// The class of an executed operator in files.
pub(crate) fn class_name(class: Class) -> &'static str {
    match class {
        Class::Integer => "integer",
        Class::Dynamic => "dynamic",
        Class::WeightOnly => "weight-only",
        Class::Float => "float",
        Class::Convert => "convert",
        Class::Move => "move",
    }
}

/// A kind of operators in files and for people.
pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Convolution => "convolution",
        Kind::MatrixProduct => "matrix-product",
        Kind::Recurrent => "recurrent",
        Kind::Embedding => "embedding",
        Kind::Pooling => "pooling",
        Kind::Elementwise => "elementwise",
        Kind::Activation => "activation",
        Kind::Normalization => "normalization",
        Kind::Conversion => "conversion",
        Kind::Movement => "movement",
        Kind::Other => "other",
    }
}
