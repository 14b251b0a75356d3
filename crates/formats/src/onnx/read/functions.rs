//! Functions of the model, put in place of their calls.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::super::ReadError;
use super::super::messages::{AttributeProto, FunctionProto, GraphProto, NodeProto};
use super::nodes::{ModelReader, node_error};
use super::{default_domain, opsets_of};

/// Domain, name and overload of a function.
pub(super) type FunctionName = (String, String, String);

/// Nodes that may come from functions: functions that call others can double with each one.
const MOST_NODES: usize = 1 << 17;

/// Functions that call functions.
const DEEPEST: usize = 24;

pub(super) fn name_of(function: &FunctionProto) -> FunctionName {
    (default_domain(&function.domain).to_owned(), function.name.clone(), function.overload.clone())
}

impl ModelReader {
    /// The function that a node calls.
    pub fn function(&self, node: &NodeProto) -> Option<Rc<FunctionProto>> {
        if self.functions.is_empty() {
            return None;
        }
        let name = (default_domain(&node.domain).to_owned(), node.op_type.clone(), node.overload.clone());
        self.functions.get(&name).cloned()
    }

    /// Reads the nodes of a function in place of a call of it. Their values and names begin with the call's name.
    pub fn inline(
        &mut self,
        call: &NodeProto,
        function: &Rc<FunctionProto>,
        index: usize,
    ) -> Result<(), ReadError> {
        let node = self.level().unique_node_name(call);
        let fail = |reason: String| node_error(call, &node, reason);
        let name = name_of(function);
        if self.calls.contains(&name) {
            return Err(fail(String::from("the function calls itself, directly or through others")));
        }
        if self.calls.len() >= DEEPEST {
            return Err(fail(format!("functions call each other more than {DEEPEST} deep")));
        }
        self.inlined = self.inlined.saturating_add(function.node.len());
        if self.inlined > MOST_NODES {
            return Err(fail(format!("the calls of functions stand for more than {MOST_NODES} nodes")));
        }
        if call.input.len() > function.input.len() || call.output.len() > function.output.len() {
            return Err(fail(format!(
                "the function has {} inputs and {} outputs, the call {} and {}",
                function.input.len(),
                function.output.len(),
                call.input.len(),
                call.output.len()
            )));
        }
        let opsets = opsets_of(&function.opset_import).map_err(|error| fail(error.to_string()))?;

        let absent = String::new();
        let mut names = HashMap::new();
        for (position, output) in function.output.iter().enumerate() {
            let given = call.output.get(position).unwrap_or(&absent);
            let given = match given.is_empty() {
                true => self.level().fresh(&format!("{node}/{output}")),
                false => given.clone(),
            };
            names.insert(output.clone(), given);
        }
        let results = names.clone();
        for (position, input) in function.input.iter().enumerate() {
            names.insert(input.clone(), call.input.get(position).unwrap_or(&absent).clone());
        }
        let mut arguments: HashMap<String, AttributeProto> = HashMap::new();
        for attribute in function.attribute_proto.iter().chain(&call.attribute) {
            arguments.insert(attribute.name.clone(), attribute.clone());
        }

        self.calls.push(name);
        for inner in &function.node {
            for output in inner.output.iter().filter(|output| !output.is_empty()) {
                if !names.contains_key(output) {
                    let fresh = self.level().fresh(&format!("{node}/{output}"));
                    names.insert(output.clone(), fresh);
                }
            }
            let mut inner = renamed(inner, &names, &arguments);
            let own = if inner.name.is_empty() { &inner.op_type } else { &inner.name };
            let own = format!("{node}/{own}");
            inner.name = own;
            self.node(inner, index, &opsets)?;
        }
        self.calls.pop();
        // An input that is also an output.
        for (output, given) in results {
            if self.resolve(&given).is_none() {
                let Some(source) = names.get(&output).and_then(|source| self.resolve(source)) else {
                    return Err(fail(format!("nothing in the function defines its output `{output}`")));
                };
                let name = self.level().fresh_node_name(&format!("{node}/{output}"));
                let op = calipers_ir::Op::Unary(calipers_ir::UnaryKind::Identity);
                let ty = self.level().editor.value(source).ty.clone();
                let added = self.level().add_typed(&name, op, &[Some(source)], vec![(given, ty)]);
                if let Err(super::graph::Fault::Elsewhere(error)) = added {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// A node of a function under the names of its call, with the call's attributes.
fn renamed(
    node: &NodeProto,
    names: &HashMap<String, String>,
    arguments: &HashMap<String, AttributeProto>,
) -> NodeProto {
    let rename = |name: &String| names.get(name).unwrap_or(name).clone();
    let attribute = |attribute: &AttributeProto| {
        let mut attribute = match attribute.ref_attr_name.as_str() {
            "" => attribute.clone(),
            given => AttributeProto { name: attribute.name.clone(), ..arguments.get(given)?.clone() },
        };
        attribute.g = attribute.g.map(|graph| Box::new(renamed_graph(&graph, names, arguments)));
        attribute.graphs =
            attribute.graphs.iter().map(|graph| renamed_graph(graph, names, arguments)).collect();
        Some(attribute)
    };
    NodeProto {
        input: node.input.iter().map(rename).collect(),
        output: node.output.iter().map(rename).collect(),
        attribute: node.attribute.iter().filter_map(attribute).collect(),
        ..node.clone()
    }
}

/// A graph that a node of a function runs. Its own names stay, those of the function are renamed.
fn renamed_graph(
    graph: &GraphProto,
    names: &HashMap<String, String>,
    arguments: &HashMap<String, AttributeProto>,
) -> GraphProto {
    let own: HashSet<&String> = graph
        .input
        .iter()
        .map(|input| &input.name)
        .chain(graph.initializer.iter().map(|tensor| &tensor.name))
        .chain(graph.node.iter().flat_map(|node| &node.output))
        .collect();
    let captured: HashMap<String, String> = names
        .iter()
        .filter(|(name, _)| !own.contains(name))
        .map(|(name, renamed)| (name.clone(), renamed.clone()))
        .collect();
    let mut outputs = graph.output.clone();
    for output in &mut outputs {
        if let Some(renamed) = captured.get(&output.name) {
            output.name.clone_from(renamed);
        }
    }
    GraphProto {
        node: graph.node.iter().map(|node| renamed(node, &captured, arguments)).collect(),
        output: outputs,
        ..graph.clone()
    }
}
