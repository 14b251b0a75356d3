//! A part of a graph as a graph of its own.

use std::collections::{HashMap, HashSet};

use calipers_ir::{Graph, GraphEditor, TensorType, ValueId};

use crate::PassError;

/// The nodes between `inputs` and `outputs` as a graph with those inputs and outputs, in that order. Names are kept;
/// constants are shared.
///
/// ```text
/// x -> a -> b -> c -> y     extract([b], [y]) gives     b -> c -> y
/// ```
///
/// # Errors
/// When an output needs an input of the graph that is not among `inputs`.
pub fn extract(graph: &Graph, inputs: &[ValueId], outputs: &[ValueId]) -> Result<Graph, PassError> {
    let given: HashSet<ValueId> = inputs.iter().copied().collect();
    let mut needed = vec![false; graph.values().len()];
    for output in outputs {
        needed[output.index()] = true;
    }
    let mut kept = Vec::new();
    for (id, node) in graph.node_ids().rev() {
        if node.outputs.iter().any(|output| needed[output.index()] && !given.contains(output)) {
            kept.push(id);
            for input in node.inputs.iter().flatten() {
                needed[input.index()] = true;
            }
        }
    }
    let edit = |error| PassError::Edit { pass: "extract", error: Box::new(error) };
    let mut editor = GraphEditor::new(graph.name());
    editor.set_requantization(graph.requantization());
    let mut ids: HashMap<ValueId, ValueId> = HashMap::new();
    for &input in inputs {
        let value = graph.value(input);
        // A shape may have been a formula over inputs that this graph does not have.
        let ty = TensorType { dtype: value.ty.dtype, shape: value.ty.shape.clone() };
        ids.insert(input, editor.add_input(value.name.as_str(), ty).map_err(edit)?);
    }
    for (id, tensor) in graph.constants() {
        if needed[id.index()] && !given.contains(id) {
            let name = graph.value(*id).name.as_str();
            ids.insert(*id, editor.add_constant(name, tensor.clone()).map_err(edit)?);
        }
    }
    for id in kept.into_iter().rev() {
        let node = graph.node(id);
        let missing = node.inputs.iter().flatten().find(|input| !ids.contains_key(input));
        if let Some(missing) = missing {
            return Err(PassError::Extract {
                node: node.name.clone(),
                value: graph.value(*missing).name.clone(),
            });
        }
        let arguments: Vec<Option<ValueId>> =
            node.inputs.iter().map(|input| input.and_then(|id| ids.get(&id).copied())).collect();
        // An output that is also an input is given, not computed; its node keeps it under a name of its own.
        let results = node
            .outputs
            .iter()
            .map(|output| {
                let value = graph.value(*output);
                let name = match given.contains(output) {
                    true => editor.fresh_name(&format!("{}_computed", value.name)),
                    false => value.name.clone(),
                };
                (name, value.ty.clone())
            })
            .collect();
        let made = editor.add_typed_node(node.name.as_str(), node.op.clone(), &arguments, results);
        editor.set_metadata(&node.name, node.metadata.clone());
        for (old, new) in node.outputs.iter().zip(made.map_err(edit)?) {
            if !given.contains(old) {
                ids.insert(*old, new);
            }
        }
    }
    for output in outputs {
        match ids.get(output) {
            Some(id) => editor.add_output(*id),
            None => {
                return Err(PassError::Extract {
                    node: String::from("the outputs"),
                    value: graph.value(*output).name.clone(),
                });
            }
        }
    }
    editor.build().map_err(edit)
}
