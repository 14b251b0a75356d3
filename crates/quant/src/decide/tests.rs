//! Which nodes are quantized, by operator and by what stands around them.

use calipers_ir::{Graph, text};

use super::{Decision, decide, values_to_observe};
use crate::{Decider, QuantError, Recipe};

/// For each node, its name with how it is placed: `q`, `d`, `w`, or `f` with the reason.
fn placed(graph: &str, recipe: &Recipe) -> Vec<String> {
    let graph = text::parse(graph).unwrap();
    let structure = decide(&graph, recipe).unwrap();
    let one = |(node, decision): (&calipers_ir::Node, &Decision)| match decision {
        Decision::Static { .. } => format!("{} q", node.name),
        Decision::Dynamic { .. } => format!("{} d", node.name),
        Decision::WeightOnly { reason, .. } => {
            format!("{} w{}", node.name, reason.as_ref().map(|why| format!(" {why}")).unwrap_or_default())
        }
        Decision::Float { reason } => format!("{} f {reason}", node.name),
    };
    graph.nodes().iter().zip(&structure.nodes).map(one).collect()
}

fn observed(graph: &str) -> Vec<String> {
    let graph: Graph = text::parse(graph).unwrap();
    values_to_observe(&graph, &Recipe::default()).unwrap().into_iter().map(|(name, _)| name).collect()
}

const RESIDUAL_STREAM: &str = r#"graph g {
  input %x: f32[N, 2]
  const %w: f32[2, 2] = [1.0, 2.0, 3.0, 4.0]
  const %s: f32[2] = [1.0, 1.0]
  node norm %n: f32[N, 2] = LayerNormalization(%x, %s)
  node product %p: f32[N, 2] = MatMul(%n, %w)
  node moved %m: f32[N, 2] = Identity(%p)
  node sum %r: f32[N, 2] = Add(%x, %m)
  node last %y: f32[N, 2] = LayerNormalization(%r, %s)
  output %y
}"#;

#[test]
fn a_residual_stream_stays_in_float() {
    let placed = placed(RESIDUAL_STREAM, &Recipe::default());
    assert!(placed[0].starts_with("norm f LayerNormalization has no integer form"), "{placed:?}");
    assert_eq!(placed[1], "product q");
    assert!(placed[2].starts_with("moved f float operators alone read it"), "{placed:?}");
    assert!(placed[3].starts_with("sum f float operators alone read it"), "{placed:?}");
    // The product reads integers and gives real numbers.
    assert_eq!(observed(RESIDUAL_STREAM), ["n"]);
}

#[test]
fn masks_and_what_is_no_f32_stay_in_float() {
    let graph = r#"graph g {
      input %x: f32[N, 2]
      const %mask: f32[2] = [0.0, -1e9]
      const %half: f32[2] = [0.5, 0.25]
      node masked %a: f32[N, 2] = Add(%x, %mask)
      node scaled %b: f32[N, 2] = Mul(%x, %half)
      node best %c: i64[N, 1] = ArgMax(%b) {axis = 1}
      output %a
      output %b
      output %c
    }"#;
    let placed = placed(graph, &Recipe::default());
    assert!(placed[0].starts_with("masked f its constant `mask` reaches 1e9"), "{placed:?}");
    assert_eq!(placed[1], "scaled q");
    assert_eq!(placed[2], "best f it computes in i64, and only f32 is quantized");
    assert_eq!(observed(graph), ["x", "b"]);
}

#[test]
fn a_gelu_in_parts_stays_in_float_and_a_gate_does_not() {
    let graph = r#"graph g {
      input %x: f32[N, 2, 4]
      const %w: f32[4, 4] = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]
      const %root: f32[1] = [1.4142135]
      const %one: f32[1] = [1.0]
      const %half: f32[1] = [0.5]
      const %axes: i64[1] = [1]
      node up %u: f32[N, 2, 4] = MatMul(%x, %w)
      node divided %d: f32[N, 2, 4] = Div(%u, %root)
      node erf %e: f32[N, 2, 4] = Erf(%d)
      node plus %p: f32[N, 2, 4] = Add(%e, %one)
      node times %t: f32[N, 2, 4] = Mul(%u, %p)
      node halved %h: f32[N, 2, 4] = Mul(%t, %half)
      node down %v: f32[N, 2, 4] = MatMul(%h, %w)
      node mean %m: f32[N, 1, 4] = ReduceMean(%v, %axes)
      node gate %g: f32[N, 1, 4] = HardSigmoid(%m)
      node gated %y: f32[N, 2, 4] = Mul(%v, %g)
      output %y
    }"#;
    let placed = placed(graph, &Recipe::default());
    let starts: Vec<&str> =
        placed.iter().map(|text| text.get(..text.find(' ').unwrap() + 2).unwrap()).collect();
    assert_eq!(
        starts,
        [
            "up q",
            "divided f",
            "erf f",
            "plus f",
            "times f",
            "halved f",
            "down q",
            "mean f",
            "gate f",
            "gated q"
        ]
    );
    assert_eq!(observed(graph), ["x", "h", "v", "g", "y"]);
}

