//! What is in a TFLite or ONNX file that a path made, by our own readers.

use std::path::Path;

use calipers_inspect::{Role, describe::describe, open};
use calipers_workers::protocol::StoredWeight;

/// The weights of a model file with their storage types.
///
/// # Errors
/// What our reader says of the file.
pub fn weights(path: &Path) -> Result<Vec<StoredWeight>, String> {
    let opened = open(path).map_err(|error| error.to_string())?;
    let description = describe(&opened).map_err(|error| error.to_string())?;
    let weights = description.tensors.into_iter().filter(|tensor| tensor.role == Role::Weight);
    Ok(weights
        .map(|tensor| StoredWeight {
            name: tensor.name,
            dtype: tensor.dtype,
            shape: tensor.shape.iter().map(|&extent| extent as u64).collect(),
        })
        .collect())
}
