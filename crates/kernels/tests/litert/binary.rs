//! Operators on two operands.

use calipers_kernels::quantize::Params;
use calipers_kernels::tflite::binary::{Binary, BinaryOperation, Comparison, Extremum, Prelu, Relation};
use calipers_kernels::tflite::{Activation, Element, broadcast};
use serde_json::{Value, json};

use crate::suite::{Data, Numbers, Suite, Tensor, Typed};

const ACTIVATIONS: [(Activation, u8); 4] =
    [(Activation::None, 0), (Activation::Relu, 1), (Activation::ReluN1To1, 2), (Activation::Relu6, 3)];

const SHAPES: [(&[usize], &[usize]); 8] = [
    (&[64], &[64]),
    (&[2, 3, 4, 5], &[2, 3, 4, 5]),
    (&[2, 3, 4, 5], &[5]),
    (&[1], &[3, 17]),
    (&[2, 1, 4, 1], &[3, 1, 5]),
    (&[2, 3, 1, 5], &[2, 1, 4, 5]),
    (&[1, 1, 1, 1], &[2, 2, 2, 2]),
    (&[2, 1, 3, 1, 2], &[2, 2, 1, 3, 1]),
];

fn params<T: Element>(numbers: &mut Numbers, low: f64, high: f64) -> Params {
    Params { scale: numbers.scale(low, high), zero_point: numbers.zero_point::<T>() }
}

fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

fn arithmetic<T: Element + Typed>(
    suite: &mut Suite,
    numbers: &mut Numbers,
    operation: BinaryOperation,
    operator: &str,
    cases: usize,
) where
    Vec<T>: Into<Data>,
{
    for index in 0..cases {
        let (left_shape, right_shape) = SHAPES[index % SHAPES.len()];
        let shape = broadcast::shape(left_shape, right_shape);
        let (activation, code) = if operation == BinaryOperation::SquaredDifference {
            ACTIVATIONS[0]
        } else {
            numbers.of(&ACTIVATIONS)
        };
        let wide = T::MAX > 255;
        let mut left = params::<T>(numbers, -10.0, 2.0);
        let mut right = params::<T>(numbers, -10.0, 2.0);
        let mut output = params::<T>(numbers, -10.0, 2.0);
        match operation {
            BinaryOperation::Multiply => output.scale = left.scale * right.scale * numbers.scale(-3.0, 22.0),
            BinaryOperation::Divide => {
                output.scale = left.scale / right.scale * numbers.scale(-2.0, 8.0);
            }
            BinaryOperation::SquaredDifference => {
                output.scale = left.scale.max(right.scale).powi(2) * numbers.scale(-3.0, 12.0);
            }
            _ => output.scale = left.scale.max(right.scale) * numbers.scale(-3.0, 4.0),
        }
        let powers = wide && index % 3 == 0 && left_shape == right_shape;
        if powers {
            output.scale = 2f32.powi(-(index as i32 % 9) - 4);
            left.scale = output.scale;
            right.scale = output.scale * 2f32.powi(-(index as i32 % 7));
            if index % 2 == 0 {
                std::mem::swap(&mut left.scale, &mut right.scale);
            }
        }
        let Ok(prepared) = Binary::new::<T>(operation, left, right, output, activation, powers) else {
            continue;
        };
        let x: Vec<T> = numbers.integers(count(left_shape));
        let mut y: Vec<T> = numbers.integers(count(right_shape));
        if operation == BinaryOperation::Divide {
            let other = if right.zero_point == T::MAX { right.zero_point - 1 } else { right.zero_point + 1 };
            y.iter_mut().filter(|y| y.widen() == right.zero_point).for_each(|y| *y = T::narrow(other));
        }
        let mut options = match operation {
            BinaryOperation::Add => json!({"type": "AddOptions", "potScaleInt16": powers}),
            BinaryOperation::Subtract => json!({"type": "SubOptions", "potScaleInt16": powers}),
            BinaryOperation::Multiply => json!({"type": "MulOptions"}),
            BinaryOperation::Divide => json!({"type": "DivOptions"}),
            BinaryOperation::SquaredDifference => json!({"type": "SquaredDifferenceOptions"}),
        };
        if operation != BinaryOperation::SquaredDifference {
            options["fusedActivationFunction"] = code.into();
        }
        let inputs = vec![
            Some(Tensor::input(left_shape, x.clone()).with(left)),
            Some(Tensor::input(right_shape, y.clone()).with(right)),
        ];
        let outputs = vec![Tensor::output::<T>(&shape).with(output)];
        suite.add(operator, T::NAME, options, inputs, outputs, move || {
            let mut result = vec![T::narrow(0); count(&shape)];
            prepared.run((&x, left_shape), (&y, right_shape), &mut result);
            vec![result.into()]
        });
    }
}

