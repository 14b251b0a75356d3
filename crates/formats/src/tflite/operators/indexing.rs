//! Operators that read or write elements by position.

use calipers_ir::{DType, Indexing, Movement, Op, Tensor};

use super::super::read::{Mapped, Site, keep};
use super::shapes::zero;

/// GATHER along an axis.
pub(super) fn gather(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(2, 2, 1)?;
    let op = Op::Indexing(Indexing::Gather { axis: site.int("axis")?, batch_dims: site.int("batch_dims")? });
    let numbers = site.shared(&[0])?;
    let inputs = [Some(site.numbers(0, numbers)?), Some(site.stored(1)?)];
    site.make_plain(numbers, op, &inputs)
}

/// GATHER_ND.
pub(super) fn gather_nd(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(2, 2, 1)?;
    let numbers = site.shared(&[0])?;
    let indices = site.stored(1)?;
    let inputs = [Some(site.numbers(0, numbers)?), Some(site.wide(indices, "indices")?)];
    site.make_plain(numbers, Op::Indexing(Indexing::GatherNd { batch_dims: 0 }), &inputs)
}

/// SCATTER_ND: updates are added up in zeros of the shape that the last input has.
pub(super) fn scatter_nd(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(3, 3, 1)?;
    if site.described(1)?.quantization.is_some() {
        return keep("its updates are quantized");
    }
    let dtype = site.described(1)?.ty.dtype;
    let zero = site.add_constant("zero", zero(dtype)?)?;
    let shape = site.list(2)?;
    let data = site.step("Expand", Op::Movement(Movement::Expand), &[Some(zero), Some(shape)], dtype)?;
    let indices = site.stored(0)?;
    let inputs = [Some(data), Some(site.wide(indices, "indices")?), Some(site.stored(1)?)];
    let op = Op::Indexing(Indexing::ScatterNd { reduction: String::from("add") });
    site.store(0, op, &inputs)
}

/// ONE_HOT: inputs are positions, depth, the value at the position and the one elsewhere.
pub(super) fn one_hot(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(4, 4, 1)?;
    let axis = site.int("axis")?;
    if site.result(0)?.quantization.is_some() {
        return keep("its result is quantized");
    }
    let dtype = site.result(0)?.ty.dtype;
    let values = match (site.constant(3), site.constant(2)) {
        (Some(off), Some(on)) if off.len() == 1 && on.len() == 1 => {
            let values = Tensor::new(dtype, [2], [off.bytes(), on.bytes()].concat().into());
            site.add_constant("values", values)?
        }
        _ => {
            let axes = site.integer_list("axes", vec![0])?;
            let mut parts = Vec::new();
            for position in [3, 2] {
                let value = site.stored(position)?;
                let unsqueeze = Op::Movement(Movement::Unsqueeze);
                parts.push(Some(site.step("Unsqueeze", unsqueeze, &[Some(value), Some(axes)], dtype)?));
            }
            site.step("Concat", Op::Movement(Movement::Concat { axis: 0 }), &parts, dtype)?
        }
    };
    let inputs = [Some(site.stored(0)?), Some(site.stored(1)?), Some(values)];
    site.store(0, Op::Indexing(Indexing::OneHot { axis }), &inputs)
}

/// WHERE of one input: a row of positions for each element that is not zero.
pub(super) fn positions_of_true(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(1, 1, 1)?;
    let condition = site.stored(0)?;
    let columns = site.step("NonZero", Op::Indexing(Indexing::NonZero), &[Some(condition)], DType::I64)?;
    site.store_positions(0, Op::Transpose { permutation: vec![1, 0] }, &[Some(columns)])
}
