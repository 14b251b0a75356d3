//! Repetition, blocks between channels and space, and triangles of matrices.

use calipers_ir::Tensor;

use super::reshape::extents;
use super::{stored, walked};
use crate::Error;
use crate::cells::Cells;
use crate::inputs::Inputs;
use crate::shape::{coordinates, strides};

/// Each axis repeated as often as input 1 says.
pub(super) fn tile(inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let data = inputs.tensor(0)?;
    let repeats = extents(&inputs.integers(1)?, inputs)?;
    if repeats.len() != data.shape().len() {
        return Err(inputs.argument(format!("{} repeats", data.shape().len()), format!("{}", repeats.len())));
    }
    // Each axis is split into repetitions, which do not move, and positions.
    let (mut split, mut steps, mut shape) = (Vec::new(), Vec::new(), Vec::new());
    for ((&extent, times), stride) in data.shape().iter().zip(repeats).zip(strides(data.shape())) {
        split.extend([times, extent]);
        steps.extend([0, stride]);
        shape.push(extent.saturating_mul(times));
    }
    inputs.count(&shape)?;
    let tiled = walked(data, &split, &steps, 0, inputs)?;
    inputs.reshaped(&tiled, &shape)
}

fn block(blocksize: i64, inputs: &Inputs<'_>) -> Result<([usize; 4], usize), Error> {
    let shape = inputs.tensor(0)?.shape();
    let Ok(extents) = <[usize; 4]>::try_from(shape) else {
        return Err(inputs.argument("data of rank 4", format!("shape {shape:?}")));
    };
    match usize::try_from(blocksize) {
        Ok(block) if (1..=1 << 16).contains(&block) => Ok((extents, block)),
        _ => Err(inputs.argument("a block size from 1 to 65536", format!("{blocksize}"))),
    }
}

/// Channels to blocks of height and width.
pub(super) fn depth_to_space(blocksize: i64, mode: &str, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let data = inputs.tensor(0)?;
    let ([batch, channels, height, width], block) = block(blocksize, inputs)?;
    if channels % (block * block) != 0 {
        let expected = format!("channels that {} divides", block * block);
        return Err(inputs.argument(expected, format!("{channels}")));
    }
    let depth = channels / (block * block);
    let (split, order) = match mode {
        "DCR" => ([batch, block, block, depth, height, width], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([batch, depth, block, block, height, width], [0, 1, 4, 2, 5, 3]),
        other => return Err(inputs.argument("mode = DCR or CRD", format!("`{other}`"))),
    };
    let moved = permuted(data, &split, &order, inputs)?;
    inputs.reshaped(&moved, &[batch, depth, height.saturating_mul(block), width.saturating_mul(block)])
}

/// Blocks of height and width to channels.
pub(super) fn space_to_depth(blocksize: i64, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let data = inputs.tensor(0)?;
    let ([batch, channels, height, width], block) = block(blocksize, inputs)?;
    if height % block != 0 || width % block != 0 {
        return Err(
            inputs.argument(format!("height and width that {block} divides"), format!("{height} x {width}"))
        );
    }
    inputs.count(&[channels, block, block])?;
    let split = [batch, channels, height / block, block, width / block, block];
    let moved = permuted(data, &split, &[0, 3, 5, 1, 2, 4], inputs)?;
    inputs.reshaped(&moved, &[batch, channels * block * block, height / block, width / block])
}

/// The data under the shape `split` with its axes in another order.
fn permuted(
    data: &Tensor,
    split: &[usize; 6],
    order: &[usize; 6],
    inputs: &Inputs<'_>,
) -> Result<Tensor, Error> {
    let steps = strides(split);
    walked(data, &order.map(|axis| split[axis]), &order.map(|axis| steps[axis]), 0, inputs)
}

/// The triangle above or below a diagonal of the last two axes, zeros elsewhere.
pub(super) fn trilu(upper: bool, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let data = inputs.tensor(0)?;
    let diagonal = if inputs.optional(1).is_some() { inputs.integer(1)? } else { 0 };
    let rank = data.shape().len();
    if rank < 2 {
        return Err(inputs.argument("data of rank 2 or more", format!("rank {rank}")));
    }
    let positions = coordinates(data.shape()).enumerate().map(|(index, position)| {
        let distance = position[rank - 1] as i64 - position[rank - 2] as i64;
        let kept = if upper { distance >= diagonal } else { distance <= diagonal };
        kept.then_some(index)
    });
    Cells::of(data)
        .gather_or(positions, &Cells::zeros(data.dtype(), 1))
        .into_tensor(data.shape())
        .map_err(|error| stored(error, inputs))
}
