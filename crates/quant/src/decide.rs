//! Which nodes and values are quantized, before any number is known: the part of the decision that calibration and
//! assignment share.

mod form;
mod weights;

use std::collections::HashMap;

use calipers_ir::{DType, Graph, Layout, Node, NodeId, Op, ValueId};
use indexmap::IndexMap;

pub(crate) use weights::Slicing;

use crate::{ActivationScheme, Decider, ObserverKind, QuantError, Recipe, Scheme, Treatment, WeightScheme};
use form::{Form, form};
use weights::{constant, weights};

/// What becomes of a constant argument of a quantized node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConstantRole {
    /// A weight with its scales.
    Weight(Slicing),
    /// An i32 bias in the scale of argument 0 times that of argument 1.
    Bias,
    /// A constant in the place of an activation.
    Operand,
}

/// What becomes of a node.
#[derive(Clone, Debug)]
pub(crate) enum Decision {
    Float {
        reason: String,
    },
    /// Between Dequantize and Quantize nodes.
    Static {
        scheme: Scheme,
        /// Constant arguments by position.
        constants: Vec<(usize, ConstantRole)>,
        /// Arguments that are read as integers.
        activations: Vec<usize>,
        /// Whether its outputs have the parameters of its input.
        same_parameters: bool,
    },
    /// On integers that are made while running.
    Dynamic {
        scheme: WeightScheme,
        constants: Vec<(usize, Slicing)>,
    },
    /// On real numbers, with weights that are stored as integers.
    WeightOnly {
        scheme: WeightScheme,
        constants: Vec<(usize, Slicing)>,
        /// Why its activations are not quantized; `None` when the recipe says so.
        reason: Option<String>,
    },
}

impl Decision {
    pub(crate) fn reads_integers(&self, node: &Node, value: ValueId) -> bool {
        match self {
            Decision::Static { activations, .. } => {
                activations.iter().any(|&input| node.input(input) == Some(value))
            }
            Decision::Float { .. } | Decision::Dynamic { .. } | Decision::WeightOnly { .. } => false,
        }
    }
}

/// A value that is quantized.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QuantizedValue {
    /// The value whose parameters it has: itself, or what it is a selection or rearrangement of.
    pub root: ValueId,
    pub scheme: ActivationScheme,
}

/// The decision.
#[derive(Debug)]
pub(crate) struct Structure {
    /// For each node.
    pub nodes: Vec<Decision>,
    /// In topological order.
    pub values: IndexMap<ValueId, QuantizedValue>,
    /// What the user may want to know.
    pub notes: Vec<String>,
}

/// The names of the values that calibration must observe, each with its observer, in topological order. None when the
/// recipe quantizes nothing statically.
///
/// # Errors
/// When the graph is already quantized.
pub fn values_to_observe(graph: &Graph, recipe: &Recipe) -> Result<Vec<(String, ObserverKind)>, QuantError> {
    let structure = decide(graph, recipe)?;
    let roots = structure.values.iter().filter(|(id, value)| **id == value.root);
    Ok(roots.map(|(&id, value)| (graph.value(id).name.clone(), value.scheme.observer)).collect())
}

/// What is known of a node before its neighbours are looked at.
struct Draft {
    decision: Decision,
    /// Whether it stays in float wherever it stands.
    natural: bool,
    light: bool,
    float_output: bool,
}

pub(crate) fn decide(graph: &Graph, recipe: &Recipe) -> Result<Structure, QuantError> {
    let mut deciders = Vec::with_capacity(graph.nodes().len());
    let mut drafts = Vec::with_capacity(graph.nodes().len());
    for node in graph.nodes() {
        if matches!(node.op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_) | Op::DynamicQuantizeLinear) {
            return Err(QuantError::AlreadyQuantized {
                graph: graph.name().to_owned(),
                node: node.name.clone(),
                operator: node.op.name().to_owned(),
            });
        }
        let (treatment, decider) = recipe.treatment(graph, node);
        deciders.push(decider);
        drafts.push(draft(graph, node, recipe, treatment, decider));
    }
    let readers = readers(graph);
    leave_after_float(graph, &mut drafts);
    leave_before_float(graph, &readers, &mut drafts);
    leave_after_float(graph, &mut drafts);
    for index in islands(graph, &readers, &drafts) {
        let reason = "neither what feeds it nor what reads it is quantized, so nothing is gained";
        drafts[index].decision = Decision::Float { reason: String::from(reason) };
    }

    let mut values: IndexMap<ValueId, QuantizedValue> = IndexMap::new();
    for (node, draft) in graph.nodes().iter().zip(&drafts) {
        let Decision::Static { scheme, activations, same_parameters, .. } = &draft.decision else { continue };
        let own = |root| QuantizedValue { root, scheme: scheme.activation };
        for input in activations.iter().filter_map(|&input| node.input(input)) {
            values.entry(input).or_insert_with(|| own(input));
        }
        let source = node.input(0).and_then(|input| values.get(&input)).copied();
        for &output in &node.outputs {
            if draft.float_output && read_in_float(graph, &readers, &drafts, output) {
                continue;
            }
            let value = source.filter(|_| *same_parameters).unwrap_or_else(|| own(output));
            values.insert(output, value);
        }
    }
    let notes = unused(recipe, &deciders);
    Ok(Structure { nodes: drafts.into_iter().map(|draft| draft.decision).collect(), values, notes })
}

