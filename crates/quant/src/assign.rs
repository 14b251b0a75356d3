//! The decision, before any edit: what is quantized, with which numbers, and why the rest is not.

use std::collections::HashSet;

use calipers_ir::{DType, Graph};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::decide::{ConstantRole, decide};
use crate::{CalibrationTable, Document, Parameters, QuantError, Range, Recipe};

/// What is quantized and how, by the names of a graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantAssignment {
    /// Version of this document.
    pub version: u32,
    /// Name of the graph.
    pub graph: String,
    /// What became of each node, in topological order.
    pub nodes: IndexMap<String, NodeAssignment>,
    /// The quantized values, in topological order.
    pub values: IndexMap<String, ValueAssignment>,
    /// What the user may want to know.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What became of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeAssignment {
    /// Its operator, by ONNX name.
    pub operator: String,
    /// The decision.
    pub placement: Placement,
}

/// Where a node computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Placement {
    /// On real numbers.
    Float {
        /// Why.
        reason: String,
    },
    /// Between Dequantize and Quantize nodes.
    Quantized {
        /// Its constant arguments.
        constants: Vec<ConstantAssignment>,
    },
}

/// How a constant argument of a node is quantized.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConstantAssignment {
    /// Position among the node's arguments.
    pub input: usize,
    /// Name of the constant.
    pub name: String,
    /// Its scales and zero point.
    pub parameters: Parameters,
}

/// How a value is quantized.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ValueAssignment {
    /// With its own parameters.
    Own(Parameters),
    /// With those of the value of this name, whose elements it rearranges or selects.
    SameAs(String),
}

impl Document for QuantAssignment {
    const KIND: &'static str = "quantization assignment";
    const SUFFIX: &'static str = "assignment.json";
    const VERSION: u32 = 1;

    fn version(&self) -> u32 {
        self.version
    }
}

impl QuantAssignment {
    /// The parameters of a quantized value, its own or shared.
    pub fn parameters(&self, value: &str) -> Option<&Parameters> {
        match self.values.get(value)? {
            ValueAssignment::Own(parameters) => Some(parameters),
            ValueAssignment::SameAs(root) => match self.values.get(root)? {
                ValueAssignment::Own(parameters) => Some(parameters),
                ValueAssignment::SameAs(_) => None,
            },
        }
    }

    /// Whether a node is quantized.
    pub fn is_quantized(&self, node: &str) -> bool {
        matches!(self.nodes.get(node), Some(NodeAssignment { placement: Placement::Quantized { .. }, .. }))
    }

    /// The decision in numbers.
    pub fn summary(&self, graph: &Graph) -> Summary {
        let mut summary = Summary { quantized: 0, float: Vec::new(), quantized_weights: 0, weights: 0 };
        let mut quantized = HashSet::new();
        for (name, node) in &self.nodes {
            match &node.placement {
                Placement::Float { reason } => summary.float.push(FloatNode {
                    name: name.clone(),
                    operator: node.operator.clone(),
                    reason: reason.clone(),
                }),
                Placement::Quantized { constants } => {
                    summary.quantized += 1;
                    quantized.extend(constants.iter().map(|constant| constant.name.as_str()));
                }
            }
        }
        for (&id, tensor) in graph.constants().iter().filter(|(_, tensor)| tensor.dtype() == DType::F32) {
            summary.weights += tensor.len();
            if quantized.contains(graph.value(id).name.as_str()) {
                summary.quantized_weights += tensor.len();
            }
        }
        summary
    }
}

/// A decision in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Nodes that are quantized.
    pub quantized: usize,
    /// Nodes that are not, in topological order.
    pub float: Vec<FloatNode>,
    /// Elements of f32 constants that become integers.
    pub quantized_weights: usize,
    /// Elements of all f32 constants.
    pub weights: usize,
}

/// A node that stays in float.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FloatNode {
    /// Its name.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// Why.
    pub reason: String,
}

