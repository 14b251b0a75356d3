//! Normalizations.

use calipers_ir::{BatchNormalization, Normalize, Tensor};

use crate::Error;
use crate::inputs::Inputs;

pub(crate) fn batch(_: &BatchNormalization, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}

pub(crate) fn evaluate(_: &Normalize, inputs: &Inputs<'_>, _: usize) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}
