//! What can go wrong between a model file and what is said about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a model was not opened, described, run or compared.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InspectError {
    /// A file cannot be opened, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is no model that is read here.
    #[error("{}: {found}; expected an ONNX or a TFLite model\nhint: {hint}", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: String,
        /// The way out.
        hint: &'static str,
    },
    /// An ONNX file is broken or uses what is not supported.
    #[error(transparent)]
    Onnx(Box<calipers_formats::onnx::ReadError>),
    /// A TFLite file is broken or uses what is not supported.
    #[error(transparent)]
    Tflite(Box<calipers_formats::tflite::ReadError>),
    /// An input of the model is of a type that no data fill.
    #[error("{}: input `{input}` is of type {found}; expected numbers or truth values\nhint: {hint}", path.display())]
    Input {
        /// The model.
        path: PathBuf,
        /// Its input.
        input: String,
        /// The type.
        found: String,
        /// The way out.
        hint: &'static str,
    },
    /// Data could not be read.
    #[error(transparent)]
    Samples(Box<calipers_data::samples::SamplesError>),
    /// A document beside a model could not be read.
    #[error(transparent)]
    Document(Box<calipers_quant::QuantError>),
    /// What a recipe says about data is not understood.
    #[error("{}: the recipe's `data`: {source}\nhint: take it out of the recipe, or quantize the model again", path.display())]
    Settings {
        /// The recipe.
        path: PathBuf,
        /// The parser's answer.
        source: serde_json::Error,
    },
    /// The model does not run.
    #[error("{}: {source}", path.display())]
    Run {
        /// The model.
        path: PathBuf,
        /// Where it stopped.
        source: Box<calipers_runtime::Error>,
    },
    /// A part of a graph could not be taken out, or a graph not be brought into canonical form.
    #[error("{}: {source}", path.display())]
    Pass {
        /// The model.
        path: PathBuf,
        /// What stands against it.
        source: Box<calipers_passes::PassError>,
    },
    /// A name, model or file that does not allow what was asked for.
    #[error("{}: {problem}\nhint: {hint}", path.display())]
    Request {
        /// The model or file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// The way out.
        hint: String,
    },
}

macro_rules! boxed {
    ($($variant:ident: $error:ty),*) => { $(
        impl From<$error> for InspectError {
            fn from(error: $error) -> InspectError {
                InspectError::$variant(Box::new(error))
            }
        }
    )* };
}
boxed! {
    Onnx: calipers_formats::onnx::ReadError,
    Tflite: calipers_formats::tflite::ReadError,
    Samples: calipers_data::samples::SamplesError,
    Document: calipers_quant::QuantError
}
