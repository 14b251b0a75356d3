//! Results of LiteRT 2.3.0's reference kernels for a few numbers; `tests/litert` compares many more where it is installed.

use super::binary::{Binary, BinaryOperation};
use super::convolution::Convolution;
use super::lookup::{Function, Table8, Table16};
use super::lstm::{Gate, Layer, Lstm};
use super::matmul::FullyConnected;
use super::quantize::{Requantize, dequantize, quantize};
use super::reduce::{Axes, Product, Sum};
use super::sigmoid::Sigmoid16;
use super::softmax::{LogSoftmax8, Softmax8, Softmax16, normalize_l2};
use super::unary::{Absolute, Clamp, HardSwish, LeakyRelu};
use super::{Activation, FixedMultiplier};
use crate::convolution::Geometry;
use crate::quantize::Params;

const X: [i8; 12] = [-128, -77, -50, -3, -1, 0, 1, 2, 5, 50, 75, 127];
const ROWS: [i8; 6] = [-128, 127, 3, 0, 1, 2];
const WIDE: [i16; 10] = [-32768, -20000, -4096, -1, 0, 1, 500, 4096, 20000, 32767];

fn params(scale: f32, zero_point: i32) -> Params {
    Params { scale, zero_point }
}

#[test]
fn convolutions_and_fully_connected_layers_round_differently() {
    // 0.1 * 0.01 / 0.15 times these sums lies just below the middle between integers.
    let sums = [75, 225, -75, -225];
    let real = f64::from(0.1f32) * f64::from(0.01f32) / f64::from(0.15f32);
    let fixed = FixedMultiplier::new(real).unwrap();
    assert_eq!(sums.map(|sum| fixed.apply(sum)), [1, 2, -1, -2]);
    assert_eq!(sums.map(|sum| (f64::from(sum) * real).round() as i32), [0, 1, 0, -1]);
}

#[test]
fn products_with_weights() {
    let geometry = Geometry {
        batch: 1,
        input: [12, 1],
        input_channels: 1,
        output: [12, 1],
        output_channels: 1,
        kernel: [1, 1],
        stride: [1, 1],
        dilation: [1, 1],
        pad_begin: [0, 0],
        groups: 1,
    };
    let expected = [-67, -41, -28, -4, -3, -3, -2, -2, 0, 22, 35, 61];
    let (input, output) = (params(0.1, 0), params(0.1, -3));
    let mut result = [0i8; 12];
    let convolution = Convolution::new::<i8>(geometry, input, &[0.02], 0, output, Activation::None).unwrap();
    convolution.run(&X, &[25i8], Some(&[13i32]), &mut result);
    assert_eq!(result, expected);
    let layer = FullyConnected::new::<i8>([1, 1], input, &[0.02], 0, output, Activation::None).unwrap();
    layer.run(&X, &[25i8], Some(&[13i32]), &mut result);
    assert_eq!(result, expected);
}

#[test]
fn binary_operators() {
    let mut y = X;
    y.reverse();
    let cases: [(BinaryOperation, f32, [i8; 12]); 3] = [
        (BinaryOperation::Add, 0.15, [-16, -6, 0, 11, 11, 11, 11, 11, 12, 20, 24, 35]),
        (BinaryOperation::Multiply, 0.5, [-128, -80, -31, 9, 10, 10, 10, 10, 10, -20, -63, -128]),
        (BinaryOperation::Divide, 0.05, [-18, -19, -18, -7, -6, -4, -1, 3, 39, -20, -19, -19]),
    ];
    for (operation, scale, expected) in cases {
        let (left, right, output) = (params(0.1, 3), params(0.07, -5), params(scale, 10));
        let prepared = Binary::new::<i8>(operation, left, right, output, Activation::None, false).unwrap();
        let mut result = [0i8; 12];
        prepared.run((&X, &[12]), (&y, &[12]), &mut result);
        assert_eq!(result, expected, "{operation:?}");
    }
}

