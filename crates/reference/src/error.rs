//! Why an operator cannot be computed.

use calipers_ir::Op;
use thiserror::Error;

/// Why an operator cannot be computed on its arguments.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The operator, a type or an attribute has no definition here.
    #[error("{op}: {found} is not supported; supported: {supported}")]
    Unsupported {
        /// Name of the operator.
        op: String,
        /// What was found.
        found: String,
        /// The nearest supported form.
        supported: String,
    },
    /// An argument breaks a rule of the operator.
    #[error("{op}: expected {expected}, found {found}")]
    Argument {
        /// Name of the operator.
        op: String,
        /// The rule.
        expected: String,
        /// What breaks it.
        found: String,
    },
    /// The result would have more elements than can be held.
    #[error("{op}: a result of shape {shape:?} is too large; at most {most} elements are computed")]
    TooLarge {
        /// Name of the operator.
        op: String,
        /// Extents of the result.
        shape: Vec<usize>,
        /// The limit.
        most: usize,
    },
}

impl Error {
    /// [`Error::Unsupported`].
    pub(crate) fn unsupported(op: &Op, found: impl Into<String>, supported: impl Into<String>) -> Error {
        Error::Unsupported { op: op.name().to_owned(), found: found.into(), supported: supported.into() }
    }

    /// [`Error::Argument`].
    pub(crate) fn argument(op: &Op, expected: impl Into<String>, found: impl Into<String>) -> Error {
        Error::Argument { op: op.name().to_owned(), expected: expected.into(), found: found.into() }
    }
}
