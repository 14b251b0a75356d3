//! Operators along one axis.

use calipers_ir::{Scanning, Tensor};

use crate::Error;
use crate::inputs::Inputs;

pub(crate) fn evaluate(_: &Scanning, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}
