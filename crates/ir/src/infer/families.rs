//! Type rules of the families of operators. A shape that a rule cannot tell is left open; running tells it.

use super::{Context, InferError, broadcast, derived, matmul, product};
use crate::{
    BinaryKind, Control, Creation, DType, Dim, Image, Indexing, Movement, Normalize, Op, Product, Recurrent,
    Reduce, Scanning, Select, Tensor, TensorType, UnaryKind, VariadicKind,
};

type Types = Result<Option<Vec<TensorType>>, InferError>;

pub(super) fn infer(context: &Context<'_>, constants: &[Option<&Tensor>]) -> Types {
    let arguments = Arguments { context, constants };
    let result = match context.op {
        Op::Unary(kind) => unary(context, kind)?,
        Op::Binary(kind, _) => binary(context, kind)?,
        Op::Variadic(VariadicKind::Max | VariadicKind::Mean | VariadicKind::Min | VariadicKind::Sum) => {
            let mut result = context.argument(0)?.clone();
            for index in 1..context.types.len() {
                result = broadcast(context, &result, context.same_type(index, &result)?)?;
            }
            result
        }
        Op::Select(select) => match select {
            Select::Cast { to, .. } | Select::BitCast { to } => {
                TensorType { dtype: *to, shape: context.argument(0)?.shape.clone() }
            }
            Select::Where => {
                let x = context.argument(1)?;
                let values = broadcast(context, x, context.same_type(2, x)?)?;
                broadcast(context, &values, context.argument(0)?)?
            }
            Select::Limit => context.argument(0)?.clone(),
        },
        Op::Product(product) => return products(context, product),
        Op::Normalize(normalize) => {
            let x = context.argument(0)?;
            let mut types = vec![x.clone()];
            if matches!(normalize, Normalize::Layer { .. }) {
                types.extend(vec![TensorType::unranked(DType::F32); 2]);
            }
            return Ok(Some(types));
        }
        Op::Reduce(reduce) => self::reduce(&arguments, reduce)?,
        Op::Scanning(scanning) => return self::scanning(&arguments, scanning),
        Op::Movement(movement) => return self::movement(&arguments, movement),
        Op::Indexing(indexing) => return self::indexing(context, indexing),
        Op::Creation(creation) => self::creation(&arguments, creation)?,
        Op::Image(image) => self::image(&arguments, image)?,
        Op::Recurrent(recurrent) => return self::recurrent(context, recurrent),
        Op::Signal(_) => TensorType::unranked(context.argument(0)?.dtype),
        // The graphs that they run say what they give; the file states it.
        Op::Control(
            Control::If { .. } | Control::Loop { .. } | Control::Scan { .. } | Control::While { .. },
        ) => return Ok(None),
        _ => return context.error("an operator of a family", context.op.name()),
    };
    Ok(Some(vec![result]))
}

struct Arguments<'a> {
    context: &'a Context<'a>,
    constants: &'a [Option<&'a Tensor>],
}

impl Arguments<'_> {
    /// The integers of an argument that is a constant.
    fn integers(&self, index: usize) -> Option<Vec<i64>> {
        self.constants.get(index).copied().flatten().and_then(Tensor::to_integers)
    }

    /// Axes counted from the front, or an error that names the one out of range.
    fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>, InferError> {
        axes.iter().map(|&axis| self.axis(axis, rank)).collect()
    }

    fn axis(&self, axis: i64, rank: usize) -> Result<usize, InferError> {
        let signed = rank as i64;
        let from_front = if axis < 0 { axis.saturating_add(signed) } else { axis };
        match usize::try_from(from_front) {
            Ok(axis) if axis < rank => Ok(axis),
            _ => self.context.error(format!("an axis within -{rank}..{rank}"), format!("{axis}")),
        }
    }
}

fn unary(context: &Context<'_>, kind: &UnaryKind) -> Result<TensorType, InferError> {
    let x = context.argument(0)?;
    Ok(match kind {
        UnaryKind::IsInf { .. } | UnaryKind::IsNaN => {
            TensorType { dtype: DType::Bool, shape: x.shape.clone() }
        }
        _ => x.clone(),
    })
}

