//! Reductions over axes. Floats are summed in f64 and rounded once, integers wrap.

use calipers_ir::{Reduce, Tensor};

use crate::Error;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::shape::{Walk, strides};

/// The reduced data.
pub(crate) fn evaluate(reduce: &Reduce, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let (keepdims, noop) = options(reduce);
    let x = inputs.tensor(0)?;
    let rank = x.shape().len();
    let axes = match inputs.optional_integers(1)?.filter(|axes| !axes.is_empty()) {
        Some(axes) => inputs.axes(&axes, rank)?,
        None if noop => Vec::new(),
        None => (0..rank).collect(),
    };
    let steps = strides(x.shape());
    let part = |reduced: bool| -> (Vec<usize>, Vec<isize>) {
        let chosen = (0..rank).filter(|axis| axes.contains(axis) == reduced);
        chosen.map(|axis| (x.shape()[axis], steps[axis])).unzip()
    };
    let ((kept, kept_steps), (reduced, reduced_steps)) = (part(false), part(true));
    let shape: Vec<usize> = match keepdims {
        false => kept.clone(),
        true => (0..rank).map(|axis| if axes.contains(&axis) { 1 } else { x.shape()[axis] }).collect(),
    };
    inputs.count(&shape)?;
    let groups = Groups {
        starts: Walk::new(&kept, &kept_steps, 0).collect(),
        offsets: Walk::new(&reduced, &reduced_steps, 0).collect(),
    };
    let numbers =
        match (reduce, inputs.numbers_of(x)?) {
            (Reduce::All { .. } | Reduce::Any { .. }, Numbers::Bool(values)) => {
                let all = matches!(reduce, Reduce::All { .. });
                Numbers::Bool(groups.fold(&values, |group| {
                    if all { group.all(|value| value) } else { group.any(|value| value) }
                }))
            }
            (Reduce::Max { .. }, Numbers::Bool(values)) => {
                Numbers::Bool(groups.fold(&values, |group| group.any(|value| value)))
            }
            (Reduce::Min { .. }, Numbers::Bool(values)) => {
                Numbers::Bool(groups.fold(&values, |group| group.all(|value| value)))
            }
            (Reduce::All { .. } | Reduce::Any { .. }, _) | (_, Numbers::Bool(_)) => {
                return Err(inputs.unsupported_type(x.dtype(), "the types of the operator's page"));
            }
            (_, Numbers::F32(values)) => {
                let values: Vec<f64> = values.into_iter().map(f64::from).collect();
                Numbers::F64(groups.fold(&values, |group| float(reduce, group)))
            }
            (_, Numbers::F64(values)) => Numbers::F64(groups.fold(&values, |group| float(reduce, group))),
            (_, Numbers::I64(values)) => {
                let range = x.dtype().integer_range().unwrap_or((i64::MIN, i64::MAX));
                Numbers::I64(groups.fold(&values, |group| integer(reduce, group, range)))
            }
            (_, Numbers::U64(values)) => Numbers::U64(groups.fold(&values, |group| unsigned(reduce, group))),
        };
    Ok(vec![inputs.result(x.dtype(), &shape, numbers)?])
}

/// Whether axes are kept, and whether no axes means none.
fn options(reduce: &Reduce) -> (bool, bool) {
    match *reduce {
        Reduce::All { keepdims, noop_with_empty_axes }
        | Reduce::Any { keepdims, noop_with_empty_axes }
        | Reduce::L1 { keepdims, noop_with_empty_axes }
        | Reduce::L2 { keepdims, noop_with_empty_axes }
        | Reduce::LogSum { keepdims, noop_with_empty_axes }
        | Reduce::LogSumExp { keepdims, noop_with_empty_axes }
        | Reduce::Max { keepdims, noop_with_empty_axes }
        | Reduce::Mean { keepdims, noop_with_empty_axes }
        | Reduce::Min { keepdims, noop_with_empty_axes }
        | Reduce::Prod { keepdims, noop_with_empty_axes }
        | Reduce::Sum { keepdims, noop_with_empty_axes }
        | Reduce::SumSquare { keepdims, noop_with_empty_axes } => (keepdims, noop_with_empty_axes),
    }
}

/// Where each group of elements starts, and where its elements stand from there.
struct Groups {
    starts: Vec<usize>,
    offsets: Vec<usize>,
}

impl Groups {
    fn fold<T: Copy, R>(&self, values: &[T], fold: impl Fn(&mut Group<'_, T>) -> R) -> Vec<R> {
        let group = |&start: &usize| fold(&mut Group { values, start, offsets: self.offsets.iter() });
        self.starts.iter().map(group).collect()
    }
}

/// The elements of one group in order.
struct Group<'a, T> {
    values: &'a [T],
    start: usize,
    offsets: std::slice::Iter<'a, usize>,
}

impl<T: Copy> Iterator for Group<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.offsets.next().map(|offset| self.values[self.start + offset])
    }
}

