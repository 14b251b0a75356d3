//! Axes, and the beginnings of sequences, in reverse order.

use calipers_ir::Tensor;

use super::{stored, walked};
use crate::Error;
use crate::cells::Cells;
use crate::inputs::Inputs;
use crate::shape::{coordinates, strides};

/// The axes of input 1 in reverse order.
pub(super) fn reverse(inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let data = inputs.tensor(0)?;
    let mut steps = strides(data.shape());
    let mut start = 0;
    for axis in inputs.axes(&inputs.integers(1)?, data.shape().len())? {
        start += steps[axis] * (data.shape()[axis] as isize - 1);
        steps[axis] = -steps[axis];
    }
    walked(data, data.shape(), &steps, start, inputs)
}

/// The first elements of each sequence, as many as input 1 says, in reverse order.
pub(super) fn reverse_sequence(
    batch_axis: i64,
    time_axis: i64,
    inputs: &Inputs<'_>,
) -> Result<Tensor, Error> {
    let (data, lengths) = (inputs.tensor(0)?, inputs.integers(1)?);
    let rank = data.shape().len();
    let (batch_axis, time_axis) = (inputs.axis(batch_axis, rank)?, inputs.axis(time_axis, rank)?);
    let (batch, time) = (data.shape()[batch_axis], data.shape()[time_axis]);
    let fits = |&length: &i64| (0..=time as i64).contains(&length);
    if batch_axis == time_axis || lengths.len() != batch || !lengths.iter().all(fits) {
        return Err(inputs.argument(
            format!("{batch} lengths from 0 to {time}, and two different axes"),
            format!("lengths {lengths:?}, axes {batch_axis} and {time_axis}"),
        ));
    }
    let steps = strides(data.shape());
    let positions = coordinates(data.shape()).map(|mut position| {
        let length = lengths[position[batch_axis]] as usize;
        if position[time_axis] < length {
            position[time_axis] = length - 1 - position[time_axis];
        }
        position.iter().zip(&steps).map(|(&at, &step)| at * step as usize).sum()
    });
    Cells::of(data).gather(positions).into_tensor(data.shape()).map_err(|error| stored(error, inputs))
}