fn binary(context: &Context<'_>, kind: &BinaryKind) -> Result<TensorType, InferError> {
    let a = context.argument(0)?;
    // The exponent of a power may be of another type than its base.
    let b = if *kind == BinaryKind::Pow { context.argument(1)? } else { context.same_type(1, a)? };
    let shape = broadcast(context, a, b)?.shape;
    let dtype = match kind {
        BinaryKind::Equal
        | BinaryKind::NotEqual
        | BinaryKind::Greater
        | BinaryKind::GreaterOrEqual
        | BinaryKind::Less
        | BinaryKind::LessOrEqual => DType::Bool,
        _ => a.dtype,
    };
    Ok(TensorType { dtype, shape })
}

fn products(context: &Context<'_>, product: &Product) -> Types {
    Ok(Some(match product {
        Product::MatMulInteger => {
            vec![matmul(context, context.argument(0)?, context.argument(1)?, DType::I32)?]
        }
        Product::Attention { .. } => {
            let dtype = |index: usize| context.optional(index).map_or(DType::F32, |ty| ty.dtype);
            [dtype(0), dtype(1), dtype(2), dtype(0)].map(TensorType::unranked).to_vec()
        }
        Product::RotaryEmbedding { .. } => vec![context.argument(0)?.clone()],
        Product::Einsum { .. } | Product::Det => vec![TensorType::unranked(context.argument(0)?.dtype)],
    }))
}

fn reduce(arguments: &Arguments<'_>, reduce: &Reduce) -> Result<TensorType, InferError> {
    let x = arguments.context.argument(0)?;
    let (Reduce::All { keepdims, noop_with_empty_axes }
    | Reduce::Any { keepdims, noop_with_empty_axes }
    | Reduce::L1 { keepdims, noop_with_empty_axes }
    | Reduce::L2 { keepdims, noop_with_empty_axes }
    | Reduce::LogSum { keepdims, noop_with_empty_axes }
    | Reduce::LogSumExp { keepdims, noop_with_empty_axes }
    | Reduce::Max { keepdims, noop_with_empty_axes }
    | Reduce::Mean { keepdims, noop_with_empty_axes }
    | Reduce::Min { keepdims, noop_with_empty_axes }
    | Reduce::Prod { keepdims, noop_with_empty_axes }
    | Reduce::Sum { keepdims, noop_with_empty_axes }
    | Reduce::SumSquare { keepdims, noop_with_empty_axes }) = reduce;
    let given = arguments.context.optional(1).is_some();
    let axes = arguments.integers(1);
    let Some(shape) = x.shape.as_ref().filter(|_| !given || axes.is_some()) else {
        return Ok(TensorType::unranked(x.dtype));
    };
    let axes = axes.unwrap_or_default();
    if axes.is_empty() && *noop_with_empty_axes {
        return Ok(x.clone());
    }
    let axes = match axes.is_empty() {
        true => (0..shape.len()).collect(),
        false => arguments.axes(&axes, shape.len())?,
    };
    Ok(TensorType::new(x.dtype, reduced(shape, &axes, *keepdims)))
}

/// A shape without some axes, or with them as 1.
fn reduced(shape: &[Dim], axes: &[usize], keep: bool) -> Vec<Dim> {
    let all = shape.iter().enumerate();
    all.filter(|(axis, _)| keep || !axes.contains(axis))
        .map(|(axis, dim)| if axes.contains(&axis) { Dim::Known(1) } else { dim.clone() })
        .collect()
}

