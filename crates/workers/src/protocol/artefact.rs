//! The commands that make artefacts, and look at them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Class;

/// How a framework's tools are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tuning {
    /// As its documentation tells a user.
    Default,
    /// As those do who know it well.
    Tuned,
}

/// Saves the float model as the framework's users would.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SaveFloat {
    /// Which of the framework's tools, such as `eager` or `tflite`.
    pub path: String,
    /// How they are set.
    pub tuning: Tuning,
    /// ONNX file.
    pub model: PathBuf,
    /// Weights file; `None` takes the model file's own initializers.
    pub weights: Option<PathBuf>,
    /// Folder to write.
    pub artefact: PathBuf,
}

/// Answer to [`SaveFloat`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The artefact's main file, whose size counts.
    pub file: PathBuf,
    /// Its size in bytes.
    pub file_bytes: u64,
    /// The source of the framework's calls that made it.
    pub recipe: String,
}

/// Quantizes after training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantize {
    /// Which of the framework's tools, such as `fx` or `tflite`.
    pub path: String,
    /// How they are set.
    pub tuning: Tuning,
    /// Static, dynamic, or weights alone.
    pub variant: Variant,
    /// ONNX file.
    pub model: PathBuf,
    /// Weights file; `None` takes the model file's own initializers.
    pub weights: Option<PathBuf>,
    /// Data file to calibrate on, all of it, in its order; what needs none does not read it.
    pub data: PathBuf,
    /// Samples per calibration step.
    pub batch: usize,
    /// Folder to write.
    pub artefact: PathBuf,
}

/// Answer to [`Quantize`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantized {
    /// The artefact's main file, whose size counts.
    pub file: PathBuf,
    /// Its size in bytes.
    pub file_bytes: u64,
    /// Wall-clock seconds of the preparation.
    pub prepare_seconds: f64,
    /// Wall-clock seconds of the calibration.
    pub calibrate_seconds: f64,
    /// Wall-clock seconds of the conversion.
    pub convert_seconds: f64,
    /// Samples that were calibrated on; 0 where none were needed.
    pub samples: u64,
    /// The source of the framework's calls that made it.
    pub recipe: String,
}

/// What was done to the model of an artefact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Trained in float.
    Float,
    /// Trained on in float for as long as QAT.
    FloatFinetuned,
    /// Quantized after training, with calibration.
    PtqStatic,
    /// Weights quantized after training, activations at run time.
    PtqDynamic,
    /// Weights alone quantized, or stored in half precision; computed in float.
    WeightOnly,
    /// Trained with fake quantization.
    Qat,
}

/// Loads an artefact, to evaluate and time it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Which of the framework's tools made it.
    pub path: String,
    /// How they were set.
    pub tuning: Tuning,
    /// What was done to it.
    pub variant: Variant,
    /// ONNX file that it was made from.
    pub model: PathBuf,
    /// Its folder.
    pub artefact: PathBuf,
}

/// Answer to [`Load`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    /// Handle for [`ReadOperators`], [`Evaluate`], [`Time`], [`Profile`], [`ReadWeights`] and [`Unload`].
    pub handle: u64,
}

/// Watches an inference of a loaded artefact, which must be its first one. A question of its own, because in some frameworks that needs the model to
/// be opened once more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadOperators {
    /// The artefact.
    pub handle: u64,
}

/// Answer to [`ReadOperators`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operators {
    /// What executes in one inference of one sample, in order: what was seen to run, not what an interface says.
    pub operators: Vec<ExecutedOperator>,
}

/// An operator that executes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutedOperator {
    /// Its name in the framework.
    pub name: String,
    /// Its kind in the list that all frameworks share.
    pub kind: Kind,
    /// How it computes.
    pub class: Class,
    /// Multiply-accumulates for one sample, taps on padding included; 0 where it is no product.
    #[serde(default)]
    pub macs: u64,
    /// Elements of the constant that it multiplies or gathers; 0 without one.
    #[serde(default)]
    pub weights: u64,
    /// Bits that an element of that constant is stored in, as it is when it runs; 0 without one.
    #[serde(default)]
    pub weight_bits: u32,
    /// Bits of the integers that it computes on, where it is on integers and they are not of 8 bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation_bits: Option<u32>,
}

