//! Broken and hostile models: each is an error that names the place, and none panics.

use calipers_ir::text::{Constants, to_text};
use calipers_ir::{
    Activation, Conv, DType, Dim, Graph, GraphEditor, Layout, Model, Op, Opaque, TensorType, UnaryKind,
    Window,
};
use proptest::prelude::*;
use prost::Message as _;

use super::messages::{
    AttributeProto, AttributeType, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    SparseTensorProto, StringStringEntryProto, TensorProto, TrainingInfoProto, TypeProto, TypeValue,
    ValueInfoProto,
};
use super::types::value_info;
use super::{ReadError, WriteError, keys, parse, tensor, to_bytes};

mod nested;

const SAMPLE: &[u8] = include_bytes!("../../../../testdata/models/residual_bn_opset13.onnx");
const KEPT: &[u8] = include_bytes!("../../../../testdata/models/kept_opset18.onnx");
const QUANTIZED: &[u8] = include_bytes!("../../../../testdata/models/qdq_conv_opset21.onnx");

fn float(name: &str, shape: &[usize]) -> ValueInfoProto {
    value_info(name, &TensorType::new(DType::F32, shape.iter().copied()))
}

fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        name: format!("{op_type} node"),
        op_type: op_type.to_owned(),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: outputs.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Ints as i32,
        ints: ints.to_vec(),
        ..Default::default()
    }
}

fn string(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::String as i32,
        s: Some(value.as_bytes().to_vec()),
        ..Default::default()
    }
}

/// Input `x` of shape [1, 2, 6, 6], a weight `w` of shape [2, 2, 3, 3], output `y`.
fn model(nodes: Vec<NodeProto>) -> ModelProto {
    let weight = calipers_ir::Tensor::from_vec([2, 2, 3, 3], vec![1f32; 36]).unwrap();
    let graph = GraphProto {
        name: String::from("g"),
        node: nodes,
        input: vec![float("x", &[1, 2, 6, 6])],
        output: vec![value_info("y", &TensorType::unranked(DType::F32))],
        initializer: vec![tensor::to_proto("w", &weight)],
        ..Default::default()
    };
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        graph: Some(graph),
        ..Default::default()
    }
}

fn read(model: &ModelProto) -> Result<Model, ReadError> {
    parse(model.encode_to_vec().into())
}

#[track_caller]
fn refused(model: &ModelProto, expected: &str) {
    let error = read(model).unwrap_err().to_string();
    assert!(error.contains(expected), "expected `{expected}`, found `{error}`");
}

