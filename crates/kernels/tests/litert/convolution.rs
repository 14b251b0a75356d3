//! Convolutions.

use calipers_kernels::convolution::{ByteConstants, Geometry, PackedBytes, convolve_bytes};
use calipers_kernels::quantize::Params;
use calipers_kernels::tflite::convolution::Convolution;
use calipers_kernels::tflite::{Accumulator, Activation, Element};
use calipers_kernels::{Execution, Supported};
use serde_json::json;

use crate::suite::{Data, Numbers, Suite, Tensor, Typed};

const ACTIVATIONS: [(Activation, u8); 4] =
    [(Activation::None, 0), (Activation::Relu, 1), (Activation::ReluN1To1, 2), (Activation::Relu6, 3)];

/// Output extent and padding at the beginning, as TensorFlow defines SAME and VALID.
pub fn padding(
    same: bool,
    input: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
) -> Option<(usize, usize)> {
    let window = (kernel - 1) * dilation + 1;
    let output = if same { input.div_ceil(stride) } else { (input + stride).checked_sub(window)? / stride };
    let total = ((output.max(1) - 1) * stride + window).saturating_sub(input);
    (output > 0).then_some((output, total / 2))
}

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Full,
    Grouped,
    Depthwise,
    Transposed,
}

pub fn geometry(numbers: &mut Numbers, kind: Kind) -> Option<(Geometry, bool)> {
    let same = numbers.of(&[true, false]);
    let groups = match kind {
        Kind::Full | Kind::Transposed => 1,
        Kind::Grouped => numbers.extent(2, 3),
        Kind::Depthwise => numbers.extent(1, 6),
    };
    let input_channels = if kind == Kind::Depthwise { groups } else { groups * numbers.extent(1, 5) };
    let output_channels = groups * numbers.extent(1, 4);
    let kernel = [numbers.extent(1, 4), numbers.extent(1, 4)];
    let stride = [numbers.extent(1, 3), numbers.extent(1, 3)];
    let dilation =
        if kind == Kind::Transposed { [1, 1] } else { [numbers.of(&[1, 1, 2, 3]), numbers.of(&[1, 1, 2])] };
    let small = [numbers.extent(1, 9), numbers.extent(1, 9)];
    let mut large = [0; 2];
    let mut pad_begin = [0; 2];
    for axis in 0..2 {
        if kind == Kind::Transposed {
            // The output is what a convolution of these strides would make the input of.
            let longest = if same {
                small[axis] * stride[axis]
            } else {
                (small[axis] - 1) * stride[axis] + kernel[axis]
            };
            large[axis] = longest - numbers.extent(0, stride[axis] - 1).min(longest - 1);
            let (output, pad) = padding(same, large[axis], kernel[axis], stride[axis], 1)?;
            if output != small[axis] {
                return None;
            }
            pad_begin[axis] = pad;
        } else {
            (large[axis], pad_begin[axis]) =
                padding(same, small[axis], kernel[axis], stride[axis], dilation[axis])?;
        }
    }
    let geometry = Geometry {
        batch: numbers.extent(1, 2),
        input: small,
        input_channels,
        output: large,
        output_channels,
        kernel,
        stride,
        dilation,
        pad_begin,
        groups,
    };
    Some((geometry, same))
}

/// `[output channel, height, width, 1]` as TFLite stores a depthwise convolution, `[1, height, width, output channel]`.
pub fn depthwise_layout<W: Copy>(weights: &[W], channels: usize) -> Vec<W> {
    let taps = weights.len() / channels;
    (0..weights.len()).map(|index| weights[index % channels * taps + index / channels]).collect()
}

