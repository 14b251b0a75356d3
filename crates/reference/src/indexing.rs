//! Reading and writing by position. Positions come from data: each is checked before it is used.

mod boxes;
mod gather;
mod scatter;
mod search;
mod unique;

use calipers_ir::{Indexing, Tensor, TensorError};

use crate::Error;
use crate::inputs::Inputs;

/// The operator's results.
pub(crate) fn evaluate(indexing: &Indexing, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let result = match indexing {
        Indexing::Gather { axis, batch_dims } => gather::gather(*axis, *batch_dims, inputs)?,
        Indexing::GatherElements { axis } => gather::gather_elements(*axis, inputs)?,
        Indexing::GatherNd { batch_dims } => gather::gather_nd(*batch_dims, inputs)?,
        Indexing::ScatterElements { axis, reduction } => scatter::scatter_elements(*axis, reduction, inputs)?,
        Indexing::ScatterNd { reduction } => scatter::scatter_nd(reduction, inputs)?,
        Indexing::TensorScatter { axis, mode } => scatter::tensor_scatter(*axis, mode, inputs)?,
        Indexing::Compress { axis } => search::compress(*axis, inputs)?,
        Indexing::OneHot { axis } => search::one_hot(*axis, inputs)?,
        Indexing::NonZero => search::nonzero(inputs)?,
        Indexing::Unique { axis, sorted } => return unique::unique(*axis, *sorted, inputs),
        Indexing::NonMaxSuppression { center_point_box } => boxes::select(*center_point_box, inputs)?,
    };
    Ok(vec![result])
}

/// A position that may count from the end, below `extent`.
fn position(at: i64, extent: usize, inputs: &Inputs<'_>) -> Result<usize, Error> {
    let index = if at < 0 { at.saturating_add(extent as i64) } else { at };
    match usize::try_from(index) {
        Ok(index) if index < extent => Ok(index),
        _ => Err(inputs.argument(format!("positions within an axis of {extent} elements"), format!("{at}"))),
    }
}

fn stored(error: TensorError, inputs: &Inputs<'_>) -> Error {
    inputs.argument("a result that can be stored", error.to_string())
}