/// The kinds of operators that profiles of all frameworks are told in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Convolutions, with what is fused into them.
    Convolution,
    /// Fully connected layers and matrix products, with what is fused into them.
    MatrixProduct,
    /// Recurrent layers.
    Recurrent,
    /// Gathers from a table.
    Embedding,
    /// Pooling, global pooling included.
    Pooling,
    /// Sums, products and the like of two values.
    Elementwise,
    /// Functions of one value.
    Activation,
    /// Normalizations and softmax.
    Normalization,
    /// Quantize, dequantize, casts, and the search for ranges at run time.
    Conversion,
    /// Reshape, transpose, concatenate, pad, copy.
    Movement,
    /// Everything else.
    Other,
}

/// Runs a loaded artefact over a data file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluate {
    /// Handle of [`Loaded`].
    pub handle: u64,
    /// Data file.
    pub data: PathBuf,
    /// Samples per step.
    pub batch: usize,
    /// Logits file to write.
    pub output: PathBuf,
}

/// Answer to [`Evaluate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Wall-clock seconds of all inferences.
    pub seconds: f64,
}

/// Times a loaded artefact, from float32 input in memory to float32 logits in memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Time {
    /// Handle of [`Loaded`].
    pub handle: u64,
    /// Data file.
    pub data: PathBuf,
    /// How many of its leading samples to take in turn, each batch beginning one further and wrapping around.
    pub samples: usize,
    /// Samples of an inference.
    pub batch: usize,
    /// Inferences before the timed ones.
    pub warm_up: usize,
    /// Inferences to time.
    pub count: usize,
}

/// Answer to [`Time`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// Wall-clock nanoseconds of each inference.
    pub nanoseconds: Vec<u64>,
}

/// Profiles a loaded artefact at batch 1, operator by operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Handle of [`Loaded`].
    pub handle: u64,
    /// Data file.
    pub data: PathBuf,
    /// How many of its leading samples to take in turn.
    pub samples: usize,
    /// Inferences to profile, after as many that are not.
    pub count: usize,
}

/// Answer to [`Profile`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profiled {
    /// What measured, such as `torch.profiler`.
    pub profiler: String,
    /// Smallest difference that it can tell, in nanoseconds.
    pub resolution_nanoseconds: u64,
    /// Mean wall-clock nanoseconds of one inference while it was profiled.
    pub wall_nanoseconds: f64,
    /// What `bytes` of an operator are, in a sentence; empty where there are none.
    pub bytes_are: String,
    /// Operators of one inference in the order of execution, without those that others consist of.
    pub operators: Vec<ProfiledOperator>,
}

/// An operator in a profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProfiledOperator {
    /// Its name, as the profiler gives it.
    pub name: String,
    /// Its kind in the list that all frameworks share.
    pub kind: Kind,
    /// Calls in one inference.
    pub calls: u64,
    /// Mean nanoseconds of one inference, over all its calls, without those of operators inside it.
    pub nanoseconds: f64,
    /// Memory of one inference, over all its calls; absent where the profiler does not say.
    #[serde(default)]
    pub bytes: Option<u64>,
}

/// Says what tensors an artefact holds, and writes its weights.
///
/// The file has each tensor of rank 2 or more by the name in the answer, as it is stored (4 bits a byte each), and
/// beside it, where its integers stand for real numbers, these as f32 under that name and `/real`. Both are in ONNX's
/// layout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadWeights {
    /// Handle of [`Loaded`].
    pub handle: u64,
    /// File to write, safetensors.
    pub output: PathBuf,
}

/// Answer to [`ReadWeights`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredTensors {
    /// All tensors of the artefact, scales and biases included.
    pub tensors: Vec<StoredTensor>,
}

/// A tensor of an artefact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredTensor {
    /// Its name in the artefact.
    pub name: String,
    /// The ONNX initializer that it came from, where the worker knows.
    #[serde(default)]
    pub initializer: Option<String>,
    /// Its storage type, as numpy calls it, or `int4` and the like.
    #[serde(rename = "type")]
    pub dtype: String,
    /// Its shape in the artefact.
    pub shape: Vec<u64>,
    /// Bytes that its elements take in the file.
    pub bytes: u64,
}

/// Frees a loaded artefact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unload {
    /// Handle of [`Loaded`].
    pub handle: u64,
}
