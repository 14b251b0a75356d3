//! The decision, before any edit: what is quantized, with which numbers, and why the rest is not.

use calipers_ir::{Graph, Node};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::decide::{ConstantRole, Decision, Slicing, decide};
use crate::{
    CalibrationTable, Candidate, Document, ObserverKind, Parameters, QuantError, Range, Recipe, WeightScheme,
    WeightType,
};

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
        /// The arguments that it reads as integers, by position.
        activations: Vec<usize>,
    },
    /// On integers that are made of its input while running.
    Dynamic {
        /// Its weights.
        constants: Vec<ConstantAssignment>,
    },
    /// On real numbers, with weights that are stored as integers.
    WeightOnly {
        /// Its weights.
        constants: Vec<ConstantAssignment>,
        /// Why its activations are not quantized; `None` when the recipe says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

impl Placement {
    /// The constant arguments that become integers.
    pub fn constants(&self) -> &[ConstantAssignment] {
        match self {
            Placement::Float { .. } => &[],
            Placement::Quantized { constants, .. }
            | Placement::Dynamic { constants }
            | Placement::WeightOnly { constants, .. } => constants,
        }
    }
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
    Own(Chosen),
    /// With those of the value of this name, whose elements it rearranges or selects.
    SameAs(String),
}

/// The parameters of a value, and where they come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    /// Scale and zero point.
    pub parameters: Parameters,
    /// What found the range.
    pub observer: ObserverKind,
    /// The range.
    pub range: Range,
    /// The smallest and the largest number seen.
    pub seen: Range,
    /// Where the choice was automatic, what was chosen from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

impl Document for QuantAssignment {
    const KIND: &'static str = "quantization assignment";
    const SUFFIX: &'static str = "assignment.json";
    const VERSION: u32 = 2;

    fn version(&self) -> u32 {
        self.version
    }
}

impl QuantAssignment {
    /// The parameters of a quantized value, its own or shared.
    pub fn parameters(&self, value: &str) -> Option<&Parameters> {
        match self.values.get(value)? {
            ValueAssignment::Own(chosen) => Some(&chosen.parameters),
            ValueAssignment::SameAs(root) => match self.values.get(root)? {
                ValueAssignment::Own(chosen) => Some(&chosen.parameters),
                ValueAssignment::SameAs(_) => None,
            },
        }
    }

    /// Whether a node computes between Dequantize and Quantize nodes.
    pub fn is_quantized(&self, node: &str) -> bool {
        matches!(self.nodes.get(node), Some(NodeAssignment { placement: Placement::Quantized { .. }, .. }))
    }
}

/// Decides what is quantized and with which numbers. Pure: the same arguments give the same result.
///
/// - A node is quantized unless the recipe says float, it has no integer form, or (for nodes that only rearrange) no
///   neighbour is quantized. Cheap nodes that only float operators read stay in float. Of nodes that have no integer form
///   but weights, the weights alone are quantized.
/// - Every f32 value that a quantized node reads or makes is quantized, in the scheme of the node that makes it, or of
///   the first quantized node that reads it when no quantized node makes it; but a matrix product gives real numbers
///   where float nodes alone read them. An activation that is fused into a node is part of it: what is observed and
///   quantized stands behind it.
/// - What rearranges or selects (see the table in `decide/form.rs`) makes values with the parameters of what it reads.
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
            let missing = || QuantError::NotCalibrated { graph: graph.name().to_owned(), value: name(id) };
            let seen = table.values.get(&name(id)).ok_or_else(missing)?;
            let range = seen.range_by(seen.kind, &value.scheme).ok_or_else(missing)?;
            let observer = match (seen.kind, seen.winner()) {
                (ObserverKind::Auto, Some(winner)) => winner.observer,
                (ObserverKind::Auto, None) => ObserverKind::Mse,
                (kind, _) => kind,
            };
            ValueAssignment::Own(Chosen {
                parameters: Parameters::of_activation(range, &value.scheme),
                observer,
                range,
                seen: seen.range.unwrap_or(range),
                candidates: seen.candidates.clone(),
            })
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
            Decision::Float { reason } => Placement::Float { reason: reason.clone() },
            Decision::Static { scheme, constants, activations, .. } => {
                let mut assigned = Vec::new();
                for &(input, role) in constants {
                    assign_constant(graph, node, (input, role), scheme, &mut assigned, &mut assignment)?;
                }
                Placement::Quantized { constants: assigned, activations: activations.clone() }
            }
            Decision::Dynamic { scheme, constants } => {
                let scheme = of_integer_product(node, scheme);
                Placement::Dynamic { constants: of_weights(graph, node, constants, &scheme)? }
            }
            Decision::WeightOnly { scheme, constants, reason } => Placement::WeightOnly {
                constants: of_weights(graph, node, constants, scheme)?,
                reason: reason.clone(),
            },
        };
        let operator = node.op.name().to_owned();
        assignment.nodes.insert(node.name.clone(), NodeAssignment { operator, placement });
    }
    note_twice(graph, &mut assignment);
    Ok(assignment)
}

