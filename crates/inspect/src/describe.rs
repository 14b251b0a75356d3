//! What is in a model: layers, tensors, quantization parameters, operations and bytes.

mod html;
mod layers;
mod ledger;
mod tensors;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;

use calipers_ir::{Dim, Graph, TensorType, ValueId};
use calipers_quant::{Placement, QuantAssignment};
use serde::Serialize;

use crate::{Distribution, Format, InspectError, OpenedModel, Role};

pub use html::html;
pub use text::{TextOptions, text};

pub(crate) use layers::operator;

/// Everything that can be said of a model without running it.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    /// Version of this document.
    pub version: u32,
    /// The file.
    pub file: PathBuf,
    /// Its format.
    pub format: Format,
    /// Name of the graph.
    pub graph: String,
    /// Who wrote the model, and its version.
    pub producer: (String, String),
    /// Version of each operator set by domain; the default one of ONNX is the empty name.
    pub opsets: BTreeMap<String, i64>,
    /// Free text and properties of the file, by key.
    pub metadata: BTreeMap<String, String>,
    /// What the caller gives.
    pub inputs: Vec<Port>,
    /// What the caller gets.
    pub outputs: Vec<Port>,
    /// Elements of weights and biases.
    pub parameters: u64,
    /// Multiply-accumulates of convolutions, matrix products and recurrent layers; with a symbolic batch, of one sample.
    pub macs: u64,
    /// Nodes by operator, the most frequent first, subgraphs included.
    pub operators: Vec<OperatorCount>,
    /// What computes, in topological order; then that of subgraphs.
    pub layers: Vec<Layer>,
    /// Constants, in the order of the file.
    pub tensors: Vec<TensorFacts>,
    /// Activations that are quantized, in topological order.
    pub activations: Vec<Activation>,
    /// Where the bytes of the file are.
    pub ledger: Ledger,
    /// Layers that compute in float in a model that is quantized elsewhere, and why.
    pub float: Vec<FloatLayer>,
    /// What the user may want to know.
    pub notes: Vec<String>,
}

/// An input or output of the model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Storage type.
    #[serde(rename = "type")]
    pub dtype: String,
    /// Extents, numbers or names; `None` when not even the rank is known.
    pub shape: Option<Vec<String>>,
    /// How its integers stand for real numbers.
    pub quantization: Option<ScaleFacts>,
}

/// How often an operator occurs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OperatorCount {
    /// Its ONNX name, with the domain before it where that is not the default one.
    pub operator: String,
    /// Nodes.
    pub nodes: usize,
    /// Their multiply-accumulates.
    pub macs: u64,
}

/// A node that computes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// The subgraph that it is in; `None` in the main graph.
    pub subgraph: Option<String>,
    /// The value that it makes: the first one.
    pub output: String,
    /// Storage type of that, before quantization.
    #[serde(rename = "type")]
    pub dtype: String,
    /// Shape of that.
    pub shape: Option<Vec<String>>,
    /// Elements of the weights and biases that it reads.
    pub parameters: u64,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Its largest weight.
    pub weight: Option<WeightFacts>,
    /// How its output is quantized.
    pub activation: Option<ScaleFacts>,
    /// Bytes of the constants that it reads first, scales included.
    pub bytes: u64,
}

/// How a weight is stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeightFacts {
    /// Name of the constant.
    pub name: String,
    /// Storage type.
    #[serde(rename = "type")]
    pub dtype: String,
    /// Its scales, when it is quantized.
    pub scale: Option<ScaleFacts>,
}

/// How integers stand for real numbers: `real = scale * (integer - zero point)`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScaleFacts {
    /// Storage type of the integers.
    #[serde(rename = "type")]
    pub dtype: String,
    /// How many scales there are.
    pub scales: usize,
    /// The axis along which they differ.
    pub axis: Option<usize>,
    /// Elements along that axis that share a scale.
    pub block: Option<usize>,
    /// The smallest scale.
    pub smallest: f32,
    /// The largest scale.
    pub largest: f32,
    /// The smallest and the largest zero point.
    pub zero_points: (i64, i64),
    /// The real numbers that can be said, with the largest scale.
    pub range: Option<(f64, f64)>,
    /// How scales are distributed, where there are several.
    pub distribution: Option<Distribution>,
}

/// A constant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorFacts {
    /// Its name.
    pub name: String,
    /// The subgraph that it is in; `None` in the main graph.
    pub subgraph: Option<String>,
    /// What it is for.
    pub role: Role,
    /// Storage type.
    #[serde(rename = "type")]
    pub dtype: String,
    /// Extents.
    pub shape: Vec<usize>,
    /// Bytes that it takes.
    pub bytes: u64,
    /// Its scales, when it is quantized.
    pub scale: Option<ScaleFacts>,
    /// How its stored numbers are distributed: of weights and biases alone.
    pub distribution: Option<Distribution>,
    /// The share of its integers that are at the ends of their type.
    pub at_ends: Option<f64>,
}

