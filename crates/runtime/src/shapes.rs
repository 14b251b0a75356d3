//! What is known of a graph's values before it runs: shapes as numbers, and values that follow from constants and
//! from the shapes of the inputs.

use std::cell::RefCell;
use std::collections::HashMap;

use calipers_ir::{Creation, DType, Dim, Graph, Node, Op, Tensor, TensorType, ValueId, infer};

use crate::error::Error;
use crate::evaluate::evaluate;

/// Largest argument whose elements a type rule is shown: shapes, axes and pads are smaller.
const LARGEST_ARGUMENT: usize = 4096;

/// What is known of an input of a graph.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Given {
    pub(crate) shape: Vec<usize>,
    /// The data, where it is the same in every run.
    pub(crate) data: Option<Tensor>,
}

impl Given {
    /// An input of which only the shape is known.
    pub(crate) fn shape(shape: &[usize]) -> Given {
        Given { shape: shape.to_vec(), data: None }
    }
}

/// The shape of every value that has one before the graph runs, by [`ValueId::index`].
pub(crate) type Shapes = Vec<Option<Vec<usize>>>;

/// The constants of a graph and whatever follows from constants and from the shapes of the inputs, computed when
/// first asked for.
pub(crate) struct Constants<'g> {
    graph: &'g Graph,
    follows: Vec<bool>,
    computed: RefCell<HashMap<ValueId, Tensor>>,
}

impl Constants<'_> {
    /// Whether a value follows from what is known.
    pub(crate) fn is_constant(&self, value: ValueId) -> bool {
        self.follows[value.index()]
    }

    /// The value, when it follows from what is known.
    ///
    /// # Errors
    /// When a node on the way to it cannot be evaluated.
    pub(crate) fn get(&self, value: ValueId) -> Result<Option<Tensor>, Error> {
        if !self.is_constant(value) {
            return Ok(None);
        }
        if let Some(tensor) = self.graph.constant(value) {
            return Ok(Some(tensor.clone()));
        }
        if let Some(tensor) = self.computed.borrow().get(&value) {
            return Ok(Some(tensor.clone()));
        }
        let Some(producer) = self.graph.producer(value) else { return Ok(None) };
        let node = self.graph.node(producer);
        let inputs = node
            .inputs
            .iter()
            .map(|input| input.map_or(Ok(None), |input| self.get(input)))
            .collect::<Result<Vec<Option<Tensor>>, Error>>()?;
        let borrowed: Vec<Option<&Tensor>> = inputs.iter().map(Option::as_ref).collect();
        let outputs = evaluate(&node.name, &node.op, &borrowed, node.outputs.len())?;
        let mut computed = self.computed.borrow_mut();
        computed.extend(node.outputs.iter().copied().zip(outputs));
        Ok(computed.get(&value).cloned())
    }
}

/// Follows a graph from what is known of its inputs, in the graph's order.
///
/// # Errors
/// Where the inputs break a rule of an operator.
pub(crate) fn specialize<'g>(graph: &'g Graph, inputs: &[Given]) -> Result<(Constants<'g>, Shapes), Error> {
    let mut types: Vec<TensorType> = graph.values().iter().map(|value| value.ty.clone()).collect();
    let mut constants = Constants {
        graph,
        follows: graph.value_ids().map(|(id, _)| graph.constant(id).is_some()).collect(),
        computed: RefCell::default(),
    };
    for (id, given) in graph.inputs().iter().zip(inputs) {
        let dims = given.shape.iter().map(|extent| Dim::Known(*extent));
        types[id.index()] = TensorType::new(graph.value(*id).ty.dtype, dims);
        if let Some(data) = &given.data {
            constants.follows[id.index()] = true;
            constants.computed.borrow_mut().insert(*id, data.clone());
        }
    }
    for node in graph.nodes() {
        let arguments: Vec<Option<&TensorType>> =
            node.inputs.iter().map(|input| input.map(|id| &types[id.index()])).collect();
        let data = small_arguments(node, &constants, &types);
        let data: Vec<Option<&Tensor>> = data.iter().map(Option::as_ref).collect();
        let inferred = infer(&node.op, &arguments, &data)
            .map_err(|error| Error::Shape { node: node.name.clone(), error })?;
        let Some(inferred) = inferred else { continue };
        if let Op::Creation(Creation::Shape { .. } | Creation::Size) = node.op
            && let Some(shape) = arguments.first().copied().flatten().and_then(TensorType::known_shape)
        {
            let value = about_shape(&node.op, &shape);
            types[node.outputs[0].index()] = value.tensor_type();
            constants.follows[node.outputs[0].index()] = true;
            constants.computed.borrow_mut().insert(node.outputs[0], value);
            continue;
        }
        let follows = node.inputs.iter().flatten().all(|input| constants.follows[input.index()])
            && node.inputs.iter().any(Option::is_some);
        for (id, ty) in node.outputs.iter().zip(inferred) {
            constants.follows[id.index()] = follows;
            types[id.index()] = ty;
        }
        // A shape that the type rule cannot tell is told by the value.
        for &id in &node.outputs {
            if follows && types[id.index()].known_shape().is_none() {
                match constants.get(id) {
                    Ok(Some(value)) => types[id.index()] = value.tensor_type(),
                    Ok(None) | Err(_) => constants.follows[id.index()] = false,
                }
            }
        }
    }
    let shapes = types.iter().map(TensorType::known_shape).collect();
    Ok((constants, shapes))
}

/// Those arguments of a node that can decide shapes, where they follow from what is known.
fn small_arguments(node: &Node, constants: &Constants<'_>, types: &[TensorType]) -> Vec<Option<Tensor>> {
    let decides = |id: ValueId| {
        let ty = &types[id.index()];
        let small = ty.known_shape().is_some_and(|shape| shape.iter().product::<usize>() <= LARGEST_ARGUMENT);
        small && (matches!(ty.dtype, DType::I32 | DType::I64) || matches!(node.op, Op::Image(_)))
    };
    node.inputs
        .iter()
        .map(|input| input.filter(|id| decides(*id)).and_then(|id| constants.get(id).ok()?))
        .collect()
}

/// The result of Shape or Size for an input of a known shape.
fn about_shape(op: &Op, shape: &[usize]) -> Tensor {
    if let Op::Creation(Creation::Shape { start, end }) = op {
        let rank = shape.len() as i64;
        let place = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
        let (start, end) = (place(*start), place(end.unwrap_or(rank)));
        let extents: Vec<i64> =
            shape.get(start..end).unwrap_or_default().iter().map(|&extent| extent as i64).collect();
        let count = extents.len();
        return Tensor::from_vec([count], extents).unwrap_or_else(|_| Tensor::scalar(0i64));
    }
    Tensor::scalar(shape.iter().product::<usize>() as i64)
}
