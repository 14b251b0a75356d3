//! The commands of the gap matrix: one layer through one path, and one question about a framework.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Sends one layer through one path, in a process of its own, and says what really happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Name of the layer; those that begin with `control_` are what the detector itself is tried on.
    pub layer: String,
    /// Name of the path.
    pub path: String,
    /// Safetensors file: `weight/NAME` f32 in PyTorch's layouts, `input/NAME` and `expected` with the samples stacked.
    pub tensors: PathBuf,
    /// Folder for what the path makes.
    pub folder: PathBuf,
    /// Seconds after which the probe is killed.
    pub limit_seconds: f64,
}

/// Answers one question about the framework by trying, in a process of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AskCapability {
    /// Name of the question.
    pub name: String,
    /// Folder for what the attempt makes.
    pub folder: PathBuf,
    /// Seconds after which the attempt is killed.
    pub limit_seconds: f64,
}

/// How a probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It went through to the end.
    Ran,
    /// The framework raised an error.
    Failed,
    /// The framework, or the path, offers no way to ask.
    NoApi,
    /// The process ended by a signal, or by itself.
    Killed,
    /// It exceeded its limit.
    TimedOut,
}

/// How a probe ended, and what was said on the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// How.
    pub outcome: Outcome,
    /// The stage that it was in at the end: `build`, `prepare`, `calibrate`, `convert` or `run`.
    #[serde(default)]
    pub stage: String,
    /// Name of the exception.
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    /// Its words.
    #[serde(default)]
    pub message: Option<String>,
    /// Its traceback.
    #[serde(default)]
    pub traceback: Option<String>,
    /// The signal that ended the process.
    #[serde(default)]
    pub signal: Option<i32>,
    /// The status of a process that ended by itself, without an answer.
    #[serde(default)]
    pub status: Option<i32>,
    /// Warnings and deprecations, each once, in the framework's words.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The end of what was written to standard error.
    #[serde(default)]
    pub log: String,
    /// Wall-clock seconds.
    #[serde(default)]
    pub seconds: f64,
}

impl Ending {
    /// How a probe ended at a stage, with nothing said on the way but the error, if there was one.
    pub fn new(outcome: Outcome, stage: &str, error: Option<(&str, String)>) -> Ending {
        let (kind, message) = error.map(|(kind, message)| (kind.to_owned(), message)).unzip();
        Ending {
            outcome,
            stage: stage.to_owned(),
            kind,
            message,
            traceback: None,
            signal: None,
            status: None,
            warnings: Vec::new(),
            log: String::new(),
            seconds: 0.0,
        }
    }
}

/// Answer to [`Probe`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    /// How it ended.
    #[serde(flatten)]
    pub ending: Ending,
    /// What was found, where it went through to the end.
    #[serde(flatten)]
    pub found: Found,
}

/// What a probe found. Errors are largest absolute differences over all samples and elements.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Found {
    /// The native float model against the definition in the graph.
    pub parity: Option<f64>,
    /// Largest minus smallest float output.
    pub float_range: Option<f64>,
    /// The quantized model against float.
    pub max_error: Option<f64>,
    /// Whether all outputs of the quantized model are finite.
    pub finite: Option<bool>,
    /// The framework's own reference form of the quantized model, by name.
    pub reference: Option<String>,
    /// The reference form against float.
    pub reference_error: Option<f64>,
    /// The quantized model against its reference form.
    pub reference_difference: Option<f64>,
    /// Why there is no reference form, or what else was held against the result.
    pub reference_note: Option<String>,
    /// What executed, in order.
    pub operators: Vec<Operator>,
    /// Weights in the quantized artefact.
    pub weights: Vec<StoredWeight>,
    /// Kernels as a profiler names them.
    pub kernels: Vec<String>,
    /// Why there is no such list.
    pub kernels_note: Option<String>,
    /// Files that were left in the folder.
    pub files: Vec<PathBuf>,
}

/// An operator that executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// Its name in the framework.
    pub name: String,
    /// Where it stands.
    pub role: Role,
    /// How it computes.
    pub class: Class,
    /// Whether it multiplies or gathers a constant of rank 2 or more.
    #[serde(default)]
    pub weighted: bool,
    /// Types of what it reads.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// Types of what it makes.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// The kernel, as a profiler names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// How often in a row; absent for once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// Where an operator stands in the chain of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// In the part before the layer, which can certainly be quantized.
    Before,
    /// In the layer.
    Layer,
    /// In the part after the layer, which can certainly be quantized.
    After,
}

/// How an operator computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// On integers whose scales are fixed before.
    Integer,
    /// On integers; the scales of activations are found at run time.
    Dynamic,
    /// In float, on weights that are stored as integers or in half precision.
    WeightOnly,
    /// In float.
    Float,
    /// It quantizes, dequantizes or casts.
    Convert,
    /// It moves elements, and computes nothing.
    Move,
}

/// A weight of an artefact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredWeight {
    /// Its name.
    pub name: String,
    /// Its storage type.
    #[serde(rename = "type")]
    pub dtype: String,
    /// Its shape.
    #[serde(default)]
    pub shape: Vec<u64>,
}

/// Answer to [`AskCapability`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// How it ended.
    #[serde(flatten)]
    pub ending: Ending,
    /// The answer, where it went through to the end.
    #[serde(default)]
    pub answer: Option<Verdict>,
    /// The answer in a sentence.
    #[serde(default)]
    pub summary: String,
    /// What was seen.
    #[serde(default)]
    pub evidence: Vec<String>,
    /// Measured numbers, by name.
    #[serde(default)]
    pub numbers: BTreeMap<String, f64>,
}

/// The answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It can.
    Yes,
    /// It can in part.
    Partly,
    /// It cannot.
    No,
}