/// What of a recipe speaks of no node.
fn unused(recipe: &Recipe, deciders: &[Decider]) -> Vec<String> {
    let excluded = (0..recipe.exclude.len()).filter(|&index| !deciders.contains(&Decider::Exclude(index)));
    let excluded = excluded.map(|index| {
        let before = recipe.exclude[..index].contains(&recipe.exclude[index]);
        let why = if before { "is given twice" } else { "matches no node that others leave" };
        format!("the exclusion `{}` {why}", recipe.exclude[index])
    });
    let rules = (0..recipe.rules.len()).filter(|&index| !deciders.contains(&Decider::Rule(index)));
    let rules = rules.map(|rule| format!("rule {rule} of the recipe decides over no node"));
    excluded.chain(rules).collect()
}

fn draft(graph: &Graph, node: &Node, recipe: &Recipe, treatment: &Treatment, decider: Decider) -> Draft {
    let slicings = |scheme: &WeightScheme| -> Vec<(usize, Slicing)> {
        let found = weights(graph, node).into_iter();
        let sliced = found.filter_map(|weight| {
            let (_, tensor) = constant(graph, node, weight.input)?;
            Some((weight.input, weight.slicing(tensor.shape(), scheme)))
        });
        sliced.collect()
    };
    // Weights alone, or nothing.
    let lesser = |scheme: &WeightScheme, reason: Option<String>, natural: bool| {
        let constants = slicings(scheme);
        let decision = if constants.is_empty() {
            let reason = reason.unwrap_or_else(|| String::from("it has no constant weights"));
            Decision::Float { reason }
        } else {
            Decision::WeightOnly { scheme: *scheme, constants, reason }
        };
        Draft { decision, natural, light: false, float_output: false }
    };
    match treatment {
        Treatment::Float => {
            let reason = match decider {
                Decider::Exclude(index) => format!("the recipe excludes `{}`", recipe.exclude[index]),
                Decider::Rule(rule) => format!("rule {rule} of the recipe says float"),
                Decider::Default => String::from("the default of the recipe says float"),
            };
            let decision = Decision::Float { reason };
            Draft { decision, natural: false, light: false, float_output: false }
        }
        Treatment::Static(scheme) => match form(graph, node, scheme) {
            Ok(Form { constants, activations, same_parameters, float_output, light }) => Draft {
                decision: Decision::Static { scheme: *scheme, constants, activations, same_parameters },
                natural: false,
                light,
                float_output,
            },
            Err(refusal) => lesser(&scheme.weight, Some(refusal.reason), refusal.natural),
        },
        Treatment::Dynamic(scheme) => match dynamic(graph, node) {
            Ok(()) => {
                let decision = Decision::Dynamic { scheme: *scheme, constants: slicings(scheme) };
                Draft { decision, natural: false, light: false, float_output: false }
            }
            Err(reason) => lesser(scheme, Some(reason), false),
        },
        Treatment::WeightOnly(scheme) => lesser(scheme, None, false),
    }
}

/// Whether a node becomes a product of integers that are made while running.
fn dynamic(graph: &Graph, node: &Node) -> Result<(), String> {
    let data = node.input(0).is_some_and(|x| is_activation(graph, x));
    let weight = constant(graph, node, 1);
    match &node.op {
        Op::MatMul | Op::Gemm(_) | Op::Conv(_) if !data || weight.is_none() => Err(String::from(
            "only products of an activation with a constant weight are quantized dynamically",
        )),
        Op::MatMul if weight.is_some_and(|(_, weight)| weight.shape().len() != 2) => {
            Err(String::from("only products with one matrix are quantized dynamically"))
        }
        Op::Gemm(gemm) if gemm.alpha != 1.0 || gemm.beta != 1.0 || gemm.transpose_a => {
            Err(String::from("a Gemm with alpha, beta or transpose_a is not quantized dynamically"))
        }
        Op::Conv(conv) if conv.layout == Layout::Nhwc => {
            Err(String::from("convolutions with channels last are not quantized dynamically"))
        }
        Op::MatMul | Op::Gemm(_) | Op::Conv(_) => Ok(()),
        Op::ConvTranspose(_)
        | Op::ConvInteger(_)
        | Op::Product(_)
        | Op::Unary(_)
        | Op::Binary(..)
        | Op::Variadic(_)
        | Op::Select(_)
        | Op::Clip(_)
        | Op::Pool(_)
        | Op::GlobalPool(..)
        | Op::BatchNormalization(_)
        | Op::Normalize(_)
        | Op::Reduce(_)
        | Op::Scanning(_)
        | Op::Reshape
        | Op::Flatten { .. }
        | Op::Transpose { .. }
        | Op::Movement(_)
        | Op::Indexing(_)
        | Op::Creation(_)
        | Op::Image(_)
        | Op::Signal(_)
        | Op::Recurrent(_)
        | Op::Control(_)
        | Op::QuantizeLinear(_)
        | Op::DequantizeLinear(_)
        | Op::DynamicQuantizeLinear
        | Op::Opaque(_) => Err(format!("{} is not quantized dynamically", node.op)),
    }
}

