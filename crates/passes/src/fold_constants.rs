//! Computes what does not depend on the inputs of the graph.

use calipers_ir::{Graph, GraphEditor, Node, Op, Tensor, TensorType};

use crate::rewritten::list;
use crate::{Note, PassError, Rewritten};

const PASS: &str = "fold_constants";

/// Elements that a folded value may have even where the node reads fewer.
const GROWN_ELEMENTS: usize = 1 << 20;

/// Computes one node from the data of its arguments, in the operator's order; `None` when it cannot.
///
/// The outputs come back in order. The passes know no arithmetic of operators: the runtime does.
pub type Evaluate<'a> = dyn Fn(&Node, &[Option<&Tensor>]) -> Option<Vec<Tensor>> + 'a;

/// What happens to quantization of constants, which is where a quantized graph keeps its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantization {
    /// Weights stay as they stand: as integers that are dequantized, or as floats that are quantized first.
    Keep,
    /// QuantizeLinear is computed, DequantizeLinear stays: weights become integers, as files store them.
    FoldQuantize,
    /// Both are computed: weights become the floats that the integers stand for.
    FoldBoth,
}

/// Replaces nodes whose inputs are all constants by their results, which keep their names.
///
/// Legal for every operator but opaque ones, whose meaning is not known. A node that makes an output of the graph
/// stays, and so does one whose result is large (over 2^20 elements) and larger than all it reads.
///
/// ```text
/// const %a: f32[2] = [1.0, 2.0]
/// const %b: f32[] = [3.0]
/// node product %product: f32[2] = Mul(%a, %b)
/// node sum %sum: f32[2] = Add(%x, %product)
/// ```
/// becomes
/// ```text
/// const %product: f32[2] = [3.0, 6.0]
/// node sum %sum: f32[2] = Add(%x, %product)
/// ```
///
/// # Errors
/// A graph that was broken before, or an evaluation that gave other types than those of the node's outputs.
pub fn fold_constants(
    graph: &Graph,
    quantization: Quantization,
    evaluate: &Evaluate<'_>,
) -> Result<Rewritten, PassError> {
    let mut editor = GraphEditor::edit(graph);
    let mut rewrites = 0;
    let mut notes = Vec::new();
    for (id, node) in graph.node_ids() {
        let arguments: Vec<Option<&Tensor>> =
            node.inputs.iter().map(|input| input.and_then(|input| editor.constant(input))).collect();
        let known = node.inputs.iter().zip(&arguments).all(|(input, data)| input.is_some() == data.is_some());
        if !known || !folds(&node.op, quantization) {
            continue;
        }
        let expected: Vec<&TensorType> = node.outputs.iter().map(|&output| &graph.value(output).ty).collect();
        let reason = if node.outputs.iter().any(|output| graph.outputs().contains(output)) {
            "it makes an output of the graph"
        } else if grows(&expected, &arguments) {
            "its result is large, and larger than what it reads"
        } else if let Some(results) = evaluate(node, &arguments) {
            let found: Vec<TensorType> = results.iter().map(Tensor::tensor_type).collect();
            let fit = found.len() == expected.len()
                && found.iter().zip(&expected).all(|(found, expected)| found.compatible(expected));
            if !fit {
                return Err(PassError::Evaluated {
                    node: node.name.clone(),
                    expected: list(expected),
                    found: list(&found),
                });
            }
            editor.remove_node(id);
            for (&output, result) in node.outputs.iter().zip(results) {
                editor.set_constant(output, result);
            }
            rewrites += 1;
            continue;
        } else {
            "its inputs are constants, but it cannot be evaluated"
        };
        notes.push(Note { pass: PASS, node: node.name.clone(), reason: String::from(reason) });
    }
    Rewritten::finish(PASS, editor, rewrites, notes)
}

fn folds(op: &Op, quantization: Quantization) -> bool {
    match op {
        Op::Control(_) | Op::Opaque(_) => false,
        Op::QuantizeLinear(_) => quantization != Quantization::Keep,
        Op::DequantizeLinear(_) => quantization == Quantization::FoldBoth,
        Op::ConvTranspose(_)
        | Op::ConvInteger(_)
        | Op::Product(_)
        | Op::Variadic(_)
        | Op::Select(_)
        | Op::Normalize(_)
        | Op::Reduce(_)
        | Op::Scanning(_)
        | Op::Movement(_)
        | Op::Indexing(_)
        | Op::Creation(_)
        | Op::Image(_)
        | Op::Signal(_)
        | Op::Recurrent(_)
        | Op::DynamicQuantizeLinear
        | Op::Conv(_)
        | Op::Gemm(_)
        | Op::MatMul
        | Op::Unary(_)
        | Op::Binary(..)
        | Op::Clip(_)
        | Op::Pool(_)
        | Op::GlobalPool(..)
        | Op::BatchNormalization(_)
        | Op::Reshape
        | Op::Flatten { .. }
        | Op::Transpose { .. } => true,
    }
}

fn grows(results: &[&TensorType], arguments: &[Option<&Tensor>]) -> bool {
    let read: usize = arguments.iter().flatten().map(|tensor| tensor.len()).sum();
    let made = results.iter().try_fold(0usize, |sum, ty| {
        let elements = ty.known_shape()?.iter().try_fold(1usize, |product, &n| product.checked_mul(n))?;
        sum.checked_add(elements)
    });
    made.is_none_or(|made| made > read.max(GROWN_ELEMENTS))
}

#[cfg(test)]
mod tests {
    use calipers_ir::{BinaryKind, Node, Op, Tensor, text};

