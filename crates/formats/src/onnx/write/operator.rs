//! Operators to attributes of the newest form of the default operator set.

use calipers_ir::{
    Attribute, DType, Graph, Indexing, Layout, Node, Normalize, Op, Pool, PoolKind, Scanning, Select, Window,
};

use super::super::attributes::to_proto;
use super::super::messages::AttributeProto;
use super::super::types::code_of;
use super::super::versions;

/// The name of an operator in ONNX, or why it has none.
pub(super) fn op_type(op: &Op) -> Result<&str, String> {
    match op {
        Op::Select(Select::Limit) => Ok("Clip"),
        Op::Opaque(opaque) => Ok(&opaque.op_type),
        op => match versions::first_version(op.name()) {
            Some(_) => Ok(op.name()),
            None => Err(String::from("ONNX has no such operator; it is one of TFLite")),
        },
    }
}

/// The attributes of a node, or why ONNX cannot say them.
pub(super) fn attributes(graph: &Graph, node: &Node) -> Result<Vec<AttributeProto>, String> {
    let mut out = Writer(Vec::new());
    match &node.op {
        Op::Conv(conv) | Op::ConvInteger(conv) => {
            nchw(conv.layout)?;
            out.kernel(graph, node);
            out.window(&conv.window);
            out.int("group", conv.groups as i64);
        }
        Op::ConvTranspose(conv) => {
            nchw(conv.layout)?;
            out.kernel(graph, node);
            out.window(&conv.window);
            out.int("group", conv.groups as i64);
            if conv.output_padding.iter().any(|&padding| padding != 0) {
                out.sizes("output_padding", &conv.output_padding);
            }
        }
        Op::Gemm(gemm) => {
            out.float("alpha", gemm.alpha);
            out.float("beta", gemm.beta);
            out.int("transA", gemm.transpose_a.into());
            out.int("transB", gemm.transpose_b.into());
        }
        Op::MatMul | Op::Reshape | Op::DynamicQuantizeLinear => {}
        Op::Scanning(Scanning::Softmax { beta, .. }) if *beta != 1.0 => {
            return Err(format!(
                "ONNX has no factor of the input, which is {beta}; multiply the input by it"
            ));
        }
        Op::Scanning(
            Scanning::Softmax { axis, .. }
            | Scanning::LogSoftmax { axis, .. }
            | Scanning::Hardmax { axis, .. },
        ) => out.int("axis", *axis),
        Op::Indexing(Indexing::Gather { batch_dims, .. }) if *batch_dims != 0 => {
            return Err(format!("ONNX has no `batch_dims` for it, which is {batch_dims}"));
        }
        Op::Binary(..)
        | Op::Unary(_)
        | Op::Product(_)
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
        | Op::Recurrent(_) => out.family(&node.op),
        // Their graphs are written by the one who knows the names around them.
        Op::Control(_) => {}
        Op::Clip(_) => {
            let dtype = node.input(0).map(|id| graph.value(id).ty.dtype);
            if dtype != Some(DType::F32) {
                return Err(String::from("bounds are written for f32 alone"));
            }
        }
        Op::Pool(pool) => {
            nchw(pool.layout)?;
            out.sizes("kernel_shape", &pool.kernel);
            out.pool_window(pool);
            if pool.ceil {
                out.int("ceil_mode", 1);
            }
            match pool.kind {
                PoolKind::Max if pool.column_major => out.int("storage_order", 1),
                PoolKind::Max => {}
                PoolKind::Average { count_include_pad } => {
                    out.int("count_include_pad", count_include_pad.into());
                }
                PoolKind::Lp { p } => out.int("p", p as i64),
            }
        }
        Op::GlobalPool(kind, layout) => {
            nchw(*layout)?;
            if let PoolKind::Lp { p } = kind {
                out.int("p", *p as i64);
            }
        }
        Op::BatchNormalization(norm) => {
            nchw(norm.layout)?;
            out.float("epsilon", norm.epsilon);
            out.float("momentum", norm.momentum);
        }
        Op::Flatten { axis } => out.int("axis", *axis),
        Op::Transpose { permutation } => out.sizes("perm", permutation),
        Op::QuantizeLinear(quantize) => {
            if !per_tensor(graph, node) {
                out.int("axis", quantize.axis);
            }
            if quantize.block_size != 0 {
                out.int("block_size", quantize.block_size as i64);
            }
            if !quantize.saturate {
                out.int("saturate", 0);
            }
            if node.input(2).is_none() && quantize.dtype != DType::U8 {
                out.int("output_dtype", code_of(quantize.dtype).into());
            }
        }
        Op::DequantizeLinear(dequantize) => {
            if !per_tensor(graph, node) {
                out.int("axis", dequantize.axis);
            }
            if dequantize.block_size != 0 {
                out.int("block_size", dequantize.block_size as i64);
            }
        }
        Op::Opaque(opaque) => {
            return opaque.attributes.iter().map(|(name, attribute)| to_proto(name, attribute)).collect();
        }
    }
    Ok(out.0)
}

