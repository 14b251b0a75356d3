//! Products: matrices, Einsum, attention.

use calipers_ir::{Gemm, Product, Tensor};

use crate::Error;
use crate::inputs::Inputs;

pub(crate) fn gemm(_: &Gemm, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}

pub(crate) fn matrix_product(inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}

pub(crate) fn evaluate(_: &Product, inputs: &Inputs<'_>, _: usize) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}
