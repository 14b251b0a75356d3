//! The value of one node on constants.

use calipers_ir::{Op, Tensor};

use crate::error::Error;

/// Computes the results of an operator by its definition; `outputs` is how many of them are wanted.
///
/// # Errors
/// When the operator or the form of its inputs is not supported; the error names `node`.
pub fn evaluate(
    node: &str,
    op: &Op,
    inputs: &[Option<&Tensor>],
    outputs: usize,
) -> Result<Vec<Tensor>, Error> {
    calipers_reference::evaluate(op, inputs, outputs)
        .map_err(|error| Error::Reference { node: node.to_owned(), error })
}
