//! What can be wrong with a user's data: where, what was expected, what was found, what to do.

use std::path::PathBuf;

use crate::DataError;

/// Why samples could not be opened, bound to a model or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SamplesError {
    /// A path is not data of a kind that is known.
    #[error("{}: {found}; expected {expected}", path.display())]
    Kind {
        /// The path as given.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What would do.
        expected: String,
    },

    /// A folder does not hold what its kind of data needs.
    #[error("{}: {problem}\nhint: {hint}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// The way out.
        hint: &'static str,
    },

    /// A file that should be an image cannot be used as one.
    #[error("{}: {problem}; expected a PNG or JPEG image\nhint: repair the file or take it out", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },

    /// A file of arrays breaks a rule of its format, or holds what is not read.
    #[error("{}: {problem}\nhint: {hint}", file.display())]
    Array {
        /// The file, with the member's name behind it when it lies in an archive.
        file: PathBuf,
        /// What is wrong.
        problem: String,
        /// The way out.
        hint: &'static str,
    },

    /// The data do not fit the model's inputs.
    #[error(
        "{}: {problem}\n  the model's inputs: {expected}\n  found: {found}\nhint: {hint}",
        path.display()
    )]
    Inputs {
        /// The data.
        path: PathBuf,
        /// The first disagreement.
        problem: String,
        /// All inputs of the model, by name, type and shape.
        expected: String,
        /// All that the data have, by name, type and shape.
        found: String,
        /// The way out.
        hint: String,
    },

    /// A line of a text file is not a sample.
    #[error("{}: line {line}, column {column}: {problem}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// In bytes, from 1.
        column: usize,
        /// What is wrong and what was expected.
        problem: String,
    },

    /// Labels cannot be used.
    #[error("{}: labels: {problem}\nhint: {hint}", path.display())]
    Labels {
        /// The data.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// The way out.
        hint: &'static str,
    },

    /// A number does not fit the type of the model's input.
    #[error(
        "{sample}: '{input}' has the value {value} at element {position}; expected {least} to {greatest}"
    )]
    Value {
        /// The model's input.
        input: String,
        /// The sample.
        sample: String,
        /// The number.
        value: String,
        /// Position within the sample, in C order from 0.
        position: usize,
        /// Least value of the input's type.
        least: i128,
        /// Greatest value of the input's type.
        greatest: i128,
    },

    /// A number is not finite where it must be.
    #[error(
        "{sample}: '{input}' has the value {value} at element {position}; calibration needs finite numbers\n\
         hint: repair the sample or take it out"
    )]
    NotFinite {
        /// The model's input.
        input: String,
        /// The sample.
        sample: String,
        /// `NaN`, `inf` or `-inf`.
        value: String,
        /// Position within the sample, in C order from 0.
        position: usize,
    },

    /// A setting of the preprocessing cannot be met.
    #[error("preprocessing: {setting} is {found}; expected {expected}")]
    Preprocessing {
        /// The setting.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What would do.
        expected: String,
    },

    /// A sample or a number of samples was asked for that is not there.
    #[error("{what} is {found}; expected {expected}")]
    Request {
        /// What was asked for.
        what: &'static str,
        /// Its value.
        found: usize,
        /// What would do.
        expected: String,
    },

    /// The operating system refused to read or write.
    #[error("{}: could not {action}: {source}{}", path.display(), hint_for(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as in "read the file".
        action: &'static str,
        /// The refusal.
        source: std::io::Error,
    },

    /// CIFAR-10's own reader refused.
    #[error(transparent)]
    Data(#[from] DataError),
}

impl SamplesError {
    /// For `map_err`: the operating system refused to do `action` to `path`.
    pub(crate) fn io(
        path: impl Into<PathBuf>,
        action: &'static str,
    ) -> impl FnOnce(std::io::Error) -> SamplesError {
        let path = path.into();
        move |source| SamplesError::Io { path, action, source }
    }
}

fn hint_for(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::StorageFull => "\nhint: make room on the disk",
        std::io::ErrorKind::PermissionDenied => "\nhint: look at the permissions of the file and its folder",
        _ => "",
    }
}
