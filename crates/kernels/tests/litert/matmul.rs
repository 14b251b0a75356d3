//! Matrix products.

use calipers_kernels::convolution::ByteConstants;
use calipers_kernels::matmul::{Extent, PackedBytes, multiply_bytes};
use calipers_kernels::quantize::Params;
use calipers_kernels::tflite::matmul::{BatchMatMul, FullyConnected, MatrixShapes};
use calipers_kernels::tflite::{Accumulator, Activation, Element, broadcast};
use calipers_kernels::{Execution, Supported};
use serde_json::json;

use crate::suite::{Data, Numbers, Suite, Tensor, Typed};

const ACTIVATIONS: [(Activation, u8); 4] =
    [(Activation::None, 0), (Activation::Relu, 1), (Activation::ReluN1To1, 2), (Activation::Relu6, 3)];

fn output_multiplier(numbers: &mut Numbers, depth: usize) -> f32 {
    let bits = (depth as f64).log2() / 2.0 + 6.5;
    match numbers.within(0, 5) {
        0 => numbers.scale(-24.0, -16.0),
        1 => numbers.scale(0.0, 3.0),
        _ => numbers.scale(-bits - 2.0, -bits + 2.0),
    }
}

fn fully_connected<T, W, A>(suite: &mut Suite, numbers: &mut Numbers, label: &str, count: usize)
where
    T: Element + Typed,
    W: Element + Typed,
    A: Accumulator + Typed + TryFrom<i64>,
    Vec<T>: Into<Data>,
    Vec<W>: Into<Data>,
    Vec<A>: Into<Data>,
{
    for _ in 0..count {
        let unsigned = T::MIN == 0;
        let (batch, units, depth) = (numbers.extent(1, 5), numbers.extent(1, 12), numbers.extent(1, 40));
        let per_channel = !unsigned && units > 1 && numbers.of(&[true, false]);
        let input = Params { scale: numbers.scale(-9.0, 0.0), zero_point: numbers.zero_point::<T>() };
        let weight_zero_point = if T::MAX > 255 || per_channel { 0 } else { numbers.zero_point::<W>() };
        let scales: Vec<f32> =
            (0..if per_channel { units } else { 1 }).map(|_| numbers.scale(-12.0, -1.0)).collect();
        let output = Params {
            scale: input.scale * scales[0] / output_multiplier(numbers, depth),
            zero_point: numbers.zero_point::<T>(),
        };
        let (activation, code) = numbers.of(&ACTIVATIONS);
        let prepared = if W::MAX > 255 {
            FullyConnected::of_wide_weights([units, depth], input, &scales, output, activation)
        } else {
            FullyConnected::new::<T>([units, depth], input, &scales, weight_zero_point, output, activation)
        }
        .expect("valid scales");
        let x: Vec<T> = numbers.integers(batch * depth);
        let weights: Vec<W> = numbers.integers(units * depth);
        let bias: Option<Vec<A>> = numbers.of(&[true, true, false]).then(|| {
            (0..units)
                .map(|_| A::try_from(numbers.within(-9000, 9000)).ok().expect("a bias that fits"))
                .collect()
        });
        let weight_tensor = Tensor::constant(&[units, depth], weights.clone());
        let weight_tensor = if per_channel {
            weight_tensor.scales(&scales, 0)
        } else {
            weight_tensor.with(Params { scale: scales[0], zero_point: weight_zero_point })
        };
        let bias_scales: Vec<f32> = scales.iter().map(|scale| scale * input.scale).collect();
        let inputs = vec![
            Some(Tensor::input(&[batch, depth], x.clone()).with(input)),
            Some(weight_tensor),
            bias.clone().map(|bias| Tensor::constant(&[units], bias).scales(&bias_scales, 0)),
        ];
        let mut options = json!({"type": "FullyConnectedOptions", "fusedActivationFunction": code});
        if T::MAX > 255 {
            options["quantizedBiasType"] = if A::NAME == "INT64" { 4 } else { 2 }.into();
        }
        let outputs = vec![Tensor::output::<T>(&[batch, units]).with(output)];
        suite.add("FULLY_CONNECTED", label, options, inputs, outputs, move || {
            let mut result = vec![T::narrow(0); batch * units];
            if W::MAX > 255 {
                let bias: Option<Vec<i64>> = bias.map(|bias| {
                    let Data::I64(bias) = bias.into() else { panic!("a bias of 64 bits") };
                    bias
                });
                prepared.run(&x, &weights, bias.as_deref(), &mut result);
            } else {
                prepared.run(&x, &weights, bias.as_deref(), &mut result);
                let bias = bias.map(Into::into);
                if let (Data::I8(x), Data::I8(weights)) = (x.into(), weights.into()) {
                    let fast = packed(&prepared, &x, &weights, bias);
                    assert_eq!(result.clone().into(), Data::from(fast), "the packed kernel");
                }
            }
            vec![result.into()]
        });
    }
}

