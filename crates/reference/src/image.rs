//! Operators on images.

use calipers_ir::{Image, Tensor};

use crate::Error;
use crate::inputs::Inputs;

pub(crate) fn evaluate(_: &Image, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}