fn float(reduce: &Reduce, group: &mut impl Iterator<Item = f64>) -> f64 {
    match reduce {
        Reduce::L1 { .. } => group.map(f64::abs).sum::<f64>() + 0.0,
        Reduce::L2 { .. } => (group.map(|value| value * value).sum::<f64>() + 0.0).sqrt(),
        Reduce::LogSum { .. } => libm::log(group.sum::<f64>() + 0.0),
        Reduce::LogSumExp { .. } => {
            let values: Vec<f64> = group.collect();
            let most = values.iter().copied().fold(f64::NEG_INFINITY, larger);
            if !most.is_finite() {
                return most;
            }
            most + libm::log(values.into_iter().map(|value| libm::exp(value - most)).sum())
        }
        Reduce::Max { .. } => group.fold(f64::NEG_INFINITY, larger),
        Reduce::Min { .. } => -group.fold(f64::NEG_INFINITY, |most, value| larger(most, -value)),
        Reduce::Mean { .. } => {
            let (count, sum) = group.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
            sum / count
        }
        Reduce::Prod { .. } => group.product(),
        // The standard library's sum of nothing is -0.
        Reduce::Sum { .. } | Reduce::All { .. } | Reduce::Any { .. } => {
            group.fold(0.0, |sum, value| sum + value)
        }
        Reduce::SumSquare { .. } => group.map(|value| value * value).sum::<f64>() + 0.0,
    }
}

/// The larger number, NaN where one is.
fn larger(a: f64, b: f64) -> f64 {
    if a >= b || a.is_nan() { a } else { b }
}

fn integer(reduce: &Reduce, group: &mut impl Iterator<Item = i64>, (least, most): (i64, i64)) -> i64 {
    match reduce {
        Reduce::Max { .. } => group.max().unwrap_or(least),
        Reduce::Min { .. } => group.min().unwrap_or(most),
        Reduce::Mean { .. } => {
            let (count, sum) =
                group.fold((0i64, 0i64), |(count, sum), value| (count + 1, sum.wrapping_add(value)));
            sum.checked_div(count).unwrap_or(0)
        }
        Reduce::Prod { .. } => group.fold(1, i64::wrapping_mul),
        Reduce::L1 { .. } => group.map(i64::wrapping_abs).fold(0, i64::wrapping_add),
        Reduce::Sum { .. } | Reduce::All { .. } | Reduce::Any { .. } => group.fold(0, i64::wrapping_add),
        Reduce::SumSquare { .. } => group.map(|value| value.wrapping_mul(value)).fold(0, i64::wrapping_add),
        Reduce::L2 { .. } | Reduce::LogSum { .. } | Reduce::LogSumExp { .. } => {
            float(reduce, &mut group.map(|value| value as f64)) as i64
        }
    }
}

fn unsigned(reduce: &Reduce, group: &mut impl Iterator<Item = u64>) -> u64 {
    match reduce {
        Reduce::Max { .. } => group.max().unwrap_or(0),
        Reduce::Min { .. } => group.min().unwrap_or(u64::MAX),
        Reduce::Mean { .. } => {
            let (count, sum) =
                group.fold((0u64, 0u64), |(count, sum), value| (count + 1, sum.wrapping_add(value)));
            sum.checked_div(count).unwrap_or(0)
        }
        Reduce::Prod { .. } => group.fold(1, u64::wrapping_mul),
        Reduce::L1 { .. } | Reduce::Sum { .. } | Reduce::All { .. } | Reduce::Any { .. } => {
            group.fold(0, u64::wrapping_add)
        }
        Reduce::SumSquare { .. } => group.map(|value| value.wrapping_mul(value)).fold(0, u64::wrapping_add),
        Reduce::L2 { .. } | Reduce::LogSum { .. } | Reduce::LogSumExp { .. } => {
            float(reduce, &mut group.map(|value| value as f64)) as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use calipers_ir::{Op, Reduce, Tensor};

    // numpy: numpy.max(numpy.zeros((2, 0)), axis=1, initial=-inf), numpy.sum(numpy.zeros((2, 0)), axis=1).
    #[test]
    fn reductions_of_nothing_give_the_neutral_element() {
        let (data, axes) =
            (Tensor::from_vec::<f32>([2, 0], vec![]).unwrap(), Tensor::from_vec([1], vec![1i64]).unwrap());
        let reduced = |reduce| {
            let result = crate::evaluate(&Op::Reduce(reduce), &[Some(&data), Some(&axes)], 1).unwrap();
            result[0].as_f32().unwrap().to_vec()
        };
        let (keepdims, noop_with_empty_axes) = (false, false);
        assert_eq!(reduced(Reduce::Max { keepdims, noop_with_empty_axes }), [f32::NEG_INFINITY; 2]);
        assert_eq!(reduced(Reduce::Sum { keepdims, noop_with_empty_axes }), [0.0; 2]);
        assert!(reduced(Reduce::Mean { keepdims, noop_with_empty_axes })[0].is_nan());
    }
}
