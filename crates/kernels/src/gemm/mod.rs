//! The matrix product that convolutions and matrix multiplications share: `C[m, n] = sum over k of A[m, k] * B[n, k]`.
//!
//! B is packed once into panels of `Tile::COLUMNS` output columns, k in groups of `Tile::DEPTH`; rows of A are taken
//! in place or gathered a block at a time; one tile of `rows x COLUMNS` accumulators is handed to the epilogue, which
//! alone knows what a result is. Each accumulator is summed over k in order by one thread, so that results depend
//! neither on the thread count nor on the blocking, and f32 results equal a loop of fused multiply-adds.

mod packed;

mod portable;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

mod byte;
mod float;

use std::cell::RefCell;
use std::ops::Range;

use crate::aligned::{Aligned, Plain};
use crate::isa::Execution;

pub(crate) use byte::{ByteProduct, ByteRows, Constants, Unsigned, pick};
pub(crate) use float::{Clamped, FloatProduct, clamp};
pub(crate) use packed::Panels;

/// The innermost product of one instruction set; a value of the type proves that the machine has it.
pub(crate) trait Tile: Copy + Send + Sync {
    /// An element of A as the instruction wants it.
    type Left: Plain + Default;
    /// An element of packed B.
    type Right: Plain;
    /// An accumulator.
    type Sum: Copy + Default + Send + Sync;
    /// Most rows of a tile.
    const ROWS: usize;
    /// Columns of a tile: the width of a panel.
    const COLUMNS: usize;
    /// Consecutive k that one instruction sums.
    const DEPTH: usize;

    /// `sums[row * COLUMNS + column] = sum over k of left[row * stride + k] * right[k / DEPTH][column][k % DEPTH]`
    /// for `rows` in `1..=ROWS` rows and `groups * DEPTH` values of k.
    fn multiply(
        self,
        rows: usize,
        groups: usize,
        left: &[Self::Left],
        stride: usize,
        right: &[Self::Right],
        sums: &mut [Self::Sum],
    );
}

/// Where rows of A come from.
pub(crate) trait Rows<L>: Sync {
    /// All rows in place and the distance between them, when each has `depth` elements (k rounded up to the groups).
    fn in_place(&self, depth: usize) -> Option<(&[L], usize)>;

    /// Writes the k elements of the rows from `first` on, each row's `stride` after the one before, to the end of
    /// `output`. What lies between them is not touched.
    fn gather(&self, first: usize, stride: usize, output: &mut [L]);
}

/// What becomes of accumulators.
pub(crate) trait Epilogue<L, S>: Sync {
    /// The element of the result.
    type Output: Send;

    /// Whether `finish` needs the sum of the row's elements of A.
    fn wants_row_sum(&self) -> bool {
        false
    }

    /// The sum that `finish` is given for a row of A with exactly k elements.
    fn row_sum(&self, _row: &[L]) -> i32 {
        0
    }

    /// Writes `output.len()` results for the columns from `first` on.
    fn finish(&self, sums: &[S], row_sum: i32, first: usize, output: &mut [Self::Output]);
}

/// The result matrix: rows `stride` apart, this product's columns from `offset` on.
pub(crate) struct Target<'a, T> {
    pub(crate) output: &'a mut [T],
    pub(crate) stride: usize,
    pub(crate) offset: usize,
}

/// A result matrix that several threads write disjoint parts of.
struct Shared<T> {
    start: *mut T,
    len: usize,
    stride: usize,
    offset: usize,
}

// SAFETY: `row` is the only access, and its callers take disjoint parts.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Columns `columns` of a row.
    ///
    /// # Safety
    ///
    /// No other borrow of this part is alive.
    #[allow(clippy::mut_from_ref)]
    unsafe fn row(&self, row: usize, columns: Range<usize>) -> &mut [T] {
        let begin = row * self.stride + self.offset + columns.start;
        assert!(begin + columns.len() <= self.len, "a result row lies outside the output");
        // SAFETY: in bounds by the assertion; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(begin), columns.len()) }
    }
}

/// Bytes of gathered rows that stay in the second-level cache beside a panel of B.
const BLOCK_BYTES: usize = 192 * 1024;

/// Most rows of a gathered block.
const BLOCK_ROWS: usize = 96;

