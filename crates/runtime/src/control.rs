//! Nodes that run subgraphs: If, Loop, Scan and While.

use calipers_ir::{Control, DType, Movement, Node, Op, Subgraph, Tensor};

use crate::error::Error;
use crate::evaluate::evaluate;
use crate::plan::Watch;
use crate::program::{Key, Machine};
use crate::shapes::Given;

/// Iterations after which a loop is taken not to end.
const MOST_ITERATIONS: u64 = 1 << 32;

/// Runs a node of control flow.
pub(crate) fn run(
    machine: &mut Machine<'_>,
    node: &Node,
    kind: &Control,
    arguments: &[Option<&Tensor>],
) -> Result<Vec<Tensor>, Error> {
    let mut call = Call { machine, node };
    match kind {
        Control::If { then_branch, else_branch, .. } => {
            let branch =
                if call.condition(arguments.first().copied().flatten())? { then_branch } else { else_branch };
            let captures = call.present(arguments.get(1..).unwrap_or_default())?;
            call.graph(branch, &captures)
        }
        Control::Loop { body, captures } => call.repeat(body, *captures, arguments),
        Control::Scan { .. } => call.scan(kind, arguments),
        Control::While { cond, body } => {
            let mut carried = call.present(arguments)?;
            let mut iterations = 0;
            loop {
                let goes_on = call.graph(cond, &carried)?;
                if !call.condition(goes_on.first())? {
                    return Ok(carried);
                }
                carried = call.graph(body, &carried)?;
                iterations += 1;
                if iterations == MOST_ITERATIONS {
                    return call.fail(format!("{MOST_ITERATIONS} iterations have not ended it"));
                }
            }
        }
    }
}

struct Call<'a, 'm> {
    machine: &'a mut Machine<'m>,
    node: &'a Node,
}

impl Call<'_, '_> {
    fn fail<T>(&self, reason: impl Into<String>) -> Result<T, Error> {
        Err(Error::Subgraph { node: self.node.name.clone(), reason: reason.into() })
    }

    /// Runs a subgraph on its inputs in order.
    fn graph(&mut self, subgraph: &Subgraph, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        let Some(mut runner) = self.machine.subgraphs.remove(&subgraph.0) else {
            return self.fail(format!("there is no subgraph `{}` to run, or it runs itself", subgraph.0));
        };
        let result = if runner.graph().inputs().len() == inputs.len() {
            let given = inputs.iter().map(|input| Given::shape(input.shape())).collect();
            let key = Key { inputs: given, wanted: Vec::new() };
            runner.run(self.machine, key, inputs, &mut Watch::Nothing)
        } else {
            let expected = runner.graph().inputs().len();
            self.fail(format!("subgraph `{}` takes {expected} inputs, found {}", subgraph.0, inputs.len()))
        };
        self.machine.subgraphs.insert(subgraph.0.clone(), runner);
        result
    }

    fn condition(&self, tensor: Option<&Tensor>) -> Result<bool, Error> {
        match tensor {
            Some(tensor) if tensor.dtype() == DType::Bool && tensor.len() == 1 => Ok(tensor.bytes()[0] != 0),
            _ => self.fail("expected a condition of one bool"),
        }
    }

    fn present(&self, arguments: &[Option<&Tensor>]) -> Result<Vec<Tensor>, Error> {
        match arguments.iter().map(|argument| argument.cloned()).collect() {
            Some(tensors) => Ok(tensors),
            None => self.fail("an input that is needed is absent"),
        }
    }

    fn repeat(
        &mut self,
        body: &Subgraph,
        captures: i64,
        arguments: &[Option<&Tensor>],
    ) -> Result<Vec<Tensor>, Error> {
        let captures = usize::try_from(captures).unwrap_or(0);
        let Some(carried) = arguments.len().checked_sub(2 + captures) else {
            return self.fail("fewer inputs than trip count, condition and captures");
        };
        let trips = match arguments[0] {
            None => MOST_ITERATIONS,
            Some(count) => match count.to_integers().as_deref() {
                Some([count]) => u64::try_from(*count).unwrap_or(0),
                _ => return self.fail("expected a trip count of one integer"),
            },
        };
        let mut goes_on = match arguments[1] {
            None => true,
            condition => self.condition(condition)?,
        };
        let mut state = self.present(&arguments[2..2 + carried])?;
        let captured = self.present(&arguments[2 + carried..])?;
        let mut collected: Vec<Vec<Tensor>> = Vec::new();
        let mut iteration = 0;
        while goes_on && iteration < trips {
            let mut inputs = vec![Tensor::scalar(iteration as i64), boolean(goes_on)];
            inputs.append(&mut state);
            inputs.extend(captured.iter().cloned());
            let mut results = self.graph(body, &inputs)?.into_iter();
            let condition = results.next();
            goes_on = self.condition(condition.as_ref())?;
            state = results.by_ref().take(carried).collect();
            if state.len() != carried {
                return self.fail(format!("the body gives {} of {carried} carried values", state.len()));
            }
            keep(&mut collected, results);
            iteration += 1;
            if iteration == MOST_ITERATIONS {
                return self.fail(format!("{MOST_ITERATIONS} iterations have not ended it"));
            }
        }
        let mut outputs = state;
        let scans = self.node.outputs.len().saturating_sub(carried);
        for index in 0..scans {
            outputs.push(match collected.get(index) {
                Some(slices) => self.stack(slices, 0)?,
                None => self.nothing(body, 1 + carried + index)?,
            });
        }
        Ok(outputs)
    }

