//! Which nodes and values are quantized, before any number is known: the part of the decision that calibration and
//! assignment share.

use std::collections::HashMap;

use calipers_ir::{BinaryKind, DType, Graph, Node, NodeId, Op, PoolKind, UnaryKind, ValueId};
use indexmap::IndexMap;

use crate::{ActivationScheme, Decider, Granularity, ObserverKind, QuantError, Recipe, Scheme, Treatment};

/// What becomes of a constant argument of a quantized node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConstantRole {
    /// An i8 weight, with one scale for each slice along the axis.
    Weight { axis: Option<usize> },
    /// An i32 bias in the scale of argument 0 times that of argument 1.
    Bias,
    /// A constant in the place of an activation.
    Operand,
}

/// A node that is quantized.
#[derive(Clone, Debug)]
pub(crate) struct QuantizedNode {
    pub scheme: Scheme,
    /// Constant arguments by position.
    pub constants: Vec<(usize, ConstantRole)>,
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
    /// For each node: quantized, or the reason why it is not.
    pub nodes: Vec<Result<QuantizedNode, String>>,
    /// In topological order.
    pub values: IndexMap<ValueId, QuantizedValue>,
    /// What the user may want to know.
    pub notes: Vec<String>,
}

/// How an operator is quantized.
struct Form {
    constants: Vec<(usize, ConstantRole)>,
    /// Whether its output is a selection or rearrangement of its input's elements.
    same_parameters: bool,
}

/// The names of the values that calibration must observe, each with its observer, in topological order.
///
/// # Errors
/// When the graph is already quantized.
pub fn values_to_observe(graph: &Graph, recipe: &Recipe) -> Result<Vec<(String, ObserverKind)>, QuantError> {
    let structure = decide(graph, recipe)?;
    let roots = structure.values.iter().filter(|(id, value)| **id == value.root);
    Ok(roots.map(|(&id, value)| (graph.value(id).name.clone(), value.scheme.observer)).collect())
}

pub(crate) fn decide(graph: &Graph, recipe: &Recipe) -> Result<Structure, QuantError> {
    let mut matched = vec![false; recipe.rules.len()];
    let mut forms: Vec<Result<(Form, Scheme), String>> = Vec::with_capacity(graph.nodes().len());
    for node in graph.nodes() {
        if matches!(node.op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_)) {
            return Err(QuantError::AlreadyQuantized {
                graph: graph.name().to_owned(),
                node: node.name.clone(),
                operator: node.op.name().to_owned(),
            });
        }
        let (treatment, decider) = recipe.treatment(graph, node);
        if let Decider::Rule(rule) = decider {
            matched[rule] = true;
        }
        forms.push(match (treatment, decider) {
            (Treatment::Static(scheme), _) => form(graph, node, scheme).map(|form| (form, *scheme)),
            (Treatment::Float, Decider::Rule(rule)) => Err(format!("rule {rule} of the recipe says float")),
            (Treatment::Float, Decider::Exclude(_)) => Err(String::from("the recipe excludes it")),
            (Treatment::Float, Decider::Default) => Err(String::from("the default of the recipe says float")),
            (Treatment::Dynamic(_) | Treatment::WeightOnly(_), _) => Err(String::from("not yet")),
        });
    }
    let islands = islands(graph, &forms);
    for id in islands {
        forms[id.index()] =
            Err(String::from("neither what feeds it nor what reads it is quantized, so nothing is gained"));
    }

    let mut values: IndexMap<ValueId, QuantizedValue> = IndexMap::new();
    for (node, form) in graph.nodes().iter().zip(&forms) {
        let Ok((form, scheme)) = form else { continue };
        let own = |root| QuantizedValue { root, scheme: scheme.activation };
        for input in node.inputs.iter().flatten().filter(|&&input| is_activation(graph, input)) {
            values.entry(*input).or_insert_with(|| own(*input));
        }
        let source = node.input(0).and_then(|input| values.get(&input)).copied();
        for &output in &node.outputs {
            let value = source.filter(|_| form.same_parameters).unwrap_or_else(|| own(output));
            values.insert(output, value);
        }
    }

    let notes = matched.iter().enumerate().filter(|(_, matched)| !**matched);
    let notes = notes.map(|(rule, _)| format!("rule {rule} of the recipe decides over no node")).collect();
    let nodes = forms
        .into_iter()
        .map(|form| form.map(|(form, scheme)| QuantizedNode { scheme, constants: form.constants }))
        .collect();
    Ok(Structure { nodes, values, notes })
}

/// Rearranging nodes with no quantized neighbour.
fn islands(graph: &Graph, forms: &[Result<(Form, Scheme), String>]) -> Vec<NodeId> {
    let mut readers: HashMap<ValueId, Vec<usize>> = HashMap::new();
    for (id, node) in graph.node_ids() {
        for &input in node.inputs.iter().flatten() {
            readers.entry(input).or_default().push(id.index());
        }
    }
    let rearranges = |index: usize| forms[index].as_ref().is_ok_and(|(form, _)| form.same_parameters);
    let mut anchored: Vec<bool> =
        forms.iter().map(|form| form.as_ref().is_ok_and(|(form, _)| !form.same_parameters)).collect();
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
    graph.node_ids().map(|(id, _)| id).filter(|id| rearranges(id.index()) && !anchored[id.index()]).collect()
}

fn is_activation(graph: &Graph, id: ValueId) -> bool {
    graph.constant(id).is_none() && graph.value(id).ty.dtype == DType::F32
}

