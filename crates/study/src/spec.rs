//! The specification of a study: what is compared, on what, and how. TOML, also for the embedded default.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use calipers_workers::protocol::Variant;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cell::{Cell, Framework, VARIANTS, variant_name};

/// Fewest rounds of interleaved timing.
const LEAST_ROUNDS: usize = 5;

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

/// What the command line changes in a specification.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Float epochs.
    pub epochs: Option<usize>,
    /// QAT epochs.
    pub qat_epochs: Option<usize>,
    /// Only these frameworks.
    pub frameworks: Option<Vec<String>>,
    /// Only these variants.
    pub variants: Option<Vec<String>>,
    /// Other seeds.
    pub seeds: Option<Vec<u64>>,
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

    /// The specification with what the command line changes.
    ///
    /// # Errors
    /// [`SpecError::Value`] for a name that is not known or a number that cannot be meant.
    pub fn with(mut self, overrides: &Overrides) -> Result<Spec, SpecError> {
        let origin = "the command line";
        if let Some(epochs) = overrides.epochs {
            self.train.epochs = epochs;
        }
        if let Some(epochs) = overrides.qat_epochs {
            self.qat.epochs = epochs;
        }
        if let Some(seeds) = &overrides.seeds {
            self.seeds.clone_from(seeds);
        }
        if let Some(names) = &overrides.frameworks {
            let mut frameworks = BTreeMap::new();
            for name in names {
                let framework = Framework::from_name(name).ok_or_else(|| {
                    value(
                        origin,
                        "--frameworks",
                        "one of pytorch, tensorflow, calipers",
                        name,
                        "separate several by commas",
                    )
                })?;
                let paths = self.frameworks.get(&framework).cloned().ok_or_else(|| {
                    value(
                        origin,
                        "--frameworks",
                        "a framework of the study",
                        name,
                        "add it to [frameworks] of the study",
                    )
                })?;
                frameworks.insert(framework, paths);
            }
            self.frameworks = frameworks;
        }
        if let Some(names) = &overrides.variants {
            self.variants = names
                .iter()
                .map(|name| {
                    VARIANTS.into_iter().find(|&variant| variant_name(variant) == name).ok_or_else(|| {
                        let all = VARIANTS.map(variant_name).join(", ");
                        value(
                            origin,
                            "--variants",
                            format!("one of {all}"),
                            name,
                            "separate several by commas",
                        )
                    })
                })
                .collect::<Result<_, _>>()?;
        }
        self.check(origin)?;
        Ok(self)
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

    /// The channels' mean and deviation go with the images; the rest is checked here.
    fn check(&self, origin: &str) -> Result<(), SpecError> {
        let positive = |key: &str, number: usize, hint: &str| {
            if number > 0 { Ok(()) } else { Err(value(origin, key, "1 or more", number, hint)) }
        };
        let finite = |key: &str, number: f64| {
            if number.is_finite() && number >= 0.0 {
                return Ok(());
            }
            Err(value(origin, key, "a number of 0 or more", number, "give a plain decimal number"))
        };
        if self.name.is_empty()
            || !self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        {
            let hint = "the output folder is called so";
            return Err(value(origin, "name", "letters, digits, - and _", format!("{:?}", self.name), hint));
        }
        positive("seeds", self.seeds.len(), "list at least one seed, such as seeds = [1]")?;
        positive("variants", self.variants.len(), "list at least one variant")?;
        positive("frameworks", self.frameworks.len(), "name at least one framework with its paths")?;
        positive("model.classes", self.model.classes, "the data sets have 10 classes")?;
        positive("train.epochs", self.train.epochs, "train for at least one epoch")?;
        positive("train.batch", self.train.batch, "a usual size is 64 or 128")?;
        positive(
            "qat.epochs",
            self.qat.epochs,
            "leave the variants `qat` and `float-finetuned` out instead",
        )?;
        positive("calibration.samples", self.calibration.samples, "a usual number is 512")?;
        positive("calibration.batch", self.calibration.batch, "a usual size is 64")?;
        if self.latency.rounds < LEAST_ROUNDS {
            let hint = "an interval over fewer rounds says nothing; a usual number is 30";
            return Err(value(
                origin,
                "latency.rounds",
                format!("{LEAST_ROUNDS} or more"),
                self.latency.rounds,
                hint,
            ));
        }
        if let Some(seed) = self
            .seeds
            .iter()
            .enumerate()
            .find_map(|(at, seed)| self.seeds[..at].contains(seed).then_some(seed))
        {
            return Err(value(
                origin,
                "seeds",
                "each seed once",
                format!("{seed} twice"),
                "leave one of them out",
            ));
        }
        positive("latency.samples", self.latency.samples, "a usual number is 16")?;
        finite("train.learning_rate", self.train.learning_rate)?;
        finite("train.momentum", self.train.momentum)?;
        finite("train.weight_decay", self.train.weight_decay)?;
        finite("qat.learning_rate", self.qat.learning_rate)?;
        finite("latency.block_milliseconds", self.latency.block_milliseconds)?;
        for (framework, paths) in &self.frameworks {
            positive(
                &format!("frameworks.{framework}"),
                paths.len(),
                "name a path, or leave the framework out",
            )?;
            for path in paths {
                let known: Vec<&str> = framework.paths().iter().map(|(name, _)| *name).collect();
                if !known.contains(&path.as_str()) {
                    let expected = format!("one of {}", known.join(", "));
                    return Err(value(
                        origin,
                        &format!("frameworks.{framework}"),
                        expected,
                        path,
                        "see the README",
                    ));
                }
            }
        }
        Ok(())
    }
}

