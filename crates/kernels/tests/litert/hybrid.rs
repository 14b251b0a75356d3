//! Operators on f32 activations that are quantized on the fly.

use calipers_kernels::quantize::Params;
use calipers_kernels::tflite::hybrid::Hybrid;
use calipers_kernels::tflite::matmul::MatrixShapes;
use calipers_kernels::tflite::{Activation, broadcast};
use serde_json::json;

use crate::convolution::{Kind, depthwise_layout, geometry};
use crate::suite::{Numbers, Suite, Tensor};

const ACTIVATIONS: [(Activation, u8); 4] =
    [(Activation::None, 0), (Activation::Relu, 1), (Activation::ReluN1To1, 2), (Activation::Relu6, 3)];

/// Weights with one scale or one for each output channel.
fn weight_tensor(shape: &[usize], weights: Vec<i8>, scales: &[f32], axis: usize) -> Tensor {
    let tensor = Tensor::constant(shape, weights);
    if scales.len() == 1 {
        tensor.with(Params { scale: scales[0], zero_point: 0 })
    } else {
        tensor.scales(scales, axis)
    }
}

fn activations(numbers: &mut Numbers, count: usize) -> Vec<f32> {
    let magnitude = f64::from(numbers.scale(-6.0, 6.0));
    let mut values = numbers.reals(count, magnitude);
    match numbers.within(0, 8) {
        0 => values.fill(0.0),
        1 => values.iter_mut().for_each(|value| *value = value.abs()),
        2 => values.iter_mut().for_each(|value| *value = -value.abs()),
        3 => values.iter_mut().take(count / 2).for_each(|value| *value = 0.0),
        _ => {}
    }
    values
}

fn fully_connected(suite: &mut Suite, numbers: &mut Numbers, count: usize) {
    for _ in 0..count {
        let (batch, units, depth) = (numbers.extent(1, 5), numbers.extent(1, 12), numbers.extent(1, 70));
        let per_channel = units > 1 && numbers.of(&[true, false]);
        let scales: Vec<f32> =
            (0..if per_channel { units } else { 1 }).map(|_| numbers.scale(-12.0, -4.0)).collect();
        let asymmetric = numbers.of(&[true, false]);
        let (activation, code) = numbers.of(&ACTIVATIONS);
        let x = activations(numbers, batch * depth);
        let weights = numbers.weights(units * depth);
        let bias = numbers.of(&[true, true, false]).then(|| numbers.reals(units, 1.0));
        let inputs = vec![
            Some(Tensor::input(&[batch, depth], x.clone())),
            Some(weight_tensor(&[units, depth], weights.clone(), &scales, 0)),
            bias.clone().map(|bias| Tensor::constant(&[units], bias)),
        ];
        let options = json!({
            "type": "FullyConnectedOptions",
            "fusedActivationFunction": code,
            "asymmetricQuantizeInputs": asymmetric,
        });
        let outputs = vec![Tensor::output::<f32>(&[batch, units])];
        let hybrid = Hybrid { weight_scales: scales, asymmetric, activation };
        suite.add("FULLY_CONNECTED", "hybrid", options, inputs, outputs, move || {
            let mut result = vec![0.0; batch * units];
            hybrid.fully_connected([units, depth], &x, &weights, bias.as_deref(), &mut result);
            vec![result.into()]
        });
    }
}

