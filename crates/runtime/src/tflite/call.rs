//! One call of a unit: its tensors as slices, its result as a tensor.

use calipers_ir::{DType, Element, Op, Select, Tensor};
use calipers_kernels::quantize::Params;
use calipers_kernels::tflite::{self, Unsupported};

use super::Unit;
use crate::error::Error;
use crate::evaluate::evaluate;

/// A storage type of quantized data.
pub(super) trait Stored: tflite::Element + Element + Default {}

impl Stored for i8 {}
impl Stored for u8 {}
impl Stored for i16 {}

/// Runs an expression with `$type` standing for the storage type of a call's first operand.
macro_rules! with_type {
    ($call:expr, $type:ident => $body:expr) => {
        match $call.dtype(0) {
            calipers_ir::DType::I8 => {
                type $type = i8;
                $body
            }
            calipers_ir::DType::U8 => {
                type $type = u8;
                $body
            }
            calipers_ir::DType::I16 => {
                type $type = i16;
                $body
            }
            found => $call.refuse(format!("data of type {found}")),
        }
    };
}
pub(super) use with_type;

/// One call of a unit.
pub(super) struct Call<'a> {
    pub(super) unit: &'a Unit,
    pub(super) node: &'a str,
    pub(super) inputs: &'a [Option<&'a Tensor>],
}

impl<'a> Call<'a> {
    pub(super) fn refuse<T>(&self, found: impl Into<String>) -> Result<T, Error> {
        Err(Error::Unsupported {
            node: self.node.to_owned(),
            op: self.unit.name(),
            found: found.into(),
            supported: String::from("what LiteRT computes"),
        })
    }

    /// A refusal of the arithmetic.
    pub(super) fn accept<T>(&self, result: Result<T, Unsupported>) -> Result<T, Error> {
        result.or_else(|error| self.refuse(error.to_string()))
    }

    pub(super) fn tensor(&self, index: usize) -> Result<&'a Tensor, Error> {
        match self.inputs.get(index).copied().flatten() {
            Some(tensor) => Ok(tensor),
            None => self.refuse(format!("no input {index}")),
        }
    }

    pub(super) fn has(&self, index: usize) -> bool {
        self.inputs.get(index).copied().flatten().is_some()
    }

    pub(super) fn shape(&self, index: usize) -> Result<&'a [usize], Error> {
        Ok(self.tensor(index)?.shape())
    }

    pub(super) fn dtype(&self, index: usize) -> DType {
        self.inputs.get(index).copied().flatten().map_or(DType::F32, Tensor::dtype)
    }

    /// The elements of an input.
    pub(super) fn elements<T: Element>(&self, index: usize) -> Result<Vec<T>, Error> {
        match self.tensor(index)?.elements::<T>() {
            Ok(elements) => Ok(elements.into_owned()),
            Err(error) => self.refuse(format!("input {index}: {error}")),
        }
    }

    /// The elements of an input of 8 bits or fewer, signed.
    pub(super) fn narrow(&self, index: usize) -> Result<Vec<i8>, Error> {
        let tensor = self.tensor(index)?;
        if tensor.dtype() == DType::I8 {
            return self.elements(index);
        }
        let op = Op::Select(Select::Cast { to: DType::I8, saturate: true, round_mode: String::from("up") });
        let wide = evaluate(self.node, &op, &[Some(tensor)], 1)?.pop();
        match wide.as_ref().map(Tensor::elements::<i8>) {
            Some(Ok(elements)) => Ok(elements.into_owned()),
            _ => self.refuse(format!("input {index} of type {}", tensor.dtype())),
        }
    }

    /// All parameters of an input.
    pub(super) fn all_params(&self, index: usize) -> &'a [Params] {
        self.unit
            .operands
            .get(index)
            .and_then(Option::as_ref)
            .map_or(&[], |operand| operand.params.as_slice())
    }

    /// The parameters of an input that has one scale.
    pub(super) fn params(&self, index: usize) -> Result<Params, Error> {
        match self.all_params(index) {
            [params] => Ok(*params),
            params => self.refuse(format!("{} scales of input {index}", params.len())),
        }
    }

    /// A result that `fill` writes.
    pub(super) fn fill<T: Element + Default>(
        &self,
        fill: impl FnOnce(&mut [T]) -> Result<(), Error>,
    ) -> Result<Tensor, Error> {
        let mut result = vec![T::default(); self.unit.shape.iter().product()];
        fill(&mut result)?;
        Tensor::from_vec(self.unit.shape.as_slice(), result).or_else(|error| self.refuse(error.to_string()))
    }
}
