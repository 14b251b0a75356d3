//! Blocks laid out as columns, summed back into an image.

use calipers_ir::{Tensor, Window};

use crate::Error;
use crate::accumulate::Accumulate;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::spatial::{Axis, Run, check_window, for_each_tap};

/// Input `[batch, channels * block, positions]` to `[batch, channels, image extents]`: what overlaps is added.
pub(crate) fn to_image(
    dilations: &[i64],
    pads: &[i64],
    strides: &[i64],
    inputs: &Inputs<'_>,
) -> Result<Vec<Tensor>, Error> {
    let tensor = inputs.tensor(0)?;
    let sizes = |index: usize| -> Result<Vec<usize>, Error> {
        let sizes: Option<Vec<usize>> =
            inputs.integers(index)?.into_iter().map(|size| usize::try_from(size).ok()).collect();
        sizes
            .ok_or_else(|| inputs.argument(format!("extents of 0 or more in input {index}"), "negative ones"))
    };
    let (image, block) = (sizes(1)?, sizes(2)?);
    let axes = image.len();
    let list = |values: &[i64], default: i64, count: usize| -> Vec<usize> {
        let values = if values.is_empty() { vec![default; count] } else { values.to_vec() };
        values.into_iter().map(|value| usize::try_from(value).unwrap_or(usize::MAX)).collect()
    };
    let mut pads_begin = list(pads, 0, 2 * axes);
    let pads_end = pads_begin.split_off(axes.min(pads_begin.len()));
    let window =
        Window { strides: list(strides, 1, axes), dilations: list(dilations, 1, axes), pads_begin, pads_end };
    check_window(inputs, &window, axes)?;
    let blocks: Option<Vec<usize>> =
        (0..axes).map(|axis| window.output_extent(axis, image[axis], *block.get(axis)?, false)).collect();
    let (taps, positions) = (crate::shape::count(&block), blocks.as_deref().and_then(crate::shape::count));
    let (&[batch, rows, columns], Some(blocks), Some(taps), Some(positions)) =
        (tensor.shape(), blocks, taps, positions)
    else {
        return Err(inputs.argument(
            "columns of rank 3, a block within the padded image",
            format!("shape {:?}, image {image:?}, block {block:?}", tensor.shape()),
        ));
    };
    if block.len() != axes || positions != columns || taps == 0 || rows % taps != 0 {
        return Err(inputs.argument(
            format!("rows in multiples of the block {block:?}, a column for each of {positions} positions"),
            format!("shape {:?}", tensor.shape()),
        ));
    }
    let channels = rows / taps;
    let shape = [[batch, channels].as_slice(), &image].concat();
    let count = inputs.count(&shape)?;
    let axes = Axis::all(&window, &block, &blocks, &image);
    let geometry = Geometry { axes, taps, positions, count };
    let numbers = match inputs.numbers(0)? {
        Numbers::F32(values) => Numbers::F32(geometry.sum(&values, 1.0)),
        Numbers::F64(values) => Numbers::F64(geometry.sum(&values, 1.0)),
        Numbers::I64(values) => Numbers::I64(geometry.sum(&values, 1)),
        Numbers::U64(values) => Numbers::U64(geometry.sum(&values, 1)),
        Numbers::Bool(_) => return Err(inputs.unsupported_type(tensor.dtype(), "numbers")),
    };
    Ok(vec![inputs.result(tensor.dtype(), &shape, numbers)?])
}

struct Geometry {
    axes: Vec<Axis>,
    taps: usize,
    positions: usize,
    count: usize,
}

impl Geometry {
    fn sum<T: Accumulate>(&self, columns: &[T], one: T) -> Vec<T> {
        let mut out = vec![T::default(); self.count];
        let plane: usize = self.axes.iter().map(|axis| axis.covered).product();
        let stride = self.axes.last().map_or(1, |axis| axis.stride);
        for_each_tap(&self.axes, |tap, runs| {
            for (number, out) in out.chunks_exact_mut(plane.max(1)).enumerate() {
                let values = &columns[(number * self.taps + tap) * self.positions..][..self.positions];
                for &Run { sliding, covered, count } in runs {
                    let values = &values[sliding..sliding + count];
                    for (out, &value) in out[covered..].iter_mut().step_by(stride).zip(values) {
                        *out = out.plus_product(one, value);
                    }
                }
            }
        });
        out
    }
}
