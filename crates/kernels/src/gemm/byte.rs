//! The 8-bit product: activations as unsigned bytes, weights as signed bytes, zero points corrected afterwards.
//!
//! With `u = q + 128` for signed activations (and their zero point moved likewise), and weights `w` with zero points
//! `v`: `sum (u - z)(w - v) = sum u w - z sum w - v sum u + k z v`, exact in wrapping 32-bit arithmetic. Everything
//! but the first two sums over u is a constant of the column, its `offset`, which holds the bias too.

use super::{Epilogue, Panels, Rows, Target, multiply, portable};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use crate::aligned::Plain;
use crate::isa::{Execution, Supported};
use crate::requant::Requantization;
use crate::storage::Quantized;

/// How a tile wants unsigned bytes.
pub(crate) trait Unsigned: Plain + From<u8> {
    /// Writes activations moved to the unsigned range, to a slice of their length.
    fn copy<T: Quantized>(from: &[T], to: &mut [Self]);
}

impl Unsigned for u8 {
    #[inline(always)]
    fn copy<T: Quantized>(from: &[T], to: &mut [u8]) {
        match T::as_unsigned(from) {
            Some(from) => to.copy_from_slice(from),
            None => to.iter_mut().zip(from).for_each(|(to, from)| *to = from.to_unsigned()),
        }
    }
}

impl Unsigned for i16 {
    #[inline(always)]
    fn copy<T: Quantized>(from: &[T], to: &mut [i16]) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = i16::from(from.to_unsigned()));
    }
}

/// Where rows of unsigned bytes come from.
pub(crate) trait ByteRows: Sync {
    /// All rows in place and the distance between them, when each has `depth` elements.
    fn in_place(&self, depth: usize) -> Option<(&[u8], usize)>;

    /// Writes the elements of the rows from `first` on, each row's `stride` after the one before, to the end of `output`.
    fn gather<L: Unsigned>(&self, first: usize, stride: usize, output: &mut [L]);
}

/// [`ByteRows`] as a tile wants them.
struct As<'a, R>(&'a R);

impl<R: ByteRows> Rows<u8> for As<'_, R> {
    fn in_place(&self, depth: usize) -> Option<(&[u8], usize)> {
        self.0.in_place(depth)
    }

    #[inline(always)]
    fn gather(&self, first: usize, stride: usize, output: &mut [u8]) {
        self.0.gather(first, stride, output);
    }
}

impl<R: ByteRows> Rows<i16> for As<'_, R> {
    fn in_place(&self, _depth: usize) -> Option<(&[i16], usize)> {
        None
    }

    #[inline(always)]
    fn gather(&self, first: usize, stride: usize, output: &mut [i16]) {
        self.0.gather(first, stride, output);
    }
}

#[derive(Clone)]
enum Packed {
    Portable(portable::Byte, Panels<i8>),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Byte, Panels<i8>),
    #[cfg(target_arch = "x86_64")]
    Avx512Narrow(avx512::Byte<1>, Panels<i8>),
    #[cfg(target_arch = "x86_64")]
    Avx512Half(avx512::Byte<2>, Panels<i8>),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Byte<4>, Panels<i8>),
}

/// Signed 8-bit weights packed for an instruction set, with what their zero points and the input's add.
#[derive(Clone)]
pub(crate) struct ByteProduct {
    isa: Supported,
    packed: Packed,
    offsets: Vec<i32>,
    /// One for each column when any is not zero.
    weight_zero_points: Option<Vec<i32>>,
}

/// The constants of a product beside its weights.
pub(crate) struct Constants<'a> {
    /// The input's zero point, moved with it to the unsigned range.
    pub(crate) input_zero_point: i32,
    /// One for all columns or one for each.
    pub(crate) weight_zero_points: &'a [i32],
    /// One for each column, or none.
    pub(crate) bias: Option<&'a [i32]>,
}

impl ByteProduct {
    /// Packs `[columns, depth]` weights.
    pub(crate) fn pack(
        isa: Supported,
        columns: usize,
        depth: usize,
        weights: &[i8],
        constants: &Constants<'_>,
    ) -> ByteProduct {
        let packed = pack(isa, columns, depth, weights);
        let zero_points: Vec<i32> =
            (0..columns).map(|column| pick(constants.weight_zero_points, column)).collect();
        let offsets = (0..columns)
            .map(|column| {
                let row = &weights[column * depth..][..depth];
                let sum = row.iter().fold(0i32, |sum, weight| sum.wrapping_add(i32::from(*weight)));
                let of_zero_points = (depth as i32).wrapping_mul(zero_points[column]).wrapping_sub(sum);
                constants
                    .bias
                    .map_or(0, |bias| bias[column])
                    .wrapping_add(constants.input_zero_point.wrapping_mul(of_zero_points))
            })
            .collect();
        let asymmetric = zero_points.iter().any(|zero_point| *zero_point != 0);
        ByteProduct { isa, packed, offsets, weight_zero_points: asymmetric.then_some(zero_points) }
    }

    /// Computes `count` rows, requantized.
    pub(crate) fn run<T: Quantized>(
        &self,
        execution: Execution,
        count: usize,
        rows: &impl ByteRows,
        requantization: &Requantization,
        first_channel: usize,
        target: Target<'_, T>,
    ) {
        let epilogue =
            Requantize { product: self, requantization, first_channel, output: std::marker::PhantomData };
        self.multiply(execution, count, rows, &epilogue, target);
    }

