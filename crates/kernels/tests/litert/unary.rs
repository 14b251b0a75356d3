//! Operators on one operand.

use calipers_kernels::quantize::Params;
use calipers_kernels::tflite::lookup::{Function, Table8, Table16};
use calipers_kernels::tflite::sigmoid::Sigmoid16;
use calipers_kernels::tflite::softmax::{LogSoftmax8, Softmax8, Softmax16, normalize_l2};
use calipers_kernels::tflite::unary::{Absolute, Clamp, HardSwish, LeakyRelu, negate};
use calipers_kernels::tflite::{Element, Unsupported};
use serde_json::{Value, json};

use crate::suite::{Data, Numbers, OPTIMIZED, Suite, Tensor, Typed, WITHIN_ONE};

type Prepared<T> = Box<dyn Fn(&[T], &mut [T])>;

/// Every integer of a type.
fn all<T: Element>() -> Vec<T> {
    (T::MIN..=T::MAX).map(T::narrow).collect()
}

/// A case on every integer of the type.
fn exhaustive<T: Element + Typed>(
    suite: &mut Suite,
    operator: &str,
    options: Value,
    [input, output]: [Params; 2],
    least: i32,
    prepared: Prepared<T>,
) where
    Vec<T>: Into<Data>,
{
    // The tangent of C libraries is not always rounded correctly, and that of 16-bit data is seen.
    let is_close = T::MAX > 255 && options["approximate"] == true;
    let kind = match operator {
        "ELU" => format!("{} {OPTIMIZED}", T::NAME),
        _ if is_close => format!("{} of tanh, {WITHIN_ONE}", T::NAME),
        _ => T::NAME.to_string(),
    };
    let x: Vec<T> = all::<T>().into_iter().filter(|x| x.widen() >= least).collect();
    let inputs = vec![Some(Tensor::input(&[x.len()], x.clone()).with(input))];
    let outputs = vec![Tensor::output::<T>(&[x.len()]).with(output)];
    suite.add(operator, &kind, options, inputs, outputs, move || {
        let mut result = vec![T::narrow(0); x.len()];
        prepared(&x, &mut result);
        vec![result.into()]
    });
}

fn parameters<T: Element>(numbers: &mut Numbers) -> [Params; 2] {
    let input = Params { scale: numbers.scale(-9.0, 1.0), zero_point: numbers.zero_point::<T>() };
    let scale =
        if numbers.of(&[true, false, false]) { input.scale } else { input.scale * numbers.scale(-5.0, 5.0) };
    [input, Params { scale, zero_point: numbers.zero_point::<T>() }]
}

fn integers<T: Element + Typed>(suite: &mut Suite, numbers: &mut Numbers, count: usize)
where
    Vec<T>: Into<Data>,
{
    let wide = T::MAX > 255;
    for (operator, bounds) in [
        ("RELU", [0.0, f32::INFINITY]),
        ("RELU6", [0.0, 6.0]),
        ("RELU_N1_TO_1", [-1.0, 1.0]),
        ("RELU_0_TO_1", [0.0, 1.0]),
    ] {
        if wide && bounds[1] == 1.0 {
            continue;
        }
        for _ in 0..count {
            let params = parameters::<T>(numbers);
            let prepared = Clamp::new::<T>(bounds, params[0], params[1]).expect("valid scales");
            let run: Prepared<T> = Box::new(move |x, y| prepared.run(x, y));
            exhaustive(suite, operator, Value::Null, params, T::MIN, run);
        }
    }
    for _ in 0..count {
        let params = parameters::<T>(numbers);
        let alpha = numbers.of(&[0.2f32, 0.01, 1.0, 1.7, -0.3, 0.0]);
        let prepared = LeakyRelu::new(alpha, params[0], params[1]).expect("valid scales");
        let options = json!({"type": "LeakyReluOptions", "alpha": f64::from(alpha)});
        exhaustive::<T>(
            suite,
            "LEAKY_RELU",
            options,
            params,
            T::MIN,
            Box::new(move |x, y| prepared.run(x, y)),
        );
        if !wide {
            let params = parameters::<T>(numbers);
            let prepared = HardSwish::new(params[0], params[1]).expect("valid scales");
            let run: Prepared<T> = Box::new(move |x, y| prepared.run(x, y));
            exhaustive(suite, "HARD_SWISH", json!({"type": "HardSwishOptions"}), params, T::MIN, run);
        }
        if T::MIN < 0 {
            let params = parameters::<T>(numbers);
            let prepared = Absolute::new(params[0], params[1]).expect("valid scales");
            let run: Prepared<T> = Box::new(move |x, y| prepared.run(x, y));
            exhaustive(suite, "ABS", json!({"type": "AbsOptions"}), params, T::MIN, run);
        }
    }
    if T::MIN < 0 {
        let params = parameters::<T>(numbers);
        exhaustive::<T>(
            suite,
            "NEG",
            json!({"type": "NegOptions"}),
            params,
            T::MIN,
            Box::new(|x, y| negate(x, y)),
        );
    }
}