fn scanning(arguments: &Arguments<'_>, scanning: &Scanning) -> Types {
    let x = arguments.context.argument(0)?;
    Ok(Some(match scanning {
        Scanning::ArgMax { axis, keepdims, .. } | Scanning::ArgMin { axis, keepdims, .. } => {
            vec![match &x.shape {
                None => TensorType::unranked(DType::I64),
                Some(shape) => {
                    let axis = arguments.axis(*axis, shape.len())?;
                    TensorType::new(DType::I64, reduced(shape, &[axis], *keepdims))
                }
            }]
        }
        Scanning::TopK { axis, .. } => {
            let shape = match &x.shape {
                None => None,
                Some(shape) => {
                    let axis = arguments.axis(*axis, shape.len())?;
                    let known = arguments.integers(1).and_then(|k| usize::try_from(*k.first()?).ok());
                    let mut shape = shape.clone();
                    shape[axis] = known.map_or_else(|| Dim::symbolic("?k"), Dim::Known);
                    Some(shape)
                }
            };
            vec![TensorType { dtype: x.dtype, shape: shape.clone() }, TensorType { dtype: DType::I64, shape }]
        }
        Scanning::CumSum { .. }
        | Scanning::CumProd { .. }
        | Scanning::Hardmax { .. }
        | Scanning::LogSoftmax { .. }
        | Scanning::Softmax { .. } => vec![x.clone()],
    }))
}

fn movement(arguments: &Arguments<'_>, movement: &Movement) -> Types {
    let context = arguments.context;
    let x = context.argument(0)?;
    let open = || Ok(Some(vec![TensorType::unranked(x.dtype)]));
    let Some(shape) = &x.shape else {
        if let Movement::Split { num_outputs, .. } = movement {
            let parts = arguments.integers(1).map_or(num_outputs.unwrap_or(1), |split| split.len() as i64);
            return Ok(Some(vec![TensorType::unranked(x.dtype); parts.clamp(1, 1 << 16) as usize]));
        }
        return open();
    };
    let rank = shape.len();
    let result: Vec<Dim> = match movement {
        Movement::Concat { axis } => {
            let axis = arguments.axis(*axis, rank)?;
            let mut extents = vec![shape[axis].clone()];
            for index in 1..context.types.len() {
                let part = context.same_type(index, x)?;
                context.rank(index, part, rank)?;
                let Some(part) = &part.shape else { return open() };
                extents.push(part[axis].clone());
            }
            let mut result = shape.clone();
            result[axis] = sum(&extents);
            result
        }
        Movement::Split { axis, num_outputs } => {
            let axis = arguments.axis(*axis, rank)?;
            // Each part has a shape of its own, and an attribute can ask for any number of them.
            let most = ((1 << 16) / rank.max(1)).max(1);
            let extents: Vec<Dim> = match (arguments.integers(1), num_outputs, shape[axis].known()) {
                (Some(split), ..) => {
                    let parts = split.iter().take(most);
                    parts.map(|&part| Dim::Known(usize::try_from(part).unwrap_or(0))).collect()
                }
                // Computed extents: `num_outputs` only tells how many there are.
                (None, parts, _) if context.optional(1).is_some() => {
                    (0..parts.unwrap_or(1).clamp(1, most as i64))
                        .map(|part| derived(format!("split({},{part})", shape[axis])))
                        .collect()
                }
                (None, Some(parts), Some(extent)) if (1..=most as i64).contains(parts) => {
                    let parts = *parts as usize;
                    let size = extent.div_ceil(parts);
                    (0..parts).map(|part| Dim::Known(size.min(extent.saturating_sub(part * size)))).collect()
                }
                (None, parts, _) => {
                    let parts = parts.unwrap_or(1).clamp(1, most as i64);
                    vec![derived(format!("{}/{parts}", shape[axis])); parts as usize]
                }
            };
            let part = |extent| {
                let mut shape = shape.clone();
                shape[axis] = extent;
                TensorType::new(x.dtype, shape)
            };
            return Ok(Some(extents.into_iter().map(part).collect()));
        }
        Movement::Slice => match slice(arguments, shape)? {
            Some(result) => result,
            None => return open(),
        },
        Movement::Pad { .. } => {
            let Some(pads) = arguments.integers(1) else { return open() };
            let axes = match context.optional(3).map(|_| arguments.integers(3)) {
                Some(None) => return open(),
                Some(Some(axes)) => arguments.axes(&axes, rank)?,
                None => (0..rank).collect(),
            };
            if pads.len() != 2 * axes.len() {
                return context.error(format!("{} pads", 2 * axes.len()), format!("{}", pads.len()));
            }
            let mut result = shape.clone();
            for (index, &axis) in axes.iter().enumerate() {
                let pad = pads[index].saturating_add(pads[axes.len() + index]);
                result[axis] = match result[axis].known() {
                    Some(extent) => Dim::Known(extent.saturating_add_signed(pad as isize)),
                    None if pad == 0 => result[axis].clone(),
                    None => derived(format!("{}+{pad}", result[axis])),
                };
            }
            result
        }
        Movement::Squeeze => {
            let axes = match context.optional(1).map(|_| arguments.integers(1)) {
                Some(None) => return open(),
                Some(Some(axes)) => arguments.axes(&axes, rank)?,
                None if shape.iter().any(|dim| dim.known().is_none()) => return open(),
                None => (0..rank).filter(|&axis| shape[axis] == Dim::Known(1)).collect(),
            };
            reduced(shape, &axes, false)
        }
        Movement::Unsqueeze => {
            let Some(axes) = arguments.integers(1) else { return open() };
            let axes = arguments.axes(&axes, rank + axes.len())?;
            let mut rest = shape.iter().cloned();
            (0..rank + axes.len())
                .filter_map(|axis| if axes.contains(&axis) { Some(Dim::Known(1)) } else { rest.next() })
                .collect()
        }
        Movement::Expand => {
            let Some(target) = arguments.integers(1) else { return open() };
            let target = target.iter().map(|&extent| Dim::Known(usize::try_from(extent).unwrap_or(1)));
            return Ok(Some(vec![broadcast(context, x, &TensorType::new(x.dtype, target))?]));
        }
        Movement::Tile => {
            let Some(repeats) = arguments.integers(1) else { return open() };
            if repeats.len() != rank {
                return context.error(format!("{rank} repeats"), format!("{}", repeats.len()));
            }
            let repeats = repeats.iter().map(|&times| Dim::Known(usize::try_from(times).unwrap_or(0)));
            shape.iter().zip(repeats).map(|(dim, times)| product(&[dim.clone(), times])).collect()
        }
        Movement::DepthToSpace { .. } | Movement::SpaceToDepth { .. } | Movement::CenterCropPad { .. } => {
            return open();
        }
        Movement::ReverseSequence { .. } | Movement::Reverse | Movement::Trilu { .. } => shape.clone(),
    };
    Ok(Some(vec![TensorType::new(x.dtype, result)]))
}

