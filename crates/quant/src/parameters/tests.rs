//! Scales, zero points and integers against PyTorch's observers and ONNX Runtime's quantizer, and their properties.

use calipers_ir::Tensor;
use proptest::prelude::*;
use serde::Deserialize;

use super::{IntegerType, Parameters};
use crate::{
    ActivationScheme, ActivationType, Granularity, Observer, ObserverKind, QuantError, Range, WeightRange,
    WeightScheme, WeightType,
};

/// The parameters of an i8 weight.
fn of_weight(name: &str, weight: &Tensor, axis: Option<usize>) -> Result<Parameters, QuantError> {
    Parameters::of_weight(name, weight, &WeightScheme::default(), axis, None)
}

#[derive(Deserialize)]
struct Observers {
    activations: Vec<ObservedActivation>,
    weights: Vec<Weight>,
}

#[derive(Deserialize)]
struct ObservedActivation {
    name: String,
    observer: String,
    r#type: ActivationType,
    tensors: Vec<Vec<f32>>,
    min: f32,
    max: f32,
    scale: f32,
    zero_point: i32,
}

#[derive(Deserialize)]
struct Weight {
    #[serde(default)]
    shape: Vec<usize>,
    axis: Option<usize>,
    weight: Vec<f32>,
    scale: Vec<f32>,
    quantized: Vec<i64>,
}

fn torch() -> Observers {
    serde_json::from_str(include_str!("../../../../testdata/golden/quant/observers.json")).unwrap()
}

#[derive(Deserialize)]
struct Scales {
    activations: Vec<Scale>,
    weights: Vec<Weight>,
}

#[derive(Deserialize)]
struct Scale {
    min: f32,
    max: f32,
    r#type: ActivationType,
    symmetric: bool,
    scale: f32,
    zero_point: i32,
}

fn onnx_runtime() -> Scales {
    serde_json::from_str(include_str!("../../../../testdata/golden/quant/scales.json")).unwrap()
}

/// Distance in units of the last place of two positive numbers.
fn ulps(a: f32, b: f32) -> u32 {
    a.to_bits().abs_diff(b.to_bits())
}

