//! Movements of elements.

use calipers_ir::{Movement, Tensor};

use crate::Error;
use crate::inputs::Inputs;

pub(crate) fn reshape(inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}

pub(crate) fn flatten(_: i64, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}

pub(crate) fn transpose(_: &[usize], inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}

pub(crate) fn evaluate(_: &Movement, inputs: &Inputs<'_>, _: usize) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}
