//! Model files of every format, told apart by what is in them.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use calipers_formats::{onnx, tflite};
use calipers_ir::{Graph, Model, Node, Tensor};
use calipers_passes::{PassError, Rewritten, canonicalize};
use calipers_quant::{Document, QuantAssignment, Recipe};
use calipers_runtime::{Session, SessionOptions, evaluate};
use serde::{Deserialize, Serialize};

use crate::{DataSettings, InspectError};

/// The format of a model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// ONNX.
    Onnx,
    /// TFLite.
    Tflite,
}

impl std::fmt::Display for Format {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Format::Onnx => "ONNX",
            Format::Tflite => "TFLite",
        })
    }
}

/// A model with the file that it was read from.
#[derive(Clone, Debug)]
pub struct OpenedModel {
    /// The file, as given.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// Its length, without files of external data beside it.
    pub bytes: u64,
    /// What it holds.
    pub model: Model,
}

/// What files of other kinds begin with, what they are called, and how one gets from there to a model.
const OTHERS: [(&[u8], &str, &str); 5] = [
    (b"PK\x03\x04", "it is a zip archive, such as PyTorch and Keras write", EXPORT),
    (b"\x89HDF\r\n\x1a\n", "it is an HDF5 file, such as Keras writes", CONVERT),
    (b"\x80\x02", "it is a pickle, such as old versions of PyTorch write", EXPORT),
    (b"GGUF", "it is a GGUF file", EXPORT),
    (b"\x1f\x8b", "it is compressed", "unpack it first"),
];
const EXPORT: &str =
    "export the model with torch.onnx.export or with tf.lite.TFLiteConverter, and give that file";
const CONVERT: &str = "convert the model with tf.lite.TFLiteConverter, and give the .tflite file";

/// Opens a model file. Tensor data stay mapped: the file must not be changed in place meanwhile.
///
/// # Errors
/// When it cannot be read, is neither ONNX nor TFLite, is broken, or uses what is not supported.
pub fn open(path: impl AsRef<Path>) -> Result<OpenedModel, InspectError> {
    let path = path.as_ref();
    let kind =
        |found: &str, hint| InspectError::Kind { path: path.to_owned(), found: found.to_owned(), hint };
    let io = |source| InspectError::Io { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(io)?;
    if metadata.is_dir() {
        return Err(kind("it is a folder, such as TensorFlow's SavedModel", CONVERT));
    }
    if !metadata.is_file() {
        return Err(kind("it is not a regular file", "give a file"));
    }
    let mut start = Vec::new();
    fs::File::open(path).and_then(|file| file.take(16).read_to_end(&mut start)).map_err(io)?;
    let other = OTHERS.iter().find(|(magic, ..)| start.starts_with(magic));
    if let Some((_, found, hint)) = other {
        return Err(kind(found, hint));
    }
    if start.get(8) == Some(&b'{') && start.get(4..8) == Some(&[0; 4]) {
        return Err(kind("it is a safetensors file, which holds weights without a graph", EXPORT));
    }
    let (format, model) = match start.get(4..8) {
        Some(b"TFL3") => (Format::Tflite, tflite::read(path)?),
        _ => (Format::Onnx, onnx::read(path)?),
    };
    Ok(OpenedModel { path: path.to_owned(), format, bytes: metadata.len(), model })
}

impl OpenedModel {
    /// The graph that runs.
    pub fn graph(&self) -> &Graph {
        &self.model.graph
    }

    /// A session for the canonical form of the model, which has the names of its inputs and outputs.
    ///
    /// # Errors
    /// When the graph has no canonical form, the instruction set is not there or the threads cannot be started.
    pub fn session(&self, threads: usize) -> Result<Session, InspectError> {
        self.session_of(self.canonical()?.graph, threads)
    }

    /// The graph in canonical form, with what became of its values.
    ///
    /// # Errors
    /// When a pass breaks it.
    pub fn canonical(&self) -> Result<Rewritten, InspectError> {
        let compute = |node: &Node, inputs: &[Option<&Tensor>]| {
            evaluate(&node.name, &node.op, inputs, node.outputs.len()).ok()
        };
        canonicalize(&self.model.graph, &compute).map_err(|source| self.pass_error(source))
    }

    /// A session for a graph that was made of this model's.
    pub(crate) fn session_of(&self, graph: Graph, threads: usize) -> Result<Session, InspectError> {
        let options = SessionOptions::default().with_threads(threads);
        Session::with_subgraphs(graph, self.model.subgraphs.clone(), options)
            .map_err(|source| self.run_error(source))
    }

    pub(crate) fn pass_error(&self, source: PassError) -> InspectError {
        InspectError::Pass { path: self.path.clone(), source: Box::new(source) }
    }

    /// The recipe that was written beside the model; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn recipe(&self) -> Result<Option<Recipe>, InspectError> {
        beside(&self.path)
    }

    /// The assignment that was written beside the model; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn assignment(&self) -> Result<Option<QuantAssignment>, InspectError> {
        beside(&self.path)
    }

    /// What the recipe beside the model says about data; `None` when there is no recipe, or it says nothing.
    ///
    /// # Errors
    /// When the recipe cannot be read, or says what is not understood.
    pub fn data_settings(&self) -> Result<Option<DataSettings>, InspectError> {
        let Some(data) = self.recipe()?.and_then(|recipe| recipe.data) else { return Ok(None) };
        DataSettings::from_recipe(data)
            .map(Some)
            .map_err(|source| InspectError::Settings { path: Recipe::path_beside(&self.path), source })
    }

    pub(crate) fn run_error(&self, source: calipers_runtime::Error) -> InspectError {
        InspectError::Run { path: self.path.clone(), source: Box::new(source) }
    }

    pub(crate) fn request(&self, problem: impl Into<String>, hint: impl Into<String>) -> InspectError {
        InspectError::Request { path: self.path.clone(), problem: problem.into(), hint: hint.into() }
    }
}

fn beside<T: Document>(model: &Path) -> Result<Option<T>, InspectError> {
    let path = T::path_beside(model);
    // A model without documents is the ordinary case; whatever else is wrong with the file is said when it is read.
    match path.try_exists() {
        Ok(false) => Ok(None),
        Ok(true) | Err(_) => Ok(Some(T::load(&path)?)),
    }
}
