//! Tiles for AVX2: f32 by fused multiply-add, 8-bit widened to 16-bit pairs and summed by `vpmaddwd`.
//!
//! The byte instruction `vpmaddubsw` saturates on full-range operands and is not used.

use std::arch::x86_64::{
    __m256, __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_fmadd_ps,
    _mm256_loadu_ps, _mm256_madd_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_setzero_si256, _mm256_storeu_ps, _mm256_storeu_si256,
};

use super::Tile;
use crate::isa::{Isa, Supported};

/// f32 on AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Float(());

/// `i16 * i8 -> i32` on AVX2.
#[derive(Clone, Copy)]
pub(crate) struct Byte(());

impl Float {
    /// The proof, from the machine's.
    pub(crate) fn new(supported: Supported) -> Option<Float> {
        (supported.isa() == Isa::Avx2).then_some(Float(()))
    }
}

impl Byte {
    /// The proof, from the machine's.
    pub(crate) fn new(supported: Supported) -> Option<Byte> {
        (supported.isa() == Isa::Avx2).then_some(Byte(()))
    }
}

const LANES: usize = 8;
const VECTORS: usize = 2;

impl Tile for Float {
    type Left = f32;
    type Right = f32;
    type Sum = f32;
    const ROWS: usize = 6;
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
        // SAFETY: `self` proves AVX2 and FMA; the lengths are asserted above.
        unsafe {
            match rows {
                1 => float_tile::<1>(groups, left, stride, right, sums),
                2 => float_tile::<2>(groups, left, stride, right, sums),
                3 => float_tile::<3>(groups, left, stride, right, sums),
                4 => float_tile::<4>(groups, left, stride, right, sums),
                5 => float_tile::<5>(groups, left, stride, right, sums),
                _ => float_tile::<6>(groups, left, stride, right, sums),
            }
        }
    }
}

/// # Safety
///
/// The machine has AVX2 and FMA; the slices have the lengths that [`Tile::multiply`] states for `ROWS` rows.
#[target_feature(enable = "avx2,fma")]
unsafe fn float_tile<const ROWS: usize>(
    groups: usize,
    left: &[f32],
    stride: usize,
    right: &[f32],
    sums: &mut [f32],
) {
    let mut accumulators: [[__m256; VECTORS]; ROWS] = [[_mm256_setzero_ps(); VECTORS]; ROWS];
    let left = left.as_ptr();
    let mut right = right.as_ptr();
    for k in 0..groups {
        // SAFETY: `k < groups` groups of two vectors are in `right`, `groups` elements in each row of `left`.
        unsafe {
            let columns = [_mm256_loadu_ps(right), _mm256_loadu_ps(right.add(LANES))];
            right = right.add(VECTORS * LANES);
            for (row, accumulator) in accumulators.iter_mut().enumerate() {
                let value = _mm256_set1_ps(*left.add(row * stride + k));
                for (sum, column) in accumulator.iter_mut().zip(columns) {
                    *sum = _mm256_fmadd_ps(value, column, *sum);
                }
            }
        }
    }
    let sums = sums.as_mut_ptr();
    for (row, accumulator) in accumulators.iter().enumerate() {
        for (vector, sum) in accumulator.iter().enumerate() {
            // SAFETY: `sums` has `ROWS` rows of two vectors.
            unsafe { _mm256_storeu_ps(sums.add((row * VECTORS + vector) * LANES), *sum) };
        }
    }
}

impl Tile for Byte {
    type Left = i16;
    type Right = i8;
    type Sum = i32;
    const ROWS: usize = 6;
    const COLUMNS: usize = VECTORS * LANES;
    const DEPTH: usize = 2;

    #[inline]
    fn multiply(
        self,
        rows: usize,
        groups: usize,
        left: &[i16],
        stride: usize,
        right: &[i8],
        sums: &mut [i32],
    ) {
        assert!((1..=Self::ROWS).contains(&rows));
        assert!(left.len() >= (rows - 1) * stride + groups * Self::DEPTH);
        assert!(right.len() >= groups * Self::COLUMNS * Self::DEPTH && sums.len() >= rows * Self::COLUMNS);
        // SAFETY: `self` proves AVX2; the lengths are asserted above.
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
/// The machine has AVX2; the slices have the lengths that [`Tile::multiply`] states for `ROWS` rows.
#[target_feature(enable = "avx2")]
unsafe fn byte_tile<const ROWS: usize>(
    groups: usize,
    left: &[i16],
    stride: usize,
    right: &[i8],
    sums: &mut [i32],
) {
    const DEPTH: usize = 2;
    let mut accumulators: [[__m256i; VECTORS]; ROWS] = [[_mm256_setzero_si256(); VECTORS]; ROWS];
    let left = left.as_ptr();
    let mut right = right.as_ptr();
    for group in 0..groups {
        // SAFETY: `group < groups` groups of 32 bytes are in `right`, of two elements in each row of `left`.
        unsafe {
            let columns = [
                _mm256_cvtepi8_epi16(_mm_loadu_si128(right.cast())),
                _mm256_cvtepi8_epi16(_mm_loadu_si128(right.add(LANES * DEPTH).cast())),
            ];
            right = right.add(VECTORS * LANES * DEPTH);
            for (row, accumulator) in accumulators.iter_mut().enumerate() {
                let pair = left.add(row * stride + group * DEPTH).cast::<i32>().read_unaligned();
                let value = _mm256_set1_epi32(pair);
                for (sum, column) in accumulator.iter_mut().zip(columns) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(value, column));
                }
            }
        }
    }
    let sums = sums.as_mut_ptr();
    for (row, accumulator) in accumulators.iter().enumerate() {
        for (vector, sum) in accumulator.iter().enumerate() {
            // SAFETY: `sums` has `ROWS` rows of two vectors.
            unsafe { _mm256_storeu_si256(sums.add((row * VECTORS + vector) * LANES).cast(), *sum) };
        }
    }
}
