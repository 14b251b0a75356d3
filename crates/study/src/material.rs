//! What every framework is given: data files and model files, made once, the same bytes for all.

mod files;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use calipers_data::{
    Augmentation, Dataset, Normalization, Order, Splits, calibration_subset, cifar10, epoch, shapes10,
    write_worker_file,
};
use calipers_formats::onnx;
use calipers_ir::Model;
use calipers_models::Options;

use crate::error::StudyError;
use crate::gates::STEPS;
use crate::material::files::FileSamples;
use crate::report::{DataFacts, ModelFacts};
use crate::spec::{AugmentationSpec, DataSpec, Source, Spec};

/// Test samples whose logits the parity gate compares.
const PARITY_SAMPLES: usize = 64;

/// Data of a study, and the files that hold them.
pub struct Material {
    spec: Spec,
    pool: Pool,
    folder: PathBuf,
    /// Test split.
    pub test: PathBuf,
    /// First test samples, for the parity gate.
    pub parity: PathBuf,
    /// First test samples, for timing and profiles.
    pub latency: PathBuf,
    /// Size and origin of the data.
    pub facts: DataFacts,
}

/// Where samples come from.
enum Pool {
    /// A built-in set of images.
    Images { splits: Splits, normalization: Normalization },
    /// The user's own files.
    Files(FileSamples),
}

impl Material {
    /// Reads or generates the data and writes what all seeds share into `folder`. `model` is the ONNX file that files
    /// of the user's own are brought to the inputs of.
    ///
    /// # Errors
    /// [`StudyError`] for data that is not there or does not fit the specification.
    pub fn prepare(
        spec: &Spec,
        data_path: Option<&Path>,
        model: &InitialModel,
        folder: &Path,
    ) -> Result<Material, StudyError> {
        make_folder(folder)?;
        let pool = match spec.data.source {
            Source::Files => {
                let path = data_path.ok_or(StudyError::NoDataPath { name: Source::Files.name() })?;
                Pool::Files(FileSamples::open(spec, path, model)?)
            }
            Source::Shapes10 | Source::Cifar10 => {
                let splits = splits(&spec.data, data_path)?;
                let normalization = Normalization::new(&spec.data.mean, &spec.data.deviation)?;
                check_classes(&splits, model)?;
                Pool::Images { splits, normalization }
            }
        };
        let facts = pool.facts(spec);
        check_sizes(spec, &facts)?;
        let material = Material {
            spec: spec.clone(),
            test: folder.join("test.safetensors"),
            parity: folder.join("parity.safetensors"),
            latency: folder.join("latency.safetensors"),
            folder: folder.to_owned(),
            pool,
            facts,
        };
        material.write_test(&material.test, material.facts.test)?;
        material.write_test(&material.parity, PARITY_SAMPLES)?;
        material.write_test(&material.latency, spec.latency.samples)?;
        Ok(material)
    }

    /// Labels of the test split; none where the data have none.
    pub fn test_labels(&self) -> Option<&[u32]> {
        match &self.pool {
            Pool::Images { splits, .. } => Some(splits.test.labels()),
            Pool::Files(files) => files.test_labels(),
        }
    }

    /// Training steps of an epoch.
    pub fn steps(&self) -> usize {
        self.spec.train.as_ref().map_or(0, |train| self.facts.train.div_ceil(train.batch))
    }

    /// Writes the training samples of an epoch in the order of that epoch; the file is written over by the next call.
    ///
    /// # Errors
    /// [`StudyError::Data`] where it cannot be written.
    pub fn epoch(&self, seed: u64, number: usize) -> Result<PathBuf, StudyError> {
        self.part_of_epoch("epoch", seed, number, 0..usize::MAX)
    }

    /// Writes `samples` training samples of the first epoch, beginning with number `from`.
    ///
    /// # Errors
    /// [`StudyError::Data`] where it cannot be written.
    pub fn first_samples(&self, seed: u64, from: usize, samples: usize) -> Result<PathBuf, StudyError> {
        self.part_of_epoch(&format!("steps-{from}"), seed, 0, from..from + samples)
    }

