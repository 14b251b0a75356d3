//! Normalizations. All are computed in f64 and rounded once.

use calipers_ir::{BatchNormalization, DType, Layout, Normalize, Tensor};

use crate::Error;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::shape::{Walk, around, coordinates};
use crate::spatial::Spatial;

/// `scale (x - mean) / sqrt(variance + epsilon) + bias` for each channel.
pub(crate) fn batch(norm: &BatchNormalization, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let tensor = inputs.tensor(0)?;
    if tensor.shape().len() < 2 {
        return Err(inputs.argument("an input with channels", format!("shape {:?}", tensor.shape())));
    }
    let channel_axis = norm.layout.channel_axis(tensor.shape().len());
    let (_, channels, inner) = around(tensor.shape(), channel_axis);
    let [scale, bias, mean, variance] = statistics(inputs, channels, [1, 2, 3, 4])?;
    let mut values = inputs.doubles(0)?;
    for (number, block) in values.chunks_exact_mut(inner.max(1)).enumerate() {
        let channel = number % channels;
        let factor = scale[channel] / (variance[channel] + f64::from(norm.epsilon)).sqrt();
        block.iter_mut().for_each(|value| *value = factor * (*value - mean[channel]) + bias[channel]);
    }
    Ok(vec![inputs.result(tensor.dtype(), tensor.shape(), Numbers::F64(values))?])
}

/// Vectors of one number for each channel.
fn statistics<const N: usize>(
    inputs: &Inputs<'_>,
    channels: usize,
    indices: [usize; N],
) -> Result<[Vec<f64>; N], Error> {
    let mut vectors = indices.map(|_| Vec::new());
    for (vector, index) in vectors.iter_mut().zip(indices) {
        *vector = inputs.doubles(index)?;
        if vector.len() != channels {
            let expected = format!("{channels} elements in input {index}");
            return Err(inputs.argument(expected, format!("{}", vector.len())));
        }
    }
    Ok(vectors)
}

/// The results of another normalization.
pub(crate) fn evaluate(
    normalize: &Normalize,
    inputs: &Inputs<'_>,
    outputs: usize,
) -> Result<Vec<Tensor>, Error> {
    match normalize {
        Normalize::Layer { axis, epsilon, .. } => layer(*axis, *epsilon, inputs, outputs),
        Normalize::Rms { axis, epsilon, .. } => root_mean_square(*axis, *epsilon, inputs),
        Normalize::Group { num_groups, epsilon, scale_per_group, .. } => {
            group(*num_groups, *epsilon, *scale_per_group, inputs)
        }
        Normalize::Instance { epsilon } => {
            let channels = Spatial::of(inputs, 0, Layout::Nchw, None)?.channels;
            group(channels as i64, *epsilon, false, inputs)
        }
        Normalize::Lp { axis, p } => norm(*axis, *p, inputs),
        Normalize::MeanVariance { axes } => mean_variance(axes, inputs),
        Normalize::LocalResponse { alpha, beta, bias, size } => {
            local_response([*alpha, *beta, *bias].map(f64::from), *size, inputs)
        }
    }
}

/// The values with mean 0 and deviation 1, and the mean and `1 / sqrt(variance + epsilon)` that they had.
fn standardize(values: &mut [f64], epsilon: f32) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
    let inverse = 1.0 / (variance + f64::from(epsilon)).sqrt();
    values.iter_mut().for_each(|value| *value = (*value - mean) * inverse);
    (mean, inverse)
}