/// Computes `count` rows of the product into `target`.
pub(crate) fn multiply<T: Tile, E: Epilogue<T::Left, T::Sum>>(
    tile: T,
    execution: Execution,
    count: usize,
    rows: &impl Rows<T::Left>,
    panels: &Panels<T::Right>,
    epilogue: &E,
    target: Target<'_, E::Output>,
) {
    if count == 0 || panels.columns == 0 {
        return;
    }
    let depth = panels.groups * T::DEPTH;
    let panel_count = panels.count();
    let threads = execution.threads.max(1);

    let fitting = BLOCK_BYTES / (depth * size_of::<T::Left>()).max(1);
    let block_rows = fitting.min(BLOCK_ROWS).min(count.div_ceil(threads)).max(1).next_multiple_of(T::ROWS);
    let blocks = count.div_ceil(block_rows);
    // Few blocks leave threads idle: then the panels are shared out as well, and rows gathered by each.
    let shares =
        if blocks >= 2 * threads { 1 } else { panel_count.min(threads.div_ceil(blocks.min(threads))) };
    let panels_per_share = panel_count.div_ceil(shares);

    let shared = Shared {
        start: target.output.as_mut_ptr(),
        len: target.output.len(),
        stride: target.stride,
        offset: target.offset,
    };
    let in_place = rows.in_place(depth);
    execution.for_each(blocks * shares, |task| {
        let first_row = task / shares * block_rows;
        let last_row = count.min(first_row + block_rows);
        let first_panel = task % shares * panels_per_share;
        let some_panels = first_panel..panel_count.min(first_panel + panels_per_share);
        let block = first_row..last_row;
        match in_place {
            Some((left, stride)) => {
                let end = (last_row - 1) * stride + depth;
                let left = &left[first_row * stride..end];
                product(tile, block, some_panels, left, stride, panels, epilogue, &shared);
            }
            None => with_scratch::<T::Left, _>((last_row - first_row) * depth, |scratch| {
                if panels.depth < depth {
                    for row in scratch.chunks_exact_mut(depth) {
                        row[panels.depth..].fill(T::Left::default());
                    }
                }
                execution.isa.vectorize(
                    #[inline(always)]
                    || rows.gather(first_row, depth, scratch),
                );
                product(tile, block, some_panels, scratch, depth, panels, epilogue, &shared);
            }),
        }
    });
}

/// One block of rows against some panels, tile by tile.
#[allow(clippy::too_many_arguments)]
fn product<T: Tile, E: Epilogue<T::Left, T::Sum>>(
    tile: T,
    block: Range<usize>,
    some_panels: Range<usize>,
    left: &[T::Left],
    stride: usize,
    panels: &Panels<T::Right>,
    epilogue: &E,
    shared: &Shared<E::Output>,
) {
    const MOST_SUMS: usize = 512;
    const MOST_BLOCK_ROWS: usize = 128;
    const { assert!(T::ROWS * T::COLUMNS <= MOST_SUMS) };
    let mut sums = [T::Sum::default(); MOST_SUMS];
    let mut row_sums = [0; MOST_BLOCK_ROWS];
    if epilogue.wants_row_sum() {
        for (index, sum) in row_sums[..block.len()].iter_mut().enumerate() {
            *sum = epilogue.row_sum(&left[index * stride..][..panels.depth]);
        }
    }
    for panel in some_panels {
        let right = panels.panel(panel);
        let first = panel * T::COLUMNS;
        let columns = first..panels.columns.min(first + T::COLUMNS);
        let mut start = 0;
        while start < block.len() {
            let rows = T::ROWS.min(block.len() - start);
            tile.multiply(rows, panels.groups, &left[start * stride..], stride, right, &mut sums);
            for row in 0..rows {
                // SAFETY: tasks differ in rows or in panels, and each takes one row's columns at a time.
                let output = unsafe { shared.row(block.start + start + row, columns.clone()) };
                epilogue.finish(
                    &sums[row * T::COLUMNS..][..T::COLUMNS],
                    row_sums[start + row],
                    first,
                    output,
                );
            }
            start += rows;
        }
    }
}

/// Lends `len` elements that this thread keeps from call to call; their values are unspecified.
fn with_scratch<L: Plain, R>(len: usize, body: impl FnOnce(&mut [L]) -> R) -> R {
    thread_local! {
        static SCRATCH: RefCell<Aligned<u8>> = RefCell::new(Aligned::zeros(0));
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let bytes = len * size_of::<L>();
        scratch.reserve(bytes);
        let start = scratch.as_mut_slice().as_mut_ptr();
        // SAFETY: `bytes` initialised bytes on a cache line, exclusively borrowed; any bits are an `L`.
        body(unsafe { std::slice::from_raw_parts_mut(start.cast(), len) })
    })
}
