//! Convolutions, fully connected layers and matrix products.

use calipers_ir::{DType, Layout, Op, Tensor, Window};
use calipers_kernels::convolution::Geometry;
use calipers_kernels::layout::permute;
use calipers_kernels::tflite::convolution::Convolution;
use calipers_kernels::tflite::matmul::{BatchMatMul, FullyConnected, MatrixShapes};
use calipers_kernels::tflite::{Accumulator, Activation, Element};

use super::call::{Call, Stored, with_type};
use crate::error::Error;

/// Whether an operator with weights has the attributes that TFLite's has.
pub(super) fn has_form(op: &Op) -> bool {
    match op {
        Op::Conv(conv) => conv.layout == Layout::Nhwc && conv.window.axes() == 2,
        Op::ConvTranspose(conv) => {
            let plain = conv.window.dilations.iter().all(|&dilation| dilation == 1) && conv.groups == 1;
            plain && conv.layout == Layout::Nhwc && conv.window.axes() == 2
        }
        Op::Gemm(gemm) => gemm.transpose_b && !gemm.transpose_a && gemm.alpha == 1.0 && gemm.beta == 1.0,
        _ => false,
    }
}

pub(super) fn run(call: &Call<'_>, op: &Op, activation: Activation) -> Result<Tensor, Error> {
    with_type!(call, T => {
        if let Op::MatMul = op {
            return match (call.dtype(0), call.dtype(1)) {
                (DType::I16, DType::I16) => matmul::<T, i64, i16>(call, &call.elements::<i16>(1)?),
                (DType::I16, _) => matmul::<T, i64, i8>(call, &call.narrow(1)?),
                (DType::U8, _) => matmul::<T, i32, u8>(call, &call.elements::<u8>(1)?),
                _ => matmul::<T, i32, i8>(call, &call.narrow(1)?),
            };
        }
        // Sums of 16-bit data have the width of the bias.
        let narrow = call.dtype(0) != DType::I16 || (call.has(2) && call.dtype(2) == DType::I32);
        match (call.dtype(1), narrow) {
            (DType::U8, _) => weighted::<T, i32, u8>(call, op, activation, call.elements(1)?),
            (DType::I16, true) => weighted::<T, i32, i16>(call, op, activation, call.elements(1)?),
            (DType::I16, false) => weighted::<T, i64, i16>(call, op, activation, call.elements(1)?),
            (_, true) => weighted::<T, i32, i8>(call, op, activation, call.narrow(1)?),
            (_, false) => weighted::<T, i64, i8>(call, op, activation, call.narrow(1)?),
        }
    })
}

/// A sum's type, as a bias stores it.
trait Sum: Accumulator + calipers_ir::Element {}

impl Sum for i32 {}
impl Sum for i64 {}

fn weighted<T: Stored, A: Sum, W: Element + Copy + Default>(
    call: &Call<'_>,
    op: &Op,
    activation: Activation,
    weights: Vec<W>,
) -> Result<Tensor, Error> {
    let (input, output) = (call.params(0)?, call.unit.output);
    let scales: Vec<f32> = call.all_params(1).iter().map(|params| params.scale).collect();
    let weight_zero_point = call.all_params(1).first().map_or(0, |params| params.zero_point);
    let x = call.elements::<T>(0)?;
    let bias = if call.has(2) { Some(call.elements::<A>(2)?) } else { None };
    let bias = bias.as_deref();
    let weight_shape = call.shape(1)?;
    match op {
        Op::Conv(conv) => {
            let geometry = geometry(call, &conv.window, conv.groups, 0)?;
            let weights = channels_last(weight_shape, &[0, 2, 3, 1], &weights);
            if weights.len() != geometry.weight_len() || !fits(&scales, bias, geometry.output_channels) {
                return call.refuse("weights, scales or bias of another size");
            }
            let convolution =
                Convolution::new::<T>(geometry, input, &scales, weight_zero_point, output, activation);
            let convolution = call.accept(convolution)?;
            call.fill::<T>(|y| {
                convolution.run(&x, &weights, bias, y);
                Ok(())
            })
        }
        Op::ConvTranspose(conv) => {
            let geometry = geometry(call, &conv.window, conv.groups, 1)?;
            let weights = channels_last(weight_shape, &[1, 2, 3, 0], &weights);
            if weights.len() != geometry.weight_len() || !fits(&scales, bias, geometry.output_channels) {
                return call.refuse("weights, scales or bias of another size");
            }
            let convolution =
                Convolution::new::<T>(geometry, input, &scales, weight_zero_point, output, activation);
            let convolution = call.accept(convolution)?;
            call.fill::<T>(|y| {
                convolution.transposed(&x, &weights, bias, y);
                Ok(())
            })
        }
        _ => {
            let &[units, depth] = weight_shape else { return call.refuse("weights of another rank than 2") };
            let rows = call.shape(0)?.iter().product::<usize>().checked_div(depth).unwrap_or(0);
            let sizes = rows * units == call.unit.shape.iter().product::<usize>() && rows * depth == x.len();
            if !sizes || !fits(&scales, bias, units) {
                return call.refuse("data, scales or bias of another size");
            }
            let shape = [units, depth];
            let layer = match call.dtype(1) {
                DType::I16 => FullyConnected::of_wide_weights(shape, input, &scales, output, activation),
                _ => FullyConnected::new::<T>(shape, input, &scales, weight_zero_point, output, activation),
            };
            let layer = call.accept(layer)?;
            call.fill::<T>(|y| {
                layer.run(&x, &weights, bias, y);
                Ok(())
            })
        }
    }
}

