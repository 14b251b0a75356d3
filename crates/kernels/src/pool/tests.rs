//! Pooling on every instruction set against plain arithmetic in another order of loops.

use super::{
    Window, average_bytes, average_floats, global_average_bytes, global_average_floats, global_max, max,
};
use crate::isa::{Execution, Supported};
use crate::quantize::Params;

fn windows() -> Vec<Window> {
    let stem = Window {
        batch: 2,
        input: [16, 15],
        channels: 5,
        output: [8, 8],
        kernel: [3, 3],
        stride: [2, 2],
        dilation: [1, 1],
        pad_begin: [1, 1],
        pad_end: [1, 1],
    };
    let ceil = Window {
        input: [5, 5],
        output: [3, 3],
        kernel: [2, 2],
        pad_begin: [0, 0],
        pad_end: [0, 0],
        ..stem.clone()
    };
    let dilated = Window {
        output: [12, 11],
        stride: [1, 1],
        dilation: [2, 2],
        pad_begin: [0, 0],
        pad_end: [0, 0],
        ..stem.clone()
    };
    let wide = Window { channels: 67, ..stem.clone() };
    vec![stem, ceil, dilated, wide]
}

fn byte(index: usize) -> u8 {
    (index.wrapping_mul(2_654_435_761) >> 9) as u8
}

fn executions() -> Vec<Execution> {
    Supported::all().into_iter().flat_map(|isa| [1, 2].map(|threads| Execution { isa, threads })).collect()
}

/// The inputs in the window of an output element, in row-major order, and the number of taps inside the padded image.
fn seen<T: Copy>(window: &Window, input: &[T], index: usize) -> (Vec<T>, usize) {
    let channel = index % window.channels;
    let pixel = index / window.channels;
    let column = (pixel % window.output[1]) as isize;
    let row = (pixel / window.output[1] % window.output[0]) as isize;
    let image = pixel / window.output[1] / window.output[0];
    let mut values = Vec::new();
    let mut padded = 0;
    for i in 0..window.kernel[0] as isize {
        for j in 0..window.kernel[1] as isize {
            let y = row * window.stride[0] as isize + i * window.dilation[0] as isize
                - window.pad_begin[0] as isize;
            let x = column * window.stride[1] as isize + j * window.dilation[1] as isize
                - window.pad_begin[1] as isize;
            let (height, width) = (window.input[0] as isize, window.input[1] as isize);
            if y < height + window.pad_end[0] as isize && x < width + window.pad_end[1] as isize {
                padded += 1;
            }
            if (0..height).contains(&y) && (0..width).contains(&x) {
                let at = (image as isize * height + y) * width + x;
                values.push(input[at as usize * window.channels + channel]);
            }
        }
    }
    (values, padded)
}

#[test]
fn windows_equal_plain_arithmetic() {
    let from = Params { scale: 0.37, zero_point: 100 };
    let to = Params { scale: 0.21, zero_point: 90 };
    for window in windows() {
        let length = window.batch * window.input[0] * window.input[1] * window.channels;
        let outputs = window.batch * window.output[0] * window.output[1] * window.channels;
        let bytes: Vec<u8> = (0..length).map(byte).collect();
        let floats: Vec<f32> = bytes.iter().map(|x| f32::from(*x) - 128.0).collect();
        for execution in executions() {
            let mut largest = vec![0u8; outputs];
            max(execution, &window, &bytes, &mut largest);
            let mut means = vec![0.0; outputs];
            average_floats(execution, &window, false, &floats, &mut means);
            let mut padded_means = vec![0.0; outputs];
            average_floats(execution, &window, true, &floats, &mut padded_means);
            let mut byte_means = vec![0u8; outputs];
            average_bytes(execution, &window, false, &bytes, from, to, &mut byte_means);
            for index in 0..outputs {
                let (values, padded) = seen(&window, &bytes, index);
                assert_eq!(Some(&largest[index]), values.iter().max(), "{execution:?}");
                let (values, _) = seen(&window, &floats, index);
                let sum: f32 = values.iter().sum();
                assert_eq!(means[index], sum / values.len() as f32, "{execution:?}");
                assert_eq!(padded_means[index], sum / padded as f32, "{execution:?}");
                let real: f64 =
                    values.iter().map(|x| f64::from(*x + 28.0) * 0.37).sum::<f64>() / values.len() as f64;
                let exact = (real / 0.21 + 90.0).clamp(0.0, 255.0);
                assert!((f64::from(byte_means[index]) - exact).abs() < 0.501, "{execution:?} {exact}");
            }
        }
    }
}

#[test]
fn whole_images_equal_plain_arithmetic() {
    let (images, pixels, channels) = (3, 49, 21);
    let bytes: Vec<i8> = (0..images * pixels * channels).map(|index| byte(index) as i8).collect();
    let floats: Vec<f32> = bytes.iter().map(|x| f32::from(*x)).collect();
    let from = Params { scale: 0.05, zero_point: -7 };
    let to = Params { scale: 0.03, zero_point: 4 };
    for execution in executions() {
        let mut means = vec![0i8; images * channels];
        global_average_bytes(execution, pixels, channels, &bytes, from, to, &mut means);
        let mut float_means = vec![0.0; images * channels];
        global_average_floats(execution, pixels, channels, &floats, &mut float_means);
        let mut largest = vec![0.0; images * channels];
        global_max(execution, pixels, channels, &floats, &mut largest);
        for index in 0..images * channels {
            let at = |pixel: usize| floats[(index / channels * pixels + pixel) * channels + index % channels];
            let sum: f32 = (0..pixels).map(at).sum();
            assert_eq!(float_means[index], sum / pixels as f32);
            assert_eq!(largest[index], (0..pixels).map(at).fold(f32::NEG_INFINITY, f32::max));
            let exact = (f64::from(sum) / 49.0 + 7.0) * 0.05 / 0.03 + 4.0;
            assert!((f64::from(means[index]) - exact).abs() < 0.501, "{} {exact}", means[index]);
        }
    }
}
