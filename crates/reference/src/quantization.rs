//! Quantization and its inverse.

use calipers_ir::{DequantizeLinear, QuantizeLinear, Tensor};

use crate::Error;
use crate::inputs::Inputs;

pub(crate) fn quantize(_: &QuantizeLinear, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}

pub(crate) fn dequantize(_: &DequantizeLinear, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}

pub(crate) fn dynamic(inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    Err(inputs.unsupported("this operator", "another one"))
}
