//! The value of one node on constants.

use std::collections::HashSet;

use calipers_ir::{EditError, Graph, GraphEditor, Op, Tensor, ValueId};
use calipers_kernels::{Execution, Supported};

use crate::arena::Memory;
use crate::error::Error;
use crate::lower::PackCache;
use crate::plan::{Plan, Watch};
use crate::shapes::Constants;

/// Computes an operator on constants: what [`crate::Session::run`] would compute for a node of that name.
///
/// # Errors
/// When the operator or the form of its inputs is not supported.
pub fn evaluate(node: &str, op: &Op, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, Error> {
    let (graph, data) = single(node, op, inputs).map_err(|error| Error::Unsupported {
        node: node.to_owned(),
        op: op.name().to_owned(),
        found: error.to_string(),
        supported: String::from("inputs that the operator's page allows"),
    })?;
    let shapes: Vec<Vec<usize>> = data.iter().map(|tensor| tensor.shape().to_vec()).collect();
    let constants = Constants::new(&graph);
    let execution = Execution { isa: Supported::detect(), threads: 1 };
    let plan = Plan::new(&graph, &constants, &shapes, &HashSet::new(), execution.isa, &mut PackCache::new())?;
    let mut memory = Memory::new(plan.words());
    let copies: Vec<(Memory, usize)> =
        data.iter().map(|tensor| (Memory::copy_of(&tensor.bytes()), tensor.bytes().len())).collect();
    let bytes: Vec<&[u8]> = copies.iter().map(|(copy, len)| copy.bytes(0..copy.words(), *len)).collect();
    Ok(plan.run(execution, None, &mut memory, &bytes, Watch::Nothing))
}

/// A graph of one node whose first input is the graph's and whose others are constants.
fn single(node: &str, op: &Op, inputs: &[Option<&Tensor>]) -> Result<(Graph, Vec<Tensor>), EditError> {
    let mut editor = GraphEditor::new(node);
    let mut arguments: Vec<Option<ValueId>> = Vec::new();
    let mut data = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        arguments.push(match input {
            None => None,
            Some(tensor) if index == 0 => {
                data.push((*tensor).clone());
                Some(editor.add_input("input", tensor.tensor_type())?)
            }
            Some(tensor) => Some(editor.add_constant(format!("input_{index}"), (*tensor).clone())?),
        });
    }
    let outputs = editor.add_node(node, op.clone(), &arguments, &["output"])?;
    for output in outputs {
        editor.add_output(output);
    }
    Ok((editor.build()?, data))
}

#[cfg(test)]
mod tests {
    use super::evaluate;
    use calipers_ir::{Activation, BinaryKind, DequantizeLinear, Op, Tensor};

    #[test]
    fn constants_are_computed() {
        let left = Tensor::from_vec([2, 2], vec![1.0f32, 2.0, 3.0, 4.0]).unwrap();
        let right = Tensor::from_vec([2], vec![10.0f32, 20.0]).unwrap();
        let add = Op::Binary(BinaryKind::Add, Activation::None);
        let sums = evaluate("sum", &add, &[Some(&left), Some(&right)]).unwrap();
        assert_eq!(sums, [Tensor::from_vec([2, 2], vec![11.0f32, 22.0, 13.0, 24.0]).unwrap()]);
    }

    #[test]
    fn weights_are_dequantized_along_their_axis() {
        let weights = Tensor::from_vec([2, 2, 1], vec![1i8, 2, -3, 4]).unwrap();
        let scales = Tensor::from_vec([2], vec![0.5f32, 2.0]).unwrap();
        let op = Op::DequantizeLinear(DequantizeLinear { axis: 0, block_size: 0 });
        let real = evaluate("weights", &op, &[Some(&weights), Some(&scales), None]).unwrap();
        assert_eq!(real, [Tensor::from_vec([2, 2, 1], vec![0.5f32, 1.0, -6.0, 8.0]).unwrap()]);
    }
}
