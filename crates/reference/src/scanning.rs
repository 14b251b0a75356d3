//! Operators along one axis that keep it, or give positions on it.

mod cumulative;
mod extremes;
mod softmax;

use calipers_ir::{Scanning, Tensor};

use crate::Error;
use crate::inputs::Inputs;

/// The operator's results.
pub(crate) fn evaluate(scanning: &Scanning, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let result = match *scanning {
        Scanning::ArgMax { axis, keepdims, select_last_index } => {
            extremes::position(axis, keepdims, select_last_index, true, inputs)?
        }
        Scanning::ArgMin { axis, keepdims, select_last_index } => {
            extremes::position(axis, keepdims, select_last_index, false, inputs)?
        }
        Scanning::CumSum { exclusive, reverse } => cumulative::sums(exclusive, reverse, inputs)?,
        Scanning::CumProd { exclusive, reverse } => cumulative::products(exclusive, reverse, inputs)?,
        Scanning::Hardmax { axis, flatten } => softmax::hardmax(axis, flatten, inputs)?,
        Scanning::LogSoftmax { axis, flatten } => softmax::softmax(axis, flatten, 1.0, true, inputs)?,
        Scanning::Softmax { axis, flatten, beta } => softmax::softmax(axis, flatten, beta, false, inputs)?,
        Scanning::TopK { axis, largest, sorted: _ } => return extremes::top(axis, largest, inputs),
    };
    Ok(vec![result])
}