fn comparisons<T: Element + Typed>(suite: &mut Suite, numbers: &mut Numbers)
where
    Vec<T>: Into<Data>,
{
    let relations = [
        (Relation::Equal, "EQUAL", "EqualOptions"),
        (Relation::NotEqual, "NOT_EQUAL", "NotEqualOptions"),
        (Relation::Greater, "GREATER", "GreaterOptions"),
        (Relation::GreaterEqual, "GREATER_EQUAL", "GreaterEqualOptions"),
        (Relation::Less, "LESS", "LessOptions"),
        (Relation::LessEqual, "LESS_EQUAL", "LessEqualOptions"),
    ];
    for (relation, operator, options) in relations {
        for (index, (left_shape, right_shape)) in SHAPES.iter().copied().enumerate() {
            let shape = broadcast::shape(left_shape, right_shape);
            if shape.len() > 4 {
                continue;
            }
            let left = params::<T>(numbers, -8.0, -0.1);
            let mut right = params::<T>(numbers, -8.0, -0.1);
            if index % 2 == 0 {
                right = left;
            }
            let prepared = Comparison::new(relation, left, right).expect("valid scales");
            let (x, y): (Vec<T>, Vec<T>) =
                (numbers.integers(count(left_shape)), numbers.integers(count(right_shape)));
            let inputs = vec![
                Some(Tensor::input(left_shape, x.clone()).with(left)),
                Some(Tensor::input(right_shape, y.clone()).with(right)),
            ];
            let outputs = vec![Tensor::output::<bool>(&shape)];
            suite.add(operator, T::NAME, json!({"type": options}), inputs, outputs, move || {
                let mut result = vec![false; count(&shape)];
                prepared.run((&x, left_shape), (&y, right_shape), &mut result);
                vec![result.into()]
            });
        }
    }
}

fn extrema<T: Element + Typed>(suite: &mut Suite, numbers: &mut Numbers)
where
    Vec<T>: Into<Data>,
{
    for (extremum, operator) in [(Extremum::Maximum, "MAXIMUM"), (Extremum::Minimum, "MINIMUM")] {
        for (left_shape, right_shape) in SHAPES {
            let shape = broadcast::shape(left_shape, right_shape);
            let params = params::<T>(numbers, -8.0, 0.0);
            let (x, y): (Vec<T>, Vec<T>) =
                (numbers.integers(count(left_shape)), numbers.integers(count(right_shape)));
            let inputs = vec![
                Some(Tensor::input(left_shape, x.clone()).with(params)),
                Some(Tensor::input(right_shape, y.clone()).with(params)),
            ];
            let options = json!({"type": "MaximumMinimumOptions"});
            let outputs = vec![Tensor::output::<T>(&shape).with(params)];
            suite.add(operator, T::NAME, options, inputs, outputs, move || {
                let mut result = vec![T::narrow(0); count(&shape)];
                extremum.run((&x, left_shape), (&y, right_shape), &mut result);
                vec![result.into()]
            });
        }
    }
}

fn prelu<T: Element + Typed, U: Element + Typed>(suite: &mut Suite, numbers: &mut Numbers)
where
    Vec<T>: Into<Data>,
    Vec<U>: Into<Data>,
{
    let shapes: [(&[usize], &[usize]); 3] =
        [(&[2, 3, 4, 5], &[5]), (&[2, 3, 4, 5], &[1, 1, 5]), (&[3, 7], &[3, 7])];
    for index in 0..24 {
        let (shape, alpha_shape) = shapes[index % shapes.len()];
        let input = params::<T>(numbers, -8.0, 0.0);
        let alpha = params::<U>(numbers, -8.0, 0.0);
        let mut output = params::<T>(numbers, -8.0, 0.0);
        output.scale = input.scale * numbers.scale(-4.0, 4.0);
        let prepared = Prelu::new(input, alpha, output).expect("valid scales");
        let x: Vec<T> = numbers.integers(count(shape));
        let slopes: Vec<U> = numbers.integers(count(alpha_shape));
        let inputs = vec![
            Some(Tensor::input(shape, x.clone()).with(input)),
            Some(Tensor::constant(alpha_shape, slopes.clone()).with(alpha)),
        ];
        let outputs = vec![Tensor::output::<T>(shape).with(output)];
        suite.add("PRELU", T::NAME, Value::Null, inputs, outputs, move || {
            let mut result = vec![T::narrow(0); count(shape)];
            prepared.run((&x, shape), (&slopes, alpha_shape), &mut result);
            vec![result.into()]
        });
    }
}

#[test]
#[ignore = "needs CALIPERS_TENSORFLOW_PYTHON"]
fn binary_operators_equal_litert() {
    let mut suite = Suite::default();
    let numbers = &mut Numbers(1);
    for (operation, operator) in [
        (BinaryOperation::Add, "ADD"),
        (BinaryOperation::Subtract, "SUB"),
        (BinaryOperation::Multiply, "MUL"),
        (BinaryOperation::Divide, "DIV"),
    ] {
        arithmetic::<i8>(&mut suite, numbers, operation, operator, 120);
        arithmetic::<u8>(&mut suite, numbers, operation, operator, 60);
        arithmetic::<i16>(&mut suite, numbers, operation, operator, 120);
    }
    arithmetic::<i8>(&mut suite, numbers, BinaryOperation::SquaredDifference, "SQUARED_DIFFERENCE", 80);
    comparisons::<i8>(&mut suite, numbers);
    comparisons::<u8>(&mut suite, numbers);
    comparisons::<i16>(&mut suite, numbers);
    extrema::<i8>(&mut suite, numbers);
    extrema::<u8>(&mut suite, numbers);
    extrema::<i16>(&mut suite, numbers);
    prelu::<i8, i8>(&mut suite, numbers);
    prelu::<u8, u8>(&mut suite, numbers);
    prelu::<i16, i8>(&mut suite, numbers);
    suite.compare();
}