/// Over the axes from `axis` on; `scale` and `bias` broadcast to `x`.
fn layer(axis: i64, epsilon: f32, inputs: &Inputs<'_>, outputs: usize) -> Result<Vec<Tensor>, Error> {
    let tensor = inputs.tensor(0)?;
    let shape = tensor.shape();
    let axis = inputs.axis(axis, shape.len())?;
    let row: usize = shape[axis..].iter().product();
    let mut values = inputs.doubles(0)?;
    let (means, inverses): (Vec<f64>, Vec<f64>) =
        values.chunks_exact_mut(row.max(1)).map(|row| standardize(row, epsilon)).unzip();
    broadcast_onto(inputs, 1, &mut values, |value, scale| value * scale)?;
    if inputs.optional(2).is_some() {
        broadcast_onto(inputs, 2, &mut values, |value, bias| value + bias)?;
    }
    let mut results = vec![inputs.result(tensor.dtype(), shape, Numbers::F64(values))?];
    if outputs > 1 {
        let ones = shape.iter().enumerate().map(|(index, &extent)| if index < axis { extent } else { 1 });
        let ones: Vec<usize> = ones.collect();
        if row == 0 {
            return Err(inputs.argument("elements to normalize over", format!("shape {shape:?}")));
        }
        for statistic in [means, inverses] {
            results.push(inputs.result(DType::F32, &ones, Numbers::F64(statistic))?);
        }
    }
    Ok(results)
}

/// Combines each value with the element of input `index` that broadcasts to it.
fn broadcast_onto(
    inputs: &Inputs<'_>,
    index: usize,
    values: &mut [f64],
    combine: impl Fn(f64, f64) -> f64,
) -> Result<(), Error> {
    let (shape, other) = (inputs.tensor(0)?.shape(), inputs.tensor(index)?.shape());
    if crate::shape::broadcast(&[other, shape]).as_deref() != Some(shape) {
        let expected = format!("an input {index} that broadcasts to {shape:?}");
        return Err(inputs.argument(expected, format!("shape {other:?}")));
    }
    let elements = inputs.doubles(index)?;
    for (value, place) in values.iter_mut().zip(Walk::broadcast(other, shape)) {
        *value = combine(*value, elements[place]);
    }
    Ok(())
}

fn root_mean_square(axis: i64, epsilon: f32, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let tensor = inputs.tensor(0)?;
    let shape = tensor.shape();
    let axis = inputs.axis(axis, shape.len())?;
    let row: usize = shape[axis..].iter().product();
    let mut values = inputs.doubles(0)?;
    for row in values.chunks_exact_mut(row.max(1)) {
        let mean = row.iter().map(|value| value * value).sum::<f64>() / row.len() as f64;
        let inverse = 1.0 / (mean + f64::from(epsilon)).sqrt();
        row.iter_mut().for_each(|value| *value *= inverse);
    }
    broadcast_onto(inputs, 1, &mut values, |value, scale| value * scale)?;
    Ok(vec![inputs.result(tensor.dtype(), shape, Numbers::F64(values))?])
}

/// Over each group of channels of each sample.
fn group(
    groups: i64,
    epsilon: f32,
    scale_per_group: bool,
    inputs: &Inputs<'_>,
) -> Result<Vec<Tensor>, Error> {
    let tensor = inputs.tensor(0)?;
    let &[_, channels, ref extents @ ..] = tensor.shape() else {
        return Err(inputs.argument("an input with channels", format!("shape {:?}", tensor.shape())));
    };
    let Some(groups) = usize::try_from(groups).ok().filter(|&groups| groups > 0 && channels % groups == 0)
    else {
        return Err(inputs.argument(format!("groups that divide {channels} channels"), format!("{groups}")));
    };
    let plane: usize = extents.iter().product();
    let within = channels / groups;
    let [scale, bias] = statistics(inputs, if scale_per_group { groups } else { channels }, [1, 2])?;
    let mut values = inputs.doubles(0)?;
    for group in values.chunks_exact_mut((within * plane).max(1)) {
        standardize(group, epsilon);
    }
    for (number, plane) in values.chunks_exact_mut(plane.max(1)).enumerate() {
        let channel = number % channels;
        let at = if scale_per_group { channel / within } else { channel };
        plane.iter_mut().for_each(|value| *value = *value * scale[at] + bias[at]);
    }
    Ok(vec![inputs.result(tensor.dtype(), tensor.shape(), Numbers::F64(values))?])
}

