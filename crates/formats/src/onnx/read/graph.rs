//! The graph of a file: inputs, constants, then nodes in the file's order.

use std::collections::{HashMap, HashSet};

use calipers_ir::{Attributes, Graph, GraphEditor, Op, Opaque, Tensor, TensorType, ValueId, infer};

use super::super::attributes;
use super::super::messages::{AttributeProto, GraphProto, NodeProto, ValueInfoProto};
use super::super::tensor::TensorReader;
use super::super::types::tensor_type_of;
use super::super::{ReadError, keys};
use super::operator::{self, Arguments};
use super::{by_key, default_domain};

/// The graph of a message.
pub(super) fn graph(mut proto: GraphProto, tensors: &mut TensorReader) -> Result<Graph, ReadError> {
    let refuse = |reason: &str| Err(ReadError::Model { reason: reason.to_owned() });
    if !proto.sparse_initializer.is_empty() {
        return refuse("the graph has sparse constants, which are not supported; store them as dense ones");
    }
    if !proto.quantization_annotation.is_empty() {
        return refuse(
            "the graph annotates tensors with quantization parameters, which is not supported; \
             express them as QuantizeLinear and DequantizeLinear nodes",
        );
    }
    let name = if proto.name.is_empty() { "graph" } else { &proto.name };
    let mut reader = GraphReader {
        editor: GraphEditor::new(name),
        values: HashMap::new(),
        declared: proto.value_info.iter().chain(&proto.output).map(declaration).collect(),
        producers: HashMap::new(),
        node_names: proto.node.iter().map(|node| node.name.clone()).collect(),
        used_node_names: HashSet::new(),
        next_number: HashMap::new(),
    };

    let constants: HashSet<&str> = proto.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    for input in proto.input.iter().filter(|input| !constants.contains(input.name.as_str())) {
        let (name, declared) = declaration(input);
        let ty = declared.map_err(|reason| ReadError::Value { value: name.clone(), reason })?;
        reader.define(&name, |editor| editor.add_input(name.as_str(), ty))?;
    }
    for tensor in std::mem::take(&mut proto.initializer) {
        let name = tensor.name.clone();
        let tensor = tensors.read(tensor)?;
        reader.define(&name, |editor| editor.add_constant(name.as_str(), tensor))?;
    }
    for node in proto.node.iter_mut().filter(|node| is_constant(node)) {
        let tensor = constant(node, tensors).map_err(|reason| node_error(node, &node.name, reason))?;
        let name = node.output[0].clone();
        reader.define(&name, |editor| editor.add_constant(name.as_str(), tensor))?;
    }

    let nodes: Vec<NodeProto> = proto.node.into_iter().filter(|node| !is_constant(node)).collect();
    for (index, node) in nodes.iter().enumerate() {
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            reader.producers.entry(output.clone()).or_insert(index);
        }
    }
    let order = Order::of(&nodes, &reader.producers);
    for (index, node) in nodes.into_iter().enumerate() {
        reader.node(node, index, &order, tensors)?;
    }
    for output in &proto.output {
        let id = reader.values.get(&output.name).copied().ok_or_else(|| ReadError::Order {
            place: String::from("the list of the graph's outputs"),
            value: output.name.clone(),
            why: String::from("nothing defines"),
        })?;
        reader.editor.add_output(id);
    }
    Ok(reader.editor.build()?)
}

struct GraphReader {
    editor: GraphEditor,
    values: HashMap<String, ValueId>,
    /// Types as the file states them, or what is wrong with the statement, which matters only where it is needed.
    declared: HashMap<String, Result<TensorType, String>>,
    /// Position of the node that makes a value.
    producers: HashMap<String, usize>,
    /// Names that nodes of the file have, which generated names avoid.
    node_names: HashSet<String>,
    used_node_names: HashSet<String>,
    /// The number to try next behind a name that is taken.
    next_number: HashMap<String, u64>,
}

impl GraphReader {
    fn define(
        &mut self,
        name: &str,
        add: impl FnOnce(&mut GraphEditor) -> Result<ValueId, calipers_ir::EditError>,
    ) -> Result<(), ReadError> {
        let id = add(&mut self.editor)?;
        self.values.insert(name.to_owned(), id);
        Ok(())
    }

