//! Quantization on every instruction set against the formula in f64, and its corner cases.

use super::{Params, dequantize, quantize};
use crate::isa::{Execution, Supported};

fn executions() -> Vec<Execution> {
    Supported::all().into_iter().flat_map(|isa| [1, 2].map(|threads| Execution { isa, threads })).collect()
}

#[test]
fn halves_go_to_even_and_results_saturate() {
    let input = [-0.5, 0.5, 1.5, 2.5, -1000.0, 1000.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    for execution in executions() {
        let mut unsigned = [0u8; 9];
        quantize(execution, &input, &[Params { scale: 1.0, zero_point: 7 }], 1, &mut unsigned);
        assert_eq!(unsigned, [7, 7, 9, 9, 0, 255, 0, 255, 0]);
        let mut signed = [0i8; 9];
        quantize(execution, &input, &[Params { scale: 0.5, zero_point: -1 }], 1, &mut signed);
        assert_eq!(signed, [-2, 0, 2, 4, -128, 127, -128, 127, -128]);
    }
}

#[test]
fn each_slice_has_its_own_parameters() {
    let params = [Params { scale: 0.5, zero_point: 0 }, Params { scale: 2.0, zero_point: 10 }];
    for execution in executions() {
        let mut last = [0i8; 4];
        quantize(execution, &[1.0, 4.0, -3.0, -6.0], &params, 1, &mut last);
        assert_eq!(last, [2, 12, -6, 7]);
        let mut first = [0i8; 4];
        quantize(execution, &[1.0, 4.0, -3.0, -6.0], &params, 2, &mut first);
        assert_eq!(first, [2, 8, 8, 7]);
        let mut back = [0.0; 4];
        dequantize(execution, &first, &params, 2, &mut back);
        assert_eq!(back, [1.0, 4.0, -4.0, -6.0]);
    }
}

#[test]
fn accumulators_are_dequantized() {
    let mut real = [0.0; 3];
    dequantize(
        Execution::single(),
        &[-3i32, 0, 1 << 24],
        &[Params { scale: 0.25, zero_point: 0 }],
        1,
        &mut real,
    );
    assert_eq!(real, [-0.75, 0.0, 4_194_304.0]);
}

#[test]
fn long_runs_equal_the_formula() {
    let input: Vec<f32> = (0..70_001).map(|index| (index as f32 - 35_000.0) * 0.0123).collect();
    for execution in executions() {
        let mut output = vec![0u8; input.len()];
        quantize(execution, &input, &[Params { scale: 0.9, zero_point: 128 }], 1, &mut output);
        for (x, q) in input.iter().zip(&output) {
            let exact = (x / 0.9).round_ties_even() as i32 + 128;
            assert_eq!(i32::from(*q), exact.clamp(0, 255));
        }
    }
}
