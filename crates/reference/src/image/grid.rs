//! Sampling an image at the points of a grid, and grids of affine maps.

use calipers_ir::{Layout, Tensor};

use crate::Error;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::shape::coordinates;
use crate::spatial::Spatial;

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

#[derive(Clone, Copy, PartialEq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

/// `y[n, c, p] = x[n, c, grid[n, p]]` between the elements. Grid points are `[..., x, y(, z)]`, the last axis of `x`
/// first, from -1 to 1 over the image.
pub(crate) fn sample(
    align_corners: bool,
    mode: &str,
    padding: &str,
    inputs: &Inputs<'_>,
) -> Result<Vec<Tensor>, Error> {
    let mode = match mode {
        "nearest" => Mode::Nearest,
        "linear" | "bilinear" => Mode::Linear,
        "cubic" | "bicubic" => Mode::Cubic,
        other => return Err(inputs.unsupported(format!("mode {other}"), "nearest, linear, cubic")),
    };
    let padding = match padding {
        "zeros" => Padding::Zeros,
        "border" => Padding::Border,
        "reflection" => Padding::Reflection,
        other => {
            return Err(inputs.unsupported(format!("padding mode {other}"), "zeros, border, reflection"));
        }
    };
    let x = Spatial::of(inputs, 0, Layout::Nchw, None)?;
    let axes = x.extents.len();
    let grid_shape = inputs.tensor(1)?.shape();
    if grid_shape.len() != axes + 2 || grid_shape[0] != x.batch || grid_shape[axes + 1] != axes {
        let expected = format!("a grid of shape [{}, {axes} extents, {axes}]", x.batch);
        return Err(inputs.argument(expected, format!("shape {grid_shape:?}")));
    }
    let shape = [&[x.batch, x.channels], &grid_shape[1..=axes]].concat();
    let mut result = vec![0.0; inputs.count(&shape)?];
    if result.is_empty() {
        return Ok(vec![inputs.result(inputs.tensor(0)?.dtype(), &shape, Numbers::F64(result))?]);
    }
    if x.plane() == 0 {
        return Err(inputs.argument("an image with elements", format!("{:?}", x.extents)));
    }
    let (image, grid) = (inputs.doubles(0)?, inputs.floats(1)?);
    let points: usize = grid_shape[1..=axes].iter().product();
    let plane = x.plane();
    for (number, point) in grid.chunks_exact(axes).enumerate() {
        let (sample, at) = (number / points, number % points);
        let along: Vec<Vec<(Option<usize>, f64)>> = (0..axes)
            .map(|axis| neighbours(point[axes - 1 - axis], x.extents[axis], align_corners, mode, padding))
            .collect();
        // Offsets within a plane, with the product of the shares along all axes.
        let mut taps = vec![(0, 1.0)];
        for (axis, along) in along.iter().enumerate() {
            let extent = x.extents[axis];
            let joined = taps.iter().flat_map(|&(offset, share)| {
                along.iter().filter_map(move |&(index, more)| Some((offset * extent + index?, share * more)))
            });
            taps = joined.collect();
        }
        for channel in 0..x.channels {
            let row = sample * x.channels + channel;
            let values = &image[row * plane..][..plane];
            result[row * points + at] = taps.iter().map(|&(offset, share)| values[offset] * share).sum();
        }
    }
    Ok(vec![inputs.result(inputs.tensor(0)?.dtype(), &shape, Numbers::F64(result))?])
}

