//! Pooling over windows and over everything.

use calipers_ir::{Layout, Pool, PoolKind, Tensor};

use crate::Error;
use crate::inputs::Inputs;

pub(crate) fn evaluate(_: &Pool, inputs: &Inputs<'_>, _: usize) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}

pub(crate) fn global(_: PoolKind, _: Layout, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}
