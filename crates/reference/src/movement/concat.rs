//! Joining tensors along an axis, and cutting one into parts.

use calipers_ir::Tensor;

use super::reshape::extents;
use super::stored;
use crate::Error;
use crate::cells::Cells;
use crate::inputs::Inputs;
use crate::shape::around;

/// The inputs one after another along `axis`.
pub(super) fn concat(axis: i64, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let parts: Vec<&Tensor> =
        (0..inputs.len()).map(|index| inputs.tensor(index)).collect::<Result<_, _>>()?;
    let first = inputs.tensor(0)?;
    let axis = inputs.axis(axis, first.shape().len())?;
    let mut shape = first.shape().to_vec();
    shape[axis] = 0;
    for part in &parts {
        let extents = part.shape();
        let fits = extents.len() == shape.len()
            && (0..shape.len()).all(|other| other == axis || extents[other] == shape[other]);
        if !fits || part.dtype() != first.dtype() {
            return Err(inputs.argument(
                format!("inputs like {} but for axis {axis}", first.tensor_type()),
                part.tensor_type().to_string(),
            ));
        }
        shape[axis] = shape[axis].saturating_add(extents[axis]);
    }
    inputs.count(&shape)?;
    let (outer, _, inner) = around(&shape, axis);
    let mut all = Cells::zeros(first.dtype(), 0);
    let mut starts = Vec::with_capacity(parts.len());
    for part in &parts {
        starts.push((all.len(), part.shape()[axis] * inner));
        all.extend(&Cells::of(part));
    }
    let positions = (0..outer).flat_map(|row| {
        starts.iter().flat_map(move |&(start, run)| (0..run).map(move |index| start + row * run + index))
    });
    all.gather(positions).into_tensor(&shape).map_err(|error| stored(error, inputs))
}

/// Parts along `axis`, of the extents of input 1 or of equal extents, where the last may be smaller.
pub(super) fn split(
    axis: i64,
    num_outputs: Option<i64>,
    outputs: usize,
    inputs: &Inputs<'_>,
) -> Result<Vec<Tensor>, Error> {
    let data = inputs.tensor(0)?;
    let axis = inputs.axis(axis, data.shape().len())?;
    let (outer, extent, inner) = around(data.shape(), axis);
    let parts = match inputs.optional_integers(1)? {
        Some(parts) => extents(&parts, inputs)?,
        None => {
            let count = match num_outputs {
                None => outputs,
                Some(count) => usize::try_from(count).unwrap_or(0),
            };
            // An axis has at most as many parts as the node has outputs.
            if count == 0 || count > outputs.max(1) {
                return Err(
                    inputs.argument(format!("as many parts as outputs, {outputs}"), format!("{count}"))
                );
            }
            let size = extent.div_ceil(count);
            (0..count).map(|part| size.min(extent.saturating_sub(part * size))).collect()
        }
    };
    if parts.iter().try_fold(0usize, |sum, &part| sum.checked_add(part)) != Some(extent) {
        return Err(inputs.argument(format!("parts whose sum is {extent}"), format!("{parts:?}")));
    }
    let cells = Cells::of(data);
    let mut begin = 0;
    let mut results = Vec::with_capacity(parts.len());
    for part in parts {
        let rows = (0..outer).map(|row| (row * extent + begin) * inner);
        let mut shape = data.shape().to_vec();
        shape[axis] = part;
        let taken = cells.gather_runs(rows, part * inner);
        results.push(taken.into_tensor(&shape).map_err(|error| stored(error, inputs))?);
        begin += part;
    }
    Ok(results)
}
