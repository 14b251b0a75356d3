//! Operators of ONNX Runtime's own operator set, and those of the default one that stand for several here.

use calipers_ir::{
    Activation, BinaryKind, Creation, DType, DequantizeLinear, Normalize, Op, Product, Tensor, UnaryKind,
    ValueId,
};

use super::super::attributes::float_proto;
use super::super::messages::AttributeProto;
use super::graph::Fault;
use super::lowering::Lowering;
use super::packed;

/// Lowers an operator of the default operator set that stands for several; false for any other.
pub(super) fn default(node: &mut Lowering<'_>) -> Result<bool, Fault> {
    match node.op_type() {
        "Dropout" => dropout(node),
        _ => Ok(false),
    }
}

/// Lowers an operator of ONNX Runtime; false for any other, and for forms that are not understood.
pub(super) fn lower(node: &mut Lowering<'_>) -> Result<bool, Fault> {
    match node.op_type() {
        name @ ("QuantizeLinear" | "DequantizeLinear") => {
            let op = node.mapped(name, node.call.proto.attribute.clone(), &node.call.inputs)?;
            let inputs: Vec<ValueId> = node.call.inputs.iter().copied().flatten().collect();
            node.result(0, "y", op, &inputs)?;
        }
        "Gelu" => gelu(node, None, "none")?,
        "BiasGelu" => gelu(node, Some(node.input(1)?), "none")?,
        "FastGelu" => gelu(node, node.optional(1), "tanh")?,
        "QuickGelu" => {
            let alpha = node.attributes().float("alpha", 1.702)?;
            let x = node.input(0)?;
            let factor = node.float("alpha", alpha, node.ty(x).dtype)?;
            let scaled = node.binary("scaled", BinaryKind::Mul, x, factor)?;
            let gate = node.add("gate", Op::Unary(UnaryKind::Sigmoid), &[scaled])?;
            node.result(0, "y", Op::Binary(BinaryKind::Mul, Activation::None), &[x, gate])?;
        }
        "FusedMatMul" => return fused_matmul(node),
        "FusedConv" => return fused(node, "Conv"),
        "FusedGemm" => return fused(node, "Gemm"),
        "SkipLayerNormalization" => return skip_normalization(node, true),
        "SkipSimplifiedLayerNormalization" => return skip_normalization(node, false),
        "RotaryEmbedding" => return rotary(node),
        "MatMulNBits" => return packed_matmul(node),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Dropout of a trained model: the input, and a mask of all elements.
fn dropout(node: &mut Lowering<'_>) -> Result<bool, Fault> {
    let number = |id: Option<ValueId>| id.map(|id| node.data(id).map(|tensor| tensor.bytes()));
    let is_zero = |bytes: Option<Option<bytes::Bytes>>| {
        bytes.is_some_and(|bytes| bytes.is_some_and(|bytes| bytes.iter().all(|&byte| byte == 0)))
    };
    let training = node.optional(2).is_some() && !is_zero(number(node.optional(2)));
    if training && !is_zero(number(node.optional(1))) {
        return Ok(false);
    }
    let x = node.input(0)?;
    if node.output(1).is_some() {
        let mask = Tensor::new(DType::Bool, [1], vec![1u8].into()).map_err(|error| error.to_string())?;
        let shape = node.add("shape", Op::Creation(Creation::Shape { start: 0, end: None }), &[x])?;
        if node.output(0).is_some() {
            node.result(0, "y", Op::Unary(UnaryKind::Identity), &[x])?;
        }
        node.result(1, "mask", Op::Creation(Creation::ConstantOfShape { value: Some(mask) }), &[shape])?;
        return Ok(true);
    }
    node.result(0, "y", Op::Unary(UnaryKind::Identity), &[x])?;
    Ok(true)
}

fn gelu(node: &mut Lowering<'_>, bias: Option<ValueId>, approximate: &str) -> Result<(), Fault> {
    let mut x = node.input(0)?;
    if let Some(bias) = bias {
        x = node.binary("biased", BinaryKind::Add, x, bias)?;
    }
    node.result(0, "y", Op::Unary(UnaryKind::Gelu { approximate: approximate.to_owned() }), &[x])
}

/// `alpha a b` with the last two axes of each exchanged on demand.
fn fused_matmul(node: &mut Lowering<'_>) -> Result<bool, Fault> {
    let mut attributes = node.attributes();
    let alpha = attributes.float("alpha", 1.0)?;
    if attributes.flag("transBatchA", false)? || attributes.flag("transBatchB", false)? {
        return Ok(false);
    }
    let mut sides = [node.input(0)?, node.input(1)?];
    for (side, name) in sides.iter_mut().zip(["transA", "transB"]) {
        if !attributes.flag(name, false)? {
            continue;
        }
        let Some(rank) = node.rank(*side) else { return Ok(false) };
        if rank < 2 {
            continue;
        }
        let mut permutation: Vec<usize> = (0..rank).collect();
        permutation.swap(rank - 2, rank - 1);
        *side = node.add(name, Op::Transpose { permutation }, &[*side])?;
    }
    if alpha == 1.0 {
        node.result(0, "y", Op::MatMul, &sides)?;
        return Ok(true);
    }
    let y = node.proper(Op::MatMul, &sides.map(Some))?;
    let factor = node.float("alpha", alpha, node.ty(y).dtype)?;
    node.result(0, "scaled", Op::Binary(BinaryKind::Mul, Activation::None), &[y, factor])?;
    Ok(true)
}

/// A convolution or matrix product, a tensor added to it, an activation.
fn fused(node: &mut Lowering<'_>, op_type: &str) -> Result<bool, Fault> {
    let (own, rest): (Vec<AttributeProto>, Vec<AttributeProto>) = node
        .call
        .proto
        .attribute
        .iter()
        .cloned()
        .partition(|attribute| attribute.name.starts_with("activation"));
    let text = |name: &str| own.iter().find(|attribute| attribute.name == name);
    let activation = text("activation").map_or_else(Vec::new, |attribute| attribute.s().to_vec());
    let mut parameters =
        text("activation_params").map_or_else(Vec::new, |attribute| attribute.floats.clone());
    for name in ["activation_alpha", "activation_beta", "activation_gamma"] {
        parameters.extend(text(name).map(|attribute| attribute.f()));
    }
    let parameter = |index: usize, default: f32| parameters.get(index).copied().unwrap_or(default);
    let inputs = &node.call.inputs[..node.call.inputs.len().min(3)];
    let attributes = |names: &[(&str, f32)]| {
        names
            .iter()
            .enumerate()
            .map(|(index, &(name, default))| float_proto(name, parameter(index, default)))
            .collect::<Vec<_>>()
    };
    let after = match activation.as_slice() {
        b"" => None,
        b"Relu" => Some(("Relu", Vec::new())),
        b"Sigmoid" => Some(("Sigmoid", Vec::new())),
        b"Tanh" => Some(("Tanh", Vec::new())),
        b"LeakyRelu" => Some(("LeakyRelu", attributes(&[("alpha", 0.01)]))),
        b"HardSigmoid" => Some(("HardSigmoid", attributes(&[("alpha", 0.2), ("beta", 0.5)]))),
        b"Clip" => Some(("Clip", Vec::new())),
        _ => return Ok(false),
    };
    let op = node.mapped(op_type, rest, inputs)?;
    let mut y = node.proper(op, inputs)?;
    if let Some(sum) = node.optional(3) {
        y = node.binary("sum", BinaryKind::Add, y, sum)?;
    }
    let op = match after {
        None => Op::Unary(UnaryKind::Identity),
        Some(("Clip", _)) => Op::Clip(calipers_ir::Clip {
            min: parameter(0, f32::NEG_INFINITY),
            max: parameter(1, f32::INFINITY),
        }),
        Some((name, attributes)) => node.mapped(name, attributes, &[Some(y)])?,
    };
    node.result(0, "activation", op, &[y])?;
    Ok(true)
}

/// Layer or root-mean-square normalization of `input + skip + bias`, whose sum is the last output.
fn skip_normalization(node: &mut Lowering<'_>, with_mean: bool) -> Result<bool, Fault> {
    let (x, skip, gamma) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let (beta, bias) =
        if with_mean { (node.optional(3), node.optional(4)) } else { (None, node.optional(3)) };
    if node.output(1).is_some() || node.output(2).is_some() {
        return Ok(false);
    }
    let epsilon = node.attributes().float("epsilon", 1e-12)?;
    let sum = Op::Binary(BinaryKind::Add, Activation::None);
    let mut parts = (x, skip);
    if let Some(bias) = bias {
        parts = (node.add("skip", sum.clone(), &[x, skip])?, bias);
    }
    let added = match node.output(3).cloned() {
        None => node.add("sum", sum, &[parts.0, parts.1])?,
        Some(output) => {
            let name = node.graph.fresh_node_name(&format!("{}/sum", node.call.name));
            let ids = node.graph.add(&name, sum, &[Some(parts.0), Some(parts.1)], &[output])?;
            ids.first().copied().ok_or("the sum has no output")?
        }
    };
    let op = match with_mean {
        true => Normalize::Layer { axis: -1, epsilon, stash_type: 1 },
        false => Normalize::Rms { axis: -1, epsilon, stash_type: 1 },
    };
    let inputs: Vec<ValueId> = [added, gamma].into_iter().chain(beta).collect();
    node.result(0, "y", Op::Normalize(op), &inputs)?;
    Ok(true)
}

/// The operator of the same name of ONNX, where positions are given one by one.
fn rotary(node: &mut Lowering<'_>) -> Result<bool, Fault> {
    let mut attributes = node.attributes();
    let scale = attributes.float("scale", 1.0)?;
    let packed = attributes.flag("is_packed_batching", false)?;
    let (x, positions) = (node.input(0)?, node.input(1)?);
    let (cosine, sine) = (node.input(2)?, node.input(3)?);
    if scale != 1.0 || packed || node.rank(positions) != Some(2) {
        return Ok(false);
    }
    let interleaved = attributes.flag("interleaved", false)?;
    let rotary_embedding_dim = attributes.int("rotary_embedding_dim")?.unwrap_or(0);
    let mut num_heads = attributes.int("num_heads")?.unwrap_or(0);
    if num_heads == 0 && node.rank(x) == Some(3) {
        let last = |id: ValueId| node.ty(id).shape.as_ref().and_then(|shape| shape.last()?.known());
        let (Some(hidden), Some(half)) = (last(x), last(cosine)) else { return Ok(false) };
        if rotary_embedding_dim != 0 || half == 0 {
            return Ok(false);
        }
        num_heads = (hidden / (2 * half)) as i64;
    }
    let op = Op::Product(Product::RotaryEmbedding { interleaved, num_heads, rotary_embedding_dim });
    node.result(0, "y", op, &[x, cosine, sine, positions])?;
    Ok(true)
}

/// `a` times the transposed matrix of integers in blocks of the inner axis, plus a bias.
fn packed_matmul(node: &mut Lowering<'_>) -> Result<bool, Fault> {
    if node.optional(4).is_some() {
        return Ok(false);
    }
    let mut attributes = node.attributes();
    let bits = attributes.size("bits", 1, 4)?;
    let size = |attributes: &mut super::super::attributes::NodeAttributes<'_>, name: &str| match attributes
        .size(name, 1, 0)?
    {
        0 => Err(format!("attribute `{name}` is missing")),
        size => Ok(size),
    };
    let (rows, columns) = (size(&mut attributes, "N")?, size(&mut attributes, "K")?);
    let block_size = size(&mut attributes, "block_size")?;
    let form = packed::Form { bits, rows, columns, block_size };
    let (x, b, scales) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let (Some(weight), Some(scale)) = (node.data(b), node.data(scales)) else { return Ok(false) };
    let weight = form.weight(weight)?;
    let scale = form.scales(scale)?;
    let zero_point = match node.optional(3) {
        None => form.middle()?,
        Some(id) => match node.data(id) {
            Some(tensor) if tensor.dtype() == DType::U8 => form.zero_points(tensor)?,
            _ => return Ok(false),
        },
    };
    let weight = node.constant("weight", weight)?;
    let scale = node.constant("scales", scale)?;
    let zero_point = node.constant("zero_points", zero_point)?;
    let dequantize = Op::DequantizeLinear(DequantizeLinear { axis: 1, block_size });
    let weight = node.add("dequantize", dequantize, &[weight, scale, zero_point])?;
    let weight = node.add("transpose", Op::Transpose { permutation: vec![1, 0] }, &[weight])?;
    match node.optional(5) {
        None => node.result(0, "y", Op::MatMul, &[x, weight])?,
        Some(bias) => {
            let y = node.proper(Op::MatMul, &[Some(x), Some(weight)])?;
            node.result(0, "biased", Op::Binary(BinaryKind::Add, Activation::None), &[y, bias])?;
        }
    }
    Ok(true)
}
