//! Between real numbers and their integers: `real = scale * (q - zero point)`.
//!
//! Every kernel here is its own definition: one body, compiled for each instruction set.

#[cfg(test)]
mod tests;

use crate::isa::Execution;
use crate::requant::round_into;
use crate::storage::Quantized;

/// How the integers of a tensor stand for real numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params {
    /// Positive.
    pub scale: f32,
    /// Within the storage type.
    pub zero_point: i32,
}

/// `q = clamp(round_half_even(x / scale) + zero point)` with the parameters of the element's slice.
///
/// The tensor is `[outer, params.len(), inner]`; one set of parameters is the whole tensor's. Not-a-number becomes
/// the smallest integer, as in ONNX Runtime on x86-64.
pub fn quantize<T: Quantized>(
    execution: Execution,
    input: &[f32],
    params: &[Params],
    inner: usize,
    output: &mut [T],
) {
    assert_eq!(input.len(), output.len(), "lengths");
    let unit = inner.max(1) * params.len();
    if let [params] = params {
        return execution.split(output, 1, 4, |first, output| {
            execution.isa.vectorize(
                #[inline(always)]
                || quantize_run(&input[first..], *params, output),
            );
        });
    }
    execution.split(output, unit, unit * 4, |first, output| {
        execution.isa.vectorize(
            #[inline(always)]
            || {
                let input = &input[first * unit..][..output.len()];
                for (input, output) in input.chunks_exact(unit).zip(output.chunks_exact_mut(unit)) {
                    let runs = input.chunks_exact(inner).zip(output.chunks_exact_mut(inner));
                    for ((input, output), params) in runs.zip(params) {
                        quantize_run(input, *params, output);
                    }
                }
            },
        );
    });
}

#[inline(always)]
fn quantize_run<T: Quantized>(input: &[f32], params: Params, output: &mut [T]) {
    let bounds =
        [T::MIN.wrapping_sub(params.zero_point) as f32, T::MAX.wrapping_sub(params.zero_point) as f32];
    for (q, x) in output.iter_mut().zip(input) {
        *q = T::narrow(round_into(x / params.scale, bounds) + params.zero_point);
    }
}

/// An integer that can be dequantized.
pub trait Integer: Copy + Send + Sync {
    /// The value; `i32` differences to a zero point wrap.
    fn to_i32(self) -> i32;
}

impl Integer for u8 {
    #[inline(always)]
    fn to_i32(self) -> i32 {
        i32::from(self)
    }
}

impl Integer for i8 {
    #[inline(always)]
    fn to_i32(self) -> i32 {
        i32::from(self)
    }
}

impl Integer for i32 {
    #[inline(always)]
    fn to_i32(self) -> i32 {
        self
    }
}

/// `x = scale * f32(q - zero point)` with the parameters of the element's slice, as in [`quantize`].
pub fn dequantize<T: Integer>(
    execution: Execution,
    input: &[T],
    params: &[Params],
    inner: usize,
    output: &mut [f32],
) {
    assert_eq!(input.len(), output.len(), "lengths");
    let unit = inner.max(1) * params.len();
    if let [params] = params {
        return execution.split(output, 1, 2, |first, output| {
            execution.isa.vectorize(
                #[inline(always)]
                || dequantize_run(&input[first..], *params, output),
            );
        });
    }
    execution.split(output, unit, unit * 2, |first, output| {
        execution.isa.vectorize(
            #[inline(always)]
            || {
                let input = &input[first * unit..][..output.len()];
                for (input, output) in input.chunks_exact(unit).zip(output.chunks_exact_mut(unit)) {
                    let runs = input.chunks_exact(inner).zip(output.chunks_exact_mut(inner));
                    for ((input, output), params) in runs.zip(params) {
                        dequantize_run(input, *params, output);
                    }
                }
            },
        );
    });
}

#[inline(always)]
fn dequantize_run<T: Integer>(input: &[T], params: Params, output: &mut [f32]) {
    for (x, q) in output.iter_mut().zip(input) {
        *x = params.scale * q.to_i32().wrapping_sub(params.zero_point) as f32;
    }
}
