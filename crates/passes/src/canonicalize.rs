//! The passes that every model goes through before it is calibrated, quantized or planned, in their order.

use calipers_ir::Graph;

use crate::{
    Evaluate, PassError, Quantization, Rewritten, fold_batch_norm, fold_constants, fuse_activations,
    remove_dead_nodes, remove_identities,
};

/// Brings a graph into the form that the rest of the program works on: no dead nodes, no identities, nothing that could
/// have been computed before, BatchNorm and activations inside the operators before them.
///
/// Doing it twice is doing it once. A quantized graph keeps its Quantize and Dequantize nodes.
///
/// # Errors
/// A graph that was broken before, or an evaluation that gave other types than those of the node's outputs.
pub fn canonicalize(graph: &Graph, evaluate: &Evaluate<'_>) -> Result<Rewritten, PassError> {
    Rewritten::unchanged(graph)
        // First, because a dead reader would keep values from being fused.
        .then(remove_dead_nodes)?
        // Before all that look at neighbours, which an identity would keep apart.
        .then(remove_identities)?
        // Before BatchNorm, whose parameters must be constants.
        .then(|graph| fold_constants(graph, Quantization::Keep, evaluate))?
        // Before activations: an operator that has one cannot take the BatchNorm between them.
        .then(fold_batch_norm)?
        .then(fuse_activations)
}

#[cfg(test)]
mod tests {
    use calipers_ir::{Fate, Node, Op, Tensor};
    use calipers_models::{Options, resnet8, resnet18};

    use super::canonicalize;
    use crate::before_after::check;

    fn never(_: &Node, _: &[Option<&Tensor>]) -> Option<Vec<Tensor>> {
        None
    }

    #[test]
    fn the_order_lets_each_pass_see_what_it_needs() {
        let before = r#"graph g {
          input %x: f32[N, 1]
          const %weight: f32[1, 1] = [2.0]
          const %unit: f32[1] = [1.0]
          const %zero: f32[1] = [0.0]
          node copy %copy: f32[1] = Identity(%unit)
          node gemm %gemm: f32[N, 1] = Gemm(%x, %weight)
          node same %same: f32[N, 1] = Identity(%gemm)
          node norm %norm: f32[N, 1] = BatchNormalization(%same, %copy, %zero, %unit, %unit) {epsilon = 0.0}
          node relu %y: f32[N, 1] = Relu(%norm)
          node dead %dead: f32[N, 1] = Add(%norm, %gemm)
          output %y
        }"#;
        let after = r#"graph g {
          input %x: f32[N, 1]
          const %weight: f32[1, 1] = [2.0]
          const %gemm.bias: f32[1] = [-1.0]
          node gemm %y: f32[N, 1] = Gemm(%x, %weight, %gemm.bias) {activation = "relu"}
          output %y
        }"#;
        let result = check(before, after, |graph| canonicalize(graph, &never));
        assert_eq!(result.notes, []);
        for name in ["gemm", "same", "norm"] {
            assert_eq!(result.renames.0[name], Fate::Fused(String::from("y")), "{name}");
        }
    }

    #[test]
    fn residual_networks_lose_every_batch_norm_and_relu() {
        let options = Options::default();
        for graph in [resnet18(&options, 0).unwrap(), resnet8(&options, 0).unwrap()] {
            let result = canonicalize(&graph, &never).unwrap();
            for node in result.graph.nodes() {
                let fused = matches!(node.op, Op::BatchNormalization(_) | Op::Unary(_));
                assert!(!fused, "{} is left", node.name);
            }
            assert_eq!(result.notes, []);
            assert_eq!(result.renames.0["conv1"], Fate::Fused(String::from("relu")));
            assert_eq!(result.renames.0["bn1"], Fate::Fused(String::from("relu")));
            let again = canonicalize(&result.graph, &never).unwrap();
            assert_eq!((again.rewrites, &again.graph), (0, &result.graph));
        }
    }
}
