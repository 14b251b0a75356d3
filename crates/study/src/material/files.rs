//! Samples from the user's own files, split into a training and a test part, and written for the workers.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use calipers_data::samples::{
    BatchRule, Element, NamedArray, OpenOptions, Opened, TokenOptions, batches, open,
};
use calipers_inspect::{InspectError, model_inputs};
use calipers_random::Random;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::error::StudyError;
use crate::material::{InitialModel, write_whole};
use crate::report::DataFacts;
use crate::spec::Spec;

/// Samples that are read at a time.
const AT_ONCE: usize = 64;

/// The user's samples. The split is a function of the data, their number and the seed of `[data]`.
pub struct FileSamples {
    opened: Opened,
    /// Positions of the samples to calibrate from, and to train on.
    train: Vec<usize>,
    /// Positions of the samples to evaluate on.
    test: Vec<usize>,
    test_labels: Option<Vec<u32>>,
    train_hash: String,
    test_hash: String,
    dropped: usize,
}

impl FileSamples {
    /// Opens the files for the inputs of the model. The test part is `data.test` samples, or all that the training part
    /// leaves; that is `data.train`, or as many as calibration asks for, or four of five where there is training.
    ///
    /// # Errors
    /// Files that are not there, or do not fit the model.
    pub fn open(spec: &Spec, path: &Path, model: &InitialModel) -> Result<FileSamples, StudyError> {
        let inputs = model_inputs(&calipers_inspect::open(&model.path)?)?;
        let settings = spec.data.settings.clone().unwrap_or_default();
        let options = OpenOptions {
            preprocessing: settings.preprocessing,
            tokens: TokenOptions { length: settings.length, pad: settings.pad },
            classes: settings.classes,
            ..OpenOptions::default()
        };
        let opened = open(path, &inputs, &options).map_err(InspectError::from)?;
        let samples = &opened.samples;
        if let BatchRule::Exactly(size) = samples.batch_rule()
            && size > 1
        {
            return Err(StudyError::Fit {
                key: "model.name",
                expected: String::from("a model with a symbolic batch, or a batch of 1"),
                found: format!("one with a batch of {size}"),
            });
        }
        if let (Some(_), Some(classes)) = (samples.labels(), model.facts.classes) {
            opened.require_labels(classes).map_err(InspectError::from)?;
        }
        let all = samples.len();
        let wanted = match (spec.data.train, spec.train.is_some()) {
            (Some(train), _) => train,
            (None, true) => all / 5 * 4,
            (None, false) => spec.calibration.samples,
        };
        let test = spec.data.test.unwrap_or(all.saturating_sub(wanted));
        if wanted + test > all || wanted == 0 || test == 0 {
            return Err(StudyError::Fit {
                key: "data",
                expected: format!("training and test parts of at least 1 and together at most {all} samples"),
                found: format!("{wanted} and {test}"),
            });
        }
        let order = Random::new(spec.data.seed.unwrap_or(0), "study/split").permutation(all);
        let test: Vec<usize> = order[..test].to_vec();
        let test_hashes = hashes(&opened, &test)?;
        let seen: HashSet<_> = test_hashes.iter().collect();
        // Samples that the test part holds too are left out, and the next ones take their places.
        let mut rest = &order[test.len()..];
        let (mut train, mut train_hashes, mut dropped) = (Vec::new(), Vec::new(), 0);
        while train.len() < wanted && !rest.is_empty() {
            let (part, others) = rest.split_at((wanted - train.len()).min(rest.len()));
            rest = others;
            for (&index, hash) in part.iter().zip(hashes(&opened, part)?) {
                if seen.contains(&hash) {
                    dropped += 1;
                } else {
                    train.push(index);
                    train_hashes.push(hash);
                }
            }
        }
        let train_hash = hash_of_all(&opened, &train, &train_hashes);
        let test_hash = hash_of_all(&opened, &test, &test_hashes);
        let labels = opened.samples.labels();
        let test_labels = labels.map(|labels| test.iter().map(|&index| labels[index]).collect());
        Ok(FileSamples { opened, train, test, test_labels, train_hash, test_hash, dropped })
    }

    /// Labels of the test part.
    pub fn test_labels(&self) -> Option<&[u32]> {
        self.test_labels.as_deref()
    }

    /// Size and origin.
    pub fn facts(&self, calibration: usize) -> DataFacts {
        DataFacts {
            name: self.opened.kind.to_string(),
            train: self.train.len(),
            test: self.test.len(),
            calibration,
            train_hash: self.train_hash.clone(),
            test_hash: self.test_hash.clone(),
            dropped_from_training: self.dropped,
            has_labels: self.test_labels.is_some(),
        }
    }