fn convolutions(suite: &mut Suite, numbers: &mut Numbers, kind: Kind, count: usize) {
    let mut made = 0;
    while made < count {
        let Some((geometry, same)) = geometry(numbers, kind) else { continue };
        made += 1;
        let channels = geometry.output_channels;
        let per_channel = kind != Kind::Full || numbers.of(&[true, false]);
        let mut scales: Vec<f32> =
            (0..if per_channel { channels } else { 1 }).map(|_| numbers.scale(-12.0, -4.0)).collect();
        if kind == Kind::Full && made % 7 == 0 {
            let first = scales[0];
            scales.fill(first);
        }
        if kind == Kind::Grouped && channels < 2 {
            continue;
        }
        let (activation, code) = numbers.of(&ACTIVATIONS);
        let x = activations(numbers, geometry.input_len());
        let weights = numbers.weights(geometry.weight_len());
        let bias = numbers.reals(channels, 1.0);
        let [height, width] = geometry.kernel;
        let weights_in_file = if kind == Kind::Depthwise {
            weight_tensor(&[1, height, width, channels], depthwise_layout(&weights, channels), &scales, 3)
        } else {
            weight_tensor(&[channels, height, width, geometry.group_inputs()], weights.clone(), &scales, 0)
        };
        let input_shape = [geometry.batch, geometry.input[0], geometry.input[1], geometry.input_channels];
        let output_shape = [geometry.batch, geometry.output[0], geometry.output[1], channels];
        let input = Some(Tensor::input(&input_shape, x.clone()));
        let bias_tensor = Some(Tensor::constant(&[channels], bias.clone()));
        let mut options = json!({
            "padding": if same { 0 } else { 1 },
            "strideH": geometry.stride[0],
            "strideW": geometry.stride[1],
            "fusedActivationFunction": code,
        });
        if kind != Kind::Transposed {
            options["dilationHFactor"] = geometry.dilation[0].into();
            options["dilationWFactor"] = geometry.dilation[1].into();
        }
        let (operator, kind_of_options, inputs) = match kind {
            Kind::Full | Kind::Grouped => {
                ("CONV_2D", "Conv2DOptions", vec![input, Some(weights_in_file), bias_tensor])
            }
            Kind::Depthwise => {
                options["depthMultiplier"] = (channels / geometry.groups).into();
                let inputs = vec![input, Some(weights_in_file), bias_tensor];
                ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", inputs)
            }
            Kind::Transposed => {
                let shape: Vec<i32> = output_shape.iter().map(|extent| *extent as i32).collect();
                let inputs =
                    vec![Some(Tensor::constant(&[4], shape)), Some(weights_in_file), input, bias_tensor];
                ("TRANSPOSE_CONV", "TransposeConvOptions", inputs)
            }
        };
        options["type"] = kind_of_options.into();
        let outputs = vec![Tensor::output::<f32>(&output_shape)];
        let hybrid = Hybrid { weight_scales: scales, asymmetric: false, activation };
        let label = if kind == Kind::Grouped { "in groups hybrid" } else { "hybrid" };
        suite.add(operator, label, options, inputs, outputs, move || {
            let mut result = vec![0.0; geometry.output_len()];
            match kind {
                Kind::Full | Kind::Grouped => {
                    hybrid.convolve(&geometry, &x, &weights, &bias, &mut result).expect("scales that differ");
                }
                Kind::Depthwise => hybrid.convolve_depthwise(&geometry, &x, &weights, &bias, &mut result),
                Kind::Transposed => hybrid.transposed(&geometry, &x, &weights, Some(&bias), &mut result),
            }
            vec![result.into()]
        });
    }
}

fn batch_matmul(suite: &mut Suite, numbers: &mut Numbers, count: usize) {
    let batches: [(&[usize], &[usize]); 4] = [(&[], &[]), (&[3], &[3]), (&[2], &[1]), (&[1], &[2])];
    for index in 0..count {
        let (left_batch, right_batch) = batches[index % batches.len()];
        let (rows, depth, columns) = (numbers.extent(1, 5), numbers.extent(1, 30), numbers.extent(1, 6));
        let shapes = MatrixShapes {
            left_batch: left_batch.to_vec(),
            right_batch: right_batch.to_vec(),
            rows,
            depth,
            columns,
            left_transposed: numbers.of(&[true, false]),
            right_transposed: numbers.of(&[true, false]),
        };
        let per_column = columns > 1 && numbers.of(&[true, false]);
        let scales: Vec<f32> =
            (0..if per_column { columns } else { 1 }).map(|_| numbers.scale(-12.0, -4.0)).collect();
        let asymmetric = numbers.of(&[true, false]);
        let shape = |batch: &[usize], transposed: bool, matrix: [usize; 2]| {
            let [first, second] = matrix;
            [batch, &if transposed { [second, first] } else { [first, second] }].concat()
        };
        let left_shape = shape(left_batch, shapes.left_transposed, [rows, depth]);
        let right_shape = shape(right_batch, shapes.right_transposed, [depth, columns]);
        let output_shape = shape(&broadcast::shape(left_batch, right_batch), false, [rows, columns]);
        let column_axis = right_shape.len() - if shapes.right_transposed { 2 } else { 1 };
        let x = activations(numbers, left_shape.iter().product());
        let weights = numbers.weights(right_shape.iter().product());
        let inputs = vec![
            Some(Tensor::input(&left_shape, x.clone())),
            Some(weight_tensor(&right_shape, weights.clone(), &scales, column_axis)),
        ];
        let options = json!({
            "type": "BatchMatMulOptions",
            "adjX": shapes.left_transposed,
            "adjY": shapes.right_transposed,
            "asymmetricQuantizeInputs": asymmetric,
        });
        let outputs = vec![Tensor::output::<f32>(&output_shape)];
        let hybrid = Hybrid { weight_scales: scales, asymmetric, activation: Activation::None };
        suite.add("BATCH_MATMUL", "hybrid", options, inputs, outputs, move || {
            let mut result = vec![0.0; output_shape.iter().product()];
            hybrid.batch_matmul(&shapes, &x, &weights, &mut result);
            vec![result.into()]
        });
    }
}

#[test]
#[ignore = "needs CALIPERS_TENSORFLOW_PYTHON"]
fn hybrid_operators_equal_litert() {
    let mut suite = Suite::default();
    let numbers = &mut Numbers(11);
    fully_connected(&mut suite, numbers, 200);
    convolutions(&mut suite, numbers, Kind::Full, 150);
    convolutions(&mut suite, numbers, Kind::Grouped, 50);
    convolutions(&mut suite, numbers, Kind::Depthwise, 150);
    convolutions(&mut suite, numbers, Kind::Transposed, 100);
    batch_matmul(&mut suite, numbers, 120);
    suite.compare();
}
