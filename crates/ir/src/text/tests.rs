//! The text form parses back to the same graph, and says where a text is no graph.

use bytes::Bytes;
use proptest::prelude::*;

use super::{Constants, parse, to_text};
use crate::{
    Activation, Attribute, Attributes, BinaryKind, Clip, Conv, DType, Dim, Graph, GraphEditor, Layout, Op,
    Opaque, QuantizeLinear, Tensor, TensorType, Window,
};

fn example() -> Graph {
    let mut editor = GraphEditor::new("two words");
    let shape = [Dim::symbolic("N"), Dim::Known(1), Dim::Known(4), Dim::symbolic("4 odd")];
    let x = editor.add_input("/x:0", TensorType::new(DType::F32, shape)).unwrap();
    let weights = vec![
        0.1f32,
        -1e-30,
        f32::INFINITY,
        3.0,
        0.0,
        -0.0,
        1.5,
        2.5,
        9.0,
        8.0,
        7.0,
        6.0,
        5.0,
        4.0,
        3.0,
        2.0,
        1.0,
        0.5,
    ];
    let weight = editor.add_constant("weight", Tensor::from_vec([2, 1, 3, 3], weights).unwrap()).unwrap();
    let scale = editor.add_constant("scale", Tensor::scalar(0.02f32)).unwrap();
    let zero_point = editor.add_constant("zero", Tensor::scalar(128u8)).unwrap();
    let conv = Op::Conv(Conv {
        groups: 1,
        window: Window::uniform(2, 1, 1),
        layout: Layout::Nchw,
        activation: Activation::Clip(Clip { min: 0.0, max: 6.0 }),
    });
    let y = editor.add("conv", conv, &[x, weight]).unwrap();
    let sum = editor.add("sum", Op::Binary(BinaryKind::Add, Activation::Relu), &[y, y]).unwrap();
    let quantize = QuantizeLinear { axis: 1, block_size: 0, saturate: true, dtype: DType::U8 };
    let q = editor.add("q", Op::QuantizeLinear(quantize), &[sum, scale, zero_point]).unwrap();
    let attributes = Attributes::from([
        (String::from("a float"), Attribute::Float(1.0)),
        (String::from("names"), Attribute::Strings(vec![b"a\"\\\n".to_vec()])),
        (String::from("none"), Attribute::Floats(vec![])),
        (String::from("body"), Attribute::Graph(String::from("body"))),
        (
            String::from("t"),
            Attribute::Tensor(Tensor::new(DType::BF16, [1], Bytes::from_static(&[1, 2])).unwrap()),
        ),
    ]);
    let opaque = Op::Opaque(Opaque {
        domain: String::from("com.example"),
        op_type: String::from("Thing"),
        attributes,
    });
    let ty = TensorType::unranked(DType::String);
    let out =
        editor.add_typed_node("thing", opaque, &[Some(q), None], vec![(String::from("out"), ty)]).unwrap();
    editor.set_metadata("thing", [(String::from("doc"), String::from("odd"))].into());
    editor.add_output(out[0]);
    editor.build().unwrap()
}

#[test]
fn prints_and_parses() {
    let graph = example();
    let text = to_text(&graph, Constants::Whole);
    assert_eq!(parse(&text).unwrap(), graph, "{text}");
    insta::assert_snapshot!(to_text(&graph, Constants::Elided));
}

#[test]
fn errors_name_the_place() {
    let text = "graph g {\n  input %x: f32[2]\n  node relu %y: f32[2] = Relu(%z)\n  output %y\n}\n";
    assert_eq!(
        parse(text).unwrap_err().to_string(),
        "line 3, column 32: expected a value defined above, found `z`"
    );
    let error = parse("graph g {\n  const %c: f32[20] = ...\n}").unwrap_err();
    assert!(error.to_string().contains("for reading only"), "{error}");
    assert!(parse("graph g {").unwrap_err().to_string().contains("the end of the text"));
}

proptest! {
    #[test]
    fn any_text_parses_or_fails_without_panic(text in "[graphnodeconstiput %:{}()\\[\\],=*0-9a-z\"\\\\.\n-]{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn a_cut_text_fails_without_panic(cut in 0usize..1000) {
        let text = to_text(&example(), Constants::Whole);
        prop_assert!(parse(&text[..cut.min(text.trim_end().len() - 1)]).is_err());
    }

    #[test]
    fn any_value_name_survives(name in ".{1,20}") {
        let mut editor = GraphEditor::new("g");
        let id = editor.add_input(name, TensorType::new(DType::F32, [1usize])).unwrap();
        editor.add_output(id);
        let graph = editor.build().unwrap();
        prop_assert_eq!(parse(&to_text(&graph, Constants::Whole)).unwrap(), graph);
    }
}
