//! Shapes as tensors, and tensors made from numbers alone.

use calipers_ir::{Creation, DType, Tensor};

use crate::Error;
use crate::cells::Cells;
use crate::inputs::{Inputs, MOST_ELEMENTS, MOST_STRINGS};
use crate::numbers::Numbers;

/// The operator's result.
pub(crate) fn evaluate(creation: &Creation, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let result = match creation {
        Creation::Shape { start, end } => {
            let shape = inputs.tensor(0)?.shape();
            let rank = shape.len() as i64;
            let place = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
            let (start, end) = (place(*start), end.map_or(shape.len(), place));
            let part = shape.get(start..end).unwrap_or_default();
            let extents = part.iter().map(|&extent| extent as i64).collect();
            inputs.result(DType::I64, &[part.len()], Numbers::I64(extents))?
        }
        Creation::Size => Tensor::scalar(inputs.tensor(0)?.len() as i64),
        Creation::Range => range(inputs)?,
        Creation::ConstantOfShape { value } => constant(value.as_ref(), inputs)?,
        Creation::EyeLike { dtype, k } => eye_like(*dtype, *k, inputs)?,
        // The coefficients of the ONNX pages; terms are those of cosines of multiples of the angle.
        Creation::BlackmanWindow { output_datatype, periodic } => {
            window(&[0.42, -0.5, 0.08], *output_datatype, *periodic, inputs)?
        }
        Creation::HammingWindow { output_datatype, periodic } => {
            window(&[25.0 / 46.0, -21.0 / 46.0], *output_datatype, *periodic, inputs)?
        }
        Creation::HannWindow { output_datatype, periodic } => {
            window(&[0.5, -0.5], *output_datatype, *periodic, inputs)?
        }
        Creation::MelWeightMatrix { output_datatype } => mel_weights(*output_datatype, inputs)?,
    };
    Ok(vec![result])
}

/// `max(ceil((limit - start) / delta), 0)` numbers, `start + i delta`.
fn range(inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let dtype = inputs.tensor(0)?.dtype();
    for index in 0..3 {
        let tensor = inputs.tensor(index)?;
        if tensor.len() != 1 || tensor.dtype() != dtype {
            return Err(inputs.argument(format!("scalars of type {dtype}"), tensor.tensor_type().to_string()));
        }
    }
    let too_large =
        |count: f64| inputs.argument(format!("at most {MOST_ELEMENTS} numbers"), format!("{count}"));
    let numbers = match inputs.numbers(0)? {
        Numbers::I64(start) => {
            let (limit, delta) = (inputs.integer(1)?, inputs.integer(2)?);
            if delta == 0 {
                return Err(inputs.argument("a delta other than 0", "0"));
            }
            let (start, delta) = (i128::from(start[0]), i128::from(delta));
            let distance = (i128::from(limit) - start) * delta.signum();
            let count = distance.max(0).unsigned_abs().div_ceil(delta.unsigned_abs());
            if count > MOST_ELEMENTS as u128 {
                return Err(too_large(count as f64));
            }
            Numbers::I64((0..count as i128).map(|index| (start + index * delta) as i64).collect())
        }
        Numbers::F32(_) | Numbers::F64(_) => {
            let (start, limit, delta) = (inputs.doubles(0)?[0], inputs.doubles(1)?[0], inputs.doubles(2)?[0]);
            let count = ((limit - start) / delta).ceil().max(0.0);
            let usable = count <= MOST_ELEMENTS as f64 && delta.abs() > 0.0;
            if !usable {
                return Err(too_large(count));
            }
            Numbers::F64((0..count as usize).map(|index| start + index as f64 * delta).collect())
        }
        Numbers::U64(_) | Numbers::Bool(_) => {
            return Err(inputs.unsupported_type(dtype, "floats and signed integers"));
        }
    };
    let count = numbers.len();
    inputs.result(dtype, &[count], numbers)
}

