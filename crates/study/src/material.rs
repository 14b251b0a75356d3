//! What every framework is given: data files and model files, made once, the same bytes for all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use calipers_data::{
    Augmentation, Dataset, Normalization, Order, Splits, calibration_subset, cifar10, epoch, shapes10,
    write_worker_file,
};
use calipers_formats::onnx;
use calipers_ir::{Graph, Model};
use calipers_models::Options;

use crate::error::StudyError;
use crate::gates::STEPS;
use crate::report::{DataFacts, ModelFacts};
use crate::spec::{AugmentationSpec, DataSpec, Source, Spec};

/// Test samples whose logits the parity gate compares.
const PARITY_SAMPLES: usize = 64;

/// Data and models of a study, and the files that hold them.
pub struct Material {
    spec: Spec,
    splits: Splits,
    normalization: Normalization,
    folder: PathBuf,
    /// Test split.
    pub test: PathBuf,
    /// First test samples, for the parity gate.
    pub parity: PathBuf,
    /// First test samples, for timing.
    pub latency: PathBuf,
    /// Size and origin of the data.
    pub facts: DataFacts,
}

impl Material {
    /// Reads or generates the data and writes what all seeds share into `folder`.
    ///
    /// # Errors
    /// [`StudyError`] for data that is not there or does not fit the specification.
    pub fn prepare(spec: &Spec, data_path: Option<&Path>, folder: &Path) -> Result<Material, StudyError> {
        let normalization = Normalization::new(&spec.data.mean, &spec.data.deviation)?;
        let splits = splits(&spec.data, data_path)?;
        let classes = splits.train.class_names().len();
        if spec.model.classes != classes {
            return Err(StudyError::Fit {
                key: "model.classes",
                expected: format!("{classes}, as in {}", splits.train.name()),
                found: spec.model.classes.to_string(),
            });
        }
        if spec.calibration.samples > splits.train.len() {
            return Err(StudyError::Fit {
                key: "calibration.samples",
                expected: format!("at most the {} training samples", splits.train.len()),
                found: spec.calibration.samples.to_string(),
            });
        }
        let least = STEPS * spec.train.batch;
        if splits.train.len() < least {
            return Err(StudyError::Fit {
                key: "train.batch",
                expected: format!(
                    "at most {} ({STEPS} batches of the training samples)",
                    splits.train.len() / STEPS
                ),
                found: spec.train.batch.to_string(),
            });
        }
        make_folder(folder)?;
        let facts = DataFacts {
            name: spec.data.source.name().to_owned(),
            train: splits.train.len(),
            test: splits.test.len(),
            calibration: spec.calibration.samples,
            train_hash: splits.train.fingerprint(),
            test_hash: splits.test.fingerprint(),
            dropped_from_training: splits.report.dropped_from_training.len(),
        };
        let material = Material {
            spec: spec.clone(),
            test: folder.join("test.safetensors"),
            parity: folder.join("parity.safetensors"),
            latency: folder.join("latency.safetensors"),
            folder: folder.to_owned(),
            splits,
            normalization,
            facts,
        };
        let test = &material.splits.test;
        material.write(&material.test, test)?;
        let first = |count: usize| test.select(test.name(), &(0..count.min(test.len())).collect::<Vec<_>>());
        material.write(&material.parity, &first(PARITY_SAMPLES))?;
        material.write(&material.latency, &first(spec.latency.samples))?;
        Ok(material)
    }

    /// Labels of the test split.
    pub fn test_labels(&self) -> &[u32] {
        self.splits.test.labels()
    }

    /// Writes the training samples of an epoch in the order of that epoch; the file is written over by the next call.
    ///
    /// # Errors
    /// [`StudyError::Data`] where it cannot be written.
    pub fn epoch(&self, seed: u64, number: usize) -> Result<PathBuf, StudyError> {
        let path = self.folder.join("epoch.safetensors");
        let data = self.epoch_data(seed, number);
        write_worker_file(&path, &data, &self.normalization)?;
        Ok(path)
    }

    /// Writes the first `samples` training samples of the first epoch.
    ///
    /// # Errors
    /// [`StudyError::Data`] where it cannot be written.
    pub fn first_samples(&self, seed: u64, from: usize, samples: usize) -> Result<PathBuf, StudyError> {
        let path = self.folder.join(format!("steps-{from}.safetensors"));
        let mut data = self.epoch_data(seed, 0);
        let end = (from + samples).min(data.len());
        let from = from.min(end);
        let bytes = data.shape.bytes();
        data.images = data.images[from * bytes..end * bytes].to_vec();
        data.labels = data.labels[from..end].to_vec();
        write_worker_file(&path, &data, &self.normalization)?;
        Ok(path)
    }