fn graph_of(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

fn shape_of(graph: &Graph, name: &str) -> Vec<usize> {
    graph.value(graph.value_named(name).unwrap()).ty.known_shape().unwrap()
}

#[test]
fn a_cut_file_says_where() {
    let error = parse(SAMPLE[..SAMPLE.len() / 2].to_vec().into()).unwrap_err();
    assert!(
        matches!(error, ReadError::Truncated { field: "graph", expected, found, .. } if found < expected),
        "{error}"
    );
    assert!(error.to_string().contains("cut short"), "{error}");
    for cut in 1..SAMPLE.len() {
        // Cut behind the operator sets, what is left is a whole model.
        let whole = SAMPLE.len() - "make_models".len() - 60;
        if let Ok(model) = parse(SAMPLE[..cut].to_vec().into()) {
            assert!(cut > whole && model.graph == parse(SAMPLE.into()).unwrap().graph, "{cut}");
        }
    }
}

#[test]
fn other_files_are_told_apart() {
    let text = |bytes: &'static [u8]| parse(bytes.into()).unwrap_err().to_string();
    assert!(text(b"").contains("the file is empty"));
    assert!(text(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").contains("not an ONNX file"));
    assert!(text(b"PK\x03\x04").contains("not an ONNX file: field number 0"));
    assert!(text(b"\x08\x07").contains("no graph"));
    assert!(text(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").contains("more than ten bytes"));
    // A graph whose bytes are no message.
    assert!(text(b"\x3a\x02\x0b\x0b").contains("not a valid ONNX file"));
}

#[test]
fn models_lacking_parts_or_with_unsupported_ones_are_refused() {
    let relu = || vec![node("Relu", &["x"], &["y"])];
    let with = |change: fn(&mut ModelProto), expected: &str| {
        let mut model = model(relu());
        change(&mut model);
        refused(&model, expected);
    };
    with(|model| model.opset_import.clear(), "default operator set");
    with(|model| model.opset_import[0].version = 6, "uses operator set 6; 7 to 28 are read; convert it");
    with(|model| model.opset_import[0].version = 1000, "uses operator set 1000");
    with(
        |model| {
            model.opset_import.push(OperatorSetIdProto { domain: String::from("ai.onnx"), version: 18 });
        },
        "versions 17 and 18",
    );
    with(|model| model.training_info.push(TrainingInfoProto::default()), "training");
    with(|model| graph_of(model).sparse_initializer.push(SparseTensorProto::default()), "no values");
    with(|model| graph_of(model).input[0].r#type = None, "value `x`: its type is not given");
    with(
        |model| graph_of(model).input[0].r#type = Some(TypeProto::default()),
        "value `x`: its type is empty",
    );
    with(
        |model| graph_of(model).output[0].name = String::from("z"),
        "outputs reads `z`, which nothing defines",
    );
}

#[test]
fn dimensions_that_overflow_are_refused() {
    let mut model = model(vec![node("Relu", &["x"], &["y"])]);
    let dimension = |model: &mut ModelProto, axis: usize, extent: i64| {
        let ty = graph_of(model).input[0].r#type.as_mut().unwrap();
        let Some(TypeValue::Tensor(tensor)) = &mut ty.value else { unreachable!() };
        tensor.shape.as_mut().unwrap().dim[axis].value = Some(DimensionValue::Value(extent));
    };
    dimension(&mut model, 0, -1);
    refused(&model, "value `x`: extent -1 of axis 0 is negative");
    dimension(&mut model, 0, i64::MAX);
    refused(&model, "value `x`: its number of elements overflows");
    // Broadcasting multiplies extents that are small enough each.
    let mut wide = self::model(vec![node("Add", &["x", "z"], &["sum"]), node("Flatten", &["sum"], &["y"])]);
    graph_of(&mut wide).input = vec![float("x", &[1, 1 << 40, 1, 1]), float("z", &[1, 1, 1 << 40, 1])];
    assert!(read(&wide).is_ok());
}

// Each node's symbolic extent is a formula of two others: written out, the last would take 2^40 characters.
#[test]
fn symbolic_extents_do_not_grow_without_bound() {
    let mut nodes = Vec::new();
    for step in 0..40 {
        let (a, b) = (format!("a{step}"), format!("b{step}"));
        let (next_a, next_b) = (format!("a{}", step + 1), format!("b{}", step + 1));
        nodes.push(NodeProto { name: String::new(), ..node("Add", &[&a, &b], &[&next_a]) });
        nodes.push(NodeProto { name: String::new(), ..node("Add", &[&b, &a], &[&next_b]) });
    }
    nodes.push(node("Add", &["a40", "b40"], &["y"]));
    let mut file = model(nodes);
    let named = |name: &str| value_info(name, &TensorType::new(DType::F32, [Dim::symbolic(name)]));
    graph_of(&mut file).input = vec![named("a0"), named("b0")];
    let read = read(&file).unwrap();
    assert!(to_bytes(&read).unwrap().len() < 100_000);
}

#[test]
fn nodes_out_of_order_and_cycles_are_told_apart() {
    let second = || node("Relu", &["a"], &["y"]);
    let first = || node("Identity", &["x"], &["a"]);
    assert!(read(&model(vec![first(), second()])).is_ok());
    refused(
        &model(vec![second(), first()]),
        "node `Relu node` (Relu) reads `a`, which only a later node defines",
    );
    refused(&model(vec![second(), node("Identity", &["y"], &["a"])]), "the graph has a cycle");
    refused(&model(vec![node("Relu", &["y"], &["y"])]), "the graph has a cycle");
    refused(&model(vec![second()]), "reads `a`, which nothing defines");
    refused(&model(vec![first(), node("Relu", &["x"], &["a"])]), "the name `a` is taken");
    refused(&model(vec![node("Relu", &["x"], &["x"])]), "the name `x` is taken");
}

#[test]
fn wrong_nodes_are_refused_by_name() {
    let conv = |attributes: Vec<AttributeProto>| {
        model(vec![NodeProto { attribute: attributes, ..node("Conv", &["x", "w"], &["y"]) }])
    };
    assert!(read(&conv(vec![])).is_ok());
    refused(
        &conv(vec![ints("kernel_shape", &[3, 4])]),
        "node `Conv node` (Conv): attribute `kernel_shape` is [3, 4]",
    );
    refused(&conv(vec![ints("strides", &[0, 1])]), "attribute `strides`: expected 1 to 2147483647, found 0");
    refused(&conv(vec![ints("strides", &[1])]), "attribute `strides`: expected 2 numbers");
    refused(&conv(vec![ints("pads", &[-1, 0, 0, 0])]), "attribute `pads`: expected 0 to");
    refused(&conv(vec![ints("pads", &[i64::MAX; 4])]), "attribute `pads`");
    refused(&conv(vec![ints("dilations", &[i64::from(i32::MAX); 2])]), "that fits spatial axis 0");
    refused(&conv(vec![ints("group", &[1])]), "attribute `group`: expected Int, found Ints");
    refused(&conv(vec![ints("wings", &[2])]), "no attribute `wings`");
    refused(&conv(vec![string("auto_pad", "SAME")]), "found SAME");
    refused(&model(vec![node("Conv", &["x"], &["y"])]), "node `Conv node` (Conv)");
    refused(&model(vec![node("MatMul", &["x", "x"], &["y", "z"])]), "expected 1 output, found 2");
    refused(&model(vec![node("Relu", &["x"], &[])]), "expected 1 output, found 0");
    refused(&model(vec![node("Thing", &["x"], &["other"])]), "onnx.shape_inference.infer_shapes");
    refused(
        &model(vec![NodeProto { domain: String::from("com.example"), ..node("Relu", &["x"], &["y"]) }]),
        "node `Relu node` (com.example::Relu): the model does not import",
    );
    refused(&model(vec![node("Constant", &[], &["y"])]), "expected one attribute, found 0");
    let body = AttributeProto {
        name: String::from("body"),
        r#type: AttributeType::Graph as i32,
        g: Some(Box::default()),
        ..Default::default()
    };
    refused(
        &model(vec![NodeProto { attribute: vec![body], ..node("Loop", &["x"], &["y"]) }]),
        "node `Loop node` (Loop): the graphs that it runs",
    );
    let mut clip = model(vec![node("Clip", &["x", "bound"], &["y"])]);
    graph_of(&mut clip).initializer.push(tensor::to_proto("bound", &calipers_ir::Tensor::scalar(f32::NAN)));
    refused(&clip, "a bound is NaN");
    let mut declared = model(vec![node("Relu", &["x"], &["y"])]);
    graph_of(&mut declared).output[0] = float("y", &[1, 2, 6, 7]);
    refused(
        &declared,
        "value `y`: the file declares it as f32[1, 2, 6, 7], but node `Relu node` makes f32[1, 2, 6, 6]",
    );
}

// The extents and pads of the ONNX page of Conv: the output is ceil(input / stride), the odd pad is after or before.
#[test]
fn automatic_pads_are_resolved() {
    let conv = |auto_pad: &str| {
        let attribute = vec![string("auto_pad", auto_pad), ints("strides", &[2, 1])];
        let model = read(&model(vec![NodeProto { attribute, ..node("Conv", &["x", "w"], &["y"]) }])).unwrap();
        let Op::Conv(conv) = &model.graph.nodes()[0].op else { panic!("no convolution") };
        (conv.window.pads_begin.clone(), conv.window.pads_end.clone(), shape_of(&model.graph, "y"))
    };
    assert_eq!(conv("SAME_UPPER"), (vec![0, 1], vec![1, 1], vec![1, 2, 3, 6]));
    assert_eq!(conv("SAME_LOWER"), (vec![1, 1], vec![0, 1], vec![1, 2, 3, 6]));
    assert_eq!(conv("VALID"), (vec![0, 0], vec![0, 0], vec![1, 2, 2, 4]));
}

#[test]
fn what_an_operator_cannot_say_is_kept() {
    let kept = |node: NodeProto| {
        let mut file = model(vec![node]);
        file.opset_import.push(OperatorSetIdProto { domain: String::from("com.example"), version: 1 });
        graph_of(&mut file).value_info.push(value_info("more", &TensorType::unranked(DType::I64)));
        let model = read(&file).unwrap();
        assert_eq!(parse(to_bytes(&model).unwrap().into()).unwrap(), model);
        matches!(model.graph.nodes()[0].op, Op::Opaque(_))
    };
    let flag = |name: &str| AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Int as i32,
        i: Some(1),
        ..Default::default()
    };
    let with = |node: NodeProto, attribute: AttributeProto| NodeProto { attribute: vec![attribute], ..node };
    assert!(!kept(node("Clip", &["x"], &["y"])));
    assert!(!kept(node("Clip", &["x", "x"], &["y"])));
    let pool = |outputs: &[&str]| with(node("MaxPool", &["x"], outputs), ints("kernel_shape", &[2, 2]));
    assert!(!kept(pool(&["y", ""])));
    assert!(!kept(pool(&["y", "more"])));
    assert!(kept(with(node("BatchNormalization", &["x"; 5], &["y"]), flag("training_mode"))));
    assert!(kept(NodeProto { domain: String::from("com.example"), ..node("Relu", &["x"], &["y"]) }));
    assert!(!kept(NodeProto { domain: String::from("ai.onnx"), ..node("Relu", &["x"], &["y"]) }));
}

#[test]
fn names_and_notes_survive() {
    let mut unnamed = model(vec![
        NodeProto { name: String::new(), ..node("Relu", &["x"], &["a"]) },
        NodeProto { name: String::from("a"), ..node("Relu", &["a"], &["b"]) },
        NodeProto {
            name: String::from("a"),
            doc_string: String::from("a note"),
            metadata_props: vec![StringStringEntryProto { key: String::from("k"), value: String::from("v") }],
            ..node("Relu", &["b"], &["y"])
        },
    ]);
    unnamed.domain = String::from("org.example");
    unnamed.model_version = 3;
    graph_of(&mut unnamed).doc_string = String::from("a graph");
    graph_of(&mut unnamed).metadata_props =
        vec![StringStringEntryProto { key: String::from("k"), value: String::from("of the graph") }];
    let read_model = read(&unnamed).unwrap();
    let names: Vec<&str> = read_model.graph.nodes().iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["a_1", "a", "a_2"]);
    let written = ModelProto::decode(to_bytes(&read_model).unwrap().as_slice()).unwrap();
    assert_eq!((written.domain.as_str(), written.model_version), ("org.example", 3));
    let graph = written.graph.unwrap();
    assert_eq!((graph.doc_string.as_str(), graph.metadata_props.len()), ("a graph", 1));
    assert_eq!(graph.node[2].doc_string, "a note");
    assert_eq!(graph.node[2].metadata_props[0].value, "v");
    assert_eq!(read_model.graph.nodes()[2].metadata[keys::DOC_STRING], "a note");
}

fn single(op: Op) -> Model {
    let mut editor = GraphEditor::new("g");
    let x = editor.add_input("x", TensorType::new(DType::F32, [1usize, 2, 2, 2])).unwrap();
    let ty = TensorType::unranked(DType::F32);
    let w = editor.add_input("w", TensorType::new(DType::F32, [2usize, 2, 1, 1])).unwrap();
    let inputs = if matches!(op, Op::Conv(_)) { vec![Some(x), Some(w)] } else { vec![Some(x)] };
    let y = editor.add_typed_node("only", op, &inputs, vec![(String::from("y"), ty)]).unwrap();
    editor.add_output(y[0]);
    Model::new(editor.build().unwrap())
}

#[test]
fn what_onnx_cannot_say_is_refused() {
    let window = Window::uniform(2, 1, 0);
    let conv = Conv { groups: 1, window, layout: Layout::Nhwc, activation: Activation::None };
    let error = to_bytes(&single(Op::Conv(conv))).unwrap_err();
    assert!(matches!(&error, WriteError::Node { node, .. } if node == "only"));
    assert!(error.to_string().contains("channels last (nhwc)"), "{error}");

    let opaque = |domain: &str| {
        Op::Opaque(Opaque {
            domain: domain.to_owned(),
            op_type: String::from("Thing"),
            attributes: Default::default(),
        })
    };
    let error = to_bytes(&single(opaque("com.example"))).unwrap_err().to_string();
    assert!(error.contains("the operator set `com.example` is not given"), "{error}");

    let mut model = single(Op::Unary(UnaryKind::Relu));
    model.opsets.insert(String::new(), 1000);
    assert!(to_bytes(&model).unwrap_err().to_string().contains("operator set 1000 is not written"));
    let mut model = single(Op::Unary(UnaryKind::Relu));
    model.metadata.insert(keys::MODEL_VERSION.to_owned(), String::from("new"));
    assert!(to_bytes(&model).unwrap_err().to_string().contains("`new`, not an integer"));
}

#[test]
fn a_deep_nest_of_messages_is_refused() {
    let mut nested = TypeProto::default();
    let mut bytes = Vec::new();
    for _ in 0..2000 {
        // TypeProto.sequence_type { elem_type: ... } around what is there.
        bytes = Vec::new();
        nested.encode(&mut bytes).unwrap();
        let mut outer = vec![0x22];
        let mut inner = vec![0x0a];
        prost::encoding::encode_varint(bytes.len() as u64, &mut inner);
        inner.extend(&bytes);
        prost::encoding::encode_varint(inner.len() as u64, &mut outer);
        outer.extend(&inner);
        match TypeProto::decode(outer.as_slice()) {
            Ok(deeper) => nested = deeper,
            Err(_) => {
                bytes = outer;
                break;
            }
        }
    }
    assert!(TypeProto::decode(bytes.as_slice()).unwrap_err().to_string().contains("recursion limit"));
}

fn sample_file(index: usize) -> Vec<u8> {
    match index {
        0 => SAMPLE.to_vec(),
        1 => KEPT.to_vec(),
        2 => QUANTIZED.to_vec(),
        3 => nested::conditional().encode_to_vec(),
        _ => nested::with_functions().encode_to_vec(),
    }
}

fn mutate(sample: &[u8], edits: &[(usize, u8)], cut: usize) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for &(position, value) in edits {
        let position = position % bytes.len();
        bytes[position] = value;
    }
    bytes.truncate(bytes.len() - cut % bytes.len());
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_change_of_a_file_reads_or_fails_without_panic(
        sample in 0usize..5,
        edits in prop::collection::vec((any::<usize>(), any::<u8>()), 1..12),
        cut in prop_oneof![3 => Just(0usize), 1 => any::<usize>()],
    ) {
        if let Ok(model) = parse(mutate(&sample_file(sample), &edits, cut).into())
            && let Ok(bytes) = to_bytes(&model)
        {
            let again = parse(bytes.into()).map_err(|error| TestCaseError::fail(error.to_string()))?;
            // The file may need a later operator set than the changed one says, and NaN differs from itself.
            let text = |graph: &Graph| to_text(graph, Constants::Whole);
            prop_assert_eq!(text(&again.graph), text(&model.graph));
            prop_assert_eq!((again.metadata, again.producer), (model.metadata, model.producer));
        }
    }

    #[test]
    fn any_bytes_read_or_fail_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(bytes.into());
    }

    #[test]
    fn any_tensor_reads_or_fails_without_panic(
        dims in prop::collection::vec(prop_oneof![0i64..5, any::<i64>()], 0..5),
        data_type in -1i32..30,
        raw in prop::collection::vec(any::<u8>(), 0..20),
        list in prop::collection::vec(any::<i32>(), 0..5),
    ) {
        let proto = TensorProto { dims, data_type, raw_data: raw.into(), int32_data: list, ..Default::default() };
        let _ = tensor::TensorReader::default().decode(proto);
    }
}
