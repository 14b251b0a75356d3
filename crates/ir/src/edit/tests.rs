//! Edits keep the invariants of a graph, or are refused by name.

use crate::{
    Activation, BinaryKind, DType, EditError, Fate, Graph, GraphEditor, Op, Tensor, TensorType, UnaryKind,
    VerifyError,
};

fn chain() -> Graph {
    let mut editor = GraphEditor::new("chain");
    let x = editor.add_input("x", TensorType::new(DType::F32, [2usize])).unwrap();
    let one = editor.add_constant("one", Tensor::from_vec([2], vec![1.0f32, 1.0]).unwrap()).unwrap();
    let sum = editor.add("sum", Op::Binary(BinaryKind::Add, Activation::None), &[x, one]).unwrap();
    let relu = editor.add("relu", Op::Unary(UnaryKind::Relu), &[sum]).unwrap();
    editor.add_output(relu);
    editor.build().unwrap()
}

#[test]
fn a_replaced_output_keeps_its_name() {
    let graph = chain();
    let mut editor = GraphEditor::edit(&graph);
    let (sum, relu) = (graph.value_named("sum").unwrap(), graph.value_named("relu").unwrap());
    editor.replace_uses(relu, sum, &[]);
    editor.remove_node(graph.node_named("relu").unwrap());
    let (edited, renames) = editor.finish().unwrap();
    assert_eq!(edited.nodes().len(), 1);
    assert_eq!(edited.value(edited.outputs()[0]).name, "relu");
    assert_eq!(renames.0.get("sum"), Some(&Fate::Renamed(String::from("relu"))));
}

#[test]
fn unused_constants_are_dropped_and_nodes_sorted() {
    let graph = chain();
    let mut editor = GraphEditor::edit(&graph);
    editor.add_constant("unused", Tensor::scalar(1.0f32)).unwrap();
    let x = graph.value_named("x").unwrap();
    let sum = graph.node_named("sum").unwrap();
    let late = editor.add("late", Op::Unary(UnaryKind::Identity), &[x]).unwrap();
    editor.node_mut(sum).inputs[0] = Some(late);
    let (edited, _) = editor.finish().unwrap();
    assert_eq!(edited.value_named("unused"), None);
    let names: Vec<&str> = edited.nodes().iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["late", "sum", "relu"]);
}

#[test]
fn circles_and_missing_definitions_are_refused() {
    let graph = chain();
    let (sum, relu) = (graph.node_named("sum").unwrap(), graph.value_named("relu").unwrap());
    let mut editor = GraphEditor::edit(&graph);
    editor.node_mut(sum).inputs[0] = Some(relu);
    assert!(matches!(editor.finish(), Err(EditError::Verify(VerifyError::Cycle { .. }))));

    let mut editor = GraphEditor::edit(&graph);
    editor.remove_node(sum);
    let error = editor.finish().unwrap_err();
    assert_eq!(
        error.to_string(),
        "graph `chain`, node `relu`: value `sum` is used before anything defines it"
    );
}

#[test]
fn taken_names_and_wrong_arguments_are_refused() {
    let graph = chain();
    let mut editor = GraphEditor::edit(&graph);
    assert!(matches!(editor.add_constant("x", Tensor::scalar(1.0f32)), Err(EditError::NameTaken { .. })));
    assert_eq!(editor.fresh_name("x"), "x_1");
    let x = graph.value_named("x").unwrap();
    let integer = editor.add_constant("integer", Tensor::scalar(1i32)).unwrap();
    let error = editor.add("bad", Op::MatMul, &[x, integer]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "graph `chain`, node `bad`: MatMul: expected f32 for input 1, as for input 0, found i32[]"
    );
}
