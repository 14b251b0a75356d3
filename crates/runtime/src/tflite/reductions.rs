//! Pooling, reductions, softmax and resizing.

use calipers_ir::{DType, Image, Op, Reduce, Scanning, Tensor};
use calipers_kernels::pool::Window;
use calipers_kernels::tflite::Activation;
use calipers_kernels::tflite::pool::Pool;
use calipers_kernels::tflite::reduce::{Axes, Product, Sum};
use calipers_kernels::tflite::resize::Resize;
use calipers_kernels::tflite::softmax::{LogSoftmax8, Softmax8, Softmax16, normalize_l2};

use super::call::{Call, with_type};
use crate::error::Error;

/// Whether an operator is TFLite's RESIZE_BILINEAR.
pub(super) fn resizes(image: &Image) -> bool {
    matches!(image, Image::Resize { mode, .. } if mode == "linear")
}

pub(super) fn run(call: &Call<'_>, op: &Op, activation: Activation) -> Result<Tensor, Error> {
    let shape = call.shape(0)?;
    let depth = shape.last().copied().unwrap_or(1);
    match op {
        Op::Pool(pool) => {
            let (&[batch, height, width, channels], &[_, rows, columns, _]) =
                (shape, call.unit.shape.as_slice())
            else {
                return call.refuse("data of another rank than 4");
            };
            let pair = |values: &[usize]| <[usize; 2]>::try_from(values);
            let window = &pool.window;
            let (Ok(kernel), Ok(stride), Ok(dilation), Ok(pad_begin), Ok(pad_end)) = (
                pair(&pool.kernel),
                pair(&window.strides),
                pair(&window.dilations),
                pair(&window.pads_begin),
                pair(&window.pads_end),
            ) else {
                return call.refuse("another number of spatial axes than 2");
            };
            let window = Window {
                batch,
                input: [height, width],
                channels,
                output: [rows, columns],
                kernel,
                stride,
                dilation,
                pad_begin,
                pad_end,
            };
            with_type!(call, T => {
                let pool = call.accept(Pool::new::<T>(window, call.unit.output, activation))?;
                let x = call.elements::<T>(0)?;
                call.fill::<T>(|y| call.accept(pool.average(&x, y)))
            })
        }
        Op::Reduce(reduce) => reduction(call, reduce),
        Op::Scanning(Scanning::Softmax { beta, .. }) => softmax(call, depth, *beta),
        Op::Scanning(_) => {
            let softmax = call.accept(LogSoftmax8::new(call.params(0)?))?;
            with_type!(call, T => {
                let x = call.elements::<T>(0)?;
                call.fill::<T>(|y| { softmax.run(depth, &x, y); Ok(()) })
            })
        }
        Op::Normalize(_) => with_type!(call, T => {
            let x = call.elements::<T>(0)?;
            let zero_point = call.params(0)?.zero_point;
            call.fill::<T>(|y| { normalize_l2(zero_point, depth, &x, y); Ok(()) })
        }),
        Op::Image(Image::Resize { coordinate_transformation_mode, .. }) => {
            let (&[batch, height, width, channels], &[_, rows, columns, _]) =
                (shape, call.unit.shape.as_slice())
            else {
                return call.refuse("data of another rank than 4");
            };
            let resize = Resize {
                batch,
                input: [height, width],
                output: [rows, columns],
                channels,
                align_corners: coordinate_transformation_mode == "align_corners",
                half_pixel_centers: coordinate_transformation_mode == "half_pixel",
            };
            match call.dtype(0) {
                DType::U8 => {
                    let x = call.elements::<u8>(0)?;
                    call.fill::<u8>(|y| {
                        resize.bilinear_unsigned(&x, y);
                        Ok(())
                    })
                }
                _ => with_type!(call, T => {
                    let x = call.elements::<T>(0)?;
                    call.fill::<T>(|y| { resize.bilinear(&x, y); Ok(()) })
                }),
            }
        }
        other => call.refuse(other.to_string()),
    }
}

fn reduction(call: &Call<'_>, reduce: &Reduce) -> Result<Tensor, Error> {
    let shape = call.shape(0)?;
    let mut reduced = vec![false; shape.len()];
    for axis in call.tensor(1)?.to_integers().unwrap_or_default() {
        let axis = if axis < 0 { axis + shape.len() as i64 } else { axis };
        match usize::try_from(axis).ok().and_then(|axis| reduced.get_mut(axis)) {
            Some(reduced) => *reduced = true,
            None => return call.refuse(format!("axis {axis} of shape {shape:?}")),
        }
    }
    let axes = Axes { shape: shape.to_vec(), reduced };
    let (from, to) = (call.params(0)?, call.unit.output);
    with_type!(call, T => {
        let x = call.elements::<T>(0)?;
        match reduce {
            Reduce::Mean { .. } => {
                let mean = call.accept(Sum::mean(axes, from, to))?;
                call.fill::<T>(|y| { mean.run(&x, y); Ok(()) })
            }
            Reduce::Sum { .. } => {
                let sum = call.accept(Sum::new::<T>(axes, from, to))?;
                call.fill::<T>(|y| { sum.run(&x, y); Ok(()) })
            }
            _ => {
                let product = call.accept(Product::new(axes, from, to))?;
                call.fill::<T>(|y| { product.run(&x, y); Ok(()) })
            }
        }
    })
}

fn softmax(call: &Call<'_>, depth: usize, beta: f32) -> Result<Tensor, Error> {
    let from = call.params(0)?;
    if call.dtype(0) == DType::I16 {
        let softmax = call.accept(Softmax16::new(beta, from))?;
        let x = call.elements::<i16>(0)?;
        return call.fill::<i16>(|y| {
            softmax.run(depth, &x, y);
            Ok(())
        });
    }
    let softmax = call.accept(Softmax8::new(beta, from))?;
    with_type!(call, T => {
        let x = call.elements::<T>(0)?;
        match call.unit.dtype {
            DType::I16 => call.fill::<i16>(|y| { softmax.run(depth, &x, y); Ok(()) }),
            DType::U8 => call.fill::<u8>(|y| { softmax.run(depth, &x, y); Ok(()) }),
            _ => call.fill::<i8>(|y| { softmax.run(depth, &x, y); Ok(()) }),
        }
    })
}
