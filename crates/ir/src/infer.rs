//! Types of results from types of arguments: shape inference and the type rules of every operator.

mod convolution;
mod families;

use thiserror::Error;

use crate::{DType, Dim, Layout, Op, PoolKind, QuantizeLinear, Tensor, TensorType, Window};

/// An argument that breaks a rule of its operator.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{op}: expected {expected}, found {found}")]
pub struct InferError {
    /// Name of the operator.
    pub op: String,
    /// The rule, in words.
    pub expected: String,
    /// What was there instead.
    pub found: String,
}

/// The types of a node's results. `constants` holds, for each argument, its data where that is known, which
/// decides shapes that depend on values (the target of a Reshape).
///
/// `Ok(None)` stands for an opaque operator, whose result types only its file knows.
///
/// # Errors
/// The first argument that is missing or breaks a rule of the operator.
pub fn infer(
    op: &Op,
    types: &[Option<&TensorType>],
    constants: &[Option<&Tensor>],
) -> Result<Option<Vec<TensorType>>, InferError> {
    let context = Context { op, types };
    let (least, most) = op.input_arity();
    if types.len() > most || (0..least).any(|index| types.get(index).copied().flatten().is_none()) {
        let found = types.iter().filter(|ty| ty.is_some()).count();
        return context.error(format!("{least} to {most} inputs"), format!("{found}"));
    }
    let result = match op {
        Op::Opaque(_) => return Ok(None),
        Op::Conv(conv) => {
            let x = context.float(0)?;
            let weight = context.same_type(1, x)?;
            if context.optional(2).is_some() {
                context.same_type(2, x)?;
            }
            convolution::forward(&context, conv, x, weight, x.dtype)?
        }
        Op::Pool(pool) => {
            let x = context.argument(0)?;
            context.rank(0, x, pool.window.axes() + 2)?;
            if pool.kernel.len() != pool.window.axes() {
                return context.error(
                    format!("{} kernel extents", pool.window.axes()),
                    format!("{}", pool.kernel.len()),
                );
            }
            let Some(shape) = &x.shape else {
                return Ok(Some(vec![x.clone()]));
            };
            let taps: Vec<Dim> = pool.kernel.iter().map(|&taps| Dim::Known(taps)).collect();
            let spatial = slide(&context, &pool.window, pool.layout, shape, &taps, pool.ceil)?;
            let channels = shape[pool.layout.channel_axis(shape.len())].clone();
            let pooled = with_spatial(x.dtype, pool.layout, shape[0].clone(), channels, spatial);
            if pool.kind == PoolKind::Max {
                let positions = TensorType { dtype: DType::I64, shape: pooled.shape.clone() };
                return Ok(Some(vec![pooled, positions]));
            }
            pooled
        }
        Op::GlobalPool(_, layout) => {
            let x = context.argument(0)?;
            let Some(shape) = &x.shape else {
                return Ok(Some(vec![x.clone()]));
            };
            if shape.len() < 3 {
                return context.error("an input of rank 3 or more", format!("{x}"));
            }
            let channels = shape[layout.channel_axis(shape.len())].clone();
            let spatial = vec![Dim::Known(1); shape.len() - 2];
            with_spatial(x.dtype, *layout, shape[0].clone(), channels, spatial)
        }
        Op::Gemm(gemm) => {
            let a = context.float(0)?;
            let b = context.same_type(1, a)?;
            context.rank(0, a, 2)?;
            context.rank(1, b, 2)?;
            let (Some(a_shape), Some(b_shape)) = (&a.shape, &b.shape) else {
                return Ok(Some(vec![TensorType::unranked(a.dtype)]));
            };
            let (rows, inner_a) = if gemm.transpose_a { (1, 0) } else { (0, 1) };
            let (inner_b, columns) = if gemm.transpose_b { (1, 0) } else { (0, 1) };
            context.inner(&a_shape[inner_a], &b_shape[inner_b])?;
            let result = TensorType::new(a.dtype, [a_shape[rows].clone(), b_shape[columns].clone()]);
            if context.optional(2).is_some() {
                let c = context.same_type(2, a)?;
                let shape = broadcast(&context, &result, c)?;
                if shape.shape != result.shape {
                    return context.error(format!("`c` broadcastable to {result}"), format!("{c}"));
                }
            }
            result
        }
        Op::MatMul => {
            let a = context.argument(0)?;
            let b = context.same_type(1, a)?;
            matmul(&context, a, b, a.dtype)?
        }
        Op::Clip(_) => context.argument(0)?.clone(),
        Op::Product(_)
        | Op::Unary(_)
        | Op::Binary(..)
        | Op::Variadic(_)
        | Op::Select(_)
        | Op::Normalize(_)
        | Op::Reduce(_)
        | Op::Scanning(_)
        | Op::Movement(_)
        | Op::Indexing(_)
        | Op::Creation(_)
        | Op::Image(_)
        | Op::Signal(_)
        | Op::Recurrent(_)
        | Op::Control(_) => return families::infer(&context, constants),
        Op::ConvTranspose(conv) => convolution::transposed(&context, conv)?,
        Op::ConvInteger(conv) => convolution::integer(&context, conv)?,
        Op::DynamicQuantizeLinear => {
            let x = context.float(0)?;
            let scalar = |dtype| TensorType::new(dtype, [] as [Dim; 0]);
            let quantized = TensorType { dtype: DType::U8, shape: x.shape.clone() };
            return Ok(Some(vec![quantized, scalar(DType::F32), scalar(DType::U8)]));
        }
        Op::BatchNormalization(norm) => {
            let x = context.float(0)?;
            let channels = x
                .shape
                .as_ref()
                .filter(|shape| shape.len() >= 2)
                .map(|shape| &shape[norm.layout.channel_axis(shape.len())]);
            for index in 1..5 {
                let statistic = context.same_type(index, x)?;
                context.rank(index, statistic, 1)?;
                if let (Some(channels), Some(shape)) = (channels, &statistic.shape)
                    && !channels.compatible(&shape[0])
                {
                    return context
                        .error(format!("{channels} elements in input {index}"), format!("{statistic}"));
                }
            }
            x.clone()
        }
        Op::Reshape => {
            let x = context.argument(0)?;
            let target = context.argument(1)?;
            if target.dtype != DType::I64 {
                return context.error("a shape of type i64", format!("{target}"));
            }
            match constants.get(1).copied().flatten().and_then(Tensor::to_integers) {
                Some(target) => reshape(&context, x, &target)?,
                None => TensorType::unranked(x.dtype),
            }
        }
        Op::Flatten { axis } => {
            let x = context.argument(0)?;
            let Some(shape) = &x.shape else {
                return Ok(Some(vec![TensorType::new(
                    x.dtype,
                    [Dim::symbolic("?rows"), Dim::symbolic("?columns")],
                )]));
            };
            let rank = shape.len() as i64;
            let split = if *axis < 0 { axis + rank } else { *axis };
            if !(0..=rank).contains(&split) {
                return context.error(format!("an axis within -{rank}..={rank}"), format!("{axis}"));
            }
            let (rows, columns) = shape.split_at(split as usize);
            TensorType::new(x.dtype, [product(rows), product(columns)])
        }
        Op::Transpose { permutation } => {
            let x = context.argument(0)?;
            let mut sorted = permutation.clone();
            sorted.sort_unstable();
            if sorted.iter().enumerate().any(|(index, &axis)| index != axis) {
                return context.error("a permutation of the axes", format!("{permutation:?}"));
            }
            context.rank(0, x, permutation.len())?;
            match &x.shape {
                Some(shape) => TensorType::new(x.dtype, permutation.iter().map(|&axis| shape[axis].clone())),
                None => x.clone(),
            }
        }
        Op::QuantizeLinear(quantize) => {
            let x = context.float(0)?;
            scales(&context, x, quantize)?;
            if let Some(zero_point) = context.optional(2)
                && zero_point.dtype != quantize.dtype
            {
                return context
                    .error(format!("a zero point of type {}", quantize.dtype), format!("{zero_point}"));
            }
            TensorType { dtype: quantize.dtype, shape: x.shape.clone() }
        }
        Op::DequantizeLinear(dequantize) => {
            let x = context.argument(0)?;
            let as_quantize = QuantizeLinear {
                axis: dequantize.axis,
                block_size: dequantize.block_size,
                saturate: true,
                dtype: x.dtype,
            };
            scales(&context, x, &as_quantize)?;
            if let Some(zero_point) = context.optional(2)
                && zero_point.dtype != x.dtype
            {
                return context.error(format!("a zero point of type {}", x.dtype), format!("{zero_point}"));
            }
            TensorType { dtype: context.float(1)?.dtype, shape: x.shape.clone() }
        }
    };
    Ok(Some(vec![result]))
}

