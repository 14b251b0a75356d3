//! Names and attributes of all families, there and back.

use super::{Op, Window};
use crate::{Attribute, Attributes, BinaryKind, DType, Movement, Subgraph, Tensor, UnaryKind};

/// The operator behind a name and attributes, after a check that it gives both back.
fn there_and_back(name: &str, attributes: &[(&str, Attribute)]) -> Op {
    let attributes: Attributes =
        attributes.iter().map(|(name, attribute)| ((*name).to_owned(), attribute.clone())).collect();
    let op = Op::from_attributes(name, attributes.clone()).unwrap();
    assert_eq!((op.name(), op.attributes()), (name, attributes));
    op
}

#[test]
fn every_kind_of_attribute_is_kept() {
    there_and_back("HardSigmoid", &[("alpha", Attribute::Float(0.5))]);
    there_and_back("Gelu", &[("approximate", Attribute::String(b"tanh".to_vec()))]);
    there_and_back("ReduceMean", &[("keepdims", Attribute::Int(0))]);
    there_and_back("Cast", &[("to", Attribute::Type(DType::I64))]);
    there_and_back("Split", &[("axis", Attribute::Int(-1)), ("num_outputs", Attribute::Int(3))]);
    there_and_back("MeanVarianceNormalization", &[("axes", Attribute::Ints(vec![1]))]);
    there_and_back("LSTM", &[("activations", Attribute::Strings(vec![b"Tanh".to_vec()]))]);
    there_and_back("ConstantOfShape", &[("value", Attribute::Tensor(Tensor::scalar(3i64)))]);
    let op = there_and_back("Loop", &[("body", Attribute::Graph(String::from("inner")))]);
    let body = Subgraph(String::from("inner"));
    assert_eq!(op, Op::Control(crate::Control::Loop { body, captures: 0 }));
    assert_eq!(there_and_back("Mish", &[]), Op::Unary(UnaryKind::Mish));
}

#[test]
fn arities_are_those_of_the_table() {
    assert_eq!(Op::Binary(BinaryKind::Pow, super::Activation::None).input_arity(), (2, 2));
    assert_eq!(Op::Movement(Movement::Concat { axis: 0 }).input_arity(), (1, usize::MAX));
    assert_eq!(Op::Movement(Movement::Slice).input_arity(), (3, 5));
}

#[test]
fn a_wrong_attribute_is_named() {
    let error = |name: &str, attribute: &str, value| {
        Op::from_attributes(name, Attributes::from([(attribute.to_owned(), value)])).unwrap_err()
    };
    assert_eq!(
        error("ReduceSum", "keepdims", Attribute::Int(2)),
        "attribute `keepdims` of ReduceSum must be 0 or 1"
    );
    assert_eq!(error("Mish", "alpha", Attribute::Float(1.0)), "Mish has no attribute `alpha`");
    assert!(error("Mash", "alpha", Attribute::Float(1.0)).starts_with("`Mash` is not an operator"));
}

#[test]
fn extents_of_the_resnet_stem() {
    let window = Window::uniform(2, 2, 3);
    assert_eq!(window.output_extent(0, 32, 7, false), Some(16));
    assert_eq!(Window::uniform(2, 2, 1).output_extent(0, 16, 3, false), Some(8));
    assert_eq!(Window::uniform(1, 1, 0).output_extent(0, 2, 3, false), None);
}

// The formula of the ONNX MaxPool page, where a window may not begin in the padding after the data.
#[test]
fn rounding_up_drops_a_window_that_begins_in_the_padding() {
    let window = Window { strides: vec![2], dilations: vec![1], pads_begin: vec![0], pads_end: vec![1] };
    assert_eq!(window.output_extent(0, 4, 2, true), Some(2));
    assert_eq!(Window::uniform(1, 2, 0).output_extent(0, 5, 2, true), Some(3));
}