fn value(
    origin: &str,
    key: &str,
    expected: impl Into<String>,
    found: impl std::fmt::Display,
    hint: &str,
) -> SpecError {
    SpecError::Value {
        origin: origin.to_owned(),
        key: key.to_owned(),
        expected: expected.into(),
        found: found.to_string(),
        hint: hint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Overrides, Spec};

    const PAPER: &str = include_str!("../../../studies/paper.toml");

    #[test]
    fn both_studies_of_the_project_are_valid() {
        let quick = Spec::quick().unwrap();
        let names: Vec<String> = quick.cells(1).iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), 14);
        assert_eq!(names[0], "pytorch eager float (seed 1)");
        let paper = Spec::parse(PAPER, "paper").unwrap();
        assert_eq!((paper.train.epochs, paper.train.rate(49)), (50, 0.1));
    }

    #[test]
    fn the_rate_falls_at_milestones() {
        let mut train = Spec::parse(PAPER, "paper").unwrap().train;
        train.milestones = vec![1, 2];
        assert!((train.rate(2) - 0.001).abs() < 1e-12);
        assert!((train.rate(0) - 0.1).abs() < 1e-12);
    }

    #[test]
    fn errors_name_the_place() {
        let message = |text: &str| Spec::parse(text, "my.toml").unwrap_err().to_string();
        let unknown = message(&PAPER.replace("epochs = 50", "epoks = 50"));
        assert!(
            unknown.contains("my.toml") && unknown.contains("epoks") && unknown.contains("line"),
            "{unknown}"
        );
        let wrong = message(&PAPER.replace("epochs = 50", "epochs = \"many\""));
        assert!(wrong.contains("invalid type") && wrong.contains("epochs"), "{wrong}");
        let zero = message(&PAPER.replace("batch = 128", "batch = 0"));
        assert!(zero.contains("`train.batch` is 0, expected 1 or more"), "{zero}");
        let path = message(&PAPER.replace("\"fx\"", "\"magic\""));
        assert!(path.contains("frameworks.pytorch") && path.contains("eager, fx"), "{path}");
    }

    #[test]
    fn the_command_line_chooses() {
        let overrides = Overrides {
            frameworks: Some(vec!["calipers".into()]),
            variants: Some(vec!["ptq-static".into()]),
            seeds: Some(vec![3]),
            ..Overrides::default()
        };
        let spec = Spec::quick().unwrap().with(&overrides).unwrap();
        assert_eq!(spec.cells(3).len(), 1);
        let unknown = Overrides { frameworks: Some(vec!["jax".into()]), ..Overrides::default() };
        let message = Spec::quick().unwrap().with(&unknown).unwrap_err().to_string();
        assert!(message.contains("--frameworks") && message.contains("jax"), "{message}");
    }
}