fn fits<A>(scales: &[f32], bias: Option<&[A]>, channels: usize) -> bool {
    [1, channels].contains(&scales.len()) && bias.is_none_or(|bias| bias.len() == channels)
}

/// The extents of a convolution of `[batch, height, width, channel]`; `inputs_at` is the axis of the weights with the
/// input channels when transposed (0 elsewhere is that of the outputs).
pub(super) fn geometry(
    call: &Call<'_>,
    window: &Window,
    groups: usize,
    outputs_at: usize,
) -> Result<Geometry, Error> {
    let (&[batch, height, width, channels], &[_, rows, columns, outputs]) =
        (call.shape(0)?, call.unit.shape.as_slice())
    else {
        return call.refuse("data of another rank than 4");
    };
    let weights = call.shape(1)?;
    let (&[_, _, kernel_height, kernel_width], Some(&stated)) = (weights, weights.get(outputs_at)) else {
        return call.refuse("weights of another rank than 4");
    };
    let pair = |values: &[usize]| <[usize; 2]>::try_from(values);
    let (Ok(stride), Ok(dilation), Ok(pad_begin)) =
        (pair(&window.strides), pair(&window.dilations), pair(&window.pads_begin))
    else {
        return call.refuse("another number of spatial axes than 2");
    };
    if stated != outputs || groups == 0 || channels % groups != 0 || outputs % groups != 0 {
        return call.refuse(format!("{stated} filters in {groups} groups for {outputs} output channels"));
    }
    Ok(Geometry {
        batch,
        input: [height, width],
        input_channels: channels,
        output: [rows, columns],
        output_channels: outputs,
        kernel: [kernel_height, kernel_width],
        stride,
        dilation,
        pad_begin,
        groups,
    })
}

/// Weights with their axes in another order.
pub(super) fn channels_last<W: Copy + Default>(shape: &[usize], order: &[usize], weights: &[W]) -> Vec<W> {
    let mut moved = vec![W::default(); weights.len()];
    permute(shape, order, weights, &mut moved);
    moved
}

fn matmul<T: Stored, A: Accumulator, W: Element>(call: &Call<'_>, right: &[W]) -> Result<Tensor, Error> {
    let shapes = matrix_shapes(call)?;
    let product = BatchMatMul::new::<T>(shapes, call.params(0)?, call.params(1)?, call.unit.output);
    let product = call.accept(product)?;
    let left = call.elements::<T>(0)?;
    call.fill::<T>(|y| {
        product.run::<T, W, A>(&left, right, y);
        Ok(())
    })
}

/// The extents of the product of two operands as they are stored.
pub(super) fn matrix_shapes(call: &Call<'_>) -> Result<MatrixShapes, Error> {
    let (a, b) = (call.shape(0)?, call.shape(1)?);
    let (&[ref left_batch @ .., rows, depth], &[ref right_batch @ .., inner, columns]) = (a, b) else {
        return call.refuse("operands of a rank below 2");
    };
    if depth != inner {
        return call.refuse(format!("matrices of {depth} columns and {inner} rows"));
    }
    let rank = left_batch.len().max(right_batch.len());
    let padded = |batch: &[usize]| [vec![1; rank - batch.len()], batch.to_vec()].concat();
    Ok(MatrixShapes {
        left_batch: padded(left_batch),
        right_batch: padded(right_batch),
        rows,
        depth,
        columns,
        left_transposed: false,
        right_transposed: false,
    })
}