struct Context<'a> {
    op: &'a Op,
    types: &'a [Option<&'a TensorType>],
}

impl<'a> Context<'a> {
    fn error<T>(&self, expected: impl Into<String>, found: impl Into<String>) -> Result<T, InferError> {
        Err(InferError { op: self.op.name().to_owned(), expected: expected.into(), found: found.into() })
    }

    fn optional(&self, index: usize) -> Option<&'a TensorType> {
        self.types.get(index).copied().flatten()
    }

    fn argument(&self, index: usize) -> Result<&'a TensorType, InferError> {
        self.optional(index).map_or_else(|| self.error(format!("an input {index}"), "none"), Ok)
    }

    fn float(&self, index: usize) -> Result<&'a TensorType, InferError> {
        let ty = self.argument(index)?;
        match ty.dtype {
            DType::F16 | DType::BF16 | DType::F32 | DType::F64 => Ok(ty),
            _ => self.error(format!("a float type for input {index}"), format!("{ty}")),
        }
    }

    fn same_type(&self, index: usize, as_this: &TensorType) -> Result<&'a TensorType, InferError> {
        let ty = self.argument(index)?;
        if ty.dtype == as_this.dtype {
            return Ok(ty);
        }
        self.error(format!("{} for input {index}, as for input 0", as_this.dtype), format!("{ty}"))
    }

    fn rank(&self, index: usize, ty: &TensorType, rank: usize) -> Result<(), InferError> {
        match ty.rank() {
            Some(found) if found != rank => {
                self.error(format!("rank {rank} for input {index}"), format!("{ty}"))
            }
            _ => Ok(()),
        }
    }

    fn inner(&self, a: &Dim, b: &Dim) -> Result<(), InferError> {
        if a.compatible(b) {
            return Ok(());
        }
        self.error(format!("the inner extent {a} in both matrices"), format!("{b}"))
    }
}

