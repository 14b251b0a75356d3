//! The graphs of a file: inputs, constants, then nodes in the file's order, each by what it is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use calipers_ir::{Attributes, Graph, Op, Opaque, Tensor, TensorType, ValueId};
use indexmap::IndexMap;

use super::super::messages::{AttributeProto, FunctionProto, GraphProto, NodeProto};
use super::super::tensor::TensorReader;
use super::super::{ReadError, attributes, keys};
use super::functions::FunctionName;
use super::graph::{Fault, GraphReader, declaration, states_type};
use super::lowering::Lowering;
use super::operator::{self, Arguments, Mapping};
use super::upgrade::{self, Call};
use super::{by_key, contrib, default_domain, loss, quantized, sparse};

/// Graphs within graphs, and functions within functions, that are followed.
const DEEPEST: usize = 32;

/// Versions of operator sets by domain, for the nodes that follow them.
pub(super) type Opsets = BTreeMap<String, i64>;

/// Reads the graphs of one model.
pub(super) struct ModelReader {
    pub tensors: TensorReader,
    /// Functions of the model.
    pub functions: HashMap<FunctionName, Rc<FunctionProto>>,
    /// Graphs that nodes run, read so far.
    pub subgraphs: IndexMap<String, Graph>,
    /// The graph being read, last, and those around it.
    pub levels: Vec<GraphReader>,
    /// Functions being put in place of their calls.
    pub calls: Vec<FunctionName>,
    /// Nodes that came from functions so far.
    pub inlined: usize,
}

/// What a graph that a node runs gets from outside.
#[derive(Default)]
pub(super) struct Surroundings {
    /// Types of its own inputs where the file states none.
    pub inputs: Vec<TensorType>,
    /// Captured values, which become its last inputs.
    pub captures: Vec<(String, TensorType)>,
    /// Captured constants.
    pub constants: Vec<(String, Tensor)>,
}

impl ModelReader {
    /// Reads a graph, the main one when there are no surroundings.
    pub fn graph(
        &mut self,
        mut proto: GraphProto,
        opsets: &Opsets,
        surroundings: Option<Surroundings>,
    ) -> Result<Graph, ReadError> {
        if self.levels.len() + self.calls.len() >= DEEPEST {
            let reason = format!("graphs and functions are nested more than {DEEPEST} deep");
            return Err(ReadError::Model { reason });
        }
        let mut level = GraphReader::new(&proto);
        let initializers = proto.initializer.iter().map(|tensor| tensor.name.as_str());
        let sparse = proto.sparse_initializer.iter().filter_map(|tensor| tensor.values.as_ref());
        let constants: HashSet<&str> = match surroundings {
            None => initializers.chain(sparse.map(|tensor| tensor.name.as_str())).collect(),
            Some(_) => HashSet::new(),
        };
        let around = surroundings.unwrap_or_default();
        let inputs = proto.input.iter().filter(|input| !constants.contains(input.name.as_str()));
        for (index, input) in inputs.enumerate() {
            let (name, declared) = declaration(input);
            let ty = match (declared, around.inputs.get(index)) {
                (Ok(ty), _) => ty,
                (Err(_), Some(ty)) if !states_type(input) => ty.clone(),
                (Err(reason), _) => return Err(ReadError::Value { value: name, reason }),
            };
            level.define(&name, |editor| editor.add_input(name.as_str(), ty))?;
        }
        for (name, ty) in around.captures {
            level.define(&name, |editor| editor.add_input(name.as_str(), ty))?;
        }
        for (name, tensor) in around.constants {
            level.define(&name, |editor| editor.add_constant(name.as_str(), tensor))?;
        }
        for tensor in std::mem::take(&mut proto.initializer) {
            let name = tensor.name.clone();
            let tensor = self.tensors.read(tensor)?;
            level.define(&name, |editor| editor.add_constant(name.as_str(), tensor))?;
        }
        for tensor in std::mem::take(&mut proto.sparse_initializer) {
            let name = tensor.values.as_ref().map_or_else(String::new, |values| values.name.clone());
            let tensor = sparse::to_dense(tensor, &mut self.tensors)
                .map_err(|reason| ReadError::Tensor { tensor: name.clone(), reason })?;
            level.define(&name, |editor| editor.add_constant(name.as_str(), tensor))?;
        }
        for node in proto.node.iter_mut().filter(|node| is_constant(node)) {
            let tensor =
                constant(node, &mut self.tensors).map_err(|reason| node_error(node, &node.name, reason))?;
            let name = node.output[0].clone();
            level.define(&name, |editor| editor.add_constant(name.as_str(), tensor))?;
        }
        self.levels.push(level);
        for (index, node) in proto.node.into_iter().enumerate() {
            if !is_constant(&node) {
                self.node(node, index, opsets)?;
            }
        }
        for output in &proto.output {
            let id = self.resolve(&output.name).ok_or_else(|| ReadError::Order {
                place: String::from("the list of the graph's outputs"),
                value: output.name.clone(),
                why: String::from("nothing defines"),
            })?;
            self.level().editor.add_output(id);
        }
        match self.levels.pop() {
            Some(level) => Ok(level.editor.build()?),
            None => Err(ReadError::Model { reason: String::from("the file holds no graph") }),
        }
    }