/// The sum of extents, symbolic when one of them is.
fn sum(dims: &[Dim]) -> Dim {
    let known = dims.iter().map(Dim::known).try_fold(0usize, |sum, extent| sum.checked_add(extent?));
    known.map_or_else(
        || derived(dims.iter().map(ToString::to_string).collect::<Vec<_>>().join("+")),
        Dim::Known,
    )
}

/// The shape of a slice with constant bounds; `None` where they are computed.
fn slice(arguments: &Arguments<'_>, shape: &[Dim]) -> Result<Option<Vec<Dim>>, InferError> {
    let (Some(starts), Some(ends)) = (arguments.integers(1), arguments.integers(2)) else { return Ok(None) };
    let optional = |index: usize, default: Vec<i64>| match arguments.context.optional(index) {
        Some(_) => arguments.integers(index),
        None => Some(default),
    };
    let (Some(axes), Some(steps)) =
        (optional(3, (0..starts.len() as i64).collect()), optional(4, vec![1; starts.len()]))
    else {
        return Ok(None);
    };
    if [ends.len(), axes.len(), steps.len()].iter().any(|&len| len != starts.len()) || steps.contains(&0) {
        return arguments.context.error(
            "as many ends, axes and steps (none of them 0) as starts",
            format!("{starts:?}, {ends:?}, {axes:?}, {steps:?}"),
        );
    }
    let mut result = shape.to_vec();
    for (index, axis) in arguments.axes(&axes, shape.len())?.into_iter().enumerate() {
        let (start, end, step) = (starts[index], ends[index], steps[index]);
        result[axis] = match shape[axis].known() {
            Some(extent) => Dim::Known(slice_extent(extent, start, end, step)),
            None if start == 0 && step == 1 && end >= i64::from(i32::MAX) => shape[axis].clone(),
            None => derived(format!("slice({},{start},{end},{step})", shape[axis])),
        };
    }
    Ok(Some(result))
}