    /// Writes the calibration samples of a seed.
    ///
    /// # Errors
    /// [`StudyError::Data`] where they cannot be written.
    pub fn calibration(&self, seed: u64) -> Result<PathBuf, StudyError> {
        let path = self.folder.join(format!("calibration-{seed}.safetensors"));
        let drawn = calibration_subset(&self.splits.train, self.spec.calibration.samples, seed)?;
        self.write(&path, &drawn)?;
        Ok(path)
    }

    fn epoch_data(&self, seed: u64, number: usize) -> calipers_data::EpochData {
        let augmentation = match self.spec.train.augmentation {
            AugmentationSpec::None => Augmentation::NONE,
            AugmentationSpec::CropFlip => Augmentation { crop_padding: 4, horizontal_flip: true },
        };
        epoch(&self.splits.train, Order::Shuffled, augmentation, seed, number as u64)
    }

    fn write(&self, path: &Path, dataset: &Dataset) -> Result<(), StudyError> {
        let data = epoch(dataset, Order::Sequential, Augmentation::NONE, 0, 0);
        Ok(write_worker_file(path, &data, &self.normalization)?)
    }
}

fn splits(data: &DataSpec, path: Option<&Path>) -> Result<Splits, StudyError> {
    let splits = match data.source {
        Source::Shapes10 => {
            let default = shapes10::Config::default();
            return Ok(shapes10::generate(shapes10::Config {
                seed: data.seed.unwrap_or(default.seed),
                train: data.train.unwrap_or(default.train),
                test: data.test.unwrap_or(default.test),
            })?);
        }
        Source::Cifar10 => {
            cifar10::read(path.ok_or(StudyError::NoDataPath { name: Source::Cifar10.name() })?)?
        }
    };
    let front = |dataset: Dataset, wanted: Option<usize>, key| match wanted {
        None => Ok(dataset),
        Some(count) if (1..=dataset.len()).contains(&count) => {
            Ok(dataset.select(dataset.name(), &(0..count).collect::<Vec<_>>()))
        }
        Some(count) => {
            let expected = format!("1 to {}, the size of {}", dataset.len(), dataset.name());
            Err(StudyError::Fit { key, expected, found: count.to_string() })
        }
    };
    Ok(Splits {
        train: front(splits.train, data.train, "data.train")?,
        test: front(splits.test, data.test, "data.test")?,
        report: splits.report,
    })
}

/// The model of a seed with its initial weights, and its ONNX file.
pub struct InitialModel {
    /// ONNX file.
    pub path: PathBuf,
    /// Hash of that file.
    pub hash: String,
    /// The model's size.
    pub facts: ModelFacts,
}

/// Builds the model with the initial weights of a seed, or reads it from its file, and writes it into `folder`.
///
/// # Errors
/// [`StudyError::Model`] for an unknown model, or one that cannot be read or written.
pub fn initial_model(spec: &Spec, seed: u64, folder: &Path) -> Result<InitialModel, StudyError> {
    let failed = |reason: String| StudyError::Model { name: spec.model.name.clone(), reason };
    let graph: Graph = if spec.model.is_file() {
        onnx::read(&spec.model.name).map_err(|error| failed(error.to_string()))?.graph
    } else {
        let options = Options { classes: spec.model.classes, batch_norm: spec.model.batch_norm };
        calipers_models::build(&spec.model.name, &options, seed).map_err(|error| failed(error.to_string()))?
    };
    make_folder(folder)?;
    let path = folder.join(format!("initial-seed-{seed}.onnx"));
    let parameters = graph.parameter_count();
    onnx::write(&Model::new(graph), &path).map_err(|error| failed(error.to_string()))?;
    let bytes = fs::read(&path).map_err(|error| failed(error.to_string()))?;
    Ok(InitialModel {
        hash: blake3::hash(&bytes).to_hex().to_string(),
        facts: ModelFacts { name: spec.model.name.clone(), parameters, onnx_bytes: bytes.len() as u64 },
        path,
    })
}

/// Makes a folder and those above it.
pub fn make_folder(path: &Path) -> Result<(), StudyError> {
    fs::create_dir_all(path).map_err(|source| StudyError::Files {
        action: "make the folder",
        path: path.to_owned(),
        source,
    })
}

/// Writes a file so that it appears under its name only when it is whole.
pub fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Made as any other file is: a temporary file of the library's own could be read by its owner alone.
    let mut partial =
        tempfile::Builder::new().prefix(".partial-").make_in(folder, |path| fs::File::create_new(path))?;
    io::Write::write_all(&mut partial, content)?;
    partial.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Hash of a file; `None` when it cannot be read.
pub fn file_hash(path: &Path) -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    let mut file = fs::File::open(path).ok()?;
    io::copy(&mut file, &mut hasher).ok()?;
    Some(hasher.finalize().to_hex().to_string())
}