/// Spatial extents after sliding a window.
fn slide(
    context: &Context<'_>,
    window: &Window,
    layout: Layout,
    shape: &[Dim],
    taps: &[Dim],
    ceil: bool,
) -> Result<Vec<Dim>, InferError> {
    if window.strides.contains(&0) || window.dilations.contains(&0) {
        return context.error("strides and dilations of 1 or more", format!("{window:?}"));
    }
    let first = layout.first_spatial_axis();
    (0..window.axes())
        .map(|axis| {
            let extent = &shape[first + axis];
            match (extent.known(), taps[axis].known()) {
                (Some(size), Some(kernel)) => match window.output_extent(axis, size, kernel, ceil) {
                    Some(out) => Ok(Dim::Known(out)),
                    None => context.error(
                        format!("a window of {kernel} taps that fits spatial axis {axis}"),
                        format!("{size} elements with their padding"),
                    ),
                },
                _ => Ok(derived(format!(
                    "pool({extent},{},{},{},{})",
                    taps[axis],
                    window.strides[axis],
                    window.dilations[axis],
                    window.pads_begin[axis].saturating_add(window.pads_end[axis])
                ))),
            }
        })
        .collect()
}

fn with_spatial(dtype: DType, layout: Layout, batch: Dim, channels: Dim, spatial: Vec<Dim>) -> TensorType {
    let mut shape = vec![batch];
    match layout {
        Layout::Nchw => {
            shape.push(channels);
            shape.extend(spatial);
        }
        Layout::Nhwc => {
            shape.extend(spatial);
            shape.push(channels);
        }
    }
    TensorType::new(dtype, shape)
}