/// Elements from `start` to before `end` in steps, where negative numbers count from the end and both are clamped.
fn slice_extent(extent: usize, start: i64, end: i64, step: i64) -> usize {
    let extent = extent as i64;
    let from_front = |position: i64| if position < 0 { position.saturating_add(extent) } else { position };
    let (low, high) = if step > 0 { (0, extent) } else { (-1, extent - 1) };
    let start = from_front(start).clamp(low.max(0), high);
    let end = if step < 0 && end < -extent { -1 } else { from_front(end).clamp(low, high) };
    let distance = if step > 0 { end - start } else { start - end };
    if distance <= 0 { 0 } else { ((distance - 1) / step.saturating_abs() + 1) as usize }
}

fn indexing(context: &Context<'_>, indexing: &Indexing) -> Types {
    let x = context.argument(0)?;
    let open = |dtype| TensorType::unranked(dtype);
    Ok(Some(match indexing {
        Indexing::Gather { axis, batch_dims } => {
            let indices = context.argument(1)?;
            let (Some(shape), Some(positions)) = (&x.shape, &indices.shape) else {
                return Ok(Some(vec![open(x.dtype)]));
            };
            let axis = Arguments { context, constants: &[] }.axis(*axis, shape.len())?;
            let batch = usize::try_from(*batch_dims).unwrap_or(0).min(positions.len());
            let parts = [&shape[..axis], &positions[batch..], &shape[axis + 1..]];
            vec![TensorType::new(x.dtype, parts.concat())]
        }
        Indexing::GatherElements { .. } => {
            vec![TensorType { dtype: x.dtype, shape: context.argument(1)?.shape.clone() }]
        }
        Indexing::ScatterElements { .. } | Indexing::ScatterNd { .. } | Indexing::TensorScatter { .. } => {
            vec![x.clone()]
        }
        Indexing::GatherNd { .. } | Indexing::Compress { .. } => vec![open(x.dtype)],
        Indexing::OneHot { .. } => vec![open(context.argument(2)?.dtype)],
        Indexing::NonZero => {
            let rank = x.rank().map_or_else(|| Dim::symbolic("?rank"), Dim::Known);
            vec![TensorType::new(DType::I64, [rank, Dim::symbolic("?nonzero")])]
        }
        Indexing::Unique { .. } => {
            let positions = TensorType::new(DType::I64, [Dim::symbolic("?unique")]);
            vec![open(x.dtype), positions.clone(), open(DType::I64), positions]
        }
        Indexing::NonMaxSuppression { .. } => {
            vec![TensorType::new(DType::I64, [Dim::symbolic("?boxes"), Dim::Known(3)])]
        }
    }))
}

