//! The invariants of a graph, checked by running them.

use std::collections::HashSet;

use thiserror::Error;

use crate::{Graph, InferError, ValueId, infer};

/// The rule that a graph breaks, and where.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum VerifyError {
    /// Two values, or two nodes, have the same name, or one has none.
    #[error("graph `{graph}`: {what} name `{name}` is empty or given twice; names must be unique")]
    Name {
        /// Name of the graph.
        graph: String,
        /// `value` or `node`.
        what: &'static str,
        /// The name in question.
        name: String,
    },
    /// A value is read before, or without, being defined.
    #[error("graph `{graph}`, {place}: value `{value}` is used before anything defines it")]
    Undefined {
        /// Name of the graph.
        graph: String,
        /// The node or graph output that reads it.
        place: String,
        /// The value read.
        value: String,
    },
    /// A value is defined by more than one input, constant or node.
    #[error("graph `{graph}`: value `{value}` is defined more than once")]
    Redefined {
        /// Name of the graph.
        graph: String,
        /// The value in question.
        value: String,
    },
    /// An argument breaks a rule of its operator.
    #[error("graph `{graph}`, node `{node}`: {error}")]
    Operator {
        /// Name of the graph.
        graph: String,
        /// Name of the node.
        node: String,
        /// The rule.
        error: Box<InferError>,
    },
    /// A value is declared with another type than it has.
    #[error("graph `{graph}`, value `{value}`: declared as {declared}, but it is {found}")]
    Type {
        /// Name of the graph.
        graph: String,
        /// The value in question.
        value: String,
        /// Its declared type.
        declared: String,
        /// The type of what defines it.
        found: String,
    },
    /// A node has more outputs than its operator.
    #[error("graph `{graph}`, node `{node}`: {op} has at most {expected} outputs, found {found}")]
    OutputCount {
        /// Name of the graph.
        graph: String,
        /// Name of the node.
        node: String,
        /// Its operator.
        op: String,
        /// Outputs of the operator.
        expected: usize,
        /// Outputs of the node.
        found: usize,
    },
    /// Nodes feed each other in a circle.
    #[error("graph `{graph}`: node `{node}` depends on its own result")]
    Cycle {
        /// Name of the graph.
        graph: String,
        /// A node of the circle.
        node: String,
    },
}

/// Checks every invariant: unique names, single definition before use, arity, and declared types that agree with
/// what shape inference finds.
///
/// # Errors
/// The first rule that is broken.
pub fn verify(graph: &Graph) -> Result<(), VerifyError> {
    let name = || graph.name().to_owned();
    unique(graph, "value", graph.values().iter().map(|value| value.name.as_str()))?;
    unique(graph, "node", graph.nodes().iter().map(|node| node.name.as_str()))?;

    let mut defined = HashSet::new();
    let mut define = |value: ValueId| {
        if defined.insert(value) {
            return Ok(());
        }
        Err(VerifyError::Redefined { graph: name(), value: graph.value(value).name.clone() })
    };
    for &input in graph.inputs() {
        define(input)?;
    }
    for (&value, tensor) in graph.constants() {
        define(value)?;
        check_type(graph, value, &tensor.tensor_type())?;
    }
    let mut seen: HashSet<ValueId> = graph.inputs().iter().chain(graph.constants().keys()).copied().collect();
    for node in graph.nodes() {
        for input in node.inputs.iter().flatten() {
            if !seen.contains(input) {
                return Err(VerifyError::Undefined {
                    graph: name(),
                    place: format!("node `{}`", node.name),
                    value: graph.value(*input).name.clone(),
                });
            }
        }
        let constants: Vec<_> =
            node.inputs.iter().map(|input| input.and_then(|id| graph.constant(id))).collect();
        let inferred = infer(&node.op, &graph.input_types(node), &constants).map_err(|error| {
            VerifyError::Operator { graph: name(), node: node.name.clone(), error: Box::new(error) }
        })?;
        if let Some(types) = inferred {
            if types.len() < node.outputs.len() {
                return Err(VerifyError::OutputCount {
                    graph: name(),
                    node: node.name.clone(),
                    op: node.op.name().to_owned(),
                    expected: types.len(),
                    found: node.outputs.len(),
                });
            }
            for (&output, ty) in node.outputs.iter().zip(&types) {
                check_type(graph, output, ty)?;
            }
        }
        for &output in &node.outputs {
            define(output)?;
            seen.insert(output);
        }
    }
    for output in graph.outputs() {
        if !seen.contains(output) {
            let value = graph.value(*output).name.clone();
            return Err(VerifyError::Undefined { graph: name(), place: String::from("the outputs"), value });
        }
    }
    Ok(())
}

fn unique<'a>(
    graph: &Graph,
    what: &'static str,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), VerifyError> {
    let mut seen = HashSet::new();
    for name in names {
        if name.is_empty() || !seen.insert(name) {
            return Err(VerifyError::Name { graph: graph.name().to_owned(), what, name: name.to_owned() });
        }
    }
    Ok(())
}

fn check_type(graph: &Graph, id: ValueId, found: &crate::TensorType) -> Result<(), VerifyError> {
    let value = graph.value(id);
    if value.ty.compatible(found) {
        return Ok(());
    }
    Err(VerifyError::Type {
        graph: graph.name().to_owned(),
        value: value.name.clone(),
        declared: value.ty.to_string(),
        found: found.to_string(),
    })
}
