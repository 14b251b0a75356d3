//! Operators to attributes of the default operator set, and the first version of it that has them.

use calipers_ir::{Attribute, DType, Graph, Layout, Node, Op, Pool, PoolKind, Window};

use super::super::OLDEST_OPSET;
use super::super::attributes::to_proto;
use super::super::messages::AttributeProto;
use super::super::types::code_of;

/// The attributes of a node, or why ONNX cannot say them.
pub(super) fn attributes(graph: &Graph, node: &Node) -> Result<Vec<AttributeProto>, String> {
    let mut out = Writer(Vec::new());
    match &node.op {
        Op::Conv(conv) => {
            nchw(conv.layout)?;
            let weight = node.input(1).and_then(|id| graph.value(id).ty.known_shape());
            if let Some(weight) = weight {
                out.sizes("kernel_shape", weight.get(2..).unwrap_or_default());
            }
            out.window(&conv.window);
            out.int("group", conv.groups as i64);
        }
        Op::Gemm(gemm) => {
            out.float("alpha", gemm.alpha);
            out.float("beta", gemm.beta);
            out.int("transA", gemm.transpose_a.into());
            out.int("transB", gemm.transpose_b.into());
        }
        Op::MatMul | Op::Reshape => {}
        Op::Unary(_)
        | Op::Binary(..)
        | Op::ConvTranspose(_)
        | Op::ConvInteger(_)
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
        | Op::Recurrent(_)
        | Op::Control(_)
        | Op::DynamicQuantizeLinear => {
            for (name, attribute) in node.op.attributes() {
                out.set(&name, &attribute);
            }
        }
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
            out.int("ceil_mode", pool.ceil.into());
            match pool.kind {
                PoolKind::Max => {}
                PoolKind::Average { count_include_pad } => {
                    out.int("count_include_pad", count_include_pad.into());
                }
                PoolKind::Lp { p } => out.int("p", p as i64),
            }
        }
        Op::GlobalPool(_, layout) => nchw(*layout)?,
        Op::BatchNormalization(norm) => {
            nchw(norm.layout)?;
            out.float("epsilon", norm.epsilon);
            out.float("momentum", norm.momentum);
        }
        Op::Flatten { axis } => out.int("axis", *axis),
        Op::Transpose { permutation } => out.sizes("perm", permutation),
        Op::QuantizeLinear(quantize) => {
            out.int("axis", quantize.axis);
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
            out.int("axis", dequantize.axis);
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

/// The first operator set in which a node can be said.
pub(super) fn first_opset(graph: &Graph, node: &Node) -> i64 {
    let types = node.inputs.iter().flatten().chain(&node.outputs).map(|&id| graph.value(id).ty.dtype);
    match &node.op {
        Op::QuantizeLinear(quantize) => {
            let stated = node.input(2).is_none() && quantize.dtype != DType::U8;
            let of_attributes = match (quantize.block_size != 0 || stated, quantize.saturate) {
                (true, _) => 21,
                (false, false) => 19,
                (false, true) => OLDEST_OPSET,
            };
            types.map(quantized_since).fold(of_attributes, i64::max)
        }
        Op::DequantizeLinear(dequantize) => {
            let of_attributes = if dequantize.block_size != 0 { 21 } else { OLDEST_OPSET };
            types.map(quantized_since).fold(of_attributes, i64::max)
        }
        Op::Pool(Pool { kind: PoolKind::Average { .. }, window, .. }) if dilated(window) => 19,
        Op::Conv(_)
        | Op::Gemm(_)
        | Op::MatMul
        | Op::Unary(_)
        | Op::Binary(..)
        | Op::Clip(_)
        | Op::Pool(_)
        | Op::GlobalPool(..)
        | Op::BatchNormalization(_)
        | Op::Reshape
        | Op::Flatten { .. }
        | Op::Transpose { .. }
        | Op::ConvTranspose(_)
        | Op::ConvInteger(_)
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
        | Op::Recurrent(_)
        | Op::Control(_)
        | Op::DynamicQuantizeLinear
        | Op::Opaque(_) => OLDEST_OPSET,
    }
}

/// The first operator set whose Quantize and Dequantize know a storage type.
fn quantized_since(dtype: DType) -> i64 {
    match dtype {
        DType::F16
        | DType::BF16
        | DType::F8E4M3Fn
        | DType::F8E4M3FnUz
        | DType::F8E5M2
        | DType::F8E5M2FnUz => 19,
        DType::I4 | DType::U4 | DType::I16 | DType::U16 => 21,
        DType::F4E2M1 => 23,
        DType::F8E8M0 => 24,
        DType::I2 | DType::U2 => 25,
        _ => OLDEST_OPSET,
    }
}

fn dilated(window: &Window) -> bool {
    window.dilations.iter().any(|&dilation| dilation != 1)
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

    fn window(&mut self, window: &Window) {
        self.sizes("strides", &window.strides);
        self.sizes("dilations", &window.dilations);
        self.sizes("pads", &[window.pads_begin.as_slice(), &window.pads_end].concat());
    }

    /// As [`Writer::window`]; dilations that do nothing are left out, since older average pooling has none.
    fn pool_window(&mut self, pool: &Pool) {
        self.sizes("strides", &pool.window.strides);
        if dilated(&pool.window) {
            self.sizes("dilations", &pool.window.dilations);
        }
        self.sizes("pads", &[pool.window.pads_begin.as_slice(), &pool.window.pads_end].concat());
    }
}
