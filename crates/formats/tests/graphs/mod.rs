//! Models for the tests: files of the `onnx` package, and graphs built here.

#![allow(dead_code)] // Each test file uses some of them.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use calipers_ir::{
    Activation, BatchNormalization, BinaryKind, Clip, Conv, DType, DequantizeLinear, Dim, Gemm, GraphEditor,
    Layout, Model, Op, Pool, PoolKind, QuantizeLinear, Tensor, TensorType, UnaryKind, ValueId, Window,
};

/// The files of `testdata/models`.
pub fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 7, "found only {paths:?}");
    paths
}

fn ramp(shape: &[usize]) -> Tensor {
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|index| ((index * 37 % 101) as f32 - 50.0) / 64.0).collect();
    Tensor::from_vec(shape, values).unwrap()
}

pub fn conv(window: Window, groups: usize, activation: Activation) -> Op {
    Op::Conv(Conv { groups, window, layout: Layout::Nchw, activation })
}

fn model(editor: GraphEditor, outputs: &[ValueId]) -> Model {
    let mut editor = editor;
    for &output in outputs {
        editor.add_output(output);
    }
    Model::new(editor.build().unwrap())
}

/// Models that together hold every operator but the opaque one, in every form that changes what is written.
pub fn every_operator() -> Vec<Model> {
    vec![spatial(), elementwise(), matrices(), quantized(), narrow(DType::I4, 21), narrow(DType::I16, 21)]
}

fn spatial() -> Model {
    let mut editor = GraphEditor::new("spatial");
    let shape = [Dim::symbolic("N"), Dim::Known(4), Dim::Known(9), Dim::symbolic("W")];
    let x = editor.add_input("x", TensorType::new(DType::F32, shape)).unwrap();
    let weight = editor.add_constant("weight", ramp(&[6, 2, 1, 1])).unwrap();
    let bias = editor.add_constant("bias", ramp(&[6])).unwrap();
    let y = editor
        .add("grouped", conv(Window::uniform(2, 1, 3), 2, Activation::None), &[x, weight, bias])
        .unwrap();
    let mut statistics = vec![y];
    for name in ["scale", "shift", "mean"] {
        statistics.push(editor.add_constant(name, ramp(&[6])).unwrap());
    }
    let variance = Tensor::from_vec([6], vec![0.5f32, 1.0, 2.0, 0.25, 4.0, 1.5]).unwrap();
    statistics.push(editor.add_constant("variance", variance).unwrap());
    let norm = BatchNormalization { epsilon: 1e-3, momentum: 0.99, layout: Layout::Nchw };
    let y = editor.add("norm", Op::BatchNormalization(norm), &statistics).unwrap();
    let window =
        Window { strides: vec![2, 1], dilations: vec![1, 2], pads_begin: vec![1, 0], pads_end: vec![0, 1] };
    let pool = |kind, ceil| {
        Op::Pool(Pool {
            kind,
            kernel: vec![3, 2],
            window: window.clone(),
            ceil,
            column_major: false,
            layout: Layout::Nchw,
        })
    };
    let max = editor.add("max", pool(PoolKind::Max, true), &[y]).unwrap();
    let mean =
        editor.add("mean_pool", pool(PoolKind::Average { count_include_pad: true }, false), &[y]).unwrap();
    let global = Op::GlobalPool(PoolKind::Average { count_include_pad: false }, Layout::Nchw);
    let global = editor.add("global", global, &[max]).unwrap();
    let largest = editor.add("largest", Op::GlobalPool(PoolKind::Max, Layout::Nchw), &[mean]).unwrap();
    let flat = editor.add("flat", Op::Flatten { axis: -3 }, &[global]).unwrap();
    model(editor, &[max, flat, largest])
}

fn elementwise() -> Model {
    let mut editor = GraphEditor::new("elementwise");
    let a = editor.add_input("a", TensorType::new(DType::F32, [2usize, 3])).unwrap();
    let b = editor.add_input("b", TensorType::new(DType::F32, [3usize])).unwrap();
    let mut last = editor.add("same", Op::Unary(UnaryKind::Identity), &[a]).unwrap();
    for kind in [BinaryKind::Add, BinaryKind::Sub, BinaryKind::Mul, BinaryKind::Div] {
        let op = Op::Binary(kind.clone(), Activation::None);
        let name = format!("binary {kind:?}");
        last = editor.add(&name, op, &[last, b]).unwrap();
    }
    let relu = editor.add("relu", Op::Unary(UnaryKind::Relu), &[last]).unwrap();
    let mut outputs = vec![last, relu];
    let infinite = f32::INFINITY;
    for (name, min, max) in [
        ("both", -1.0, 0.5),
        ("low", 0.25, infinite),
        ("high", -infinite, 0.0),
        ("open", -infinite, infinite),
    ] {
        outputs.push(editor.add(name, Op::Clip(Clip { min, max }), &[last]).unwrap());
    }
    model(editor, &outputs)
}

