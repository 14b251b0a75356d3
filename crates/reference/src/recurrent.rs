//! Recurrent layers.

use calipers_ir::{Recurrent, Tensor};

use crate::Error;
use crate::inputs::Inputs;

pub(crate) fn evaluate(_: &Recurrent, inputs: &Inputs<'_>, _: usize) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}
