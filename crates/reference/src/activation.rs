//! Limits with constant bounds, alone and as activations fused into other operators.

use calipers_ir::{Activation, Clip, Tensor};

use crate::Error;
use crate::inputs::Inputs;
use crate::numbers::Numbers;

/// `min(max(x, min), max)`.
pub(crate) fn clip(clip: Clip, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    Ok(vec![apply(Activation::Clip(clip), inputs.tensor(0)?, inputs)?])
}

/// A tensor with an activation applied to each element.
pub(crate) fn apply(activation: Activation, tensor: &Tensor, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let (low, high) = match activation {
        Activation::None => return Ok(tensor.clone()),
        Activation::Relu => (0.0, f32::INFINITY),
        Activation::Clip(Clip { min, max }) => (min, max),
    };
    let numbers = match inputs.numbers_of(tensor)? {
        Numbers::F32(values) => {
            let limit = |value: f32| if value.is_nan() { value } else { value.max(low).min(high) };
            Numbers::F32(values.into_iter().map(limit).collect())
        }
        Numbers::F64(values) => {
            let limit =
                |value: f64| if value.is_nan() { value } else { value.max(low.into()).min(high.into()) };
            Numbers::F64(values.into_iter().map(limit).collect())
        }
        Numbers::I64(values) => {
            let (low, high) = (low.ceil() as i64, high.floor() as i64);
            Numbers::I64(values.into_iter().map(|value| value.max(low).min(high)).collect())
        }
        Numbers::U64(values) => {
            let (low, high) = (low.ceil() as u64, high.floor() as u64);
            Numbers::U64(values.into_iter().map(|value| value.max(low).min(high)).collect())
        }
        Numbers::Bool(_) => return Err(inputs.unsupported_type(tensor.dtype(), "numbers")),
    };
    inputs.result(tensor.dtype(), tensor.shape(), numbers)
}
