//! Elementwise functions on every instruction set against plain arithmetic.

use super::{Addition, Binary, Broadcast, add_bytes, binary, clip};
use crate::isa::{Execution, Supported};
use crate::quantize::Params;

fn executions() -> Vec<Execution> {
    Supported::all().into_iter().flat_map(|isa| [1, 2].map(|threads| Execution { isa, threads })).collect()
}

#[test]
fn the_byte_sum_is_the_nearest_and_the_same_everywhere() {
    let left: Vec<u8> = (0..=255).flat_map(|a| (0..=255).map(move |_: u32| a)).collect();
    let right: Vec<u8> = (0..=255).flat_map(|_: u32| 0..=255).collect();
    let params = |scale, zero_point| Params { scale, zero_point };
    for (a, b, c, range) in [
        (params(0.1, 0), params(0.03, 128), params(0.09, 5), [0, 255]),
        (params(0.02, 255), params(0.02, 0), params(0.04, 100), [100, 255]),
    ] {
        let addition = Addition::new(a, b, c, range);
        let mut first: Option<Vec<u8>> = None;
        for execution in executions() {
            let mut output = vec![0u8; left.len()];
            add_bytes(execution, &addition, &left, &right, &mut output);
            for ((x, y), found) in left.iter().zip(&right).zip(&output) {
                let real = f64::from(a.scale) * f64::from(i32::from(*x) - a.zero_point)
                    + f64::from(b.scale) * f64::from(i32::from(*y) - b.zero_point);
                let exact = real / f64::from(c.scale) + f64::from(c.zero_point);
                let exact = exact.clamp(f64::from(range[0]), f64::from(range[1]));
                assert!((f64::from(*found) - exact).abs() < 0.501, "{x} + {y}: {found}, {exact}");
            }
            match &first {
                Some(first) => assert_eq!(&output, first, "{execution:?}"),
                None => first = Some(output),
            }
        }
    }
}

#[test]
fn operands_are_broadcast_as_in_numpy() {
    let cases: [(&[usize], &[usize], &[f32]); 6] = [
        (&[2, 3], &[3], &[0.0, 2.0, 4.0, 3.0, 5.0, 7.0]),
        (&[2, 1], &[1, 3], &[0.0, 1.0, 2.0, 1.0, 2.0, 3.0]),
        (&[], &[2], &[0.0, 1.0]),
        (&[3], &[], &[0.0, 1.0, 2.0]),
        (&[2, 2, 2], &[2, 1, 2], &[0.0, 2.0, 2.0, 4.0, 6.0, 8.0, 8.0, 10.0]),
        (&[1, 1], &[1], &[0.0]),
    ];
    for (left, right, expected) in cases {
        let broadcast = Broadcast::new(left, right).expect("the shapes fit");
        let arange =
            |shape: &[usize]| (0..shape.iter().product()).map(|x: usize| x as f32).collect::<Vec<f32>>();
        for execution in executions() {
            let mut output = vec![-1.0; expected.len()];
            let all = [f32::NEG_INFINITY, f32::INFINITY];
            binary(execution, Binary::Add, &broadcast, &arange(left), &arange(right), all, &mut output);
            assert_eq!(output, expected, "{left:?} {right:?}");
        }
    }
    assert_eq!(Broadcast::new(&[2, 3], &[2]), None);
}

#[test]
fn functions_and_limits() {
    let broadcast = Broadcast::new(&[3], &[3]).expect("the shapes fit");
    let (left, right) = ([6.0, -8.0, 1.0], [3.0, 2.0, -4.0]);
    for (function, expected) in [
        (Binary::Add, [5.0, -6.0, -3.0]),
        (Binary::Sub, [3.0, -9.0, 5.0]),
        (Binary::Mul, [5.0, -9.0, -4.0]),
        (Binary::Div, [2.0, -4.0, -0.25]),
    ] {
        let mut output = [0.0; 3];
        binary(Execution::single(), function, &broadcast, &left, &right, [-9.0, 5.0], &mut output);
        assert_eq!(output, expected, "{function:?}");
    }
    let mut output = [0.0; 4];
    clip(Execution::single(), &[-1.0, 0.5, 9.0, f32::NAN], [0.0, 6.0], &mut output);
    assert_eq!(output[..3], [0.0, 0.5, 6.0]);
    assert!(output[3].is_nan());
}
