//! The table of layers, and the count of operators.

use std::collections::HashMap;

use calipers_ir::{Graph, NodeId, Op, ValueId};
use calipers_quant::multiply_accumulates;

use crate::structure::{Part, Readers, Role, parts, source};

use super::tensors::Found;
use super::{Layer, OperatorCount, ScaleFacts, WeightFacts, shape};

/// The name of an operator, with its domain where that is not the default one.
pub(crate) fn operator(op: &Op) -> String {
    match op {
        Op::Opaque(opaque) if !opaque.domain.is_empty() => format!("{}.{}", opaque.domain, opaque.op_type),
        op => op.name().to_owned(),
    }
}

/// The layers of a graph whose constants were `found`.
pub(super) fn layers(subgraph: Option<&str>, graph: &Graph, found: &[Found]) -> Vec<Layer> {
    let readers = Readers::of(graph);
    let facts: HashMap<ValueId, &Found> = found.iter().map(|found| (found.id, found)).collect();
    let mut bytes: HashMap<NodeId, u64> = HashMap::new();
    for found in found {
        if let Some(reader) = found.reader.or_else(|| reader_of_scale(graph, &readers, found.id)) {
            *bytes.entry(reader).or_default() += found.facts.bytes;
        }
    }
    let layer = |id: NodeId| {
        let node = graph.node(id);
        let output = graph.value(*node.outputs.first()?);
        let mut sources: Vec<&Found> = node
            .inputs
            .iter()
            .flatten()
            .filter_map(|&input| facts.get(&source(graph, input)?).copied())
            .filter(|found| matches!(found.facts.role, Role::Weight | Role::Bias))
            .collect();
        sources.sort_by_key(|found| found.id);
        sources.dedup_by_key(|found| found.id);
        let elements = |found: &Found| found.facts.shape.iter().product::<usize>() as u64;
        let weight = sources.iter().filter(|found| found.facts.role == Role::Weight);
        let weight = weight.max_by_key(|found| elements(found)).map(|found| WeightFacts {
            name: found.facts.name.clone(),
            dtype: found.facts.dtype.clone(),
            scale: found.facts.scale.clone(),
        });
        Some(Layer {
            name: node.name.clone(),
            operator: operator(&node.op),
            subgraph: subgraph.map(str::to_owned),
            output: output.name.clone(),
            dtype: output.ty.dtype.to_string(),
            shape: shape(&output.ty),
            parameters: sources.iter().map(|found| elements(found)).sum(),
            macs: multiply_accumulates(graph, node),
            weight,
            activation: activation(graph, &readers, *node.outputs.first()?),
            bytes: bytes.get(&id).copied().unwrap_or(0),
        })
    };
    let parts = parts(graph);
    graph
        .node_ids()
        .filter(|(id, _)| parts[id.index()] == Part::Layer)
        .filter_map(|(id, _)| layer(id))
        .collect()
}

/// How a value is quantized: by the QuantizeLinear behind it, or as the integers that it is.
fn activation(graph: &Graph, readers: &Readers, value: ValueId) -> Option<ScaleFacts> {
    let conversion = readers.of_value(value).iter().map(|&id| graph.node(id)).find(|node| {
        matches!(node.op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_)) && node.input(0) == Some(value)
    });
    let integers = match conversion.map(|node| (&node.op, node.outputs.first())) {
        Some((Op::QuantizeLinear(_), Some(&output))) => output,
        _ if graph.value(value).ty.dtype.integer_range().is_some() => value,
        _ => return None,
    };
    graph.quant_params(integers).map(|params| ScaleFacts::of(&params))
}

/// The layer that a scale or zero point is for: the one behind the conversion that reads it, or before it.
fn reader_of_scale(graph: &Graph, readers: &Readers, constant: ValueId) -> Option<NodeId> {
    let conversion = graph.node(*readers.of_value(constant).first()?);
    let is_layer =
        |id: &NodeId| !matches!(graph.node(*id).op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_));
    let before = graph.producer(conversion.input(0)?).filter(is_layer);
    let behind = || readers.of_value(*conversion.outputs.first()?).iter().copied().find(is_layer);
    before.or_else(behind)
}

/// Nodes by operator, the most frequent first.
pub(super) fn operators(graphs: &[(Option<&str>, &Graph)]) -> Vec<OperatorCount> {
    let mut counts: Vec<OperatorCount> = Vec::new();
    for (graph, node) in
        graphs.iter().flat_map(|(_, graph)| graph.nodes().iter().map(move |node| (graph, node)))
    {
        let (operator, macs) = (operator(&node.op), multiply_accumulates(graph, node));
        match counts.iter_mut().find(|count| count.operator == operator) {
            Some(count) => {
                count.nodes += 1;
                count.macs += macs;
            }
            None => counts.push(OperatorCount { operator, nodes: 1, macs }),
        }
    }
    counts.sort_by(|a, b| b.nodes.cmp(&a.nodes).then_with(|| a.operator.cmp(&b.operator)));
    counts
}
