//! f32 operators and whole networks.

use calipers_ir::{
    Activation, BatchNormalization, BinaryKind, Clip, Conv, Gemm, Layout, Op, Pool, PoolKind, Tensor,
    UnaryKind, ValueId, Window,
};
use calipers_models::{Options, resnet8, resnet18};

use crate::case::{Agreement, Build, Case, Random};

/// Sums of up to a few hundred products in another order.
const TOLERANCE: f64 = 5e-6;

pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    convolutions(&mut cases);
    products(&mut cases);
    elementwise(&mut cases);
    pools(&mut cases);
    networks(&mut cases);
    cases
}

fn finish(build: Build, output: ValueId, kernel: &str) -> Case {
    build.finish(output, None, Some(kernel.to_owned()), Agreement::Relative(TOLERANCE))
}

fn convolutions(cases: &mut Vec<Case>) {
    for (name, shape, weights, stride, dilation, pad, groups) in [
        ("stem", vec![1, 3, 32, 32], vec![64, 3, 7, 7], 2, 1, 3, 1),
        ("block", vec![2, 16, 8, 8], vec![32, 16, 3, 3], 1, 1, 1, 1),
        ("grouped", vec![1, 12, 6, 6], vec![24, 4, 3, 3], 1, 1, 1, 3),
        ("depthwise", vec![1, 16, 9, 9], vec![16, 1, 3, 3], 2, 1, 1, 16),
        ("dilated", vec![1, 5, 11, 9], vec![7, 5, 3, 3], 1, 2, 2, 1),
        ("line", vec![2, 5, 19], vec![7, 5, 4], 2, 1, 1, 1),
    ] {
        for activation in [Activation::None, Activation::Relu, Activation::Clip(Clip { min: -0.5, max: 1.0 })]
        {
            let number = cases.len();
            let mut build = Build::new(format!("conv_{name}_{number}"));
            let (x, w) = (build.random.floats(&shape), build.random.floats(&weights));
            let bias = build.random.floats(&weights[..1]);
            let axes = shape.len() - 2;
            let window = Window { dilations: vec![dilation; axes], ..Window::uniform(axes, stride, pad) };
            let conv = Conv { groups, window, layout: Layout::Nchw, activation: Activation::None };
            let (x, w, bias) = (build.input(x), build.constant(w), build.constant(bias));
            let mut output = build.node(Op::Conv(conv), &[x, w, bias]);
            output = match activation {
                Activation::None => output,
                Activation::Relu => build.node(Op::Unary(UnaryKind::Relu), &[output]),
                Activation::Clip(clip) => build.node(Op::Clip(clip), &[output]),
            };
            cases.push(finish(build, output, "convolve f32"));
        }
    }
}

fn products(cases: &mut Vec<Case>) {
    for (transpose_a, transpose_b, alpha, beta, addend) in [
        (false, true, 1.0, 1.0, vec![10]),
        (false, false, 0.5, 2.0, vec![1, 10]),
        (true, false, 1.0, 1.0, vec![]),
        (true, true, 2.0, 0.25, vec![7, 10]),
        (false, true, 1.0, 1.0, vec![7, 1]),
    ] {
        let number = cases.len();
        let mut build = Build::new(format!("gemm_{number}"));
        let a = build.random.floats(if transpose_a { &[20, 7] } else { &[7, 20] });
        let b = build.random.floats(if transpose_b { &[10, 20] } else { &[20, 10] });
        let c = build.random.floats(&addend);
        let (a, b, c) = (build.input(a), build.constant(b), build.constant(c));
        let gemm = Gemm { alpha, beta, transpose_a, transpose_b, activation: Activation::None };
        let output = build.node(Op::Gemm(gemm), &[a, b, c]);
        cases.push(finish(build, output, "multiply f32"));
    }
    for (left, right, constant) in [
        (vec![5, 8], vec![8, 3], true),
        (vec![2, 3, 5, 8], vec![8, 3], true),
        (vec![2, 3, 5, 8], vec![3, 8, 4], false),
        (vec![5, 8], vec![6, 8, 4], false),
    ] {
        let number = cases.len();
        let mut build = Build::new(format!("matmul_{number}"));
        let (a, b) = (build.random.floats(&left), build.random.floats(&right));
        let a = build.input(a);
        let b = if constant { build.constant(b) } else { build.input(b) };
        let output = build.node(Op::MatMul, &[a, b]);
        cases.push(finish(build, output, if constant { "multiply f32" } else { "multiply pairs f32" }));
    }
}

