//! A layer of the first model on its own: from the nearest values that both models have, to what it makes.

use std::collections::{HashMap, HashSet};

use calipers_ir::{DType, Graph, Tensor, ValueId};
use calipers_passes::extract;
use calipers_runtime::Session;

use crate::{InspectError, OpenedModel};

use super::logical::Logical;

/// A part of the first model.
pub(super) struct Segment {
    session: Session,
    /// What it reads: values of the graph, with the place of the pair that they belong to.
    inputs: Vec<(ValueId, Option<usize>)>,
}

impl Segment {
    /// The part of `graph` that makes a value; `pairs` says which values the second model has too, by the place of their
    /// pair. `None` for an input, and for what is no real number.
    pub fn new(
        model: &OpenedModel,
        graph: &Graph,
        logical: &Logical,
        own: usize,
        pairs: &HashMap<ValueId, usize>,
        threads: usize,
    ) -> Result<Option<Segment>, InspectError> {
        let output = logical.views.first().copied().unwrap_or(logical.raw);
        if logical.node.is_none() || graph.value(output).ty.dtype != DType::F32 {
            return Ok(None);
        }
        let mut seen = HashSet::new();
        let mut open = vec![output];
        let mut inputs = Vec::new();
        while let Some(id) = open.pop() {
            if graph.constant(id).is_some() || !seen.insert(id) {
                continue;
            }
            let real = graph.value(id).ty.dtype == DType::F32;
            let pair = pairs.get(&id).copied().filter(|&pair| pair != own && real);
            match (pair, graph.producer(id)) {
                (Some(pair), _) => inputs.push((id, Some(pair))),
                (None, None) => inputs.push((id, None)),
                (None, Some(producer)) => open.extend(graph.node(producer).inputs.iter().flatten()),
            }
        }
        inputs.sort_unstable();
        let ids: Vec<ValueId> = inputs.iter().map(|(id, _)| *id).collect();
        let part = extract(graph, &ids, &[output]).map_err(|error| model.pass_error(error))?;
        Ok(Some(Segment { session: model.session_of(part, threads)?, inputs }))
    }

    /// What the layer makes of the second model's values: `value` gives that of a pair in the first model's layout, or an
    /// input of the first model by name.
    pub fn run(
        &mut self,
        model: &OpenedModel,
        graph: &Graph,
        value: impl Fn(ValueId, Option<usize>) -> Option<Tensor>,
    ) -> Result<Option<Tensor>, InspectError> {
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for &(id, pair) in &self.inputs {
            let Some(tensor) = value(id, pair) else { return Ok(None) };
            inputs.push((graph.value(id).name.as_str(), tensor));
        }
        let outputs = self.session.run(&inputs, &mut ()).map_err(|source| model.run_error(source))?;
        Ok(outputs.into_iter().next())
    }
}