fn creation(arguments: &Arguments<'_>, creation: &Creation) -> Result<TensorType, InferError> {
    let x = arguments.context.argument(0)?;
    Ok(match creation {
        Creation::Shape { start, end } => match x.rank() {
            None => TensorType::new(DType::I64, [Dim::symbolic("?rank")]),
            Some(rank) => {
                let rank = rank as i64;
                let place =
                    |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
                let taken = place(end.unwrap_or(rank)).saturating_sub(place(*start));
                TensorType::new(DType::I64, [taken])
            }
        },
        Creation::Size => TensorType::new(DType::I64, [] as [usize; 0]),
        Creation::Range => TensorType::new(x.dtype, [Dim::symbolic("?range")]),
        Creation::ConstantOfShape { value } => {
            let dtype = value.as_ref().map_or(DType::F32, Tensor::dtype);
            match arguments.integers(0) {
                Some(shape) => TensorType::new(
                    dtype,
                    shape.iter().map(|&extent| Dim::Known(usize::try_from(extent).unwrap_or(0))),
                ),
                None => TensorType::unranked(dtype),
            }
        }
        Creation::EyeLike { dtype, .. } => {
            TensorType { dtype: dtype.unwrap_or(x.dtype), shape: x.shape.clone() }
        }
        Creation::BlackmanWindow { output_datatype, .. }
        | Creation::HammingWindow { output_datatype, .. }
        | Creation::HannWindow { output_datatype, .. } => {
            TensorType::new(*output_datatype, [Dim::symbolic("?size")])
        }
        Creation::MelWeightMatrix { output_datatype } => {
            TensorType::new(*output_datatype, [Dim::symbolic("?bins"), Dim::symbolic("?mel")])
        }
    })
}

fn image(arguments: &Arguments<'_>, image: &Image) -> Result<TensorType, InferError> {
    let x = arguments.context.argument(0)?;
    let open = |rank: Option<usize>| match rank {
        Some(rank) => TensorType::new(x.dtype, (0..rank).map(|axis| Dim::symbolic(format!("?{axis}")))),
        None => TensorType::unranked(x.dtype),
    };
    Ok(match image {
        Image::Resize { axes: None, .. } => match (&x.shape, arguments.integers(3)) {
            (Some(shape), Some(sizes)) if sizes.len() == shape.len() => TensorType::new(
                x.dtype,
                sizes.iter().map(|&extent| Dim::Known(usize::try_from(extent).unwrap_or(0))),
            ),
            _ => open(x.rank()),
        },
        Image::Resize { .. } => open(x.rank()),
        Image::GridSample { .. }
        | Image::AffineGrid { .. }
        | Image::RoiAlign { .. }
        | Image::MaxRoiPool { .. }
        | Image::MaxUnpool { .. }
        | Image::Col2Im { .. }
        | Image::DeformConv { .. } => TensorType::unranked(x.dtype),
    })
}

fn recurrent(context: &Context<'_>, recurrent: &Recurrent) -> Types {
    let x = context.argument(0)?;
    let (layout, states) = match recurrent {
        Recurrent::Rnn { layout, .. } | Recurrent::Gru { layout, .. } => (*layout, 1),
        Recurrent::Lstm { layout, .. } => (*layout, 2),
        Recurrent::TfliteLstm { .. } => {
            // The weights of the forget gate on the last output, [cells, outputs].
            let weights = context.optional(6).and_then(|weights| weights.shape.as_deref());
            return Ok(Some(vec![match (x.shape.as_deref(), weights) {
                (Some([first, second, _]), Some([_, outputs])) => {
                    TensorType::new(x.dtype, [first.clone(), second.clone(), outputs.clone()])
                }
                _ => TensorType::unranked(x.dtype),
            }]));
        }
    };
    let directions = context.argument(1)?;
    let recurrence = context.argument(2)?;
    let (Some(shape), Some(w), Some(r)) = (&x.shape, &directions.shape, &recurrence.shape) else {
        return Ok(Some(vec![TensorType::unranked(x.dtype); 1 + states]));
    };
    context.rank(0, x, 3)?;
    context.rank(1, directions, 3)?;
    context.rank(2, recurrence, 3)?;
    let (directions, hidden) = (w[0].clone(), r[2].clone());
    let (y, state) = if layout == 0 {
        let [time, batch] = [shape[0].clone(), shape[1].clone()];
        (vec![time, directions.clone(), batch.clone(), hidden.clone()], vec![directions, batch, hidden])
    } else {
        let [batch, time] = [shape[0].clone(), shape[1].clone()];
        (vec![batch.clone(), time, directions.clone(), hidden.clone()], vec![batch, directions, hidden])
    };
    let mut types = vec![TensorType::new(x.dtype, y)];
    types.extend(vec![TensorType::new(x.dtype, state); states]);
    Ok(Some(types))
}
