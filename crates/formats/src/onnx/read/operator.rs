//! Nodes of the default operator set to operators. What an operator cannot say is kept as an opaque node.

use calipers_ir::{
    Activation, Attribute, Attributes, BatchNormalization, Clip, Conv, ConvTranspose, DType,
    DequantizeLinear, Dim, Gemm, Layout, Normalize, Op, Pool, PoolKind, QuantizeLinear, Select, Tensor,
    TensorType,
};

use super::super::attributes::{self, NodeAttributes};
use super::super::messages::NodeProto;
use super::super::tensor::TensorReader;
use super::super::types::dtype_of;
use super::super::versions;
use super::window;

/// What is known of a node's inputs, in order.
pub(super) struct Arguments<'a> {
    pub types: &'a [Option<&'a TensorType>],
    pub constants: &'a [Option<&'a Tensor>],
}

impl<'a> Arguments<'a> {
    pub fn ty(&self, index: usize) -> Option<&'a TensorType> {
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

/// What a node is.
pub(super) enum Mapping {
    /// An operator, and how many of the node's inputs it takes.
    Operator(Op, usize),
    /// One that no operator says, and why.
    Kept(String),
}

/// What a node of the default operator set, in the newest form, is.
pub(super) fn map(
    node: &NodeProto,
    arguments: &Arguments<'_>,
    tensors: &mut TensorReader,
) -> Result<Mapping, String> {
    let inputs = arguments.types.len();
    let mut attributes = NodeAttributes::new(&node.attribute);
    let op = match special(node, &mut attributes, arguments)? {
        Special::Operator(op) => {
            attributes.finish()?;
            op
        }
        Special::Kept(why) => return Ok(Mapping::Kept(why.to_owned())),
        Special::Family => match family(node, tensors)? {
            Some(op) => op,
            None => {
                let why = "the operator is not one of those that are understood";
                return Ok(Mapping::Kept(why.to_owned()));
            }
        },
    };
    if let Op::Select(Select::Cast { to, .. }) = &op
        && (*to == DType::String || arguments.ty(0).is_some_and(|ty| ty.dtype == DType::String))
    {
        return Ok(Mapping::Kept(String::from("conversions of strings are not understood")));
    }
    // The bounds became attributes.
    let taken = if matches!(op, Op::Clip(_)) { inputs.min(1) } else { inputs };
    Ok(Mapping::Operator(op, taken))
}

/// The operator of a family whose attributes are those of ONNX; `None` when no family has it.
fn family(node: &NodeProto, tensors: &mut TensorReader) -> Result<Option<Op>, String> {
    if versions::first_version(&node.op_type).is_none() {
        return Ok(None);
    }
    let mut named = Attributes::new();
    for attribute in &node.attribute {
        let value = match attributes::keep(attribute.clone(), tensors)? {
            Attribute::Int(0) if versions::is_storage_type(&attribute.name) => continue,
            Attribute::Int(code) if versions::is_storage_type(&attribute.name) => Attribute::Type(
                dtype_of(code).map_err(|reason| format!("attribute `{}`: {reason}", attribute.name))?,
            ),
            value => value,
        };
        if named.insert(attribute.name.clone(), value).is_some() {
            return Err(format!("attribute `{}` is given twice", attribute.name));
        }
    }
    Op::from_attributes(&node.op_type, named).map(Some)
}

/// An operator whose attributes here differ from those of ONNX.
enum Special {
    Operator(Op),
    Kept(&'static str),
    Family,
}

impl From<Op> for Special {
    fn from(op: Op) -> Self {
        Special::Operator(op)
    }
}

const OPEN_PADS: &str =
    "`auto_pad` depends on extents that the file does not state (fix the extents of the inputs)";
const FLOATS: &str = "the operator is understood for floats alone";

fn special(
    node: &NodeProto,
    attributes: &mut NodeAttributes<'_>,
    arguments: &Arguments<'_>,
) -> Result<Special, String> {
    let op_type = node.op_type.as_str();
    let outputs = node.output.iter().rposition(|output| !output.is_empty()).map_or(0, |last| last + 1);
    let op = match op_type {
        "Conv" | "ConvInteger" => match conv(attributes, arguments)? {
            Some(conv) if op_type == "Conv" => Op::Conv(conv),
            Some(conv) => Op::ConvInteger(conv),
            None => return Ok(Special::Kept(OPEN_PADS)),
        },
        "ConvTranspose" => match transposed(attributes, arguments)? {
            Some(conv) => Op::ConvTranspose(conv),
            None => return Ok(Special::Kept(OPEN_PADS)),
        },
        "Gemm" => {
            if !arguments.is_float(0) {
                return Ok(Special::Kept(FLOATS));
            }
            Op::Gemm(Gemm {
                alpha: attributes.float("alpha", 1.0)?,
                beta: attributes.float("beta", 1.0)?,
                transpose_a: attributes.flag("transA", false)?,
                transpose_b: attributes.flag("transB", false)?,
                activation: Activation::None,
            })
        }
        "MatMul" => Op::MatMul,
        "Clip" => match clip(arguments)? {
            Some(clip) => Op::Clip(clip),
            None => Op::Select(Select::Limit),
        },
        "MaxPool" | "AveragePool" | "LpPool" => match pool(op_type, attributes, arguments)? {
            Some(pool) => Op::Pool(pool),
            None => return Ok(Special::Kept(OPEN_PADS)),
        },
        "GlobalMaxPool" => Op::GlobalPool(PoolKind::Max, Layout::Nchw),
        "GlobalAveragePool" => Op::GlobalPool(PoolKind::Average { count_include_pad: false }, Layout::Nchw),
        "GlobalLpPool" => Op::GlobalPool(PoolKind::Lp { p: attributes.size("p", 1, 2)? }, Layout::Nchw),
        "BatchNormalization" => {
            let types: Vec<_> = (0..5).filter_map(|index| arguments.ty(index)).map(|ty| ty.dtype).collect();
            if attributes.flag("training_mode", false)? || outputs > 1 {
                return Ok(Special::Kept("batch normalization in training mode is not supported"));
            }
            if types.windows(2).any(|pair| pair[0] != pair[1]) {
                return Ok(Special::Kept("batch normalization is understood for arguments of one type"));
            }
            Op::BatchNormalization(BatchNormalization {
                epsilon: attributes.float("epsilon", 1e-5)?,
                momentum: attributes.float("momentum", 0.9)?,
                layout: Layout::Nchw,
            })
        }
        "Reshape" => {
            // A 0 means an extent of 0 then, which differs from a copied one only for empty tensors.
            if attributes.flag("allowzero", false)? {
                let target = arguments.constant(1).and_then(Tensor::to_integers);
                let shape = arguments.ty(0).and_then(|ty| ty.shape.as_ref());
                let empty = shape.is_some_and(|shape| shape.contains(&Dim::Known(0)));
                if empty || target.is_some_and(|target| target.contains(&0)) {
                    return Ok(Special::Kept("shapes with extents of 0 (`allowzero`) are not supported"));
                }
            }
            Op::Reshape
        }
        "Flatten" => Op::Flatten { axis: attributes.int("axis")?.unwrap_or(1) },
        "Transpose" => match (attributes.sizes("perm", 0)?, arguments.rank(0)) {
            (Some(permutation), _) => Op::Transpose { permutation },
            (None, Some(rank)) => Op::Transpose { permutation: (0..rank).rev().collect() },
            (None, None) => {
                return Ok(Special::Kept("the order of axes depends on a rank that the file does not state"));
            }
        },
        "QuantizeLinear" => return quantize(attributes, arguments),
        "DequantizeLinear" => {
            let scale = arguments.ty(1).map(|ty| ty.dtype);
            let output = attributes.dtype("output_dtype")?;
            if output.is_some() && output != scale || !arguments.is_float(1) {
                return Ok(Special::Kept("a result of another type than the scale's is not supported"));
            }
            Op::DequantizeLinear(DequantizeLinear {
                axis: attributes.int("axis")?.unwrap_or(1),
                block_size: attributes.size("block_size", 0, 0)?,
            })
        }
        "DynamicQuantizeLinear" => Op::DynamicQuantizeLinear,
        // ONNX Runtime writes it into the default domain.
        "SimplifiedLayerNormalization" if outputs < 2 => {
            let axis = attributes.int("axis")?.unwrap_or(-1);
            let stash_type = attributes.int("stash_type")?.unwrap_or(1);
            let epsilon = attributes.float("epsilon", 1e-5)?;
            Op::Normalize(Normalize::Rms { axis, epsilon, stash_type })
        }
        _ => return Ok(Special::Family),
    };
    Ok(op.into())
}

/// The taps of a kernel, from the attribute and the weight, which must agree; `None` where neither tells.
fn kernel(
    attributes: &mut NodeAttributes<'_>,
    arguments: &Arguments<'_>,
) -> Result<Option<Vec<Option<usize>>>, String> {
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
    Ok(match (stated, weight) {
        (Some(stated), _) => Some(stated.into_iter().map(Some).collect()),
        (None, weight) => weight,
    })
}

fn conv(attributes: &mut NodeAttributes<'_>, arguments: &Arguments<'_>) -> Result<Option<Conv>, String> {
    let Some(kernel) = kernel(attributes, arguments)? else { return Ok(None) };
    let Some(window) = window::forward(attributes, &kernel, arguments.spatial(0))? else {
        return Ok(None);
    };
    let groups = attributes.size("group", 1, 1)?;
    Ok(Some(Conv { groups, window, layout: Layout::Nchw, activation: Activation::None }))
}

fn transposed(
    attributes: &mut NodeAttributes<'_>,
    arguments: &Arguments<'_>,
) -> Result<Option<ConvTranspose>, String> {
    let Some(kernel) = kernel(attributes, arguments)? else { return Ok(None) };
    let Some((window, output_padding)) = window::transposed(attributes, &kernel, arguments.spatial(0))?
    else {
        return Ok(None);
    };
    Ok(Some(ConvTranspose {
        groups: attributes.size("group", 1, 1)?,
        window,
        output_padding,
        layout: Layout::Nchw,
        activation: Activation::None,
    }))
}

fn pool(
    op_type: &str,
    attributes: &mut NodeAttributes<'_>,
    arguments: &Arguments<'_>,
) -> Result<Option<Pool>, String> {
    let kernel = attributes.sizes("kernel_shape", 1)?.ok_or("attribute `kernel_shape` is missing")?;
    let taps: Vec<_> = kernel.iter().copied().map(Some).collect();
    let Some(window) = window::forward(attributes, &taps, arguments.spatial(0))? else {
        return Ok(None);
    };
    let mut column_major = false;
    let kind = match op_type {
        "MaxPool" => {
            column_major = attributes.flag("storage_order", false)?;
            PoolKind::Max
        }
        "AveragePool" => {
            PoolKind::Average { count_include_pad: attributes.flag("count_include_pad", false)? }
        }
        _ => PoolKind::Lp { p: attributes.size("p", 1, 2)? },
    };
    let ceil = attributes.flag("ceil_mode", false)?;
    Ok(Some(Pool { kind, kernel, window, ceil, column_major, layout: Layout::Nchw }))
}

/// A limit whose bounds are constants.
fn clip(arguments: &Arguments<'_>) -> Result<Option<Clip>, String> {
    if arguments.ty(0).is_some_and(|ty| ty.dtype != DType::F32) {
        return Ok(None);
    }
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
    Ok(Some(Clip { min, max }))
}

fn quantize(attributes: &mut NodeAttributes<'_>, arguments: &Arguments<'_>) -> Result<Special, String> {
    let stated = attributes.dtype("output_dtype")?;
    let precision = attributes.dtype("precision")?;
    if precision.is_some_and(|dtype| dtype != DType::F32) || !arguments.is_float(0) || !arguments.is_float(1)
    {
        return Ok(Special::Kept(
            "quantization of integers, or in another precision than f32, is not supported",
        ));
    }
    let zero_point = arguments.ty(2).map(|ty| ty.dtype);
    if let (Some(stated), Some(found)) = (stated, zero_point)
        && stated != found
    {
        return Err(format!("attribute `output_dtype` is {stated}, but the zero point is {found}"));
    }
    let op = Op::QuantizeLinear(QuantizeLinear {
        axis: attributes.int("axis")?.unwrap_or(1),
        block_size: attributes.size("block_size", 0, 0)?,
        saturate: attributes.flag("saturate", true)?,
        dtype: zero_point.or(stated).unwrap_or(DType::U8),
    });
    Ok(op.into())
}
