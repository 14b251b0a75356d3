//! Constants and quantized activations, with their scales and distributions.

use calipers_ir::{DType, Graph, NodeId, Op, QuantParams, Tensor, ValueId};

use crate::distribution::numbers;
use crate::structure::{Readers, Role, role};
use crate::{Distribution, bare_name};

use super::{Activation, ScaleFacts, TensorFacts};

/// A constant with its place in the graph.
pub(super) struct Found {
    pub id: ValueId,
    pub facts: TensorFacts,
    /// The layer that reads it first.
    pub reader: Option<NodeId>,
}

impl ScaleFacts {
    /// Of these parameters.
    pub fn of(params: &QuantParams) -> ScaleFacts {
        let fold = |start: f32, pick: fn(f32, f32) -> f32| params.scale.iter().copied().fold(start, pick);
        let zero_points = (
            params.zero_point.iter().copied().min().unwrap_or(0),
            params.zero_point.iter().copied().max().unwrap_or(0),
        );
        let largest = fold(0.0, f32::max);
        let range = params.dtype.integer_range().map(|(low, high)| {
            let real = |integer: i64, zero: i64| f64::from(largest) * (integer as f64 - zero as f64);
            (real(low, zero_points.1), real(high, zero_points.0))
        });
        ScaleFacts {
            dtype: params.dtype.to_string(),
            scales: params.scale.len(),
            axis: params.axis,
            block: params.block,
            smallest: fold(f32::INFINITY, f32::min).min(largest),
            largest,
            zero_points,
            range,
            distribution: (params.scale.len() > 1).then(|| Distribution::of(&params.scale)),
        }
    }

    /// What shares a scale, in words.
    pub fn granularity(&self) -> String {
        match (self.axis, self.block) {
            (_, Some(block)) => format!("groups of {block}"),
            (Some(axis), None) => format!("{} along axis {axis}", self.scales),
            (None, None) => String::from("per tensor"),
        }
    }
}

/// All constants of a graph.
pub(super) fn tensors(subgraph: Option<&str>, graph: &Graph) -> Vec<Found> {
    let readers = Readers::of(graph);
    let found = |(&id, tensor): (&ValueId, &Tensor)| {
        let (role, reader) = role(graph, &readers, id);
        // Scales are said with what they scale.
        let described = matches!(role, Role::Weight | Role::Bias).then(|| numbers(tensor)).flatten();
        let at_ends = described.as_deref().and_then(|numbers| at_ends(tensor.dtype(), numbers));
        let facts = TensorFacts {
            name: graph.value(id).name.clone(),
            subgraph: subgraph.map(str::to_owned),
            role,
            dtype: tensor.dtype().to_string(),
            shape: tensor.shape().to_vec(),
            bytes: bytes(tensor),
            scale: dequantizer(graph, &readers, id).map(|params| ScaleFacts::of(&params)),
            distribution: described.as_deref().map(Distribution::of),
            at_ends,
        };
        Found { id, facts, reader }
    };
    graph.constants().iter().map(found).collect()
}

/// Bytes that a constant takes in a file.
pub(super) fn bytes(tensor: &Tensor) -> u64 {
    match tensor.strings() {
        Some(strings) => strings.iter().map(|string| string.len() as u64).sum(),
        None => tensor.bytes().len() as u64,
    }
}

fn at_ends(dtype: DType, numbers: &[f32]) -> Option<f64> {
    let (low, high) = dtype.integer_range().filter(|_| dtype.bits().is_some_and(|bits| bits <= 16))?;
    let ends = numbers.iter().filter(|&&number| number <= low as f32 || number >= high as f32).count();
    Some(ends as f64 / numbers.len().max(1) as f64)
}

/// The parameters of a constant that a DequantizeLinear reads, directly or after a rearrangement or a lookup.
fn dequantizer(graph: &Graph, readers: &Readers, constant: ValueId) -> Option<QuantParams> {
    let mut value = constant;
    loop {
        let node = graph.node(*readers.of_value(value).first()?);
        if node.input(0) != Some(value) {
            return None;
        }
        let output = *node.outputs.first()?;
        match &node.op {
            Op::DequantizeLinear(_) => return graph.quant_params(output),
            Op::Transpose { .. } | Op::Reshape => value = output,
            _ => return None,
        }
    }
}

/// The quantized activations of a graph.
pub(super) fn activations(graph: &Graph) -> Vec<Activation> {
    let mut seen = std::collections::HashSet::new();
    let mut found = Vec::new();
    for node in graph.nodes() {
        let integers = match (&node.op, node.input(0), node.outputs.first()) {
            (Op::QuantizeLinear(_), _, Some(&output)) => output,
            (Op::DequantizeLinear(_), Some(input), _) if graph.constant(input).is_none() => input,
            _ => continue,
        };
        let is_constant = crate::structure::source(graph, integers).is_some();
        if is_constant || !seen.insert(integers) {
            continue;
        }
        if let Some(params) = graph.quant_params(integers) {
            let name = graph.value(integers).name.as_str();
            found.push(Activation {
                name: bare_name(name).to_owned(),
                integers: name.to_owned(),
                scale: ScaleFacts::of(&params),
            });
        }
    }
    found
}
