//! Why a file could not be read.

use std::io;
use std::path::PathBuf;

use calipers_ir::EditError;
use thiserror::Error;

/// What is wrong with a model file: where, what was expected, what was found, what to do next.
#[derive(Debug, Error)]
pub enum ReadError {
    /// A file cannot be opened or mapped.
    #[error("cannot read {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The content of a file is at fault.
    #[error("{}: {error}", path.display())]
    In {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<ReadError>,
    },
    /// The bytes are something else.
    #[error("not a TFLite file: {reason}")]
    NotTflite {
        /// What was found.
        reason: String,
    },
    /// The bytes break a rule of the encoding.
    #[error("not a valid TFLite file: {reason}; copy or download the file again")]
    Malformed {
        /// The rule, and the field at fault.
        reason: String,
    },
    /// The model as a whole lacks a part, or has one that is not supported.
    #[error("{reason}")]
    Model {
        /// The part and the way out.
        reason: String,
    },
    /// A tensor is at fault.
    #[error("{place}tensor {index} (`{tensor}`): {reason}")]
    Tensor {
        /// The subgraph where there are several, with a separator.
        place: String,
        /// Its position in the subgraph.
        index: usize,
        /// Its name.
        tensor: String,
        /// What was expected and found.
        reason: String,
    },
    /// An operator is at fault.
    #[error("{place}operator {index} ({op}{}): {reason}", named(result))]
    Operator {
        /// The subgraph where there are several, with a separator.
        place: String,
        /// Its position in the subgraph.
        index: usize,
        /// Its name in the format.
        op: String,
        /// Name of its first result, empty when it has none.
        result: String,
        /// What was expected and found.
        reason: String,
    },
    /// The graph breaks a rule of the representation.
    #[error(transparent)]
    Graph(#[from] EditError),
}

fn named(result: &str) -> String {
    if result.is_empty() { String::new() } else { format!(", which makes `{result}`") }
}
