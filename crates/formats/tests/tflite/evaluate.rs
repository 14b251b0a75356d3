//! A model run node by node, as the reference defines each operator.

use std::collections::HashMap;

use calipers_ir::{Control, Graph, Model, Op, Tensor, ValueId};

/// The outputs of the main graph for inputs in its order, or which node cannot be computed.
pub fn run(model: &Model, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    graph(model, &model.graph, inputs)
}

fn graph(model: &Model, graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    assert_eq!(graph.inputs().len(), inputs.len(), "inputs of {}", graph.name());
    let mut values: HashMap<ValueId, Tensor> =
        graph.constants().iter().map(|(&id, tensor)| (id, tensor.clone())).collect();
    values.extend(graph.inputs().iter().copied().zip(inputs.iter().cloned()));
    for node in graph.nodes() {
        let arguments: Vec<Option<&Tensor>> =
            node.inputs.iter().map(|input| input.map(|id| &values[&id])).collect();
        let results = match &node.op {
            Op::Control(control) => controlled(model, control, &arguments)?,
            op => calipers_reference::evaluate(op, &arguments, node.outputs.len())
                .map_err(|error| format!("node `{}`: {error}", node.name))?,
        };
        for (&output, result) in node.outputs.iter().zip(results) {
            let ty = &graph.value(output).ty;
            if !ty.compatible(&result.tensor_type()) {
                return Err(format!(
                    "node `{}`: {ty} was declared, it gives {}",
                    node.name,
                    result.tensor_type()
                ));
            }
            values.insert(output, result);
        }
    }
    Ok(graph.outputs().iter().map(|id| values[id].clone()).collect())
}

fn controlled(model: &Model, control: &Control, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, String> {
    let mut carried: Vec<Tensor> = inputs.iter().flatten().map(|&tensor| tensor.clone()).collect();
    let holds = |tensor: &Tensor| tensor.bytes().iter().any(|&byte| byte != 0);
    match control {
        Control::While { cond, body } => {
            while holds(&graph(model, &model.subgraphs[&cond.0], &carried)?[0]) {
                carried = graph(model, &model.subgraphs[&body.0], &carried)?;
            }
            Ok(carried)
        }
        Control::If { then_branch, else_branch, .. } => {
            let condition = carried.remove(0);
            let branch = if holds(&condition) { then_branch } else { else_branch };
            graph(model, &model.subgraphs[&branch.0], &carried)
        }
        Control::Loop { .. } | Control::Scan { .. } => Err(String::from("TFLite has no such operator")),
    }
}
