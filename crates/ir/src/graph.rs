//! Models, graphs, nodes and values.

use std::collections::BTreeMap;
use std::fmt;

use indexmap::IndexMap;

use crate::{Op, Tensor, TensorType};

/// Names a value within one graph. Stays valid until the graph is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) u32);

/// Names a node within one graph. Stays valid until the graph is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

impl ValueId {
    /// Position among [`Graph::values`], for tables beside the graph.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl NodeId {
    /// Position among [`Graph::nodes`], for tables beside the graph.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Something that is computed once: an input of the graph, a constant, or an output of one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Unique in the graph; the user's key.
    pub name: String,
    /// Storage type and shape.
    pub ty: TensorType,
}

/// One application of an operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique in the graph; the user's key.
    pub name: String,
    /// What is computed.
    pub op: Op,
    /// Arguments in the operator's order; `None` for an optional one that is absent.
    pub inputs: Vec<Option<ValueId>>,
    /// Results in the operator's order.
    pub outputs: Vec<ValueId>,
    /// What the file says of the node beside its meaning, by key.
    pub metadata: BTreeMap<String, String>,
}

impl Node {
    /// Key of [`Node::metadata`]: LiteRT quantizes the node's float activations at each run, `symmetric` or `asymmetric`
    /// around zero or as a `depthwise` convolution does, and multiplies integers.
    pub const HYBRID: &str = "tflite:hybrid";
    /// Key of [`Node::metadata`]: LiteRT shifts the 16-bit operands of this sum where all scales are powers of two.
    pub const POWERS_OF_TWO: &str = "tflite:pot_scale_int16";
    /// Key of [`Node::metadata`]: a TFLite file has this QuantizeLinear or DequantizeLinear as an operator of its own, so
    /// that what lies between two of them is computed on floats.
    pub const STATED: &str = "tflite:stated";

    /// The argument at a position, when it is there.
    pub fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }
}

/// How an operator between Dequantize and Quantize nodes is computed in integers. The rules differ in rounding, so that
/// changing the rule of a graph changes its results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Requantization {
    /// A 32-bit sum times an f32 multiplier, rounded half to even.
    #[default]
    OnnxRuntime,
    /// The fixed-point arithmetic of TFLite's reference kernels.
    TfLite,
}

/// A graph in static single assignment form: each value is defined once, and nodes stand in topological order.
///
/// Graphs are made and changed by [`crate::GraphEditor`] alone, which keeps these invariants.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    pub(crate) name: String,
    pub(crate) requantization: Requantization,
    pub(crate) values: Vec<Value>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<ValueId>,
    pub(crate) constants: IndexMap<ValueId, Tensor>,
    pub(crate) producers: Vec<Option<NodeId>>,
}

impl Graph {
    /// Name of the graph.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How sums of integers become integers again.
    pub fn requantization(&self) -> Requantization {
        self.requantization
    }

    /// All values; [`ValueId::index`] is the position.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// All values with their ids.
    pub fn value_ids(&self) -> impl Iterator<Item = (ValueId, &Value)> {
        self.values.iter().enumerate().map(|(index, value)| (ValueId(index as u32), value))
    }

    /// All nodes in topological order; [`NodeId::index`] is the position.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All nodes with their ids, in topological order.
    pub fn node_ids(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeId(index as u32), node))
    }

    /// One value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// One node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The value of that name.
    pub fn value_named(&self, name: &str) -> Option<ValueId> {
        self.value_ids().find(|(_, value)| value.name == name).map(|(id, _)| id)
    }

    /// The node of that name.
    pub fn node_named(&self, name: &str) -> Option<NodeId> {
        self.node_ids().find(|(_, node)| node.name == name).map(|(id, _)| id)
    }

    /// What the caller gives, in order.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// What the caller gets, in order.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// Constants by value, in file order.
    pub fn constants(&self) -> &IndexMap<ValueId, Tensor> {
        &self.constants
    }

    /// The data of a value that is a constant.
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        self.constants.get(&id)
    }

    /// The node that computes a value; `None` for inputs and constants.
    pub fn producer(&self, id: ValueId) -> Option<NodeId> {
        self.producers[id.index()]
    }

    /// The nodes that read a value, in topological order, each once.
    pub fn consumers(&self, id: ValueId) -> impl Iterator<Item = (NodeId, &Node)> {
        self.node_ids().filter(move |(_, node)| node.inputs.contains(&Some(id)))
    }

    /// The only node that reads a value, where there is exactly one and the value is no output of the graph.
    pub fn only_consumer(&self, id: ValueId) -> Option<(NodeId, &Node)> {
        if self.outputs.contains(&id) {
            return None;
        }
        let mut consumers = self.consumers(id);
        let only = consumers.next()?;
        consumers.next().is_none().then_some(only)
    }

    /// The types of a node's inputs, in order.
    pub fn input_types(&self, node: &Node) -> Vec<Option<&TensorType>> {
        node.inputs.iter().map(|input| input.map(|id| &self.value(id).ty)).collect()
    }

    /// Number of elements in all constants.
    pub fn parameter_count(&self) -> usize {
        self.constants.values().map(Tensor::len).sum()
    }
}

/// A graph with what a model file says around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The graph that runs.
    pub graph: Graph,
    /// Graphs that nodes run (If, Loop), by name. What they capture are explicit inputs.
    pub subgraphs: IndexMap<String, Graph>,
    /// Version of each operator set by domain; the default one of ONNX is the empty name.
    pub opsets: BTreeMap<String, i64>,
    /// Who wrote the model, and its version.
    pub producer: (String, String),
    /// Free text and properties of the file, by key.
    pub metadata: BTreeMap<String, String>,
}

impl Model {
    /// The ONNX operator set that models made here are written in.
    pub const DEFAULT_OPSET: i64 = 17;

    /// A model of one graph, of the default operator set, without metadata.
    pub fn new(graph: Graph) -> Self {
        Model {
            graph,
            subgraphs: IndexMap::new(),
            opsets: BTreeMap::from([(String::new(), Model::DEFAULT_OPSET)]),
            producer: (String::from("calipers"), String::from(env!("CARGO_PKG_VERSION"))),
            metadata: BTreeMap::new(),
        }
    }

    /// The same model around another graph.
    pub fn with_graph(&self, graph: Graph) -> Self {
        Model { graph, ..self.clone() }
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::text::write(f, self, crate::text::Constants::Elided)
    }
}
