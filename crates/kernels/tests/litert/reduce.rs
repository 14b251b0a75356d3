//! Reductions, and changes of parameters.

use calipers_kernels::quantize::Params;
use calipers_kernels::tflite::Element;
use calipers_kernels::tflite::quantize::{Requantize, concatenate, dequantize, quantize};
use calipers_kernels::tflite::reduce::{Axes, Product, Sum, max, min};
use serde_json::json;

use crate::suite::{Data, Numbers, OPTIMIZED, Suite, Tensor, Typed};

#[derive(Clone, Copy, PartialEq)]
enum Reduction {
    Mean,
    Sum,
    Product,
    Max,
    Min,
}

fn reductions<T: Element + Typed>(
    suite: &mut Suite,
    numbers: &mut Numbers,
    reduction: Reduction,
    count: usize,
) where
    Vec<T>: Into<Data>,
{
    for _ in 0..count {
        let rank = numbers.extent(1, 4);
        let shape: Vec<usize> = (0..rank).map(|_| numbers.extent(1, 9)).collect();
        let mut reduced: Vec<bool> = (0..rank).map(|_| numbers.of(&[true, false])).collect();
        let last = numbers.extent(0, rank - 1);
        reduced[last] = true;
        let keeps = numbers.of(&[true, false]);
        let axes = Axes { shape: shape.clone(), reduced: reduced.clone() };
        let input = Params { scale: numbers.scale(-8.0, 0.0), zero_point: numbers.zero_point::<T>() };
        let mut output = Params { scale: input.scale, zero_point: numbers.zero_point::<T>() };
        match reduction {
            Reduction::Mean => output.scale *= numbers.scale(-4.0, 3.0),
            Reduction::Sum => output.scale *= numbers.scale(-2.0, 10.0),
            Reduction::Product => {
                let count = axes.count() as f64;
                let per_factor = f64::from(input.scale) * f64::from(numbers.scale(0.0, 7.0));
                output.scale = per_factor.powf(count).clamp(1e-30, 1e30) as f32;
                if f64::from(input.scale) / f64::from(output.scale).powf(1.0 / count) > 64.0 {
                    continue;
                }
            }
            Reduction::Max | Reduction::Min => output = input,
        }
        let output_shape: Vec<usize> = shape
            .iter()
            .zip(&reduced)
            .filter(|(_, reduced)| keeps || !**reduced)
            .map(|(extent, reduced)| if *reduced { 1 } else { *extent })
            .collect();
        let indices: Vec<i32> = (0..rank as i32).filter(|axis| reduced[*axis as usize]).collect();
        let x: Vec<T> = numbers.integers(shape.iter().product());
        let operator = match reduction {
            Reduction::Mean => "MEAN",
            Reduction::Sum => "SUM",
            Reduction::Product => "REDUCE_PROD",
            Reduction::Max => "REDUCE_MAX",
            Reduction::Min => "REDUCE_MIN",
        };
        let inputs = vec![
            Some(Tensor::input(&shape, x.clone()).with(input)),
            Some(Tensor::constant(&[indices.len()], indices)),
        ];
        let options = json!({"type": "ReducerOptions", "keepDims": keeps});
        let outputs = vec![Tensor::output::<T>(&output_shape).with(output)];
        // LiteRT's reference reads the data of SUM as `u8` whatever its type.
        let kind = if reduction == Reduction::Sum && T::MIN < 0 {
            format!("{} {OPTIMIZED}", T::NAME)
        } else {
            T::NAME.to_string()
        };
        suite.add(operator, &kind, options, inputs, outputs, move || {
            let mut result = vec![T::narrow(0); axes.results()];
            match reduction {
                Reduction::Mean => {
                    Sum::mean(axes, input, output).expect("valid scales").run(&x, &mut result);
                }
                Reduction::Sum => {
                    Sum::new::<T>(axes, input, output).expect("valid scales").run(&x, &mut result)
                }
                Reduction::Product => {
                    Product::new(axes, input, output).expect("valid scales").run(&x, &mut result);
                }
                Reduction::Max => max(&axes, &x, &mut result),
                Reduction::Min => min(&axes, &x, &mut result),
            }
            vec![result.into()]
        });
    }
}

