//! The f32 product: weights packed for one instruction set, bias and clamp applied to the sums.

use super::{Epilogue, Panels, Rows, Target, multiply, portable};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use crate::isa::{Execution, Supported};

/// f32 weights packed for an instruction set.
#[derive(Clone)]
pub(crate) enum FloatProduct {
    Portable(portable::Float, Panels<f32>),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Float, Panels<f32>),
    #[cfg(target_arch = "x86_64")]
    Avx512Narrow(avx512::Float<1>, Panels<f32>),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Float<2>, Panels<f32>),
}

impl FloatProduct {
    /// Packs `[columns, depth]` weights.
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
    pub(crate) fn pack(isa: Supported, columns: usize, depth: usize, weights: &[f32]) -> FloatProduct {
        #[cfg(target_arch = "x86_64")]
        if columns <= avx512::LANES
            && let Some(tile) = avx512::Float::new(isa)
        {
            return FloatProduct::Avx512Narrow(tile, Panels::pack(tile, columns, depth, weights));
        } else if let Some(tile) = avx512::Float::new(isa) {
            return FloatProduct::Avx512(tile, Panels::pack(tile, columns, depth, weights));
        } else if let Some(tile) = avx2::Float::new(isa) {
            return FloatProduct::Avx2(tile, Panels::pack(tile, columns, depth, weights));
        }
        let tile = portable::Float;
        FloatProduct::Portable(tile, Panels::pack(tile, columns, depth, weights))
    }

    /// Computes `count` rows.
    pub(crate) fn run(
        &self,
        execution: Execution,
        count: usize,
        rows: &impl Rows<f32>,
        epilogue: &Clamped<'_>,
        target: Target<'_, f32>,
    ) {
        match *self {
            FloatProduct::Portable(tile, ref panels) => {
                multiply(tile, execution, count, rows, panels, epilogue, target);
            }
            #[cfg(target_arch = "x86_64")]
            FloatProduct::Avx2(tile, ref panels) => {
                multiply(tile, execution, count, rows, panels, epilogue, target);
            }
            #[cfg(target_arch = "x86_64")]
            FloatProduct::Avx512Narrow(tile, ref panels) => {
                multiply(tile, execution, count, rows, panels, epilogue, target);
            }
            #[cfg(target_arch = "x86_64")]
            FloatProduct::Avx512(tile, ref panels) => {
                multiply(tile, execution, count, rows, panels, epilogue, target);
            }
        }
    }
}

/// `clamp(sum + bias)`.
pub(crate) struct Clamped<'a> {
    pub(crate) isa: Supported,
    /// One for each column, or none.
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) range: [f32; 2],
}

impl Clamped<'_> {
    #[inline(always)]
    fn finish_row(&self, sums: &[f32], first: usize, output: &mut [f32]) {
        let sums = &sums[..output.len()];
        match self.bias {
            Some(bias) => {
                let bias = &bias[first..first + output.len()];
                for ((result, sum), bias) in output.iter_mut().zip(sums).zip(bias) {
                    *result = clamp(sum + bias, self.range);
                }
            }
            None => {
                for (result, sum) in output.iter_mut().zip(sums) {
                    *result = clamp(*sum, self.range);
                }
            }
        }
    }
}

impl Epilogue<f32, f32> for Clamped<'_> {
    type Output = f32;

    fn finish(&self, sums: &[f32], _row_sum: i32, first: usize, output: &mut [f32]) {
        self.isa.vectorize(
            #[inline(always)]
            || self.finish_row(sums, first, output),
        );
    }
}

/// `value` limited to the range; not-a-number stays what it is.
#[inline(always)]
pub(crate) fn clamp(value: f32, range: [f32; 2]) -> f32 {
    let value = if value < range[0] { range[0] } else { value };
    if value > range[1] { range[1] } else { value }
}
