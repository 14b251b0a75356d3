//! Graphs to messages: names, types, constants, and a node or more for each node.

use std::collections::{BTreeMap, HashMap, HashSet};

use calipers_ir::{Activation, DType, Graph, Image, Model, Node, Op, Tensor, ValueId};

use super::super::attributes::int_proto;
use super::super::messages::{GraphProto, NodeProto, TensorProto};
use super::super::types::{code_of, value_info};
use super::super::{WriteError, keys, tensor};
use super::{downgrade, entry, operator};

/// Graphs within graphs that are written.
const DEEPEST: usize = 32;

/// What holds for all graphs of a file.
pub(super) struct File<'a> {
    pub model: &'a Model,
    pub opset: i64,
}

/// What a graph that a node runs finds around it.
#[derive(Default)]
pub(super) struct Around<'a> {
    /// Names outside of what its last inputs stand for.
    pub captured: Vec<String>,
    /// Names that are taken in the graphs around it.
    pub taken: HashSet<String>,
    /// Constants of those graphs by name.
    pub constants: HashMap<String, &'a Tensor>,
    pub depth: usize,
}

/// The message of a graph, and the names that it reads from outside.
pub(super) fn graph<'a>(
    file: &File<'a>,
    graph: &'a Graph,
    around: Around<'a>,
) -> Result<(GraphProto, HashSet<String>), WriteError> {
    if around.depth > DEEPEST {
        let reason = format!("graphs are nested more than {DEEPEST} deep, or run themselves");
        return Err(WriteError::Model { reason });
    }
    let inside = around.depth > 0;
    let own_inputs = graph.inputs().len().saturating_sub(around.captured.len());
    let mut writer = GraphWriter {
        file,
        graph,
        names: HashMap::new(),
        taken: around.taken,
        constants: around.constants,
        depth: around.depth,
        nodes: Vec::with_capacity(graph.nodes().len()),
        initializers: Vec::with_capacity(graph.constants().len()),
        read: HashSet::new(),
    };
    let mut outside: HashSet<ValueId> = HashSet::new();
    for (&id, name) in graph.inputs()[own_inputs..].iter().zip(&around.captured) {
        writer.names.insert(id, name.clone());
        outside.insert(id);
    }
    for (&id, constant) in graph.constants() {
        let name = &graph.value(id).name;
        if writer.constants.get(name).is_some_and(|outer| *outer == constant) {
            writer.names.insert(id, name.clone());
            outside.insert(id);
        }
    }
    // The names of the graph itself come before those that are made.
    let own: Vec<(ValueId, &str)> = graph
        .value_ids()
        .filter(|(id, _)| !outside.contains(id))
        .map(|(id, value)| (id, value.name.as_str()))
        .collect();
    let clashes: HashSet<ValueId> =
        own.iter().filter(|(_, name)| inside && writer.taken.contains(*name)).map(|(id, _)| *id).collect();
    writer.taken.extend(own.iter().map(|(_, name)| (*name).to_owned()));
    writer.taken.extend(graph.nodes().iter().map(|node| node.name.clone()));
    for (id, name) in own {
        let name = if clashes.contains(&id) { writer.fresh(name) } else { name.to_owned() };
        writer.names.insert(id, name);
    }
    for (&id, constant) in graph.constants() {
        writer.constants.insert(writer.name(id), constant);
    }
    for node in graph.nodes() {
        writer.node(node)?;
    }

    let mut outputs = Vec::with_capacity(graph.outputs().len());
    for &id in graph.outputs() {
        let mut name = writer.name(id);
        writer.read.insert(name.clone());
        if outside.contains(&id) {
            // What a graph gives must come from a node of its own.
            let copy = writer.fresh(&format!("{name}/result"));
            writer.nodes.push(plain("Identity", &copy, vec![name], copy.clone()));
            name = copy;
        }
        outputs.push(value_info(&name, &graph.value(id).ty));
    }
    for (&id, constant) in graph.constants() {
        let name = writer.name(id);
        if !outside.contains(&id) && writer.read.contains(&name) {
            writer.initializers.push(tensor::to_proto(&name, constant));
        }
    }
    let named = |&id: &ValueId| value_info(&writer.name(id), &graph.value(id).ty);
    let intermediate = |id: &ValueId| !graph.outputs().contains(id);
    let proto = GraphProto {
        name: if graph.name().is_empty() { String::from("graph") } else { graph.name().to_owned() },
        input: graph.inputs()[..own_inputs].iter().map(named).collect(),
        output: outputs,
        value_info: (graph.nodes().iter().flat_map(|node| &node.outputs))
            .filter(|id| intermediate(id) && writer.read.contains(&writer.name(**id)))
            .map(named)
            .collect(),
        node: writer.nodes,
        initializer: writer.initializers,
        ..Default::default()
    };
    Ok((proto, writer.read))
}

fn plain(op_type: &str, name: &str, input: Vec<String>, output: String) -> NodeProto {
    NodeProto {
        name: name.to_owned(),
        op_type: op_type.to_owned(),
        input,
        output: vec![output],
        ..Default::default()
    }
}

