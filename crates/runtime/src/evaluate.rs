//! The value of one node on constants.

use std::collections::HashMap;

use calipers_ir::{Graph, GraphEditor, Op, Tensor, ValueId};
use calipers_kernels::{Execution, Supported};

use crate::error::Error;

/// Computes the results of an operator by its definition; `outputs` is how many of them are wanted.
///
/// # Errors
/// When the operator or the form of its inputs is not supported; the error names `node`.
pub fn evaluate(
    node: &str,
    op: &Op,
    inputs: &[Option<&Tensor>],
    outputs: usize,
) -> Result<Vec<Tensor>, Error> {
    match calipers_reference::evaluate(op, inputs, outputs) {
        Err(calipers_reference::Error::Unsupported { .. })
            if matches!(op, Op::DequantizeLinear(_) | Op::QuantizeLinear(_) | Op::Transpose { .. }) =>
        {
            by_kernel(node, op, inputs)
        }
        done => done.map_err(|error| Error::Reference { node: node.to_owned(), error }),
    }
}

fn by_kernel(node: &str, op: &Op, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, Error> {
    use crate::program::{Key, Machine, Runner};
    let refused = || Error::Subgraph { node: node.to_owned(), reason: format!("{op} is not supported") };
    let mut editor = GraphEditor::new(node);
    let mut arguments: Vec<Option<ValueId>> = Vec::new();
    let mut data = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        arguments.push(match input {
            None => None,
            Some(tensor) if index == 0 => {
                data.push((*tensor).clone());
                Some(editor.add_input("input", tensor.tensor_type()).map_err(|_| refused())?)
            }
            Some(tensor) => Some(
                editor.add_constant(format!("input_{index}"), (*tensor).clone()).map_err(|_| refused())?,
            ),
        });
    }
    let outputs = editor.add_node(node, op.clone(), &arguments, &["output"]).map_err(|_| refused())?;
    outputs.into_iter().for_each(|output| editor.add_output(output));
    let graph: Graph = editor.build().map_err(|_| refused())?;
    let execution = Execution { isa: Supported::detect(), threads: 1 };
    let mut machine = Machine { execution, pool: None, subgraphs: &mut HashMap::new() };
    let key = Key {
        inputs: data.iter().map(|tensor| crate::shapes::Given::shape(tensor.shape())).collect(),
        wanted: Vec::new(),
    };
    Runner::new(graph).run(&mut machine, key, &data, &mut crate::plan::Watch::Nothing)
}
