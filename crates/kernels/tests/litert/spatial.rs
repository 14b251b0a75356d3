//! Pooling and resizing.

use calipers_kernels::pool::Window;
use calipers_kernels::quantize::Params;
use calipers_kernels::tflite::pool::Pool;
use calipers_kernels::tflite::resize::Resize;
use calipers_kernels::tflite::{Activation, Element};
use serde_json::json;

use crate::convolution::padding;
use crate::suite::{Data, Numbers, Suite, Tensor, Typed};

const ACTIVATIONS: [(Activation, u8); 4] =
    [(Activation::None, 0), (Activation::Relu, 1), (Activation::ReluN1To1, 2), (Activation::Relu6, 3)];

fn pools<T: Element + Typed>(suite: &mut Suite, numbers: &mut Numbers, count: usize)
where
    Vec<T>: Into<Data>,
{
    let mut made = 0;
    while made < count {
        let same = numbers.of(&[true, false]);
        let input = [numbers.extent(1, 9), numbers.extent(1, 9)];
        let kernel = [numbers.extent(1, 5), numbers.extent(1, 5)];
        let stride = [numbers.extent(1, 3), numbers.extent(1, 3)];
        let padded = [0, 1].map(|axis| padding(same, input[axis], kernel[axis], stride[axis], 1));
        let [Some((rows, top)), Some((columns, left))] = padded else { continue };
        made += 1;
        let window = Window {
            batch: numbers.extent(1, 2),
            input,
            channels: numbers.extent(1, 6),
            output: [rows, columns],
            kernel,
            stride,
            dilation: [1, 1],
            pad_begin: [top, left],
            pad_end: [0, 0],
        };
        let params = Params { scale: numbers.scale(-8.0, 0.0), zero_point: numbers.zero_point::<T>() };
        let (activation, code) = numbers.of(&ACTIVATIONS);
        let prepared = Pool::new::<T>(window.clone(), params, activation).expect("no dilation");
        let input_shape = [window.batch, input[0], input[1], window.channels];
        let output_shape = [window.batch, rows, columns, window.channels];
        let x: Vec<T> = numbers.integers(input_shape.iter().product());
        let options = json!({
            "type": "Pool2DOptions",
            "padding": if same { 0 } else { 1 },
            "strideH": stride[0],
            "strideW": stride[1],
            "filterHeight": kernel[0],
            "filterWidth": kernel[1],
            "fusedActivationFunction": code,
        });
        let is_average = made % 2 == 0;
        let operator = if is_average { "AVERAGE_POOL_2D" } else { "MAX_POOL_2D" };
        let inputs = vec![Some(Tensor::input(&input_shape, x.clone()).with(params))];
        let outputs = vec![Tensor::output::<T>(&output_shape).with(params)];
        suite.add(operator, T::NAME, options, inputs, outputs, move || {
            let mut result = vec![T::narrow(0); output_shape.iter().product()];
            if is_average {
                prepared.average(&x, &mut result).expect("windows with taps");
            } else {
                prepared.max(&x, &mut result);
            }
            vec![result.into()]
        });
    }
}

type Bilinear<T> = fn(&Resize, &[T], &mut [T]);

fn resizes<T: Element + Typed>(suite: &mut Suite, numbers: &mut Numbers, count: usize, bilinear: Bilinear<T>)
where
    Vec<T>: Into<Data>,
{
    for index in 0..count {
        let align_corners = index % 3 == 0;
        let resize = Resize {
            batch: numbers.extent(1, 2),
            input: [numbers.extent(1, 9), numbers.extent(1, 9)],
            output: [numbers.extent(1, 20), numbers.extent(1, 20)],
            channels: numbers.extent(1, 4),
            align_corners,
            half_pixel_centers: index % 3 == 1,
        };
        let params = Params { scale: numbers.scale(-8.0, 0.0), zero_point: numbers.zero_point::<T>() };
        let input_shape = [resize.batch, resize.input[0], resize.input[1], resize.channels];
        let output_shape = [resize.batch, resize.output[0], resize.output[1], resize.channels];
        let x: Vec<T> = numbers.integers(input_shape.iter().product());
        for is_nearest in [true, false] {
            let operator = if is_nearest { "RESIZE_NEAREST_NEIGHBOR" } else { "RESIZE_BILINEAR" };
            let kind = if is_nearest { "ResizeNearestNeighborOptions" } else { "ResizeBilinearOptions" };
            let options = json!({
                "type": kind,
                "alignCorners": align_corners,
                "halfPixelCenters": resize.half_pixel_centers,
            });
            let size: Vec<i32> = resize.output.iter().map(|extent| *extent as i32).collect();
            let inputs = vec![
                Some(Tensor::input(&input_shape, x.clone()).with(params)),
                Some(Tensor::constant(&[2], size)),
            ];
            let outputs = vec![Tensor::output::<T>(&output_shape).with(params)];
            let (resize, x) = (resize.clone(), x.clone());
            suite.add(operator, T::NAME, options, inputs, outputs, move || {
                let mut result = vec![T::narrow(0); output_shape.iter().product()];
                if is_nearest {
                    resize.nearest(&x, &mut result);
                } else {
                    bilinear(&resize, &x, &mut result);
                }
                vec![result.into()]
            });
        }
    }
}

#[test]
#[ignore = "needs CALIPERS_TENSORFLOW_PYTHON"]
fn pooling_and_resizing_equal_litert() {
    let mut suite = Suite::default();
    let numbers = &mut Numbers(7);
    pools::<i8>(&mut suite, numbers, 160);
    pools::<u8>(&mut suite, numbers, 80);
    pools::<i16>(&mut suite, numbers, 80);
    resizes::<i8>(&mut suite, numbers, 120, Resize::bilinear);
    resizes::<u8>(&mut suite, numbers, 90, Resize::bilinear_unsigned);
    resizes::<i16>(&mut suite, numbers, 60, Resize::bilinear);
    suite.compare();
}
