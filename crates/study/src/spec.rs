//! The specification of a study: what is compared, on what, and how. TOML, also for the embedded default.

mod check;
mod overrides;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use calipers_workers::protocol::Variant;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cell::{Cell, Framework, VARIANTS};

pub use overrides::Overrides;

/// The embedded default study.
pub const QUICK: &str = include_str!("../../../studies/quick.toml");

/// What is wrong with a specification.
#[derive(Debug, Error)]
pub enum SpecError {
    /// The file cannot be read.
    #[error("cannot read the study {}: {source}\nhint: give the path of a TOML file, such as studies/paper.toml", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The text is no specification: a syntax error, an unknown key, a missing key or a wrong type.
    #[error(
        "{origin} is no valid study:\n{source}hint: studies/quick.toml and studies/paper.toml show every key"
    )]
    Parse {
        /// The file, or the embedded default.
        origin: String,
        /// The place, and what was expected there.
        source: Box<toml::de::Error>,
    },
    /// A value that cannot be meant.
    #[error("{origin}: `{key}` is {found}, expected {expected}\nhint: {hint}")]
    Value {
        /// The file, the embedded default, or the command line.
        origin: String,
        /// The key, dotted.
        key: String,
        /// What was expected.
        expected: String,
        /// What stands there.
        found: String,
        /// What to do.
        hint: String,
    },
}

/// A whole study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Short name; the default output folder is called so.
    pub name: String,
    /// A line for the reports.
    pub title: String,
    /// Seeds of initial weights and sample order; everything is repeated for each.
    pub seeds: Vec<u64>,
    /// What is done to the model.
    pub variants: Vec<Variant>,
    /// The model.
    pub model: ModelSpec,
    /// The data.
    pub data: DataSpec,
    /// Float training.
    pub train: TrainSpec,
    /// Quantization-aware training, which starts from the trained float weights.
    pub qat: QatSpec,
    /// Calibration of post-training quantization.
    pub calibration: CalibrationSpec,
    /// Timing.
    #[serde(default)]
    pub latency: LatencySpec,
    /// Paths by framework, by name.
    pub frameworks: BTreeMap<Framework, Vec<String>>,
}

/// A built-in model, or one from a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// `resnet18`, `resnet8`, or the path of an ONNX file, which is trained from the weights that it holds.
    pub name: String,
    /// Whether BatchNorm follows each convolution of a built-in model.
    #[serde(default)]
    pub batch_norm: bool,
    /// Number of classes.
    pub classes: usize,
}

impl ModelSpec {
    /// Whether the name is that of an ONNX file.
    pub fn is_file(&self) -> bool {
        Path::new(&self.name).extension().is_some_and(|extension| extension == "onnx")
    }
}

/// Where the samples come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The generated set.
    Shapes10,
    /// CIFAR-10, whose path the command line gives.
    Cifar10,
}

impl Source {
    /// Name in specs and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Source::Shapes10 => "shapes10",
            Source::Cifar10 => "cifar10",
        }
    }
}

/// The data set and its normalization `(pixel / 255 - mean) / deviation` per channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// Where the samples come from.
    pub source: Source,
    /// Seed of a generated set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Training samples to take from the front; all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<usize>,
    /// Test samples to take from the front; all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<usize>,
    /// Mean of each channel, of pixels from 0 to 1.
    pub mean: Vec<f32>,
    /// Deviation of each channel.
    pub deviation: Vec<f32>,
}

/// What is done to training images, computed once for all frameworks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AugmentationSpec {
    /// Nothing.
    None,
    /// A crop of the image padded by 4, and a flip of every second one on average.
    CropFlip,
}

/// Float training by `v <- momentum v + g + weight_decay w; w <- w - rate v`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSpec {
    /// Passes over the training split.
    pub epochs: usize,
    /// Samples per step.
    pub batch: usize,
    /// Rate of the first epoch.
    pub learning_rate: f64,
    /// Epochs (from 0) at which the rate falls to a tenth.
    pub milestones: Vec<usize>,
    /// Momentum.
    pub momentum: f64,
    /// Weight decay, of every trained parameter.
    pub weight_decay: f64,
    /// Augmentation.
    pub augmentation: AugmentationSpec,
}

impl TrainSpec {
    /// The rate of an epoch, counted from 0.
    pub fn rate(&self, epoch: usize) -> f64 {
        let drops = self.milestones.iter().filter(|&&milestone| epoch >= milestone).count();
        self.learning_rate * 0.1f64.powi(drops as i32)
    }
}

/// Quantization-aware training, and its float control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QatSpec {
    /// Passes over the training split.
    pub epochs: usize,
    /// Rate of all epochs.
    pub learning_rate: f64,
}

/// Calibration on samples drawn from the training split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationSpec {
    /// Samples.
    pub samples: usize,
    /// Samples per calibration step.
    pub batch: usize,
}

/// Interleaved timing at batch 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LatencySpec {
    /// Rounds; in each, every cell runs one block, in shuffled order.
    pub rounds: usize,
    /// Length that a block is made to take.
    pub block_milliseconds: f64,
    /// Test samples that are taken in turn.
    pub samples: usize,
}

impl Default for LatencySpec {
    fn default() -> Self {
        LatencySpec { rounds: 30, block_milliseconds: 40.0, samples: 16 }
    }
}

impl Spec {
    /// Reads a specification from a file.
    ///
    /// # Errors
    /// [`SpecError`], naming the place.
    pub fn read(path: &Path) -> Result<Spec, SpecError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SpecError::Read { path: path.to_owned(), source })?;
        Spec::parse(&text, &path.display().to_string())
    }

    /// The embedded default.
    ///
    /// # Errors
    /// [`SpecError`], naming the place.
    pub fn quick() -> Result<Spec, SpecError> {
        Spec::parse(QUICK, "the embedded default study")
    }

    /// Reads a specification from text; `origin` names it in errors.
    ///
    /// # Errors
    /// [`SpecError`], naming the place.
    pub fn parse(text: &str, origin: &str) -> Result<Spec, SpecError> {
        let spec: Spec = toml::from_str(text)
            .map_err(|source| SpecError::Parse { origin: origin.to_owned(), source: Box::new(source) })?;
        spec.check(origin)?;
        Ok(spec)
    }

    /// The cells of a seed, in the order in which they are shown.
    pub fn cells(&self, seed: u64) -> Vec<Cell> {
        let mut cells = Vec::new();
        for framework in Framework::ALL {
            let Some(paths) = self.frameworks.get(&framework) else { continue };
            for variant in VARIANTS.into_iter().filter(|variant| self.variants.contains(variant)) {
                for (path, variants) in framework.paths() {
                    if paths.iter().any(|chosen| chosen == path) && variants.contains(&variant) {
                        cells.push(Cell { framework, path: (*path).to_owned(), variant, seed });
                    }
                }
            }
        }
        cells
    }

    /// The chosen frameworks, in the order in which they are shown and run.
    pub fn chosen(&self) -> impl Iterator<Item = Framework> {
        Framework::ALL.into_iter().filter(|framework| self.frameworks.contains_key(framework))
    }
}

#[cfg(test)]
mod tests;