    fn node(
        &mut self,
        mut proto: NodeProto,
        index: usize,
        order: &Order,
        tensors: &mut TensorReader,
    ) -> Result<(), ReadError> {
        let name = self.unique_node_name(&proto);
        let fail = |proto: &NodeProto, reason: String| node_error(proto, &name, reason);
        let mut inputs = Vec::with_capacity(proto.input.len());
        for input in &proto.input {
            if input.is_empty() {
                inputs.push(None);
                continue;
            }
            let id = self.values.get(input).copied().ok_or_else(|| ReadError::Order {
                place: format!("node `{name}` ({})", proto.op_type),
                value: input.clone(),
                why: match self.producers.get(input) {
                    None => String::from("nothing defines"),
                    Some(&later) if order.depends(later, index) => {
                        String::from("depends on what the node computes: the graph has a cycle")
                    }
                    Some(_) => String::from(
                        "only a later node defines; ONNX lists nodes in topological order: sort them and save again",
                    ),
                },
            })?;
            inputs.push(Some(id));
        }
        let types: Vec<Option<&TensorType>> =
            inputs.iter().map(|input| input.map(|id| &self.editor.value(id).ty)).collect();
        let constants: Vec<Option<&Tensor>> =
            inputs.iter().map(|input| input.and_then(|id| self.editor.constant(id))).collect();
        let known = if default_domain(&proto.domain).is_empty() {
            let arguments = Arguments { types: &types, constants: &constants };
            operator::map(&proto, &arguments).map_err(|reason| fail(&proto, reason))?
        } else {
            None
        };

        let (op, arity) = match known {
            Some((op, arity)) => (op, arity.min(inputs.len())),
            None => {
                let mut kept = Attributes::new();
                for attribute in std::mem::take(&mut proto.attribute) {
                    let attribute_name = attribute.name.clone();
                    let attribute =
                        attributes::keep(attribute, tensors).map_err(|reason| fail(&proto, reason))?;
                    kept.insert(attribute_name, attribute);
                }
                let domain = default_domain(&proto.domain).to_owned();
                let opaque = Opaque { domain, op_type: proto.op_type.clone(), attributes: kept };
                (Op::Opaque(opaque), inputs.len())
            }
        };
        let inferred = infer(&op, &types[..arity], &constants[..arity])
            .map_err(|error| fail(&proto, error.to_string()))?;
        let outputs = self.outputs(&proto, &name, inferred)?;
        let left_out = left_out(&proto.output);
        let overload = std::mem::take(&mut proto.overload);
        let metadata = by_key(
            &proto.metadata_props,
            &[
                (keys::DOC_STRING, &proto.doc_string),
                (keys::OVERLOAD, &overload),
                (keys::OUTPUTS_LEFT_OUT, &left_out),
            ],
        );
        let names: Vec<String> = outputs.iter().map(|(name, _)| name.clone()).collect();
        inputs.truncate(arity);
        let ids = self.editor.add_typed_node(name.as_str(), op, &inputs, outputs)?;
        self.editor.set_metadata(&name, metadata);
        self.values.extend(names.into_iter().zip(ids));
        Ok(())
    }

    /// Names and types of the outputs that are there.
    fn outputs(
        &self,
        proto: &NodeProto,
        node: &str,
        inferred: Option<Vec<TensorType>>,
    ) -> Result<Vec<(String, TensorType)>, ReadError> {
        let names = proto.output.iter().filter(|name| !name.is_empty());
        let declared = |name: &String| match self.declared.get(name) {
            Some(Ok(ty)) => Ok(Some(ty)),
            Some(Err(reason)) => Err(ReadError::Value { value: name.clone(), reason: reason.clone() }),
            None => Ok(None),
        };
        let Some(inferred) = inferred else {
            return names
                .map(|name| match declared(name)? {
                    Some(ty) => Ok((name.clone(), ty.clone())),
                    None => Err(node_error(
                        proto,
                        node,
                        format!(
                            "the operator is not one of those that are understood, so the file must state the type of \
                             its output `{name}`; add it with onnx.shape_inference.infer_shapes(model)"
                        ),
                    )),
                })
                .collect();
        };
        let names: Vec<&String> = names.collect();
        if names.len() != inferred.len() {
            let reason = format!("expected {} output, found {}", inferred.len(), names.len());
            return Err(node_error(proto, node, reason));
        }
        let mut outputs = Vec::with_capacity(names.len());
        for (name, inferred) in names.into_iter().zip(inferred) {
            let ty = match declared(name)? {
                Some(declared) if !declared.compatible(&inferred) => {
                    return Err(ReadError::Value {
                        value: name.clone(),
                        reason: format!(
                            "the file declares it as {declared}, but node `{node}` makes {inferred}"
                        ),
                    });
                }
                Some(declared) if inferred.shape.is_none() => declared.clone(),
                _ => inferred,
            };
            outputs.push((name.clone(), ty));
        }
        Ok(outputs)
    }

