//! Tiles for AVX-512: f32 by fused multiply-add, 8-bit by `vpdpbusd`.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps,
    _mm512_storeu_si512,
};

use super::Tile;
use crate::isa::{Isa, Supported};

/// f32 on AVX-512 F.
#[derive(Clone, Copy)]
pub(crate) struct Float(());

/// `u8 * i8 -> i32` on AVX-512 VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Byte(());

impl Float {
    /// The proof, from the machine's.
    pub(crate) fn new(supported: Supported) -> Option<Float> {
        (supported.isa() == Isa::Avx512Vnni).then_some(Float(()))
    }
}

impl Byte {
    /// The proof, from the machine's.
    pub(crate) fn new(supported: Supported) -> Option<Byte> {
        (supported.isa() == Isa::Avx512Vnni).then_some(Byte(()))
    }
}

const LANES: usize = 16;
const FLOAT_VECTORS: usize = 2;
const BYTE_VECTORS: usize = 4;

impl Tile for Float {
    type Left = f32;
    type Right = f32;
    type Sum = f32;
    const ROWS: usize = 12;
    const COLUMNS: usize = FLOAT_VECTORS * LANES;
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
                1 => float_tile::<1>(groups, left, stride, right, sums),
                2 => float_tile::<2>(groups, left, stride, right, sums),
                3 => float_tile::<3>(groups, left, stride, right, sums),
                4 => float_tile::<4>(groups, left, stride, right, sums),
                5 => float_tile::<5>(groups, left, stride, right, sums),
                6 => float_tile::<6>(groups, left, stride, right, sums),
                7 => float_tile::<7>(groups, left, stride, right, sums),
                8 => float_tile::<8>(groups, left, stride, right, sums),
                9 => float_tile::<9>(groups, left, stride, right, sums),
                10 => float_tile::<10>(groups, left, stride, right, sums),
                11 => float_tile::<11>(groups, left, stride, right, sums),
                _ => float_tile::<12>(groups, left, stride, right, sums),
            }
        }
    }
}

/// # Safety
///
/// The machine has AVX-512 F; the slices have the lengths that [`Tile::multiply`] states for `ROWS` rows.
#[target_feature(enable = "avx512f")]
unsafe fn float_tile<const ROWS: usize>(
    groups: usize,
    left: &[f32],
    stride: usize,
    right: &[f32],
    sums: &mut [f32],
) {
    let mut accumulators: [[__m512; FLOAT_VECTORS]; ROWS] = [[_mm512_setzero_ps(); FLOAT_VECTORS]; ROWS];
    let left = left.as_ptr();
    let mut right = right.as_ptr();
    for k in 0..groups {
        // SAFETY: `k < groups` groups of two vectors are in `right`, `groups` elements in each row of `left`.
        unsafe {
            let columns = [_mm512_loadu_ps(right), _mm512_loadu_ps(right.add(LANES))];
            right = right.add(FLOAT_VECTORS * LANES);
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
            // SAFETY: `sums` has `ROWS` rows of two vectors.
            unsafe { _mm512_storeu_ps(sums.add((row * FLOAT_VECTORS + vector) * LANES), *sum) };
        }
    }
}

impl Tile for Byte {
    type Left = u8;
    type Right = i8;
    type Sum = i32;
    const ROWS: usize = 6;
    const COLUMNS: usize = BYTE_VECTORS * LANES;
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
                1 => byte_tile::<1>(groups, left, stride, right, sums),
                2 => byte_tile::<2>(groups, left, stride, right, sums),
                3 => byte_tile::<3>(groups, left, stride, right, sums),
                4 => byte_tile::<4>(groups, left, stride, right, sums),
                5 => byte_tile::<5>(groups, left, stride, right, sums),
                _ => byte_tile::<6>(groups, left, stride, right, sums),
            }
        }
    }
}

/// # Safety
///
/// The machine has AVX-512 VNNI; the slices have the lengths that [`Tile::multiply`] states for `ROWS` rows.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn byte_tile<const ROWS: usize>(
    groups: usize,
    left: &[u8],
    stride: usize,
    right: &[i8],
    sums: &mut [i32],
) {
    const DEPTH: usize = 4;
    let mut accumulators: [[__m512i; BYTE_VECTORS]; ROWS] = [[_mm512_setzero_si512(); BYTE_VECTORS]; ROWS];
    let left = left.as_ptr();
    let mut right = right.as_ptr();
    for group in 0..groups {
        // SAFETY: `group < groups` groups of four vectors are in `right`, of four bytes in each row of `left`.
        unsafe {
            let mut columns = [_mm512_setzero_si512(); BYTE_VECTORS];
            for (vector, column) in columns.iter_mut().enumerate() {
                *column = _mm512_loadu_si512(right.add(vector * LANES * DEPTH).cast());
            }
            right = right.add(BYTE_VECTORS * LANES * DEPTH);
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
            // SAFETY: `sums` has `ROWS` rows of four vectors.
            unsafe { _mm512_storeu_si512(sums.add((row * BYTE_VECTORS + vector) * LANES).cast(), *sum) };
        }
    }
}
