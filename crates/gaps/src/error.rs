//! What can keep a run from being done.

use std::path::PathBuf;

use thiserror::Error;

/// Why there is no matrix.
#[derive(Debug, Error)]
pub enum GapsError {
    /// A name that is not known.
    #[error("{kind} `{name}` is not known\nhint: expected one of {}", known.join(", "))]
    Unknown {
        /// `layer`, `path`, `framework` or `cell`.
        kind: &'static str,
        /// The name.
        name: String,
        /// Those that are.
        known: Vec<String>,
    },
    /// The selection is empty.
    #[error(
        "no cell is left: {reason}\nhint: `calipers gaps --list` shows layers, and the paths of each framework"
    )]
    Empty {
        /// Why.
        reason: String,
    },
    /// A file or folder of the run.
    #[error("cannot {action} {}: {source}\nhint: name another folder with --out, or free space; finished cells are kept", path.display())]
    Files {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The user stopped the run.
    #[error("stopped; {finished} of {all} cells are finished, and the same command goes on from there")]
    Interrupted {
        /// Cells that are kept.
        finished: usize,
        /// Cells of the run.
        all: usize,
    },
    /// The model that was given.
    #[error("{reason}")]
    Model {
        /// What our reader says of it.
        reason: String,
    },
    /// The older document that was given.
    #[error(transparent)]
    Older(#[from] crate::report::ReadError),
    /// The list of finished cells.
    #[error(transparent)]
    Journal(#[from] calipers_study::StudyError),
    /// The probe's own graph, which is a fault of Calipers.
    #[error("layer `{layer}`: its own model cannot be made: {reason}")]
    Layer {
        /// The layer.
        layer: String,
        /// What is wrong.
        reason: String,
    },
}

impl GapsError {
    /// A function that says of a failed access what was tried.
    pub(crate) fn files(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> GapsError {
        let path = path.to_owned();
        move |source| GapsError::Files { action, path, source }
    }
}
