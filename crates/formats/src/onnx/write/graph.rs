//! Graphs to messages: names, types, constants, and a node or two for each node.

use std::collections::{BTreeMap, HashSet};

use calipers_ir::{Activation, Graph, Node, Op, Tensor, ValueId};

use super::super::messages::{GraphProto, NodeProto, TensorProto};
use super::super::types::value_info;
use super::super::{WriteError, keys, tensor};
use super::{entry, operator};

/// The message of a graph.
pub(super) fn graph(graph: &Graph) -> Result<GraphProto, WriteError> {
    let mut writer = GraphWriter {
        graph,
        names: (graph.values().iter().map(|value| value.name.clone()))
            .chain(graph.nodes().iter().map(|node| node.name.clone()))
            .collect(),
        nodes: Vec::with_capacity(graph.nodes().len()),
        initializers: Vec::with_capacity(graph.constants().len()),
    };
    for (&id, constant) in graph.constants() {
        writer.initializers.push(tensor::to_proto(&graph.value(id).name, constant));
    }
    for node in graph.nodes() {
        writer.node(node)?;
    }
    let named = |&id: &ValueId| value_info(&graph.value(id).name, &graph.value(id).ty);
    let intermediate = |id: &ValueId| !graph.outputs().contains(id);
    Ok(GraphProto {
        name: if graph.name().is_empty() { String::from("graph") } else { graph.name().to_owned() },
        node: writer.nodes,
        initializer: writer.initializers,
        input: graph.inputs().iter().map(named).collect(),
        output: graph.outputs().iter().map(named).collect(),
        value_info: (graph.nodes().iter().flat_map(|node| &node.outputs))
            .filter(|id| intermediate(id))
            .map(named)
            .collect(),
        ..Default::default()
    })
}

struct GraphWriter<'a> {
    graph: &'a Graph,
    /// Every name that is taken, of values and nodes.
    names: HashSet<String>,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

impl GraphWriter<'_> {
    fn node(&mut self, node: &Node) -> Result<(), WriteError> {
        let fail = |reason: String| WriteError::Node {
            node: node.name.clone(),
            op: node.op.name().to_owned(),
            reason,
        };
        let mut metadata = node.metadata.clone();
        let mut proto = NodeProto {
            name: node.name.clone(),
            op_type: node.op.name().to_owned(),
            domain: match &node.op {
                Op::Opaque(opaque) => opaque.domain.clone(),
                _ => String::new(),
            },
            overload: metadata.remove(keys::OVERLOAD).unwrap_or_default(),
            doc_string: metadata.remove(keys::DOC_STRING).unwrap_or_default(),
            attribute: operator::attributes(self.graph, node).map_err(fail)?,
            input: node
                .inputs
                .iter()
                .map(|input| input.map_or_else(String::new, |id| self.name(id)))
                .collect(),
            output: self.outputs(node, &mut metadata).map_err(fail)?,
            ..Default::default()
        };
        proto.metadata_props = metadata.iter().map(|(key, value)| entry(key, value)).collect();
        if let Op::Clip(clip) = &node.op {
            self.bounds(&mut proto, clip.min, clip.max);
        }
        let activation = match node.op.activation() {
            Activation::None => None,
            Activation::Relu => Some(("Relu", None)),
            Activation::Clip(clip) => Some(("Clip", Some(clip))),
        };
        let Some((op_type, clip)) = activation else {
            self.nodes.push(proto);
            return Ok(());
        };
        let before = self.fresh(&format!("{}/before_{}", proto.output[0], op_type.to_lowercase()));
        let mut after = NodeProto {
            name: self.fresh(&format!("{}/{op_type}", node.name)),
            op_type: op_type.to_owned(),
            input: vec![before.clone()],
            output: std::mem::replace(&mut proto.output, vec![before]),
            ..Default::default()
        };
        if let Some(clip) = clip {
            self.bounds(&mut after, clip.min, clip.max);
        }
        self.nodes.extend([proto, after]);
        Ok(())
    }

    fn name(&self, id: ValueId) -> String {
        self.graph.value(id).name.clone()
    }

    /// Names of the outputs, with empty ones where the file that the node was read from left some out.
    fn outputs(&self, node: &Node, metadata: &mut BTreeMap<String, String>) -> Result<Vec<String>, String> {
        let mut outputs: Vec<String> = node.outputs.iter().map(|&id| self.name(id)).collect();
        let Some(positions) = metadata.remove(keys::OUTPUTS_LEFT_OUT) else {
            return Ok(outputs);
        };
        for position in positions.split(',') {
            match position.parse::<usize>() {
                Ok(position) if position < outputs.len() => outputs.insert(position, String::new()),
                _ => {
                    return Err(format!(
                        "metadata `{}` is `{positions}`; expected ascending positions before its last output",
                        keys::OUTPUTS_LEFT_OUT
                    ));
                }
            }
        }
        Ok(outputs)
    }

    /// Adds the bounds of a limit as constants; infinite ones stay absent.
    fn bounds(&mut self, proto: &mut NodeProto, min: f32, max: f32) {
        let bounds = [("min", min, f32::NEG_INFINITY), ("max", max, f32::INFINITY)];
        for (name, bound, absent) in bounds {
            proto.input.push(if bound == absent {
                String::new()
            } else {
                let name = self.fresh(&format!("{}/{name}", proto.name));
                self.initializers.push(tensor::to_proto(&name, &Tensor::scalar(bound)));
                name
            });
        }
        while proto.input.last().is_some_and(String::is_empty) {
            proto.input.pop();
        }
    }

    /// `wanted`, or with a number where that is taken.
    fn fresh(&mut self, wanted: &str) -> String {
        let free = |name: &String| !self.names.contains(name);
        let numbered = (1u64..).map(|number| format!("{wanted}_{number}"));
        let name = std::iter::once(wanted.to_owned()).chain(numbered).find(free).unwrap_or_default();
        self.names.insert(name.clone());
        name
    }
}
