//! The arguments of an operator, asked for by position; what is wrong with them becomes an error of that operator.

use calipers_ir::{DType, Op, Tensor};

use crate::Error;
use crate::numbers::Numbers;

/// No result has more elements than this, unless the inputs together have.
pub(crate) const MOST_ELEMENTS: usize = 1 << 28;

/// No result has more strings than this, unless the inputs together have.
pub(crate) const MOST_STRINGS: usize = 1 << 22;

/// The inputs of an operator; those past the smallest number may be absent.
pub(crate) struct Inputs<'a> {
    op: &'a Op,
    tensors: &'a [Option<&'a Tensor>],
}

impl<'a> Inputs<'a> {
    /// The inputs of `op`; an error when there are too many.
    pub(crate) fn new(op: &'a Op, tensors: &'a [Option<&'a Tensor>]) -> Result<Self, Error> {
        let (least, most) = op.input_arity();
        let inputs = Inputs { op, tensors };
        if tensors.len() < least || tensors.len() > most {
            let most = if most == usize::MAX { String::from("any") } else { most.to_string() };
            let expected = format!("{least} to {most} inputs");
            return Err(inputs.argument(expected, format!("{}", tensors.len())));
        }
        // Loops over the other axes of a tensor without elements must end, too.
        for tensor in tensors.iter().flatten().filter(|tensor| tensor.shape().contains(&0)) {
            inputs.bounded(tensor.shape())?;
        }
        Ok(inputs)
    }

    /// Number of inputs, absent ones at the end included where the node lists them.
    pub(crate) fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Input `index` unless it is absent.
    pub(crate) fn optional(&self, index: usize) -> Option<&'a Tensor> {
        self.tensors.get(index).copied().flatten()
    }

    /// Input `index`.
    pub(crate) fn tensor(&self, index: usize) -> Result<&'a Tensor, Error> {
        self.optional(index).ok_or_else(|| self.argument(format!("an input {index}"), "none"))
    }

    /// The elements of input `index` in their class of numbers.
    pub(crate) fn numbers(&self, index: usize) -> Result<Numbers, Error> {
        self.numbers_of(self.tensor(index)?)
    }

    /// The elements of a tensor in their class of numbers.
    pub(crate) fn numbers_of(&self, tensor: &Tensor) -> Result<Numbers, Error> {
        Numbers::of(tensor).ok_or_else(|| self.unsupported_type(tensor.dtype(), "numbers"))
    }

    /// The elements of input `index`, of any type of numbers, as f32.
    pub(crate) fn floats(&self, index: usize) -> Result<Vec<f32>, Error> {
        Ok(self.numbers(index)?.into_f32())
    }

    /// The elements of input `index`, of any type of numbers, as f64.
    pub(crate) fn doubles(&self, index: usize) -> Result<Vec<f64>, Error> {
        Ok(self.numbers(index)?.into_f64())
    }

    /// The elements of input `index`, of any integer type, as i64 (u64 wraps).
    pub(crate) fn integers(&self, index: usize) -> Result<Vec<i64>, Error> {
        match self.numbers(index)? {
            Numbers::I64(values) => Ok(values),
            Numbers::U64(values) => Ok(values.into_iter().map(|value| value as i64).collect()),
            Numbers::F32(_) | Numbers::F64(_) | Numbers::Bool(_) => {
                Err(self
                    .argument(format!("integers as input {index}"), self.tensor(index)?.dtype().to_string()))
            }
        }
    }

    /// The integers of input `index`; `None` when it is absent.
    pub(crate) fn optional_integers(&self, index: usize) -> Result<Option<Vec<i64>>, Error> {
        self.optional(index).map(|_| self.integers(index)).transpose()
    }

    /// The only element of input `index`, an integer.
    pub(crate) fn integer(&self, index: usize) -> Result<i64, Error> {
        match self.integers(index)?[..] {
            [value] => Ok(value),
            ref values => {
                Err(self
                    .argument(format!("one element in input {index}"), format!("{} elements", values.len())))
            }
        }
    }

    /// An axis that may count from the end, as an index below `rank`.
    pub(crate) fn axis(&self, axis: i64, rank: usize) -> Result<usize, Error> {
        let index = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
        match usize::try_from(index) {
            Ok(index) if index < rank => Ok(index),
            _ => Err(self.argument(format!("an axis of a tensor of rank {rank}"), format!("axis {axis}"))),
        }
    }

    /// Different axes that may count from the end, as indices below `rank`, in the order given.
    pub(crate) fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>, Error> {
        let mut seen = vec![false; rank];
        axes.iter()
            .map(|&axis| {
                let index = self.axis(axis, rank)?;
                match std::mem::replace(&mut seen[index], true) {
                    true => Err(self.argument("each axis once", format!("axes {axes:?}"))),
                    false => Ok(index),
                }
            })
            .collect()
    }

    /// Number of elements of a result of that shape, unless it is too large.
    pub(crate) fn count(&self, shape: &[usize]) -> Result<usize, Error> {
        let product = self.bounded(shape)?;
        Ok(if shape.contains(&0) { 0 } else { product })
    }

    /// The product of the extents, each counted as at least 1, unless it is too large.
    fn bounded(&self, shape: &[usize]) -> Result<usize, Error> {
        let product = shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent.max(1)));
        let given = || self.tensors.iter().flatten();
        let strings = given().any(|tensor| tensor.dtype() == DType::String);
        let sized = given().filter(|tensor| !tensor.shape().contains(&0)).map(|tensor| tensor.len());
        let most = sized.fold(0, usize::saturating_add);
        let most = most.max(if strings { MOST_STRINGS } else { MOST_ELEMENTS });
        product.filter(|&product| product <= most).ok_or_else(|| Error::TooLarge {
            op: self.op.name().to_owned(),
            shape: shape.to_vec(),
            most,
        })
    }

    /// The shape that two or more shapes broadcast to as in numpy, unless they do not or it is too large.
    pub(crate) fn broadcast(&self, shapes: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let shape = crate::shape::broadcast(shapes)
            .ok_or_else(|| self.argument("shapes that broadcast to one another", format!("{shapes:?}")))?;
        self.count(&shape)?;
        Ok(shape)
    }

    /// Numbers as a tensor of that type and shape; they must be as many as the shape has elements.
    pub(crate) fn result(&self, dtype: DType, shape: &[usize], numbers: Numbers) -> Result<Tensor, Error> {
        numbers
            .into_tensor(dtype, shape)
            .map_err(|error| self.argument("a result that can be stored", error.to_string()))
    }

    /// A tensor over the elements of an input, with another shape of as many elements.
    pub(crate) fn reshaped(&self, tensor: &Tensor, shape: &[usize]) -> Result<Tensor, Error> {
        tensor.reshaped(shape).map_err(|_| {
            self.argument(format!("{} elements", tensor.len()), format!("elements of the shape {shape:?}"))
        })
    }

    /// An error for an argument that breaks a rule.
    pub(crate) fn argument(&self, expected: impl Into<String>, found: impl Into<String>) -> Error {
        Error::argument(self.op, expected, found)
    }

    /// An error for a form without a definition.
    pub(crate) fn unsupported(&self, found: impl Into<String>, supported: impl Into<String>) -> Error {
        Error::unsupported(self.op, found, supported)
    }

    /// An error for a type without a definition.
    pub(crate) fn unsupported_type(&self, dtype: DType, supported: &str) -> Error {
        self.unsupported(format!("type {dtype}"), supported)
    }
}
