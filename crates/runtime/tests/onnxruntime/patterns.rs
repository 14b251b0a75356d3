//! One graph for each integer pattern, over shapes, windows, zero points and signedness.

use calipers_ir::{
    Activation, BinaryKind, Conv, DType, DequantizeLinear, Gemm, Layout, Op, Pool, PoolKind, QuantizeLinear,
    Tensor, UnaryKind, Window,
};

use crate::case::{Agreement, Build, Case, Scale, signed, unsigned};

pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    convolutions(&mut cases);
    products(&mut cases);
    sums(&mut cases);
    pools(&mut cases);
    moves(&mut cases);
    quantization(&mut cases);
    cases
}

fn type_name(scale: Scale) -> &'static str {
    if scale.dtype == DType::U8 { "u8" } else { "i8" }
}

/// Batch and input extents, output channels, kernel, stride, dilation, pad, groups.
type Shape = ([usize; 4], usize, [usize; 2], [usize; 2], [usize; 2], [usize; 2], usize);

const CONVOLUTIONS: &[(&str, Shape)] = &[
    ("stem", ([1, 3, 32, 32], 64, [7, 7], [2, 2], [1, 1], [3, 3], 1)),
    ("block", ([2, 16, 8, 8], 32, [3, 3], [1, 1], [1, 1], [1, 1], 1)),
    ("last", ([3, 64, 1, 1], 96, [3, 3], [1, 1], [1, 1], [1, 1], 1)),
    ("shortcut", ([1, 32, 8, 8], 64, [1, 1], [2, 2], [1, 1], [0, 0], 1)),
    ("pointwise", ([1, 24, 5, 7], 10, [1, 1], [1, 1], [1, 1], [0, 0], 1)),
    ("dilated", ([1, 5, 11, 9], 7, [3, 2], [2, 1], [2, 3], [2, 1], 1)),
    ("grouped", ([1, 12, 6, 6], 24, [3, 3], [1, 1], [1, 1], [1, 1], 3)),
    ("depthwise", ([1, 16, 9, 9], 16, [3, 3], [2, 2], [1, 1], [1, 1], 16)),
    // Enough results that some lie within a rounding error of the middle between two integers.
    ("many", ([1, 8, 96, 96], 64, [1, 1], [1, 1], [1, 1], [0, 0], 1)),
];