/// Whether the scale of a quantization is a scalar, so that its axis has no meaning and need not be said.
pub(super) fn per_tensor(graph: &Graph, node: &Node) -> bool {
    let axis = match &node.op {
        Op::QuantizeLinear(quantize) => quantize.axis,
        Op::DequantizeLinear(dequantize) => dequantize.axis,
        _ => return true,
    };
    axis == 1 && node.input(1).is_some_and(|scale| graph.value(scale).ty.rank() == Some(0))
}

/// Attributes that ONNX has no default for, and the representation has.
fn required(op: &Op) -> &'static [(&'static str, Required)] {
    match op.name() {
        "Concat" => &[("axis", Required::Int(0))],
        "DepthToSpace" | "SpaceToDepth" => &[("blocksize", Required::Int(1))],
        "BitShift" => &[("direction", Required::Text("LEFT"))],
        "GroupNormalization" => &[("num_groups", Required::Int(1))],
        // It has a default, which the checker of onnx does not find.
        "MeanVarianceNormalization" => &[("axes", Required::Ints(&[0, 2, 3]))],
        "LRN" => &[("size", Required::Int(1))],
        "Einsum" => &[("equation", Required::Text(""))],
        "Cast" | "BitCast" => &[("to", Required::Int(1))],
        "MaxRoiPool" => &[("pooled_shape", Required::Ints(&[]))],
        "MaxUnpool" => &[("kernel_shape", Required::Ints(&[]))],
        _ => &[],
    }
}

enum Required {
    Int(i64),
    Text(&'static str),
    Ints(&'static [i64]),
}

fn nchw(layout: Layout) -> Result<(), String> {
    match layout {
        Layout::Nchw => Ok(()),
        Layout::Nhwc => Err(String::from(
            "its data stand channels last (nhwc), ONNX has channels first; convert the layout of the graph first",
        )),
    }
}

struct Writer(Vec<AttributeProto>);

impl Writer {
    fn set(&mut self, name: &str, attribute: &Attribute) {
        // Only attributes that name subgraphs fail, and none is written here.
        self.0.extend(to_proto(name, attribute));
    }

    fn int(&mut self, name: &str, value: i64) {
        self.set(name, &Attribute::Int(value));
    }

    fn float(&mut self, name: &str, value: f32) {
        self.set(name, &Attribute::Float(value));
    }

    fn sizes(&mut self, name: &str, values: &[usize]) {
        self.set(name, &Attribute::Ints(values.iter().map(|&value| value as i64).collect()));
    }

    /// The attributes of an operator whose names are those of ONNX.
    fn family(&mut self, op: &Op) {
        let mut attributes = op.attributes();
        // A fused activation becomes a node of its own.
        if matches!(op, Op::Binary(..)) {
            for name in ["activation", "min", "max"] {
                attributes.shift_remove(name);
            }
        }
        if matches!(op, Op::Normalize(Normalize::Group { .. })) {
            attributes.shift_remove("scale_per_group");
        }
        for (name, value) in required(op) {
            attributes.entry((*name).to_owned()).or_insert_with(|| match value {
                Required::Int(value) => Attribute::Int(*value),
                Required::Text(value) => Attribute::String(value.as_bytes().to_vec()),
                Required::Ints(values) => Attribute::Ints(values.to_vec()),
            });
        }
        for (name, attribute) in attributes {
            match attribute {
                Attribute::Type(dtype) => self.int(&name, code_of(dtype).into()),
                attribute => self.set(&name, &attribute),
            }
        }
    }

    /// The extents of a convolution's kernel, where the weight tells them.
    fn kernel(&mut self, graph: &Graph, node: &Node) {
        let weight = node.input(1).and_then(|id| graph.value(id).ty.known_shape());
        if let Some(weight) = weight {
            self.sizes("kernel_shape", weight.get(2..).unwrap_or_default());
        }
    }

    fn window(&mut self, window: &Window) {
        self.sizes("strides", &window.strides);
        self.sizes("dilations", &window.dilations);
        self.sizes("pads", &[window.pads_begin.as_slice(), &window.pads_end].concat());
    }

    /// As [`Writer::window`]; dilations that do nothing are left out, since older pooling has none.
    fn pool_window(&mut self, pool: &Pool) {
        self.sizes("strides", &pool.window.strides);
        if super::opset::dilated(&pool.window) {
            self.sizes("dilations", &pool.window.dilations);
        }
        self.sizes("pads", &[pool.window.pads_begin.as_slice(), &pool.window.pads_end].concat());
    }
}