/// How a node is quantized, or the reason why it cannot be.
fn form(graph: &Graph, node: &Node, scheme: &Scheme) -> Result<Form, String> {
    let rearranging = Form { constants: Vec::new(), same_parameters: true };
    let plain = Form { constants: Vec::new(), same_parameters: false };
    let per_channel = |axis: usize| (scheme.weight.granularity != Granularity::PerTensor).then_some(axis);
    for &output in &node.outputs {
        if graph.value(output).ty.dtype != DType::F32 {
            return Err(format!(
                "it computes in {}, and only f32 is quantized",
                graph.value(output).ty.dtype
            ));
        }
    }
    let form = match &node.op {
        Op::Conv(_) => with_weight(graph, node, per_channel(0))?,
        Op::Gemm(gemm) => {
            if gemm.alpha != 1.0 || gemm.beta != 1.0 || gemm.transpose_a {
                return Err(format!(
                    "a Gemm with alpha {}, beta {} and transpose_a {} has no integer form; fold the factors into its \
                     constants",
                    gemm.alpha, gemm.beta, gemm.transpose_a
                ));
            }
            with_weight(graph, node, per_channel(if gemm.transpose_b { 0 } else { 1 }))?
        }
        Op::MatMul => match node.input(1).filter(|&b| graph.constant(b).is_some()) {
            Some(b) => {
                let axis = per_channel(1).filter(|_| graph.value(b).ty.rank() == Some(2));
                Form { constants: vec![(1, ConstantRole::Weight { axis })], same_parameters: false }
            }
            None => operands(graph, node),
        },
        Op::Binary(BinaryKind::Add | BinaryKind::Mul, _) => operands(graph, node),
        Op::Unary(UnaryKind::Relu) | Op::Clip(_) => plain,
        Op::Pool(pool) => match pool.kind {
            PoolKind::Max => rearranging,
            PoolKind::Average { .. } => plain,
            PoolKind::Lp { .. } => return Err(String::from("LpPool has no integer form")),
        },
        Op::GlobalPool(PoolKind::Max, _) => rearranging,
        Op::GlobalPool(PoolKind::Average { .. }, _) => plain,
        Op::GlobalPool(PoolKind::Lp { .. }, _) => {
            return Err(String::from("GlobalLpPool has no integer form"));
        }
        Op::Unary(UnaryKind::Identity) | Op::Reshape | Op::Flatten { .. } | Op::Transpose { .. } => {
            rearranging
        }
        Op::Unary(_)
        | Op::Binary(..)
        | Op::ConvTranspose(_)
        | Op::ConvInteger(_)
        | Op::Product(_)
        | Op::Variadic(_)
        | Op::Select(_)
        | Op::Normalize(_)
        | Op::Reduce(_)
        | Op::Scanning(_)
        | Op::Movement(_)
        | Op::Indexing(_)
        | Op::Creation(_)
        | Op::Image(_)
        | Op::Signal(_)
        | Op::Recurrent(_)
        | Op::Control(_)
        | Op::DynamicQuantizeLinear => {
            return Err(format!("{} has no integer form", node.op));
        }
        Op::BatchNormalization(_) => {
            return Err(String::from(
                "a BatchNormalization has no integer form; fold it into the node before it",
            ));
        }
        Op::QuantizeLinear(_) | Op::DequantizeLinear(_) => {
            return Err(String::from("it is part of a quantized graph already"));
        }
        Op::Opaque(opaque) => {
            return Err(format!("{} is kept as read and has no integer form here", opaque.op_type));
        }
    };
    if !node.inputs.iter().flatten().any(|&input| is_activation(graph, input)) {
        return Err(String::from("it computes on constants alone; fold it"));
    }
    if graph.constant(node.input(0).ok_or("it has no input")?).is_some()
        && form.constants.first().is_none_or(|(index, _)| *index != 0)
    {
        return Err(String::from("its data input is a constant"));
    }
    Ok(form)
}

fn operands(graph: &Graph, node: &Node) -> Form {
    let constant = |index: &usize| node.input(*index).is_some_and(|id| graph.constant(id).is_some());
    let constants = (0..node.inputs.len()).filter(constant).map(|index| (index, ConstantRole::Operand));
    Form { constants: constants.collect(), same_parameters: false }
}

/// A node with a weight at 1 and perhaps a bias at 2.
fn with_weight(graph: &Graph, node: &Node, axis: Option<usize>) -> Result<Form, String> {
    let constant = |index: usize| node.input(index).and_then(|id| graph.constant(id));
    let Some(weight) = constant(1) else {
        return Err(String::from("its weight is computed, and only constant weights are quantized"));
    };
    let mut constants = vec![(1, ConstantRole::Weight { axis })];
    if node.input(2).is_some() {
        let Some(bias) = constant(2) else {
            return Err(String::from("its bias is computed, and only constant biases are quantized"));
        };
        let channel_axis = match &node.op {
            Op::Gemm(gemm) if !gemm.transpose_b => 1,
            _ => 0,
        };
        let channels = weight.shape().get(channel_axis).copied().unwrap_or_default();
        if bias.shape() != [channels] {
            return Err(format!(
                "its bias has the shape {:?}, and only one number for each of the {channels} output channels is \
                 quantized",
                bias.shape()
            ));
        }
        constants.push((2, ConstantRole::Bias));
    }
    Ok(Form { constants, same_parameters: false })
}