#[test]
fn operators_on_rows() {
    let mut result = [0i8; 6];
    Softmax8::new(1.0, params(0.05, 0)).unwrap().run(3, &ROWS, &mut result);
    assert_eq!(result, [-128, 127, -127, -47, -43, -38]);
    LogSoftmax8::new(params(0.05, 0)).unwrap().run(3, &ROWS, &mut result);
    assert_eq!(result, [-77, 127, 28, 109, 109, 110]);
    normalize_l2(1, 3, &ROWS, &mut result);
    assert_eq!(result, [-92, 89, 1, -91, 0, 91]);
    let mut result = [0i16; 10];
    Softmax16::new(1.0, params(1.0 / 8192.0, 0)).unwrap().run(10, &WIDE, &mut result);
    assert_eq!(result, [8, 39, 274, 452, 452, 453, 480, 745, 5193, 24671]);
}

#[test]
fn functions_of_one_element() {
    let mut result = [0i8; 12];
    HardSwish::new(params(0.05, 2), params(0.04, -100)).unwrap().run(&X, &mut result);
    assert_eq!(result, [-100, -100, -104, -103, -102, -101, -101, -100, -98, -46, -9, 56]);
    let table = Table8::new(Function::Rsqrt, params(0.05, -128), params(0.04, -100)).unwrap();
    table.run(&X, &mut result).unwrap();
    assert_eq!(result, [127, -84, -87, -90, -90, -90, -90, -90, -90, -92, -92, -93]);
    let (input, output) = (params(1.0 / 4096.0, 0), params(1.0 / 32768.0, 0));
    let mut result = [0i16; 10];
    Sigmoid16::logistic(input, output).unwrap().run(&WIDE, &mut result);
    assert_eq!(result, [11, 247, 8812, 16382, 16384, 16386, 17383, 23956, 32521, 32757]);
    Sigmoid16::tanh(input, output).unwrap().run(&WIDE, &mut result);
    assert_eq!(result, [-32767, -32764, -24956, -8, 0, 8, 3980, 24956, 32764, 32767]);
}

#[test]
fn a_mean_along_the_first_axis() {
    let axes = Axes { shape: vec![2, 3], reduced: vec![true, false] };
    let mut result = [0i8; 3];
    Sum::mean(axes, params(0.05, 1), params(0.04, 7)).unwrap().run(&ROWS, &mut result);
    assert_eq!(result, [-74, 86, 9]);
}

#[test]
fn parameters_that_litert_aborts_on_are_refused() {
    let tiny = params(1e-9, 0);
    assert!(Softmax8::new(1.0, tiny).is_err());
    let one = params(1.0, 0);
    assert!(Binary::new::<i8>(BinaryOperation::Add, one, one, tiny, Activation::None, false).is_err());
    for scale in [0.0, f32::NAN, f32::INFINITY] {
        let bad = params(scale, 0);
        let layer = FullyConnected::new::<i8>([1, 1], bad, &[1.0], 0, bad, Activation::None);
        assert!(layer.is_err());
        assert!(Table8::<i8>::new(Function::Tanh, one, bad).is_err());
        assert!(Sigmoid16::tanh(bad, params(1.0 / 32768.0, 0)).is_err());
    }
    let gate = Gate {
        input_weights: &[1],
        input_scale: 1.0,
        recurrent_weights: &[1],
        recurrent_scale: 1.0,
        bias: &[0],
        peephole: None,
        normalization: None,
    };
    let layer = Layer {
        inputs: 1,
        cells: 1,
        outputs: 1,
        input: one,
        output: one,
        hidden: one,
        cell_scale: 0.3,
        input_gate: None,
        forget_gate: gate,
        cell_gate: gate,
        output_gate: gate,
        projection: None,
        cell_clip: 0.0,
        projection_clip: 0.0,
    };
    assert!(Lstm::new(layer).is_err());
}

