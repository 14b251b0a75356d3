//! Operators that compute each element by itself, with numpy broadcasting where there are several inputs.

mod arithmetic;
mod binary;
mod cast;
mod choice;
mod functions;
mod unary;
mod variadic;

use calipers_ir::{Select, Tensor};

pub(crate) use binary::evaluate as binary;
pub(crate) use unary::evaluate as unary;
pub(crate) use variadic::evaluate as variadic;

use crate::Error;
use crate::inputs::Inputs;

/// Conversions and choices.
pub(crate) fn select(select: &Select, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let result = match select {
        Select::Cast { to, saturate, round_mode } => cast::cast(*to, *saturate, round_mode, inputs)?,
        Select::BitCast { to } => cast::bit_cast(*to, inputs)?,
        Select::Where => choice::choose(inputs)?,
        Select::Limit => choice::limit(inputs)?,
    };
    Ok(vec![result])
}
