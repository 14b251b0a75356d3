//! Nodes of the default operator set to operators. What an operator cannot say is kept as an opaque node.

use calipers_ir::{
    Activation, BatchNormalization, BinaryKind, Clip, Conv, DType, DequantizeLinear, Gemm, Layout, Op, Pool,
    PoolKind, QuantizeLinear, Tensor, TensorType, UnaryKind, Window,
};

use super::super::attributes::NodeAttributes;
use super::super::messages::NodeProto;

/// What is known of a node's inputs, in order.
pub(super) struct Arguments<'a> {
    pub types: &'a [Option<&'a TensorType>],
    pub constants: &'a [Option<&'a Tensor>],
}

impl<'a> Arguments<'a> {
    fn ty(&self, index: usize) -> Option<&'a TensorType> {
        self.types.get(index).copied().flatten()
    }

    fn rank(&self, index: usize) -> Option<usize> {
        self.ty(index)?.rank()
    }

    fn constant(&self, index: usize) -> Option<&'a Tensor> {
        self.constants.get(index).copied().flatten()
    }

    /// Extents of the axes after the first two, as far as they are known.
    fn spatial(&self, index: usize) -> Option<Vec<Option<usize>>> {
        let shape = self.ty(index)?.shape.as_ref()?;
        Some(shape.get(2..)?.iter().map(calipers_ir::Dim::known).collect())
    }

    fn is_float(&self, index: usize) -> bool {
        self.ty(index).is_none_or(|ty| matches!(ty.dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64))
    }
}

/// The operator of a node and how many of the node's inputs it takes; `None` where no operator says the same.
pub(super) fn map(node: &NodeProto, arguments: &Arguments<'_>) -> Result<Option<(Op, usize)>, String> {
    let last_output = node.output.iter().rposition(|output| !output.is_empty());
    if last_output.is_some_and(|last| last > 0) {
        return Ok(None);
    }
    let mut attributes = NodeAttributes::new(&node.attribute);
    let Some(op) = op(&node.op_type, &mut attributes, arguments)? else {
        return Ok(None);
    };
    attributes.finish()?;
    let last_input = node.input.iter().rposition(|input| !input.is_empty());
    let inputs = last_input.map_or(0, |last| last + 1);
    // The bounds became attributes.
    let taken = if matches!(op, Op::Clip(_)) { inputs.min(1) } else { inputs };
    Ok(Some((op, taken)))
}

fn op(
    op_type: &str,
    attributes: &mut NodeAttributes<'_>,
    arguments: &Arguments<'_>,
) -> Result<Option<Op>, String> {
    Ok(Some(match op_type {
        "Conv" => return conv(attributes, arguments),
        "Gemm" => {
            if !arguments.is_float(0) {
                return Ok(None);
            }
            Op::Gemm(Gemm {
                alpha: attributes.float("alpha", 1.0)?,
                beta: attributes.float("beta", 1.0)?,
                transpose_a: attributes.flag("transA", false)?,
                transpose_b: attributes.flag("transB", false)?,
                activation: Activation::None,
            })
        }
        "MatMul" => {
            let vectors = (0..2).any(|index| arguments.rank(index).is_some_and(|rank| rank < 2));
            if vectors || !arguments.is_float(0) {
                return Ok(None);
            }
            Op::MatMul
        }
        "Relu" => Op::Unary(UnaryKind::Relu),
        "Identity" => Op::Unary(UnaryKind::Identity),
        "Add" => Op::Binary(BinaryKind::Add, Activation::None),
        "Sub" => Op::Binary(BinaryKind::Sub, Activation::None),
        "Mul" => Op::Binary(BinaryKind::Mul, Activation::None),
        "Div" => Op::Binary(BinaryKind::Div, Activation::None),
        "Clip" => return clip(arguments),
        "MaxPool" | "AveragePool" => return pool(op_type == "MaxPool", attributes, arguments),
        "GlobalMaxPool" => Op::GlobalPool(PoolKind::Max, Layout::Nchw),
        "GlobalAveragePool" => Op::GlobalPool(PoolKind::Average { count_include_pad: false }, Layout::Nchw),
        "BatchNormalization" => {
            let types: Vec<_> = (0..5).filter_map(|index| arguments.ty(index)).map(|ty| ty.dtype).collect();
            if attributes.flag("training_mode", false)? || types.windows(2).any(|pair| pair[0] != pair[1]) {
                return Ok(None);
            }
            Op::BatchNormalization(BatchNormalization {
                epsilon: attributes.float("epsilon", 1e-5)?,
                momentum: attributes.float("momentum", 0.9)?,
                layout: Layout::Nchw,
            })
        }
        "Reshape" => {
            if attributes.flag("allowzero", false)? {
                let target = arguments.constant(1).and_then(Tensor::to_integers);
                if target.is_none_or(|target| target.contains(&0)) {
                    return Ok(None);
                }
            }
            Op::Reshape
        }
        "Flatten" => Op::Flatten { axis: attributes.int("axis")?.unwrap_or(1) },
        "Transpose" => match (attributes.sizes("perm", 0)?, arguments.rank(0)) {
            (Some(permutation), _) => Op::Transpose { permutation },
            (None, Some(rank)) => Op::Transpose { permutation: (0..rank).rev().collect() },
            (None, None) => return Ok(None),
        },
        "QuantizeLinear" => return quantize(attributes, arguments),
        "DequantizeLinear" => {
            let scale = arguments.ty(1).map(|ty| ty.dtype);
            let output = attributes.dtype("output_dtype")?;
            if output.is_some() && output != scale || !arguments.is_float(1) {
                return Ok(None);
            }
            Op::DequantizeLinear(DequantizeLinear {
                axis: attributes.int("axis")?.unwrap_or(1),
                block_size: attributes.size("block_size", 0, 0)?,
            })
        }
        _ => return Ok(None),
    }))
}

