//! Operators that move or repeat elements, whatever their type.

mod blocks;
mod concat;
mod pad;
mod reshape;
mod reverse;
mod slice;

use calipers_ir::{Movement, Tensor, TensorError};

pub(crate) use reshape::{flatten, reshape, transpose};

use crate::Error;
use crate::cells::Cells;
use crate::inputs::Inputs;
use crate::shape::Walk;

/// Movements with attributes of their own.
pub(crate) fn evaluate(
    movement: &Movement,
    inputs: &Inputs<'_>,
    outputs: usize,
) -> Result<Vec<Tensor>, Error> {
    let result = match movement {
        Movement::Concat { axis } => concat::concat(*axis, inputs)?,
        Movement::Split { axis, num_outputs } => return concat::split(*axis, *num_outputs, outputs, inputs),
        Movement::Slice => slice::slice(inputs)?,
        Movement::Pad { mode } => pad::pad(mode, inputs)?,
        Movement::Squeeze => reshape::squeeze(inputs)?,
        Movement::Unsqueeze => reshape::unsqueeze(inputs)?,
        Movement::Expand => reshape::expand(inputs)?,
        Movement::Tile => blocks::tile(inputs)?,
        Movement::DepthToSpace { blocksize, mode } => blocks::depth_to_space(*blocksize, mode, inputs)?,
        Movement::SpaceToDepth { blocksize } => blocks::space_to_depth(*blocksize, inputs)?,
        Movement::ReverseSequence { batch_axis, time_axis } => {
            reverse::reverse_sequence(*batch_axis, *time_axis, inputs)?
        }
        Movement::Reverse => reverse::reverse(inputs)?,
        Movement::Trilu { upper } => blocks::trilu(*upper, inputs)?,
        Movement::CenterCropPad { axes } => pad::center_crop_pad(axes.as_deref(), inputs)?,
    };
    Ok(vec![result])
}

/// A tensor of `shape` whose elements are those of `tensor` in the order of a walk with those strides.
fn walked(
    tensor: &Tensor,
    shape: &[usize],
    strides: &[isize],
    start: isize,
    inputs: &Inputs<'_>,
) -> Result<Tensor, Error> {
    inputs.count(shape)?;
    let cells = Cells::of(tensor).gather(Walk::new(shape, strides, start));
    cells.into_tensor(shape).map_err(|error| stored(error, inputs))
}

fn stored(error: TensorError, inputs: &Inputs<'_>) -> Error {
    inputs.argument("a result that can be stored", error.to_string())
}
