//! Nodes that run graphs: If, Loop and Scan. What the graphs read from outside becomes inputs of the node.

use std::collections::HashSet;

use calipers_ir::{Control, DType, Dim, Op, Subgraph, TensorType, ValueId};

use super::super::ReadError;
use super::super::attributes::NodeAttributes;
use super::super::messages::{GraphProto, NodeProto};
use super::graph::Fault;
use super::nodes::{ModelReader, Opsets, Surroundings, node_error};

/// Types of the inputs and outputs of a graph that was read.
struct Body {
    key: Subgraph,
    outputs: Vec<TensorType>,
}

impl ModelReader {
    /// Reads an If, Loop or Scan node and its graphs.
    pub fn control(
        &mut self,
        mut proto: NodeProto,
        name: &str,
        index: usize,
        (opsets, version): (&Opsets, i64),
    ) -> Result<(), ReadError> {
        let place = NodeProto { attribute: Vec::new(), ..proto.clone() };
        let fail = |reason: String| node_error(&place, name, reason);
        if proto.op_type == "Scan" && version < 9 {
            return Err(fail(String::from("Scan over a batch, before operator set 9, is not supported")));
        }
        let mut inputs = self.arguments(&proto, name, index)?;
        let wanted: &[&str] = if proto.op_type == "If" { &["then_branch", "else_branch"] } else { &["body"] };
        let mut graphs = Vec::new();
        for &attribute in wanted {
            let found = proto.attribute.iter_mut().find(|candidate| candidate.name == attribute);
            let graph = found.and_then(|attribute| attribute.g.take());
            graphs.push(graph.ok_or_else(|| fail(format!("attribute `{attribute}` holds no graph")))?);
        }
        let mut attributes: Vec<_> = std::mem::take(&mut proto.attribute);
        attributes.retain(|attribute| !wanted.contains(&attribute.name.as_str()));

        let mut captured = Vec::new();
        let mut surroundings = Surroundings::default();
        for free in free_names(&graphs) {
            let id = self.resolve(&free).ok_or_else(|| self.missing(&place, name, &free, index))?;
            let editor = &self.level().editor;
            match editor.constant(id) {
                Some(tensor) => surroundings.constants.push((free, tensor.clone())),
                None => {
                    surroundings.captures.push((free, editor.value(id).ty.clone()));
                    captured.push(Some(id));
                }
            }
        }
        let captures = captured.len() as i64;
        let types: Vec<Option<TensorType>> =
            inputs.iter().map(|input| input.map(|id| self.level().editor.value(id).ty.clone())).collect();
        let mut bodies = Vec::new();
        for (graph, attribute) in graphs.into_iter().zip(wanted) {
            let surroundings = Surroundings {
                inputs: body_inputs(&proto.op_type, &types),
                captures: surroundings.captures.clone(),
                constants: surroundings.constants.clone(),
            };
            bodies.push(self.body(*graph, &format!("{name}/{attribute}"), opsets, surroundings)?);
        }
        let mut attributes = NodeAttributes::new(&attributes);
        let (op, outputs) = match (proto.op_type.as_str(), bodies.as_slice()) {
            ("If", [then_branch, else_branch]) => {
                let pairs = then_branch.outputs.iter().zip(&else_branch.outputs);
                let outputs: Option<Vec<_>> = pairs.map(|(then, other)| join(name, then, other)).collect();
                let op = Control::If {
                    then_branch: then_branch.key.clone(),
                    else_branch: else_branch.key.clone(),
                    captures,
                };
                (op, outputs.filter(|_| then_branch.outputs.len() == else_branch.outputs.len()))
            }
            ("Loop", [body]) => {
                if inputs.len() < 2 {
                    inputs.resize(2, None);
                }
                let initial = types.get(2..).unwrap_or_default();
                (Control::Loop { body: body.key.clone(), captures }, loop_outputs(name, initial, body))
            }
            (_, [body]) => {
                let ints = |list: Result<Option<Vec<i64>>, String>| list.map(Option::unwrap_or_default);
                let op = Control::Scan {
                    body: body.key.clone(),
                    num_scan_inputs: attributes.int("num_scan_inputs").map_err(fail)?.unwrap_or(1),
                    scan_input_axes: ints(attributes.ints("scan_input_axes")).map_err(fail)?,
                    scan_input_directions: ints(attributes.ints("scan_input_directions")).map_err(fail)?,
                    scan_output_axes: ints(attributes.ints("scan_output_axes")).map_err(fail)?,
                    scan_output_directions: ints(attributes.ints("scan_output_directions")).map_err(fail)?,
                    captures,
                };
                let outputs = scan_outputs(name, &types, body, &op);
                (op, outputs)
            }
            _ => return Err(fail(String::from("expected its graphs"))),
        };
        attributes.finish().map_err(fail)?;
        let outputs = outputs.ok_or_else(|| {
            fail(String::from(
                "the graphs that it runs, and what goes into them, differ in number or storage type",
            ))
        })?;
        inputs.extend(captured);
        self.control_node(&place, name, Op::Control(op), (&inputs, outputs))
    }

