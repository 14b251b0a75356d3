//! Shapes as numbers, and the values that are constants once the graph is: both for given input shapes.

use std::cell::RefCell;
use std::collections::HashMap;

use calipers_ir::{Dim, Graph, Op, Tensor, TensorType, ValueId, infer};

use crate::error::Error;
use crate::evaluate::evaluate;

/// The constants of a graph and whatever follows from constants alone, computed when first asked for.
pub(crate) struct Constants<'g> {
    graph: &'g Graph,
    follows: Vec<bool>,
    computed: RefCell<HashMap<ValueId, Tensor>>,
}

impl<'g> Constants<'g> {
    pub(crate) fn new(graph: &'g Graph) -> Constants<'g> {
        let mut follows: Vec<bool> = graph.value_ids().map(|(id, _)| graph.constant(id).is_some()).collect();
        for node in graph.nodes() {
            let all = node.inputs.iter().flatten().all(|input| follows[input.index()]);
            let known = all && !matches!(node.op, Op::Opaque(_)) && node.inputs.iter().any(Option::is_some);
            for output in &node.outputs {
                follows[output.index()] = known;
            }
        }
        Constants { graph, follows, computed: RefCell::default() }
    }

    /// Whether a value follows from constants alone.
    pub(crate) fn is_constant(&self, value: ValueId) -> bool {
        self.follows[value.index()]
    }

    /// The value, when it follows from constants alone.
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
        let outputs = evaluate(&node.name, &node.op, &borrowed)?;
        let mut computed = self.computed.borrow_mut();
        computed.extend(node.outputs.iter().copied().zip(outputs));
        Ok(computed.get(&value).cloned())
    }
}

/// The shape of every value, by [`ValueId::index`], for inputs of these shapes in the graph's order.
pub(crate) fn concretize(
    graph: &Graph,
    constants: &Constants<'_>,
    inputs: &[Vec<usize>],
) -> Result<Vec<Vec<usize>>, Error> {
    let mut types: Vec<Option<TensorType>> =
        graph.value_ids().map(|(id, _)| graph.constant(id).map(Tensor::tensor_type)).collect();
    for (id, shape) in graph.inputs().iter().zip(inputs) {
        let dims = shape.iter().map(|extent| Dim::Known(*extent));
        types[id.index()] = Some(TensorType::new(graph.value(*id).ty.dtype, dims));
    }
    for node in graph.nodes() {
        let arguments: Vec<Option<&TensorType>> =
            node.inputs.iter().map(|input| input.and_then(|id| types[id.index()].as_ref())).collect();
        let mut data: Vec<Option<Tensor>> = vec![None; node.inputs.len()];
        if matches!(node.op, Op::Reshape)
            && let Some(target) = node.input(1)
        {
            data[1] = constants.get(target)?;
        }
        let data: Vec<Option<&Tensor>> = data.iter().map(Option::as_ref).collect();
        let results = infer(&node.op, &arguments, &data)
            .map_err(|error| Error::Shape { node: node.name.clone(), error })?
            .unwrap_or_else(|| node.outputs.iter().map(|id| graph.value(*id).ty.clone()).collect());
        for (id, ty) in node.outputs.iter().zip(results) {
            types[id.index()] = Some(ty);
        }
    }
    graph
        .value_ids()
        .map(|(id, value)| {
            types[id.index()]
                .as_ref()
                .and_then(TensorType::known_shape)
                .ok_or_else(|| Error::DataDependentShape { value: value.name.clone() })
        })
        .collect()
}
