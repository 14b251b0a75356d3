//! The different elements, or slices along an axis.

use std::cmp::Ordering;

use calipers_ir::{DType, Tensor};

use super::stored;
use crate::Error;
use crate::cells::Cells;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::shape::around;

/// Values, first positions, inverse positions and counts; ascending, or in the order of first occurrence.
pub(super) fn unique(axis: Option<i64>, sorted: bool, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let x = inputs.tensor(0)?;
    let whole = [x.len()];
    let (shape, axis) = match axis {
        Some(axis) => (x.shape(), inputs.axis(axis, x.shape().len())?),
        None => (&whole[..], 0),
    };
    let (outer, extent, inner) = around(shape, axis);
    let order = order_of(x, inputs)?;
    let place = |slice: usize, row: usize, column: usize| (row * extent + slice) * inner + column;
    let compare = |&a: &usize, &b: &usize| {
        (0..outer)
            .flat_map(|row| (0..inner).map(move |column| (row, column)))
            .map(|(row, column)| order(place(a, row, column), place(b, row, column)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    };
    let mut ascending: Vec<usize> = (0..extent).collect();
    ascending.sort_by(compare);
    // Groups of equal slices; the sort is stable, so that the first of each occurs first.
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for slice in ascending {
        match groups.last_mut().filter(|group| compare(&group[0], &slice).is_eq()) {
            Some(group) => group.push(slice),
            None => groups.push(vec![slice]),
        }
    }
    if !sorted {
        groups.sort_by_key(|group| group[0]);
    }
    let mut inverse = vec![0; extent];
    for (index, group) in groups.iter().enumerate() {
        group.iter().for_each(|&slice| inverse[slice] = index as i64);
    }
    let first: Vec<usize> = groups.iter().map(|group| group[0]).collect();
    let mut result = shape.to_vec();
    result[axis] = first.len();
    let starts = (0..outer).flat_map(|row| first.iter().map(move |slice| (row * extent + slice) * inner));
    let values = Cells::of(x).gather_runs(starts, inner).into_tensor(&result);
    let positions = |numbers: Vec<i64>| {
        let count = numbers.len();
        inputs.result(DType::I64, &[count], Numbers::I64(numbers))
    };
    Ok(vec![
        values.map_err(|error| stored(error, inputs))?,
        positions(first.into_iter().map(|slice| slice as i64).collect())?,
        positions(inverse)?,
        positions(groups.iter().map(|group| group.len() as i64).collect())?,
    ])
}

/// How two elements compare; NaN is the largest number, and equal to itself.
fn order_of<'a>(
    x: &'a Tensor,
    inputs: &Inputs<'_>,
) -> Result<Box<dyn Fn(usize, usize) -> Ordering + 'a>, Error> {
    if let Some(strings) = x.strings() {
        return Ok(Box::new(|a, b| strings[a].cmp(&strings[b])));
    }
    Ok(match inputs.numbers_of(x)? {
        Numbers::I64(values) => Box::new(move |a, b| values[a].cmp(&values[b])),
        Numbers::U64(values) => Box::new(move |a, b| values[a].cmp(&values[b])),
        Numbers::Bool(values) => Box::new(move |a, b| values[a].cmp(&values[b])),
        numbers => {
            let values = numbers.into_f64();
            Box::new(move |a, b| {
                let (a, b) = (values[a], values[b]);
                a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
            })
        }
    })
}
