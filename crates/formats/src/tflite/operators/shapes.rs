//! Operators about shapes, and those that make tensors of one number.

use calipers_ir::{Creation, DType, Movement, Op, Tensor, TensorError};

use super::super::read::{Mapped, Site, keep};

/// A zero of that type.
pub(super) fn zero(dtype: DType) -> Mapped<Result<Tensor, TensorError>> {
    match dtype.packed_bytes(1) {
        Some(bytes) => Ok(Tensor::new(dtype, [], vec![0; bytes].into())),
        None => keep(format!("there is no zero of type {dtype}")),
    }
}

/// SHAPE, in the declared type.
pub(super) fn shape(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(1, 1, 1)?;
    let x = site.stored(0)?;
    site.store_positions(0, Op::Creation(Creation::Shape { start: 0, end: None }), &[Some(x)])
}

/// RANK, which is a constant where the rank is known.
pub(super) fn rank(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(1, 1, 1)?;
    let rank = i32::try_from(site.shape(0)?.len()).map_err(|_| String::from("its rank is too large"))?;
    match site.result(0)?.ty.dtype {
        DType::I32 => Ok(site.graph.define_constant(site.outputs[0], Tensor::scalar(rank))?),
        other => Err(format!("a result of type i32 was expected, found {other}").into()),
    }
}

/// RANGE.
pub(super) fn range(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(3, 3, 1)?;
    let inputs = [Some(site.stored(0)?), Some(site.stored(1)?), Some(site.stored(2)?)];
    site.store(0, Op::Creation(Creation::Range), &inputs)
}

/// FILL: inputs are a shape and a number.
pub(super) fn fill(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(2, 2, 1)?;
    let numbers = site.shared(&[1])?;
    let inputs = [Some(site.numbers(1, numbers)?), Some(site.list(0)?)];
    site.make_plain(numbers, Op::Movement(Movement::Expand), &inputs)
}

/// ZEROS_LIKE.
pub(super) fn zeros_like(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(1, 1, 1)?;
    if site.result(0)?.quantization.is_some() {
        return keep("its result is quantized");
    }
    let dtype = site.result(0)?.ty.dtype;
    let zero = site.add_constant("zero", zero(dtype)?)?;
    let x = site.stored(0)?;
    let shape = Op::Creation(Creation::Shape { start: 0, end: None });
    let shape = site.step("Shape", shape, &[Some(x)], DType::I64)?;
    site.store(0, Op::Movement(Movement::Expand), &[Some(zero), Some(shape)])
}
