//! Resizing by nearest, linear and cubic interpolation, one axis after the other.

use calipers_ir::{DType, Tensor};

use crate::Error;
use crate::cells::Cells;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::shape::{Walk, around, strides};

/// Attributes of Resize, as on the ONNX page.
pub(crate) struct Resize<'a> {
    pub antialias: bool,
    pub axes: Option<&'a [i64]>,
    pub coordinates: &'a str,
    pub cubic_coeff_a: f64,
    pub exclude_outside: bool,
    pub extrapolation_value: f64,
    pub keep_aspect_ratio_policy: &'a str,
    pub mode: &'a str,
    pub nearest_mode: &'a str,
}

/// How one axis is resized.
#[derive(Clone, Copy, Debug)]
struct Along {
    extent: usize,
    out: usize,
    scale: f64,
    region: (f64, f64),
}

/// What one element of the result reads along an axis: elements and their shares, or nothing outside a region.
type Reading = Option<Vec<(usize, f64)>>;

/// `x` at other extents, given as sizes or by scales.
pub(crate) fn resize(attributes: &Resize<'_>, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let tensor = inputs.tensor(0)?;
    let along = extents(attributes, inputs)?;
    let shape: Vec<usize> = along.iter().map(|along| along.out).collect();
    if inputs.count(&shape)? == 0 {
        return Ok(vec![inputs.result(tensor.dtype(), &shape, Numbers::F32(Vec::new()))?]);
    }
    if tensor.is_empty() {
        return Err(inputs.argument("an input with elements", format!("shape {:?}", tensor.shape())));
    }
    if attributes.mode == "nearest" {
        return nearest(attributes, inputs, &along, &shape);
    }
    let (mut values, mut current) = (inputs.doubles(0)?, tensor.shape().to_vec());
    for (axis, along) in along.iter().enumerate() {
        let unchanged = along.out == along.extent && along.scale == 1.0;
        if unchanged && (attributes.coordinates != "tf_crop_and_resize" || along.region == (0.0, 1.0)) {
            continue;
        }
        let readings: Vec<Reading> =
            (0..along.out).map(|at| reading(attributes, inputs, along, at)).collect::<Result<_, _>>()?;
        let (outer, extent, inner) = around(&current, axis);
        current[axis] = along.out;
        let mut next = Vec::with_capacity(inputs.count(&current)?);
        for block in 0..outer {
            let source = &values[block * extent * inner..][..extent * inner];
            for reading in &readings {
                match reading {
                    None => next.resize(next.len() + inner, attributes.extrapolation_value),
                    Some(taps) => {
                        let start = next.len();
                        next.resize(start + inner, 0.0);
                        for &(element, share) in taps {
                            let source = &source[element * inner..][..inner];
                            for (sum, value) in next[start..].iter_mut().zip(source) {
                                *sum += share * value;
                            }
                        }
                    }
                }
            }
        }
        values = next;
    }
    let dtype = tensor.dtype();
    if let Some((low, high)) = dtype.integer_range() {
        for value in &mut values {
            *value = value.round_ties_even().clamp(low as f64, high as f64);
        }
    } else if matches!(dtype, DType::Bool) {
        return Err(inputs.unsupported_type(dtype, "numbers, unless the mode is nearest"));
    }
    Ok(vec![inputs.result(dtype, &shape, Numbers::F64(values))?])
}

/// The nearest mode, which moves elements of any type.
fn nearest(
    attributes: &Resize<'_>,
    inputs: &Inputs<'_>,
    along: &[Along],
    shape: &[usize],
) -> Result<Vec<Tensor>, Error> {
    if attributes.antialias {
        return Err(inputs.unsupported("antialias in mode nearest", "modes linear and cubic"));
    }
    let tensor = inputs.tensor(0)?;
    let fill = Numbers::F64(vec![attributes.extrapolation_value]);
    let mut cells = Cells::of(tensor);
    let mut current = tensor.shape().to_vec();
    for (axis, along) in along.iter().enumerate() {
        let places: Vec<Option<usize>> = (0..along.out)
            .map(|at| Ok(reading(attributes, inputs, along, at)?.map(|taps| taps[0].0)))
            .collect::<Result<_, Error>>()?;
        if along.out == along.extent && places.iter().copied().eq((0..along.out).map(Some)) {
            continue;
        }
        let steps = strides(&current);
        let mut target = current.clone();
        target[axis] = along.out;
        inputs.count(&target)?;
        let (_, _, inner) = around(&target, axis);
        let mut without = steps.clone();
        without[axis] = 0;
        let positions = Walk::new(&target, &without, 0).enumerate().map(|(number, offset)| {
            let at = number / inner % along.out;
            Some(offset + places[at]? * steps[axis] as usize)
        });
        let positions: Vec<Option<usize>> = positions.collect();
        cells = if positions.contains(&None) {
            let fill = inputs.result(tensor.dtype(), &[1], fill.clone())?;
            cells.gather_or(positions.into_iter(), &Cells::of(&fill))
        } else {
            cells.gather(positions.into_iter().flatten())
        };
        current = target;
    }
    let result = cells.into_tensor(shape);
    Ok(vec![result.map_err(|error| inputs.argument("a result that can be stored", error.to_string()))?])
}