#[test]
fn each_mode_takes_what_it_can() {
    let graph = r#"graph g {
      input %i: i64[N]
      const %t: f32[3, 2] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
      const %w: f32[2, 2] = [1.0, 2.0, 3.0, 4.0]
      node rows %x: f32[N, 2] = Gather(%t, %i)
      node product %p: f32[N, 2] = MatMul(%x, %w)
      node double %d: f32[N, 2] = Gemm(%p, %w) {alpha = 2.0}
      node tanh %y: f32[N, 2] = Tanh(%d)
      output %y
    }"#;
    let of = |name: &str| placed(graph, &Recipe::of_precision(name).unwrap());
    let fixed = of("w8a8");
    assert!(fixed[0].starts_with("rows w a table is read"), "{fixed:?}");
    assert_eq!(fixed[1], "product q");
    assert!(fixed[2].starts_with("double w a Gemm with alpha 2"), "{fixed:?}");
    let dynamic = of("w8a8-dynamic");
    assert_eq!(dynamic[0], "rows w Gather is not quantized dynamically");
    assert_eq!(dynamic[1], "product d");
    assert!(dynamic[2].starts_with("double w"), "{dynamic:?}");
    assert_eq!(dynamic[3], "tanh f Tanh is not quantized dynamically");
    assert_eq!(of("w8"), ["rows w", "product w", "double w", "tanh f it has no constant weights"]);
}

#[test]
fn exclusions_name_nodes_or_values_and_are_checked() {
    let exclude = vec![String::from("p"), String::from("prod*"), String::from("nothing")];
    let recipe = Recipe { exclude, ..Recipe::default() };
    let graph = text::parse(RESIDUAL_STREAM).unwrap();
    let structure = decide(&graph, &recipe).unwrap();
    assert!(matches!(&structure.nodes[1], Decision::Float { reason } if reason == "the recipe excludes `p`"));
    assert_eq!(recipe.treatment(&graph, &graph.nodes()[1]).1, Decider::Exclude(0));
    assert_eq!(
        structure.notes,
        [
            "the exclusion `prod*` matches no node that others leave",
            "the exclusion `nothing` matches no node that others leave"
        ]
    );
}

#[test]
fn an_unknown_operator_that_blocks_calibration_is_named() {
    let graph = r#"graph g {
      input %x: f32[N, 2]
      const %w: f32[2, 2] = [1.0, 2.0, 3.0, 4.0]
      node strange %s: f32[N, 2] = Sorcery(%x) {opaque_domain = "magic"}
      node product %y: f32[N, 2] = MatMul(%s, %w)
      output %y
    }"#;
    let graph = text::parse(graph).unwrap();
    let x = calipers_ir::Tensor::from_vec([1, 2], vec![1f32, 2.0]).unwrap();
    let batch = vec![(String::from("x"), x)];
    let options = crate::CalibrationOptions::default();
    let error = crate::calibrate(&graph, [batch], &Recipe::default(), &options, |_| {}).unwrap_err();
    assert!(matches!(error, QuantError::Run { .. }));
    let text = error.to_string();
    assert!(text.contains("strange") && text.contains("Sorcery") && text.contains("`w8`"), "{text}");
    // Without data there is nothing to run.
    let recipe = Recipe::of_precision("w8").unwrap();
    let table = crate::calibrate(&graph, [], &recipe, &options, |_| {}).unwrap();
    let assignment = crate::assign(&graph, &table, &recipe).unwrap();
    assert_eq!(crate::insert_qdq(&graph, &assignment).unwrap().nodes().len(), 3);
}