fn cases<T, W, A>(suite: &mut Suite, numbers: &mut Numbers, kind: Kind, label: &str, count: usize)
where
    T: Element + Typed,
    W: Element + Typed,
    A: Accumulator + Typed + TryFrom<i64>,
    Vec<T>: Into<Data>,
    Vec<W>: Into<Data>,
    Vec<A>: Into<Data>,
{
    let mut made = 0;
    while made < count {
        let Some((geometry, same)) = geometry(numbers, kind) else { continue };
        made += 1;
        let unsigned = T::MIN == 0;
        let wide = T::MAX > 255;
        let per_channel = !unsigned && numbers.of(&[true, true, false]);
        let input = Params { scale: numbers.scale(-9.0, 0.0), zero_point: numbers.zero_point::<T>() };
        let weight_zero_point = if unsigned { numbers.zero_point::<u8>() } else { 0 };
        let scale_count = if per_channel { geometry.output_channels } else { 1 };
        let weight_scales: Vec<f32> = (0..scale_count).map(|_| numbers.scale(-12.0, -1.0)).collect();
        // Multipliers from 2^-24 to 2^3, mostly such that outputs are spread over the range.
        let bits = (geometry.depth() as f64).log2() / 2.0 + if wide { 6.0 } else { 6.5 };
        let multiplier = match numbers.within(0, 5) {
            0 => numbers.scale(-24.0, -16.0),
            1 => numbers.scale(0.0, 3.0),
            _ => numbers.scale(-bits - 2.0, -bits + 2.0),
        };
        let output = Params {
            scale: input.scale * weight_scales[0] / multiplier,
            zero_point: numbers.zero_point::<T>(),
        };
        let (activation, code) = numbers.of(&ACTIVATIONS);
        let prepared = Convolution::new::<T>(
            geometry.clone(),
            input,
            &weight_scales,
            weight_zero_point,
            output,
            activation,
        )
        .expect("valid scales");
        let x: Vec<T> = numbers.integers(geometry.input_len());
        let weights: Vec<W> = if unsigned {
            numbers.integers(geometry.weight_len())
        } else {
            numbers
                .weights(geometry.weight_len())
                .iter()
                .map(|weight| W::narrow(i32::from(*weight)))
                .collect()
        };
        let limit = if wide { 1 << 20 } else { 1 << 14 };
        let bias: Vec<A> = (0..geometry.output_channels)
            .map(|_| A::try_from(numbers.within(-limit, limit)).ok().expect("a bias that fits"))
            .collect();
        let [kernel_height, kernel_width] = geometry.kernel;
        let inputs = geometry.input_channels / geometry.groups;
        let (weight_shape, stored, axis) = if kind == Kind::Depthwise {
            let stored = depthwise_layout(&weights, geometry.output_channels);
            ([1, kernel_height, kernel_width, geometry.output_channels], stored, 3)
        } else {
            ([geometry.output_channels, kernel_height, kernel_width, inputs], weights.clone(), 0)
        };
        let weight_tensor = Tensor::constant(&weight_shape, stored);
        let weight_tensor = if per_channel {
            weight_tensor.scales(&weight_scales, axis)
        } else {
            weight_tensor.with(Params { scale: weight_scales[0], zero_point: weight_zero_point })
        };
        let bias_scales: Vec<f32> = weight_scales.iter().map(|scale| scale * input.scale).collect();
        let bias_tensor = Tensor::constant(&[geometry.output_channels], bias.clone()).scales(&bias_scales, 0);
        let input_shape = [geometry.batch, geometry.input[0], geometry.input[1], geometry.input_channels];
        let input_tensor = Tensor::input(&input_shape, x.clone()).with(input);
        let output_shape = [geometry.batch, geometry.output[0], geometry.output[1], geometry.output_channels];
        let outputs = vec![Tensor::output::<T>(&output_shape).with(output)];
        let mut options = json!({
            "padding": if same { 0 } else { 1 },
            "strideH": geometry.stride[0],
            "strideW": geometry.stride[1],
            "fusedActivationFunction": code,
        });
        // The type of the bias is an option too: without it LiteRT reads an `i16` convolution's bias as `i64`.
        if wide && kind != Kind::Depthwise {
            options["quantizedBiasType"] = if A::NAME == "INT64" { 4 } else { 2 }.into();
        }
        if kind != Kind::Transposed {
            options["dilationHFactor"] = geometry.dilation[0].into();
            options["dilationWFactor"] = geometry.dilation[1].into();
        }
        let (operator, kind_of_options, inputs) = match kind {
            Kind::Full | Kind::Grouped => {
                ("CONV_2D", "Conv2DOptions", vec![Some(input_tensor), Some(weight_tensor), Some(bias_tensor)])
            }
            Kind::Depthwise => {
                options["depthMultiplier"] = (geometry.output_channels / geometry.groups).into();
                let inputs = vec![Some(input_tensor), Some(weight_tensor), Some(bias_tensor)];
                ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", inputs)
            }
            Kind::Transposed => {
                let shape: Vec<i32> = output_shape.iter().map(|extent| *extent as i32).collect();
                let shape = Tensor::constant(&[4], shape);
                let inputs = vec![Some(shape), Some(weight_tensor), Some(input_tensor), Some(bias_tensor)];
                ("TRANSPOSE_CONV", "TransposeConvOptions", inputs)
            }
        };
        options["type"] = kind_of_options.into();
        suite.add(operator, label, options, inputs, outputs, move || {
            let mut result = vec![T::narrow(0); geometry.output_len()];
            if kind == Kind::Transposed {
                prepared.transposed(&x, &weights, Some(&bias[..]), &mut result);
            } else {
                prepared.run(&x, &weights, Some(&bias[..]), &mut result);
                if let (Data::I8(x), Data::I8(weights), Data::I32(bias)) =
                    (x.into(), weights.into(), bias.into())
                {
                    let fast = packed(&prepared, &x, &weights, &bias);
                    assert_eq!(result.clone().into(), Data::from(fast), "the packed kernel");
                }
            }
            vec![result.into()]
        });
    }
}

/// The same by packed weights, whose kernels take TFLite's requantization too.
fn packed(prepared: &Convolution, x: &[i8], weights: &[i8], bias: &[i32]) -> Vec<i8> {
    let constants = ByteConstants {
        input_zero_point: prepared.input_zero_point,
        weight_zero_points: &[0],
        bias: Some(bias),
    };
    let geometry = &prepared.geometry;
    let weights = PackedBytes::pack(Supported::detect(), geometry, weights, constants);
    let mut output = vec![0i8; geometry.output_len()];
    convolve_bytes(Execution::single(), geometry, x, &weights, &prepared.requantization, &mut output);
    output
}

#[test]
#[ignore = "needs CALIPERS_TENSORFLOW_PYTHON"]
fn convolutions_equal_litert() {
    let mut suite = Suite::default();
    let numbers = &mut Numbers(2);
    for (kind, count) in
        [(Kind::Full, 200), (Kind::Grouped, 60), (Kind::Depthwise, 200), (Kind::Transposed, 150)]
    {
        let label = if kind == Kind::Grouped { "in groups " } else { "" };
        cases::<i8, i8, i32>(&mut suite, numbers, kind, &format!("{label}INT8"), count);
        cases::<i16, i8, i64>(&mut suite, numbers, kind, &format!("{label}INT16 of INT64 sums"), count / 2);
        if kind != Kind::Depthwise {
            cases::<i16, i8, i32>(
                &mut suite,
                numbers,
                kind,
                &format!("{label}INT16 of INT32 sums"),
                count / 4,
            );
        }
        if kind != Kind::Grouped {
            cases::<u8, u8, i32>(&mut suite, numbers, kind, &format!("{label}UINT8"), count / 3);
        }
    }
    suite.compare();
}
