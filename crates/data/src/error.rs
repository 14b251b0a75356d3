//! What can be wrong with data: where, what was expected, what was found, what to do.

use std::path::PathBuf;

/// Why data could not be read, checked or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A path that a user gave leads nowhere.
    #[error("{}: there is no such file or folder; expected {expected}\nhint: {hint}", path.display())]
    PathNotFound {
        /// The path as given.
        path: PathBuf,
        /// What should have been there.
        expected: &'static str,
        /// The way out.
        hint: &'static str,
    },

    /// A folder or archive was found, but not all of its files.
    #[error("{}: missing {}; expected {expected}\nhint: {hint}", path.display(), files.join(", "))]
    MissingFiles {
        /// The folder or archive.
        path: PathBuf,
        /// Names of the absent files.
        files: Vec<String>,
        /// What should have been there.
        expected: &'static str,
        /// The way out.
        hint: &'static str,
    },

    /// A file is longer or shorter than its format allows.
    #[error(
        "{}: expected {expected} bytes, found {found}: the file is {}\nhint: {hint}",
        file.display(),
        if found < expected { "truncated" } else { "too long" }
    )]
    FileSize {
        /// The file, with its archive in front when it lies in one.
        file: PathBuf,
        /// Bytes of the format.
        expected: u64,
        /// Bytes found; for a file in an archive, counted no further than one past the expected.
        found: u64,
        /// The way out.
        hint: &'static str,
    },

    /// A label names no class.
    #[error(
        "{}: record {record} has label {value}; expected 0 to {}\nhint: {hint}",
        file.display(), classes.saturating_sub(1)
    )]
    LabelOutOfRange {
        /// The file, or the name of the data set when it was made in memory.
        file: PathBuf,
        /// Position in that file, from 0.
        record: usize,
        /// The label found.
        value: u32,
        /// How many classes there are.
        classes: usize,
        /// The way out.
        hint: &'static str,
    },

    /// Images, labels and shape do not fit together.
    #[error(
        "data set '{name}': {labels} labels of {bytes_per_image} bytes an image need {} bytes of \
         images, found {image_bytes}",
        labels.saturating_mul(*bytes_per_image)
    )]
    SizeMismatch {
        /// The data set.
        name: String,
        /// How many labels there are.
        labels: usize,
        /// Channels x height x width.
        bytes_per_image: usize,
        /// Bytes of images found.
        image_bytes: usize,
    },

    /// An image occurs both in training and in test data.
    #[error(
        "data set '{name}': training sample {} and test sample {} are the same image, \
         ({count} such pairs in all); the test split must be disjoint from the rest\n\
         hint: remove the sample from the training data, or choose another seed",
        first.train_index, first.test_index
    )]
    SplitsOverlap {
        /// The data set.
        name: String,
        /// The first pair, by position in the test split.
        first: crate::SharedImage,
        /// How many training samples occur in the test split.
        count: usize,
    },

    /// A number that describes a set, such as its size, cannot be met.
    #[error("data set '{name}': {what} is {found}; expected {expected}")]
    Setting {
        /// The data set.
        name: String,
        /// The setting.
        what: &'static str,
        /// Its value.
        found: String,
        /// What would do.
        expected: String,
    },

    /// Normalization that cannot be computed with.
    #[error("normalization: {what} of channel {channel} is {found}; expected {expected}")]
    Normalization {
        /// "mean" or "deviation".
        what: &'static str,
        /// The channel, from 0.
        channel: usize,
        /// The value found.
        found: String,
        /// What would do.
        expected: &'static str,
    },

    /// The operating system refused to read or write.
    #[error("{}: could not {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as in "read the file".
        action: &'static str,
        /// The refusal.
        source: std::io::Error,
    },
}
