//! Reading and writing by position.

use calipers_ir::{Indexing, Tensor};

use crate::Error;
use crate::inputs::Inputs;

pub(crate) fn evaluate(_: &Indexing, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}
