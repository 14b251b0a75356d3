//! Functions of any number of inputs.

use calipers_ir::{Tensor, VariadicKind};

use crate::Error;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::shape::Walk;

/// The inputs combined from the first to the last. NaN wins over every number.
pub(crate) fn evaluate(kind: &VariadicKind, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let tensors: Vec<&Tensor> =
        (0..inputs.len()).map(|index| inputs.tensor(index)).collect::<Result<_, _>>()?;
    let Some(first) = tensors.first() else {
        return Err(inputs.argument("an input", "none"));
    };
    if let Some(other) = tensors.iter().find(|tensor| tensor.dtype() != first.dtype()) {
        return Err(inputs.argument(format!("inputs of type {}", first.dtype()), other.dtype().to_string()));
    }
    let shapes: Vec<&[usize]> = tensors.iter().map(|tensor| tensor.shape()).collect();
    let shape = inputs.broadcast(&shapes)?;
    let mut sum = inputs.numbers_of(first)?.gather(Walk::broadcast(first.shape(), &shape));
    for tensor in &tensors[1..] {
        let walk = Walk::broadcast(tensor.shape(), &shape);
        match (&mut sum, inputs.numbers_of(tensor)?) {
            (Numbers::F32(sum), Numbers::F32(values)) => {
                let combine: fn(f32, f32) -> f32 = match kind {
                    VariadicKind::Max => |a, b| if a >= b || a.is_nan() { a } else { b },
                    VariadicKind::Min => |a, b| if a <= b || a.is_nan() { a } else { b },
                    VariadicKind::Sum | VariadicKind::Mean => |a, b| a + b,
                };
                sum.iter_mut().zip(walk).for_each(|(sum, at)| *sum = combine(*sum, values[at]));
            }
            (Numbers::F64(sum), Numbers::F64(values)) => {
                let combine: fn(f64, f64) -> f64 = match kind {
                    VariadicKind::Max => |a, b| if a >= b || a.is_nan() { a } else { b },
                    VariadicKind::Min => |a, b| if a <= b || a.is_nan() { a } else { b },
                    VariadicKind::Sum | VariadicKind::Mean => |a, b| a + b,
                };
                sum.iter_mut().zip(walk).for_each(|(sum, at)| *sum = combine(*sum, values[at]));
            }
            (Numbers::I64(sum), Numbers::I64(values)) => {
                let combine: fn(i64, i64) -> i64 = match kind {
                    VariadicKind::Max => Ord::max,
                    VariadicKind::Min => Ord::min,
                    VariadicKind::Sum | VariadicKind::Mean => i64::wrapping_add,
                };
                sum.iter_mut().zip(walk).for_each(|(sum, at)| *sum = combine(*sum, values[at]));
            }
            (Numbers::U64(sum), Numbers::U64(values)) => {
                let combine: fn(u64, u64) -> u64 = match kind {
                    VariadicKind::Max => Ord::max,
                    VariadicKind::Min => Ord::min,
                    VariadicKind::Sum | VariadicKind::Mean => u64::wrapping_add,
                };
                sum.iter_mut().zip(walk).for_each(|(sum, at)| *sum = combine(*sum, values[at]));
            }
            _ => return Err(inputs.unsupported_type(first.dtype(), "numbers")),
        }
    }
    if *kind == VariadicKind::Mean {
        let count = tensors.len();
        match &mut sum {
            Numbers::F32(sum) => sum.iter_mut().for_each(|sum| *sum /= count as f32),
            Numbers::F64(sum) => sum.iter_mut().for_each(|sum| *sum /= count as f64),
            Numbers::I64(_) | Numbers::U64(_) | Numbers::Bool(_) => {
                return Err(inputs.unsupported_type(first.dtype(), "floats"));
            }
        }
    }
    Ok(vec![inputs.result(first.dtype(), &shape, sum)?])
}