/// The same by packed weights, whose kernels take TFLite's requantization too.
fn packed(prepared: &FullyConnected, x: &[i8], weights: &[i8], bias: Option<Data>) -> Vec<i8> {
    let bias = bias.map(|bias| {
        let Data::I32(bias) = bias else { panic!("a bias of 32 bits") };
        bias
    });
    let constants = ByteConstants {
        input_zero_point: prepared.input_zero_point,
        weight_zero_points: &[prepared.weight_zero_point],
        bias: bias.as_deref(),
    };
    let extent = Extent { outputs: prepared.units, depth: prepared.depth };
    let weights = PackedBytes::pack(Supported::detect(), extent, weights, constants);
    let mut output = vec![0i8; x.len() / prepared.depth * prepared.units];
    multiply_bytes(Execution::single(), x, &weights, &prepared.requantization, &mut output);
    output
}

fn batch_matmul<T, W, A>(suite: &mut Suite, numbers: &mut Numbers, label: &str, count: usize)
where
    T: Element + Typed,
    W: Element + Typed,
    A: Accumulator,
    Vec<T>: Into<Data>,
    Vec<W>: Into<Data>,
{
    let batches: [(&[usize], &[usize]); 7] = [
        (&[], &[]),
        (&[3], &[3]),
        (&[2], &[1]),
        (&[1], &[2]),
        (&[2, 3], &[2, 3]),
        (&[2, 1], &[1, 3]),
        (&[2, 1, 2], &[2, 3, 1]),
    ];
    for index in 0..count {
        let (left_batch, right_batch) = batches[index % batches.len()];
        let (rows, depth, columns) = (numbers.extent(1, 5), numbers.extent(1, 20), numbers.extent(1, 6));
        let shapes = MatrixShapes {
            left_batch: left_batch.to_vec(),
            right_batch: right_batch.to_vec(),
            rows,
            depth,
            columns,
            left_transposed: numbers.of(&[true, false]),
            right_transposed: numbers.of(&[true, false]),
        };
        let left = Params { scale: numbers.scale(-9.0, 0.0), zero_point: numbers.zero_point::<T>() };
        let right = Params {
            scale: numbers.scale(-9.0, 0.0),
            zero_point: if T::MAX > 255 { 0 } else { numbers.zero_point::<W>() },
        };
        let output = Params {
            scale: left.scale * right.scale / output_multiplier(numbers, depth),
            zero_point: numbers.zero_point::<T>(),
        };
        let prepared = BatchMatMul::new::<T>(shapes.clone(), left, right, output).expect("valid scales");
        let shape = |batch: &[usize], transposed: bool, matrix: [usize; 2]| {
            let [first, second] = matrix;
            [batch, &if transposed { [second, first] } else { [first, second] }].concat()
        };
        let left_shape = shape(left_batch, shapes.left_transposed, [rows, depth]);
        let right_shape = shape(right_batch, shapes.right_transposed, [depth, columns]);
        let output_shape = shape(&broadcast::shape(left_batch, right_batch), false, [rows, columns]);
        let x: Vec<T> = numbers.integers(left_shape.iter().product());
        let y: Vec<W> = numbers.integers(right_shape.iter().product());
        let inputs = vec![
            Some(Tensor::input(&left_shape, x.clone()).with(left)),
            Some(Tensor::input(&right_shape, y.clone()).with(right)),
        ];
        let options = json!({
            "type": "BatchMatMulOptions",
            "adjX": shapes.left_transposed,
            "adjY": shapes.right_transposed,
        });
        let outputs = vec![Tensor::output::<T>(&output_shape).with(output)];
        suite.add("BATCH_MATMUL", label, options, inputs, outputs, move || {
            let mut result = vec![T::narrow(0); output_shape.iter().product()];
            prepared.run::<T, W, A>(&x, &y, &mut result);
            vec![result.into()]
        });
    }
}

#[test]
#[ignore = "needs CALIPERS_TENSORFLOW_PYTHON"]
fn matrix_products_equal_litert() {
    let mut suite = Suite::default();
    let numbers = &mut Numbers(3);
    fully_connected::<i8, i8, i32>(&mut suite, numbers, "INT8", 250);
    fully_connected::<u8, u8, i32>(&mut suite, numbers, "UINT8", 80);
    fully_connected::<i16, i8, i64>(&mut suite, numbers, "INT16 of INT64 sums", 120);
    fully_connected::<i16, i8, i32>(&mut suite, numbers, "INT16 of INT32 sums", 80);
    fully_connected::<i16, i16, i64>(&mut suite, numbers, "INT16 by INT16", 60);
    batch_matmul::<i8, i8, i32>(&mut suite, numbers, "INT8", 210);
    batch_matmul::<i16, i16, i64>(&mut suite, numbers, "INT16", 105);
    batch_matmul::<i16, i8, i64>(&mut suite, numbers, "INT16 by INT8", 105);
    suite.compare();
}
