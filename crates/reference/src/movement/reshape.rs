//! Other shapes over the same elements, permutations of axes, and broadcasting to a shape.

use calipers_ir::Tensor;

use super::walked;
use crate::Error;
use crate::inputs::Inputs;
use crate::shape::{broadcast_strides, strides};

/// Extents from numbers that must not be negative.
pub(super) fn extents(numbers: &[i64], inputs: &Inputs<'_>) -> Result<Vec<usize>, Error> {
    let extents: Result<Vec<usize>, _> = numbers.iter().map(|&number| usize::try_from(number)).collect();
    extents.map_err(|_| inputs.argument("extents of 0 or more", format!("{numbers:?}")))
}

/// 0 copies an extent, one -1 takes the rest. An input without elements may also have extents of 0 that are meant: 0
/// where there is no extent to copy.
pub(crate) fn reshape(inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let (data, target) = (inputs.tensor(0)?, inputs.integers(1)?);
    let mut shape = Vec::with_capacity(target.len());
    let mut rest = None;
    for (axis, &extent) in target.iter().enumerate() {
        shape.push(match extent {
            0 => data.shape().get(axis).copied().unwrap_or(0),
            -1 if rest.is_none() => {
                rest = Some(axis);
                1
            }
            extent => usize::try_from(extent)
                .map_err(|_| inputs.argument("extents of 0 or more and one -1", format!("{target:?}")))?,
        });
    }
    if let Some(axis) = rest {
        let others = inputs.count(&shape)?;
        shape[axis] = data.len().checked_div(others).unwrap_or(0);
    }
    Ok(vec![inputs.reshaped(data, &shape)?])
}

/// To rank 2.
pub(crate) fn flatten(axis: i64, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let data = inputs.tensor(0)?;
    // The axis may also stand after the last one.
    let rank = data.shape().len();
    let axis = if axis < 0 && rank > 0 { inputs.axis(axis, rank)? } else { inputs.axis(axis, rank + 1)? };
    let (before, after) = data.shape().split_at(axis);
    Ok(vec![inputs.reshaped(data, &[before.iter().product(), after.iter().product()])?])
}

/// Output axis `i` is input axis `permutation[i]`.
pub(crate) fn transpose(permutation: &[usize], inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let data = inputs.tensor(0)?;
    let rank = data.shape().len();
    let mut sorted = permutation.to_vec();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..rank) {
        return Err(inputs.argument(format!("each of {rank} axes once"), format!("{permutation:?}")));
    }
    let steps = strides(data.shape());
    let shape: Vec<usize> = permutation.iter().map(|&axis| data.shape()[axis]).collect();
    let steps: Vec<isize> = permutation.iter().map(|&axis| steps[axis]).collect();
    Ok(vec![walked(data, &shape, &steps, 0, inputs)?])
}

/// Without the axes of input 1, or all of extent 1.
pub(super) fn squeeze(inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let data = inputs.tensor(0)?;
    let shape = data.shape();
    let axes = match inputs.optional_integers(1)? {
        Some(axes) => inputs.axes(&axes, shape.len())?,
        None => (0..shape.len()).filter(|&axis| shape[axis] == 1).collect(),
    };
    if let Some(axis) = axes.iter().find(|&&axis| shape[axis] != 1) {
        return Err(inputs.argument(format!("extent 1 of axis {axis}"), format!("shape {shape:?}")));
    }
    let kept: Vec<usize> =
        (0..shape.len()).filter(|axis| !axes.contains(axis)).map(|axis| shape[axis]).collect();
    inputs.reshaped(data, &kept)
}

/// With extents of 1 inserted, so that they stand at the axes of input 1.
pub(super) fn unsqueeze(inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let (data, axes) = (inputs.tensor(0)?, inputs.integers(1)?);
    let rank = data.shape().len() + axes.len();
    let mut inserted = vec![false; rank];
    for axis in inputs.axes(&axes, rank)? {
        inserted[axis] = true;
    }
    let mut rest = data.shape().iter().copied();
    let shape: Vec<usize> =
        inserted.into_iter().filter_map(|inserted| if inserted { Some(1) } else { rest.next() }).collect();
    inputs.reshaped(data, &shape)
}

/// Broadcast together with the shape of input 1.
pub(super) fn expand(inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let data = inputs.tensor(0)?;
    let target = extents(&inputs.integers(1)?, inputs)?;
    let shape = inputs.broadcast(&[data.shape(), &target])?;
    walked(data, &shape, &broadcast_strides(data.shape(), &shape), 0, inputs)
}
