//! The specification of a study: what is compared, on what, and how. TOML, also for the embedded default.

mod check;
mod overrides;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use calipers_inspect::DataSettings;
use calipers_workers::protocol::{Tuning, Variant};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cell::{Cell, Framework, Origin, TUNINGS, VARIANTS};

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
    /// How the frameworks' tools are set: as their documentation says, as those do who know them well, or both.
    #[serde(default = "both_tunings")]
    pub tunings: Vec<Tuning>,
    /// Whether every framework that trains also quantizes the weights that the first one trained.
    #[serde(default = "yes")]
    pub shared_weights: bool,
    /// The model.
    pub model: ModelSpec,
    /// The data.
    pub data: DataSpec,
    /// Float training. Without it the model's own weights are what is quantized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<TrainSpec>,
    /// Quantization-aware training, which starts from the float weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qat: Option<QatSpec>,
    /// Calibration of post-training quantization.
    pub calibration: CalibrationSpec,
    /// Timing.
    #[serde(default)]
    pub latency: LatencySpec,
    /// Operator profiles.
    #[serde(default)]
    pub profile: ProfileSpec,
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
    /// Number of classes of a built-in model; that of a file is read from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
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
    /// What the command line gives the path of: a folder of images, arrays, token ids, or CIFAR-10.
    Files,
}

impl Source {
    /// Name in specs and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Source::Shapes10 => "shapes10",
            Source::Cifar10 => "cifar10",
            Source::Files => "files",
        }
    }
}

/// The data set and how it becomes the model's input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// Where the samples come from.
    pub source: Source,
    /// Seed of a generated set, or of the draw that splits files into a training and a test part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Training samples: of a built-in set from the front, all without it; of files drawn by the seed, four of five
    /// without it, or as many as calibration asks for where nothing is trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<usize>,
    /// Test samples: of a built-in set from the front, all without it; of files drawn by the seed, all others without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<usize>,
    /// Of a built-in set: mean of each channel, of pixels from 0 to 1. The input is
    /// `(pixel / 255 - mean) / deviation`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mean: Vec<f32>,
    /// Of a built-in set: deviation of each channel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deviation: Vec<f32>,
    /// Of files: what is done to them, as the recipe of `calipers quantize` says it in `data`. Without it, it follows
    /// from the model's input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<DataSettings>,
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

/// How the learning rate falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// To a tenth at each milestone.
    #[default]
    Steps,
    /// From step to step along half a cosine, to zero at the last step of the last epoch
    /// (Loshchilov and Hutter, "SGDR: Stochastic gradient descent with warm restarts", 2017, without restarts).
    Cosine,
}

/// Float training by `v <- momentum v + g + weight_decay w; w <- w - rate v`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSpec {
    /// Passes over the training split.
    pub epochs: usize,
    /// Samples per step.
    pub batch: usize,
    /// Rate of the first step.
    pub learning_rate: f64,
    /// How it falls.
    #[serde(default)]
    pub schedule: Schedule,
    /// Epochs (from 0) at which the rate falls to a tenth.
    #[serde(default)]
    pub milestones: Vec<usize>,
    /// Momentum.
    pub momentum: f64,
    /// Weight decay, of every trained parameter.
    pub weight_decay: f64,
    /// Augmentation.
    pub augmentation: AugmentationSpec,
}

impl TrainSpec {
    /// The rates of an epoch, counted from 0: one for all of its `steps`, or one for each.
    pub fn rates(&self, epoch: usize, steps: usize) -> Vec<f64> {
        match self.schedule {
            Schedule::Steps => {
                let drops = self.milestones.iter().filter(|&&milestone| epoch >= milestone).count();
                vec![self.learning_rate * 0.1f64.powi(drops as i32)]
            }
            Schedule::Cosine => {
                let all = (self.epochs * steps) as f64;
                let rate = |step: usize| {
                    let done = (epoch * steps + step) as f64 / all;
                    self.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
                };
                (0..steps).map(rate).collect()
            }
        }
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
    /// Samples per calibration step, and of an inference where accuracy is evaluated.
    pub batch: usize,
}

/// Interleaved timing, at batch 1 and at a larger batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LatencySpec {
    /// Rounds; in each, every cell runs one block of each batch, in shuffled order.
    pub rounds: usize,
    /// Length that a block is made to take.
    pub block_milliseconds: f64,
    /// Test samples that are taken in turn.
    pub samples: usize,
    /// The larger batch, for throughput.
    pub batch: usize,
}

impl Default for LatencySpec {
    fn default() -> Self {
        LatencySpec { rounds: 30, block_milliseconds: 40.0, samples: 16, batch: 32 }
    }
}

/// Operator profiles, in a run of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileSpec {
    /// Inferences that are profiled of each cell; 0 for no profiles.
    pub inferences: usize,
}

impl Default for ProfileSpec {
    fn default() -> Self {
        ProfileSpec { inferences: 50 }
    }
}

fn both_tunings() -> Vec<Tuning> {
    TUNINGS.to_vec()
}

fn yes() -> bool {
    true
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
        let lender = self.lender();
        let mut cells = Vec::new();
        for framework in self.chosen() {
            let origins: &[Origin] = match lender {
                Some(lender) if framework == lender => &[Origin::Own],
                Some(_) if framework.trains() && self.shared_weights => &[Origin::Own, Origin::Shared],
                Some(_) if framework.trains() => &[Origin::Own],
                _ => &[Origin::Shared],
            };
            for &weights in origins {
                cells.extend(self.cells_of(framework, weights, seed));
            }
        }
        cells
    }

    fn cells_of(&self, framework: Framework, weights: Origin, seed: u64) -> Vec<Cell> {
        let paths = &self.frameworks[&framework];
        let mut cells = Vec::new();
        for variant in VARIANTS.into_iter().filter(|variant| self.has(*variant, framework, weights)) {
            for route in framework.routes().iter().filter(|route| paths.iter().any(|path| path == route.path))
            {
                for tuning in TUNINGS {
                    let made = match tuning {
                        Tuning::Default => route.default,
                        Tuning::Tuned => route.tuned,
                    };
                    if made.contains(&variant) && self.tunings.contains(&tuning) {
                        let path = route.path.to_owned();
                        cells.push(Cell { framework, path, tuning, variant, weights, seed });
                    }
                }
            }
        }
        cells
    }

    /// Whether a variant is made of those weights: what is trained starts from a framework's own.
    fn has(&self, variant: Variant, framework: Framework, weights: Origin) -> bool {
        let trained = matches!(variant, Variant::FloatFinetuned | Variant::Qat);
        let borrows = weights == Origin::Shared && framework.trains() && self.train.is_some();
        self.variants.contains(&variant) && !(trained && (borrows || self.qat.is_none()))
    }

    /// The framework whose trained weights all others may borrow; none where nothing is trained.
    pub fn lender(&self) -> Option<Framework> {
        self.train.as_ref()?;
        self.chosen().find(|framework| framework.trains())
    }

    /// The chosen frameworks, in the order in which they are shown and run.
    pub fn chosen(&self) -> impl Iterator<Item = Framework> {
        Framework::ALL.into_iter().filter(|framework| self.frameworks.contains_key(framework))
    }
}

#[cfg(test)]
mod tests;