    /// Computes `count` rows as `f32(sum) * scale`, with one scale for all columns or one for each.
    pub(crate) fn run_to_float(
        &self,
        execution: Execution,
        count: usize,
        rows: &impl ByteRows,
        scales: &[f32],
        target: Target<'_, f32>,
    ) {
        let epilogue = Dequantize { product: self, scales };
        self.multiply(execution, count, rows, &epilogue, target);
    }

    fn multiply<O: Send, E>(
        &self,
        execution: Execution,
        count: usize,
        rows: &impl ByteRows,
        epilogue: &E,
        target: Target<'_, O>,
    ) where
        E: Epilogue<u8, i32, Output = O> + Epilogue<i16, i32, Output = O>,
    {
        match self.packed {
            Packed::Portable(tile, ref panels) => {
                multiply(tile, execution, count, &As(rows), panels, epilogue, target);
            }
            #[cfg(target_arch = "x86_64")]
            Packed::Avx2(tile, ref panels) => {
                multiply(tile, execution, count, &As(rows), panels, epilogue, target);
            }
            #[cfg(target_arch = "x86_64")]
            Packed::Avx512Narrow(tile, ref panels) => {
                multiply(tile, execution, count, &As(rows), panels, epilogue, target);
            }
            #[cfg(target_arch = "x86_64")]
            Packed::Avx512Half(tile, ref panels) => {
                multiply(tile, execution, count, &As(rows), panels, epilogue, target);
            }
            #[cfg(target_arch = "x86_64")]
            Packed::Avx512(tile, ref panels) => {
                multiply(tile, execution, count, &As(rows), panels, epilogue, target);
            }
        }
    }

    /// Offsets of the columns from `first` on for a row with this sum of activations.
    #[inline(always)]
    fn with_offsets(&self, row_sum: i32, first: usize, count: usize, body: impl FnOnce(&[i32])) {
        /// At least the columns of any tile.
        const MOST_COLUMNS: usize = 64;
        let offsets = &self.offsets[first..first + count];
        match &self.weight_zero_points {
            None => body(offsets),
            Some(zero_points) => {
                let mut corrected = [0; MOST_COLUMNS];
                let corrected = &mut corrected[..count];
                for ((corrected, offset), zero_point) in
                    corrected.iter_mut().zip(offsets).zip(&zero_points[first..first + count])
                {
                    *corrected = offset.wrapping_sub(zero_point.wrapping_mul(row_sum));
                }
                body(corrected);
            }
        }
    }
}

#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
fn pack(isa: Supported, columns: usize, depth: usize, weights: &[i8]) -> Packed {
    #[cfg(target_arch = "x86_64")]
    if columns <= avx512::LANES
        && let Some(tile) = avx512::Byte::new(isa)
    {
        return Packed::Avx512Narrow(tile, Panels::pack(tile, columns, depth, weights));
    } else if columns <= 2 * avx512::LANES
        && let Some(tile) = avx512::Byte::new(isa)
    {
        return Packed::Avx512Half(tile, Panels::pack(tile, columns, depth, weights));
    } else if let Some(tile) = avx512::Byte::new(isa) {
        return Packed::Avx512(tile, Panels::pack(tile, columns, depth, weights));
    } else if let Some(tile) = avx2::Byte::new(isa) {
        return Packed::Avx2(tile, Panels::pack(tile, columns, depth, weights));
    }
    let tile = portable::Byte;
    Packed::Portable(tile, Panels::pack(tile, columns, depth, weights))
}

/// The value for an index where one value stands for all.
pub(crate) fn pick(values: &[i32], index: usize) -> i32 {
    if values.len() == 1 { values[0] } else { values[index] }
}

fn sum<L: Copy + Into<i32>>(row: &[L]) -> i32 {
    row.iter().fold(0i32, |sum, value| sum.wrapping_add((*value).into()))
}

struct Requantize<'a, T> {
    product: &'a ByteProduct,
    requantization: &'a Requantization,
    /// The requantization's channel of column 0.
    first_channel: usize,
    output: std::marker::PhantomData<fn() -> T>,
}

impl<L: Copy + Into<i32>, T: Quantized> Epilogue<L, i32> for Requantize<'_, T> {
    type Output = T;

    fn wants_row_sum(&self) -> bool {
        self.product.weight_zero_points.is_some()
    }

    fn row_sum(&self, row: &[L]) -> i32 {
        sum(row)
    }

    fn finish(&self, sums: &[i32], row_sum: i32, first: usize, output: &mut [T]) {
        self.product.isa.vectorize(
            #[inline(always)]
            || {
                self.product.with_offsets(
                    row_sum,
                    first,
                    output.len(),
                    #[inline(always)]
                    |offsets| {
                        self.requantization.apply_row(sums, offsets, self.first_channel + first, output);
                    },
                );
            },
        );
    }
}

struct Dequantize<'a> {
    product: &'a ByteProduct,
    scales: &'a [f32],
}

impl<L: Copy + Into<i32>> Epilogue<L, i32> for Dequantize<'_> {
    type Output = f32;

    fn wants_row_sum(&self) -> bool {
        self.product.weight_zero_points.is_some()
    }

    fn row_sum(&self, row: &[L]) -> i32 {
        sum(row)
    }

    fn finish(&self, sums: &[i32], row_sum: i32, first: usize, output: &mut [f32]) {
        self.product.with_offsets(row_sum, first, output.len(), |offsets| {
            for (index, result) in output.iter_mut().enumerate() {
                let scale = if self.scales.len() == 1 { self.scales[0] } else { self.scales[first + index] };
                *result = sums[index].wrapping_add(offsets[index]) as f32 * scale;
            }
        });
    }
}
