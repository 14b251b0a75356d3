//! A small residual network for tests, with one operator of each kind that is quantized in its own way.

use calipers_ir::{
    Activation, BinaryKind, Conv, DType, Dim, Gemm, Graph, GraphEditor, Layout, Op, Pool, PoolKind, Tensor,
    TensorType, ValueId, Window,
};

fn conv(
    editor: &mut GraphEditor,
    name: &str,
    x: ValueId,
    channels: [usize; 2],
    activation: Activation,
) -> ValueId {
    let [inputs, outputs] = channels;
    let count = outputs * inputs * 9;
    let weights: Vec<f32> = (0..count).map(|index| ((index * 37 + 11) % 101) as f32 / 101.0 - 0.5).collect();
    let weight = Tensor::from_vec([outputs, inputs, 3, 3], weights).unwrap();
    let bias = Tensor::from_vec([outputs], (0..outputs).map(|index| index as f32 * 0.1 - 0.1).collect());
    let weight = editor.add_constant(format!("{name}.weight"), weight).unwrap();
    let bias = editor.add_constant(format!("{name}.bias"), bias.unwrap()).unwrap();
    let op = Op::Conv(Conv { groups: 1, window: Window::uniform(2, 1, 1), layout: Layout::Nchw, activation });
    let outputs = editor.add_node(name, op, &[Some(x), Some(weight), Some(bias)], &[name]).unwrap();
    outputs[0]
}

/// `x -> stem (relu) -> pool -> conv1 (relu) -> conv2 -> add (relu, with pool) -> mean -> flatten -> fc`.
pub(crate) fn residual() -> Graph {
    let mut editor = GraphEditor::new("residual");
    let shape = [Dim::symbolic("N"), Dim::Known(2), Dim::Known(4), Dim::Known(4)];
    let x = editor.add_input("x", TensorType::new(DType::F32, shape)).unwrap();
    let stem = conv(&mut editor, "stem", x, [2, 3], Activation::Relu);
    let pool = Op::Pool(Pool {
        kind: PoolKind::Max,
        kernel: vec![2, 2],
        window: Window::uniform(2, 2, 0),
        ceil: false,
        column_major: false,
        layout: Layout::Nchw,
    });
    let pool = editor.add("pool", pool, &[stem]).unwrap();
    let conv1 = conv(&mut editor, "conv1", pool, [3, 3], Activation::Relu);
    let conv2 = conv(&mut editor, "conv2", conv1, [3, 3], Activation::None);
    let add = Op::Binary(BinaryKind::Add, Activation::Relu);
    let add = editor.add("add", add, &[conv2, pool]).unwrap();
    let mean = Op::GlobalPool(PoolKind::Average { count_include_pad: false }, Layout::Nchw);
    let mean = editor.add("mean", mean, &[add]).unwrap();
    let flatten = editor.add("flatten", Op::Flatten { axis: 1 }, &[mean]).unwrap();
    let weight = Tensor::from_vec([2, 3], vec![0.5f32, -1.0, 0.25, 2.0, 0.0, -0.5]).unwrap();
    let weight = editor.add_constant("fc.weight", weight).unwrap();
    let bias = editor.add_constant("fc.bias", Tensor::from_vec([2], vec![0.5f32, -0.5]).unwrap()).unwrap();
    let gemm = Op::Gemm(Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
        activation: Activation::None,
    });
    let outputs =
        editor.add_node("fc", gemm, &[Some(flatten), Some(weight), Some(bias)], &["logits"]).unwrap();
    editor.add_output(outputs[0]);
    editor.build().unwrap()
}

/// A calibration table in which every value that is wanted has the range [-1, 3].
pub(crate) fn table(graph: &Graph, recipe: &crate::Recipe) -> crate::CalibrationTable {
    let wanted = crate::values_to_observe(graph, recipe).unwrap();
    let mut table = crate::CalibrationTable::new(graph.name(), wanted);
    let names: Vec<String> = table.values.keys().cloned().collect();
    for name in names {
        table.observe(&name, &Tensor::from_vec([2], vec![-1.0f32, 3.0]).unwrap()).unwrap();
    }
    table
}