    fn control_node(
        &mut self,
        proto: &NodeProto,
        name: &str,
        op: Op,
        (inputs, outputs): (&[Option<ValueId>], Vec<TensorType>),
    ) -> Result<(), ReadError> {
        let level = self.level();
        let present = proto.output.iter().rposition(|output| !output.is_empty()).map_or(0, |last| last + 1);
        if present > outputs.len() {
            let reason = format!("its graphs give {} outputs, the node has {present}", outputs.len());
            return Err(node_error(proto, name, reason));
        }
        let mut typed = Vec::with_capacity(present);
        for (index, (output, ty)) in proto.output[..present].iter().zip(outputs).enumerate() {
            if output.is_empty() {
                typed.push((level.fresh(&format!("{name}/unused_{index}")), ty));
                continue;
            }
            let ty = match level.declared(output)? {
                Some(declared) if declared.dtype == ty.dtype => {
                    if ty.shape.is_none() {
                        declared.clone()
                    } else {
                        ty
                    }
                }
                Some(declared) => {
                    let reason = format!("the file declares it as {declared}, but node `{name}` makes {ty}");
                    return Err(ReadError::Value { value: output.clone(), reason });
                }
                None => ty,
            };
            typed.push((output.clone(), ty));
        }
        match level.add_typed(name, op, inputs, typed) {
            Ok(_) => Ok(()),
            Err(Fault::Node(reason)) => Err(node_error(proto, name, reason)),
            Err(Fault::Elsewhere(error)) => Err(error),
        }
    }

    /// Reads a graph that a node runs, and keeps it under a name of its own.
    fn body(
        &mut self,
        graph: GraphProto,
        wanted: &str,
        opsets: &Opsets,
        surroundings: Surroundings,
    ) -> Result<Body, ReadError> {
        let graph = self.graph(graph, opsets, Some(surroundings))?;
        let free = |key: &String| !self.subgraphs.contains_key(key);
        let numbered = (1u64..).map(|number| format!("{wanted}_{number}"));
        let key = std::iter::once(wanted.to_owned()).chain(numbered).find(free).unwrap_or_default();
        let outputs = graph.outputs().iter().map(|&id| graph.value(id).ty.clone()).collect();
        self.subgraphs.insert(key.clone(), graph);
        Ok(Body { key: Subgraph(key), outputs })
    }
}

/// Types of the own inputs of a graph, for those that the file leaves open.
fn body_inputs(op_type: &str, types: &[Option<TensorType>]) -> Vec<TensorType> {
    let open = |ty: &Option<TensorType>| TensorType::unranked(ty.as_ref().map_or(DType::F32, |ty| ty.dtype));
    let scalar = |dtype| TensorType::new(dtype, [] as [usize; 0]);
    match op_type {
        "If" => Vec::new(),
        "Loop" => {
            let carried = types.get(2..).unwrap_or_default().iter().map(open);
            [scalar(DType::I64), scalar(DType::Bool)].into_iter().chain(carried).collect()
        }
        _ => types.iter().map(open).collect(),
    }
}