/// A function, its operator, the operator's options, and the types that LiteRT has it for, by the ends of their ranges.
type Tabulated = (Function, &'static str, &'static str, &'static [(i32, i32)]);

const FUNCTIONS: [Tabulated; 9] = [
    (Function::Tanh, "TANH", "", &[(-128, 127), (0, 255)]),
    (Function::Logistic, "LOGISTIC", "", &[(-128, 127), (0, 255)]),
    (Function::Exp, "EXP", "ExpOptions", &[(-128, 127), (-32768, 32767)]),
    (Function::Log, "LOG", "", &[(-128, 127), (-32768, 32767)]),
    (Function::Elu, "ELU", "", &[(-128, 127)]),
    (Function::Gelu, "GELU", "GeluOptions", &[(-128, 127), (0, 255), (-32768, 32767)]),
    (Function::GeluTanh, "GELU", "GeluOptions", &[(-128, 127), (0, 255), (-32768, 32767)]),
    (Function::Sqrt, "SQRT", "", &[(-128, 127), (-32768, 32767)]),
    (Function::Rsqrt, "RSQRT", "", &[(-128, 127), (-32768, 32767)]),
];

fn functions<T: Element + Typed>(
    suite: &mut Suite,
    numbers: &mut Numbers,
    count: usize,
    prepare: impl Fn(Function, Params, Params) -> Result<Prepared<T>, Unsupported>,
) where
    Vec<T>: Into<Data>,
{
    for (function, operator, kind, types) in FUNCTIONS {
        if !types.contains(&(T::MIN, T::MAX)) {
            continue;
        }
        for _ in 0..count {
            let mut input =
                Params { scale: numbers.scale(-8.0, -3.0), zero_point: numbers.zero_point::<T>() };
            let mut output =
                Params { scale: numbers.scale(-8.0, -2.0), zero_point: numbers.zero_point::<T>() };
            if T::MAX > 255 {
                input.scale *= 1.0 / 256.0;
                output.scale *= 1.0 / 256.0;
            }
            if function == Function::Logistic {
                output.scale = 1.0 / 256.0;
            }
            let run = prepare(function, input, output).expect("valid scales");
            let is_root = matches!(function, Function::Sqrt | Function::Rsqrt);
            let least = if is_root { input.zero_point } else { T::MIN };
            let options = match kind {
                "" => Value::Null,
                "GeluOptions" => json!({"type": kind, "approximate": function == Function::GeluTanh}),
                _ => json!({"type": kind}),
            };
            exhaustive::<T>(suite, operator, options, [input, output], least, run);
        }
    }
}

fn tables<T: Element + Typed>(suite: &mut Suite, numbers: &mut Numbers, count: usize)
where
    Vec<T>: Into<Data>,
{
    functions::<T>(suite, numbers, count, |function, input, output| {
        let table = Table8::<T>::new(function, input, output)?;
        Ok(Box::new(move |x, y| table.run(x, y).expect("no negative number under a root")))
    });
}

#[test]
#[ignore = "needs CALIPERS_TENSORFLOW_PYTHON"]
fn operators_on_integers_equal_litert() {
    let mut suite = Suite::default();
    let numbers = &mut Numbers(4);
    integers::<i8>(&mut suite, numbers, 60);
    integers::<u8>(&mut suite, numbers, 30);
    integers::<i16>(&mut suite, numbers, 8);
    suite.compare();
}

#[test]
#[ignore = "needs CALIPERS_TENSORFLOW_PYTHON"]
fn tabulated_functions_equal_litert() {
    let mut suite = Suite::default();
    let numbers = &mut Numbers(5);
    tables::<i8>(&mut suite, numbers, 60);
    tables::<u8>(&mut suite, numbers, 40);
    functions::<i16>(&mut suite, numbers, 12, |function, input, output| {
        let table = Table16::new(function, input, output)?;
        Ok(Box::new(move |x, y| table.run(x, y).expect("no negative number under a root")))
    });
    for is_tanh in [false, true] {
        for power in 0..24 {
            let scale = match power {
                0..8 => 2f32.powi(-power - 7),
                _ => numbers.scale(-16.0, 0.0),
            };
            let input = Params { scale, zero_point: 0 };
            let output = Params { scale: 1.0 / 32768.0, zero_point: 0 };
            let prepared =
                if is_tanh { Sigmoid16::tanh(input, output) } else { Sigmoid16::logistic(input, output) }
                    .expect("valid scales");
            let run: Prepared<i16> = Box::new(move |x, y| prepared.run(x, y));
            let operator = if is_tanh { "TANH" } else { "LOGISTIC" };
            exhaustive(&mut suite, operator, Value::Null, [input, output], i32::MIN, run);
        }
    }
    suite.compare();
}

fn rows<T: Element + Typed, U: Element + Typed>(
    suite: &mut Suite,
    operator: &str,
    options: Value,
    (shape, x): (&[usize], Vec<T>),
    [input, output]: [Params; 2],
    prepared: impl Fn(usize, &[T], &mut [U]) + 'static,
) where
    Vec<T>: Into<Data>,
    Vec<U>: Into<Data>,
{
    let depth = shape[shape.len() - 1];
    let inputs = vec![Some(Tensor::input(shape, x.clone()).with(input))];
    let outputs = vec![Tensor::output::<U>(shape).with(output)];
    let kind = if T::NAME == U::NAME { T::NAME.to_string() } else { format!("{} to {}", T::NAME, U::NAME) };
    suite.add(operator, &kind, options, inputs, outputs, move || {
        let mut result = vec![U::narrow(0); x.len()];
        prepared(depth, &x, &mut result);
        vec![result.into()]
    });
}

fn row_operators<T: Element + Typed>(suite: &mut Suite, numbers: &mut Numbers, count: usize)
where
    Vec<T>: Into<Data>,
{
    for index in 0..count {
        let shape = [[3, 4, 5], [1, 1, 200], [2, 30, 1], [4, 2, 17]][index % 4];
        let length = shape.iter().product();
        let input = Params { scale: numbers.scale(-14.0, 4.0), zero_point: numbers.zero_point::<T>() };
        let beta = numbers.of(&[1.0f32, 1.0, 0.3, 2.5]);
        let options = json!({"type": "SoftmaxOptions", "beta": f64::from(beta)});
        let prepared = Softmax8::new(beta, input).expect("valid scales");
        let output = Params { scale: 1.0 / 256.0, zero_point: T::MIN };
        let x: Vec<T> = numbers.integers(length);
        let run = prepared.clone();
        rows::<T, T>(suite, "SOFTMAX", options.clone(), (&shape, x), [input, output], move |depth, x, y| {
            run.run(depth, x, y)
        });
        let wide = Params { scale: 1.0 / 65536.0, zero_point: -32768 };
        let x: Vec<T> = numbers.integers(length);
        rows::<T, i16>(suite, "SOFTMAX", options, (&shape, x), [input, wide], move |depth, x, y| {
            prepared.run(depth, x, y)
        });
        let prepared = LogSoftmax8::new(input).expect("valid scales");
        let output = Params { scale: 16.0 / 256.0, zero_point: T::MAX };
        let x: Vec<T> = numbers.integers(length);
        let options = json!({"type": "LogSoftmaxOptions"});
        rows::<T, T>(suite, "LOG_SOFTMAX", options, (&shape, x), [input, output], move |depth, x, y| {
            prepared.run(depth, x, y)
        });
        let output = Params { scale: 1.0 / 128.0, zero_point: if T::MIN == 0 { 128 } else { 0 } };
        let mut x: Vec<T> = numbers.integers(length);
        if index % 5 == 0 {
            x.fill(T::narrow(input.zero_point));
        }
        let options = json!({"type": "L2NormOptions"});
        rows::<T, T>(suite, "L2_NORMALIZATION", options, (&shape, x), [input, output], move |depth, x, y| {
            normalize_l2(input.zero_point, depth, x, y)
        });
    }
}

#[test]
#[ignore = "needs CALIPERS_TENSORFLOW_PYTHON"]
fn operators_on_rows_equal_litert() {
    let mut suite = Suite::default();
    let numbers = &mut Numbers(6);
    row_operators::<i8>(&mut suite, numbers, 120);
    row_operators::<u8>(&mut suite, numbers, 60);
    for index in 0..60 {
        let shape = [[3, 4, 5], [1, 1, 200], [2, 30, 1], [4, 2, 17]][index % 4];
        let input = Params { scale: numbers.scale(-20.0, -2.0), zero_point: 0 };
        let beta = numbers.of(&[1.0f32, 0.3, 2.5]);
        let prepared = Softmax16::new(beta, input).expect("valid scales");
        let output = Params { scale: 1.0 / 32768.0, zero_point: 0 };
        let x: Vec<i16> = numbers.integers(shape.iter().product());
        let options = json!({"type": "SoftmaxOptions", "beta": f64::from(beta)});
        rows::<i16, i16>(&mut suite, "SOFTMAX", options, (&shape, x), [input, output], move |depth, x, y| {
            prepared.run(depth, x, y)
        });
    }
    suite.compare();
}