#[test]
fn no_parameters_make_a_panic() {
    let scales = [1.0, 0.0, -0.3, 1e-45, 1e-30, 1e-9, 1e9, 3e38, f32::NAN, f32::INFINITY];
    let zero_points = [0, i32::MIN, i32::MAX, -129];
    let each =
        || scales.into_iter().flat_map(|scale| zero_points.map(|zero_point| params(scale, zero_point)));
    let geometry = Geometry {
        batch: 1,
        input: [3, 2],
        input_channels: 2,
        output: [3, 2],
        output_channels: 1,
        kernel: [2, 2],
        stride: [1, 1],
        dilation: [1, 1],
        pad_begin: [0, 0],
        groups: 1,
    };
    let functions =
        [Function::Tanh, Function::Exp, Function::Log, Function::GeluTanh, Function::Sqrt, Function::Rsqrt];
    for input in each() {
        if let Ok(softmax) = Softmax8::new(1.0, input) {
            softmax.run(3, &ROWS, &mut [0i8; 6]);
        }
        if let Ok(softmax) = LogSoftmax8::new(input) {
            softmax.run(3, &ROWS, &mut [0i8; 6]);
        }
        if let Ok(softmax) = Softmax16::new(1.0, input) {
            softmax.run(5, &WIDE, &mut [0i16; 10]);
        }
        normalize_l2(input.zero_point, 3, &ROWS, &mut [0i8; 6]);
        for output in each() {
            let relu = Activation::Relu6;
            let (mut narrow, mut wide) = ([0i8; 12], [0i16; 10]);
            if let Ok(layer) = FullyConnected::new::<i8>([6, 6], input, &[0.3], 7, output, relu) {
                layer.run(&X, &[1i8; 36], Some(&[i32::MAX; 6]), &mut narrow);
            }
            if let Ok(layer) = FullyConnected::of_wide_weights([5, 5], input, &[0.3], output, relu) {
                layer.run(&WIDE, &[1i16; 25], Some(&[i64::MAX; 5]), &mut wide);
            }
            if let Ok(convolution) = Convolution::new::<i8>(geometry.clone(), input, &[0.3], 0, output, relu)
            {
                convolution.run(&X, &[-127i8; 8], Some(&[i32::MIN]), &mut narrow[..6]);
                convolution.transposed(&X, &[-127i8; 8], Some(&[i32::MIN]), &mut narrow[..6]);
            }
            for operation in [
                BinaryOperation::Add,
                BinaryOperation::Subtract,
                BinaryOperation::Multiply,
                BinaryOperation::Divide,
                BinaryOperation::SquaredDifference,
            ] {
                if let Ok(binary) = Binary::new::<i8>(operation, input, output, params(0.1, 3), relu, true) {
                    binary.run((&X, &[12]), (&X, &[12]), &mut narrow);
                }
                if let Ok(binary) = Binary::new::<i16>(operation, input, params(0.1, 3), output, relu, true) {
                    binary.run((&WIDE, &[10]), (&WIDE, &[10]), &mut wide);
                }
            }
            for function in functions {
                if let Ok(table) = Table8::<i8>::new(function, input, output) {
                    let _ = table.run(&X, &mut narrow);
                }
                if let Ok(table) = Table16::new(function, input, output) {
                    let _ = table.run(&WIDE, &mut wide);
                }
            }
            if let Ok(clamp) = Clamp::new::<i8>([-1.0, 1.0], input, output) {
                clamp.run(&X, &mut narrow);
            }
            if let Ok(leaky) = LeakyRelu::new(-0.3, input, output) {
                leaky.run(&X, &mut narrow);
            }
            if let Ok(swish) = HardSwish::new(input, output) {
                swish.run(&X, &mut narrow);
            }
            if let Ok(absolute) = Absolute::new(input, output) {
                absolute.run(&X, &mut narrow);
            }
            if let Ok(requantize) = Requantize::new(input, output) {
                requantize.run(&X, &mut narrow);
            }
            quantize(&[1e30, f32::NAN, 0.0], &[input], 1, &mut [0i8; 3]);
            dequantize(&X, &[input], 1, &mut [0.0; 12]);
            let axes = Axes { shape: vec![2, 3], reduced: vec![true, false] };
            let sums = [Sum::mean(axes.clone(), input, output), Sum::new::<i8>(axes.clone(), input, output)];
            for sum in sums.into_iter().flatten() {
                sum.run(&ROWS, &mut narrow[..3]);
            }
            if let Ok(product) = Product::new(axes, input, output) {
                product.run(&ROWS, &mut narrow[..3]);
            }
            if let Ok(sigmoid) = Sigmoid16::tanh(input, output) {
                sigmoid.run(&WIDE, &mut wide);
            }
        }
    }
}
