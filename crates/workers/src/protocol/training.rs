//! The commands that train.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Tuning;

/// What a trainer trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainMode {
    /// The float model.
    Float,
    /// The model with fake quantization.
    Qat,
}

/// Makes a trainer. The update rule is `v <- momentum v + g + weight_decay w; w <- w - rate v`, with v from 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainBegin {
    /// ONNX file.
    pub model: PathBuf,
    /// Weights file to start from; `None` takes the model file's own initializers.
    pub weights: Option<PathBuf>,
    /// Float or fake-quantized.
    pub mode: TrainMode,
    /// Which of the framework's tools, such as `eager` or `tfmot`.
    pub path: String,
    /// How they are set.
    pub tuning: Tuning,
    /// Momentum, 0 to 1.
    pub momentum: f64,
    /// Weight decay, added to the gradient.
    pub weight_decay: f64,
}

/// Answer to [`TrainBegin`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trainer {
    /// Handle of the trainer, for the other `Train` commands.
    pub trainer: u64,
}

/// Trains one pass over a data file, in its order; the last, smaller batch is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainEpoch {
    /// Handle of [`Trainer`].
    pub trainer: u64,
    /// Data file.
    pub data: PathBuf,
    /// Samples per step.
    pub batch: usize,
    /// One rate for the whole epoch, or one for each step.
    pub learning_rates: Vec<f64>,
}

/// Answer to [`TrainEpoch`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Steps that were done.
    pub steps: u64,
    /// Mean loss.
    pub loss: f64,
    /// Share of samples that were classified correctly in training, 0 to 1.
    pub accuracy: f64,
    /// Wall-clock seconds of the epoch.
    pub seconds: f64,
    /// Wall-clock seconds of each step.
    pub step_seconds: Vec<f64>,
}

/// Writes the trainer's weights (running statistics included; in QAT the float master weights).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainState {
    /// Handle of [`Trainer`].
    pub trainer: u64,
    /// Weights file to write.
    pub output: PathBuf,
}

/// Writes everything that the next epoch depends on: parameters, statistics, velocities, and in QAT the ranges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainSave {
    /// Handle of [`Trainer`].
    pub trainer: u64,
    /// File to write, whole or not at all; safetensors whose names are the framework's own affair.
    pub output: PathBuf,
}

/// Takes over what [`TrainSave`] wrote of a trainer that was begun with the same arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainRestore {
    /// Handle of [`Trainer`].
    pub trainer: u64,
    /// File to read.
    pub input: PathBuf,
}

/// Turns the trainer into its deployed artefact (8 bit after QAT) and frees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainFinish {
    /// Handle of [`Trainer`].
    pub trainer: u64,
    /// Folder to write.
    pub artefact: PathBuf,
}

/// Answer to [`TrainFinish`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// The artefact's main file, whose size counts.
    pub file: PathBuf,
    /// Its size in bytes.
    pub file_bytes: u64,
    /// Wall-clock seconds of the conversion.
    pub convert_seconds: f64,
    /// The source of the framework's calls that made it.
    pub recipe: String,
}

/// Frees a trainer without saving anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainDrop {
    /// Handle of [`Trainer`].
    pub trainer: u64,
}