/// One value everywhere, f32 0 when absent.
fn constant(value: Option<&Tensor>, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let extents = inputs.integers(0)?;
    let shape: Result<Vec<usize>, _> = extents.iter().map(|&extent| usize::try_from(extent)).collect();
    let shape = shape.map_err(|_| inputs.argument("extents of 0 or more", format!("{extents:?}")))?;
    let count = inputs.count(&shape)?;
    let cells = match value {
        Some(value) if value.dtype() == DType::String && count > MOST_STRINGS => {
            return Err(Error::TooLarge { op: String::from("ConstantOfShape"), shape, most: MOST_STRINGS });
        }
        None => Cells::zeros(DType::F32, count),
        Some(value) if value.len() == 1 => Cells::of(value).gather(std::iter::repeat_n(0, count)),
        Some(value) => {
            return Err(inputs.argument("a value of one element", value.tensor_type().to_string()));
        }
    };
    cells
        .into_tensor(&shape)
        .map_err(|error| inputs.argument("a result that can be stored", error.to_string()))
}

/// Ones on diagonal `k`, zeros elsewhere.
fn eye_like(dtype: Option<DType>, k: i64, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let x = inputs.tensor(0)?;
    let &[rows, columns] = x.shape() else {
        return Err(inputs.argument("an input of rank 2", format!("shape {:?}", x.shape())));
    };
    let on = |index: usize| (index % columns) as i64 - (index / columns) as i64 == k;
    let ones = (0..rows * columns).map(|index| i64::from(on(index))).collect();
    inputs.result(dtype.unwrap_or(x.dtype()), x.shape(), Numbers::I64(ones))
}

/// `sum of terms[i] cos(2 pi i n / N)`, where `N` is the size, or one less when not periodic.
fn window(terms: &[f64], dtype: DType, periodic: bool, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let size = inputs.integer(0)?;
    let count =
        usize::try_from(size).map_err(|_| inputs.argument("a size of 0 or more", format!("{size}")))?;
    inputs.count(&[count])?;
    let period = if periodic { count as f64 } else { count as f64 - 1.0 };
    let value = |n: usize| {
        // One number alone is 1, where the formula divides by 0.
        if count == 1 {
            return 1.0;
        }
        let angle = 2.0 * std::f64::consts::PI * n as f64 / period;
        terms.iter().enumerate().map(|(multiple, term)| term * libm::cos(multiple as f64 * angle)).sum()
    };
    inputs.result(dtype, &[count], Numbers::F64((0..count).map(value).collect()))
}

/// Triangles with peaks of 1 that are equally wide on the mel scale, `mel(f) = 2595 log10(1 + f / 700)`.
fn mel_weights(dtype: DType, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let (bins, length, rate) = (inputs.integer(0)?, inputs.integer(1)?, inputs.integer(2)?);
    let edge = |index: usize| match inputs.doubles(index)?[..] {
        [edge] if edge.is_finite() && edge > -700.0 => Ok(2595.0 * libm::log10(1.0 + edge / 700.0)),
        ref other => Err(inputs.argument("an edge in hertz", format!("{other:?}"))),
    };
    let (low, high) = (edge(3)?, edge(4)?);
    let (Ok(bins), Ok(length), true) = (usize::try_from(bins), usize::try_from(length), rate > 0) else {
        let found = format!("{bins}, {length} and {rate}");
        return Err(inputs.argument("bins and length of 0 or more, a positive rate", found));
    };
    let spectrum = length / 2 + 1;
    let shape = [spectrum, bins];
    let mut weights = vec![0.0; inputs.count(&shape)?];
    let step = (high - low) / (bins as f64 + 2.0);
    let frequency = |bin: usize| 700.0 * (libm::pow(10.0, (bin as f64 * step + low) / 2595.0) - 1.0);
    let bin_of = |bin: usize| ((length as f64 + 1.0) * frequency(bin) / rate as f64).floor() as i64;
    for bin in 0..bins {
        let (lower, center, upper) = (bin_of(bin), bin_of(bin + 1), bin_of(bin + 2));
        if lower < 0 || upper > spectrum as i64 || center < lower || center >= spectrum as i64 {
            let expected = format!("edges between 0 and half the rate of {rate} hertz, in order");
            return Err(inputs.argument(expected, format!("bins {lower}, {center}, {upper} of {spectrum}")));
        }
        let mut set = |at: i64, value: f64| weights[at as usize * bins + bin] = value;
        if lower == center {
            set(center, 1.0);
        }
        (lower..=center)
            .filter(|_| lower < center)
            .for_each(|at| set(at, (at - lower) as f64 / (center - lower) as f64));
        (center..upper).for_each(|at| set(at, (upper - at) as f64 / (upper - center) as f64));
    }
    inputs.result(dtype, &shape, Numbers::F64(weights))
}
