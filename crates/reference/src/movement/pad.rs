//! Elements added or cut off at the ends of axes.

use calipers_ir::Tensor;

use super::reshape::extents;
use super::stored;
use crate::Error;
use crate::cells::Cells;
use crate::inputs::Inputs;
use crate::shape::{coordinates, strides};

/// Where an element before or after an axis of `extent` elements, at least 1, comes from; `None` is the value.
type Outside = fn(i64, i64) -> Option<i64>;

fn inside(at: i64, extent: i64) -> bool {
    (0..extent).contains(&at)
}

fn outside_of(mode: &str, inputs: &Inputs<'_>) -> Result<Outside, Error> {
    Ok(match mode {
        "constant" => |at, extent| Some(at).filter(|&at| inside(at, extent)),
        "edge" => |at, extent| Some(at.clamp(0, extent - 1)),
        "wrap" => |at, extent| Some(at.rem_euclid(extent)),
        "reflect" => |at, extent| {
            let period = (2 * (extent - 1)).max(1);
            let at = at.rem_euclid(period);
            Some(if extent == 1 { 0 } else { at.min(period - at) })
        },
        "symmetric" => |at, extent| {
            let at = at.rem_euclid(2 * extent);
            Some(at.min(2 * extent - 1 - at))
        },
        other => {
            return Err(
                inputs.argument("mode = constant, reflect, edge, wrap or symmetric", format!("`{other}`"))
            );
        }
    })
}

/// Padding by the amounts of input 1, negative ones cut off.
pub(super) fn pad(mode: &str, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let (data, pads) = (inputs.tensor(0)?, inputs.integers(1)?);
    let rank = data.shape().len();
    let axes = match inputs.optional_integers(3)? {
        Some(axes) => inputs.axes(&axes, rank)?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(inputs.argument(format!("{} pads", 2 * axes.len()), format!("{}", pads.len())));
    }
    let mut ends = vec![(0, 0); rank];
    for (index, &axis) in axes.iter().enumerate() {
        ends[axis] = (pads[index], pads[axes.len() + index]);
    }
    let fill = match inputs.optional(2) {
        Some(value) if value.len() == 1 && value.dtype() == data.dtype() => Cells::of(value),
        Some(value) => {
            return Err(
                inputs.argument(format!("a value of one {}", data.dtype()), value.tensor_type().to_string())
            );
        }
        None => Cells::zeros(data.dtype(), 1),
    };
    padded(data, &ends, outside_of(mode, inputs)?, &fill, inputs)
}

/// The middle of axes cut out or padded with zeros, so that they have the extents of input 1.
pub(super) fn center_crop_pad(axes: Option<&[i64]>, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let data = inputs.tensor(0)?;
    let target = extents(&inputs.integers(1)?, inputs)?;
    let rank = data.shape().len();
    let axes = match axes {
        Some(axes) => inputs.axes(axes, rank)?,
        None => (0..rank).collect(),
    };
    if axes.len() != target.len() {
        return Err(inputs.argument(format!("{} extents", axes.len()), format!("{}", target.len())));
    }
    let mut ends = vec![(0, 0); rank];
    for (&axis, &wanted) in axes.iter().zip(&target) {
        inputs.count(&[wanted])?;
        let difference = wanted as i64 - data.shape()[axis] as i64;
        // The end gets the larger half of a padding, the begin of a crop the smaller.
        let before = if difference < 0 { -(-difference / 2) } else { difference / 2 };
        ends[axis] = (before, difference - before);
    }
    padded(data, &ends, outside_of("constant", inputs)?, &Cells::zeros(data.dtype(), 1), inputs)
}

/// `ends` has what is added before and after each axis.
fn padded(
    data: &Tensor,
    ends: &[(i64, i64)],
    outside: Outside,
    fill: &Cells<'_>,
    inputs: &Inputs<'_>,
) -> Result<Tensor, Error> {
    let mut shape = Vec::with_capacity(ends.len());
    for (&extent, (before, after)) in data.shape().iter().zip(ends) {
        let padded = (extent as i64).saturating_add(*before).saturating_add(*after);
        shape.push(usize::try_from(padded).map_err(|_| {
            inputs.argument(format!("pads that leave an extent of {extent}"), format!("{before} and {after}"))
        })?);
    }
    inputs.count(&shape)?;
    // For each axis, the part of an offset that each position adds.
    let mut sources: Vec<Vec<Option<usize>>> = Vec::with_capacity(shape.len());
    for (axis, stride) in strides(data.shape()).into_iter().enumerate() {
        let extent = data.shape()[axis] as i64;
        let source = |at: usize| match extent {
            0 => None,
            _ => Some(outside(at as i64 - ends[axis].0, extent)? as usize * stride as usize),
        };
        sources.push(if shape.contains(&0) { Vec::new() } else { (0..shape[axis]).map(source).collect() });
    }
    let positions = coordinates(&shape).map(|position| {
        position.iter().zip(&sources).try_fold(0, |sum, (&at, sources)| Some(sum + sources[at]?))
    });
    Cells::of(data).gather_or(positions, fill).into_tensor(&shape).map_err(|error| stored(error, inputs))
}
