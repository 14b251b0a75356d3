//! What can go wrong between a graph and its results.

use calipers_ir::{DType, InferError};
use thiserror::Error;

/// Why a graph was not planned or not run.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The node has a form that nothing here computes.
    #[error("node `{node}` ({op}): {found} is not supported; supported: {supported}")]
    Unsupported {
        /// Name of the node.
        node: String,
        /// Its operator.
        op: String,
        /// The form that was found.
        found: String,
        /// The nearest form that runs.
        supported: String,
    },
    /// The shapes that the inputs have do not fit the node.
    #[error("node `{node}`: {error}")]
    Shape {
        /// Name of the node.
        node: String,
        /// The rule that is broken.
        error: InferError,
    },
    /// The definition of the node's operator refuses its arguments.
    #[error("node `{node}`: {error}")]
    Reference {
        /// Name of the node.
        node: String,
        /// What is refused.
        error: calipers_reference::Error,
    },
    /// A node gave a result of another type than its type rule says.
    #[error("node `{node}`: a result of type {found}, where {expected} was expected")]
    Disagreement {
        /// Name of the node.
        node: String,
        /// The type by the rule.
        expected: String,
        /// The type of the result.
        found: String,
    },
    /// A node runs a subgraph that the session was not given, or that does not fit it.
    #[error("node `{node}`: {reason}")]
    Subgraph {
        /// Name of the node.
        node: String,
        /// What is missing or does not fit.
        reason: String,
    },
    /// An input of the graph was not given.
    #[error("input `{name}` was not given; the graph has the inputs {all}")]
    MissingInput {
        /// Name of the input.
        name: String,
        /// Names of all inputs.
        all: String,
    },
    /// An input was given that the graph does not have.
    #[error("the graph has no input `{name}`; it has the inputs {all}")]
    UnknownInput {
        /// The name that was given.
        name: String,
        /// Names of all inputs.
        all: String,
    },
    /// An input has another type or shape than the graph states.
    #[error("input `{name}`: expected {expected}, found {found}")]
    InputType {
        /// Name of the input.
        name: String,
        /// The type that the graph states.
        expected: String,
        /// The type of what was given.
        found: String,
    },
    /// A probe wants a value that the graph does not have.
    #[error("the graph has no value `{name}`{fate}")]
    UnknownValue {
        /// The name that was wanted.
        name: String,
        /// What became of it, when that is known.
        fate: String,
    },
    /// A tensor has a storage type that is not computed with.
    #[error(
        "value `{value}` is stored as {dtype}; supported: f32, u8, i8, and i32 or i64 where an operator takes them"
    )]
    StorageType {
        /// Name of the value.
        value: String,
        /// Its storage type.
        dtype: DType,
    },
    /// The instruction set is not there.
    #[error("instruction set `{isa}` cannot be used: {reason}; leave it unset to take the best one")]
    Isa {
        /// The name that was asked for.
        isa: String,
        /// Why not.
        reason: String,
    },
    /// The threads could not be started.
    #[error("{threads} threads could not be started: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system says.
        reason: String,
    },
}