/// Numpy broadcasting of two shapes.
fn broadcast(context: &Context<'_>, a: &TensorType, b: &TensorType) -> Result<TensorType, InferError> {
    let (Some(a_shape), Some(b_shape)) = (&a.shape, &b.shape) else {
        return Ok(TensorType::unranked(a.dtype));
    };
    let rank = a_shape.len().max(b_shape.len());
    let one = Dim::Known(1);
    let at = |shape: &[Dim], index: usize| -> Dim {
        (index + shape.len()).checked_sub(rank).map_or_else(|| one.clone(), |axis| shape[axis].clone())
    };
    let mut shape = Vec::with_capacity(rank);
    for index in 0..rank {
        let (from_a, from_b) = (at(a_shape, index), at(b_shape, index));
        shape.push(match (&from_a, &from_b) {
            _ if from_a == from_b => from_a,
            (Dim::Known(1), _) => from_b,
            (_, Dim::Known(1)) => from_a,
            (Dim::Known(_), Dim::Known(_)) => {
                return context.error("shapes that broadcast", format!("{a} and {b}"));
            }
            (Dim::Known(_), Dim::Symbolic(_)) => from_a,
            (Dim::Symbolic(_), Dim::Known(_)) => from_b,
            (Dim::Symbolic(_), Dim::Symbolic(_)) => derived(format!("max({from_a},{from_b})")),
        });
    }
    Ok(TensorType::new(a.dtype, shape))
}

/// The type of a matrix product over the last two axes; a vector is a row on the left and a column on the right.
fn matmul(
    context: &Context<'_>,
    a: &TensorType,
    b: &TensorType,
    dtype: DType,
) -> Result<TensorType, InferError> {
    let (Some(a_shape), Some(b_shape)) = (&a.shape, &b.shape) else {
        return Ok(TensorType::unranked(dtype));
    };
    if a_shape.is_empty() || b_shape.is_empty() {
        return context.error("inputs of rank 1 or more", format!("{a} and {b}"));
    }
    let (a_batch, a_matrix) = a_shape.split_at(a_shape.len().saturating_sub(2));
    let (b_batch, b_matrix) = b_shape.split_at(b_shape.len().saturating_sub(2));
    context.inner(&a_matrix[a_matrix.len() - 1], &b_matrix[0])?;
    let batch = broadcast(
        context,
        &TensorType::new(dtype, a_batch.iter().cloned()),
        &TensorType::new(dtype, b_batch.iter().cloned()),
    )?;
    let mut shape = batch.shape.unwrap_or_default();
    shape.extend((a_matrix.len() == 2).then(|| a_matrix[0].clone()));
    shape.extend(b_matrix.get(1).cloned());
    Ok(TensorType::new(dtype, shape))
}

/// The product of extents, symbolic when one of them is or when the number overflows.
fn product(dims: &[Dim]) -> Dim {
    let Some(known) = known_product(dims) else {
        let names: Vec<String> = dims.iter().map(ToString::to_string).collect();
        return derived(names.join("*"));
    };
    let symbolic: Vec<&Dim> = dims.iter().filter(|dim| dim.known().is_none()).collect();
    match symbolic.as_slice() {
        [] => Dim::Known(known),
        [only] if known == 1 => (*only).clone(),
        _ => {
            let names: Vec<String> = symbolic.iter().map(ToString::to_string).collect();
            derived(if known == 1 { names.join("*") } else { format!("{}*{known}", names.join("*")) })
        }
    }
}

/// The product of the extents that are known; `None` when it overflows.
fn known_product(dims: &[Dim]) -> Option<usize> {
    dims.iter().filter_map(Dim::known).try_fold(1usize, usize::checked_mul)
}

/// Whether an extent has a name that stands for one number wherever it stands. Names with a `?` stand for numbers that
/// no rule tells.
fn is_named(dim: &Dim) -> bool {
    matches!(dim, Dim::Symbolic(name) if !name.contains('?'))
}

const LONGEST_DERIVED_NAME: usize = 120;

/// A symbolic extent named by the formula that gives it. Formulas can double in length from node to node, so long ones
/// go by their 64-bit FNV-1a hash.
fn derived(formula: String) -> Dim {
    if formula.len() <= LONGEST_DERIVED_NAME {
        return Dim::symbolic(formula);
    }
    let hash = formula.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Dim::symbolic(format!("?{hash:016x}"))
}

