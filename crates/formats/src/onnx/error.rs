//! Why a model could not be read or written.

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
    /// The bytes end before a field does.
    #[error(
        "the file is cut short: the model's field `{field}`, which begins at byte {offset}, needs {expected} bytes, \
         only {found} are left; copy or download the file again"
    )]
    Truncated {
        /// Name of the field of `ModelProto`.
        field: &'static str,
        /// Where the field begins.
        offset: usize,
        /// Bytes that the field's length asks for.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The bytes are no protobuf message.
    #[error("not an ONNX file: {reason} at byte {offset}, where a protobuf field was expected")]
    NotProtobuf {
        /// Where the message breaks.
        offset: usize,
        /// What was found.
        reason: String,
    },
    /// The bytes are protobuf, but not the messages of ONNX.
    #[error("not a valid ONNX file: {reason}")]
    Malformed {
        /// The message and field at fault, and what is wrong with it.
        reason: String,
    },
    /// The model lacks a part that every model has, or has one that is not supported.
    #[error("{reason}")]
    Model {
        /// The part and the way out.
        reason: String,
    },
    /// The operator set is one that is not read.
    #[error(
        "the model uses operator set {found}; {} to {} are read; convert it with \
         onnx.version_converter.convert_version(model, {})",
        super::OLDEST_OPSET,
        super::NEWEST_OPSET,
        calipers_ir::Model::DEFAULT_OPSET
    )]
    Opset {
        /// The version found.
        found: i64,
    },
    /// A constant is at fault.
    #[error("tensor `{tensor}`: {reason}")]
    Tensor {
        /// Its name.
        tensor: String,
        /// What was expected and found.
        reason: String,
    },
    /// The declared type of a value is at fault.
    #[error("value `{value}`: {reason}")]
    Value {
        /// Its name.
        value: String,
        /// What was expected and found.
        reason: String,
    },
    /// A node is at fault.
    #[error("node `{node}` ({op}): {reason}")]
    Node {
        /// Its name.
        node: String,
        /// Its operator, with the domain where that is not the default one.
        op: String,
        /// What was expected and found.
        reason: String,
    },
    /// A value is read that nothing defines, or only something later.
    #[error("{place} reads `{value}`, which {why}")]
    Order {
        /// The node or the graph's outputs.
        place: String,
        /// The value read.
        value: String,
        /// What is wrong with it, and the way out.
        why: String,
    },
    /// The graph breaks a rule of the representation.
    #[error(transparent)]
    Graph(#[from] EditError),
}

/// Why a model could not be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The file cannot be made.
    #[error("cannot write {}: {source}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A node cannot be said in ONNX.
    #[error("node `{node}` ({op}) cannot be written to ONNX: {reason}")]
    Node {
        /// Its name.
        node: String,
        /// Its operator.
        op: String,
        /// What stands in the way, and the way out.
        reason: String,
    },
    /// The model as a whole cannot be said in ONNX.
    #[error("the model cannot be written to ONNX: {reason}")]
    Model {
        /// What stands in the way, and the way out.
        reason: String,
    },
}