    /// Writes the first samples of the test part.
    pub fn write_test(&self, path: &Path, samples: usize) -> Result<(), StudyError> {
        self.write(path, &self.test[..samples.min(self.test.len())])
    }

    /// Writes training samples drawn by the seed.
    pub fn write_calibration(&self, path: &Path, seed: u64, samples: usize) -> Result<(), StudyError> {
        let order = Random::new(seed, "study/calibration").permutation(self.train.len());
        let drawn: Vec<usize> = order.into_iter().take(samples).map(|at| self.train[at]).collect();
        self.write(path, &drawn)
    }

    /// Writes a part of an epoch, in its order.
    pub fn write_epoch(
        &self,
        path: &Path,
        seed: u64,
        number: usize,
        part: Range<usize>,
    ) -> Result<(), StudyError> {
        let order = Random::new(seed, &format!("study/epoch-{number}")).permutation(self.train.len());
        let end = part.end.min(order.len());
        let chosen: Vec<usize> = order[part.start.min(end)..end].iter().map(|&at| self.train[at]).collect();
        self.write(path, &chosen)
    }

    fn write(&self, path: &Path, indices: &[usize]) -> Result<(), StudyError> {
        let failed = |reason: String| StudyError::Files {
            action: "write",
            path: path.to_owned(),
            source: std::io::Error::other(reason),
        };
        let mut whole: Vec<NamedArray> = Vec::new();
        read(&self.opened, indices, |arrays| {
            if whole.is_empty() {
                whole = arrays;
            } else {
                for (whole, part) in whole.iter_mut().zip(arrays) {
                    whole.bytes.extend(part.bytes);
                }
            }
        })?;
        let labels: Option<Vec<u8>> =
            self.opened.samples.labels().map(|labels| {
                indices.iter().flat_map(|&index| i64::from(labels[index]).to_le_bytes()).collect()
            });
        let inputs = self.opened.samples.inputs();
        let mut views = Vec::new();
        for (array, input) in whole.iter().zip(inputs) {
            let shape = std::iter::once(indices.len()).chain(input.shape.iter().copied()).collect();
            let view = TensorView::new(dtype(array.element), shape, &array.bytes);
            views.push((format!("input/{}", array.name), view.map_err(|error| failed(error.to_string()))?));
        }
        if let Some(labels) = &labels {
            let view = TensorView::new(Dtype::I64, vec![indices.len()], labels);
            views.push((String::from("labels"), view.map_err(|error| failed(error.to_string()))?));
        }
        let content = safetensors::serialize(views, None).map_err(|error| failed(error.to_string()))?;
        write_whole(path, &content).map_err(|source| StudyError::Files {
            action: "write",
            path: path.to_owned(),
            source,
        })
    }
}

/// Reads samples in order, a few at a time.
fn read(opened: &Opened, indices: &[usize], mut take: impl FnMut(Vec<NamedArray>)) -> Result<(), StudyError> {
    for batch in batches(opened.samples.as_ref(), indices, AT_ONCE) {
        let batch = batch.map_err(InspectError::from)?;
        batch.require_finite().map_err(InspectError::from)?;
        take(batch.arrays);
    }
    Ok(())
}

/// A hash for each sample.
fn hashes(opened: &Opened, indices: &[usize]) -> Result<Vec<blake3::Hash>, StudyError> {
    let hash = |&index: &usize| {
        let mut hasher = blake3::Hasher::new();
        read(opened, &[index], |arrays| {
            for array in arrays {
                hasher.update(&array.bytes);
            }
        })?;
        Ok(hasher.finalize())
    };
    indices.iter().map(hash).collect()
}

/// One hash of samples and their labels.
fn hash_of_all(opened: &Opened, indices: &[usize], hashes: &[blake3::Hash]) -> String {
    let mut whole = blake3::Hasher::new();
    for hash in hashes {
        whole.update(hash.as_bytes());
    }
    if let Some(labels) = opened.samples.labels() {
        for &index in indices {
            whole.update(&labels[index].to_le_bytes());
        }
    }
    whole.finalize().to_hex().to_string()
}

fn dtype(element: Element) -> Dtype {
    match element {
        Element::F16 => Dtype::F16,
        Element::F32 => Dtype::F32,
        Element::F64 => Dtype::F64,
        Element::I8 => Dtype::I8,
        Element::I16 => Dtype::I16,
        Element::I32 => Dtype::I32,
        Element::I64 => Dtype::I64,
        Element::U8 => Dtype::U8,
        Element::U16 => Dtype::U16,
        Element::U32 => Dtype::U32,
        Element::U64 => Dtype::U64,
        Element::Bool => Dtype::BOOL,
    }
}