fn reshape(context: &Context<'_>, x: &TensorType, target: &[i64]) -> Result<TensorType, InferError> {
    let found = || format!("{target:?} for {x}");
    if target.iter().any(|&extent| extent < -1) || target.iter().filter(|&&extent| extent == -1).count() > 1 {
        return context.error("extents of 0 or more and at most one -1", found());
    }
    let mut shape = Vec::with_capacity(target.len());
    for (axis, &extent) in target.iter().enumerate() {
        shape.push(match extent {
            -1 => None,
            0 => match x.shape.as_ref().map(|shape| shape.get(axis)) {
                Some(Some(dim)) => Some(dim.clone()),
                Some(None) => return context.error("an input axis to copy for each 0", found()),
                None => Some(Dim::symbolic(format!("?copied{axis}"))),
            },
            _ => Some(Dim::Known(extent as usize)),
        });
    }
    let Some(source) = &x.shape else {
        let shape = shape.into_iter().map(|dim| dim.unwrap_or_else(|| Dim::symbolic("?rest")));
        return Ok(TensorType::new(x.dtype, shape));
    };
    // Symbolic extents on both sides cancel; what remains decides the -1.
    let mut source_left: Vec<Dim> = source.clone();
    let mut target_left = Vec::new();
    for dim in shape.iter().flatten() {
        match source_left.iter().position(|other| other == dim && is_named(dim)) {
            Some(index) => drop(source_left.remove(index)),
            None => target_left.push(dim.clone()),
        }
    }
    let (from, to) = (product(&source_left), product(&target_left));
    let rest = match (&from, &to) {
        (Dim::Known(from), Dim::Known(to)) => {
            let has_rest = shape.contains(&None);
            let fits = if has_rest { *to != 0 && from.is_multiple_of(*to) } else { from == to };
            if !fits {
                return context.error("a shape of the same element count", found());
            }
            Dim::Known(if has_rest { from / to } else { 1 })
        }
        (_, Dim::Known(1)) => from,
        _ => match (source_left.iter().filter(|dim| dim.known().is_none()).count(), to.known()) {
            (1, Some(to)) => {
                if known_product(&source_left) == Some(to) {
                    product(
                        &source_left.iter().filter(|dim| dim.known().is_none()).cloned().collect::<Vec<_>>(),
                    )
                } else {
                    derived(format!("{from}/{to}"))
                }
            }
            _ => derived(format!("{from}/({to})")),
        },
    };
    Ok(TensorType::new(x.dtype, shape.into_iter().map(|dim| dim.unwrap_or_else(|| rest.clone()))))
}

/// Whether a shape has one element.
fn single(shape: &[Dim]) -> bool {
    shape.iter().all(|dim| *dim == Dim::Known(1))
}

/// Checks scale and zero point against the input: scalar, along an axis, or blocked.
fn scales(context: &Context<'_>, x: &TensorType, quantize: &QuantizeLinear) -> Result<(), InferError> {
    let scale = context.float(1)?;
    if let Some(zero_point) = context.optional(2)
        && let (Some(a), Some(b)) = (&scale.shape, &zero_point.shape)
        && (a.len() != b.len() || !a.iter().zip(b).all(|(a, b)| a.compatible(b)))
        && !(single(a) && single(b))
    {
        return context.error(format!("a zero point shaped as the scale {scale}"), format!("{zero_point}"));
    }
    let (Some(shape), Some(scale_shape)) = (&x.shape, &scale.shape) else {
        return Ok(());
    };
    if scale_shape.is_empty() || scale.known_shape().is_some_and(|shape| shape == [1]) {
        return Ok(());
    }
    let rank = shape.len() as i64;
    let axis = if quantize.axis < 0 { quantize.axis + rank } else { quantize.axis };
    if !(0..rank).contains(&axis) {
        return context.error(format!("an axis within -{rank}..{rank}"), format!("{}", quantize.axis));
    }
    let extent = &shape[axis as usize];
    if quantize.block_size == 0 {
        if scale_shape.len() == 1 && scale_shape[0].compatible(extent) {
            return Ok(());
        }
        return context
            .error(format!("a scalar scale, or {extent} scales along axis {axis}"), format!("{scale}"));
    }
    let blocks = extent.known().map(|extent| Dim::Known(extent.div_ceil(quantize.block_size)));
    let fits = scale_shape.len() == shape.len()
        && scale_shape.iter().enumerate().all(|(index, dim)| {
            let expected = if index as i64 == axis { blocks.as_ref() } else { Some(&shape[index]) };
            expected.is_none_or(|expected| dim.compatible(expected))
        });
    if fits {
        return Ok(());
    }
    context.error(
        format!("scales of the input's shape with axis {axis} in blocks of {}", quantize.block_size),
        format!("{scale}"),
    )
}

#[cfg(test)]
mod tests;
