//! What stands around the layers of a graph: the constants behind arguments, and the nodes that only convert numbers.

use calipers_ir::{DType, Graph, Movement, Node, NodeId, Op, Recurrent, Select, UnaryKind, ValueId};

/// The nodes that read each value.
#[derive(Debug)]
pub(crate) struct Readers(Vec<Vec<NodeId>>);

impl Readers {
    pub fn of(graph: &Graph) -> Readers {
        let mut readers = vec![Vec::new(); graph.values().len()];
        for (id, node) in graph.node_ids() {
            for input in node.inputs.iter().flatten() {
                let of: &mut Vec<NodeId> = &mut readers[input.index()];
                if of.last() != Some(&id) {
                    of.push(id);
                }
            }
        }
        Readers(readers)
    }

    /// In topological order, each once.
    pub fn of_value(&self, id: ValueId) -> &[NodeId] {
        self.0.get(id.index()).map_or(&[], Vec::as_slice)
    }
}

/// The constant behind an argument, reached directly or through nodes that only convert or rearrange it; `None` when data
/// are behind it.
pub fn source(graph: &Graph, argument: ValueId) -> Option<ValueId> {
    let mut value = argument;
    // Nodes stand in topological order, so that every step leads further to the front.
    while graph.constant(value).is_none() {
        let node = graph.node(graph.producer(value)?);
        if !carries(&node.op) {
            return None;
        }
        value = node.input(0)?;
    }
    Some(value)
}

/// Whether an operator passes its first argument on: converted, rearranged or as it is.
fn carries(op: &Op) -> bool {
    matches!(
        op,
        Op::QuantizeLinear(_)
            | Op::DequantizeLinear(_)
            | Op::Reshape
            | Op::Flatten { .. }
            | Op::Transpose { .. }
            | Op::Unary(UnaryKind::Identity)
            | Op::Select(Select::Cast { .. })
            | Op::Movement(Movement::Squeeze | Movement::Unsqueeze)
    )
}

/// What a node is in the table of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// It computes on data.
    Layer,
    /// It quantizes or dequantizes data.
    Conversion,
    /// It computes on constants alone.
    Constant,
}

/// What each node is, in the order of the graph.
pub(crate) fn parts(graph: &Graph) -> Vec<Part> {
    let mut constant: Vec<bool> = vec![false; graph.values().len()];
    for id in graph.constants().keys() {
        constant[id.index()] = true;
    }
    let part = |node: &Node| {
        // What an opaque operator or a subgraph does is not known here: it may draw random numbers.
        let is_open = matches!(node.op, Op::Opaque(_) | Op::Control(_));
        let fixed = !is_open && node.inputs.iter().flatten().all(|input| constant[input.index()]);
        if fixed {
            for output in &node.outputs {
                constant[output.index()] = true;
            }
            Part::Constant
        } else if matches!(node.op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_)) {
            Part::Conversion
        } else {
            Part::Layer
        }
    };
    graph.nodes().iter().map(part).collect()
}

/// What a constant is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A weight, an embedding, or another parameter of a layer.
    Weight,
    /// What a convolution, a matrix product or a recurrent layer adds.
    Bias,
    /// Scales and zero points of quantized numbers.
    Scale,
    /// Shapes, positions, axes and other numbers that steer operators.
    Index,
}

impl Role {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Role::Weight => "weights",
            Role::Bias => "biases",
            Role::Scale => "scales and zero points",
            Role::Index => "shapes and indices",
        }
    }
}

/// What a constant is for, by its first reader; and that reader, where it is a layer.
pub(crate) fn role(graph: &Graph, readers: &Readers, constant: ValueId) -> (Role, Option<NodeId>) {
    let mut value = constant;
    loop {
        let Some(&id) = readers.of_value(value).first() else { return (default_role(graph, constant), None) };
        let node = graph.node(id);
        let position = node.inputs.iter().position(|input| *input == Some(value)).unwrap_or(0);
        match (&node.op, position) {
            (Op::QuantizeLinear(_) | Op::DequantizeLinear(_), 1..) => return (Role::Scale, None),
            (op, 0) if carries(op) => match node.outputs.first() {
                Some(&output) => value = output,
                None => return (default_role(graph, constant), Some(id)),
            },
            (Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm(_), 2) => return (Role::Bias, Some(id)),
            (Op::Recurrent(Recurrent::Lstm { .. } | Recurrent::Gru { .. } | Recurrent::Rnn { .. }), 3) => {
                return (Role::Bias, Some(id));
            }
            (Op::ConvInteger(_), 2..) => return (Role::Scale, Some(id)),
            _ => return (default_role(graph, constant), Some(id)),
        }
    }
}

/// By type alone: whole numbers of 32 and 64 bits steer.
fn default_role(graph: &Graph, constant: ValueId) -> Role {
    match graph.value(constant).ty.dtype {
        DType::I32 | DType::I64 | DType::U32 | DType::U64 | DType::Bool | DType::String => Role::Index,
        _ => Role::Weight,
    }
}