/// The extents of the result, the scale and the region of every axis.
fn extents(attributes: &Resize<'_>, inputs: &Inputs<'_>) -> Result<Vec<Along>, Error> {
    let shape = inputs.tensor(0)?.shape();
    let rank = shape.len();
    let axes = match attributes.axes {
        Some(axes) => inputs.axes(axes, rank)?,
        None => (0..rank).collect(),
    };
    let given = |index: usize| inputs.optional(index).filter(|tensor| !tensor.is_empty());
    let mut along: Vec<Along> =
        shape.iter().map(|&extent| Along { extent, out: extent, scale: 1.0, region: (0.0, 1.0) }).collect();
    let count = axes.len();
    let check = |found: usize, expected: usize, what: &str| match found == expected {
        true => Ok(()),
        false => Err(inputs.argument(format!("{expected} {what}"), format!("{found}"))),
    };
    match (given(2), given(3)) {
        (Some(_), None) => {
            let scales = inputs.floats(2)?;
            check(scales.len(), count, "scales")?;
            for (&axis, &scale) in axes.iter().zip(&scales) {
                // The product in f32 decides the extent, as the operator's page computes it.
                let out = (shape[axis] as f32 * scale).floor();
                if !(scale > 0.0 && out < (1u64 << 40) as f32) {
                    return Err(
                        inputs.argument("scales above 0 with extents that can be held", format!("{scale}"))
                    );
                }
                along[axis].scale = scale.into();
                along[axis].out = out as usize;
            }
        }
        (None, Some(_)) => {
            let sizes = inputs.integers(3)?;
            check(sizes.len(), count, "sizes")?;
            let ratio = |axis: usize, size: i64| size as f64 / shape[axis].max(1) as f64;
            let ratios = || axes.iter().zip(&sizes).map(|(&axis, &size)| ratio(axis, size));
            let common = match attributes.keep_aspect_ratio_policy {
                "stretch" => None,
                "not_larger" => ratios().reduce(f64::min),
                "not_smaller" => ratios().reduce(f64::max),
                other => {
                    let policies = "stretch, not_larger, not_smaller";
                    return Err(inputs.unsupported(format!("keep_aspect_ratio_policy {other}"), policies));
                }
            };
            for (&axis, &size) in axes.iter().zip(&sizes) {
                let Some(size) = usize::try_from(size).ok().filter(|&size| size < 1 << 40) else {
                    return Err(inputs.argument("sizes of 0 or more", format!("{size}")));
                };
                let out = common.map_or(size, |scale| (shape[axis] as f64 * scale + 0.5).floor() as usize);
                along[axis].out = out;
                along[axis].scale = common.unwrap_or(ratio(axis, out as i64));
            }
        }
        _ => return Err(inputs.argument("either scales or sizes", "both or none")),
    }
    if attributes.coordinates == "tf_crop_and_resize" {
        let regions = inputs.doubles(1)?;
        check(regions.len(), 2 * count, "numbers in the region of interest")?;
        for (index, &axis) in axes.iter().enumerate() {
            along[axis].region = (regions[index], regions[count + index]);
        }
    }
    Ok(along)
}