fn norm(axis: i64, p: i64, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let tensor = inputs.tensor(0)?;
    let (outer, extent, inner) = around(tensor.shape(), inputs.axis(axis, tensor.shape().len())?);
    if !(1..=2).contains(&p) {
        return Err(inputs.argument("p of 1 or 2", format!("{p}")));
    }
    let mut values = inputs.doubles(0)?;
    for block in 0..outer {
        for column in 0..inner {
            let line = || (0..extent).map(|at| (block * extent + at) * inner + column);
            let norm = match p {
                1 => line().map(|place| values[place].abs()).sum::<f64>(),
                _ => line().map(|place| values[place] * values[place]).sum::<f64>().sqrt(),
            };
            line().for_each(|place| values[place] = if norm == 0.0 { 0.0 } else { values[place] / norm });
        }
    }
    Ok(vec![inputs.result(tensor.dtype(), tensor.shape(), Numbers::F64(values))?])
}

/// Over some axes together: `(x - mean) / (deviation + 1e-9)`, as the function body on the ONNX page has it.
fn mean_variance(axes: &[i64], inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let tensor = inputs.tensor(0)?;
    let shape = tensor.shape();
    let axes = inputs.axes(axes, shape.len())?;
    let strides = crate::shape::strides(shape);
    let part = |inside: bool| -> (Vec<usize>, Vec<isize>) {
        let chosen = (0..shape.len()).filter(|axis| axes.contains(axis) == inside);
        chosen.map(|axis| (shape[axis], strides[axis])).unzip()
    };
    let ((kept, kept_strides), (summed, summed_strides)) = (part(false), part(true));
    let mut values = inputs.doubles(0)?;
    let starts: Vec<usize> = Walk::new(&kept, &kept_strides, 0).collect();
    for start in starts {
        let places: Vec<usize> = Walk::new(&summed, &summed_strides, start as isize).collect();
        let count = places.len().max(1) as f64;
        let mean = places.iter().map(|&place| values[place]).sum::<f64>() / count;
        let square = places.iter().map(|&place| values[place] * values[place]).sum::<f64>() / count;
        let deviation = (square - mean * mean).max(0.0).sqrt();
        places.iter().for_each(|&place| values[place] = (values[place] - mean) / (deviation + 1e-9));
    }
    Ok(vec![inputs.result(tensor.dtype(), shape, Numbers::F64(values))?])
}

/// `x / (bias + alpha / size * sum of squares of size neighbouring channels)^beta`.
fn local_response(
    [alpha, beta, bias]: [f64; 3],
    size: i64,
    inputs: &Inputs<'_>,
) -> Result<Vec<Tensor>, Error> {
    let tensor = inputs.tensor(0)?;
    let &[batch, channels, ref extents @ ..] = tensor.shape() else {
        return Err(inputs.argument("an input with channels", format!("shape {:?}", tensor.shape())));
    };
    let Some(size) = usize::try_from(size).ok().filter(|&size| size > 0) else {
        return Err(inputs.argument("a size of at least 1", format!("{size}")));
    };
    let plane: usize = extents.iter().product();
    let values = inputs.doubles(0)?;
    let mut result = Vec::with_capacity(values.len());
    for position in coordinates(&[batch, channels]) {
        let (sample, channel) = (position[0], position[1]);
        let first = channel.saturating_sub((size - 1) / 2);
        let last = channel.saturating_add(size / 2).min(channels - 1);
        for at in 0..plane {
            let value = |channel: usize| values[(sample * channels + channel) * plane + at];
            let sum: f64 = (first..=last).map(|channel| value(channel) * value(channel)).sum();
            result.push(value(channel) / libm::pow(bias + alpha / size as f64 * sum, beta));
        }
    }
    Ok(vec![inputs.result(tensor.dtype(), tensor.shape(), Numbers::F64(result))?])
}
