//! Softmax and its relatives. Sums are in f64.

use calipers_ir::Tensor;

use crate::Error;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::shape::around;

/// Extents before, along and after what the operator runs over: one axis, or with `flatten` all from it on.
fn extents(axis: i64, flatten: bool, inputs: &Inputs<'_>) -> Result<(usize, usize, usize), Error> {
    let shape = inputs.tensor(0)?.shape();
    if shape.is_empty() && (axis == 0 || axis == -1) {
        return Ok((1, 1, 1));
    }
    let axis = inputs.axis(axis, shape.len())?;
    let (outer, extent, inner) = around(shape, axis);
    Ok(if flatten { (outer, extent * inner, 1) } else { (outer, extent, inner) })
}

/// The positions of each line of a tensor with those extents.
fn lines((outer, extent, inner): (usize, usize, usize)) -> impl Iterator<Item = Vec<usize>> {
    (0..outer).flat_map(move |row| {
        (0..inner).map(move |column| (0..extent).map(|step| (row * extent + step) * inner + column).collect())
    })
}

/// `exp(beta x) / sum(exp(beta x))`, or its logarithm.
pub(super) fn softmax(
    axis: i64,
    flatten: bool,
    beta: f32,
    logarithm: bool,
    inputs: &Inputs<'_>,
) -> Result<Tensor, Error> {
    let x = inputs.tensor(0)?;
    let mut values = match inputs.numbers_of(x)? {
        numbers @ (Numbers::F32(_) | Numbers::F64(_)) => numbers.into_f64(),
        Numbers::I64(_) | Numbers::U64(_) | Numbers::Bool(_) => {
            return Err(inputs.unsupported_type(x.dtype(), "floats"));
        }
    };
    for line in lines(extents(axis, flatten, inputs)?) {
        let scaled: Vec<f64> = line.iter().map(|&at| f64::from(beta) * values[at]).collect();
        let most = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scaled.iter().map(|value| libm::exp(value - most)).sum();
        for (&at, value) in line.iter().zip(scaled) {
            values[at] =
                if logarithm { value - most - libm::log(sum) } else { libm::exp(value - most) / sum };
        }
    }
    inputs.result(x.dtype(), x.shape(), Numbers::F64(values))
}

/// 1 for the first largest element, else 0.
pub(super) fn hardmax(axis: i64, flatten: bool, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let x = inputs.tensor(0)?;
    let values = inputs.numbers_of(x)?.into_f64();
    let mut result = vec![0.0; values.len()];
    for line in lines(extents(axis, flatten, inputs)?) {
        let first = line.iter().copied().reduce(|best, at| if values[at] > values[best] { at } else { best });
        if let Some(at) = first {
            result[at] = 1.0;
        }
    }
    inputs.result(x.dtype(), x.shape(), Numbers::F32(result))
}