    /// The graph being read.
    pub fn level(&mut self) -> &mut GraphReader {
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    pub fn resolve(&mut self, name: &str) -> Option<ValueId> {
        self.level().values.get(name).copied()
    }

    /// The values of a node's inputs.
    pub fn arguments(
        &mut self,
        proto: &NodeProto,
        name: &str,
        index: usize,
    ) -> Result<Vec<Option<ValueId>>, ReadError> {
        let mut inputs = Vec::with_capacity(proto.input.len());
        for input in &proto.input {
            if input.is_empty() {
                inputs.push(None);
                continue;
            }
            let id = self.resolve(input).ok_or_else(|| self.missing(proto, name, input, index))?;
            inputs.push(Some(id));
        }
        while inputs.last().is_some_and(Option::is_none) {
            inputs.pop();
        }
        Ok(inputs)
    }

    pub fn missing(&mut self, proto: &NodeProto, node: &str, value: &str, index: usize) -> ReadError {
        ReadError::Order {
            place: format!("node `{node}` ({})", proto.op_type),
            value: value.to_owned(),
            why: self.level().why_missing(value, index),
        }
    }

    /// Reads the node at a position of its graph; nodes of a function stand at the position of its call.
    pub fn node(&mut self, mut proto: NodeProto, index: usize, opsets: &Opsets) -> Result<(), ReadError> {
        if proto.op_type.is_empty() {
            return Err(node_error(&proto, &proto.name, String::from("it names no operator")));
        }
        let domain = default_domain(&proto.domain).to_owned();
        if let Some(function) = self.function(&proto) {
            return self.inline(&proto, &function, index);
        }
        let Some(&version) = opsets.get(&domain) else {
            let reason = String::from("the model does not import a version of the operator's domain");
            return Err(node_error(&proto, &proto.name, reason));
        };
        if is_constant(&proto) {
            let tensor = constant(&mut proto, &mut self.tensors)
                .map_err(|reason| node_error(&proto, &proto.name, reason))?;
            let output = proto.output[0].clone();
            self.level().define(&output, |editor| editor.add_constant(output.as_str(), tensor))?;
            return Ok(());
        }
        let name = self.level().unique_node_name(&proto);
        let metadata = metadata(&mut proto);
        if domain.is_empty() && matches!(proto.op_type.as_str(), "If" | "Loop" | "Scan") {
            self.control(proto, &name, index, (opsets, version))?;
        } else {
            let inputs = self.arguments(&proto, &name, index)?;
            let call = Call { proto, name: name.clone(), inputs };
            let named = node_error(&call.proto, &name, String::new());
            self.operator(call, &domain, version).map_err(|fault| match (fault, named) {
                (Fault::Node(reason), ReadError::Node { node, op, .. }) => {
                    ReadError::Node { node, op, reason }
                }
                (Fault::Node(reason), _) => ReadError::Model { reason },
                (Fault::Elsewhere(error), _) => error,
            })?;
        }
        self.level().set_metadata(&name, metadata);
        Ok(())
    }

    /// Reads a node that runs no graphs: as an operator, as several, or kept as it is.
    fn operator(&mut self, call: Call, domain: &str, version: i64) -> Result<(), Fault> {
        let mut newest = call.clone();
        let last = self.levels.len() - 1;
        let ModelReader { levels, tensors, .. } = self;
        let level = &mut levels[last];
        let why = match domain {
            "" => match upgrade::to_newest(&mut newest, version, level)? {
                Some(why) => String::from(why),
                None => {
                    let lowering = &mut Lowering::new(level, &newest);
                    if quantized::lower(lowering)? || loss::lower(lowering)? || contrib::default(lowering)? {
                        return Ok(());
                    }
                    match map(&newest, level, tensors)? {
                        Mapping::Operator(op, taken) => {
                            let inputs = &newest.inputs[..taken.min(newest.inputs.len())];
                            level.add(&call.name, op, inputs, &call.proto.output)?;
                            return Ok(());
                        }
                        Mapping::Kept(why) => why,
                    }
                }
            },
            "com.microsoft" => {
                let lowering = &mut Lowering::new(level, &newest);
                if quantized::lower_contributed(lowering)? || contrib::lower(lowering)? {
                    return Ok(());
                }
                String::from("the operator, in this form, is not one of those that are understood")
            }
            _ => String::from("the operator is not one of those that are understood"),
        };
        self.keep(call, domain, &why)
    }

    /// Keeps a node as it is; the file must state the types of its outputs.
    fn keep(&mut self, call: Call, domain: &str, why: &str) -> Result<(), Fault> {
        let Call { mut proto, name, inputs } = call;
        let mut kept = Attributes::new();
        for attribute in std::mem::take(&mut proto.attribute) {
            let attribute_name = attribute.name.clone();
            kept.insert(attribute_name, attributes::keep(attribute, &mut self.tensors)?);
        }
        let op_type = std::mem::take(&mut proto.op_type);
        let opaque = Opaque { domain: domain.to_owned(), op_type, attributes: kept };
        let level = self.level();
        let mut outputs = Vec::with_capacity(proto.output.len());
        for output in proto.output.iter().filter(|output| !output.is_empty()) {
            let Some(ty) = level.declared(output)? else {
                return Err(Fault::Node(format!(
                    "{why}, so the file must state the type of its output `{output}`; add it with \
                     onnx.shape_inference.infer_shapes(model)"
                )));
            };
            outputs.push((output.clone(), ty.clone()));
        }
        level.add_typed(&name, Op::Opaque(opaque), &inputs, outputs)?;
        Ok(())
    }
}

fn map(call: &Call, level: &GraphReader, tensors: &mut TensorReader) -> Result<Mapping, String> {
    let types: Vec<Option<&TensorType>> =
        call.inputs.iter().map(|input| input.map(|id| &level.editor.value(id).ty)).collect();
    let constants: Vec<Option<&Tensor>> =
        call.inputs.iter().map(|input| input.and_then(|id| level.editor.constant(id))).collect();
    operator::map(&call.proto, &Arguments { types: &types, constants: &constants }, tensors)
}

fn metadata(proto: &mut NodeProto) -> BTreeMap<String, String> {
    let left_out = left_out(&proto.output);
    let overload = std::mem::take(&mut proto.overload);
    by_key(
        &proto.metadata_props,
        &[
            (keys::DOC_STRING, &proto.doc_string),
            (keys::OVERLOAD, &overload),
            (keys::OUTPUTS_LEFT_OUT, &left_out),
        ],
    )
}

pub(super) fn node_error(proto: &NodeProto, node: &str, reason: String) -> ReadError {
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
    let AttributeProto { name, t, f, i, s, floats, ints, strings, sparse_tensor, .. } =
        std::mem::take(attribute);
    let missing = || format!("attribute `{name}` holds no value of its type");
    let tensor = match name.as_str() {
        "value" => return tensors.decode(*t.ok_or_else(missing)?),
        "sparse_value" => return sparse::to_dense(*sparse_tensor.ok_or_else(missing)?, tensors),
        "value_float" => Ok(Tensor::scalar(f.ok_or_else(missing)?)),
        "value_int" => Ok(Tensor::scalar(i.ok_or_else(missing)?)),
        "value_string" => Tensor::from_strings([], vec![s.ok_or_else(missing)?]),
        "value_floats" => Tensor::from_vec([floats.len()], floats),
        "value_ints" => Tensor::from_vec([ints.len()], ints),
        "value_strings" => Tensor::from_strings([strings.len()], strings),
        _ => return Err(format!("attribute `{name}` is not one that a constant has")),
    };
    tensor.map_err(|error| error.to_string())
}