impl Summary {
    /// The share of weights that become integers, from 0 to 1; 1 when there are none.
    pub fn share_of_weights(&self) -> f64 {
        if self.weights == 0 { 1.0 } else { self.quantized_weights as f64 / self.weights as f64 }
    }
}

/// Decides what is quantized and with which numbers. Pure: the same arguments give the same result.
///
/// - A node is quantized unless the recipe says float, it has no integer form, or (for nodes that only rearrange) no
///   neighbour is quantized.
/// - Every f32 value that a quantized node reads or makes is quantized, in the scheme of the node that makes it, or of
///   the first quantized node that reads it when no quantized node makes it. An activation that is fused into a node
///   is part of it: what is observed and quantized stands behind it.
/// - What max pooling, Flatten, Reshape, Transpose and Identity make has the parameters of what they read.
/// - Weights, biases and activations: see [`Parameters`].
///
/// # Errors
/// A value that the table lacks, a constant that is not finite, a graph that is already quantized.
pub fn assign(
    graph: &Graph,
    table: &CalibrationTable,
    recipe: &Recipe,
) -> Result<QuantAssignment, QuantError> {
    recipe.check()?;
    let structure = decide(graph, recipe)?;
    let name = |id| graph.value(id).name.clone();
    let mut values = IndexMap::new();
    for (&id, value) in &structure.values {
        let assigned = if value.root == id {
            let range = table
                .values
                .get(&name(id))
                .and_then(|observer| observer.range_by(observer.kind, &value.scheme))
                .ok_or_else(|| QuantError::NotCalibrated {
                    graph: graph.name().to_owned(),
                    value: name(id),
                })?;
            ValueAssignment::Own(Parameters::of_activation(range, &value.scheme))
        } else {
            ValueAssignment::SameAs(name(value.root))
        };
        values.insert(name(id), assigned);
    }
    let mut assignment = QuantAssignment {
        version: QuantAssignment::VERSION,
        graph: graph.name().to_owned(),
        nodes: IndexMap::new(),
        values,
        notes: structure.notes,
    };
    for (node, decision) in graph.nodes().iter().zip(&structure.nodes) {
        let placement = match decision {
            Err(reason) => Placement::Float { reason: reason.clone() },
            Ok(quantized) => {
                let mut constants: Vec<ConstantAssignment> = Vec::new();
                for &(input, role) in &quantized.constants {
                    let Some((id, tensor)) = node.input(input).and_then(|id| Some((id, graph.constant(id)?)))
                    else {
                        continue;
                    };
                    let parameters = match role {
                        ConstantRole::Weight { axis } => {
                            Parameters::of_weight(&name(id), tensor, &quantized.scheme.weight, axis, None)?
                        }
                        ConstantRole::Operand => {
                            let range = Range::of(&crate::parameters::finite(&name(id), tensor)?);
                            let range = range.ok().flatten().unwrap_or(Range { min: 0.0, max: 0.0 });
                            Parameters::of_activation(range, &quantized.scheme.activation)
                        }
                        ConstantRole::Bias => {
                            let input = node.input(0).map(name).unwrap_or_default();
                            let input_scale = assignment.parameters(&input).map(|input| input.scale[0]);
                            let (Some(input_scale), Some(weight)) = (input_scale, constants.last_mut())
                            else {
                                return Err(QuantError::NotCalibrated {
                                    graph: graph.name().to_owned(),
                                    value: input,
                                });
                            };
                            let (bias, widened) = Parameters::of_bias(
                                &node.name,
                                &name(id),
                                tensor,
                                input_scale,
                                &mut weight.parameters,
                            )?;
                            if widened > 0 {
                                assignment.notes.push(format!(
                                    "node `{}`: {widened} of {} weight scales were widened so that the bias fits i32",
                                    node.name,
                                    bias.scale.len()
                                ));
                            }
                            bias
                        }
                    };
                    constants.push(ConstantAssignment { input, name: name(id), parameters });
                }
                Placement::Quantized { constants }
            }
        };
        let operator = node.op.name().to_owned();
        assignment.nodes.insert(node.name.clone(), NodeAssignment { operator, placement });
    }
    Ok(assignment)
}
