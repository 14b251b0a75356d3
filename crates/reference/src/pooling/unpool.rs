//! The inverse of max pooling: elements go back to the positions that they came from.

use calipers_ir::{Layout, Tensor};

use crate::Error;
use crate::cells::Cells;
use crate::inputs::Inputs;
use crate::shape::{Walk, strides};
use crate::spatial::Spatial;

/// Zeros but for the elements of `x` at their positions, which count over a result of extents
/// `stride (extent - 1) + kernel - pads`; a larger shape that is given holds that result in its first corner.
pub(crate) fn max_unpool(
    kernel: &[i64],
    pads: &[i64],
    steps: &[i64],
    inputs: &Inputs<'_>,
) -> Result<Vec<Tensor>, Error> {
    let axes = kernel.len();
    let x = Spatial::of(inputs, 0, Layout::Nchw, Some(axes))?;
    let tensor = inputs.tensor(0)?;
    let list = |values: &[i64], default: i64, count: usize| {
        if values.is_empty() { vec![default; count] } else { values.to_vec() }
    };
    let (pads, steps) = (list(pads, 0, 2 * axes), list(steps, 1, axes));
    if pads.len() != 2 * axes || steps.len() != axes {
        return Err(
            inputs.argument(format!("{axes} strides and twice as many pads"), format!("{steps:?}, {pads:?}"))
        );
    }
    let extents: Option<Vec<usize>> = (0..axes)
        .map(|axis| {
            let extent = i64::try_from(x.extents[axis]).ok()?.checked_sub(1)?.checked_mul(steps[axis])?;
            let cut = pads[axis].checked_add(pads[axes + axis])?;
            usize::try_from(extent.checked_add(kernel[axis])?.checked_sub(cut)?).ok()
        })
        .collect();
    let Some(extents) = extents else {
        return Err(inputs.argument("extents of 0 or more", format!("kernel {kernel:?}, pads {pads:?}")));
    };
    let natural = Spatial { extents, ..x }.shape(Layout::Nchw);
    let count = inputs.count(&natural)?;
    let positions = inputs.integers(1)?;
    if positions.len() != tensor.len() {
        return Err(inputs.argument("a position for each element", format!("{}", positions.len())));
    }
    let source = Cells::of(tensor);
    let mut cells = Cells::zeros(tensor.dtype(), count);
    for (from, &position) in positions.iter().enumerate() {
        match usize::try_from(position).ok().filter(|&position| position < count) {
            Some(position) => cells.set(position, &source, from),
            None => return Err(inputs.argument(format!("positions below {count}"), format!("{position}"))),
        }
    }
    let Some(shape) = inputs.optional_integers(2)? else {
        return into_tensor(inputs, cells, &natural);
    };
    let shape: Vec<usize> = shape.iter().map(|&extent| usize::try_from(extent).unwrap_or(0)).collect();
    if shape.len() != natural.len() || shape.iter().zip(&natural).any(|(given, natural)| given < natural) {
        return Err(inputs.argument(format!("an output shape that holds {natural:?}"), format!("{shape:?}")));
    }
    let mut whole = Cells::zeros(tensor.dtype(), inputs.count(&shape)?);
    for (from, to) in Walk::new(&natural, &strides(&shape), 0).enumerate() {
        whole.set(to, &cells, from);
    }
    into_tensor(inputs, whole, &shape)
}

fn into_tensor(inputs: &Inputs<'_>, cells: Cells<'_>, shape: &[usize]) -> Result<Vec<Tensor>, Error> {
    let tensor = cells.into_tensor(shape);
    Ok(vec![tensor.map_err(|error| inputs.argument("a result that can be stored", error.to_string()))?])
}
