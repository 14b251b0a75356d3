//! A run of the rest of a graph, with other numbers in the place of one value.

use std::collections::{BTreeMap, HashMap, HashSet};

use calipers_ir::{DType, Graph, Op, QuantParams, Tensor, ValueId};
use calipers_passes::extract;
use calipers_runtime::Session;

use crate::{InspectError, OpenedModel};

use super::logical::Logical;

/// The recorded values of one run, by name.
pub(super) type Recorded = BTreeMap<String, Tensor>;

/// Everything behind one value.
pub(super) struct Remainder {
    /// What is given in the place of the value.
    given: Vec<ValueId>,
    /// What is taken from the recorded run beside it.
    beside: Vec<ValueId>,
    /// The outputs that follow from the value, by position.
    pub outputs: Vec<usize>,
    session: Option<Session>,
    /// Outputs that are the value itself.
    direct: HashMap<usize, ValueId>,
}

/// The values of a graph that have to be recorded so that every remainder can run.
pub(super) fn to_record(logicals: &[Logical]) -> Vec<ValueId> {
    let mut wanted: Vec<ValueId> = Vec::new();
    for logical in logicals {
        wanted.push(logical.recorded());
        wanted.extend(&logical.others);
        if logical.raw_is_read {
            wanted.push(logical.raw);
        }
    }
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

impl Remainder {
    /// The rest of the graph behind a value; `None` when no output follows from it.
    pub fn new(
        model: &OpenedModel,
        graph: &Graph,
        logical: &Logical,
        threads: usize,
    ) -> Result<Option<Remainder>, InspectError> {
        let mut given: Vec<ValueId> = logical.views.clone();
        if logical.raw_is_read && graph.value(logical.raw).ty.dtype == DType::F32 {
            given.push(logical.raw);
        }
        if let Some((integers, _)) = logical.integers.as_ref().filter(|_| logical.integers_are_read) {
            given.push(*integers);
        }
        given.sort_unstable();
        given.dedup();
        let set: HashSet<ValueId> = given.iter().copied().collect();
        let mut follows = vec![false; graph.values().len()];
        for node in graph.nodes() {
            if node.inputs.iter().flatten().any(|input| set.contains(input) || follows[input.index()]) {
                for output in node.outputs.iter().filter(|output| !set.contains(output)) {
                    follows[output.index()] = true;
                }
            }
        }
        let (mut outputs, mut direct, mut computed) = (Vec::new(), HashMap::new(), Vec::new());
        for (position, output) in graph.outputs().iter().enumerate() {
            if set.contains(output) {
                direct.insert(position, *output);
                outputs.push(position);
            } else if follows[output.index()] {
                computed.push(*output);
                outputs.push(position);
            }
        }
        if outputs.is_empty() {
            return Ok(None);
        }
        let beside = boundary(graph, &set, &follows, &computed);
        let session = if computed.is_empty() {
            None
        } else {
            let needed: Vec<ValueId> = given.iter().chain(&beside).copied().collect();
            let part = extract(graph, &needed, &computed).map_err(|error| model.pass_error(error))?;
            Some(model.session_of(part, threads)?)
        };
        Ok(Some(Remainder { given, beside, outputs, session, direct }))
    }

    /// The outputs of [`Remainder::outputs`], with `real` in the place of the value; `None` when a value that is needed was
    /// not recorded.
    pub fn run(
        &mut self,
        model: &OpenedModel,
        graph: &Graph,
        real: &Tensor,
        params: Option<&QuantParams>,
        recorded: &Recorded,
    ) -> Result<Option<Vec<Tensor>>, InspectError> {
        let mut inputs: Vec<(&str, Tensor)> = Vec::new();
        for &id in &self.given {
            let value = graph.value(id);
            let tensor =
                if value.ty.dtype == DType::F32 { Some(real.clone()) } else { quantized(real, params) };
            match tensor {
                Some(tensor) => inputs.push((value.name.as_str(), tensor)),
                None => return Ok(None),
            }
        }
        for &id in &self.beside {
            let name = graph.value(id).name.as_str();
            match recorded.get(name) {
                Some(tensor) => inputs.push((name, tensor.clone())),
                None => return Ok(None),
            }
        }
        let computed = match &mut self.session {
            Some(session) => session.run(&inputs, &mut ()).map_err(|source| model.run_error(source))?,
            None => Vec::new(),
        };
        let mut computed = computed.into_iter();
        let given = |id: ValueId| {
            let name = graph.value(id).name.as_str();
            inputs.iter().find(|(input, _)| *input == name).map(|(_, tensor)| tensor.clone())
        };
        Ok(self
            .outputs
            .iter()
            .map(|position| match self.direct.get(position) {
                Some(&id) => given(id),
                None => computed.next(),
            })
            .collect())
    }
}

/// The values that have to be there beside those that are given, so that `outputs` can be computed: as far to the front as
/// nothing follows from the given ones, with integers in the place of what they are dequantized to.
fn boundary(graph: &Graph, given: &HashSet<ValueId>, follows: &[bool], outputs: &[ValueId]) -> Vec<ValueId> {
    let mut seen = HashSet::new();
    let mut open = outputs.to_vec();
    let mut found = Vec::new();
    while let Some(id) = open.pop() {
        if given.contains(&id) || graph.constant(id).is_some() || !seen.insert(id) {
            continue;
        }
        let Some(producer) = graph.producer(id) else {
            found.push(id);
            continue;
        };
        let node = graph.node(producer);
        let is_constant = crate::structure::source(graph, id).is_some();
        if follows[id.index()] || is_constant || matches!(node.op, Op::DequantizeLinear(_)) {
            open.extend(node.inputs.iter().flatten());
        } else {
            found.push(id);
        }
    }
    found.sort_unstable();
    found
}

/// Real numbers as integers of one scale.
fn quantized(real: &Tensor, params: Option<&QuantParams>) -> Option<Tensor> {
    let params = params?;
    let (&[scale], &[zero]) = (params.scale.as_slice(), params.zero_point.as_slice()) else { return None };
    let (low, high) = params.dtype.integer_range()?;
    let numbers = real.as_f32()?;
    let integer =
        |number: &f32| ((number / scale).round_ties_even() as i64).saturating_add(zero).clamp(low, high);
    let integers = numbers.iter().map(integer);
    let shape = real.shape().to_vec();
    match params.dtype {
        DType::I8 => Tensor::from_vec(shape, integers.map(|integer| integer as i8).collect()).ok(),
        DType::U8 => Tensor::from_vec(shape, integers.map(|integer| integer as u8).collect()).ok(),
        DType::I16 => Tensor::from_vec(shape, integers.map(|integer| integer as i16).collect()).ok(),
        DType::U16 => Tensor::from_vec(shape, integers.map(|integer| integer as u16).collect()).ok(),
        _ => None,
    }
}