fn matrices() -> Model {
    let mut editor = GraphEditor::new("matrices");
    let x = editor.add_input("x", TensorType::new(DType::F32, [2usize, 3, 4])).unwrap();
    let weight = editor.add_constant("weight", ramp(&[4, 5])).unwrap();
    let product = editor.add("product", Op::MatMul, &[x, weight]).unwrap();
    let turned = editor.add("turned", Op::Transpose { permutation: vec![2, 0, 1] }, &[product]).unwrap();
    let target = editor.add_constant("target", Tensor::from_vec([2], vec![0i64, -1]).unwrap()).unwrap();
    let rows = editor.add("rows", Op::Reshape, &[turned, target]).unwrap();
    let c = editor.add_constant("c", ramp(&[2])).unwrap();
    let b = editor.add_constant("b", ramp(&[2, 5])).unwrap();
    let gemm =
        Gemm { alpha: 0.5, beta: -2.0, transpose_a: true, transpose_b: true, activation: Activation::None };
    let result = editor.add("gemm", Op::Gemm(gemm), &[rows, b, c]).unwrap();
    model(editor, &[result])
}

pub fn quantize(dtype: DType, axis: i64) -> Op {
    Op::QuantizeLinear(QuantizeLinear { axis, block_size: 0, saturate: true, dtype })
}

pub fn dequantize(axis: i64, block_size: usize) -> Op {
    Op::DequantizeLinear(DequantizeLinear { axis, block_size })
}

fn quantized() -> Model {
    let mut editor = GraphEditor::new("quantized");
    let x = editor.add_input("x", TensorType::new(DType::F32, [2usize, 3, 5])).unwrap();
    let scale = editor.add_constant("scale", Tensor::scalar(0.05f32)).unwrap();
    let zero = editor.add_constant("zero", Tensor::scalar(100u8)).unwrap();
    let q = editor.add("q", quantize(DType::U8, 1), &[x, scale, zero]).unwrap();
    let plain = editor.add("q_plain", quantize(DType::U8, 1), &[x, scale]).unwrap();
    let scales = Tensor::from_vec([3], vec![0.01f32, 0.02, 0.04]).unwrap();
    let scales = editor.add_constant("scales", scales).unwrap();
    let zeros = editor.add_constant("zeros", Tensor::from_vec([3], vec![-3i8, 0, 5]).unwrap()).unwrap();
    let by_axis = editor.add("q_axis", quantize(DType::I8, -2), &[x, scales, zeros]).unwrap();
    let back = editor.add("dq_axis", dequantize(-2, 0), &[by_axis, scales, zeros]).unwrap();
    let whole = editor.add("dq", dequantize(1, 0), &[q, scale, zero]).unwrap();
    let plain = editor.add("dq_plain", dequantize(1, 0), &[plain, scale]).unwrap();
    model(editor, &[back, whole, plain])
}

/// A weight of a type that only later operator sets have, in blocks, in a model of the default one.
fn narrow(dtype: DType, needed: i64) -> Model {
    let mut editor = GraphEditor::new("narrow");
    let x = editor.add_input("x", TensorType::new(DType::F32, [1usize, 4])).unwrap();
    let bytes = (0..dtype.packed_bytes(12).unwrap()).map(|index| (index * 89 % 251) as u8);
    let weight = Tensor::new(dtype, [4, 3], Bytes::from_iter(bytes)).unwrap();
    let weight = editor.add_constant("weight_q", weight).unwrap();
    let scale = editor.add_constant("scale", ramp(&[2, 3])).unwrap();
    let weight = editor.add("weight", dequantize(0, 2), &[weight, scale]).unwrap();
    let product = editor.add("product", Op::MatMul, &[x, weight]).unwrap();
    let model = model(editor, &[product]);
    assert!(model.opsets[""] < needed);
    model
}

/// Pairs of models that compute the same: activations as nodes, and fused into the operator before them.
pub fn fused_activations() -> Vec<(Model, Model)> {
    let clip = Clip { min: -0.25, max: 0.75 };
    let kinds = [
        (Op::Unary(UnaryKind::Relu), Activation::Relu),
        (Op::Clip(clip), Activation::Clip(clip)),
        (Op::Clip(Clip { min: 0.0, ..clip }), Activation::Clip(Clip { min: 0.0, ..clip })),
    ];
    kinds
        .into_iter()
        .map(|(op, activation)| (activated(Some(op), Activation::None), activated(None, activation)))
        .collect()
}

fn activated(node: Option<Op>, fused: Activation) -> Model {
    let mut editor = GraphEditor::new("activated");
    let after = |editor: &mut GraphEditor, x: ValueId, name: &str| match &node {
        Some(op) => editor.add(name, op.clone(), &[x]).unwrap(),
        None => x,
    };
    let x = editor.add_input("x", TensorType::new(DType::F32, [2usize, 3, 4, 4])).unwrap();
    let weight = editor.add_constant("weight", ramp(&[3, 3, 3, 3])).unwrap();
    let y = editor.add("conv", conv(Window::uniform(2, 1, 1), 1, fused), &[x, weight]).unwrap();
    let y = after(&mut editor, y, "conv_activation");
    let y = editor.add("add", Op::Binary(BinaryKind::Add, fused), &[x, y]).unwrap();
    let y = after(&mut editor, y, "add_activation");
    let y = editor.add("flat", Op::Flatten { axis: 1 }, &[y]).unwrap();
    let weight = editor.add_constant("classifier", ramp(&[5, 48])).unwrap();
    let gemm = Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b: true, activation: fused };
    let y = editor.add("gemm", Op::Gemm(gemm), &[y, weight]).unwrap();
    let y = after(&mut editor, y, "gemm_activation");
    model(editor, &[y])
}
