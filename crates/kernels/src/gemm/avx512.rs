//! Tiles for AVX-512: f32 by fused multiply-add, 8-bit by `vpdpbusd`.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps,
    _mm512_storeu_si512,
};

use super::Tile;
use crate::isa::{Isa, Supported};

/// f32 on AVX-512 F, in panels of 1 or 2 vectors.
#[derive(Clone, Copy)]
pub(crate) struct Float<const VECTORS: usize>(());

/// `u8 * i8 -> i32` on AVX-512 VNNI, in panels of 1, 2 or 4 vectors.
#[derive(Clone, Copy)]
pub(crate) struct Byte<const VECTORS: usize>(());

impl<const VECTORS: usize> Float<VECTORS> {
    /// The proof, from the machine's.
    pub(crate) fn new(supported: Supported) -> Option<Self> {
        (supported.isa() == Isa::Avx512Vnni).then_some(Self(()))
    }
}

impl<const VECTORS: usize> Byte<VECTORS> {
    /// The proof, from the machine's.
    pub(crate) fn new(supported: Supported) -> Option<Self> {
        (supported.isa() == Isa::Avx512Vnni).then_some(Self(()))
    }
}

/// 32-bit elements of a vector.
pub(crate) const LANES: usize = 16;

impl<const VECTORS: usize> Tile for Float<VECTORS> {
    type Left = f32;
    type Right = f32;
    type Sum = f32;
    const ROWS: usize = 12;
    const COLUMNS: usize = VECTORS * LANES;
    const DEPTH: usize = 1;

    #[inline]
    fn multiply(
        self,
        rows: usize,
        groups: usize,
        left: &[f32],
        stride: usize,
        right: &[f32],
        sums: &mut [f32],
    ) {
        assert!((1..=Self::ROWS).contains(&rows));
        assert!(left.len() >= (rows - 1) * stride + groups);
        assert!(right.len() >= groups * Self::COLUMNS && sums.len() >= rows * Self::COLUMNS);
        // SAFETY: `self` proves AVX-512; the lengths are asserted above.
        unsafe {
            match rows {
                1 => float_tile::<1, VECTORS>(groups, left, stride, right, sums),
                2 => float_tile::<2, VECTORS>(groups, left, stride, right, sums),
                3 => float_tile::<3, VECTORS>(groups, left, stride, right, sums),
                4 => float_tile::<4, VECTORS>(groups, left, stride, right, sums),
                5 => float_tile::<5, VECTORS>(groups, left, stride, right, sums),
                6 => float_tile::<6, VECTORS>(groups, left, stride, right, sums),
                7 => float_tile::<7, VECTORS>(groups, left, stride, right, sums),
                8 => float_tile::<8, VECTORS>(groups, left, stride, right, sums),
                9 => float_tile::<9, VECTORS>(groups, left, stride, right, sums),
                10 => float_tile::<10, VECTORS>(groups, left, stride, right, sums),
                11 => float_tile::<11, VECTORS>(groups, left, stride, right, sums),
                _ => float_tile::<12, VECTORS>(groups, left, stride, right, sums),
            }
        }
    }
}

/// # Safety
///
/// The machine has AVX-512 F; the slices have the lengths that [`Tile::multiply`] states for `ROWS` rows.
#[target_feature(enable = "avx512f")]
unsafe fn float_tile<const ROWS: usize, const VECTORS: usize>(
    groups: usize,
    left: &[f32],
    stride: usize,
    right: &[f32],
    sums: &mut [f32],
) {
    let mut accumulators: [[__m512; VECTORS]; ROWS] = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    let left = left.as_ptr();
    let mut right = right.as_ptr();
    for k in 0..groups {
        // SAFETY: `k < groups` groups of `VECTORS` vectors are in `right`, `groups` elements in each row of `left`.
        unsafe {
            let mut columns = [_mm512_setzero_ps(); VECTORS];
            for (vector, column) in columns.iter_mut().enumerate() {
                *column = _mm512_loadu_ps(right.add(vector * LANES));
            }
            right = right.add(VECTORS * LANES);
            for (row, accumulator) in accumulators.iter_mut().enumerate() {
                let value = _mm512_set1_ps(*left.add(row * stride + k));
                for (sum, column) in accumulator.iter_mut().zip(columns) {
                    *sum = _mm512_fmadd_ps(value, column, *sum);
                }
            }
        }
    }
    let sums = sums.as_mut_ptr();
    for (row, accumulator) in accumulators.iter().enumerate() {
        for (vector, sum) in accumulator.iter().enumerate() {
            // SAFETY: `sums` has `ROWS` rows of `VECTORS` vectors.
            unsafe { _mm512_storeu_ps(sums.add((row * VECTORS + vector) * LANES), *sum) };
        }
    }
}

