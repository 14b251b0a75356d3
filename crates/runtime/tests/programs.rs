//! Graphs that cannot be planned in one piece: shapes that depend on data, and nodes that run subgraphs.

use calipers_ir::{DType, Tensor, text};
use calipers_runtime::{Profiler, Recorder, Session, SessionOptions};

fn session(graph: &str, subgraphs: &[(&str, &str)]) -> Session {
    let parse = |text: &str| text::parse(text).unwrap();
    let subgraphs = subgraphs.iter().map(|(name, text)| ((*name).to_owned(), parse(text)));
    Session::with_subgraphs(parse(graph), subgraphs, SessionOptions::default()).unwrap()
}

fn floats(values: &[f32]) -> Tensor {
    Tensor::from_vec([values.len()], values.to_vec()).unwrap()
}

fn boolean(value: bool) -> Tensor {
    Tensor::new(DType::Bool, [], vec![u8::from(value)].into()).unwrap()
}

const POSITIVE: &str = "graph positive {
  input %x: f32[N]
  const %zero: f32[] = [0.0]
  const %one: f32[] = [1.0]
  node above %above: bool[N] = Greater(%x, %zero)
  node where %where: i64[1, K] = NonZero(%above)
  node positions %positions: i64[K, 1] = Transpose(%where) {permutation = [1, 0]}
  node taken %taken: f32[*] = GatherND(%x, %positions)
  node more %more: f32[*] = Add(%taken, %one)
  node count %count: i64[*] = Shape(%more)
  output %more
  output %count
}";

#[test]
fn what_follows_a_shape_of_data_runs_when_the_shape_is_there() {
    let mut session = session(POSITIVE, &[]);
    for (x, expected) in [
        (&[1.0, -2.0, 3.0][..], &[2.0, 4.0][..]),
        (&[5.0, 6.0, 7.0], &[6.0, 7.0, 8.0]),
        (&[-1.0, -1.0, -1.0], &[]),
        (&[0.5], &[1.5]),
    ] {
        let mut recorder = Recorder::new(["above", "where", "taken", "more"]);
        let results = session.run(&[("x", floats(x))], &mut recorder).unwrap();
        assert_eq!(results, [floats(expected), Tensor::from_vec([1], vec![expected.len() as i64]).unwrap()]);
        assert_eq!(recorder.values["more"], floats(expected));
        assert_eq!(recorder.values["where"].shape(), [1, expected.len()]);
        assert_eq!(recorder.values.len(), 4);
    }
    let mut profiler = Profiler::new();
    session.run(&[("x", floats(&[1.0]))], &mut profiler).unwrap();
    let nodes: Vec<&str> = profiler.steps.iter().map(|time| time.step.node.as_str()).collect();
    assert_eq!(nodes, ["above", "where", "taken", "more"]);
}

#[test]
fn shapes_that_follow_from_the_input_are_planned() {
    let mut session = session(
        "graph flat {
          input %x: f32[N, 2, 3]
          const %axis: i64[1] = [0]
          const %rest: i64[1] = [-1]
          const %end: i64[1] = [1]
          node shape %shape: i64[3] = Shape(%x)
          node batch %batch: i64[1] = Slice(%shape, %axis, %end, %axis)
          node target %target: i64[2] = Concat(%batch, %rest)
          node flat %flat: f32[*] = Reshape(%x, %target)
          node relu %relu: f32[*] = Relu(%flat)
          output %relu
        }",
        &[],
    );
    let steps: Vec<String> =
        session.plan(&[vec![4, 2, 3]]).unwrap().steps().map(|step| step.kernel.clone()).collect();
    assert_eq!(steps, ["clip f32"]);
    let x = Tensor::from_vec([1, 2, 3], vec![-1.0f32, 2.0, -3.0, 4.0, -5.0, 6.0]).unwrap();
    let results = session.run(&[("x", x)], &mut ()).unwrap();
    assert_eq!(results, [Tensor::from_vec([1, 6], vec![0.0f32, 2.0, 0.0, 4.0, 0.0, 6.0]).unwrap()]);
}

#[test]
fn a_branch_reads_what_it_captures() {
    let mut session = session(
        "graph choose {
          input %condition: bool[]
          input %x: f32[N]
          node if %y: f32[N] = If(%condition, %x) {then_branch = graph(\"then\"), else_branch = graph(\"else\"), captures = 1}
          node z %z: f32[N] = Neg(%y)
          output %z
        }",
        &[
            ("then", "graph then { input %x: f32[N] node y %y: f32[N] = Add(%x, %x) output %y }"),
            ("else", "graph else { input %x: f32[N] node y %y: f32[N] = Mul(%x, %x) output %y }"),
        ],
    );
    for (condition, expected) in [(true, [-6.0, 4.0]), (false, [-9.0, -4.0])] {
        let inputs = [("condition", boolean(condition)), ("x", floats(&[3.0, -2.0]))];
        assert_eq!(session.run(&inputs, &mut ()).unwrap(), [floats(&expected)]);
    }
}

#[test]
fn a_loop_carries_and_collects() {
    // x, 2 x, 4 x ... until the first element is above 10, each kept.
    let body = "graph body {
      input %iteration: i64[]
      input %condition: bool[]
      input %x: f32[2]
      input %limit: f32[]
      const %first: i64[] = [0]
      node twice %twice: f32[2] = Add(%x, %x)
      node head %head: f32[] = Gather(%twice, %first)
      node on %on: bool[] = Less(%head, %limit)
      node kept %kept: f32[2] = Identity(%x)
      output %on
      output %twice
      output %kept
    }";
    let mut session = session(
        "graph double {
          input %trips: i64[]
          input %x: f32[2]
          const %limit: f32[] = [10.0]
          node loop %last: f32[2], %all: f32[T, 2] = Loop(%trips, _, %x, %limit) {body = graph(\"body\"), captures = 1}
          output %last
          output %all
        }",
        &[("body", body)],
    );
    let mut run = |trips: i64| {
        session.run(&[("trips", Tensor::scalar(trips)), ("x", floats(&[1.0, 3.0]))], &mut ()).unwrap()
    };
    let all = |rows: usize, values: &[f32]| Tensor::from_vec([rows, 2], values.to_vec()).unwrap();
    assert_eq!(run(2), [floats(&[4.0, 12.0]), all(2, &[1.0, 3.0, 2.0, 6.0])]);
    let until_above = all(4, &[1.0, 3.0, 2.0, 6.0, 4.0, 12.0, 8.0, 24.0]);
    assert_eq!(run(100), [floats(&[16.0, 48.0]), until_above]);
    assert_eq!(run(0), [floats(&[1.0, 3.0]), all(0, &[])]);
}

#[test]
fn a_missing_subgraph_is_named() {
    let mut session = session(
        "graph g {
          input %c: bool[]
          node if %y: f32[] = If(%c) {then_branch = graph(\"then\"), else_branch = graph(\"else\")}
          output %y
        }",
        &[],
    );
    let error = session.run(&[("c", boolean(true))], &mut ()).unwrap_err();
    assert!(error.to_string().starts_with("node `if`: there is no subgraph `then`"), "{error}");
}