fn conv(shape: &Shape) -> Op {
    let (_, _, _, stride, dilation, pad, groups) = *shape;
    Op::Conv(Conv {
        groups,
        window: Window {
            strides: stride.to_vec(),
            dilations: dilation.to_vec(),
            pads_begin: pad.to_vec(),
            pads_end: pad.to_vec(),
        },
        layout: Layout::Nchw,
        activation: Activation::None,
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Bias {
    None,
    Integers,
    Floats,
}

fn convolution(
    name: String,
    shape: &Shape,
    x: Scale,
    y: Scale,
    per_channel: bool,
    bias: Bias,
    relu: bool,
) -> Case {
    let ([_, channels, ..], outputs, [height, width], .., groups) = *shape;
    let mut build = Build::new(name);
    let input = build.quantized_input(&shape.0, x);
    let (weights, scales) = build.weights(&[outputs, channels / groups, height, width], 0, per_channel);
    let mut inputs = vec![input, weights];
    match bias {
        Bias::None => {}
        Bias::Integers => inputs.push(build.bias(outputs, x.scale, &scales)),
        Bias::Floats => {
            let floats = build.random.floats(&[outputs]);
            inputs.push(build.constant(floats));
        }
    }
    let mut real = build.node(conv(shape), &inputs);
    if relu {
        real = build.node(Op::Unary(UnaryKind::Relu), &[real]);
    }
    let output = build.quantize(real, y);
    let least = if y.dtype == DType::U8 { 0 } else { -128 };
    let kernel = Some(format!("convolve {}", type_name(x)));
    if relu && y.zero_point != least {
        let cause = "ONNX Runtime runs a Relu that the output's zero point does not imply in f32";
        return build.finish(output, Some("FusedConv"), kernel, Agreement::OneStep { share: 0.01, cause });
    }
    build.finish(output, Some("QLinearConv"), kernel, Agreement::Exact)
}

fn convolutions(cases: &mut Vec<Case>) {
    for (shape_name, shape) in CONVOLUTIONS {
        for (sign, x, y) in [
            ("u8", unsigned(0.02, 0), unsigned(0.6, 131)),
            ("u8_shifted", unsigned(0.02, 117), unsigned(0.9, 3)),
            ("i8", signed(0.02, 0), signed(0.7, -3)),
            ("i8_shifted", signed(0.02, -128), signed(0.8, 20)),
        ] {
            for per_channel in [false, true] {
                let granularity = if per_channel { "channel" } else { "tensor" };
                let bias = if per_channel { Bias::Integers } else { Bias::None };
                let name = format!("conv_{shape_name}_{sign}_{granularity}");
                cases.push(convolution(name, shape, x, y, per_channel, bias, false));
            }
        }
        let name = format!("conv_{shape_name}_relu");
        let (x, y) = (unsigned(0.02, 128), unsigned(0.5, 0));
        cases.push(convolution(name, shape, x, y, true, Bias::Integers, true));
        let name = format!("conv_{shape_name}_relu_i8");
        cases.push(convolution(name, shape, signed(0.02, 5), signed(0.5, -128), true, Bias::Integers, true));
        let name = format!("conv_{shape_name}_relu_inside");
        cases.push(convolution(name, shape, x, unsigned(0.5, 100), true, Bias::Integers, true));
        let name = format!("conv_{shape_name}_float_bias");
        cases.push(convolution(name, shape, x, unsigned(0.5, 100), true, Bias::Floats, false));
    }
    for (index, (x, weights, y)) in
        [(0.11, 0.63, 0.1386), (0.03, 0.17, 0.0102), (0.11, 0.95, 0.209), (0.7, 0.1, 0.14)]
            .into_iter()
            .enumerate()
    {
        cases.push(between(format!("conv_between_{index}"), x, weights, y));
    }
    cases.push(unsigned_weights());
    cases.push(fake_quantized_weights());
}

/// Scales whose product over the output's is a half to a rounding error, so that the order of the three operations that
/// make the multiplier decides where odd sums go.
fn between(name: String, x: f32, weight_scale: f32, y: f32) -> Case {
    let shape: &Shape = &([1, 2, 64, 64], 8, [1, 1], [1, 1], [1, 1], [0, 0], 1);
    let mut build = Build::new(name);
    let input = build.quantized_input(&shape.0, unsigned(x, 128));
    let integers = (0..16).map(|index| index % 3 - 1).collect::<Vec<i8>>();
    let integers = build.constant(Tensor::from_vec([8, 2, 1, 1], integers).expect("weights"));
    let weights = build.dequantize(integers, signed(weight_scale, 0));
    let real = build.node(conv(shape), &[input, weights]);
    let output = build.quantize(real, unsigned(y, 128));
    build.finish(output, Some("QLinearConv"), Some("convolve u8".to_owned()), Agreement::Exact)
}

/// Unsigned weights with a zero point, under unsigned activations.
fn unsigned_weights() -> Case {
    let shape = &CONVOLUTIONS[1].1;
    let mut build = Build::new("conv_unsigned_weights");
    let input = build.quantized_input(&shape.0, unsigned(0.02, 99));
    let integers = build.random.integers(&[32, 16, 3, 3], DType::U8);
    let integers = build.constant(integers);
    let weights = build.dequantize(integers, unsigned(0.01, 140));
    let real = build.node(conv(shape), &[input, weights]);
    let output = build.quantize(real, unsigned(0.9, 128));
    build.finish(output, Some("QLinearConv"), Some("convolve u8".to_owned()), Agreement::Exact)
}

/// f32 weights that pass through Quantize and Dequantize, as training leaves them.
fn fake_quantized_weights() -> Case {
    let shape = &CONVOLUTIONS[1].1;
    let mut build = Build::new("conv_fake_quantized_weights");
    let input = build.quantized_input(&shape.0, unsigned(0.02, 99));
    let floats = build.random.floats(&[32, 16, 3, 3]);
    let floats = build.constant(floats);
    let scales =
        Tensor::from_vec([32], (1..33).map(|i| i as f32 * 3e-4).collect::<Vec<f32>>()).expect("scales");
    let scale = build.constant(scales);
    let zero_point = build.constant(Tensor::from_vec([32], vec![0i8; 32]).expect("zero points"));
    let quantize =
        Op::QuantizeLinear(QuantizeLinear { axis: 0, block_size: 0, saturate: true, dtype: DType::I8 });
    let integers = build.node(quantize, &[floats, scale, zero_point]);
    let dequantize = Op::DequantizeLinear(DequantizeLinear { axis: 0, block_size: 0 });
    let weights = build.node(dequantize, &[integers, scale, zero_point]);
    let real = build.node(conv(shape), &[input, weights]);
    let output = build.quantize(real, unsigned(0.2, 128));
    build.finish(output, None, Some("convolve u8".to_owned()), Agreement::Exact)
}

fn products(cases: &mut Vec<Case>) {
    for (sign, x, y) in [
        ("u8", unsigned(0.02, 0), unsigned(0.9, 131)),
        ("u8_shifted", unsigned(0.02, 117), unsigned(0.9, 3)),
        ("i8", signed(0.02, -7), signed(0.7, -3)),
    ] {
        for (rows, depth, outputs) in [(1, 64, 10), (5, 30, 33), (128, 512, 10)] {
            for (transpose_b, per_channel, with_bias) in
                [(true, true, true), (false, true, false), (true, false, true)]
            {
                let name = format!("gemm_{sign}_{rows}x{depth}x{outputs}_{transpose_b}_{per_channel}");
                for quantized in [true, false] {
                    let suffix = if quantized { "" } else { "_to_f32" };
                    let mut build = Build::new(format!("{name}{suffix}"));
                    let input = build.quantized_input(&[rows, depth], x);
                    let shape = if transpose_b { [outputs, depth] } else { [depth, outputs] };
                    let (weights, scales) = build.weights(&shape, usize::from(!transpose_b), per_channel);
                    let mut inputs = vec![input, weights];
                    if with_bias {
                        inputs.push(build.bias(outputs, x.scale, &scales));
                    }
                    let gemm = Gemm {
                        alpha: 1.0,
                        beta: 1.0,
                        transpose_a: false,
                        transpose_b,
                        activation: Activation::None,
                    };
                    let real = build.node(Op::Gemm(gemm), &inputs);
                    let kernel = if quantized { "multiply" } else { "multiply to f32" };
                    let kernel = Some(format!("{kernel} {}", type_name(x)));
                    let output = if quantized { build.quantize(real, y) } else { real };
                    let agreement = if quantized { Agreement::Exact } else { Agreement::Relative(1e-7) };
                    cases.push(build.finish(output, Some("QGemm"), kernel, agreement));
                }
            }
        }
        for shape in [vec![4, 20], vec![2, 3, 20]] {
            for quantized in [true, false] {
                let rank = shape.len();
                let mut build = Build::new(format!("matmul_{sign}_{rank}_{quantized}"));
                let input = build.quantized_input(&shape, x);
                let (weights, _) = build.weights(&[20, 17], 1, false);
                let real = build.node(Op::MatMul, &[input, weights]);
                let output = if quantized { build.quantize(real, y) } else { real };
                let kernel = if quantized { "multiply" } else { "multiply to f32" };
                let kernel = Some(format!("{kernel} {}", type_name(x)));
                let operator = if quantized { "QLinearMatMul" } else { "MatMulIntegerToFloat" };
                let agreement = if quantized { Agreement::Exact } else { Agreement::Relative(1e-6) };
                cases.push(build.finish(output, Some(operator), kernel, agreement));
            }
        }
    }
}

fn sums(cases: &mut Vec<Case>) {
    for (name, a, b, c) in [
        ("u8", unsigned(0.031, 0), unsigned(0.017, 128), unsigned(0.043, 20)),
        ("u8_shifted", unsigned(0.5, 255), unsigned(0.01, 3), unsigned(0.37, 120)),
        ("u8_equal", unsigned(0.02, 0), unsigned(0.02, 0), unsigned(0.04, 0)),
        ("u8_thirds", unsigned(0.03, 11), unsigned(0.05, 200), unsigned(0.06, 101)),
        ("u8_tenths", unsigned(0.1, 128), unsigned(0.3, 77), unsigned(0.2, 90)),
        ("i8", signed(0.031, -128), signed(0.017, 5), signed(0.043, -20)),
        ("i8_equal", signed(0.02, 0), signed(0.02, 0), signed(0.03, 0)),
    ] {
        for shape in [[1, 16, 8, 8], [2, 7, 5, 3], [1, 64, 64, 64]] {
            for relu in [false, true] {
                let suffix = if relu { "_relu" } else { "" };
                let mut build = Build::new(format!("add_{name}_{}{suffix}", shape[1]));
                let (left, right) = (build.quantized_input(&shape, a), build.quantized_input(&shape, b));
                let mut real = build.node(Op::Binary(BinaryKind::Add, Activation::None), &[left, right]);
                if relu {
                    real = build.node(Op::Unary(UnaryKind::Relu), &[real]);
                }
                let least = if c.dtype == DType::U8 { 0 } else { -128 };
                let output = build.quantize(real, c);
                let (runs_as, agreement) = if relu && c.zero_point != least {
                    let cause = "ONNX Runtime runs a Relu that the output's zero point does not imply in f32";
                    // Ratios of these scales put every tenth sum or so right between two integers.
                    ("Add", Agreement::OneStep { share: 0.1, cause })
                } else {
                    ("QLinearAdd", Agreement::Exact)
                };
                cases.push(build.finish(
                    output,
                    Some(runs_as),
                    Some(format!("add {}", type_name(a))),
                    agreement,
                ));
            }
        }
    }
}

fn pools(cases: &mut Vec<Case>) {
    for (name, from, to) in [
        ("u8", unsigned(0.031, 7), unsigned(0.027, 12)),
        ("u8_zero", unsigned(0.031, 0), unsigned(0.031, 0)),
        ("i8", signed(0.031, -128), signed(0.03, -100)),
        ("i8_shifted", signed(0.05, 3), signed(0.03, -5)),
    ] {
        for shape in [[1, 64, 4, 4], [3, 10, 7, 5], [2, 33, 1, 1]] {
            let mut build = Build::new(format!("global_average_{name}_{}", shape[1]));
            let input = build.quantized_input(&shape, from);
            let kind = PoolKind::Average { count_include_pad: false };
            let real = build.node(Op::GlobalPool(kind, Layout::Nchw), &[input]);
            let output = build.quantize(real, to);
            let kernel = Some(format!("global average {}", type_name(from)));
            cases.push(build.finish(output, Some("QLinearGlobalAveragePool"), kernel, Agreement::Exact));
        }
        for (kind_name, kind, to, operator) in [
            ("max", PoolKind::Max, from, "MaxPool"),
            ("average", PoolKind::Average { count_include_pad: false }, to, "QLinearAveragePool"),
            ("padded_average", PoolKind::Average { count_include_pad: true }, to, "QLinearAveragePool"),
        ] {
            for (window_name, kernel, stride, pad) in [("stem", 3, 2, 1), ("halves", 2, 2, 0)] {
                let mut build = Build::new(format!("{kind_name}_{window_name}_{name}"));
                let input = build.quantized_input(&[2, 9, 16, 12], from);
                let pool = Pool {
                    kind,
                    kernel: vec![kernel, kernel],
                    window: Window::uniform(2, stride, pad),
                    ceil: false,
                    column_major: false,
                    layout: Layout::Nchw,
                };
                let real = build.node(Op::Pool(pool), &[input]);
                let output = build.quantize(real, to);
                let pool_name = if kind == PoolKind::Max { "max pool" } else { "average pool" };
                let kernel = Some(format!("{pool_name} {}", type_name(from)));
                cases.push(build.finish(output, Some(operator), kernel, Agreement::Exact));
            }
        }
    }
}

fn moves(cases: &mut Vec<Case>) {
    let scale = unsigned(0.02, 9);
    for (name, op) in [
        ("Flatten", Op::Flatten { axis: 1 }),
        ("Transpose", Op::Transpose { permutation: vec![0, 2, 3, 1] }),
        ("Reshape", Op::Reshape),
    ] {
        let mut build = Build::new(format!("move_{name}"));
        let input = build.quantized_input(&[2, 6, 4, 5], scale);
        let mut inputs = vec![input];
        if matches!(op, Op::Reshape) {
            inputs.push(build.constant(Tensor::from_vec([3], vec![2i64, -1, 10]).expect("a shape")));
        }
        let real = build.node(op, &inputs);
        let output = build.quantize(real, scale);
        cases.push(build.finish(output, Some(name), None, Agreement::Exact));
    }
}

fn quantization(cases: &mut Vec<Case>) {
    for (name, scale) in [
        ("u8", unsigned(0.007, 128)),
        ("u8_zero", unsigned(0.0031, 0)),
        ("i8", signed(0.0078, 0)),
        ("i8_shifted", signed(0.004, -50)),
    ] {
        let mut build = Build::new(format!("quantize_{name}"));
        let floats = build.random.floats(&[1, 3, 33, 31]);
        let input = build.input(floats);
        let output = build.quantize(input, scale);
        cases.push(build.finish(
            output,
            None,
            Some(format!("quantize {}", type_name(scale))),
            Agreement::Exact,
        ));

        let mut build = Build::new(format!("dequantize_{name}"));
        let output = build.quantized_input(&[1, 3, 33, 31], scale);
        cases.push(build.finish(
            output,
            None,
            Some(format!("dequantize {}", type_name(scale))),
            Agreement::Exact,
        ));
    }
    let mut build = Build::new("quantize_per_axis");
    let floats = build.random.floats(&[2, 4, 5, 3]);
    let input = build.input(floats);
    let scale = build.constant(Tensor::from_vec([4], vec![0.01f32, 0.002, 0.5, 0.03]).expect("scales"));
    let zero_point = build.constant(Tensor::from_vec([4], vec![0i8, 5, -128, 127]).expect("zero points"));
    let quantize =
        Op::QuantizeLinear(QuantizeLinear { axis: 1, block_size: 0, saturate: true, dtype: DType::I8 });
    let output = build.node(quantize, &[input, scale, zero_point]);
    cases.push(build.finish(output, None, Some("quantize i8".to_owned()), Agreement::Exact));

    // Quantization of exact halves, which lie between two integers.
    let mut build = Build::new("quantize_halves");
    let halves: Vec<f32> = (-300..300).map(|index| index as f32 * 0.25).collect();
    let input = build.input(Tensor::from_vec([600], halves).expect("halves"));
    let output = build.quantize(input, unsigned(0.5, 77));
    cases.push(build.finish(output, None, Some("quantize u8".to_owned()), Agreement::Exact));
}
