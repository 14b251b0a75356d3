//! From a graph to steps: which nodes run together, in what arithmetic, and where their operands lie.
//!
//! Values are computed on demand, from the outputs and the wanted values backwards. The node that ends a QDQ pattern
//! (see [`pattern`]) becomes one integer step with everything up to its Dequantize nodes; every other node runs by
//! itself in the type that the graph states, with an activation after it fused where nobody else reads between.

mod geometry;
mod quantized;

mod pattern;
mod tflite;

mod emit;

mod alone;
mod products;

mod bytes;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use calipers_ir::{Activation, DType, Graph, Node, NodeId, Op, Tensor, ValueId};
use calipers_kernels::{Supported, convolution, matmul};

use crate::arena::{Lifetime, Memory};
use crate::error::Error;
use crate::evaluate::evaluate;
use crate::kernel::Kernel;
use crate::plan::StepInfo;
use crate::shapes::{Constants, Shapes};
use crate::tflite::Unit;
use emit::Emitter;
use pattern::Pattern;

/// Weights packed for the session's instruction set, by the value that the step with them computes. They do not
/// depend on the input shapes, so that every plan of a session shares them.
pub(crate) type PackCache = HashMap<ValueId, Packed>;

/// Packed weights of any kind.
#[derive(Clone)]
pub(crate) enum Packed {
    ConvolveFloats(Arc<convolution::PackedFloats>),
    ConvolveUnsigned(Arc<convolution::PackedBytes<u8>>),
    ConvolveSigned(Arc<convolution::PackedBytes<i8>>),
    MultiplyFloats(Arc<matmul::PackedFloats>),
    MultiplyUnsigned(Arc<matmul::PackedBytes<u8>>),
    MultiplySigned(Arc<matmul::PackedBytes<i8>>),
}

/// What lowering looks at.
pub(crate) struct Scope<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) constants: &'a Constants<'a>,
    pub(crate) shapes: &'a Shapes,
    /// The values to compute, in the order in which the plan gives them.
    pub(crate) outputs: &'a [ValueId],
    pub(crate) wanted: &'a HashSet<ValueId>,
    pub(crate) isa: Supported,
}

impl Scope<'_> {
    /// The shape of a value that a plan computes.
    pub(crate) fn shape(&self, value: ValueId) -> &[usize] {
        self.shapes[value.index()].as_deref().unwrap_or_default()
    }

    pub(crate) fn dtype(&self, value: ValueId) -> DType {
        self.graph.value(value).ty.dtype
    }

    /// An input that the operator must have; verification makes sure of it.
    pub(crate) fn input(&self, node: &Node, index: usize) -> Result<ValueId, Error> {
        node.input(index).ok_or_else(|| {
            self.unsupported(node, format!("no input {index}"), "the operator's inputs".to_owned())
        })
    }

    pub(crate) fn unsupported(
        &self,
        node: &Node,
        found: impl Into<String>,
        supported: impl Into<String>,
    ) -> Error {
        Error::Unsupported {
            node: node.name.clone(),
            op: node.op.name().to_owned(),
            found: found.into(),
            supported: supported.into(),
        }
    }
}

/// Where an operand comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    /// An input of the graph, in place.
    Input(usize),
    /// One of [`Lowered::constants`].
    Constant(usize),
    /// One of [`Lowered::lifetimes`].
    Buffer(usize),
}

/// One thing to compute.
pub(crate) struct Step {
    pub(crate) info: StepInfo,
    pub(crate) work: Work,
}

/// How a step computes.
pub(crate) enum Work {
    /// One call of a kernel.
    Kernel {
        kernel: Kernel,
        inputs: [Option<Operand>; 2],
        /// Index of the buffer that is written.
        output: usize,
    },
    /// An operator on tensors.
    Tensors { definition: Definition, inputs: Vec<Option<Argument>>, outputs: Vec<Place> },
}

/// What an operator on tensors computes.
pub(crate) enum Definition {
    Operator(Op),
    TfLite(Unit),
}

impl Definition {
    pub(crate) fn run(
        &self,
        node: &str,
        inputs: &[Option<&Tensor>],
        outputs: usize,
    ) -> Result<Vec<Tensor>, Error> {
        match self {
            Definition::Operator(op) => evaluate(node, op, inputs, outputs),
            Definition::TfLite(unit) => unit.run(node, inputs),
        }
    }
}