    fn part_of_epoch(
        &self,
        name: &str,
        seed: u64,
        number: usize,
        part: Range<usize>,
    ) -> Result<PathBuf, StudyError> {
        let path = self.folder.join(format!("{name}.safetensors"));
        match &self.pool {
            Pool::Images { splits, normalization } => {
                let mut data = self.epoch_data(splits, seed, number);
                let end = part.end.min(data.len());
                let from = part.start.min(end);
                let bytes = data.shape.bytes();
                data.images.truncate(end * bytes);
                data.images.drain(..from * bytes);
                data.labels.truncate(end);
                data.labels.drain(..from);
                write_worker_file(&path, &data, normalization)?;
            }
            Pool::Files(files) => files.write_epoch(&path, seed, number, part)?,
        }
        Ok(path)
    }

    /// Writes the calibration samples of a seed.
    ///
    /// # Errors
    /// [`StudyError::Data`] where they cannot be written.
    pub fn calibration(&self, seed: u64) -> Result<PathBuf, StudyError> {
        let path = self.folder.join(format!("calibration-{seed}.safetensors"));
        match &self.pool {
            Pool::Images { splits, normalization } => {
                let drawn = calibration_subset(&splits.train, self.spec.calibration.samples, seed)?;
                write_in_order(&path, &drawn, normalization)?;
            }
            Pool::Files(files) => files.write_calibration(&path, seed, self.spec.calibration.samples)?,
        }
        Ok(path)
    }

    fn epoch_data(&self, splits: &Splits, seed: u64, number: usize) -> calipers_data::EpochData {
        let crops = self.spec.train.as_ref().map(|train| train.augmentation);
        let augmentation = match crops {
            None | Some(AugmentationSpec::None) => Augmentation::NONE,
            Some(AugmentationSpec::CropFlip) => Augmentation { crop_padding: 4, horizontal_flip: true },
        };
        epoch(&splits.train, Order::Shuffled, augmentation, seed, number as u64)
    }

    /// Writes the first samples of the test split.
    fn write_test(&self, path: &Path, samples: usize) -> Result<(), StudyError> {
        match &self.pool {
            Pool::Images { splits, normalization } => {
                let test = &splits.test;
                let first: Vec<usize> = (0..samples.min(test.len())).collect();
                write_in_order(path, &test.select(test.name(), &first), normalization)
            }
            Pool::Files(files) => files.write_test(path, samples),
        }
    }
}

impl Pool {
    fn facts(&self, spec: &Spec) -> DataFacts {
        match self {
            Pool::Images { splits, .. } => DataFacts {
                name: spec.data.source.name().to_owned(),
                train: splits.train.len(),
                test: splits.test.len(),
                calibration: spec.calibration.samples,
                train_hash: splits.train.fingerprint(),
                test_hash: splits.test.fingerprint(),
                dropped_from_training: splits.report.dropped_from_training.len(),
                has_labels: true,
            },
            Pool::Files(files) => files.facts(spec.calibration.samples),
        }
    }
}

fn write_in_order(path: &Path, dataset: &Dataset, normalization: &Normalization) -> Result<(), StudyError> {
    let data = epoch(dataset, Order::Sequential, Augmentation::NONE, 0, 0);
    Ok(write_worker_file(path, &data, normalization)?)
}

/// A model of a built-in set must tell as many classes apart as that has.
fn check_classes(splits: &Splits, model: &InitialModel) -> Result<(), StudyError> {
    let classes = splits.train.class_names().len();
    match model.facts.classes {
        Some(found) if found != classes => Err(StudyError::Fit {
            key: "model.classes",
            expected: format!("{classes}, as in {}", splits.train.name()),
            found: found.to_string(),
        }),
        _ => Ok(()),
    }
}