/// The elements along an axis that a coordinate reads, with their shares; `None` for zeros outside.
fn neighbours(
    coordinate: f32,
    extent: usize,
    align_corners: bool,
    mode: Mode,
    padding: Padding,
) -> Vec<(Option<usize>, f64)> {
    // In f32 as the grid, so that ties of the nearest mode fall as elsewhere.
    let size = extent as f32;
    let mut place = match align_corners {
        true => (coordinate + 1.0) / 2.0 * (size - 1.0),
        false => ((coordinate + 1.0) * size - 1.0) / 2.0,
    };
    let (low, high) = if align_corners { (0.0, size - 1.0) } else { (-0.5, size - 0.5) };
    if mode == Mode::Nearest {
        place = place.round_ties_even();
    }
    if place < low || place > high {
        match padding {
            Padding::Zeros => {}
            // Cubic interpolation limits its four elements instead.
            Padding::Border if mode == Mode::Cubic => {}
            Padding::Border => place = place.clamp(0.0, size - 1.0),
            Padding::Reflection => place = reflected(place.into(), low.into(), high.into()) as f32,
        }
    }
    let element = |place: f64| -> Option<usize> {
        let inside = match padding {
            Padding::Zeros if place < 0.0 || place >= f64::from(size) || place.is_nan() => return None,
            Padding::Zeros => place,
            Padding::Border => place.clamp(0.0, f64::from(size) - 1.0),
            Padding::Reflection => reflected(place, low.into(), high.into()).trunc(),
        };
        Some((inside as usize).min(extent - 1))
    };
    let place = f64::from(place);
    let floor = place.floor();
    let share = place - floor;
    match mode {
        Mode::Nearest => vec![(element(place), 1.0)],
        Mode::Linear => vec![(element(floor), 1.0 - share), (element(floor + 1.0), share)],
        Mode::Cubic => {
            let shares = super::resize::cubic_shares(share, -0.75);
            let places = [-1.0, 0.0, 1.0, 2.0].map(|step| element(floor + step));
            places.into_iter().zip(shares).collect()
        }
    }
}

/// A place mirrored at both ends until it lies between them.
fn reflected(place: f64, low: f64, high: f64) -> f64 {
    let range = high - low;
    if range <= 0.0 || !place.is_finite() {
        return low.max(0.0);
    }
    let beyond = match place {
        _ if place < low => low - place,
        _ if place > high => place - high,
        _ => return place,
    };
    let turns = (beyond / range).floor();
    let rest = beyond - turns * range;
    if (turns % 2.0 == 0.0) == (place < low) { low + rest } else { high - rest }
}

/// The grid `theta [x, y(, z), 1]` over the extents of `size` `[batch, channels, extents]`.
pub(crate) fn affine(align_corners: bool, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let theta = inputs.tensor(0)?;
    let size: Option<Vec<usize>> =
        inputs.integers(1)?.into_iter().map(|extent| usize::try_from(extent).ok()).collect();
    let Some([batch, _, extents @ ..]) = size.as_deref() else {
        return Err(inputs.argument("a size of batch, channels and extents", format!("{size:?}")));
    };
    let axes = extents.len();
    if !(2..=3).contains(&axes) || theta.shape() != [*batch, axes, axes + 1] {
        return Err(inputs.argument(
            format!("theta of shape [{batch}, {axes}, {}] for 2 or 3 extents", axes + 1),
            format!("shape {:?}", theta.shape()),
        ));
    }
    let shape = [&[*batch], extents, &[axes]].concat();
    let mut result = Vec::with_capacity(inputs.count(&shape)?);
    let place = |index: usize, extent: usize| match align_corners {
        true if extent == 1 => -1.0,
        true => 2.0 * index as f64 / (extent - 1) as f64 - 1.0,
        false => (2 * index + 1) as f64 / extent as f64 - 1.0,
    };
    let matrices = inputs.doubles(0)?;
    for matrix in matrices.chunks_exact(axes * (axes + 1)) {
        for position in coordinates(extents) {
            let mut point: Vec<f64> =
                position.iter().zip(extents).rev().map(|(&index, &extent)| place(index, extent)).collect();
            point.push(1.0);
            for row in matrix.chunks_exact(axes + 1) {
                result.push(row.iter().zip(&point).map(|(a, b)| a * b).sum());
            }
        }
    }
    Ok(vec![inputs.result(theta.dtype(), &shape, Numbers::F64(result))?])
}