/// The nodes that read each value.
fn readers(graph: &Graph) -> HashMap<ValueId, Vec<usize>> {
    let mut readers: HashMap<ValueId, Vec<usize>> = HashMap::new();
    for (id, node) in graph.node_ids() {
        for &input in node.inputs.iter().flatten() {
            let known = readers.entry(input).or_default();
            if known.last() != Some(&id.index()) {
                known.push(id.index());
            }
        }
    }
    readers
}

/// Whether all that reads a value, and there is something, reads real numbers.
fn read_in_float(
    graph: &Graph,
    readers: &HashMap<ValueId, Vec<usize>>,
    drafts: &[Draft],
    value: ValueId,
) -> bool {
    let Some(readers) = readers.get(&value) else { return false };
    !graph.outputs().contains(&value)
        && readers
            .iter()
            .all(|&reader| !drafts[reader].decision.reads_integers(&graph.nodes()[reader], value))
}

/// Leaves in float the elementwise operators that read as much as they make from operators that compute in float by
/// their nature: the rest of a GELU that was exported in parts, sums of embeddings. A small factor, such as the gate of
/// channels, is quantized instead.
fn leave_after_float(graph: &Graph, drafts: &mut [Draft]) {
    for (id, node) in graph.node_ids() {
        let Decision::Static { activations, .. } = &drafts[id.index()].decision else { continue };
        if !matches!(node.op, Op::Binary(..) | Op::Unary(_) | Op::Clip(_)) || !drafts[id.index()].light {
            continue;
        }
        let shape = |id: ValueId| graph.value(id).ty.shape.as_ref();
        let whole = |input: ValueId| {
            node.outputs.first().is_none_or(|&output| shape(input).is_none() || shape(input) == shape(output))
        };
        let mut inputs = activations.iter().filter_map(|&input| node.input(input));
        let natural = |input: ValueId| graph.producer(input).is_some_and(|made| drafts[made.index()].natural);
        if inputs.any(|input| natural(input) && whole(input)) {
            let reason = "float operators make what it reads, so integers would gain nothing";
            drafts[id.index()].decision = Decision::Float { reason: String::from(reason) };
            drafts[id.index()].natural = true;
        }
    }
}

/// Leaves in float what is cheap to compute and read only by what computes in float by its nature: the sums of a
/// residual stream that normalizations read, scores and masks before a softmax. Integers there would cost accuracy and a
/// conversion there and back.
fn leave_before_float(graph: &Graph, readers: &HashMap<ValueId, Vec<usize>>, drafts: &mut [Draft]) {
    for (id, node) in graph.node_ids().rev() {
        let index = id.index();
        if !drafts[index].light || !matches!(drafts[index].decision, Decision::Static { .. }) {
            continue;
        }
        let mut reading = node.outputs.iter().flat_map(|output| readers.get(output).into_iter().flatten());
        // What looks at the shape alone has no say.
        let computes = |reader: &usize| {
            graph.nodes()[*reader].outputs.iter().any(|&output| graph.value(output).ty.dtype == DType::F32)
        };
        let readers: Vec<usize> = reading.by_ref().copied().filter(computes).collect();
        let shown = node.outputs.iter().any(|output| graph.outputs().contains(output));
        if !shown && !readers.is_empty() && readers.iter().all(|&reader| drafts[reader].natural) {
            let reason = "float operators alone read it, so integers would gain nothing";
            drafts[index].decision = Decision::Float { reason: String::from(reason) };
            drafts[index].natural = true;
        }
    }
}

/// Rearranging nodes with no quantized neighbour.
fn islands(graph: &Graph, readers: &HashMap<ValueId, Vec<usize>>, drafts: &[Draft]) -> Vec<usize> {
    let rearranges =
        |index: usize| matches!(drafts[index].decision, Decision::Static { same_parameters: true, .. });
    let mut anchored: Vec<bool> = drafts
        .iter()
        .map(|draft| matches!(draft.decision, Decision::Static { same_parameters: false, .. }))
        .collect();
    let mut work: Vec<usize> = (0..anchored.len()).filter(|&index| anchored[index]).collect();
    while let Some(index) = work.pop() {
        let node = &graph.nodes()[index];
        let sources = node.inputs.iter().flatten().filter_map(|&input| graph.producer(input));
        let targets = node.outputs.iter().flat_map(|output| readers.get(output).into_iter().flatten());
        for neighbour in sources.map(NodeId::index).chain(targets.copied()) {
            if rearranges(neighbour) && !anchored[neighbour] {
                anchored[neighbour] = true;
                work.push(neighbour);
            }
        }
    }
    (0..drafts.len()).filter(|&index| rearranges(index) && !anchored[index]).collect()
}

fn is_activation(graph: &Graph, id: ValueId) -> bool {
    graph.constant(id).is_none() && graph.value(id).ty.dtype == DType::F32
}

#[cfg(test)]
mod tests;
