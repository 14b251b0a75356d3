//! Operators that compute each element by itself, and conversions between types.

use std::collections::BTreeMap;

use calipers_ir::{BinaryKind, Clip, DType, Node, Op, Select, UnaryKind, VariadicKind};

use super::super::read::{Mapped, Numbers, Site, cast, keep};
use super::super::schema::BuiltinOperator as Builtin;

/// A function of one input.
pub(super) fn unary(site: &mut Site<'_, '_>, kind: UnaryKind) -> Mapped {
    site.arity(1, 1, 1)?;
    let x = site.real(0)?;
    site.make_real(Op::Unary(kind), &[Some(x)])
}

/// A limit.
pub(super) fn limit(site: &mut Site<'_, '_>, min: f32, max: f32) -> Mapped {
    site.arity(1, 1, 1)?;
    let x = site.real(0)?;
    site.make_real(Op::Clip(Clip { min, max }), &[Some(x)])
}

/// A function of two inputs.
pub(super) fn binary(site: &mut Site<'_, '_>, kind: BinaryKind) -> Mapped {
    site.arity(2, 2, 1)?;
    let activation = site.activation()?;
    let integer = site.result(0)?.quantization.is_none() && site.result(0)?.ty.dtype != DType::F32;
    if integer && activation != calipers_ir::Activation::None {
        return keep("its activation is on integers");
    }
    let inputs = [Some(site.real(0)?), Some(site.real(1)?)];
    let sum = matches!(kind, BinaryKind::Add | BinaryKind::Sub);
    site.make(0, Numbers::Real, Op::Binary(kind, calipers_ir::Activation::None), &inputs, activation)?;
    let result = site.result(0)?;
    if sum && result.ty.dtype == DType::I16 && result.quantization.is_some() && site.flag("pot_scale_int16") {
        let node = result.name.clone();
        let note = (Node::POWERS_OF_TWO.to_owned(), String::from("true"));
        site.graph.note(&node, BTreeMap::from([note]));
    }
    Ok(())
}

/// Of booleans and of integers, which are two operators here.
pub(super) fn bitwise_xor(site: &mut Site<'_, '_>) -> Mapped {
    let kind = match site.described(0)?.ty.dtype {
        DType::Bool => BinaryKind::Xor,
        _ => BinaryKind::BitwiseXor,
    };
    binary(site, kind)
}

/// The larger or smaller one of two. Integers of equal parameters are in the order of what they stand for.
pub(super) fn extreme(site: &mut Site<'_, '_>, kind: VariadicKind) -> Mapped {
    site.arity(2, 2, 1)?;
    let numbers = site.shared(&[0, 1])?;
    let inputs = [Some(site.numbers(0, numbers)?), Some(site.numbers(1, numbers)?)];
    site.make_plain(numbers, Op::Variadic(kind), &inputs)
}

/// ADD_N.
pub(super) fn sum(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(1, usize::MAX, 1)?;
    let inputs = (0..site.inputs.len()).map(|position| site.real(position).map(Some));
    let inputs = inputs.collect::<Mapped<Vec<_>>>()?;
    site.make_real(Op::Variadic(VariadicKind::Sum), &inputs)
}

/// A comparison, on integers where both sides have the same parameters.
pub(super) fn comparison(site: &mut Site<'_, '_>, kind: BinaryKind) -> Mapped {
    site.arity(2, 2, 1)?;
    let [a, b] = [site.described(0)?, site.described(1)?];
    let same = a.quantization == b.quantization && a.quantization.as_ref().is_none_or(|q| q.per_tensor());
    let numbers = if same { Numbers::Stored } else { Numbers::Real };
    let inputs = [Some(site.numbers(0, numbers)?), Some(site.numbers(1, numbers)?)];
    site.store(0, Op::Binary(kind, calipers_ir::Activation::None), &inputs)
}

/// SELECT and SELECT_V2. The condition of the first may choose rows, where its rank is 1.
pub(super) fn select(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(3, 3, 1)?;
    let mut condition = site.stored(0)?;
    if site.op == Builtin::SELECT {
        let (of_condition, of_x) = (site.shape(0)?.len(), site.shape(1)?.len());
        if of_condition == 1 && of_x > 1 {
            let axes = site.integer_list("axes", (1..of_x as i64).collect())?;
            let unsqueeze = Op::Movement(calipers_ir::Movement::Unsqueeze);
            condition = site.step("Unsqueeze", unsqueeze, &[Some(condition), Some(axes)], DType::Bool)?;
        }
    }
    let numbers = site.shared(&[1, 2])?;
    let inputs = [Some(condition), Some(site.numbers(1, numbers)?), Some(site.numbers(2, numbers)?)];
    site.make_plain(numbers, Op::Select(Select::Where), &inputs)
}

/// CAST, to the type that the result is declared with.
pub(super) fn cast_to_declared(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(1, 1, 1)?;
    let (from, to) = (site.described(0)?.ty.dtype, site.result(0)?.ty.dtype);
    if [from, to].iter().any(|dtype| matches!(dtype, DType::Complex64 | DType::Complex128 | DType::String)) {
        return keep(format!("it converts {from} to {to}"));
    }
    let x = site.stored(0)?;
    site.store(0, cast(to), &[Some(x)])
}

/// BITCAST, between types of one width.
pub(super) fn bit_cast(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(1, 1, 1)?;
    let (from, to) = (site.described(0)?.ty.dtype, site.result(0)?.ty.dtype);
    if from.bits() != to.bits() {
        return keep(format!("it converts {from} to {to}, which changes the shape"));
    }
    let x = site.stored(0)?;
    site.store(0, Op::Select(Select::BitCast { to }), &[Some(x)])
}

/// QUANTIZE, from floats or from integers of other parameters.
pub(super) fn quantize(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(1, 1, 1)?;
    let result = site.result(0)?;
    let (name, dtype) = (result.name.clone(), result.ty.dtype);
    let Some(quantization) = result.quantization.clone() else {
        return Err(format!("its result of type {dtype} has no scale").into());
    };
    let x = site.real(0)?;
    site.graph.quantize(site.outputs[0], &quantization, x, &name)?;
    stated(site, &name);
    Ok(())
}

/// DEQUANTIZE, from integers or from floats of 16 bits.
pub(super) fn dequantize(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(1, 1, 1)?;
    let x = site.stored(0)?;
    let described = site.described(0)?;
    let Some(quantization) = described.quantization.clone() else {
        return match described.ty.dtype {
            DType::F16 | DType::BF16 | DType::F8E4M3Fn | DType::F8E5M2 => {
                let to = site.result(0)?.ty.dtype;
                site.store(0, cast(to), &[Some(x)])
            }
            other => Err(format!("its input of type {other} has no scale").into()),
        };
    };
    let (scale, zero_point) = site.graph.parameters(site.input(0)?, &quantization)?;
    let op = Op::DequantizeLinear(calipers_ir::DequantizeLinear {
        axis: quantization.axis as i64,
        block_size: quantization.block_size,
    });
    site.store(0, op, &[Some(x), Some(scale), zero_point])?;
    let name = site.result(0)?.name.clone();
    stated(site, &name);
    Ok(())
}

/// Marks a node that the file has as an operator.
fn stated(site: &mut Site<'_, '_>, node: &str) {
    site.graph.note(node, BTreeMap::from([(Node::STATED.to_owned(), String::from("true"))]));
}
