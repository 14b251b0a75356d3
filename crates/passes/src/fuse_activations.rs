//! Moves activations into the operators before them.

use calipers_ir::{Activation, DType, Graph, GraphEditor, Node, NodeId, Op, UnaryKind};

use crate::{Note, PassError, Rewritten};

const PASS: &str = "fuse_activations";

/// Makes Relu and Clip the activation of the Conv, Gemm or elementwise operator before them.
///
/// Legal when the operator is of a float type, has no activation yet, and nothing else reads its result.
/// The operator keeps its name and makes the activation's value; its own value is recorded as fused into that.
///
/// ```text
/// node conv %conv: f32[N, 8, 4, 4] = Conv(%x, %weight) {strides = [1, 1]}
/// node relu %relu: f32[N, 8, 4, 4] = Relu(%conv)
/// ```
/// becomes
/// ```text
/// node conv %relu: f32[N, 8, 4, 4] = Conv(%x, %weight) {strides = [1, 1], activation = "relu"}
/// ```
///
/// # Errors
/// A graph that was broken before.
pub fn fuse_activations(graph: &Graph) -> Result<Rewritten, PassError> {
    let mut editor = GraphEditor::edit(graph);
    let mut rewrites = 0;
    let mut notes = Vec::new();
    for (id, node) in graph.node_ids() {
        let Some(activation) = as_activation(&node.op) else { continue };
        match operator_before(graph, node, activation) {
            Some(Ok((before, fused))) => {
                let (inner, outer) = (graph.node(before).outputs[0], node.outputs[0]);
                editor.remove_node(id);
                let operator = editor.node_mut(before);
                operator.op = fused;
                operator.outputs[0] = outer;
                editor.record_fused(inner, outer);
                rewrites += 1;
            }
            Some(Err(reason)) => notes.push(Note { pass: PASS, node: node.name.clone(), reason }),
            None => {}
        }
    }
    Rewritten::finish(PASS, editor, rewrites, notes)
}

fn as_activation(op: &Op) -> Option<Activation> {
    if let Op::Clip(clip) = op {
        return Some(Activation::Clip(*clip));
    }
    matches!(op, Op::Unary(UnaryKind::Relu)).then_some(Activation::Relu)
}

/// The operator that can take the activation, with it, or why it cannot. `None` where there is none that might.
fn operator_before(
    graph: &Graph,
    node: &Node,
    activation: Activation,
) -> Option<Result<(NodeId, Op), String>> {
    let input = node.input(0)?;
    let id = graph.producer(input)?;
    let operator = graph.node(id);
    let fused = operator.op.with_activation(activation)?;
    let result = &graph.value(input);
    Some(if !matches!(result.ty.dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64) {
        Err(format!("`{}` is {}, and activations are fused into float operators", result.name, result.ty))
    } else if operator.op.activation() != Activation::None {
        Err(format!("`{}` has an activation already", operator.name))
    } else if graph.only_consumer(input).is_none() {
        Err(format!("`{}` is read elsewhere too", result.name))
    } else {
        Ok((id, fused))
    })
}

#[cfg(test)]
mod tests {
    use calipers_ir::Fate;

    use super::fuse_activations;
    use crate::before_after::check;

    #[test]
    fn each_kind_of_operator_takes_an_activation() {
        let before = "graph g {
          input %x: f32[2, 2]
          const %w: f32[2, 2] = [1.0, 2.0, 3.0, 4.0]
          const %taps: f32[1, 2, 1] = [1.0, 2.0]
          const %shape: i64[3] = [1, 2, 2]
          node gemm %gemm: f32[2, 2] = Gemm(%x, %w)
          node relu %relu: f32[2, 2] = Relu(%gemm)
          node sum %sum: f32[2, 2] = Add(%relu, %x)
          node clip %clip: f32[2, 2] = Clip(%sum) {min = 0.0, max = 6.0}
          node reshape %reshape: f32[1, 2, 2] = Reshape(%clip, %shape)
          node conv %conv: f32[1, 1, 2] = Conv(%reshape, %taps) {strides = [1]}
          node last %y: f32[1, 1, 2] = Relu(%conv)
          output %y
        }";
        let after = r#"graph g {
          input %x: f32[2, 2]
          const %w: f32[2, 2] = [1.0, 2.0, 3.0, 4.0]
          const %taps: f32[1, 2, 1] = [1.0, 2.0]
          const %shape: i64[3] = [1, 2, 2]
          node gemm %relu: f32[2, 2] = Gemm(%x, %w) {activation = "relu"}
          node sum %clip: f32[2, 2] = Add(%relu, %x) {activation = "clip", min = 0.0, max = 6.0}
          node reshape %reshape: f32[1, 2, 2] = Reshape(%clip, %shape)
          node conv %y: f32[1, 1, 2] = Conv(%reshape, %taps) {strides = [1], activation = "relu"}
          output %y
        }"#;
        let result = check(before, after, fuse_activations);
        assert_eq!(result.renames.0.len(), 3);
        assert_eq!(result.renames.0["sum"], Fate::Fused(String::from("clip")));
    }

    #[test]
    fn a_result_that_is_read_elsewhere_stays_readable() {
        let text = r#"graph g {
          input %x: f32[2]
          input %i: i32[2]
          node sum %sum: f32[2] = Add(%x, %x)
          node a %a: f32[2] = Relu(%sum)
          node both %both: f32[2] = Mul(%sum, %a) {activation = "relu"}
          node b %b: f32[2] = Relu(%both)
          node out %out: f32[2] = Add(%x, %b)
          node c %c: f32[2] = Relu(%out)
          node integer %integer: i32[2] = Add(%i, %i)
          node d %d: i32[2] = Relu(%integer)
          node direct %direct: f32[2] = Relu(%x)
          output %c
          output %out
          output %d
          output %direct
        }"#;
        let result = check(text, text, fuse_activations);
        let reasons: Vec<&str> = result.notes.iter().map(|note| note.reason.as_str()).collect();
        assert_eq!(
            reasons,
            [
                "`sum` is read elsewhere too",
                "`both` has an activation already",
                "`out` is read elsewhere too",
                "`integer` is i32[2], and activations are fused into float operators",
            ]
        );
    }
}