/// Integer convolutions take weights without a sign, in ONNX Runtime.
fn of_integer_product(node: &Node, scheme: &WeightScheme) -> WeightScheme {
    if matches!(node.op, calipers_ir::Op::Conv(_)) {
        WeightScheme { dtype: WeightType::U8, symmetric: true, ..*scheme }
    } else {
        *scheme
    }
}

fn of_weights(
    graph: &Graph,
    node: &Node,
    constants: &[(usize, Slicing)],
    scheme: &WeightScheme,
) -> Result<Vec<ConstantAssignment>, QuantError> {
    let found = constants.iter().filter_map(|&(input, slicing)| {
        let id = node.input(input)?;
        let (name, tensor) = (graph.value(id).name.clone(), graph.constant(id)?);
        let parameters = Parameters::of_weight(&name, tensor, scheme, slicing.axis, slicing.block);
        Some(parameters.map(|parameters| ConstantAssignment { input, name, parameters }))
    });
    found.collect()
}

/// Appends a constant argument of a statically quantized node.
fn assign_constant(
    graph: &Graph,
    node: &Node,
    (input, role): (usize, ConstantRole),
    scheme: &crate::Scheme,
    assigned: &mut Vec<ConstantAssignment>,
    assignment: &mut QuantAssignment,
) -> Result<(), QuantError> {
    let name = |id| graph.value(id).name.clone();
    let Some((id, tensor)) = node.input(input).and_then(|id| Some((id, graph.constant(id)?))) else {
        return Ok(());
    };
    let parameters = match role {
        ConstantRole::Weight(slicing) => {
            Parameters::of_weight(&name(id), tensor, &scheme.weight, slicing.axis, slicing.block)?
        }
        ConstantRole::Operand => {
            let range = Range::of(&crate::parameters::finite(&name(id), tensor)?);
            let range = range.ok().flatten().unwrap_or(Range { min: 0.0, max: 0.0 });
            Parameters::of_activation(range, &scheme.activation)
        }
        ConstantRole::Bias => {
            let input = node.input(0).map(name).unwrap_or_default();
            let input_scale = assignment.parameters(&input).and_then(|input| input.scale.first().copied());
            let (Some(input_scale), Some(weight)) = (input_scale, assigned.last_mut()) else {
                return Err(QuantError::NotCalibrated { graph: graph.name().to_owned(), value: input });
            };
            let (bias, widened) =
                Parameters::of_bias(&node.name, &name(id), tensor, input_scale, &mut weight.parameters)?;
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
    assigned.push(ConstantAssignment { input, name: name(id), parameters });
    Ok(())
}

/// Notes what is stored twice: constants that nodes quantize in different ways, or also read in float.
fn note_twice(graph: &Graph, assignment: &mut QuantAssignment) {
    let mut notes = Vec::new();
    for (&id, tensor) in graph.constants().iter().filter(|(_, tensor)| tensor.len() > 1) {
        let name = &graph.value(id).name;
        let mut ways: Vec<&Parameters> = Vec::new();
        let mut float = Vec::new();
        for (_, node) in graph.consumers(id) {
            let placement = assignment.nodes.get(&node.name).map(|node| &node.placement);
            let constants = placement.map(Placement::constants).unwrap_or_default();
            let mut own = constants.iter().filter(|constant| constant.name == *name).peekable();
            if own.peek().is_none() {
                float.push(node.name.as_str());
            }
            for constant in own {
                // The same integers in another arrangement of scales are stored once.
                let same = |known: &&Parameters| {
                    known.dtype == constant.parameters.dtype
                        && known.scale == constant.parameters.scale
                        && known.zero_point == constant.parameters.zero_point
                };
                if !ways.iter().any(same) {
                    ways.push(&constant.parameters);
                }
            }
        }
        if ways.len() > 1 {
            notes.push(format!(
                "constant `{name}` ({} elements) is stored {} times, because the nodes that share it need different \
                 scales",
                tensor.len(),
                ways.len()
            ));
        }
        if let ([_, ..], [first, ..]) = (ways.as_slice(), float.as_slice()) {
            notes.push(format!(
                "constant `{name}` ({} elements) is also stored in float, which node `{first}` reads",
                tensor.len()
            ));
        }
    }
    assignment.notes.append(&mut notes);
}
