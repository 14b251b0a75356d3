//! Operators of windows, sums and quantization against numbers that others publish.

use calipers_ir::{Attribute, Attributes, DType, Op, Tensor};
use calipers_reference::evaluate;

fn op(name: &str, attributes: &[(&str, Attribute)]) -> Op {
    let attributes: Attributes =
        attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Op::from_attributes(name, attributes).unwrap()
}

fn ramp(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    Tensor::from_vec(shape, (0..count).map(|value| value as f32).collect()).unwrap()
}

// The example "conv with padding" on the ONNX page of Conv, in both layouts.
#[test]
fn convolution_is_that_of_the_onnx_page() {
    let weight = Tensor::from_vec([1, 1, 3, 3], vec![1.0f32; 9]).unwrap();
    let expected = [
        12.0, 21.0, 27.0, 33.0, 24.0, 33.0, 54.0, 63.0, 72.0, 51.0, 63.0, 99.0, 108.0, 117.0, 81.0, 93.0,
        144.0, 153.0, 162.0, 111.0, 72.0, 111.0, 117.0, 123.0, 84.0,
    ];
    for (layout, shape) in [("nchw", [1, 1, 5, 5]), ("nhwc", [1, 5, 5, 1])] {
        let conv = op(
            "Conv",
            &[
                ("strides", Attribute::Ints(vec![1, 1])),
                ("pads", Attribute::Ints(vec![1; 4])),
                ("layout", Attribute::String(layout.into())),
            ],
        );
        let results = evaluate(&conv, &[Some(&ramp(&shape)), Some(&weight)], 1).unwrap();
        assert_eq!(
            (results[0].shape(), &*results[0].as_f32().unwrap()),
            (&shape[..], &expected[..]),
            "{layout}"
        );
    }
}

// The example "quantizelinear" on the ONNX page, and ties of numpy.rint.
#[test]
fn quantization_rounds_half_to_even_and_saturates() {
    let quantize = op("QuantizeLinear", &[("dtype", Attribute::Type(DType::U8))]);
    let x = Tensor::from_vec([6], vec![0.0f32, 2.0, 3.0, 1000.0, -254.0, -1000.0]).unwrap();
    let (scale, zero_point) = (Tensor::scalar(2.0f32), Tensor::scalar(128u8));
    let results = evaluate(&quantize, &[Some(&x), Some(&scale), Some(&zero_point)], 1).unwrap();
    assert_eq!(results[0].bytes().as_ref(), [128, 129, 130, 255, 1, 0]);
    let ties = Tensor::from_vec([4], vec![1.0f32, 3.0, 5.0, 7.0]).unwrap();
    let results = evaluate(&quantize, &[Some(&ties), Some(&scale), None], 1).unwrap();
    assert_eq!(results[0].bytes().as_ref(), [0, 2, 2, 4]);
}

// The example "dequantizelinear" on the ONNX page.
#[test]
fn dequantization_is_that_of_the_onnx_page() {
    let x = Tensor::from_vec([4], vec![0u8, 3, 128, 255]).unwrap();
    let (scale, zero_point) = (Tensor::scalar(2.0f32), Tensor::scalar(128u8));
    let results =
        evaluate(&op("DequantizeLinear", &[]), &[Some(&x), Some(&scale), Some(&zero_point)], 1).unwrap();
    assert_eq!(*results[0].as_f32().unwrap(), [-256.0, -250.0, 0.0, 254.0]);
}

// The example "maxpool_with_argmax_2d_precomputed_strides" on the ONNX page, with both orders of positions.
#[test]
fn positions_of_maxima_are_those_of_the_onnx_page() {
    let x = Tensor::from_vec([1, 1, 5, 5], (1..=25).map(|value| value as f32).collect()).unwrap();
    for (column_major, expected) in [(0, [6, 8, 16, 18]), (1, [6, 16, 8, 18])] {
        let pool = op(
            "MaxPool",
            &[
                ("kernel", Attribute::Ints(vec![2, 2])),
                ("strides", Attribute::Ints(vec![2, 2])),
                ("column_major", Attribute::Int(column_major)),
            ],
        );
        let results = evaluate(&pool, &[Some(&x)], 2).unwrap();
        assert_eq!(*results[0].as_f32().unwrap(), [7.0, 9.0, 17.0, 19.0]);
        assert_eq!(results[1].to_integers().unwrap(), expected);
    }
}