fn check_sizes(spec: &Spec, facts: &DataFacts) -> Result<(), StudyError> {
    if spec.calibration.samples > facts.train {
        return Err(StudyError::Fit {
            key: "calibration.samples",
            expected: format!("at most the {} samples that are not test samples", facts.train),
            found: spec.calibration.samples.to_string(),
        });
    }
    let Some(train) = &spec.train else { return Ok(()) };
    if !facts.has_labels {
        return Err(StudyError::Fit {
            key: "train",
            expected: String::from("nothing, since the data have no labels to train for"),
            found: String::from("a table"),
        });
    }
    let largest = facts.train / STEPS;
    if train.batch > largest {
        return Err(StudyError::Fit {
            key: "train.batch",
            expected: format!("at most {largest} ({STEPS} batches of the training samples)"),
            found: train.batch.to_string(),
        });
    }
    Ok(())
}

fn splits(data: &DataSpec, path: Option<&Path>) -> Result<Splits, StudyError> {
    if data.source == Source::Shapes10 {
        let default = shapes10::Config::default();
        return Ok(shapes10::generate(shapes10::Config {
            seed: data.seed.unwrap_or(default.seed),
            train: data.train.unwrap_or(default.train),
            test: data.test.unwrap_or(default.test),
        })?);
    }
    let splits = cifar10::read(path.ok_or(StudyError::NoDataPath { name: data.source.name() })?)?;
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
    let model = if spec.model.is_file() {
        onnx::read(&spec.model.name).map_err(|error| failed(error.to_string()))?
    } else {
        let classes = spec.model.classes.unwrap_or_default();
        let options = Options { classes, batch_norm: spec.model.batch_norm };
        let graph = calipers_models::build(&spec.model.name, &options, seed);
        Model::new(graph.map_err(|error| failed(error.to_string()))?)
    };
    make_folder(folder)?;
    let path = folder.join(format!("initial-seed-{seed}.onnx"));
    let graph = &model.graph;
    let parameters = graph.parameter_count();
    let output = graph.outputs().first().and_then(|&output| graph.value(output).ty.shape.as_ref());
    let classes = output.and_then(|shape| match &shape[..] {
        [_, classes] => classes.known(),
        _ => None,
    });
    onnx::write(&model, &path).map_err(|error| failed(error.to_string()))?;
    let bytes = fs::read(&path).map_err(|error| failed(error.to_string()))?;
    let onnx_bytes = bytes.len() as u64;
    let opened = calipers_inspect::open(&path)?;
    let macs = calipers_inspect::describe::describe(&opened)?.macs;
    Ok(InitialModel {
        hash: blake3::hash(&bytes).to_hex().to_string(),
        facts: ModelFacts { name: spec.model.name.clone(), parameters, onnx_bytes, macs, classes },
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

/// A deployed file and what stands beside it under its name, such as OpenVINO's weights or an ONNX file's external data,
/// in the order of their names; recipes, which are JSON, are not deployed. Empty where it is not there.
pub fn deployed_files(file: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(stem)) = (file.parent(), file.file_stem().and_then(OsStr::to_str)) else {
        return Vec::new();
    };
    let belongs = |path: &PathBuf| {
        let rest = path.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_prefix(stem));
        rest.is_some_and(|rest| rest.starts_with('.') && !rest.ends_with(".json"))
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(belongs).collect();
    files.sort();
    files
}

/// Hash of all of a deployed file; `None` where it is not there.
pub fn deployed_hash(file: &Path) -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(file_hash(file)?.as_bytes());
    for beside in deployed_files(file).iter().filter(|beside| *beside != file) {
        hasher.update(file_hash(beside)?.as_bytes());
    }
    Some(hasher.finalize().to_hex().to_string())
}

/// Bytes of all of a deployed file.
///
/// # Errors
/// What the file system says.
pub fn deployed_bytes(file: &Path) -> io::Result<u64> {
    deployed_files(file).iter().map(|file| Ok(fs::metadata(file)?.len())).sum()
}