#[test]
#[ignore = "needs CALIPERS_TENSORFLOW_PYTHON"]
fn reductions_equal_litert() {
    let mut suite = Suite::default();
    let numbers = &mut Numbers(8);
    reductions::<i8>(&mut suite, numbers, Reduction::Mean, 150);
    reductions::<u8>(&mut suite, numbers, Reduction::Mean, 80);
    reductions::<i16>(&mut suite, numbers, Reduction::Mean, 80);
    reductions::<u8>(&mut suite, numbers, Reduction::Sum, 100);
    reductions::<i8>(&mut suite, numbers, Reduction::Sum, 100);
    reductions::<i16>(&mut suite, numbers, Reduction::Sum, 60);
    reductions::<i8>(&mut suite, numbers, Reduction::Product, 80);
    reductions::<i16>(&mut suite, numbers, Reduction::Product, 60);
    for reduction in [Reduction::Max, Reduction::Min] {
        reductions::<i8>(&mut suite, numbers, reduction, 40);
        reductions::<u8>(&mut suite, numbers, reduction, 40);
        reductions::<i16>(&mut suite, numbers, reduction, 40);
    }
    suite.compare();
}

fn quantizations<T: Element + Typed>(suite: &mut Suite, numbers: &mut Numbers)
where
    Vec<T>: Into<Data>,
{
    for index in 0..60 {
        let shape = [2, 3, 50];
        let axis = index % 4;
        let channels = if axis < 3 { shape[axis] } else { 1 };
        // Per channel, the type has to have a zero point of its own for each; one for all is what files hold.
        let params: Vec<Params> =
            (0..channels).map(|_| Params { scale: numbers.scale(-9.0, 1.0), zero_point: 0 }).collect();
        let mut params = params;
        if channels == 1 {
            params[0].zero_point = numbers.zero_point::<T>();
        }
        let inner = if axis < 3 { shape[axis + 1..].iter().product() } else { 300 };
        let mut x = numbers.reals(300, 300.0 * f64::from(params[0].scale));
        // Halves and what does not fit.
        for (index, x) in x.iter_mut().take(40).enumerate() {
            *x = (index as f32 - 20.5) * params[0].scale;
        }
        let extremes = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, 0.0, -0.0, 1e-40];
        x[40..48].copy_from_slice(&extremes);
        let with = |tensor: Tensor| {
            if channels == 1 {
                tensor.with(params[0])
            } else {
                let scales: Vec<f32> = params.iter().map(|params| params.scale).collect();
                tensor.scales(&scales, axis)
            }
        };
        let kind = if channels == 1 { T::NAME.to_string() } else { format!("{} along an axis", T::NAME) };
        let q: Vec<T> = numbers.integers(300);
        let from_floats = vec![Some(Tensor::input(&shape, x.clone()))];
        let to_integers = vec![with(Tensor::output::<T>(&shape))];
        let from_integers = vec![Some(with(Tensor::input(&shape, q.clone())))];
        {
            let params = params.clone();
            let options = json!({"type": "QuantizeOptions"});
            suite.add("QUANTIZE", &kind, options, from_floats, to_integers, move || {
                let mut result = vec![T::narrow(0); 300];
                quantize(&x, &params, inner, &mut result);
                vec![result.into()]
            });
        }
        if T::MAX > 255 && channels > 1 {
            continue;
        }
        let options = json!({"type": "DequantizeOptions"});
        let outputs = vec![Tensor::output::<f32>(&shape)];
        suite.add("DEQUANTIZE", &kind, options, from_integers, outputs, move || {
            let mut result = vec![0.0; 300];
            dequantize(&q, &params, inner, &mut result);
            vec![result.into()]
        });
    }
}

