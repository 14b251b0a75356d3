//! What stands where after the edit, and what is refused.

use calipers_ir::{
    Activation, BinaryKind, DType, Dim, Graph, GraphEditor, Op, Tensor, TensorType, UnaryKind,
};

use super::insert_qdq;
use crate::residual::{residual, table};
use crate::{
    ActivationScheme, ActivationType, Chosen, Document, Granularity, ObserverKind, Parameters, Placement,
    QuantAssignment, QuantError, Recipe, Rule, Scheme, Treatment, ValueAssignment, WeightScheme, assign,
};

fn quantized(graph: &Graph, recipe: &Recipe) -> (QuantAssignment, Graph) {
    let assignment = assign(graph, &table(graph, recipe), recipe).unwrap();
    let quantized = insert_qdq(graph, &assignment).unwrap();
    (assignment, quantized)
}

fn min_max() -> Recipe {
    Recipe::default().with_observer(ObserverKind::MinMax)
}

fn float(operators: &[&str], nodes: Option<&str>) -> Rule {
    Rule {
        operators: operators.iter().map(|&name| name.to_owned()).collect(),
        nodes: nodes.map(str::to_owned),
        treatment: Treatment::Float,
    }
}

#[test]
fn a_residual_network() {
    let graph = residual();
    let (assignment, quantized) = quantized(&graph, &min_max());
    insta::assert_snapshot!("residual_graph", quantized.to_string());
    insta::assert_snapshot!("residual_assignment", assignment.to_json().unwrap());
    assert_eq!(assignment.summary(&graph).share_of_weights(), 1.0);
    assert_eq!(
        insert_qdq(&graph, &QuantAssignment::from_json(&assignment.to_json().unwrap()).unwrap()).unwrap(),
        quantized
    );
}

#[test]
fn parameters_read_back_off_the_graph() {
    let (assignment, quantized) = quantized(&residual(), &min_max());
    for name in assignment.values.keys().filter(|name| *name != "logits") {
        let parameters = assignment.parameters(name).unwrap();
        let id = quantized.value_named(&format!("{name}_QuantizeLinear_Output")).unwrap();
        let read = quantized.quant_params(id).unwrap();
        assert_eq!((read.scale, read.dtype), (parameters.scale.clone(), parameters.dtype.dtype()), "{name}");
        assert_eq!(read.zero_point, [i64::from(parameters.zero_point[0])]);
    }
    let weight = quantized.quant_params(quantized.value_named("stem.weight_quantized").unwrap()).unwrap();
    assert_eq!((weight.scale.len(), weight.axis, weight.dtype), (3, Some(0), DType::I8));
    let bias = quantized.quant_params(quantized.value_named("stem.bias_quantized").unwrap()).unwrap();
    let input = assignment.parameters("x").unwrap().scale[0];
    let expected: Vec<f32> = weight.scale.iter().map(|scale| input * scale).collect();
    assert_eq!((bias.scale, bias.dtype), (expected, DType::I32));
}

#[test]
fn float_nodes_read_real_values_where_there_are_any() {
    let recipe = Recipe { rules: vec![float(&[], Some("conv1")), float(&["Gemm"], None)], ..min_max() };
    let (assignment, quantized) = quantized(&residual(), &recipe);
    let inputs = |node: &str| -> Vec<String> {
        let node = quantized.node(quantized.node_named(node).unwrap());
        node.inputs.iter().flatten().map(|&id| quantized.value(id).name.clone()).collect()
    };
    // What a quantized node makes is read behind its pair; what a float node makes is read as it is.
    assert_eq!(inputs("conv1")[0], "pool_DequantizeLinear_Output");
    assert_eq!(inputs("conv1")[1], "conv1.weight");
    assert_eq!(inputs("conv1_QuantizeLinear")[0], "conv1");
    assert_eq!(inputs("conv2")[0], "conv1_DequantizeLinear_Output");
    assert_eq!(inputs("fc"), ["flatten_DequantizeLinear_Output", "fc.weight", "fc.bias"]);
    assert_eq!(quantized.value(quantized.outputs()[0]).name, "logits");
    assert!(!assignment.values.contains_key("logits"));

    let summary = assignment.summary(&residual());
    let reasons: Vec<_> =
        summary.float.iter().map(|node| (node.name.as_str(), node.reason.as_str())).collect();
    assert_eq!(
        reasons,
        [("conv1", "rule 0 of the recipe says float"), ("fc", "rule 1 of the recipe says float")]
    );
    assert_eq!((summary.quantized_weights, summary.weights), (57 + 84, 57 + 84 + 84 + 8));
}

#[test]
fn an_all_float_recipe_changes_nothing() {
    let graph = residual();
    let recipe = Recipe { default: Treatment::Float, ..min_max() };
    let (assignment, quantized) = quantized(&graph, &recipe);
    assert!(assignment.values.is_empty());
    assert_eq!(quantized.to_string(), graph.to_string());
}

#[test]
fn rearranging_alone_is_left_in_float() {
    let recipe = Recipe { rules: vec![float(&["Conv", "Add", "GlobalAveragePool"], None)], ..min_max() };
    let (assignment, _) = quantized(&residual(), &recipe);
    assert!(!assignment.is_quantized("pool"));
    assert!(assignment.is_quantized("flatten") && assignment.is_quantized("fc"));
    let Placement::Float { reason } = &assignment.nodes["pool"].placement else { panic!() };
    assert!(reason.contains("nothing is gained"), "{reason}");
    assert_eq!(assignment.values["flatten"], ValueAssignment::SameAs(String::from("mean")));
}

