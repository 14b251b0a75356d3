//! Reading elements and slices by position.

use calipers_ir::Tensor;

use super::{position, stored};
use crate::Error;
use crate::cells::Cells;
use crate::inputs::Inputs;
use crate::shape::{coordinates, strides};

/// Slices of `axis` by position, where the first `batch_dims` axes of data and indices go together.
pub(super) fn gather(axis: i64, batch_dims: i64, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let (data, indices) = (inputs.tensor(0)?, inputs.tensor(1)?);
    let axis = inputs.axis(axis, data.shape().len())?;
    let batch = batch_axes(batch_dims, data, indices, inputs)?;
    if batch > axis {
        return Err(inputs.argument(format!("an axis after {batch} shared ones"), format!("axis {axis}")));
    }
    let positions: Vec<usize> = inputs
        .integers(1)?
        .into_iter()
        .map(|at| position(at, data.shape()[axis], inputs))
        .collect::<Result<_, _>>()?;
    let shape = [&data.shape()[..axis], &indices.shape()[batch..], &data.shape()[axis + 1..]].concat();
    inputs.count(&shape)?;
    let product = |extents: &[usize]| extents.iter().product::<usize>();
    let (extent, inner) = (data.shape()[axis], product(&data.shape()[axis + 1..]));
    let (batches, outer) = (product(&data.shape()[..batch]), product(&data.shape()[batch..axis]));
    let taken = product(&indices.shape()[batch..]);
    let positions = &positions;
    let starts = (0..batches).flat_map(|sample| {
        (0..outer).flat_map(move |row| {
            let base = (sample * outer + row) * extent;
            positions[sample * taken..][..taken].iter().map(move |at| (base + at) * inner)
        })
    });
    Cells::of(data).gather_runs(starts, inner).into_tensor(&shape).map_err(|error| stored(error, inputs))
}

/// The number of leading axes that data and indices share.
fn batch_axes(batch_dims: i64, data: &Tensor, indices: &Tensor, inputs: &Inputs<'_>) -> Result<usize, Error> {
    let rank = indices.shape().len();
    let batch = if batch_dims < 0 { batch_dims.saturating_add(rank as i64) } else { batch_dims };
    match usize::try_from(batch) {
        Ok(batch)
            if batch <= rank
                && batch <= data.shape().len()
                && data.shape()[..batch] == indices.shape()[..batch] =>
        {
            Ok(batch)
        }
        _ => Err(inputs.argument(
            format!("{batch_dims} leading axes of equal extents"),
            format!("shapes {:?} and {:?}", data.shape(), indices.shape()),
        )),
    }
}

/// For each index, the element whose position is that of the index but for `axis`, where it is the index.
pub(super) fn gather_elements(axis: i64, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let (data, indices) = (inputs.tensor(0)?, inputs.tensor(1)?);
    let axis = inputs.axis(axis, data.shape().len())?;
    let sources = element_positions(axis, data, indices, &inputs.integers(1)?, inputs)?;
    Cells::of(data)
        .gather(sources.into_iter())
        .into_tensor(indices.shape())
        .map_err(|error| stored(error, inputs))
}

/// The offset in the data of each index' element.
pub(super) fn element_positions(
    axis: usize,
    data: &Tensor,
    indices: &Tensor,
    numbers: &[i64],
    inputs: &Inputs<'_>,
) -> Result<Vec<usize>, Error> {
    let fits = indices.shape().len() == data.shape().len()
        && (0..data.shape().len())
            .all(|other| other == axis || indices.shape()[other] <= data.shape()[other]);
    if !fits {
        return Err(inputs.argument(
            format!("indices of a shape within {:?} but for axis {axis}", data.shape()),
            format!("{:?}", indices.shape()),
        ));
    }
    let steps = strides(data.shape());
    coordinates(indices.shape())
        .zip(numbers)
        .map(|(mut place, &at)| {
            place[axis] = position(at, data.shape()[axis], inputs)?;
            Ok(place.iter().zip(&steps).map(|(&at, &step)| at * step as usize).sum())
        })
        .collect()
}

/// The slices that rows of indices name by their leading positions.
pub(super) fn gather_nd(batch_dims: i64, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let (data, indices) = (inputs.tensor(0)?, inputs.tensor(1)?);
    let batch = batch_axes(batch_dims, data, indices, inputs)?;
    let slices = Slices::of(data, indices, batch, inputs)?;
    let shape =
        [&indices.shape()[..indices.shape().len() - 1], &data.shape()[batch + slices.depth..]].concat();
    inputs.count(&shape)?;
    Cells::of(data)
        .gather_runs(slices.starts.into_iter(), slices.run)
        .into_tensor(&shape)
        .map_err(|error| stored(error, inputs))
}

/// Slices named by rows of indices.
pub(super) struct Slices {
    /// Axes that a row names.
    pub(super) depth: usize,
    /// Elements of each slice.
    pub(super) run: usize,
    /// Where each begins.
    pub(super) starts: Vec<usize>,
}

impl Slices {
    /// Of input 1, after `batch` axes that both share.
    pub(super) fn of(
        data: &Tensor,
        indices: &Tensor,
        batch: usize,
        inputs: &Inputs<'_>,
    ) -> Result<Slices, Error> {
        let depth = indices.shape().last().copied().unwrap_or(usize::MAX);
        if batch >= indices.shape().len() || depth > data.shape().len() - batch {
            return Err(inputs.argument(
                format!("rows of at most {} positions", data.shape().len() - batch),
                format!("indices of shape {:?}", indices.shape()),
            ));
        }
        let numbers = inputs.integers(1)?;
        let steps = strides(data.shape());
        let rows: usize = indices.shape()[..indices.shape().len() - 1].iter().product();
        let batches: usize = data.shape()[..batch].iter().product();
        let sample: usize = data.shape()[batch..].iter().product();
        let start = |row: usize| {
            let origin = row / (rows / batches.max(1)).max(1) * sample;
            (0..depth).try_fold(origin, |sum, place| {
                let axis = batch + place;
                let at = position(numbers[row * depth + place], data.shape()[axis], inputs)?;
                Ok(sum + at * steps[axis] as usize)
            })
        };
        let starts = (0..rows).map(start).collect::<Result<_, Error>>()?;
        let run: usize = data.shape()[batch + depth..].iter().product();
        Ok(Slices { depth, run, starts })
    }
}