fn requantizations<T: Element + Typed, U: Element + Typed>(suite: &mut Suite, numbers: &mut Numbers)
where
    Vec<T>: Into<Data>,
    Vec<U>: Into<Data>,
{
    for index in 0..24 {
        let zero_points = [numbers.zero_point::<T>(), numbers.zero_point::<U>()];
        let input = Params { scale: numbers.scale(-9.0, 1.0), zero_point: zero_points[0] };
        let change = if index % 4 == 0 { 1.0 } else { numbers.scale(-10.0, 10.0) };
        let output = Params { scale: input.scale * change, zero_point: zero_points[1] };
        let prepared = Requantize::new(input, output).expect("valid scales");
        let x: Vec<T> = if T::MAX > 32767 {
            (0..300).map(|_| T::narrow(numbers.within(-4_000_000, 4_000_000) as i32)).collect()
        } else {
            numbers.integers(300)
        };
        let inputs = vec![Some(Tensor::input(&[300], x.clone()).with(input))];
        let outputs = vec![Tensor::output::<U>(&[300]).with(output)];
        let kind = format!("{} to {}", T::NAME, U::NAME);
        suite.add("QUANTIZE", &kind, json!({"type": "QuantizeOptions"}), inputs, outputs, move || {
            let mut result = vec![U::narrow(0); 300];
            prepared.run(&x, &mut result);
            vec![result.into()]
        });
    }
}

fn concatenations(suite: &mut Suite, numbers: &mut Numbers) {
    for index in 0..60 {
        let to = Params { scale: numbers.scale(-8.0, 0.0), zero_point: numbers.zero_point::<u8>() };
        let axis = index % 3;
        let shape = [2, 3, 4];
        let operands: Vec<(Vec<u8>, Vec<usize>, Params)> = (0..numbers.extent(1, 4))
            .map(|_| {
                let mut extents = shape.to_vec();
                extents[axis] = numbers.extent(1, 5);
                let mut params = Params {
                    scale: to.scale * numbers.scale(-2.0, 2.0),
                    zero_point: numbers.zero_point::<u8>(),
                };
                if numbers.of(&[true, false, false]) {
                    params = to;
                }
                (numbers.integers(extents.iter().product()), extents, params)
            })
            .collect();
        let mut output_shape = shape.to_vec();
        output_shape[axis] = operands.iter().map(|(_, extents, _)| extents[axis]).sum();
        let inputs = operands
            .iter()
            .map(|(values, extents, params)| Some(Tensor::input(extents, values.clone()).with(*params)))
            .collect();
        let outputs = vec![Tensor::output::<u8>(&output_shape).with(to)];
        let options = json!({"type": "ConcatenationOptions", "axis": axis});
        suite.add("CONCATENATION", "UINT8", options, inputs, outputs, move || {
            let mut result = vec![0; output_shape.iter().product()];
            let operands: Vec<(&[u8], usize, Params)> = operands
                .iter()
                .map(|(values, extents, params)| (&values[..], extents[axis..].iter().product(), *params))
                .collect();
            concatenate(&operands, to, &mut result);
            vec![result.into()]
        });
    }
}

#[test]
#[ignore = "needs CALIPERS_TENSORFLOW_PYTHON"]
fn changes_of_parameters_equal_litert() {
    let mut suite = Suite::default();
    let numbers = &mut Numbers(9);
    quantizations::<i8>(&mut suite, numbers);
    quantizations::<u8>(&mut suite, numbers);
    quantizations::<i16>(&mut suite, numbers);
    requantizations::<i8, i8>(&mut suite, numbers);
    requantizations::<i8, u8>(&mut suite, numbers);
    requantizations::<u8, i8>(&mut suite, numbers);
    requantizations::<u8, u8>(&mut suite, numbers);
    requantizations::<i8, i16>(&mut suite, numbers);
    requantizations::<i16, i8>(&mut suite, numbers);
    requantizations::<i16, i16>(&mut suite, numbers);
    requantizations::<i16, i32>(&mut suite, numbers);
    requantizations::<i32, i8>(&mut suite, numbers);
    requantizations::<i32, i16>(&mut suite, numbers);
    concatenations(&mut suite, numbers);
    suite.compare();
}
