//! Discrete Fourier transforms, of whole signals and of windows.

use std::f64::consts::TAU;

use calipers_ir::{Signal, Tensor};

use crate::Error;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::shape::around;

/// A complex number.
type Complex = (f64, f64);

/// The results of a transform.
pub(crate) fn evaluate(signal: &Signal, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    match signal {
        Signal::Dft { inverse, onesided } => transform(*inverse, *onesided, inputs),
        Signal::Stft { onesided } => windowed(*onesided, inputs),
    }
}

/// Along one axis; the last axis holds a real number, or the two parts of a complex one. One-sided forward transforms
/// give the first half, one-sided inverse ones take it and give real numbers.
fn transform(inverse: bool, onesided: bool, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let tensor = inputs.tensor(0)?;
    let shape = tensor.shape();
    let rank = shape.len();
    let axis = match inputs.optional(2) {
        Some(_) => inputs.integer(2)?,
        None => -2,
    };
    let axis = inputs.axis(axis, rank)?;
    let parts = parts(inputs, shape)?;
    if axis + 1 == rank {
        return Err(inputs.argument("an axis before the last", format!("axis {axis} of shape {shape:?}")));
    }
    let (outer, extent, inner) = around(&shape[..rank - 1], axis);
    let length = match inputs.optional(1) {
        Some(_) => length(inputs, 1)?,
        None if inverse && onesided => 2 * extent.saturating_sub(1),
        None => extent,
    };
    let half = length / 2 + 1;
    let (out_extent, out_parts) = match (onesided, inverse) {
        (false, _) => (length, 2),
        (true, false) => (half, 2),
        (true, true) => (length, 1),
    };
    let mut out_shape = shape.to_vec();
    (out_shape[axis], out_shape[rank - 1]) = (out_extent, out_parts);
    let mut result = vec![0.0; inputs.count(&out_shape)?];
    inputs.count(&[length])?;
    let values = inputs.doubles(0)?;
    for line in 0..outer * inner {
        let (block, column) = (line / inner, line % inner);
        let element = |at: usize| {
            let place = ((block * extent + at) * inner + column) * parts;
            (values[place], if parts == 2 { values[place + 1] } else { 0.0 })
        };
        let mut numbers: Vec<Complex> = (0..extent.min(length)).map(element).collect();
        numbers.resize(length, (0.0, 0.0));
        if inverse && onesided {
            // The other half mirrors the first.
            for at in half.min(length)..length {
                let (real, imaginary) = numbers[length - at];
                numbers[at] = (real, -imaginary);
            }
        }
        let transformed = fourier(&numbers, if inverse { TAU } else { -TAU });
        let factor = if inverse { 1.0 / length as f64 } else { 1.0 };
        for (at, (real, imaginary)) in transformed.into_iter().take(out_extent).enumerate() {
            let place = ((block * out_extent + at) * inner + column) * out_parts;
            result[place] = real * factor;
            if out_parts == 2 {
                result[place + 1] = imaginary * factor;
            }
        }
    }
    Ok(vec![inputs.result(tensor.dtype(), &out_shape, Numbers::F64(result))?])
}

/// Of frames `[batch, frames, bins, 2]` of a signal `[batch, length]`, `[batch, length, 1]` or `[batch, length, 2]`.
fn windowed(onesided: bool, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let tensor = inputs.tensor(0)?;
    let (batch, extent, parts) = match *tensor.shape() {
        [batch, extent] => (batch, extent, 1),
        [batch, extent, _] => (batch, extent, parts(inputs, tensor.shape())?),
        ref shape => return Err(inputs.argument("a signal of rank 2 or 3", format!("shape {shape:?}"))),
    };
    let step = length(inputs, 1)?;
    let window = inputs.optional(2).map(|_| inputs.doubles(2)).transpose()?;
    let frame = match (inputs.optional(3), &window) {
        (Some(_), _) => length(inputs, 3)?,
        (None, Some(window)) => window.len(),
        (None, None) => extent,
    };
    if step == 0
        || frame == 0
        || frame > extent
        || window.as_ref().is_some_and(|window| window.len() != frame)
    {
        return Err(inputs.argument(
            "a step above 0, and a frame within the signal that is as long as the window",
            format!("step {step}, frame {frame}, signal {extent}"),
        ));
    }
    let frames = 1 + (extent - frame) / step;
    let bins = if onesided { frame / 2 + 1 } else { frame };
    let shape = [batch, frames, bins, 2];
    let mut result = Vec::with_capacity(inputs.count(&shape)?);
    let values = inputs.doubles(0)?;
    for number in 0..batch * frames {
        let start = number / frames * extent + number % frames * step;
        let element = |at: usize| {
            let weight = window.as_ref().map_or(1.0, |window| window[at]);
            let place = (start + at) * parts;
            (weight * values[place], if parts == 2 { weight * values[place + 1] } else { 0.0 })
        };
        let numbers: Vec<Complex> = (0..frame).map(element).collect();
        let transformed = fourier(&numbers, -TAU);
        result.extend(transformed.into_iter().take(bins).flat_map(|(real, imaginary)| [real, imaginary]));
    }
    Ok(vec![inputs.result(tensor.dtype(), &shape, Numbers::F64(result))?])
}

/// 1 for real numbers in the last axis, 2 for complex ones.
fn parts(inputs: &Inputs<'_>, shape: &[usize]) -> Result<usize, Error> {
    match shape.last() {
        Some(&parts @ 1..=2) => Ok(parts),
        _ => Err(inputs.argument("a last axis of 1 or 2 elements", format!("shape {shape:?}"))),
    }
}

fn length(inputs: &Inputs<'_>, index: usize) -> Result<usize, Error> {
    let length = inputs.integer(index)?;
    usize::try_from(length)
        .map_err(|_| inputs.argument(format!("an input {index} of 0 or more"), format!("{length}")))
}

/// `y[k] = sum over j of x[j] exp(i turn j k / n)`, divided by the smallest factor of `n` at a time.
fn fourier(numbers: &[Complex], turn: f64) -> Vec<Complex> {
    let count = numbers.len();
    if count < 2 {
        return numbers.to_vec();
    }
    let factor =
        (2..).take_while(|factor| factor * factor <= count).find(|factor| count.is_multiple_of(*factor));
    let factor = factor.unwrap_or(count);
    let rest = count / factor;
    let parts: Vec<Vec<Complex>> = (0..factor)
        .map(|part| {
            let part: Vec<Complex> = numbers[part..].iter().step_by(factor).copied().collect();
            fourier(&part, turn)
        })
        .collect();
    let twiddles: Vec<Complex> = (0..count)
        .map(|step| {
            let (sine, cosine) = libm::sincos(turn * step as f64 / count as f64);
            (cosine, sine)
        })
        .collect();
    (0..count)
        .map(|at| {
            parts.iter().enumerate().fold((0.0, 0.0), |(real, imaginary), (number, part)| {
                let ((a, b), (c, d)) = (part[at % rest], twiddles[number * at % count]);
                (real + a * c - b * d, imaginary + a * d + b * c)
            })
        })
        .collect()
}
