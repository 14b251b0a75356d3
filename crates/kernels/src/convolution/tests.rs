//! One table of shapes, run on every instruction set and thread count against the definitions, and the definitions
//! against PyTorch.

use super::{ByteConstants, Geometry, PackedBytes, PackedFloats, convolve_bytes, convolve_floats, scalar};
use crate::isa::{Execution, Supported};
use crate::requant::Requantization;
use crate::storage::Quantized;

/// A seeded generator of 64-bit words (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn byte(&mut self) -> i32 {
        // Extremes are likelier than chance makes them.
        match self.below(8) {
            0 => 0,
            1 => 255,
            _ => self.below(256) as i32,
        }
    }

    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// Input extent, kernel, stride, dilation, pad, groups, input and output channels.
type Row = ([usize; 2], [usize; 2], [usize; 2], [usize; 2], [usize; 2], usize, usize, usize);

const SHAPES: &[Row] = &[
    ([1, 1], [1, 1], [1, 1], [1, 1], [0, 0], 1, 1, 1),
    ([5, 7], [1, 1], [1, 1], [1, 1], [0, 0], 1, 8, 5),
    ([5, 7], [1, 1], [1, 1], [1, 1], [0, 0], 1, 6, 70),
    ([8, 8], [1, 1], [2, 2], [1, 1], [0, 0], 1, 64, 128),
    ([9, 8], [3, 3], [1, 1], [1, 1], [1, 1], 1, 3, 17),
    ([16, 16], [7, 7], [2, 2], [1, 1], [3, 3], 1, 3, 64),
    ([2, 2], [3, 3], [2, 2], [1, 1], [1, 1], 1, 160, 130),
    ([1, 1], [3, 3], [1, 1], [1, 1], [1, 1], 1, 64, 33),
    ([9, 5], [3, 2], [2, 1], [2, 3], [2, 3], 1, 5, 9),
    ([6, 6], [3, 3], [1, 1], [1, 1], [1, 1], 2, 6, 8),
    ([6, 6], [3, 3], [1, 1], [1, 1], [1, 1], 3, 12, 99),
    ([7, 6], [3, 3], [2, 2], [1, 1], [1, 1], 24, 24, 24),
    ([7, 6], [3, 3], [1, 1], [1, 1], [1, 1], 4, 4, 8),
    ([1, 13], [1, 5], [1, 2], [1, 1], [0, 2], 1, 7, 4),
];

fn geometry(row: &Row, batch: usize) -> Geometry {
    let (input, kernel, stride, dilation, pad, groups, input_channels, output_channels) = *row;
    let extent = |axis: usize| {
        (input[axis] + 2 * pad[axis] - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis] + 1
    };
    Geometry {
        batch,
        input,
        input_channels,
        output: [extent(0), extent(1)],
        output_channels,
        kernel,
        stride,
        dilation,
        pad_begin: pad,
        groups,
    }
}

fn random_row(random: &mut Random) -> Row {
    let groups = [1, 1, 1, 2][random.below(4)];
    let kernel = [1 + random.below(3), 1 + random.below(3)];
    let dilation = [1 + random.below(2), 1 + random.below(2)];
    let reach = |axis: usize| dilation[axis] * (kernel[axis] - 1) + 1;
    (
        [reach(0) + random.below(6), reach(1) + random.below(6)],
        kernel,
        [1 + random.below(2), 1 + random.below(2)],
        dilation,
        [random.below(2), random.below(2)],
        groups,
        groups * (1 + random.below(20)),
        groups * (1 + random.below(70)),
    )
}

/// Every instruction set, with one thread and with three.
fn executions() -> Vec<Execution> {
    Supported::all().into_iter().flat_map(|isa| [1, 3].map(|threads| Execution { isa, threads })).collect()
}

fn all_shapes() -> Vec<Geometry> {
    let mut random = Random(7);
    let drawn: Vec<Row> = (0..40).map(|_| random_row(&mut random)).collect();
    SHAPES.iter().chain(&drawn).flat_map(|row| [geometry(row, 1), geometry(row, 3)]).collect()
}

