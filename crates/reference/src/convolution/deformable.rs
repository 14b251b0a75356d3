//! Deformable convolution: each tap reads at an offset of its own, between the elements.

use calipers_ir::{Layout, Tensor, Window};

use crate::Error;
use crate::inputs::Inputs;
use crate::spatial::{Spatial, check_window};

/// Attributes of a deformable convolution of images, as on the ONNX page.
pub(crate) struct Deformable<'a> {
    pub dilations: &'a [i64],
    pub group: i64,
    pub kernel_shape: &'a [i64],
    pub offset_group: i64,
    pub pads: &'a [i64],
    pub strides: &'a [i64],
}

/// `y[n, o, p] = bias[o] + sum over channels c and taps t of w[o, c, t] mask[n, t, p] x[n, c, q]`, where `q` is
/// `stride p + dilation t - pad + offset[n, t, p]` and `x` is interpolated linearly with zeros around it.
pub(crate) fn deformable(attributes: &Deformable<'_>, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let x = Spatial::of(inputs, 0, Layout::Nchw, Some(2))?;
    let weight = Spatial::of(inputs, 1, Layout::Nchw, Some(2))?;
    let offset = Spatial::of(inputs, 2, Layout::Nchw, Some(2))?;
    let window = window(inputs, attributes)?;
    let taps = weight.plane();
    let positive = |value: i64| usize::try_from(value).ok().filter(|&value| value > 0);
    let (Some(groups), Some(offset_groups)) = (positive(attributes.group), positive(attributes.offset_group))
    else {
        return Err(inputs.argument(
            "group and offset_group of at least 1",
            format!("{} and {}", attributes.group, attributes.offset_group),
        ));
    };
    let kernel: Vec<i64> = weight.extents.iter().map(|&extent| extent as i64).collect();
    if !attributes.kernel_shape.is_empty() && attributes.kernel_shape != kernel {
        return Err(inputs.argument(
            format!("kernel_shape {kernel:?} of the weight"),
            format!("{:?}", attributes.kernel_shape),
        ));
    }
    let extents: Option<Vec<usize>> =
        (0..2).map(|axis| window.output_extent(axis, x.extents[axis], weight.extents[axis], false)).collect();
    let fits = weight.channels.checked_mul(groups) == Some(x.channels)
        && weight.batch.is_multiple_of(groups)
        && x.channels.is_multiple_of(offset_groups)
        && offset.batch == x.batch
        && offset_groups.checked_mul(2 * taps) == Some(offset.channels)
        && extents.as_ref() == Some(&offset.extents);
    if !fits {
        return Err(inputs.argument(
            "offsets [batch, 2 * offset_group * taps, output extents] and channels in equal groups",
            format!("{x:?}, weight {weight:?}, offset {offset:?}"),
        ));
    }
    let out = Spatial { batch: x.batch, channels: weight.batch, extents: offset.extents.clone() };
    let shape = out.shape(Layout::Nchw);
    let count = inputs.count(&shape)?;
    let bias = inputs.optional(3).map(|_| inputs.doubles(3)).transpose()?;
    let mask = inputs.optional(4).map(|_| inputs.doubles(4)).transpose()?;
    let plane = out.plane();
    if bias.as_ref().is_some_and(|bias| bias.len() != out.channels)
        || mask.as_ref().is_some_and(|mask| mask.len() != x.batch * offset_groups * taps * plane)
    {
        return Err(inputs.argument("a bias for each output channel, a mask for each tap", "other sizes"));
    }
    let (image, weights, offsets) = (inputs.doubles(0)?, inputs.doubles(1)?, inputs.doubles(2)?);
    let (in_plane, width) = (x.plane(), x.extents[1]);
    let (group_in, group_out) = (weight.channels, (out.channels / groups).max(1));
    let mut result = Vec::with_capacity(count);
    for sample in 0..out.batch {
        let mut sums = vec![0.0; out.channels * plane];
        for channel in 0..x.channels {
            let values = &image[(sample * x.channels + channel) * in_plane..][..in_plane];
            let offset_group = sample * offset_groups + channel / (x.channels / offset_groups);
            for tap in 0..taps {
                let at = (offset_group * taps + tap) * plane;
                let (tap_row, tap_column) = (tap / weight.extents[1], tap % weight.extents[1]);
                for position in 0..plane {
                    let place = |axis: usize, index: usize, tap: usize| {
                        (index * window.strides[axis] + tap * window.dilations[axis]) as f64
                            - window.pads_begin[axis] as f64
                            + offsets[2 * at + axis * plane + position]
                    };
                    let row = place(0, position / out.extents[1], tap_row);
                    let column = place(1, position % out.extents[1], tap_column);
                    let mask = mask.as_ref().map_or(1.0, |mask| mask[at + position]);
                    let value = mask * between(values, width, row, column);
                    let first = channel / group_in * group_out;
                    for channel_out in first..first + group_out {
                        let row = channel_out * group_in + channel % group_in;
                        sums[channel_out * plane + position] += weights[row * taps + tap] * value;
                    }
                }
            }
        }
        if let Some(bias) = &bias {
            for (sums, bias) in sums.chunks_exact_mut(plane.max(1)).zip(bias) {
                sums.iter_mut().for_each(|sum| *sum += bias);
            }
        }
        result.extend(sums);
    }
    let dtype = inputs.tensor(0)?.dtype();
    Ok(vec![inputs.result(dtype, &shape, crate::numbers::Numbers::F64(result))?])
}

/// The window of the attributes over two axes.
fn window(inputs: &Inputs<'_>, attributes: &Deformable<'_>) -> Result<Window, Error> {
    let list = |values: &[i64], default: i64, count: usize| -> Vec<usize> {
        let values = if values.is_empty() { vec![default; count] } else { values.to_vec() };
        values.into_iter().map(|value| usize::try_from(value).unwrap_or(usize::MAX)).collect()
    };
    let mut pads = list(attributes.pads, 0, 4);
    let pads_end = pads.split_off(2.min(pads.len()));
    let window = Window {
        strides: list(attributes.strides, 1, 2),
        dilations: list(attributes.dilations, 1, 2),
        pads_begin: pads,
        pads_end,
    };
    check_window(inputs, &window, 2)?;
    Ok(window)
}

/// Linear interpolation in a plane with zeros around it.
fn between(values: &[f64], width: usize, row: f64, column: f64) -> f64 {
    let height = values.len() / width.max(1);
    let (top, left) = (row.floor(), column.floor());
    let mut sum = 0.0;
    for (y, share_y) in [(top, 1.0 - (row - top)), (top + 1.0, row - top)] {
        for (x, share_x) in [(left, 1.0 - (column - left)), (left + 1.0, column - left)] {
            if y >= 0.0 && x >= 0.0 && y < height as f64 && x < width as f64 {
                sum += share_y * share_x * values[y as usize * width + x as usize];
            }
        }
    }
    sum
}
