//! Determinants.

use calipers_ir::Tensor;

use crate::Error;
use crate::inputs::Inputs;
use crate::numbers::Numbers;

/// The determinant of each matrix over the last two axes.
pub(super) fn determinants(inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let tensor = inputs.tensor(0)?;
    let &[ref outer @ .., rows, columns] = tensor.shape() else {
        return Err(inputs.argument("matrices", format!("shape {:?}", tensor.shape())));
    };
    if rows != columns {
        return Err(inputs.argument("square matrices", format!("shape {:?}", tensor.shape())));
    }
    let mut values = inputs.doubles(0)?;
    let results = match rows {
        0 => vec![1.0; inputs.count(outer)?],
        _ => values.chunks_exact_mut(rows * rows).map(|matrix| determinant(matrix, rows)).collect(),
    };
    Ok(vec![inputs.result(tensor.dtype(), outer, Numbers::F64(results))?])
}

/// By elimination with the largest pivot of each column.
fn determinant(matrix: &mut [f64], size: usize) -> f64 {
    let mut product = 1.0;
    for step in 0..size {
        let magnitude = |row: &usize| matrix[row * size + step].abs();
        let pivot = (step..size).max_by(|a, b| magnitude(a).total_cmp(&magnitude(b))).unwrap_or(step);
        if pivot != step {
            (0..size).for_each(|column| matrix.swap(pivot * size + column, step * size + column));
            product = -product;
        }
        let leading = matrix[step * size + step];
        product *= leading;
        if leading == 0.0 {
            return 0.0;
        }
        let (above, below) = matrix.split_at_mut((step + 1) * size);
        let pivot_row = &above[step * size..];
        for row in below.chunks_exact_mut(size) {
            let factor = row[step] / leading;
            row.iter_mut().zip(pivot_row).for_each(|(value, pivot)| *value -= factor * pivot);
        }
    }
    product
}
