//! `.npz`, `.npy` and folders of `.npy`: arrays by the names of the model's inputs.
//!
//! The first axis of every array counts the samples. Read are the versions 1 to 3 of the format,
//! little endian, in C or Fortran order, of the types of [`Element`](crate::samples::Element);
//! members of an `.npz` may be stored or deflated. Sources: numpy's `numpy.lib.format` and the
//! ZIP application note. What is deflated, or in Fortran order, is brought into a temporary file
//! when it takes more than 16 MiB; all else is read where it is. Arrays of objects are refused: reading them would run code of the file.

mod bind;
mod header;
mod nearest;
mod npz;
mod store;

use std::path::Path;

use crate::samples::{BatchRule, ModelInput, NamedArray, SampleInput, Samples, SamplesError, check_indices};
use store::Store;

/// Names under which labels stand beside the inputs: whole numbers `[N]` or `[N, 1]` from 0.
pub const LABEL_NAMES: [&str; 3] = ["labels", "label", "y"];

/// Samples that lie in arrays.
#[derive(Debug)]
pub struct ArraySamples {
    sources: Vec<(SampleInput, Store)>,
    inputs: Vec<SampleInput>,
    rule: BatchRule,
    len: usize,
    labels: Option<Vec<u32>>,
    name: String,
}

impl ArraySamples {
    /// The arrays of an `.npz` file, for a model with these inputs.
    ///
    /// # Errors
    ///
    /// [`SamplesError`] for a file that breaks its format and for arrays that do not fit.
    pub fn open_npz(path: &Path, inputs: &[ModelInput]) -> Result<ArraySamples, SamplesError> {
        bind::bind(path, inputs, npz::arrays(path)?)
    }

    /// The one array of an `.npy` file, for the only input of a model.
    ///
    /// # Errors
    ///
    /// As [`ArraySamples::open_npz`], and when the model has several inputs.
    pub fn open_npy(path: &Path, inputs: &[ModelInput]) -> Result<ArraySamples, SamplesError> {
        let store = Store::open(path)?;
        let [input] = inputs else {
            return Err(SamplesError::Inputs {
                path: path.to_owned(),
                problem: format!("one array for a model with {} inputs", inputs.len()),
                expected: crate::samples::listed(inputs),
                found: store.to_string(),
                hint: "give an .npz file, or a folder with an .npy file for each input, named after it"
                    .to_owned(),
            });
        };
        bind::bind(path, inputs, vec![(input.name.clone(), store)])
    }

    /// The `.npy` files among `files`, each for the input that it is named after.
    ///
    /// # Errors
    ///
    /// As [`ArraySamples::open_npz`].
    pub fn open_folder(
        path: &Path,
        files: &[std::path::PathBuf],
        inputs: &[ModelInput],
    ) -> Result<ArraySamples, SamplesError> {
        let mut arrays = Vec::with_capacity(files.len());
        for file in files {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            arrays.push((name, Store::open(file)?));
        }
        bind::bind(path, inputs, arrays)
    }
}

impl Samples for ArraySamples {
    fn len(&self) -> usize {
        self.len
    }

    fn inputs(&self) -> &[SampleInput] {
        &self.inputs
    }

    fn batch_rule(&self) -> BatchRule {
        self.rule
    }

    fn batch(&self, indices: &[usize]) -> Result<Vec<NamedArray>, SamplesError> {
        check_indices(self, indices)?;
        self.sources
            .iter()
            .map(|(input, store)| {
                let mut bytes = Vec::new();
                for &index in indices {
                    store.append(index, input, &mut bytes, || self.sample_name(index))?;
                }
                let mut shape = input.shape.clone();
                if input.batched {
                    shape.insert(0, indices.len());
                }
                Ok(NamedArray { name: input.name.clone(), element: input.element, shape, bytes })
            })
            .collect()
    }

    fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }

    fn class_names(&self) -> Option<&[String]> {
        None
    }

    fn sample_name(&self, index: usize) -> String {
        format!("{}, sample {index}", self.name)
    }
}
