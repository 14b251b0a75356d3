//! Operators that combine elements along axes.

use calipers_ir::{Activation, BinaryKind, DType, Normalize, Op, Reduce, Scanning, Tensor, VariadicKind};

use super::super::read::{Mapped, Numbers, Site, cast, keep};

/// The smallest norm that L2_NORMALIZATION divides by.
const LEAST_NORM: f32 = 1e-6;

/// SOFTMAX over the last axis.
pub(super) fn softmax(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(1, 1, 1)?;
    let beta = site.float("beta")?;
    let x = site.real(0)?;
    site.make_real(Op::Scanning(Scanning::Softmax { axis: -1, flatten: false, beta }), &[Some(x)])
}

/// LOG_SOFTMAX over the last axis.
pub(super) fn log_softmax(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(1, 1, 1)?;
    let x = site.real(0)?;
    site.make_real(Op::Scanning(Scanning::LogSoftmax { axis: -1, flatten: false }), &[Some(x)])
}

/// L2_NORMALIZATION over the last axis. In floats it is `x / max(norm, 1e-6)`; the integer kernel has no such
/// limit.
pub(super) fn l2_normalization(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(1, 1, 1)?;
    let activation = site.activation()?;
    let quantized = site.described(0)?.quantization.is_some();
    let x = site.real(0)?;
    if quantized {
        let op = Op::Normalize(Normalize::Lp { axis: -1, p: 2 });
        return site.make(0, Numbers::Real, op, &[Some(x)], activation);
    }
    let axes = site.integer_list("axes", vec![-1])?;
    let least = site.add_constant("least", Ok(Tensor::scalar(LEAST_NORM)))?;
    let op = Op::Reduce(Reduce::L2 { keepdims: true, noop_with_empty_axes: false });
    let norm = site.step("ReduceL2", op, &[Some(x), Some(axes)], DType::F32)?;
    let op = Op::Variadic(VariadicKind::Max);
    let norm = site.step("Max", op, &[Some(norm), Some(least)], DType::F32)?;
    site.make(
        0,
        Numbers::Real,
        Op::Binary(BinaryKind::Div, Activation::None),
        &[Some(x), Some(norm)],
        activation,
    )
}

/// A reduction of real numbers. Its second input has the axes; no axes reduce nothing.
pub(super) fn reduce(site: &mut Site<'_, '_>, kind: fn(bool, bool) -> Reduce) -> Mapped {
    reduce_numbers(site, kind, Numbers::Real)
}

/// A reduction that gives one of the elements, on integers where input and output have the same parameters.
pub(super) fn reduce_shared(site: &mut Site<'_, '_>, kind: fn(bool, bool) -> Reduce) -> Mapped {
    let numbers = site.shared(&[0])?;
    reduce_numbers(site, kind, numbers)
}

fn reduce_numbers(site: &mut Site<'_, '_>, kind: fn(bool, bool) -> Reduce, numbers: Numbers) -> Mapped {
    site.arity(2, 2, 1)?;
    let keepdims = site.flag("keep_dims");
    let inputs = [Some(site.numbers(0, numbers)?), Some(site.list(1)?)];
    site.make_plain(numbers, Op::Reduce(kind(keepdims, true)), &inputs)
}

/// ARG_MAX and ARG_MIN: the first position of the extreme along the axis that the second input names.
pub(super) fn position_of_extreme(site: &mut Site<'_, '_>, largest: bool) -> Mapped {
    site.arity(2, 2, 1)?;
    let Some(axis) = site.integer(1) else { return keep("its axis is computed") };
    let x = site.stored(0)?;
    let (keepdims, select_last_index) = (false, false);
    let op = if largest {
        Scanning::ArgMax { axis, keepdims, select_last_index }
    } else {
        Scanning::ArgMin { axis, keepdims, select_last_index }
    };
    site.store_positions(0, Op::Scanning(op), &[Some(x)])
}

/// CUMSUM.
pub(super) fn cumulative_sum(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(2, 2, 1)?;
    let op = Scanning::CumSum { exclusive: site.flag("exclusive"), reverse: site.flag("reverse") };
    let inputs = [Some(site.real(0)?), Some(site.stored(1)?)];
    site.make_real(Op::Scanning(op), &inputs)
}

/// TOPK_V2 along the last axis: values and their positions.
pub(super) fn top_k(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(2, 2, 2)?;
    if site.shared(&[0])? == Numbers::Real && site.described(0)?.quantization != site.result(0)?.quantization
    {
        return keep("its values have other quantization parameters than its data");
    }
    let inputs = [Some(site.stored(0)?), Some(site.list(1)?)];
    let op = Op::Scanning(Scanning::TopK { axis: -1, largest: true, sorted: true });
    let dtype = site.result(1)?.ty.dtype;
    if dtype == DType::I64 {
        return site.store_all(op, &inputs);
    }
    let positions = site.store_first(op, &inputs, DType::I64)?;
    site.store(1, cast(dtype), &[Some(positions)])
}