#[test]
fn observers_are_those_of_pytorch() {
    let golden = torch();
    assert_eq!(golden.activations.len(), 24);
    for case in &golden.activations {
        let kind = match case.observer.as_str() {
            "min_max" => ObserverKind::MinMax,
            "moving_average" => ObserverKind::MovingAverage { constant: 0.01 },
            other => panic!("{other}"),
        };
        let mut observer = Observer::new(kind);
        for tensor in &case.tensors {
            observer.observe(tensor).unwrap();
        }
        let range = observer.range_by(kind, &ActivationScheme::default()).unwrap();
        assert_eq!(range, Range { min: case.min, max: case.max }, "{} {}", case.name, case.observer);

        // PyTorch divides in f32, so the last bit may differ, and with it a zero point that stood on a half.
        let scheme = ActivationScheme { dtype: case.r#type, ..ActivationScheme::default() };
        let parameters = Parameters::of_activation(range, &scheme);
        assert!(ulps(parameters.scale[0], case.scale) <= 1, "{}: {parameters:?} {}", case.name, case.scale);
        assert_eq!(parameters.zero_point, [case.zero_point], "{} {}", case.name, case.observer);
    }
}

#[test]
fn per_channel_weights_are_those_of_pytorch() {
    let golden = torch();
    assert_eq!(golden.weights.len(), 3);
    for case in &golden.weights {
        let weight = Tensor::from_vec(case.shape.clone(), case.weight.clone()).unwrap();
        let parameters = of_weight("w", &weight, case.axis).unwrap();
        assert_eq!(parameters.scale.len(), case.scale.len());
        for (ours, theirs) in parameters.scale.iter().zip(&case.scale) {
            assert!(ulps(*ours, *theirs) <= 1, "{ours} {theirs}");
        }
        // With the same scales the integers are the same, but for quotients within rounding of a half: PyTorch
        // multiplies by the reciprocal.
        let parameters = Parameters { scale: case.scale.clone(), ..parameters };
        let quantized = parameters.quantize("w", &weight).unwrap().to_integers().unwrap();
        assert_eq!(quantized, case.quantized);
    }
}

#[test]
fn activations_are_those_of_onnx_runtime() {
    let golden = onnx_runtime();
    assert_eq!(golden.activations.len(), 208);
    for case in &golden.activations {
        let scheme =
            ActivationScheme { dtype: case.r#type, symmetric: case.symmetric, ..ActivationScheme::default() };
        let parameters = Parameters::of_activation(Range { min: case.min, max: case.max }, &scheme);
        assert_eq!(
            (parameters.scale[0].to_bits(), parameters.zero_point[0]),
            (case.scale.to_bits(), case.zero_point),
            "[{}, {}] {scheme:?}: {parameters:?}, ONNX Runtime {}",
            case.min,
            case.max,
            case.scale
        );
    }
}

#[test]
fn weights_are_those_of_onnx_runtime() {
    let golden = onnx_runtime();
    assert_eq!(golden.weights.len(), 3);
    for case in &golden.weights {
        let weight = Tensor::from_vec([case.weight.len()], case.weight.clone()).unwrap();
        let parameters = of_weight("w", &weight, None).unwrap();
        assert_eq!(parameters.scale[0].to_bits(), case.scale[0].to_bits());
        assert_eq!(parameters.quantize("w", &weight).unwrap().to_integers().unwrap(), case.quantized);
    }
}

#[test]
fn channels_of_zeros_have_a_scale() {
    let weight = Tensor::from_vec([3, 2], vec![0.0f32, 0.0, 1.27, -0.5, 0.0, 1e-45]).unwrap();
    let parameters = of_weight("w", &weight, Some(0)).unwrap();
    assert_eq!(parameters.scale, [0.01, 0.01, 0.01]);
    let nothing = Tensor::from_vec([2, 2], vec![0f32; 4]).unwrap();
    assert_eq!(of_weight("w", &nothing, Some(1)).unwrap().scale, [1.0, 1.0]);
    let empty = Tensor::from_vec([2, 0], Vec::<f32>::new()).unwrap();
    assert_eq!(of_weight("w", &empty, Some(0)).unwrap().scale, [1.0, 1.0]);
}

#[test]
fn weights_that_are_not_finite_are_named() {
    let mut data = vec![0f32; 24];
    data[17] = f32::NAN;
    let weight = Tensor::from_vec([2, 3, 4], data).unwrap();
    let error = of_weight("conv.weight", &weight, Some(0)).unwrap_err().to_string();
    assert!(error.starts_with("initializer `conv.weight`: element [1, 1, 1] is NaN"), "{error}");
    let infinite = Tensor::scalar(f32::NEG_INFINITY);
    let error = of_weight("w", &infinite, None).unwrap_err().to_string();
    assert!(error.starts_with("initializer `w`: element [] is -inf"), "{error}");
}

#[test]
fn a_large_bias_widens_its_weight() {
    let weight = Tensor::from_vec([2, 1], vec![1e-9f32, 1.0]).unwrap();
    let bias = Tensor::from_vec([2], vec![-50.0f32, 0.25]).unwrap();
    let mut parameters = of_weight("w", &weight, Some(0)).unwrap();
    let before = parameters.scale.clone();
    let (quantized, widened) = Parameters::of_bias("n", "b", &bias, 0.02, &mut parameters).unwrap();
    assert_eq!((widened, parameters.scale[1]), (1, before[1]));
    assert!(parameters.scale[0] > before[0]);
    assert_eq!(quantized.scale, [0.02 * parameters.scale[0], 0.02 * parameters.scale[1]]);
    let integers = quantized.quantize("b", &bias).unwrap().to_integers().unwrap();
    let real = integers[0] as f64 * f64::from(quantized.scale[0]);
    assert!((real + 50.0).abs() < 1e-6 && integers[0] > i64::from(i32::MIN), "{integers:?}");

    let huge = Tensor::from_vec([1, 1], vec![3e38f32]).unwrap();
    let mut parameters = of_weight("w", &huge, Some(0)).unwrap();
    let none = Tensor::from_vec([1], vec![0f32]).unwrap();
    let error = Parameters::of_bias("n", "b", &none, 1e10, &mut parameters).unwrap_err();
    assert!(matches!(error, QuantError::BiasScale { .. }), "{error}");
}

#[test]
fn four_bits_lie_low_nibble_first_and_blocks_have_scales_of_their_own() {
    let scheme = WeightScheme { range: WeightRange::Max, ..WeightScheme::four_bits() };
    // Two rows of five in blocks of two: 7, 3.5 | 14, -14 | 0 and 0.7, -0.7 | 0, 0 | 21.
    let data = vec![7.0f32, 3.5, 14.0, -14.0, 0.0, 0.7, -0.7, 0.0, 0.0, 21.0];
    let weight = Tensor::from_vec([2, 5], data).unwrap();
    let parameters = Parameters::of_weight("w", &weight, &scheme, Some(1), Some(2)).unwrap();
    // Blocks of zeros take the largest scale.
    assert_eq!(parameters.scale, [1.0, 2.0, 3.0, 0.7 / 7.0, 3.0, 3.0]);
    let quantized = parameters.quantize("w", &weight).unwrap();
    assert_eq!((quantized.dtype(), quantized.shape()), (calipers_ir::DType::I4, [2, 5].as_slice()));
    // 7 4 | 7 -7 | 0 | 7 -7 | 0 0 | 7, two to a byte.
    assert_eq!(&quantized.bytes()[..], [0x47, 0x97, 0x70, 0x09, 0x70]);
    assert_eq!(parameters.scale_tensor(&[2, 5]).unwrap().shape(), [2, 3]);
    let back = parameters.fake_quantize("w", &weight).unwrap();
    assert_eq!(back.as_f32().unwrap()[..5], [7.0, 4.0, 14.0, -14.0, 0.0]);
}

#[test]
fn asymmetric_weights_cover_their_range() {
    let weight = Tensor::from_vec([2, 2], vec![-1.0f32, 2.0, 0.0, 15.0]).unwrap();
    for (dtype, zero_point) in [(WeightType::U4, vec![5, 0]), (WeightType::I4, vec![-3, -8])] {
        let scheme = WeightScheme { dtype, symmetric: false, ..WeightScheme::default() };
        let parameters = Parameters::of_weight("w", &weight, &scheme, Some(0), None).unwrap();
        assert_eq!((&parameters.scale[..], &parameters.zero_point), ([0.2f32, 1.0].as_slice(), &zero_point));
        let back = parameters.fake_quantize("w", &weight).unwrap();
        assert_eq!(back.as_f32().unwrap()[..], [-1.0, 2.0, 0.0, 15.0]);
    }
}

#[test]
fn the_least_squared_error_shrinks_the_range_of_weights() {
    // One number stands out: with the whole range, the others round to zero.
    let mut data = vec![0.06f32; 63];
    data.push(1.0);
    let weight = Tensor::from_vec([64], data.clone()).unwrap();
    let error = |range| {
        let scheme = WeightScheme { range, granularity: Granularity::PerTensor, ..WeightScheme::four_bits() };
        let parameters = Parameters::of_weight("w", &weight, &scheme, None, None).unwrap();
        let back = parameters.fake_quantize("w", &weight).unwrap();
        let real = back.as_f32().unwrap().into_owned();
        data.iter().zip(real).map(|(a, b)| (a - b) * (a - b)).sum::<f32>()
    };
    assert!(error(WeightRange::Mse) < error(WeightRange::Max));
}

fn any_range() -> impl Strategy<Value = Range> {
    (-1e6f32..1e6, -1e6f32..1e6).prop_map(|(a, b)| Range { min: a.min(b), max: a.max(b) })
}

proptest! {
    #[test]
    fn zero_is_exact_and_the_range_is_covered(range in any_range(), i8 in any::<bool>(), symmetric in any::<bool>()) {
        let dtype = if i8 { ActivationType::I8 } else { ActivationType::U8 };
        let scheme = ActivationScheme { dtype, symmetric, ..ActivationScheme::default() };
        let parameters = Parameters::of_activation(range, &scheme);
        let (low, high) = parameters.dtype.limits();
        prop_assert!((low..=high).contains(&parameters.zero_point[0]));
        let zero = parameters.quantize("x", &Tensor::scalar(0f32)).unwrap().to_integers().unwrap();
        prop_assert_eq!(zero[0], i64::from(parameters.zero_point[0]));
        // Zero points are whole, so either end may stand half a step outside.
        let step = f64::from(parameters.scale[0]);
        let real = |q: i32| step * f64::from(q - parameters.zero_point[0]);
        prop_assert!(real(low) <= f64::from(range.min) + 0.5001 * step);
        prop_assert!(real(high) >= f64::from(range.max) - 0.5001 * step);
    }

    #[test]
    fn weights_come_back_within_half_a_step(
        data in prop::collection::vec(-4f32..4.0, 24),
        axis in prop::option::of(0usize..3),
    ) {
        let shape = [2usize, 3, 4];
        let weight = Tensor::from_vec(shape, data.clone()).unwrap();
        let parameters = of_weight("w", &weight, axis).unwrap();
        let integers = parameters.quantize("w", &weight).unwrap();
        for (index, (w, q)) in data.iter().zip(integers.to_integers().unwrap()).enumerate() {
            let position = [index / 12, index / 4 % 3, index % 4];
            let scale = parameters.scale[axis.map_or(0, |axis| position[axis])];
            prop_assert!((-127..=127).contains(&q));
            prop_assert!((f64::from(*w) - f64::from(scale) * q as f64).abs() <= 0.50001 * f64::from(scale));
        }
    }

    #[test]
    fn biases_fit_and_come_back_within_half_a_step(
        weight in prop::collection::vec(-1f32..1.0, 6),
        bias in prop::collection::vec(-1e4f32..1e4, 3),
        exponent in -30i32..1,
    ) {
        let weight: Vec<f32> = weight.iter().map(|w| w * 10f32.powi(exponent)).collect();
        let weight = Tensor::from_vec([3, 2], weight).unwrap();
        let mut parameters = of_weight("w", &weight, Some(0)).unwrap();
        let tensor = Tensor::from_vec([3], bias.clone()).unwrap();
        let (quantized, _) = Parameters::of_bias("n", "b", &tensor, 0.01, &mut parameters).unwrap();
        prop_assert_eq!(quantized.dtype, IntegerType::I32);
        let integers = quantized.quantize("b", &tensor).unwrap().to_integers().unwrap();
        for ((b, q), scale) in bias.iter().zip(integers).zip(&quantized.scale) {
            let scale = f64::from(*scale);
            prop_assert!((f64::from(*b) - scale * q as f64).abs() <= 0.50001 * scale, "{} {} {}", b, q, scale);
        }
    }
}