fn conv(attributes: &mut NodeAttributes<'_>, arguments: &Arguments<'_>) -> Result<Option<Op>, String> {
    if arguments.ty(0).is_none() || arguments.ty(1).is_none() {
        return Err(String::from("expected 2 to 3 inputs: data, weight and perhaps a bias"));
    }
    let stated = attributes.sizes("kernel_shape", 1)?;
    let weight = arguments.spatial(1);
    if let (Some(stated), Some(weight)) = (&stated, &weight) {
        let same = stated.len() == weight.len()
            && stated.iter().zip(weight).all(|(&stated, taps)| taps.is_none_or(|taps| taps == stated));
        if !same {
            let found: Vec<_> = weight
                .iter()
                .map(|taps| taps.map_or_else(|| String::from("?"), |taps| taps.to_string()))
                .collect();
            return Err(format!(
                "attribute `kernel_shape` is {stated:?}, the weight's kernel is [{}]",
                found.join(", ")
            ));
        }
    }
    let kernel = match (stated, weight) {
        (Some(stated), _) => stated.into_iter().map(Some).collect(),
        (None, Some(weight)) => weight,
        (None, None) => return Ok(None),
    };
    let Some(window) = window(attributes, &kernel, arguments.spatial(0))? else {
        return Ok(None);
    };
    let groups = attributes.size("group", 1, 1)?;
    Ok(Some(Op::Conv(Conv { groups, window, layout: Layout::Nchw, activation: Activation::None })))
}

fn pool(
    max: bool,
    attributes: &mut NodeAttributes<'_>,
    arguments: &Arguments<'_>,
) -> Result<Option<Op>, String> {
    let kernel = attributes.sizes("kernel_shape", 1)?.ok_or("attribute `kernel_shape` is missing")?;
    let taps: Vec<_> = kernel.iter().copied().map(Some).collect();
    let Some(window) = window(attributes, &taps, arguments.spatial(0))? else {
        return Ok(None);
    };
    let kind = if max {
        // Only the order of indices depends on it, which an operator of one output does not give.
        attributes.int("storage_order")?;
        PoolKind::Max
    } else {
        PoolKind::Average { count_include_pad: attributes.flag("count_include_pad", false)? }
    };
    let ceil = attributes.flag("ceil_mode", false)?;
    Ok(Some(Op::Pool(Pool { kind, kernel, window, ceil, column_major: false, layout: Layout::Nchw })))
}

