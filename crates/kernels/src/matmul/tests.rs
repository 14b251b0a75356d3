//! One table of extents, run on every instruction set and thread count against the definitions.

use super::{
    Extent, PackedBytes, PackedFloats, multiply_bytes, multiply_bytes_to_floats, multiply_floats, scalar,
};
use crate::convolution::ByteConstants;
use crate::isa::{Execution, Supported};
use crate::requant::Requantization;
use crate::storage::Quantized;

/// Rows, outputs, depth.
const EXTENTS: &[(usize, usize, usize)] = &[
    (1, 1, 1),
    (1, 10, 512),
    (128, 10, 64),
    (7, 65, 13),
    (13, 64, 4),
    (12, 33, 32),
    (5, 200, 100),
    (49, 130, 260),
    (2, 0, 4),
    (0, 3, 4),
    (3, 4, 0),
];

fn pattern(index: usize, seed: usize) -> i32 {
    (index.wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503)) >> 7 & 255) as i32
}

fn executions() -> Vec<Execution> {
    Supported::all().into_iter().flat_map(|isa| [1, 2].map(|threads| Execution { isa, threads })).collect()
}

fn bytes_equal_the_definition<T: Quantized>() {
    let mut compared = 0;
    for (case, &(rows, outputs, depth)) in EXTENTS.iter().enumerate() {
        let extent = Extent { outputs, depth };
        let input: Vec<T> = (0..rows * depth).map(|index| T::narrow(pattern(index, case) + T::MIN)).collect();
        let weights: Vec<i8> =
            (0..outputs * depth).map(|index| (pattern(index, case + 50) - 128) as i8).collect();
        let bias: Vec<i32> = (0..outputs).map(|index| pattern(index, 9) * 31 - 4000).collect();
        let zero_points: Vec<i32> = (0..outputs).map(|index| pattern(index, 3) - 128).collect();
        let scales: Vec<f32> = (0..outputs).map(|index| 0.001 + index as f32 * 1e-4).collect();
        for (weight_zero_points, bias) in [(&zero_points[..], None), (&[0][..], Some(&bias[..]))] {
            let requantization = Requantization::onnx_runtime(0.5, &scales, 1.0, 3, [T::MIN, T::MAX]);
            let constants = ByteConstants { input_zero_point: T::MIN + 77, weight_zero_points, bias };
            let mut expected = vec![T::narrow(0); rows * outputs];
            let mut expected_floats = vec![0.0; rows * outputs];
            scalar::multiply_bytes(
                extent,
                &input,
                constants.input_zero_point,
                &weights,
                weight_zero_points,
                bias,
                &requantization,
                &mut expected,
            );
            scalar::multiply_bytes_to_floats(
                extent,
                &input,
                constants.input_zero_point,
                &weights,
                weight_zero_points,
                bias,
                &scales,
                &mut expected_floats,
            );
            for execution in executions() {
                let packed = PackedBytes::<T>::pack(execution.isa, extent, &weights, constants);
                let mut output = vec![T::narrow(0); rows * outputs];
                multiply_bytes(execution, &input, &packed, &requantization, &mut output);
                assert_eq!(output, expected, "{execution:?} {rows} {extent:?}");
                let mut floats = vec![0.0; rows * outputs];
                multiply_bytes_to_floats(execution, &input, &packed, &scales, &mut floats);
                assert_eq!(floats, expected_floats, "{execution:?} {rows} {extent:?}");
                compared += 1;
            }
        }
    }
    assert!(compared > 0, "no kernel was compared");
}

#[test]
fn unsigned_bytes_equal_the_definition() {
    bytes_equal_the_definition::<u8>();
}

#[test]
fn signed_bytes_equal_the_definition() {
    bytes_equal_the_definition::<i8>();
}

#[test]
fn floats_equal_the_definition() {
    for (case, &(rows, outputs, depth)) in EXTENTS.iter().enumerate() {
        let extent = Extent { outputs, depth };
        let unit = |index: usize, seed: usize| pattern(index, seed) as f32 / 128.0 - 1.0;
        let input: Vec<f32> = (0..rows * depth).map(|index| unit(index, case)).collect();
        let weights: Vec<f32> = (0..outputs * depth).map(|index| unit(index, case + 50)).collect();
        let bias: Vec<f32> = (0..outputs).map(|index| unit(index, 3)).collect();
        let mut expected = vec![0.0; rows * outputs];
        scalar::multiply_floats(extent, &input, &weights, Some(&bias), [-4.0, 5.0], &mut expected);
        for execution in executions() {
            let packed = PackedFloats::pack(execution.isa, extent, &weights);
            let mut output = vec![0.0; rows * outputs];
            multiply_floats(execution, &input, &packed, Some(&bias), [-4.0, 5.0], &mut output);
            assert_eq!(output, expected, "{execution:?} {extent:?}");
        }
    }
}

// numpy: (x - 10) @ (w - [0, 1]).T + [5, -5] for x [[0, 255, 3], [10, 11, 12]], w [[1, -2, 3], [127, -128, 0]].
#[test]
fn the_definition_equals_numpy() {
    let one = Requantization::onnx_runtime(1.0, &[1.0], 1.0, 0, [i32::MIN >> 12, i32::MAX >> 12]);
    let mut sums = Vec::new();
    let input = [0u8, 255, 3, 10, 11, 12];
    let weights = [1i8, -2, 3, 127, -128, 0];
    let extent = Extent { outputs: 2, depth: 3 };
    scalar::sums(extent, &input, 10, &weights, &[0, 1], Some(&[5, -5]), 4, |index, sum| {
        assert_eq!(one.apply(sum, index % 2), sum);
        sums.push(sum);
    });
    assert_eq!(sums, [-516, -32863, 9, -136]);
}
