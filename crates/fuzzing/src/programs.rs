//! Random small programs: planned, on every instruction set and after the canonical passes, they compute what the
//! definitions of their operators say, node by node.

use std::collections::HashMap;

use calipers_ir::text::{Constants, to_text};
use calipers_ir::{Graph, Node, Tensor, ValueId};
use calipers_passes::canonicalize;
use calipers_runtime::{Isa, Session, SessionOptions};

use crate::draws::Draws;
use crate::generator::{Program, draw};

/// How far a float may be off, as a share of the largest element of its tensor or of 1.
const TOLERANCE: f32 = 1e-4;

/// Draws a program from the bytes and runs it. Programs whose numbers are all exact in f32 (scales are powers of two) are
/// compared exactly, the others within a tolerance.
///
/// # Panics
/// When a session refuses what the definitions compute, or computes something else.
pub fn programs(bytes: &[u8]) {
    let Some(program) = draw(&mut Draws::new(bytes)) else { return };
    let expected = defined(&program);
    if expected.iter().any(|tensor| tensor.as_f32().is_some_and(|all| all.iter().any(|x| !x.is_finite()))) {
        return;
    }
    let compute = |node: &Node, inputs: &[Option<&Tensor>]| {
        calipers_runtime::evaluate(&node.name, &node.op, inputs, node.outputs.len()).ok()
    };
    let canonical = canonicalize(&program.graph, &compute)
        .unwrap_or_else(|error| panic!("the passes refuse: {error}\n{}", shown(&program.graph)))
        .graph;
    for graph in [&program.graph, &canonical] {
        for isa in [Isa::Scalar, Isa::detect()] {
            let found = planned(graph, isa, &program)
                .unwrap_or_else(|error| panic!("{isa} refuses: {error}\n{}", shown(&program.graph)));
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let difference = differ(found, expected, program.exact);
                if let Some(difference) = difference {
                    panic!(
                        "{isa}, output {index}: {difference}\nas drawn:\n{}\nas run:\n{}",
                        shown(&program.graph),
                        shown(graph)
                    );
                }
            }
        }
    }
}

fn shown(graph: &Graph) -> String {
    to_text(graph, Constants::Whole)
}

fn planned(graph: &Graph, isa: Isa, program: &Program) -> Result<Vec<Tensor>, calipers_runtime::Error> {
    let options = SessionOptions { isa: Some(isa), ..SessionOptions::default() };
    let inputs: Vec<(&str, Tensor)> =
        program.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
    Session::new(graph.clone(), options)?.run(&inputs, &mut ())
}

/// The outputs by the definitions alone.
fn defined(program: &Program) -> Vec<Tensor> {
    let graph = &program.graph;
    let mut values: HashMap<ValueId, Tensor> =
        graph.constants().iter().map(|(&id, tensor)| (id, tensor.clone())).collect();
    for &id in graph.inputs() {
        let given = program.inputs.iter().find(|(name, _)| *name == graph.value(id).name);
        values.extend(given.map(|(_, tensor)| (id, tensor.clone())));
    }
    for node in graph.nodes() {
        let inputs: Vec<Option<&Tensor>> = node.inputs.iter().map(|id| id.map(|id| &values[&id])).collect();
        let results = calipers_reference::evaluate(&node.op, &inputs, node.outputs.len())
            .unwrap_or_else(|error| panic!("{} has no result: {error}\n{}", node.name, shown(graph)));
        values.extend(node.outputs.iter().copied().zip(results));
    }
    graph.outputs().iter().map(|id| values[id].clone()).collect()
}

/// The first difference, in words.
fn differ(found: &Tensor, expected: &Tensor, exact: bool) -> Option<String> {
    if (found.shape(), found.dtype()) != (expected.shape(), expected.dtype()) {
        return Some(format!("is {}, should be {}", found.tensor_type(), expected.tensor_type()));
    }
    let (Some(floats), Some(wanted)) = (found.as_f32(), expected.as_f32()) else {
        return (found != expected).then(|| format!("is {found:?}, should be {expected:?}"));
    };
    let largest = wanted.iter().fold(1f32, |largest, x| largest.max(x.abs()));
    let allowed = if exact { 0.0 } else { TOLERANCE * largest };
    // Written so that a NaN is a difference.
    let bad =
        floats.iter().zip(wanted.iter()).position(|(a, b)| (a - b).is_nan() || (a - b).abs() > allowed)?;
    Some(format!("element {bad} is {}, should be {} within {allowed}", floats[bad], wanted[bad]))
}