/// A type that values of both types have; `None` when the storage types differ.
fn join(node: &str, a: &TensorType, b: &TensorType) -> Option<TensorType> {
    if a.dtype != b.dtype {
        return None;
    }
    let shape = match (&a.shape, &b.shape) {
        (Some(a), Some(b)) if a.len() == b.len() => Some(
            a.iter()
                .zip(b)
                .enumerate()
                .map(
                    |(axis, (a, b))| {
                        if a == b { a.clone() } else { Dim::symbolic(format!("?{node}.{axis}")) }
                    },
                )
                .collect(),
        ),
        _ => None,
    };
    Some(TensorType { dtype: a.dtype, shape })
}

fn loop_outputs(node: &str, initial: &[Option<TensorType>], body: &Body) -> Option<Vec<TensorType>> {
    let (carried, scanned) = body.outputs.get(1..)?.split_at_checked(initial.len())?;
    let carried = initial.iter().zip(carried).map(|(initial, next)| join(node, initial.as_ref()?, next));
    let scanned = scanned.iter().map(|ty| Some(with_axis(node, ty, 0)));
    carried.chain(scanned).collect()
}

fn scan_outputs(
    node: &str,
    types: &[Option<TensorType>],
    body: &Body,
    scan: &Control,
) -> Option<Vec<TensorType>> {
    let Control::Scan { num_scan_inputs, scan_output_axes, .. } = scan else { return None };
    let states = types.len().checked_sub(usize::try_from(*num_scan_inputs).ok()?)?;
    let (next, scanned) = body.outputs.split_at_checked(states)?;
    let states = types.iter().zip(next).map(|(initial, next)| join(node, initial.as_ref()?, next));
    let scanned = scanned
        .iter()
        .enumerate()
        .map(|(index, ty)| Some(with_axis(node, ty, scan_output_axes.get(index).copied().unwrap_or(0))));
    states.chain(scanned).collect()
}

/// A type with one more axis, for the iterations.
fn with_axis(node: &str, ty: &TensorType, axis: i64) -> TensorType {
    let shape = ty.shape.as_ref().and_then(|shape| {
        let from_front = if axis < 0 { axis.checked_add(shape.len() as i64 + 1)? } else { axis };
        let at = usize::try_from(from_front).ok().filter(|&at| at <= shape.len())?;
        let mut shape = shape.clone();
        shape.insert(at, Dim::symbolic(format!("?{node}.iterations")));
        Some(shape)
    });
    TensorType { dtype: ty.dtype, shape }
}

/// Names that graphs read and do not define, each once, in the order of their first use.
fn free_names(graphs: &[Box<GraphProto>]) -> Vec<String> {
    let mut free = Vec::new();
    let mut seen = HashSet::new();
    for graph in graphs {
        collect_free(graph, &mut free, &mut seen);
    }
    free
}

fn collect_free(graph: &GraphProto, free: &mut Vec<String>, seen: &mut HashSet<String>) {
    let mut own: HashSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    own.extend(graph.initializer.iter().map(|tensor| tensor.name.as_str()));
    let sparse = graph.sparse_initializer.iter().filter_map(|tensor| tensor.values.as_ref());
    own.extend(sparse.map(|values| values.name.as_str()));
    own.extend(graph.node.iter().flat_map(|node| &node.output).map(String::as_str));
    let mut read = |name: &str| {
        if !name.is_empty() && !own.contains(name) && seen.insert(name.to_owned()) {
            free.push(name.to_owned());
        }
    };
    for node in &graph.node {
        node.input.iter().for_each(|input| read(input));
        for attribute in &node.attribute {
            for inner in attribute.g.as_deref().into_iter().chain(&attribute.graphs) {
                let mut inner_free = Vec::new();
                collect_free(inner, &mut inner_free, &mut HashSet::new());
                inner_free.iter().for_each(|name| read(name));
            }
        }
    }
    graph.output.iter().for_each(|output| read(&output.name));
}