#[test]
fn schemes_reach_their_values() {
    let activation =
        ActivationScheme { dtype: ActivationType::I8, symmetric: true, observer: ObserverKind::MinMax };
    let weight = WeightScheme { granularity: Granularity::PerTensor, ..WeightScheme::default() };
    let scheme = Scheme { activation, weight };
    let rule = Rule {
        operators: vec![String::from("Conv")],
        nodes: Some(String::from("conv*")),
        treatment: Treatment::Static(scheme),
    };
    let recipe = Recipe { rules: vec![rule, float(&["Softmax"], None)], ..min_max() };
    let (assignment, quantized) = quantized(&residual(), &recipe);
    let zero_points = ["pool", "conv1", "conv2", "add"]
        .map(|name| assignment.parameters(name).map(|parameters| parameters.zero_point[0]));
    assert_eq!(zero_points, [Some(64), Some(0), Some(0), Some(64)]);
    assert_eq!(assignment.parameters("conv1").unwrap().scale, [3.0 / 127.0]);
    let weight = quantized.quant_params(quantized.value_named("conv1.weight_quantized").unwrap()).unwrap();
    assert_eq!((weight.scale.len(), weight.axis), (1, None));
    assert_eq!(assignment.notes, ["rule 1 of the recipe decides over no node"]);
}

#[test]
fn operands_outputs_and_taken_names() {
    let mut editor = GraphEditor::new("odd");
    let ty = TensorType::new(DType::F32, [Dim::symbolic("N"), Dim::Known(2)]);
    let x = editor.add_input("x", ty).unwrap();
    let c = editor.add_constant("c", Tensor::from_vec([2], vec![0.0f32, 5.1]).unwrap()).unwrap();
    // The name that the scale of `x` would get is taken, and two nodes share a constant.
    let scaled = editor.add("x_scale", Op::Binary(BinaryKind::Mul, Activation::None), &[x, c]).unwrap();
    let moved = editor.add("moved", Op::Binary(BinaryKind::Add, Activation::None), &[c, scaled]).unwrap();
    let less = editor.add("less", Op::Binary(BinaryKind::Sub, Activation::None), &[moved, x]).unwrap();
    let relu = editor.add("relu", Op::Unary(UnaryKind::Relu), &[moved]).unwrap();
    for output in [moved, less, relu, x] {
        editor.add_output(output);
    }
    let (assignment, quantized) = quantized(&editor.build().unwrap(), &min_max());
    insta::assert_snapshot!(quantized.to_string());
    let Placement::Float { reason } = &assignment.nodes["less"].placement else { panic!() };
    assert!(reason.starts_with("Sub has no integer form"), "{reason}");
}

#[test]
fn assign_is_deterministic_and_needs_the_whole_table() {
    let (graph, recipe) = (residual(), min_max());
    let mut table = table(&graph, &recipe);
    let json = || assign(&graph, &table, &recipe).unwrap().to_json().unwrap();
    assert_eq!(json(), json());
    table.values.shift_remove("conv1");
    let error = assign(&graph, &table, &recipe).unwrap_err();
    assert_eq!(
        error.to_string(),
        "value `conv1` of graph `residual` is not in the calibration table; calibrate this graph with this recipe"
    );
}

#[test]
fn a_quantized_graph_is_refused() {
    let (_, quantized) = quantized(&residual(), &min_max());
    let error = crate::values_to_observe(&quantized, &min_max()).unwrap_err();
    assert!(matches!(error, QuantError::AlreadyQuantized { .. }), "{error}");
}

#[test]
fn assignments_of_other_graphs_are_refused() {
    let graph = residual();
    let assignment = assign(&graph, &table(&graph, &min_max()), &min_max()).unwrap();
    let refused = |change: &dyn Fn(&mut QuantAssignment), expected: &str| {
        let mut changed = assignment.clone();
        change(&mut changed);
        let error = insert_qdq(&graph, &changed).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(&|a| drop(a.nodes.shift_remove("fc")), "node `fc`: expected a decision, found none");
    refused(&|a| a.nodes["fc"].operator = String::from("MatMul"), "node `fc`: expected Gemm, found MatMul");
    refused(
        &|a| drop(a.values.insert(String::from("y"), a.values["x"].clone())),
        "value `y`: expected a value of the graph",
    );
    refused(
        &|a| drop(a.values.insert(String::from("x"), ValueAssignment::SameAs(String::from("pool")))),
        "value `x`: expected parameters of its own",
    );
    let ValueAssignment::Own(chosen) = assignment.values["x"].clone() else { panic!() };
    let own = |parameters: Parameters| ValueAssignment::Own(Chosen { parameters, ..chosen.clone() });
    let x = assignment.parameters("x").unwrap();
    for (parameters, expected) in [
        (Parameters { scale: vec![], ..x.clone() }, "expected 1 scales, found 0"),
        (Parameters { scale: vec![-1.0], ..x.clone() }, "expected positive finite scales, found -1"),
        (
            Parameters { zero_point: vec![256], ..x.clone() },
            "expected a zero point within 0..=255, found 256",
        ),
        (Parameters { axis: Some(0), ..x.clone() }, "expected one scale, found scales along an axis"),
    ] {
        refused(&|a| drop(a.values.insert(String::from("x"), own(parameters.clone()))), expected);
    }
    refused(
        &|a| {
            if let Placement::Quantized { constants, .. } = &mut a.nodes["fc"].placement {
                constants[0].parameters.scale.pop();
            }
        },
        "`fc.weight`: expected 2 scales, found 1",
    );
    refused(
        &|a| {
            if let Placement::Quantized { constants, .. } = &mut a.nodes["fc"].placement {
                constants[0].input = 0;
            }
        },
        "constant `fc.weight`: expected a constant argument of its node",
    );
}