/// A quantized activation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Activation {
    /// The value as the float model knows it.
    pub name: String,
    /// The value that holds the integers.
    pub integers: String,
    /// Its scale.
    pub scale: ScaleFacts,
}

/// Where the bytes of a model are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Length of the file.
    pub file: u64,
    /// Bytes in files beside it: what the constants take that do not fit into the file.
    pub beside: u64,
    /// Bytes by role and type, the largest first.
    pub rows: Vec<LedgerRow>,
    /// Graph structure, names and all else in the file.
    pub rest: u64,
}

/// Bytes of constants of one role and type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerRow {
    /// The role.
    pub role: Role,
    /// Storage type.
    #[serde(rename = "type")]
    pub dtype: String,
    /// How many tensors.
    pub tensors: usize,
    /// Their elements.
    pub elements: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A layer that computes in float.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FloatLayer {
    /// Its name.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// Bytes of the constants that it reads first.
    pub bytes: u64,
    /// Why, as the assignment beside the model says; `None` when there is none.
    pub reason: Option<String>,
}

/// Describes a model.
///
/// # Errors
/// When an assignment stands beside the model and cannot be read.
pub fn describe(opened: &OpenedModel) -> Result<Description, InspectError> {
    let assignment = opened.assignment()?;
    let model = &opened.model;
    let graphs: Vec<(Option<&str>, &Graph)> = std::iter::once((None, &model.graph))
        .chain(model.subgraphs.iter().map(|(name, graph)| (Some(name.as_str()), graph)))
        .collect();
    let (mut layers, mut tensors) = (Vec::new(), Vec::new());
    for (subgraph, graph) in &graphs {
        let found = tensors::tensors(*subgraph, graph);
        layers.extend(layers::layers(*subgraph, graph, &found));
        tensors.extend(found.into_iter().map(|tensor| tensor.facts));
    }
    let activations = tensors::activations(&model.graph);
    let parameters = tensors.iter().filter(|tensor| matches!(tensor.role, Role::Weight | Role::Bias));
    let parameters = parameters.map(|tensor| tensor.shape.iter().product::<usize>() as u64).sum();
    let operators = layers::operators(&graphs);
    let float = float_layers(&layers, &activations, assignment.as_ref());
    let mut notes = Vec::new();
    if graphs.iter().any(|(_, graph)| graph.values().iter().any(|value| value.ty.shape.is_none())) {
        notes.push(String::from(
            "some shapes are known only when the model runs; multiply-accumulates of their layers are not counted in full",
        ));
    }
    let port = |&id: &ValueId| port(&model.graph, id);
    Ok(Description {
        version: 1,
        file: opened.path.clone(),
        format: opened.format,
        graph: model.graph.name().to_owned(),
        producer: model.producer.clone(),
        opsets: model.opsets.clone(),
        metadata: model.metadata.clone(),
        inputs: model.graph.inputs().iter().map(port).collect(),
        outputs: model.graph.outputs().iter().map(port).collect(),
        parameters,
        macs: layers.iter().map(|layer| layer.macs).sum(),
        operators,
        ledger: ledger::ledger(opened.bytes, &graphs, &tensors),
        layers,
        tensors,
        activations,
        float,
        notes,
    })
}

fn port(graph: &Graph, id: ValueId) -> Port {
    let value = graph.value(id);
    let is_integer = value.ty.dtype.integer_range().is_some();
    Port {
        name: value.name.clone(),
        dtype: value.ty.dtype.to_string(),
        shape: shape(&value.ty),
        quantization: graph.quant_params(id).filter(|_| is_integer).map(|params| ScaleFacts::of(&params)),
    }
}

fn shape(ty: &TensorType) -> Option<Vec<String>> {
    ty.shape.as_ref().map(|shape| shape.iter().map(Dim::to_string).collect())
}

/// In a model that has quantized activations or an assignment, the layers that compute on real numbers.
fn float_layers(
    layers: &[Layer],
    activations: &[Activation],
    assignment: Option<&QuantAssignment>,
) -> Vec<FloatLayer> {
    if activations.is_empty() && assignment.is_none() {
        return Vec::new();
    }
    let float = |layer: &Layer| {
        let row = |reason| FloatLayer {
            name: layer.name.clone(),
            operator: layer.operator.clone(),
            bytes: layer.bytes,
            reason,
        };
        match assignment.and_then(|assignment| assignment.nodes.get(&layer.name)) {
            Some(assigned) => match &assigned.placement {
                Placement::Float { reason } => Some(row(Some(reason.clone()))),
                Placement::WeightOnly { reason, .. } => Some(row(Some(match reason {
                    Some(reason) => format!("weights are integers; {reason}"),
                    None => String::from("weights are integers; the recipe quantizes weights alone"),
                }))),
                Placement::Quantized { .. } | Placement::Dynamic { .. } => None,
            },
            // A layer without an entry belongs to one that has: an activation behind a convolution, a bias.
            None if assignment.is_some() || layer.activation.is_some() || layer.dtype != "f32" => None,
            None => Some(row(None)),
        }
    };
    layers.iter().filter_map(float).collect()
}