    fn scan(&mut self, kind: &Control, arguments: &[Option<&Tensor>]) -> Result<Vec<Tensor>, Error> {
        let Control::Scan {
            body,
            num_scan_inputs,
            scan_input_axes,
            scan_input_directions,
            scan_output_axes,
            scan_output_directions,
            captures,
        } = kind
        else {
            return self.fail("expected a Scan");
        };
        let all = self.present(arguments)?;
        let (scans, captures) =
            (usize::try_from(*num_scan_inputs).unwrap_or(0), usize::try_from(*captures).unwrap_or(0));
        let Some(states) = all.len().checked_sub(scans.saturating_add(captures)) else {
            return self.fail("fewer inputs than scanned tensors and captures");
        };
        let (mut state, rest) = (all[..states].to_vec(), &all[states..]);
        let (scanned, captured) = rest.split_at(scans);
        let flag = |list: &[i64], index: usize| list.get(index).is_some_and(|&value| value == 1);
        let mut length = None;
        let mut axes = Vec::with_capacity(scans);
        for (index, tensor) in scanned.iter().enumerate() {
            let rank = tensor.shape().len() as i64;
            let axis = scan_input_axes.get(index).copied().unwrap_or(0);
            let axis = if axis < 0 { axis + rank } else { axis };
            let Some(&extent) = usize::try_from(axis).ok().and_then(|axis| tensor.shape().get(axis)) else {
                return self.fail(format!("scan axis {axis} of a tensor of rank {rank}"));
            };
            if length.is_some_and(|length| length != extent) {
                return self.fail("scanned tensors of different lengths");
            }
            length = Some(extent);
            axes.push(axis);
        }
        let length = length.unwrap_or(0);
        let mut collected: Vec<Vec<Tensor>> = Vec::new();
        for step in 0..length {
            let mut inputs = std::mem::take(&mut state);
            for (index, tensor) in scanned.iter().enumerate() {
                let at = if flag(scan_input_directions, index) { length - 1 - step } else { step };
                inputs.push(self.slice(tensor, axes[index], at)?);
            }
            inputs.extend(captured.iter().cloned());
            let mut results = self.graph(body, &inputs)?.into_iter();
            state = results.by_ref().take(states).collect();
            keep(&mut collected, results);
        }
        let mut outputs = state;
        for index in 0..self.node.outputs.len().saturating_sub(states) {
            outputs.push(match collected.get_mut(index) {
                Some(slices) => {
                    if flag(scan_output_directions, index) {
                        slices.reverse();
                    }
                    self.stack(slices, scan_output_axes.get(index).copied().unwrap_or(0))?
                }
                None => self.nothing(body, states + index)?,
            });
        }
        Ok(outputs)
    }

    /// One position of an axis, without that axis.
    fn slice(&self, tensor: &Tensor, axis: i64, at: usize) -> Result<Tensor, Error> {
        let gather = Op::Indexing(calipers_ir::Indexing::Gather { axis, batch_dims: 0 });
        self.one(&gather, &[Some(tensor), Some(&Tensor::scalar(at as i64))])
    }

    /// Tensors of one shape along a new axis.
    fn stack(&self, slices: &[Tensor], axis: i64) -> Result<Tensor, Error> {
        let rank = slices.first().map_or(0, |slice| slice.shape().len()) as i64;
        let axis = if axis < 0 { axis + rank + 1 } else { axis };
        let at = usize::try_from(axis).unwrap_or(0).min(rank as usize);
        let mut parts = Vec::with_capacity(slices.len());
        for slice in slices {
            let mut shape = slice.shape().to_vec();
            shape.insert(at, 1);
            parts.push(slice.reshaped(shape).or_else(|error| self.fail(error.to_string()))?);
        }
        let parts: Vec<Option<&Tensor>> = parts.iter().map(Some).collect();
        self.one(&Op::Movement(Movement::Concat { axis }), &parts)
    }

    /// What a body that never ran has collected: no slices of the stated shape.
    fn nothing(&self, body: &Subgraph, output: usize) -> Result<Tensor, Error> {
        let graph = self.machine.subgraphs.get(&body.0).map(crate::program::Runner::graph);
        let ty = graph.and_then(|graph| Some(&graph.value(*graph.outputs().get(output)?).ty));
        let Some(ty) = ty else { return self.fail(format!("the body has no output {output}")) };
        let mut shape = vec![0];
        shape.extend(ty.shape.iter().flatten().map(|dim| dim.known().unwrap_or(0)));
        Tensor::new(ty.dtype, shape, Vec::new().into()).or_else(|error| self.fail(error.to_string()))
    }

    fn one(&self, op: &Op, arguments: &[Option<&Tensor>]) -> Result<Tensor, Error> {
        let mut results = evaluate(&self.node.name, op, arguments, 1)?;
        match results.pop() {
            Some(result) => Ok(result),
            None => self.fail(format!("{op} gave nothing")),
        }
    }
}

/// Appends one iteration's results to what was collected.
fn keep(collected: &mut Vec<Vec<Tensor>>, results: impl Iterator<Item = Tensor>) {
    for (index, result) in results.enumerate() {
        match collected.get_mut(index) {
            Some(slices) => slices.push(result),
            None => collected.push(vec![result]),
        }
    }
}

fn boolean(value: bool) -> Tensor {
    match Tensor::new(DType::Bool, [], vec![u8::from(value)].into()) {
        Ok(tensor) => tensor,
        Err(error) => unreachable!("one byte is one bool: {error}"),
    }
}
