//! Pooling of regions of interest.

use calipers_ir::{Layout, Tensor};

use crate::Error;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::spatial::Spatial;

/// Attributes of RoiAlign, as on the ONNX page.
pub(crate) struct RoiAlign<'a> {
    pub coordinate_transformation_mode: &'a str,
    pub mode: &'a str,
    pub output_height: i64,
    pub output_width: i64,
    pub sampling_ratio: i64,
    pub spatial_scale: f32,
}

/// No bin of a region is sampled at more points along an axis.
const MOST_SAMPLES: f64 = 4096.0;

/// Each region's bins: the mean or the largest of points spread evenly over them, read by linear interpolation
/// (`max` takes the largest of the four weighted neighbours of each point, as the ONNX page's reference does).
pub(crate) fn roi_align(attributes: &RoiAlign<'_>, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let x = Spatial::of(inputs, 0, Layout::Nchw, Some(2))?;
    let samples = inputs.integers(2)?;
    let regions = regions(inputs, 4, samples.len())?;
    let (height, width) =
        (extent(inputs, attributes.output_height)?, extent(inputs, attributes.output_width)?);
    let half_pixel = match attributes.coordinate_transformation_mode {
        "half_pixel" => true,
        "output_half_pixel" => false,
        other => return Err(inputs.unsupported(format!("mode {other}"), "half_pixel, output_half_pixel")),
    };
    let maximum = match attributes.mode {
        "avg" => false,
        "max" => true,
        other => return Err(inputs.unsupported(format!("mode {other}"), "avg, max")),
    };
    let shape = [samples.len(), x.channels, height, width];
    let mut result = Vec::with_capacity(inputs.count(&shape)?);
    let image = inputs.doubles(0)?;
    let (plane, scale) = (x.plane(), f64::from(attributes.spatial_scale));
    let offset = if half_pixel { 0.5 } else { 0.0 };
    for (region, &sample) in regions.chunks_exact(4).zip(&samples) {
        let sample = sample_of(inputs, sample, x.batch)?;
        let [left, top, right, bottom] =
            [region[0], region[1], region[2], region[3]].map(|place| place * scale - offset);
        let least = if half_pixel { f64::NEG_INFINITY } else { 1.0 };
        let bin = |from: f64, to: f64, bins: usize| (to - from).max(least) / bins as f64;
        let (bin_height, bin_width) = (bin(top, bottom, height), bin(left, right, width));
        let points = |bin: f64| match attributes.sampling_ratio {
            ratio if ratio > 0 => (ratio as f64).min(MOST_SAMPLES) as usize,
            _ => bin.ceil().clamp(0.0, MOST_SAMPLES) as usize,
        };
        let (rows, columns) = (points(bin_height), points(bin_width));
        for channel in 0..x.channels {
            let values = &image[(sample * x.channels + channel) * plane..][..plane];
            for bin in 0..height * width {
                let (bin_row, bin_column) = ((bin / width) as f64, (bin % width) as f64);
                let mut sum = 0.0;
                let mut largest = None;
                for point in 0..rows * columns {
                    let along =
                        |index: usize, points: usize, bin: f64| (index as f64 + 0.5) * bin / points as f64;
                    let y = top + bin_row * bin_height + along(point / columns, rows, bin_height);
                    let x_place = left + bin_column * bin_width + along(point % columns, columns, bin_width);
                    let parts = weighted(values, &x.extents, y, x_place);
                    sum += parts.iter().sum::<f64>();
                    let here = parts.into_iter().fold(f64::NEG_INFINITY, f64::max);
                    largest = Some(largest.map_or(here, |largest: f64| largest.max(here)));
                }
                result.push(match maximum {
                    true => largest.unwrap_or(0.0),
                    false => sum / (rows * columns).max(1) as f64,
                });
            }
        }
    }
    Ok(vec![inputs.result(inputs.tensor(0)?.dtype(), &shape, Numbers::F64(result))?])
}

