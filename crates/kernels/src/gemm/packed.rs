//! B in the order in which tiles read it.

use super::Tile;
use crate::aligned::{Aligned, Plain};

/// Panels of `COLUMNS` columns, each `[k group][column][k in the group]`, zero where k or the column runs out.
#[derive(Clone)]
pub(crate) struct Panels<R> {
    data: Aligned<R>,
    panel_len: usize,
    /// Columns of the product.
    pub(crate) columns: usize,
    /// k of the product.
    pub(crate) depth: usize,
    /// Groups of `DEPTH` consecutive k, at least one, the last perhaps in part.
    pub(crate) groups: usize,
}

impl<R: Plain> Panels<R> {
    /// Packs `[columns, depth]` weights.
    pub(crate) fn pack<T: Tile<Right = R>>(
        _tile: T,
        columns: usize,
        depth: usize,
        weights: &[R],
    ) -> Panels<R> {
        assert_eq!(weights.len(), columns * depth, "weights are [columns, depth]");
        let groups = depth.div_ceil(T::DEPTH).max(1);
        let panel_len = groups * T::COLUMNS * T::DEPTH;
        let mut data = Aligned::zeros(panel_len * columns.div_ceil(T::COLUMNS));
        let packed = data.as_mut_slice();
        for column in 0..columns {
            let start = column / T::COLUMNS * panel_len + column % T::COLUMNS * T::DEPTH;
            for k in 0..depth {
                packed[start + k / T::DEPTH * T::COLUMNS * T::DEPTH + k % T::DEPTH] =
                    weights[column * depth + k];
            }
        }
        Panels { data, panel_len, columns, depth, groups }
    }

    /// How many panels there are.
    pub(crate) fn count(&self) -> usize {
        self.data.as_slice().len().checked_div(self.panel_len).unwrap_or(0)
    }

    /// One panel.
    pub(crate) fn panel(&self, index: usize) -> &[R] {
        &self.data.as_slice()[index * self.panel_len..][..self.panel_len]
    }
}
