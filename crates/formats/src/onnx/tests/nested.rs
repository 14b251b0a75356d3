//! Graphs within graphs, functions, sparse constants, and their hostile forms.

use super::super::messages::{AttributeProto, AttributeType, FunctionProto, GraphProto, SparseTensorProto};
use super::super::{parse, tensor, to_bytes, types::value_info};
use super::{float, graph_of, ints, model, node, read, refused};
use crate::onnx::messages::{ModelProto, NodeProto, OperatorSetIdProto};
use calipers_ir::{Control, DType, Op, Tensor, TensorType};
use prost::Message as _;

fn body(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Graph as i32,
        g: Some(Box::new(graph)),
        ..Default::default()
    }
}

fn branch(nodes: Vec<NodeProto>, output: &str) -> GraphProto {
    GraphProto {
        name: String::from("branch"),
        node: nodes,
        output: vec![value_info(output, &TensorType::unranked(DType::F32))],
        ..Default::default()
    }
}

/// `if condition { relu(hidden) } else { neg(x) }`, where `hidden` is computed before.
pub(super) fn conditional() -> ModelProto {
    let condition = NodeProto {
        attribute: vec![
            body("then_branch", branch(vec![node("Relu", &["hidden"], &["a"])], "a")),
            body("else_branch", branch(vec![node("Neg", &["x"], &["b"])], "b")),
        ],
        ..node("If", &["condition"], &["y"])
    };
    let mut model = model(vec![node("Abs", &["x"], &["hidden"]), condition]);
    graph_of(&mut model).input.push(value_info("condition", &TensorType::new(DType::Bool, [] as [usize; 0])));
    model
}

#[test]
fn captured_values_become_inputs_and_are_written_back() {
    let model = read(&conditional()).unwrap();
    let Op::Control(Control::If { then_branch, else_branch, captures }) = &model.graph.nodes()[1].op else {
        panic!("{:?}", model.graph.nodes()[1].op);
    };
    assert_eq!(*captures, 2);
    for branch in [then_branch, else_branch] {
        let graph = &model.subgraphs[&branch.0];
        let names: Vec<&str> = graph.inputs().iter().map(|&id| graph.value(id).name.as_str()).collect();
        assert_eq!(names, ["hidden", "x"]);
    }
    let bytes = to_bytes(&model).unwrap();
    let written = ModelProto::decode(bytes.as_slice()).unwrap().graph.unwrap();
    assert_eq!(written.node[1].input, ["condition"]);
    let then = written.node[1].attribute[0].g.as_ref().unwrap();
    assert!(then.input.is_empty());
    assert_eq!(then.node[0].input, ["hidden"]);
    assert_eq!(parse(bytes.into()).unwrap(), model);
}

#[test]
fn what_a_graph_reads_must_be_there_before_it() {
    let mut missing = conditional();
    graph_of(&mut missing).node[0].output[0] = String::from("other");
    refused(&missing, "node `If node` (If) reads `hidden`, which nothing defines");
    let mut late = conditional();
    graph_of(&mut late).node.swap(0, 1);
    refused(&late, "only a later node defines");
    let mut none = conditional();
    graph_of(&mut none).node[1].attribute.pop();
    refused(&none, "attribute `else_branch` holds no graph");
}

#[test]
fn deep_nests_of_graphs_are_refused() {
    let mut graph = branch(vec![node("Relu", &["x"], &["a"])], "a");
    let mut bytes = Vec::new();
    for _ in 0..200 {
        let inner = NodeProto {
            attribute: vec![body("then_branch", graph.clone()), body("else_branch", branch(vec![], "x"))],
            ..node("If", &["condition"], &["a"])
        };
        graph = branch(vec![inner], "a");
        let mut file = conditional();
        graph_of(&mut file).node[1].attribute[0] = body("then_branch", graph.clone());
        bytes = file.encode_to_vec();
        if parse(bytes.clone().into()).is_err() {
            break;
        }
    }
    let error = parse(bytes.into()).unwrap_err().to_string();
    assert!(error.contains("recursion limit") || error.contains("deep"), "{error}");
}

fn function(name: &str, nodes: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: name.to_owned(),
        domain: String::from("local"),
        input: vec![String::from("in")],
        output: vec![String::from("out")],
        node: nodes,
        opset_import: ["", "local"]
            .map(|domain| OperatorSetIdProto {
                domain: domain.to_owned(),
                version: if domain.is_empty() { 17 } else { 1 },
            })
            .to_vec(),
        ..Default::default()
    }
}

fn call(name: &str, input: &str, output: &str) -> NodeProto {
    NodeProto { domain: String::from("local"), ..node(name, &[input], &[output]) }
}

fn calling(functions: Vec<FunctionProto>, name: &str) -> ModelProto {
    let mut model = model(vec![call(name, "x", "y")]);
    model.opset_import.push(OperatorSetIdProto { domain: String::from("local"), version: 1 });
    model.functions = functions;
    model
}