    use super::{Quantization, fold_constants};
    use crate::before_after::check;

    /// Knows the sum and the product of vectors and scalars, and quantization by scale 0.5 without zero point.
    fn evaluate(node: &Node, arguments: &[Option<&Tensor>]) -> Option<Vec<Tensor>> {
        if let Op::QuantizeLinear(_) = node.op {
            let x = arguments[0]?;
            let integers = x.as_f32()?.iter().map(|x| (x / 0.5).round() as i8).collect();
            return Some(vec![Tensor::from_vec(x.shape(), integers).unwrap()]);
        }
        if let Op::DequantizeLinear(_) = node.op {
            let q = arguments[0]?;
            let reals = q.to_integers()?.iter().map(|&q| 0.5 * q as f32).collect();
            return Some(vec![Tensor::from_vec(q.shape(), reals).unwrap()]);
        }
        let Op::Binary(kind, _) = &node.op else { return None };
        let (a, b) = (arguments[0]?, arguments[1]?.as_f32()?[0]);
        let elements: Vec<f32> = match kind {
            BinaryKind::Add => a.as_f32()?.iter().map(|a| a + b).collect(),
            BinaryKind::Mul => a.as_f32()?.iter().map(|a| a * b).collect(),
            _ => return None,
        };
        Some(vec![Tensor::from_vec(a.shape(), elements).unwrap()])
    }

    fn pass(graph: &calipers_ir::Graph) -> Result<crate::Rewritten, crate::PassError> {
        fold_constants(graph, Quantization::Keep, &evaluate)
    }

    #[test]
    fn a_chain_becomes_its_last_result() {
        let before = "graph g {
          input %x: f32[2]
          const %a: f32[2] = [1.0, 2.0]
          const %b: f32[] = [3.0]
          node product %product: f32[2] = Mul(%a, %b)
          node more %more: f32[2] = Add(%product, %b)
          node sum %sum: f32[2] = Add(%x, %more)
          output %sum
        }";
        let after = "graph g {
          input %x: f32[2]
          const %more: f32[2] = [6.0, 9.0]
          node sum %sum: f32[2] = Add(%x, %more)
          output %sum
        }";
        assert_eq!(check(before, after, pass).rewrites, 2);
    }

    #[test]
    fn outputs_unknown_and_opaque_nodes_stay() {
        let text = r#"graph g {
          input %x: f32[2]
          const %a: f32[2] = [1.0, 2.0]
          const %b: f32[] = [3.0]
          node opaque %opaque: f32[2] = Thing(%a) {opaque_domain = "com.example"}
          node out %out: f32[2] = Add(%a, %b)
          node quotient %quotient: f32[2] = Div(%a, %b)
          node sum %sum: f32[2] = Add(%quotient, %opaque)
          output %sum
          output %out
        }"#;
        let result = check(text, text, pass);
        let notes: Vec<String> = result.notes.iter().map(ToString::to_string).collect();
        assert_eq!(
            notes,
            [
                "fold_constants: node `out` stays: it makes an output of the graph",
                "fold_constants: node `quotient` stays: its inputs are constants, but it cannot be evaluated",
            ]
        );
    }

    #[test]
    fn a_result_that_outgrows_its_arguments_stays() {
        let text = "graph g {
          input %x: f32[2048, 1024]
          const %row: f32[1024] = ROW
          const %column: f32[2048, 1] = COLUMN
          node grid %grid: f32[2048, 1024] = Add(%column, %row)
          node sum %sum: f32[2048, 1024] = Add(%x, %grid)
          output %sum
        }"
        .replace("ROW", &format!("{:?}", vec![1.0f32; 1024]))
        .replace("COLUMN", &format!("{:?}", vec![1.0f32; 2048]));
        assert_eq!(check(&text, &text, pass).notes.len(), 1);
    }

    const QUANTIZED: &str = "graph g {
      input %x: f32[2]
      const %w: f32[2] = [1.0, 2.0]
      const %s: f32[] = [0.5]
      node q %q: i8[2] = QuantizeLinear(%w, %s) {dtype = i8}
      node d %d: f32[2] = DequantizeLinear(%q, %s)
      node y %y: f32[2] = Mul(%x, %d)
      output %y
    }";

    #[test]
    fn quantization_of_weights_is_folded_as_far_as_asked() {
        assert_eq!(check(QUANTIZED, QUANTIZED, pass).notes, []);
        let integers = "graph g {
          input %x: f32[2]
          const %s: f32[] = [0.5]
          const %q: i8[2] = [2, 4]
          node d %d: f32[2] = DequantizeLinear(%q, %s)
          node y %y: f32[2] = Mul(%x, %d)
          output %y
        }";
        check(QUANTIZED, integers, |graph| fold_constants(graph, Quantization::FoldQuantize, &evaluate));
        let reals = "graph g {
          input %x: f32[2]
          const %d: f32[2] = [1.0, 2.0]
          node y %y: f32[2] = Mul(%x, %d)
          output %y
        }";
        check(QUANTIZED, reals, |graph| fold_constants(graph, Quantization::FoldBoth, &evaluate));
    }

    #[test]
    fn a_result_of_another_type_is_an_error() {
        let graph = text::parse(QUANTIZED).unwrap();
        let wrong = |_: &Node, _: &[Option<&Tensor>]| Some(vec![Tensor::scalar(1i32)]);
        let error = fold_constants(&graph, Quantization::FoldQuantize, &wrong).unwrap_err();
        assert_eq!(
            error.to_string(),
            "pass fold_constants, node `q`: evaluated to (i32[]), but its outputs are (i8[2])"
        );
    }
}