/// The four neighbours of a point, each times its share; zeros further than 1 outside the plane.
fn weighted(values: &[f64], extents: &[usize], y: f64, x: f64) -> [f64; 4] {
    let (height, width) = (extents[0], extents[1]);
    let inside = (-1.0..=height as f64).contains(&y) && (-1.0..=width as f64).contains(&x);
    if !inside || values.is_empty() {
        return [0.0; 4];
    }
    let neighbours = |place: f64, extent: usize| {
        let place = place.max(0.0);
        let low = place as usize;
        if low >= extent - 1 { (extent - 1, extent - 1, 0.0) } else { (low, low + 1, place - low as f64) }
    };
    let (top, bottom, down) = neighbours(y, height);
    let (left, right, across) = neighbours(x, width);
    [
        (1.0 - down) * (1.0 - across) * values[top * width + left],
        (1.0 - down) * across * values[top * width + right],
        down * (1.0 - across) * values[bottom * width + left],
        down * across * values[bottom * width + right],
    ]
}

/// The largest element of each bin of each region `[sample, left, top, right, bottom]`, whose corners are rounded to
/// elements and belong to it; 0 for empty bins.
pub(crate) fn max_roi_pool(
    pooled_shape: &[i64],
    spatial_scale: f32,
    inputs: &Inputs<'_>,
) -> Result<Vec<Tensor>, Error> {
    let x = Spatial::of(inputs, 0, Layout::Nchw, Some(2))?;
    let &[height, width] = pooled_shape else {
        return Err(inputs.argument("two extents in pooled_shape", format!("{pooled_shape:?}")));
    };
    let bins = [extent(inputs, height)?, extent(inputs, width)?];
    let count = inputs.tensor(1)?.len() / 5;
    let regions = regions(inputs, 5, count)?;
    let shape = [count, x.channels, bins[0], bins[1]];
    let mut result = Vec::with_capacity(inputs.count(&shape)?);
    let image = inputs.doubles(0)?;
    let plane = x.plane();
    for region in regions.chunks_exact(5) {
        let sample = sample_of(inputs, region[0] as i64, x.batch)?;
        let corner = |place: f64| (place * f64::from(spatial_scale)).round();
        let ranges = |axis: usize, from: f64, to: f64| -> Vec<(usize, usize)> {
            let size = (to - from + 1.0).max(1.0) / bins[axis] as f64;
            let limit = |place: f64| (place + from).clamp(0.0, x.extents[axis] as f64) as usize;
            (0..bins[axis])
                .map(|bin| (limit((bin as f64 * size).floor()), limit(((bin + 1) as f64 * size).ceil())))
                .collect()
        };
        let rows = ranges(0, corner(region[2]), corner(region[4]));
        let columns = ranges(1, corner(region[1]), corner(region[3]));
        for channel in 0..x.channels {
            let values = &image[(sample * x.channels + channel) * plane..][..plane];
            for &(top, bottom) in &rows {
                for &(left, right) in &columns {
                    let width = x.extents[1];
                    let elements =
                        (top..bottom).flat_map(|row| (left..right).map(move |column| row * width + column));
                    result.push(elements.map(|place| values[place]).reduce(f64::max).unwrap_or(0.0));
                }
            }
        }
    }
    Ok(vec![inputs.result(inputs.tensor(0)?.dtype(), &shape, Numbers::F64(result))?])
}

/// The numbers of input 1, `[count, columns]`.
fn regions(inputs: &Inputs<'_>, columns: usize, count: usize) -> Result<Vec<f64>, Error> {
    let shape = inputs.tensor(1)?.shape();
    if shape != [count, columns] {
        return Err(inputs.argument(format!("regions of shape [{count}, {columns}]"), format!("{shape:?}")));
    }
    inputs.doubles(1)
}

fn sample_of(inputs: &Inputs<'_>, sample: i64, batch: usize) -> Result<usize, Error> {
    usize::try_from(sample)
        .ok()
        .filter(|&sample| sample < batch)
        .ok_or_else(|| inputs.argument(format!("a sample below {batch}"), format!("{sample}")))
}

fn extent(inputs: &Inputs<'_>, extent: i64) -> Result<usize, Error> {
    usize::try_from(extent)
        .ok()
        .filter(|&extent| extent > 0)
        .ok_or_else(|| inputs.argument("an output extent of at least 1", format!("{extent}")))
}