    /// The node's own name; that of its first output where it has none; with a number where the name is taken.
    fn unique_node_name(&mut self, proto: &NodeProto) -> String {
        let output = proto.output.iter().find(|output| !output.is_empty());
        let (wanted, own) = match (proto.name.as_str(), output) {
            ("", Some(output)) => (output.as_str(), false),
            ("", None) => (proto.op_type.as_str(), false),
            (name, _) => (name, true),
        };
        let wanted = if wanted.is_empty() { "node" } else { wanted };
        let used = &self.used_node_names;
        let name = if !used.contains(wanted) && (own || !self.node_names.contains(wanted)) {
            wanted.to_owned()
        } else {
            let number = self.next_number.entry(wanted.to_owned()).or_insert(0);
            loop {
                *number += 1;
                let name = format!("{wanted}_{number}");
                if !used.contains(&name) && !self.node_names.contains(&name) {
                    break name;
                }
            }
        };
        self.used_node_names.insert(name.clone());
        name
    }
}

fn declaration(info: &ValueInfoProto) -> (String, Result<TensorType, String>) {
    let ty = match &info.r#type {
        Some(ty) => tensor_type_of(&info.name, ty),
        None => Err(String::from("its type is not given")),
    };
    (info.name.clone(), ty)
}

fn node_error(proto: &NodeProto, node: &str, reason: String) -> ReadError {
    let op = match proto.domain.as_str() {
        "" => proto.op_type.clone(),
        domain => format!("{domain}::{}", proto.op_type),
    };
    ReadError::Node { node: node.to_owned(), op, reason }
}

/// Positions of outputs that are left out before the last one that is there.
fn left_out(outputs: &[String]) -> String {
    let present = outputs.iter().rposition(|output| !output.is_empty()).map_or(0, |last| last + 1);
    let positions = outputs[..present].iter().enumerate().filter(|(_, output)| output.is_empty());
    positions.map(|(position, _)| position.to_string()).collect::<Vec<_>>().join(",")
}

fn is_constant(node: &NodeProto) -> bool {
    node.op_type == "Constant"
        && default_domain(&node.domain).is_empty()
        && node.input.is_empty()
        && node.output.len() == 1
        && !node.output[0].is_empty()
}

/// The data of a `Constant` node.
fn constant(node: &mut NodeProto, tensors: &mut TensorReader) -> Result<Tensor, String> {
    let [attribute] = node.attribute.as_mut_slice() else {
        return Err(format!("expected one attribute, found {}", node.attribute.len()));
    };
    let AttributeProto { name, t, f, i, s, floats, ints, strings, .. } = std::mem::take(attribute);
    let missing = || format!("attribute `{name}` holds no value of its type");
    let tensor = match name.as_str() {
        "value" => return tensors.decode(*t.ok_or_else(missing)?),
        "value_float" => Ok(Tensor::scalar(f.ok_or_else(missing)?)),
        "value_int" => Ok(Tensor::scalar(i.ok_or_else(missing)?)),
        "value_string" => Tensor::from_strings([], vec![s.ok_or_else(missing)?]),
        "value_floats" => Tensor::from_vec([floats.len()], floats),
        "value_ints" => Tensor::from_vec([ints.len()], ints),
        "value_strings" => Tensor::from_strings([strings.len()], strings),
        _ => {
            return Err(format!("attribute `{name}` is not supported; store the constant as a dense tensor"));
        }
    };
    tensor.map_err(|error| error.to_string())
}

/// Which nodes feed which, to tell a cycle from a wrong order.
struct Order {
    sources: Vec<Vec<usize>>,
}

impl Order {
    fn of(nodes: &[NodeProto], producers: &HashMap<String, usize>) -> Self {
        let sources = |node: &NodeProto| {
            node.input.iter().filter_map(|input| producers.get(input).copied()).collect::<Vec<_>>()
        };
        Order { sources: nodes.iter().map(sources).collect() }
    }

    /// Whether `node` reads, over any number of nodes, what `source` makes.
    fn depends(&self, node: usize, source: usize) -> bool {
        let mut seen = HashSet::from([node]);
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            if node == source {
                return true;
            }
            open.extend(self.sources[node].iter().copied().filter(|&next| seen.insert(next)));
        }
        false
    }
}