/// Strides, dilations and pads; `None` where `auto_pad` asks for extents that are not known.
fn window(
    attributes: &mut NodeAttributes<'_>,
    kernel: &[Option<usize>],
    extents: Option<Vec<Option<usize>>>,
) -> Result<Option<Window>, String> {
    let axes = kernel.len();
    let counted = |name: &str, numbers: Option<Vec<usize>>, count: usize, default: usize| match numbers {
        None => Ok(vec![default; count]),
        Some(numbers) if numbers.len() == count => Ok(numbers),
        Some(numbers) => Err(format!(
            "attribute `{name}`: expected {count} numbers for {axes} spatial axes, found {}",
            numbers.len()
        )),
    };
    let strides = counted("strides", attributes.sizes("strides", 1)?, axes, 1)?;
    let dilations = counted("dilations", attributes.sizes("dilations", 1)?, axes, 1)?;
    let pads = counted("pads", attributes.sizes("pads", 0)?, 2 * axes, 0)?;
    let mut window =
        Window { strides, dilations, pads_begin: pads[..axes].to_vec(), pads_end: pads[axes..].to_vec() };
    let lower = match attributes.string("auto_pad")? {
        None | Some(b"NOTSET") => return Ok(Some(window)),
        Some(_) if pads.iter().any(|&pad| pad != 0) => {
            return Err(String::from(
                "attributes `pads` and `auto_pad` are both given; expected one of them",
            ));
        }
        Some(b"VALID") => return Ok(Some(window)),
        Some(b"SAME_UPPER") => false,
        Some(b"SAME_LOWER") => true,
        Some(other) => {
            return Err(format!(
                "attribute `auto_pad`: expected NOTSET, VALID, SAME_UPPER or SAME_LOWER, found {}",
                String::from_utf8_lossy(other)
            ));
        }
    };
    let Some(extents) = extents else {
        return Ok(None);
    };
    for (axis, &taps) in kernel.iter().enumerate() {
        let (Some(Some(extent)), Some(taps)) = (extents.get(axis).copied(), taps) else {
            return Ok(None);
        };
        let reach = (taps - 1).checked_mul(window.dilations[axis]).and_then(|reach| reach.checked_add(1));
        let covered = (extent.div_ceil(window.strides[axis]).max(1) - 1).checked_mul(window.strides[axis]);
        let total = reach
            .zip(covered)
            .and_then(|(reach, covered)| covered.checked_add(reach))
            .ok_or("the kernel's extent overflows")?
            .saturating_sub(extent);
        let smaller = total / 2;
        (window.pads_begin[axis], window.pads_end[axis]) =
            if lower { (total - smaller, smaller) } else { (smaller, total - smaller) };
    }
    Ok(Some(window))
}

/// A limit whose bounds are constants.
fn clip(arguments: &Arguments<'_>) -> Result<Option<Op>, String> {
    let bound = |index: usize, absent: f32| match (arguments.ty(index), arguments.constant(index)) {
        (None, _) => Some(absent),
        (Some(_), Some(bound)) => match bound.as_f32()?.as_ref() {
            [bound] => Some(*bound),
            _ => None,
        },
        (Some(_), None) => None,
    };
    let (Some(min), Some(max)) = (bound(1, f32::NEG_INFINITY), bound(2, f32::INFINITY)) else {
        return Ok(None);
    };
    if min.is_nan() || max.is_nan() {
        return Err(String::from("a bound is NaN; expected a number"));
    }
    Ok(Some(Op::Clip(Clip { min, max })))
}

fn quantize(attributes: &mut NodeAttributes<'_>, arguments: &Arguments<'_>) -> Result<Option<Op>, String> {
    let stated = attributes.dtype("output_dtype")?;
    let precision = attributes.dtype("precision")?;
    if precision.is_some() || !arguments.is_float(0) || !arguments.is_float(1) {
        return Ok(None);
    }
    let zero_point = arguments.ty(2).map(|ty| ty.dtype);
    if let (Some(stated), Some(found)) = (stated, zero_point)
        && stated != found
    {
        return Err(format!("attribute `output_dtype` is {stated}, but the zero point is {found}"));
    }
    Ok(Some(Op::QuantizeLinear(QuantizeLinear {
        axis: attributes.int("axis")?.unwrap_or(1),
        block_size: attributes.size("block_size", 0, 0)?,
        saturate: attributes.flag("saturate", true)?,
        dtype: zero_point.or(stated).unwrap_or(DType::U8),
    })))
}
