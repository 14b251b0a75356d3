//! Why a study cannot be run or go on. What happens inside a cell is no such reason: it is the cell's outcome.

use std::path::PathBuf;

use calipers_data::DataError;
use calipers_inspect::InspectError;
use thiserror::Error;

use crate::spec::SpecError;

/// A study that ends without a report.
#[derive(Debug, Error)]
pub enum StudyError {
    /// The specification is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The data cannot be had.
    #[error(transparent)]
    Data(DataError),
    /// The model cannot be opened, or the files do not fit it.
    #[error(transparent)]
    Samples(#[from] InspectError),
    /// The data's path is not known.
    #[error(
        "the study needs the data set `{name}`, and no path to it was given\nhint: add --data {name}=PATH"
    )]
    NoDataPath {
        /// Name of the data set.
        name: &'static str,
    },
    /// A path for a data set that the study does not use.
    #[error("--data {given}: the study reads `{used}`, not `{given}`\nhint: {hint}")]
    OtherData {
        /// What was given.
        given: String,
        /// What the study uses.
        used: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// The model cannot be built or written.
    #[error("the model `{name}` cannot be prepared: {reason}")]
    Model {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// The specification and the data do not fit together.
    #[error("`{key}` is {found}, expected {expected}\nhint: change it in the study")]
    Fit {
        /// The key, dotted.
        key: &'static str,
        /// What was expected.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// The study cannot go on for a reason that is a fault of this program.
    #[error(
        "the study cannot go on: {reason}\nhint: this is a fault of Calipers; records.jsonl in the output folder helps to find it"
    )]
    Unexpected {
        /// Why.
        reason: String,
    },
    /// A file of the output folder cannot be read or written.
    #[error("cannot {action} {}: {source}\nhint: {}", path.display(), way_out(source))]
    Files {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another command uses the output folder.
    #[error("{} is in use by another study\nhint: wait for it, or give another folder with --out", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The user stopped it.
    #[error("stopped; what was finished is kept in {}\nhint: the same command goes on from there", path.display())]
    Interrupted {
        /// The output folder.
        path: PathBuf,
    },
}

impl From<DataError> for StudyError {
    fn from(error: DataError) -> StudyError {
        match error {
            // The study writes what workers read: what to do about a file of its own is not about data.
            DataError::Io { path, action, source } if source.kind() == std::io::ErrorKind::StorageFull => {
                StudyError::Files { action, path, source }
            }
            error => StudyError::Data(error),
        }
    }
}

/// What to do about a file that cannot be read or written.
fn way_out(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "make room on the disk and give the same command again, which goes on from what is finished; or give a \
             folder on another disk with --out"
        }
        _ => "check that the folder may be written, or give another with --out",
    }
}
