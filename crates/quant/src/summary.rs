//! A decision in numbers: what is quantized, what is not and why, and how much of the work and of the weights that is.

use std::collections::HashSet;

use calipers_ir::{DType, Graph, Node, Op, Product, Recurrent, Tensor, ValueId};
use serde::Serialize;

use crate::{Placement, QuantAssignment};

/// A decision in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Nodes that compute between Dequantize and Quantize nodes.
    pub quantized: usize,
    /// Nodes that compute on integers made while running.
    pub dynamic: usize,
    /// Nodes that compute in float with weights stored as integers, in topological order.
    pub weight_only: Vec<FloatNode>,
    /// Nodes on real numbers that are not quantized, in topological order.
    pub float: Vec<FloatNode>,
    /// Nodes that read and make no real numbers: shapes, indices, conditions.
    pub other: usize,
    /// Elements of f32 constants that become integers.
    pub quantized_weights: usize,
    /// Elements of all f32 constants.
    pub weights: usize,
    /// Multiply-accumulates on integers, static and dynamic.
    pub integer_macs: u64,
    /// All multiply-accumulates of convolutions, matrix products and recurrent layers. An extent that is not known
    /// counts as 1: with a symbolic batch, they are those of one sample.
    pub macs: u64,
}

/// A node that computes in float.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FloatNode {
    /// Its name.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// Why.
    pub reason: String,
}

impl Summary {
    /// The share of weights that become integers, from 0 to 1; 1 when there are none.
    pub fn share_of_weights(&self) -> f64 {
        if self.weights == 0 { 1.0 } else { self.quantized_weights as f64 / self.weights as f64 }
    }

    /// The share of multiply-accumulates on integers, from 0 to 1; 1 when there are none.
    pub fn share_of_macs(&self) -> f64 {
        if self.macs == 0 { 1.0 } else { self.integer_macs as f64 / self.macs as f64 }
    }
}

impl QuantAssignment {
    /// The decision in numbers.
    pub fn summary(&self, graph: &Graph) -> Summary {
        let mut summary = Summary::default();
        let mut quantized = HashSet::new();
        for node in graph.nodes() {
            let Some(assigned) = self.nodes.get(&node.name) else { continue };
            let in_float = |reason: &str| FloatNode {
                name: node.name.clone(),
                operator: assigned.operator.clone(),
                reason: reason.to_owned(),
            };
            let macs = multiply_accumulates(graph, node);
            summary.macs += macs;
            match &assigned.placement {
                Placement::Float { .. } if !is_real(graph, node) => summary.other += 1,
                Placement::Float { reason } => summary.float.push(in_float(reason)),
                Placement::WeightOnly { reason, .. } => {
                    let reason = reason.as_deref().unwrap_or("the recipe quantizes weights alone");
                    summary.weight_only.push(in_float(reason));
                }
                Placement::Quantized { .. } => {
                    summary.quantized += 1;
                    summary.integer_macs += macs;
                }
                Placement::Dynamic { .. } => {
                    summary.dynamic += 1;
                    summary.integer_macs += macs;
                }
            }
            quantized.extend(assigned.placement.constants().iter().map(|constant| constant.name.as_str()));
        }
        for (&id, tensor) in graph.constants().iter().filter(|(_, tensor)| tensor.dtype() == DType::F32) {
            summary.weights += tensor.len();
            if quantized.contains(graph.value(id).name.as_str()) {
                summary.quantized_weights += tensor.len();
            }
        }
        summary
    }
}

/// Whether a node reads or makes real numbers.
fn is_real(graph: &Graph, node: &Node) -> bool {
    node.inputs.iter().flatten().chain(&node.outputs).any(|&id| {
        matches!(
            graph.value(id).ty.dtype,
            DType::F32
                | DType::F64
                | DType::F16
                | DType::BF16
                | DType::F8E4M3Fn
                | DType::F8E4M3FnUz
                | DType::F8E5M2
                | DType::F8E5M2FnUz
                | DType::F8E8M0
                | DType::F4E2M1
                | DType::Complex64
                | DType::Complex128
        )
    })
}

/// Products that a node adds up; extents that are not known count as 1.
pub fn multiply_accumulates(graph: &Graph, node: &Node) -> u64 {
    let shape = |id: Option<ValueId>| -> Vec<u64> {
        let dims = id.and_then(|id| graph.value(id).ty.shape.clone()).unwrap_or_default();
        dims.iter().map(|dim| dim.known().unwrap_or(1) as u64).collect()
    };
    let product =
        |extents: &[u64]| extents.iter().fold(1u64, |product, &extent| product.saturating_mul(extent));
    let output = shape(node.outputs.first().copied());
    let (x, weight) = (shape(node.input(0)), shape(node.input(1)));
    match &node.op {
        Op::Conv(_) | Op::ConvInteger(_) => {
            product(&output).saturating_mul(product(weight.get(1..).unwrap_or(&[])))
        }
        Op::ConvTranspose(_) => product(&x).saturating_mul(product(weight.get(1..).unwrap_or(&[]))),
        Op::Gemm(gemm) => {
            let summed = x.get(usize::from(!gemm.transpose_a)).copied().unwrap_or(1);
            product(&output).saturating_mul(summed)
        }
        Op::MatMul | Op::Product(Product::MatMulInteger) => {
            product(&output).saturating_mul(x.last().copied().unwrap_or(1))
        }
        Op::Recurrent(Recurrent::Lstm { .. } | Recurrent::Gru { .. } | Recurrent::Rnn { .. }) => {
            let steps = product(x.get(..2).unwrap_or(&[]));
            let recurrent = node.input(2).and_then(|id| graph.constant(id)).map_or(0, Tensor::len) as u64;
            steps.saturating_mul(product(&weight).saturating_add(recurrent))
        }
        Op::Recurrent(Recurrent::TfliteLstm { .. })
        | Op::Product(
            Product::Einsum { .. }
            | Product::Det
            | Product::Attention { .. }
            | Product::RotaryEmbedding { .. },
        )
        | Op::Unary(_)
        | Op::Binary(..)
        | Op::Variadic(_)
        | Op::Select(_)
        | Op::Clip(_)
        | Op::Pool(_)
        | Op::GlobalPool(..)
        | Op::BatchNormalization(_)
        | Op::Normalize(_)
        | Op::Reduce(_)
        | Op::Scanning(_)
        | Op::Reshape
        | Op::Flatten { .. }
        | Op::Transpose { .. }
        | Op::Movement(_)
        | Op::Indexing(_)
        | Op::Creation(_)
        | Op::Image(_)
        | Op::Signal(_)
        | Op::Control(_)
        | Op::QuantizeLinear(_)
        | Op::DequantizeLinear(_)
        | Op::DynamicQuantizeLinear
        | Op::Opaque(_) => 0,
    }
}