impl<const VECTORS: usize> Tile for Byte<VECTORS> {
    type Left = u8;
    type Right = i8;
    type Sum = i32;
    // Four vectors and twelve rows would need more registers than there are.
    const ROWS: usize = if VECTORS > 2 { 6 } else { 12 };
    const COLUMNS: usize = VECTORS * LANES;
    const DEPTH: usize = 4;

    #[inline]
    fn multiply(
        self,
        rows: usize,
        groups: usize,
        left: &[u8],
        stride: usize,
        right: &[i8],
        sums: &mut [i32],
    ) {
        assert!((1..=Self::ROWS).contains(&rows));
        assert!(left.len() >= (rows - 1) * stride + groups * Self::DEPTH);
        assert!(right.len() >= groups * Self::COLUMNS * Self::DEPTH && sums.len() >= rows * Self::COLUMNS);
        // SAFETY: `self` proves AVX-512 VNNI; the lengths are asserted above.
        unsafe {
            match rows {
                1 => byte_tile::<1, VECTORS>(groups, left, stride, right, sums),
                2 => byte_tile::<2, VECTORS>(groups, left, stride, right, sums),
                3 => byte_tile::<3, VECTORS>(groups, left, stride, right, sums),
                4 => byte_tile::<4, VECTORS>(groups, left, stride, right, sums),
                5 => byte_tile::<5, VECTORS>(groups, left, stride, right, sums),
                6 => byte_tile::<6, VECTORS>(groups, left, stride, right, sums),
                7 => byte_tile::<7, VECTORS>(groups, left, stride, right, sums),
                8 => byte_tile::<8, VECTORS>(groups, left, stride, right, sums),
                9 => byte_tile::<9, VECTORS>(groups, left, stride, right, sums),
                10 => byte_tile::<10, VECTORS>(groups, left, stride, right, sums),
                11 => byte_tile::<11, VECTORS>(groups, left, stride, right, sums),
                _ => byte_tile::<12, VECTORS>(groups, left, stride, right, sums),
            }
        }
    }
}

/// # Safety
///
/// The machine has AVX-512 VNNI; the slices have the lengths that [`Tile::multiply`] states for `ROWS` rows.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn byte_tile<const ROWS: usize, const VECTORS: usize>(
    groups: usize,
    left: &[u8],
    stride: usize,
    right: &[i8],
    sums: &mut [i32],
) {
    const DEPTH: usize = 4;
    let mut accumulators: [[__m512i; VECTORS]; ROWS] = [[_mm512_setzero_si512(); VECTORS]; ROWS];
    let left = left.as_ptr();
    let mut right = right.as_ptr();
    for group in 0..groups {
        // SAFETY: `group < groups` groups of `VECTORS` vectors are in `right`, of four bytes in each row of `left`.
        unsafe {
            let mut columns = [_mm512_setzero_si512(); VECTORS];
            for (vector, column) in columns.iter_mut().enumerate() {
                *column = _mm512_loadu_si512(right.add(vector * LANES * DEPTH).cast());
            }
            right = right.add(VECTORS * LANES * DEPTH);
            for (row, accumulator) in accumulators.iter_mut().enumerate() {
                let four = left.add(row * stride + group * DEPTH).cast::<i32>().read_unaligned();
                let value = _mm512_set1_epi32(four);
                for (sum, column) in accumulator.iter_mut().zip(columns) {
                    *sum = _mm512_dpbusd_epi32(*sum, value, column);
                }
            }
        }
    }
    let sums = sums.as_mut_ptr();
    for (row, accumulator) in accumulators.iter().enumerate() {
        for (vector, sum) in accumulator.iter().enumerate() {
            // SAFETY: `sums` has `ROWS` rows of `VECTORS` vectors.
            unsafe { _mm512_storeu_si512(sums.add((row * VECTORS + vector) * LANES).cast(), *sum) };
        }
    }
}