/// A call of a function that calls another, with an attribute.
pub(super) fn with_functions() -> ModelProto {
    let mut leaky = node("LeakyRelu", &["middle"], &["out"]);
    leaky.attribute.push(AttributeProto {
        name: String::from("alpha"),
        r#type: AttributeType::Float as i32,
        ref_attr_name: String::from("slope"),
        ..Default::default()
    });
    let outer = function("Outer", vec![call("Inner", "in", "middle"), leaky]);
    let inner = function("Inner", vec![node("Abs", &["in"], &["out"])]);
    let mut file = calling(vec![outer, inner], "Outer");
    graph_of(&mut file).node[0].attribute.push(AttributeProto {
        name: String::from("slope"),
        r#type: AttributeType::Float as i32,
        f: Some(0.25),
        ..Default::default()
    });
    file
}

#[test]
fn functions_stand_in_place_of_their_calls() {
    let model = read(&with_functions()).unwrap();
    let ops: Vec<String> = model.graph.nodes().iter().map(|node| format!("{:?}", node.op)).collect();
    assert_eq!(ops, ["Unary(Abs)", "Unary(LeakyRelu { alpha: 0.25 })"]);
    assert_eq!(model.graph.nodes()[1].outputs, model.graph.outputs());
}

#[test]
fn functions_that_call_themselves_or_grow_are_refused() {
    let itself = function("F", vec![call("F", "in", "out")]);
    refused(&calling(vec![itself], "F"), "calls itself");
    let ping = function("Ping", vec![call("Pong", "in", "out")]);
    let pong = function("Pong", vec![call("Ping", "in", "out")]);
    refused(&calling(vec![ping, pong], "Ping"), "calls itself");
    // Each calls the one before twice: 2^20 nodes in all.
    let mut functions = vec![function("F0", vec![node("Abs", &["in"], &["out"])])];
    for level in 1..=20 {
        let before = format!("F{}", level - 1);
        let calls = vec![call(&before, "in", "middle"), call(&before, "middle", "out")];
        functions.push(function(&format!("F{level}"), calls));
    }
    refused(&calling(functions, "F20"), "more than 131072 nodes");
}

#[test]
fn sparse_constants_become_dense_within_bounds() {
    let sparse = |dims: Vec<i64>, indices: Vec<i64>| {
        let values = Tensor::from_vec([2], vec![1.5f32, 2.5]).unwrap();
        let indices = Tensor::from_vec([2], indices).unwrap();
        let mut file = model(vec![node("Add", &["x", "s"], &["y"])]);
        graph_of(&mut file).sparse_initializer.push(SparseTensorProto {
            values: Some(tensor::to_proto("s", &values)),
            indices: Some(tensor::to_proto("", &indices)),
            dims,
        });
        file
    };
    let model = read(&sparse(vec![2, 3], vec![1, 5]));
    let error = model.unwrap_err().to_string();
    assert!(error.contains("broadcast"), "{error}");
    let model = read(&sparse(vec![6], vec![1, 5])).unwrap();
    let dense = model.graph.constants().values().next().unwrap();
    assert_eq!(dense.as_f32().unwrap().as_ref(), [0.0, 1.5, 0.0, 0.0, 0.0, 2.5]);
    refused(&sparse(vec![6], vec![1, 6]), "outside of the shape");
    refused(&sparse(vec![1 << 40], vec![1, 5]), "store it as a dense one");
}

#[test]
fn absurd_shapes_take_no_memory() {
    let mut file = model(vec![node("Reshape", &["x", "shape"], &["y"])]);
    let shape = Tensor::from_vec([2], vec![1i64 << 40, 1 << 40]).unwrap();
    graph_of(&mut file).initializer.push(tensor::to_proto("shape", &shape));
    assert!(read(&file).is_ok());
    let mut large = model(vec![node("Relu", &["x"], &["y"])]);
    graph_of(&mut large).initializer[0].dims = vec![1 << 40];
    refused(&large, "tensor `w`");
    let mut split = model(vec![NodeProto {
        attribute: vec![ints("split", &[1 << 40, -(1 << 40)])],
        ..node("Split", &["x"], &["y", "z"])
    }]);
    split.opset_import[0].version = 12;
    graph_of(&mut split).output[0] = float("y", &[1, 2, 6, 6]);
    assert!(read(&split).is_err());
    let mut tile = model(vec![node("Tile", &["x", "repeats"], &["y"])]);
    let repeats = Tensor::from_vec([4], vec![1i64 << 62; 4]).unwrap();
    graph_of(&mut tile).initializer.push(tensor::to_proto("repeats", &repeats));
    assert!(read(&tile).is_ok());
}

#[test]
fn older_forms_are_read_as_the_newest_and_written_back() {
    let mut file = model(vec![NodeProto {
        attribute: vec![ints("axes", &[2, 3])],
        ..node("ReduceMean", &["x"], &["y"])
    }]);
    file.opset_import[0].version = 11;
    let model = read(&file).unwrap();
    assert_eq!(model.graph.nodes()[0].inputs.len(), 2);
    let bytes = to_bytes(&model).unwrap();
    let written = ModelProto::decode(bytes.as_slice()).unwrap();
    assert_eq!(written.opset_import[0].version, 11);
    let graph = written.graph.as_ref().unwrap();
    assert_eq!(graph.node[0].input, ["x"]);
    assert_eq!(graph.node[0].attribute[0].ints, [2, 3]);
    assert!(graph.initializer.is_empty());
    assert_eq!(parse(bytes.into()).unwrap(), model);
}
