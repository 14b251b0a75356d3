//! Operators that compute each element by itself.

use calipers_ir::{BinaryKind, Select, Tensor, UnaryKind, VariadicKind};

use crate::Error;
use crate::inputs::Inputs;

pub(crate) fn unary(_: &UnaryKind, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}

pub(crate) fn binary(_: &BinaryKind, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}

pub(crate) fn variadic(_: &VariadicKind, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}

pub(crate) fn select(_: &Select, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}