/// The place of element `at` of the result along an axis of the input.
fn place(attributes: &Resize<'_>, inputs: &Inputs<'_>, along: &Along, at: usize) -> Result<f64, Error> {
    let (at, last) = (at as f64, along.extent as f64 - 1.0);
    let width = along.scale * along.extent as f64;
    Ok(match attributes.coordinates {
        "half_pixel" => (at + 0.5) / along.scale - 0.5,
        "half_pixel_symmetric" => {
            let centre = along.extent as f64 / 2.0;
            centre * (1.0 - along.out as f64 / width) + (at + 0.5) / along.scale - 0.5
        }
        "pytorch_half_pixel" if along.out == 1 => -0.5,
        "pytorch_half_pixel" => (at + 0.5) / along.scale - 0.5,
        "align_corners" if width == 1.0 => 0.0,
        "align_corners" => at * last / (width - 1.0),
        "asymmetric" => at / along.scale,
        "tf_crop_and_resize" => {
            let (start, end) = along.region;
            let within = if width == 1.0 { 0.5 } else { at / (width - 1.0) };
            (start + within * (end - start)) * last
        }
        other => return Err(inputs.unsupported(format!("coordinates {other}"), "those of the ONNX page")),
    })
}

/// What element `at` of the result reads along an axis.
fn reading(attributes: &Resize<'_>, inputs: &Inputs<'_>, along: &Along, at: usize) -> Result<Reading, Error> {
    let place = place(attributes, inputs, along, at)?;
    let last = along.extent as f64 - 1.0;
    if attributes.coordinates == "tf_crop_and_resize" && !(0.0..=last).contains(&place) {
        return Ok(None);
    }
    let floor = place.floor();
    let share = place - floor;
    let squeeze = if attributes.antialias { along.scale.min(1.0) } else { 1.0 };
    let (first, shares) = match attributes.mode {
        "nearest" => (nearest_element(attributes, inputs, place)?, vec![1.0]),
        "linear" => spread(place, squeeze, 1.0, |distance| (1.0 - distance.abs()).max(0.0)),
        "cubic" if !attributes.antialias => {
            (floor - 1.0, cubic_shares(share, attributes.cubic_coeff_a).to_vec())
        }
        "cubic" => spread(place, squeeze, 2.0, |distance| cubic_share(distance, attributes.cubic_coeff_a)),
        other => return Err(inputs.unsupported(format!("mode {other}"), "nearest, linear, cubic")),
    };
    let mut taps: Vec<(f64, f64)> = (0..shares.len()).map(|step| first + step as f64).zip(shares).collect();
    if attributes.exclude_outside {
        taps.retain(|(element, _)| (0.0..=last).contains(element));
        let sum: f64 = taps.iter().map(|(_, share)| share).sum();
        taps.iter_mut().for_each(|(_, share)| *share /= if sum == 0.0 { 1.0 } else { sum });
    }
    Ok(Some(taps.into_iter().map(|(element, share)| (element.clamp(0.0, last) as usize, share)).collect()))
}

fn nearest_element(attributes: &Resize<'_>, inputs: &Inputs<'_>, place: f64) -> Result<f64, Error> {
    Ok(match attributes.nearest_mode {
        "round_prefer_floor" => (place - 0.5).ceil(),
        "round_prefer_ceil" => (place + 0.5).floor(),
        "floor" => place.floor(),
        "ceil" => place.ceil(),
        other => return Err(inputs.unsupported(format!("nearest_mode {other}"), "those of the ONNX page")),
    })
}

/// The elements within `reach / squeeze` of a place, and their shares by `kernel`, which add up to 1.
fn spread(place: f64, squeeze: f64, reach: f64, kernel: impl Fn(f64) -> f64) -> (f64, Vec<f64>) {
    let first = (place - reach / squeeze).floor() + 1.0;
    let count = ((place + reach / squeeze).ceil() - first).clamp(1.0, f64::from(1 << 24)) as usize;
    let mut shares: Vec<f64> =
        (0..count).map(|step| kernel((first + step as f64 - place) * squeeze)).collect();
    let sum: f64 = shares.iter().sum();
    if sum != 0.0 {
        shares.iter_mut().for_each(|share| *share /= sum);
    }
    (first, shares)
}

/// Cubic convolution (Keys 1981) at a distance, with the free coefficient `a`.
fn cubic_share(distance: f64, a: f64) -> f64 {
    let x = distance.abs();
    match x {
        _ if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
        _ if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
        _ => 0.0,
    }
}

/// The shares of the four elements around a place that lies `share` behind the second.
pub(super) fn cubic_shares(share: f64, a: f64) -> [f64; 4] {
    [share + 1.0, share, 1.0 - share, 2.0 - share].map(|distance| cubic_share(distance, a))
}