/// An argument of an operator that runs by its definition.
pub(crate) enum Argument {
    Constant(Tensor),
    Computed { operand: Operand, dtype: DType, shape: Vec<usize> },
}

/// A buffer for one result of an operator that runs by its definition.
pub(crate) struct Place {
    pub(crate) buffer: usize,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
}

/// A value to hand to the caller, in logical layout.
pub(crate) struct Delivery {
    pub(crate) name: String,
    pub(crate) operand: Operand,
    pub(crate) dtype: DType,
    /// Logical extents.
    pub(crate) shape: Vec<usize>,
    /// Physical extents and the permutation to logical ones, where the two differ.
    pub(crate) reorder: Option<(Vec<usize>, Vec<usize>)>,
}

/// Steps with their operands; buffers have no place yet.
pub(crate) struct Lowered {
    pub(crate) steps: Vec<Step>,
    pub(crate) lifetimes: Vec<Lifetime>,
    pub(crate) constants: Vec<Memory>,
    /// Wanted values, each with the number of steps after which it is there.
    pub(crate) taps: Vec<(usize, Delivery)>,
    pub(crate) outputs: Vec<Delivery>,
}

/// Lowers what the outputs and the wanted values need.
pub(crate) fn lower(scope: &Scope<'_>, packs: &mut PackCache) -> Result<Lowered, Error> {
    let graph = scope.graph;
    let mut needed = vec![false; graph.values().len()];
    for id in scope.outputs.iter().chain(scope.wanted) {
        needed[id.index()] = true;
    }
    let mut units: Vec<(NodeId, Pattern)> = Vec::new();
    for (id, node) in graph.node_ids().rev() {
        let asked = node.outputs.iter().any(|output| needed[output.index()]);
        if !asked || node.outputs.iter().all(|output| scope.constants.is_constant(*output)) {
            continue;
        }
        let pattern = pattern::find(scope, id)?;
        for input in pattern.inputs(scope, id) {
            needed[input.index()] = true;
        }
        units.push((id, pattern));
    }

    let mut emitter = Emitter::new(scope);
    emitter.deliver_wanted(graph.inputs().iter().chain(graph.constants().keys()).copied())?;
    for (id, pattern) in units.into_iter().rev() {
        let node = graph.node(id);
        match pattern {
            Pattern::Alone => alone(&mut emitter, packs, id, id, node.op.activation())?,
            Pattern::Activated { core, activation } => alone(&mut emitter, packs, core, id, activation)?,
            Pattern::TfLite(found) => {
                emitter.tensors(id, Definition::TfLite(found.unit), &found.inputs, &node.outputs)?;
            }
            Pattern::Bytes(pattern) => bytes::emit(&mut emitter, packs, &pattern, id)?,
        }
        emitter.deliver_wanted(node.outputs.iter().copied())?;
    }
    let computed = graph.nodes().iter().flat_map(|node| node.outputs.iter().copied());
    emitter.deliver_wanted(computed.filter(|id| scope.constants.is_constant(*id)))?;
    emitter.finish()
}

/// Emits the node `core`, whose result after `activation` is the value of `end`, as a kernel where there is one, else by
/// its definition.
fn alone(
    emitter: &mut Emitter<'_>,
    packs: &mut PackCache,
    core: NodeId,
    end: NodeId,
    activation: Activation,
) -> Result<(), Error> {
    let graph = emitter.scope.graph;
    let node = graph.node(core);
    let values = node.inputs.iter().flatten().chain(&node.outputs);
    let empty = values.into_iter().any(|value| emitter.scope.shape(*value).contains(&0));
    let one_result = node.outputs.len() == 1;
    if let Op::Opaque(_) = node.op {
        return alone::emit(emitter, packs, core, end, activation);
    }
    if one_result && !empty {
        match alone::emit(emitter, packs, core, end, activation) {
            Err(Error::Unsupported { .. } | Error::StorageType { .. }) => {}
            done => return done,
        }
    }
    if core == end {
        return emitter.operator(end, node.op.clone(), &node.inputs, &node.outputs);
    }
    match node.op.with_activation(activation) {
        Some(op) => emitter.operator(end, op, &node.inputs, &graph.node(end).outputs),
        None => {
            emitter.operator(core, node.op.clone(), &node.inputs, &node.outputs)?;
            let end_node = graph.node(end);
            emitter.operator(end, end_node.op.clone(), &end_node.inputs, &end_node.outputs)
        }
    }
}
