//! Positions made from values and the other way round: Compress, OneHot, NonZero.

use calipers_ir::{DType, Tensor};

use super::stored;
use crate::Error;
use crate::cells::Cells;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::shape::{around, coordinates};

/// The slices along `axis`, or elements of the flat input, at which the condition holds.
pub(super) fn compress(axis: Option<i64>, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let x = inputs.tensor(0)?;
    let condition = inputs.numbers(1)?.into_bool();
    let whole = [x.len()];
    let (shape, axis) = match axis {
        Some(axis) => (x.shape(), inputs.axis(axis, x.shape().len())?),
        None => (&whole[..], 0),
    };
    let (outer, extent, inner) = around(shape, axis);
    let kept: Vec<usize> =
        condition.iter().enumerate().filter(|&(_, &holds)| holds).map(|(at, _)| at).collect();
    if let Some(last) = kept.last().filter(|&&last| last >= extent) {
        return Err(
            inputs.argument(format!("a condition within {extent} elements"), format!("one at {last}"))
        );
    }
    let mut result = shape.to_vec();
    result[axis] = kept.len();
    let starts = (0..outer).flat_map(|row| kept.iter().map(move |at| (row * extent + at) * inner));
    Cells::of(x).gather_runs(starts, inner).into_tensor(&result).map_err(|error| stored(error, inputs))
}

/// `values[1]` at each index along a new axis, `values[0]` elsewhere; an index outside the depth is nowhere.
pub(super) fn one_hot(axis: i64, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let (indices, values) = (inputs.tensor(0)?, inputs.tensor(2)?);
    let axis = inputs.axis(axis, indices.shape().len() + 1)?;
    let depths = inputs.numbers(1)?.into_i64();
    let depth = match depths[..] {
        [depth] => usize::try_from(depth).ok(),
        _ => None,
    };
    let Some(depth) = depth else {
        return Err(inputs.argument("one depth of 0 or more", format!("{depths:?}")));
    };
    if values.len() != 2 {
        return Err(inputs.argument("two values", format!("{}", values.len())));
    }
    let mut shape = indices.shape().to_vec();
    shape.insert(axis, depth);
    inputs.count(&shape)?;
    let (outer, _, inner) = around(&shape, axis);
    let numbers = inputs.numbers_of(indices)?.into_i64();
    let from_front = |at: i64| if at < 0 { at.saturating_add(depth as i64) } else { at };
    let positions: Vec<i64> = numbers.into_iter().map(from_front).collect();
    let positions = &positions;
    let sources = (0..outer).flat_map(|row| {
        (0..depth).flat_map(move |step| {
            (0..inner).map(move |column| usize::from(positions[row * inner + column] == step as i64))
        })
    });
    Cells::of(values).gather(sources).into_tensor(&shape).map_err(|error| stored(error, inputs))
}

/// The positions of what is not zero, one column each.
pub(super) fn nonzero(inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let x = inputs.tensor(0)?;
    let truths = inputs.numbers_of(x)?.into_bool();
    let found: Vec<Vec<usize>> =
        coordinates(x.shape()).zip(truths).filter(|(_, holds)| *holds).map(|(place, _)| place).collect();
    let rank = x.shape().len();
    let rows = (0..rank).flat_map(|axis| found.iter().map(move |place| place[axis] as i64)).collect();
    inputs.result(DType::I64, &[rank, found.len()], Numbers::I64(rows))
}
