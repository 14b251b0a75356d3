//! Tiles in plain Rust, for every machine. The compiler vectorises them for the target's baseline.

use super::Tile;

const ROWS: usize = 4;
const COLUMNS: usize = 8;

/// f32 by fused multiply-add.
#[derive(Clone, Copy)]
pub(crate) struct Float;

/// `u8 * i8 -> i32`.
#[derive(Clone, Copy)]
pub(crate) struct Byte;

impl Tile for Float {
    type Left = f32;
    type Right = f32;
    type Sum = f32;
    const ROWS: usize = ROWS;
    const COLUMNS: usize = COLUMNS;
    const DEPTH: usize = 1;

    fn multiply(
        self,
        rows: usize,
        groups: usize,
        left: &[f32],
        stride: usize,
        right: &[f32],
        sums: &mut [f32],
    ) {
        tile(rows, groups, left, stride, right, sums, |sum: f32, x, w: f32| w.mul_add(x, sum));
    }
}

impl Tile for Byte {
    type Left = u8;
    type Right = i8;
    type Sum = i32;
    const ROWS: usize = ROWS;
    const COLUMNS: usize = COLUMNS;
    const DEPTH: usize = 1;

    fn multiply(
        self,
        rows: usize,
        groups: usize,
        left: &[u8],
        stride: usize,
        right: &[i8],
        sums: &mut [i32],
    ) {
        tile(rows, groups, left, stride, right, sums, |sum: i32, x, w| {
            sum.wrapping_add(i32::from(x) * i32::from(w))
        });
    }
}

#[inline(always)]
fn tile<L: Copy, R: Copy, S: Copy + Default>(
    rows: usize,
    groups: usize,
    left: &[L],
    stride: usize,
    right: &[R],
    sums: &mut [S],
    add: impl Fn(S, L, R) -> S,
) {
    for (row, sums) in sums.chunks_exact_mut(COLUMNS).take(rows).enumerate() {
        let mut accumulators = [S::default(); COLUMNS];
        let left = &left[row * stride..][..groups];
        for (x, columns) in left.iter().zip(right.chunks_exact(COLUMNS)) {
            for (sum, w) in accumulators.iter_mut().zip(columns) {
                *sum = add(*sum, *x, *w);
            }
        }
        sums.copy_from_slice(&accumulators);
    }
}