fn bytes_equal_the_definition<T: Quantized>(seed: u64) {
    let mut random = Random(seed);
    let mut compared = 0;
    for geometry in all_shapes() {
        let channels = geometry.output_channels;
        let input: Vec<T> = (0..geometry.input_len()).map(|_| T::narrow(random.byte() + T::MIN)).collect();
        let weights: Vec<i8> = (0..geometry.weight_len()).map(|_| (random.byte() - 128) as i8).collect();
        let bias: Vec<i32> = (0..channels).map(|_| random.next() as i32 >> 16).collect();
        let input_zero_point = random.byte() + T::MIN;
        let weight_zero_points = match random.below(3) {
            0 => vec![0],
            1 => vec![random.byte() - 128],
            _ => (0..channels).map(|_| random.byte() - 128).collect(),
        };
        let scales: Vec<f32> = match random.below(2) {
            0 => vec![0.002],
            _ => (0..channels).map(|_| 0.001 + random.unit().abs() * 0.01).collect(),
        };
        let zero_point = random.byte() + T::MIN;
        let bias = (random.below(4) > 0).then_some(bias.as_slice());
        let range = [[T::MIN, T::MAX], [zero_point, T::MAX]][random.below(2)];
        let requantization = Requantization::onnx_runtime(0.3, &scales, 0.7, zero_point, range);
        let constants = ByteConstants { input_zero_point, weight_zero_points: &weight_zero_points, bias };

        let mut expected = vec![T::narrow(0); geometry.output_len()];
        scalar::convolve_bytes(
            &geometry,
            &input,
            input_zero_point,
            &weights,
            &weight_zero_points,
            bias,
            &requantization,
            &mut expected,
        );
        for execution in executions() {
            let packed = PackedBytes::<T>::pack(execution.isa, &geometry, &weights, constants);
            let mut output = vec![T::narrow(0); geometry.output_len()];
            convolve_bytes(execution, &geometry, &input, &packed, &requantization, &mut output);
            assert_eq!(output, expected, "{execution:?} {geometry:?} {constants:?}");
            compared += 1;
        }
    }
    assert!(compared > 0, "no kernel was compared");
}

#[test]
fn unsigned_bytes_equal_the_definition() {
    bytes_equal_the_definition::<u8>(1);
}

#[test]
fn signed_bytes_equal_the_definition() {
    bytes_equal_the_definition::<i8>(2);
}

#[test]
fn floats_equal_the_definition() {
    let mut random = Random(3);
    let mut compared = 0;
    for geometry in all_shapes() {
        let input: Vec<f32> = (0..geometry.input_len()).map(|_| random.unit()).collect();
        let weights: Vec<f32> = (0..geometry.weight_len()).map(|_| random.unit()).collect();
        let bias: Vec<f32> = (0..geometry.output_channels).map(|_| random.unit()).collect();
        let bias = (random.below(4) > 0).then_some(bias.as_slice());
        let range = [[f32::NEG_INFINITY, f32::INFINITY], [0.0, 6.0]][random.below(2)];
        let mut expected = vec![0.0; geometry.output_len()];
        scalar::convolve_floats(&geometry, &input, &weights, bias, range, &mut expected);
        for execution in executions() {
            let packed = PackedFloats::pack(execution.isa, &geometry, &weights);
            let mut output = vec![0.0; geometry.output_len()];
            convolve_floats(execution, &geometry, &input, &packed, bias, range, &mut output);
            assert_eq!(output, expected, "{execution:?} {geometry:?}");
            compared += 1;
        }
    }
    assert!(compared > 0, "no kernel was compared");
}

/// Reads `name: numbers` lines.
fn golden(name: &str) -> Vec<f64> {
    let text = include_str!("../../../../testdata/golden/kernels/convolution.txt");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).expect(name);
    line.split(' ').map(|number| number.parse().expect("a number")).collect()
}

#[test]
fn definitions_equal_pytorch() {
    for (index, (row, batch)) in
        [(SHAPES[4], 2), (SHAPES[8], 1), (SHAPES[9], 1), (SHAPES[11], 1)].into_iter().enumerate()
    {
        let geometry = geometry(&row, batch);
        let read = |name: &str| golden(&format!("{index}.{name}"));
        let input: Vec<f32> = read("input").iter().map(|x| *x as f32).collect();
        let weights: Vec<f32> = read("weight").iter().map(|x| *x as f32).collect();
        let bias: Vec<f32> = read("bias").iter().map(|x| *x as f32).collect();
        let mut output = vec![0.0; geometry.output_len()];
        let all = [f32::NEG_INFINITY, f32::INFINITY];
        scalar::convolve_floats(&geometry, &input, &weights, Some(&bias), all, &mut output);
        let expected = read("output");
        // The numbers are small whole numbers: every sum is exact.
        assert_eq!(output.iter().map(|y| f64::from(*y)).collect::<Vec<f64>>(), expected, "{geometry:?}");

        let bytes: Vec<i8> = input.iter().map(|x| *x as i8).collect();
        let weights: Vec<i8> = weights.iter().map(|x| *x as i8).collect();
        let bias: Vec<i32> = bias.iter().map(|x| *x as i32).collect();
        let one = Requantization::onnx_runtime(1.0, &[1.0], 1.0, 0, [-128, 127]);
        let mut output = vec![0i8; geometry.output_len()];
        scalar::convolve_bytes(&geometry, &bytes, 0, &weights, &[0], Some(&bias), &one, &mut output);
        let clamped: Vec<i8> = expected.iter().map(|y| y.clamp(-128.0, 127.0) as i8).collect();
        assert_eq!(output, clamped, "{geometry:?}");
    }
}