fn elementwise(cases: &mut Vec<Case>) {
    let kinds = [
        (BinaryKind::Add, "add f32"),
        (BinaryKind::Sub, "subtract f32"),
        (BinaryKind::Mul, "multiply elements f32"),
        (BinaryKind::Div, "divide f32"),
    ];
    for (kind, kernel) in kinds {
        for (left, right) in [
            (vec![2, 3, 4, 5], vec![2, 3, 4, 5]),
            (vec![2, 3, 4, 5], vec![3, 1, 1]),
            (vec![2, 3, 1, 1], vec![2, 3, 4, 5]),
            (vec![1, 7], vec![4, 1]),
            (vec![6], vec![]),
        ] {
            let number = cases.len();
            let mut build = Build::new(format!("binary_{number}"));
            let (a, b) = (build.random.floats(&left), build.random.floats(&right));
            let (a, b) = (build.input(a), build.input(b));
            let output = build.node(Op::Binary(kind.clone(), Activation::None), &[a, b]);
            cases.push(finish(build, output, kernel));
        }
    }
    // After a convolution the operand lies channels-last; a constant for each channel is broadcast there.
    let mut build = Build::new("scaled_channels");
    let (x, w) = (build.random.floats(&[2, 3, 6, 5]), build.random.floats(&[4, 3, 1, 1]));
    let factors = build.random.floats(&[1, 4, 1, 1]);
    let (x, w, factors) = (build.input(x), build.constant(w), build.constant(factors));
    let window = Window::uniform(2, 1, 0);
    let conv = Conv { groups: 1, window, layout: Layout::Nchw, activation: Activation::None };
    let real = build.node(Op::Conv(conv), &[x, w]);
    let real = build.node(Op::Unary(UnaryKind::Relu), &[real]);
    let product = build.node(Op::Binary(BinaryKind::Mul, Activation::None), &[factors, real]);
    let shape = build.constant(Tensor::from_vec([2], vec![0i64, -1]).expect("a shape"));
    let output = build.node(Op::Reshape, &[product, shape]);
    cases.push(finish(build, output, "multiply elements f32"));

    let mut build = Build::new("normalization");
    let x = build.random.floats(&[2, 6, 5, 4]);
    let x = build.input(x);
    let mut inputs = vec![x];
    for _ in 0..3 {
        let statistic = build.random.floats(&[6]);
        inputs.push(build.constant(statistic));
    }
    let variance = (1..7).map(|i| i as f32 * 0.3).collect::<Vec<f32>>();
    inputs.push(build.constant(Tensor::from_vec([6], variance).expect("a variance")));
    let norm = BatchNormalization { epsilon: 1e-3, momentum: 0.9, layout: Layout::Nchw };
    let output = build.node(Op::BatchNormalization(norm), &inputs);
    let output = build.node(Op::Transpose { permutation: vec![0, 2, 3, 1] }, &[output]);
    cases.push(finish(build, output, "normalize f32"));
}

fn pools(cases: &mut Vec<Case>) {
    for kind in [
        PoolKind::Max,
        PoolKind::Average { count_include_pad: false },
        PoolKind::Average { count_include_pad: true },
    ] {
        for (kernel, stride, pad, ceil) in
            [(3, 2, 1, false), (2, 2, 0, true), (3, 1, 0, false), (3, 2, 1, true)]
        {
            let number = cases.len();
            let mut build = Build::new(format!("pool_{number}"));
            let x = build.random.floats(&[2, 5, 9, 8]);
            let x = build.input(x);
            let window = Window::uniform(2, stride, pad);
            let pool = Pool {
                kind,
                kernel: vec![kernel; 2],
                window,
                ceil,
                column_major: false,
                layout: Layout::Nchw,
            };
            let output = build.node(Op::Pool(pool), &[x]);
            let kernel = if kind == PoolKind::Max { "max pool f32" } else { "average pool f32" };
            cases.push(finish(build, output, kernel));
        }
        let number = cases.len();
        let mut build = Build::new(format!("global_{number}"));
        let x = build.random.floats(&[2, 5, 9, 8]);
        let x = build.input(x);
        let output = build.node(Op::GlobalPool(kind, Layout::Nchw), &[x]);
        let output = build.node(Op::Flatten { axis: 1 }, &[output]);
        let kernel = if kind == PoolKind::Max { "global max f32" } else { "global average f32" };
        cases.push(finish(build, output, kernel));
    }
}

fn networks(cases: &mut Vec<Case>) {
    for batch_norm in [true, false] {
        let options = Options { batch_norm, ..Options::default() };
        for (name, graph) in [("resnet8", resnet8(&options, 1)), ("resnet18", resnet18(&options, 1))] {
            let name = format!("{name}_{batch_norm}");
            cases.push(Case {
                graph: graph.expect("a built-in model"),
                inputs: vec![(String::from("input"), Random::new(&name).floats(&[2, 3, 32, 32]))],
                runs_as: None,
                kernel: Some(String::from("convolve f32")),
                agreement: Agreement::Relative(1e-5),
                name,
            });
        }
    }
}
