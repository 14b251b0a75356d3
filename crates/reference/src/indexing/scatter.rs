//! Writing elements and slices by position, alone or combined with what stands there.

use calipers_ir::{DType, Tensor};

use super::gather::{Slices, element_positions};
use super::{position, stored};
use crate::Error;
use crate::cells::Cells;
use crate::inputs::Inputs;
use crate::numbers::Numbers;

/// The data with each update at the place of its index, see [`super::gather::gather_elements`].
pub(super) fn scatter_elements(axis: i64, reduction: &str, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let (data, indices, updates) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.tensor(2)?);
    let axis = inputs.axis(axis, data.shape().len())?;
    let targets = element_positions(axis, data, indices, &inputs.integers(1)?, inputs)?;
    if updates.shape() != indices.shape() {
        return Err(inputs
            .argument(format!("updates of shape {:?}", indices.shape()), format!("{:?}", updates.shape())));
    }
    write(data, updates, &targets, reduction, inputs)
}

/// The data with each slice that a row of indices names replaced by, or combined with, an update.
pub(super) fn scatter_nd(reduction: &str, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let (data, indices, updates) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.tensor(2)?);
    let slices = Slices::of(data, indices, 0, inputs)?;
    let rows = &indices.shape()[..indices.shape().len() - 1];
    let expected = [rows, &data.shape()[slices.depth..]].concat();
    if updates.shape() != expected {
        return Err(
            inputs.argument(format!("updates of shape {expected:?}"), format!("{:?}", updates.shape()))
        );
    }
    let run = slices.run;
    let targets: Vec<usize> =
        slices.starts.iter().flat_map(|&start| (0..run).map(move |index| start + index)).collect();
    write(data, updates, &targets, reduction, inputs)
}

/// The cache with the update written along `axis`, for each sample from its own position on.
pub(super) fn tensor_scatter(axis: i64, mode: &str, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let (past, update) = (inputs.tensor(0)?, inputs.tensor(1)?);
    let axis = inputs.axis(axis, past.shape().len())?;
    let circular = match mode {
        "linear" => false,
        "circular" => true,
        other => return Err(inputs.argument("mode = linear or circular", format!("`{other}`"))),
    };
    let (length, most) = (update.shape().get(axis).copied().unwrap_or(0), past.shape()[axis]);
    let mut expected = past.shape().to_vec();
    expected[axis] = length;
    if axis == 0 || update.shape() != expected || length > most {
        return Err(inputs.argument(
            format!(
                "an update like {:?} with at most {most} along axis {axis}, after the batch",
                past.shape()
            ),
            format!("{:?}", update.shape()),
        ));
    }
    let batch = past.shape()[0];
    let begins = inputs.optional_integers(2)?.unwrap_or_else(|| vec![0; batch]);
    if begins.len() != batch {
        return Err(inputs.argument(format!("{batch} write indices"), format!("{}", begins.len())));
    }
    let prefix: usize = past.shape()[1..axis].iter().product();
    let inner: usize = past.shape()[axis + 1..].iter().product();
    let mut targets = Vec::with_capacity(update.len());
    for row in 0..batch * prefix {
        for step in 0..length as i64 {
            let at = begins[row / prefix.max(1)].saturating_add(step);
            let at = if circular { at.rem_euclid(most as i64) } else { at };
            let start = (row * most + position(at, most, inputs)?) * inner;
            targets.extend(start..start + inner);
        }
    }
    write(past, update, &targets, "none", inputs)
}

/// The data with update `i` written to, or combined with, element `targets[i]`, in order.
fn write(
    data: &Tensor,
    updates: &Tensor,
    targets: &[usize],
    reduction: &str,
    inputs: &Inputs<'_>,
) -> Result<Tensor, Error> {
    if data.dtype() != updates.dtype() {
        return Err(inputs.argument(format!("updates of type {}", data.dtype()), updates.dtype().to_string()));
    }
    if !["none", "add", "mul", "max", "min"].contains(&reduction) {
        return Err(inputs.argument("reduction = none, add, mul, max or min", format!("`{reduction}`")));
    }
    if reduction == "none" {
        let (mut cells, source) = (Cells::of(data), Cells::of(updates));
        targets.iter().enumerate().for_each(|(from, &at)| cells.set(at, &source, from));
        return cells.into_tensor(data.shape()).map_err(|error| stored(error, inputs));
    }
    fn combine<T: Copy>(values: &mut [T], updates: &[T], targets: &[usize], function: impl Fn(T, T) -> T) {
        for (&at, &update) in targets.iter().zip(updates) {
            values[at] = function(values[at], update);
        }
    }
    let mut numbers = inputs.numbers_of(data)?;
    match (&mut numbers, inputs.numbers_of(updates)?) {
        (Numbers::F32(values), Numbers::F32(updates)) => {
            // Each step is rounded to the type of the data.
            let round = |value: f32| match data.dtype() {
                DType::F16 => half::f16::from_f32(value).to_f32(),
                DType::BF16 => half::bf16::from_f32(value).to_f32(),
                _ => value,
            };
            combine(values, &updates, targets, |a, b| match reduction {
                "add" => round(a + b),
                "mul" => round(a * b),
                "max" => {
                    if a >= b || a.is_nan() {
                        a
                    } else {
                        b
                    }
                }
                _ => {
                    if a <= b || a.is_nan() {
                        a
                    } else {
                        b
                    }
                }
            });
        }
        (Numbers::F64(values), Numbers::F64(updates)) => {
            combine(values, &updates, targets, |a, b| match reduction {
                "add" => a + b,
                "mul" => a * b,
                "max" => {
                    if a >= b || a.is_nan() {
                        a
                    } else {
                        b
                    }
                }
                _ => {
                    if a <= b || a.is_nan() {
                        a
                    } else {
                        b
                    }
                }
            });
        }
        (Numbers::I64(values), Numbers::I64(updates)) => {
            let (least, most) = data.dtype().integer_range().unwrap_or((i64::MIN, i64::MAX));
            let wrap = |value: i64| match most.checked_sub(least).and_then(|width| width.checked_add(1)) {
                Some(width) => (value.wrapping_sub(least)).rem_euclid(width) + least,
                None => value,
            };
            combine(values, &updates, targets, |a, b| match reduction {
                "add" => wrap(a.wrapping_add(b)),
                "mul" => wrap(a.wrapping_mul(b)),
                "max" => a.max(b),
                _ => a.min(b),
            });
        }
        (Numbers::U64(values), Numbers::U64(updates)) => {
            combine(values, &updates, targets, |a, b| match reduction {
                "add" => a.wrapping_add(b),
                "mul" => a.wrapping_mul(b),
                "max" => a.max(b),
                _ => a.min(b),
            });
        }
        (Numbers::Bool(values), Numbers::Bool(updates)) => {
            let any = matches!(reduction, "add" | "max");
            combine(values, &updates, targets, |a, b| if any { a || b } else { a && b });
        }
        _ => return Err(inputs.unsupported_type(data.dtype(), "numbers")),
    }
    inputs.result(data.dtype(), data.shape(), numbers)
}
