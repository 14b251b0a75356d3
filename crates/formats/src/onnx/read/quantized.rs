//! Operators on integers with scales beside them, as Dequantize, the operator on real numbers, Quantize.

use calipers_ir::{
    Activation, BinaryKind, DType, Gemm, Movement, Op, Product, Reduce, Scanning, Select, UnaryKind, ValueId,
};

use super::super::attributes::int_proto;
use super::graph::Fault;
use super::lowering::{Lowering, Quantized};

/// Lowers a quantized operator of the default operator set; false for any other operator.
pub(super) fn lower(node: &mut Lowering<'_>) -> Result<bool, Fault> {
    match node.op_type() {
        "QLinearConv" => convolution(node)?,
        "QLinearMatMul" => matmul(node)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Lowers a quantized operator of ONNX Runtime's own operator set; false for any other operator.
pub(super) fn lower_contributed(node: &mut Lowering<'_>) -> Result<bool, Fault> {
    match node.op_type() {
        "QLinearConv" => convolution(node)?,
        "QLinearAdd" => binary(node, BinaryKind::Add)?,
        "QLinearMul" => binary(node, BinaryKind::Mul)?,
        "QLinearSigmoid" => unary(node, Op::Unary(UnaryKind::Sigmoid))?,
        "QLinearLeakyRelu" => {
            let alpha = node.attributes().float("alpha", 0.01)?;
            unary(node, Op::Unary(UnaryKind::LeakyRelu { alpha }))?;
        }
        "QLinearSoftmax" => {
            let mut attributes = node.attributes();
            let axis = attributes.int("axis")?.unwrap_or(-1);
            let opset = attributes.int("opset")?.unwrap_or(13);
            let rank = node.rank(node.input(0)?);
            let last = axis == -1 || rank.is_some_and(|rank| axis + 1 == rank as i64);
            let flatten = opset < 13 && !last;
            unary(node, Op::Scanning(Scanning::Softmax { axis, flatten, beta: 1.0 }))?;
        }
        "QLinearAveragePool" => pool(node)?,
        "QLinearGlobalAveragePool" => {
            let op = node.mapped("GlobalAveragePool", Vec::new(), &[])?;
            channels_first(node, op)?;
        }
        "QLinearReduceMean" => reduce_mean(node)?,
        "QLinearConcat" => concat(node)?,
        "QLinearWhere" => {
            let x = node.quantized(1)?;
            let x = node.dequantize("x", x, 1)?;
            let y = node.quantized(4)?;
            let y = node.dequantize("y", y, 1)?;
            let condition = node.input(0)?;
            let chosen = node.proper(Op::Select(Select::Where), &[Some(condition), Some(x), Some(y)])?;
            node.quantize(chosen, node.input(7)?, node.optional(8), 1)?;
        }
        "QGemm" => gemm(node)?,
        "DynamicQuantizeMatMul" => dynamic_matmul(node)?,
        "MatMulIntegerToFloat" => {
            let (a, b) = (node.input(0)?, node.input(1)?);
            let scales = node.product("scale", node.input(2)?, node.input(3)?)?;
            let zero_points = [node.optional(4), node.optional(5)];
            integer_matmul(node, (a, b), zero_points, scales, node.optional(6))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn convolution(node: &mut Lowering<'_>) -> Result<(), Fault> {
    let x = node.quantized(0)?;
    let w = node.quantized(3)?;
    let scales = (x.scale, w.scale);
    let x = node.dequantize("x", x, 1)?;
    let w = node.dequantize("w", w, 0)?;
    let mut inputs = vec![Some(x), Some(w)];
    if let Some(bias) = node.optional(8) {
        // Sums of products count in steps of the product of both scales.
        let scale = node.product("bias_scale", scales.0, scales.1)?;
        let bias = Quantized { data: bias, scale, zero_point: None };
        inputs.push(Some(node.dequantize("bias", bias, 0)?));
    }
    let mut attributes = node.call.proto.attribute.clone();
    attributes.retain(|attribute| attribute.name != "channels_last" || attribute.i() != 0);
    let conv = node.mapped("Conv", attributes, &inputs)?;
    let y = node.proper(conv, &inputs)?;
    node.quantize(y, node.input(6)?, node.optional(7), 1)
}

/// Scales of rows of the left matrix, columns of the right one and rows of the result.
fn matmul(node: &mut Lowering<'_>) -> Result<(), Fault> {
    let a = node.quantized(0)?;
    let a = node.dequantize("a", a, -2)?;
    let b = node.quantized(3)?;
    let b = node.dequantize("b", b, -1)?;
    let y = node.proper(Op::MatMul, &[Some(a), Some(b)])?;
    node.quantize(y, node.input(6)?, node.optional(7), -2)
}

fn binary(node: &mut Lowering<'_>, kind: BinaryKind) -> Result<(), Fault> {
    let a = node.quantized(0)?;
    let a = node.dequantize("a", a, 1)?;
    let b = node.quantized(3)?;
    let b = node.dequantize("b", b, 1)?;
    let y = node.proper(Op::Binary(kind, Activation::None), &[Some(a), Some(b)])?;
    node.quantize(y, node.input(6)?, node.optional(7), 1)
}

fn unary(node: &mut Lowering<'_>, op: Op) -> Result<(), Fault> {
    let x = node.quantized(0)?;
    let x = node.dequantize("x", x, 1)?;
    let y = node.proper(op, &[Some(x)])?;
    node.quantize(y, node.input(3)?, node.optional(4), 1)
}

fn pool(node: &mut Lowering<'_>) -> Result<(), Fault> {
    let mut attributes = node.call.proto.attribute.clone();
    attributes.retain(|attribute| attribute.name != "channels_last");
    let same = attributes.iter().any(|attribute| attribute.name == "auto_pad" && attribute.s() != b"NOTSET");
    if same && node.attributes().flag("channels_last", false)? {
        return Err(Fault::from("`auto_pad` is not supported with channels last; give `pads`"));
    }
    let x = node.input(0)?;
    let pool = node.mapped("AveragePool", attributes, &[Some(x)])?;
    channels_first(node, pool)
}

/// A pooling, between two transpositions where the channels stand last.
fn channels_first(node: &mut Lowering<'_>, pool: Op) -> Result<(), Fault> {
    let x = node.quantized(0)?;
    let rank = node.rank(x.data);
    let mut x = node.dequantize("x", x, 1)?;
    if !node.attributes().flag("channels_last", false)? {
        let y = node.proper(pool, &[Some(x)])?;
        return node.quantize(y, node.input(3)?, node.optional(4), 1);
    }
    let rank =
        rank.filter(|&rank| rank >= 3).ok_or("channels last need an input of known rank of 3 or more")?;
    let first: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    let last: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
    x = node.add("channels_first", Op::Transpose { permutation: first }, &[x])?;
    let y = node.proper(pool, &[Some(x)])?;
    let y = node.add("channels_last", Op::Transpose { permutation: last }, &[y])?;
    node.quantize(y, node.input(3)?, node.optional(4), 1)
}

fn reduce_mean(node: &mut Lowering<'_>) -> Result<(), Fault> {
    let mut attributes = node.attributes();
    let axes = attributes.ints("axes")?;
    let keepdims = attributes.flag("keepdims", true)?;
    let x = node.quantized(0)?;
    let x = node.dequantize("x", x, 1)?;
    let mut inputs = vec![Some(x)];
    if let Some(axes) = axes {
        inputs.push(Some(node.ints("axes", &axes)?));
    }
    let y = node.proper(Op::Reduce(Reduce::Mean { keepdims, noop_with_empty_axes: false }), &inputs)?;
    node.quantize(y, node.input(3)?, node.optional(4), 1)
}

fn concat(node: &mut Lowering<'_>) -> Result<(), Fault> {
    let axis = node.attributes().int("axis")?.ok_or("attribute `axis` is missing")?;
    let mut parts = Vec::new();
    for (index, at) in (2..node.call.inputs.len()).step_by(3).enumerate() {
        let part = node.quantized(at)?;
        parts.push(Some(node.dequantize(&format!("part_{index}"), part, 1)?));
    }
    let y = node.proper(Op::Movement(Movement::Concat { axis }), &parts)?;
    node.quantize(y, node.input(0)?, node.optional(1), 1)
}

/// `alpha a b + c`, where `c` counts in steps of `alpha` times both scales; a float without an output scale.
fn gemm(node: &mut Lowering<'_>) -> Result<(), Fault> {
    let mut attributes = node.attributes();
    let alpha = attributes.float("alpha", 1.0)?;
    let transpose_a = attributes.flag("transA", false)?;
    let transpose_b = attributes.flag("transB", false)?;
    let (a, b) = (node.quantized(0)?, node.quantized(3)?);
    let scales = (a.scale, b.scale);
    let a = node.dequantize("a", a, 1)?;
    let b = node.dequantize("b", b, if transpose_b { 0 } else { 1 })?;
    let mut inputs = vec![Some(a), Some(b)];
    if let Some(c) = node.optional(6) {
        let mut scale = node.product("c_scale", scales.0, scales.1)?;
        if alpha != 1.0 {
            let factor = node.float("alpha", alpha, DType::F32)?;
            scale = node.product("c_scale", scale, factor)?;
        }
        let c = Quantized { data: c, scale, zero_point: None };
        inputs.push(Some(node.dequantize("c", c, -1)?));
    }
    let gemm = Op::Gemm(Gemm { alpha, beta: 1.0, transpose_a, transpose_b, activation: Activation::None });
    match node.optional(7) {
        Some(scale) => {
            let y = node.proper(gemm, &inputs)?;
            node.quantize(y, scale, node.optional(8), 1)
        }
        None => {
            let inputs: Vec<ValueId> = inputs.into_iter().flatten().collect();
            node.result(0, "gemm", gemm, &inputs)
        }
    }
}

fn dynamic_matmul(node: &mut Lowering<'_>) -> Result<(), Fault> {
    let (a, b, b_scale) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let quantized = node.several("quantize", Op::DynamicQuantizeLinear, &[a], 3)?;
    let [a, a_scale, a_zero_point] = quantized.as_slice() else {
        return Err(Fault::from("expected three results of the quantization"));
    };
    let scales = node.product("scale", *a_scale, b_scale)?;
    integer_matmul(node, (*a, b), [Some(*a_zero_point), node.optional(3)], scales, node.optional(4))
}

/// `scales * (a - a_zero_point) (b - b_zero_point) + bias`, the product in integers.
fn integer_matmul(
    node: &mut Lowering<'_>,
    (a, b): (ValueId, ValueId),
    [a_zero_point, b_zero_point]: [Option<ValueId>; 2],
    scales: ValueId,
    bias: Option<ValueId>,
) -> Result<(), Fault> {
    let sums =
        node.proper(Op::Product(Product::MatMulInteger), &[Some(a), Some(b), a_zero_point, b_zero_point])?;
    let to = node.ty(scales).dtype;
    let cast =
        node.mapped("Cast", vec![int_proto("to", super::super::types::code_of(to).into())], &[Some(sums)])?;
    let sums = node.add("cast", cast, &[sums])?;
    let scale = Op::Binary(BinaryKind::Mul, Activation::None);
    match bias {
        None => node.result(0, "scaled", scale, &[sums, scales]),
        Some(bias) => {
            let scaled = node.add("scaled", scale, &[sums, scales])?;
            node.result(0, "biased", Op::Binary(BinaryKind::Add, Activation::None), &[scaled, bias])
        }
    }
}