pub(super) struct GraphWriter<'f, 'a> {
    pub file: &'f File<'a>,
    pub graph: &'a Graph,
    names: HashMap<ValueId, String>,
    /// Every name that is taken, of values and nodes, here and around.
    pub taken: HashSet<String>,
    /// Constants here and around, by name.
    pub constants: HashMap<String, &'a Tensor>,
    pub depth: usize,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    /// Names that nodes read.
    pub read: HashSet<String>,
}

impl GraphWriter<'_, '_> {
    fn node(&mut self, node: &Node) -> Result<(), WriteError> {
        let fail = |reason: String| WriteError::Node {
            node: node.name.clone(),
            op: node.op.name().to_owned(),
            reason,
        };
        let mut metadata = node.metadata.clone();
        let mut proto = NodeProto {
            name: node.name.clone(),
            op_type: operator::op_type(&node.op).map_err(fail)?.to_owned(),
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
        match &node.op {
            Op::Clip(clip) => self.bounds(&mut proto, clip.min, clip.max),
            Op::Control(control) => self.control(&mut proto, node, control)?,
            Op::Opaque(_) => {}
            Op::Image(Image::Resize { .. }) if self.file.opset < 13 => self.empty_inputs(&mut proto),
            _ => downgrade::to_opset(&mut proto, self.graph, node, self.file.opset).map_err(fail)?,
        }
        if let Some(axis) = downgrade::flattened_axis(&node.op, self.file.opset) {
            self.flattened(proto, axis);
            return Ok(());
        }
        let activation = match node.op.activation() {
            Activation::None => None,
            Activation::Relu => Some(("Relu", None)),
            Activation::Clip(clip) => Some(("Clip", Some(clip))),
        };
        let Some((op_type, clip)) = activation else {
            self.push(proto);
            return Ok(());
        };
        let before = self.fresh(&format!("{}/before_{}", proto.output[0], op_type.to_lowercase()));
        let name = self.fresh(&format!("{}/{op_type}", node.name));
        let result = std::mem::replace(&mut proto.output[0], before.clone());
        let mut after = plain(op_type, &name, vec![before], result);
        if let Some(clip) = clip {
            self.bounds(&mut after, clip.min, clip.max);
        }
        self.push(proto);
        self.push(after);
        Ok(())
    }

    fn push(&mut self, proto: NodeProto) {
        self.read.extend(proto.input.iter().filter(|name| !name.is_empty()).cloned());
        self.nodes.push(proto);
    }

    /// An operator over all axes from one on, as one over the last axis of a matrix.
    fn flattened(&mut self, mut proto: NodeProto, axis: i64) {
        let result = proto.output[0].clone();
        let input = proto.input[0].clone();
        let [shape, flat, computed] =
            ["shape", "flat", "computed"].map(|role| self.fresh(&format!("{}/{role}", proto.name)));
        let mut flatten = plain("Flatten", &flat, vec![input.clone()], flat.clone());
        flatten.attribute.push(int_proto("axis", axis));
        proto.input = vec![flat.clone()];
        proto.output = vec![computed.clone()];
        proto.attribute = vec![int_proto("axis", -1)];
        let name = self.fresh(&format!("{}/restored", proto.name));
        self.push(plain("Shape", &shape, vec![input], shape.clone()));
        self.push(flatten);
        self.push(proto);
        self.push(plain("Reshape", &name, vec![computed, shape], result));
    }

    pub fn name(&self, id: ValueId) -> String {
        self.names.get(&id).cloned().unwrap_or_default()
    }

    /// Names of the outputs, with empty ones where the file that the node was read from left some out.
    fn outputs(&self, node: &Node, metadata: &mut BTreeMap<String, String>) -> Result<Vec<String>, String> {
        let mut outputs: Vec<String> = node.outputs.iter().map(|&id| self.name(id)).collect();
        let Some(positions) = metadata.remove(keys::OUTPUTS_LEFT_OUT) else {
            return Ok(outputs);
        };
        for position in positions.split(',') {
            let position = position.parse::<usize>().ok();
            match (position, &node.op) {
                (Some(position), Op::Opaque(_)) if position < outputs.len() => {
                    outputs.insert(position, String::new());
                }
                (Some(position), _) if position < outputs.len() => {
                    let id = node.outputs[position];
                    let read =
                        self.graph.outputs().contains(&id) || self.graph.consumers(id).next().is_some();
                    if !read {
                        outputs[position].clear();
                    }
                }
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

    /// Empty tensors for the absent region and scales of a Resize, which older operator sets ask for.
    fn empty_inputs(&mut self, proto: &mut NodeProto) {
        proto.input.resize(proto.input.len().max(3), String::new());
        for (index, role) in [(1, "roi"), (2, "scales")] {
            if !proto.input[index].is_empty() {
                continue;
            }
            let name = self.fresh(&format!("{}/{role}", proto.name));
            let empty = TensorProto {
                name: name.clone(),
                dims: vec![0],
                data_type: code_of(DType::F32),
                ..Default::default()
            };
            self.initializers.push(empty);
            proto.input[index] = name;
        }
    }

    /// `wanted`, or with a number where that is taken.
    pub fn fresh(&mut self, wanted: &str) -> String {
        let free = |name: &String| !self.taken.contains(name);
        let numbered = (1u64..).map(|number| format!("{wanted}_{number}"));
        let name = std::iter::once(wanted.to_owned()).chain(numbered).find(free).unwrap_or_default();
        self.taken.insert(name.clone());
        name
    }
}
