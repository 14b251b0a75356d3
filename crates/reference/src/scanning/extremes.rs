//! Positions and values of the largest or smallest elements along an axis. NaN counts as larger than every number.

use std::cmp::Ordering;

use calipers_ir::{DType, Tensor};

use crate::Error;
use crate::cells::Cells;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::shape::around;

/// How two positions of a tensor compare.
fn order(numbers: &Numbers, a: usize, b: usize) -> Ordering {
    fn floats<T: PartialOrd>(a: T, b: T) -> Ordering {
        // A NaN differs from itself.
        #[allow(clippy::eq_op)]
        a.partial_cmp(&b).unwrap_or_else(|| (a != a).cmp(&(b != b)))
    }
    match numbers {
        Numbers::F32(values) => floats(values[a], values[b]),
        Numbers::F64(values) => floats(values[a], values[b]),
        Numbers::I64(values) => values[a].cmp(&values[b]),
        Numbers::U64(values) => values[a].cmp(&values[b]),
        Numbers::Bool(values) => values[a].cmp(&values[b]),
    }
}

/// The position (i64) of the largest or smallest element along `axis`, the first or last of equal ones.
pub(super) fn position(
    axis: i64,
    keepdims: bool,
    last: bool,
    largest: bool,
    inputs: &Inputs<'_>,
) -> Result<Tensor, Error> {
    let x = inputs.tensor(0)?;
    let axis = inputs.axis(axis, x.shape().len())?;
    let (outer, extent, inner) = around(x.shape(), axis);
    let mut shape = x.shape().to_vec();
    if keepdims {
        shape[axis] = 1;
    } else {
        shape.remove(axis);
    }
    if extent == 0 && outer * inner > 0 {
        return Err(inputs.argument("an axis of at least one element", "none"));
    }
    let numbers = inputs.numbers_of(x)?;
    let better = if largest { Ordering::Greater } else { Ordering::Less };
    let mut positions = Vec::with_capacity(outer * inner);
    for lane in (0..outer).flat_map(|row| (0..inner).map(move |column| row * extent * inner + column)) {
        let best = (1..extent).fold(0, |best, step| {
            let order = order(&numbers, lane + step * inner, lane + best * inner);
            if order == better || last && order.is_eq() { step } else { best }
        });
        positions.push(best as i64);
    }
    inputs.result(DType::I64, &shape, Numbers::I64(positions))
}

/// The `k` largest or smallest elements along `axis` in that order, of equal ones the first first, and where they stand.
pub(super) fn top(axis: i64, largest: bool, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let x = inputs.tensor(0)?;
    let axis = inputs.axis(axis, x.shape().len())?;
    let (outer, extent, inner) = around(x.shape(), axis);
    let wanted = inputs.integer(1)?;
    let count = match usize::try_from(wanted) {
        Ok(count) if count <= extent => count,
        _ => return Err(inputs.argument(format!("k from 0 to {extent}"), format!("{wanted}"))),
    };
    let numbers = inputs.numbers_of(x)?;
    let mut shape = x.shape().to_vec();
    shape[axis] = count;
    let mut sources = vec![0; outer * count * inner];
    let mut positions = vec![0i64; sources.len()];
    for (row, column) in (0..outer).flat_map(|row| (0..inner).map(move |column| (row, column))) {
        let place = |step: usize| (row * extent + step) * inner + column;
        let mut steps: Vec<usize> = (0..extent).collect();
        steps.sort_by(|&a, &b| {
            let order = order(&numbers, place(a), place(b));
            if largest { order.reverse() } else { order }
        });
        for (rank, &step) in steps[..count].iter().enumerate() {
            let at = (row * count + rank) * inner + column;
            sources[at] = place(step);
            positions[at] = step as i64;
        }
    }
    let values = Cells::of(x).gather(sources.into_iter()).into_tensor(&shape);
    let values = values.map_err(|error| inputs.argument("a result that can be stored", error.to_string()))?;
    Ok(vec![values, inputs.result(DType::I64, &shape, Numbers::I64(positions))?])
}
