//! Choices between elements, and limits that are inputs.

use calipers_ir::{DType, Tensor};

use crate::Error;
use crate::cells::Cells;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::shape::Walk;

/// `x` where the condition holds, else `y`.
pub(super) fn choose(inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let (condition, x, y) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.tensor(2)?);
    if condition.dtype() != DType::Bool {
        return Err(inputs.argument("a condition of type bool", condition.dtype().to_string()));
    }
    if x.dtype() != y.dtype() {
        return Err(inputs.argument("two inputs of one type", format!("{} and {}", x.dtype(), y.dtype())));
    }
    let shape = inputs.broadcast(&[condition.shape(), x.shape(), y.shape()])?;
    let truths = inputs.numbers_of(condition)?.into_bool();
    let mut both = Cells::of(x);
    let first = both.len();
    both.extend(&Cells::of(y));
    let places = Walk::broadcast(x.shape(), &shape).zip(Walk::broadcast(y.shape(), &shape));
    let chosen = Walk::broadcast(condition.shape(), &shape)
        .zip(places)
        .map(|(at, (x, y))| if truths[at] { x } else { first + y });
    both.gather(chosen)
        .into_tensor(&shape)
        .map_err(|error| inputs.argument("a result that can be stored", error.to_string()))
}

/// `min(max(x, low), high)`, where either bound may be absent. NaN stays.
pub(super) fn limit(inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let x = inputs.tensor(0)?;
    let mut numbers = inputs.numbers_of(x)?;
    for (index, below) in [(1, true), (2, false)] {
        if inputs.optional(index).is_none() {
            continue;
        }
        let bound = inputs.numbers(index)?;
        if bound.len() != 1 {
            return Err(
                inputs.argument("a bound of one element", format!("{:?}", inputs.tensor(index)?.shape()))
            );
        }
        match (&mut numbers, bound) {
            (Numbers::F32(values), Numbers::F32(bound)) => {
                limit_each(
                    values,
                    bound[0],
                    |value, bound| if below { value < bound } else { value > bound },
                );
            }
            (Numbers::F64(values), Numbers::F64(bound)) => {
                limit_each(
                    values,
                    bound[0],
                    |value, bound| if below { value < bound } else { value > bound },
                );
            }
            (Numbers::I64(values), Numbers::I64(bound)) => {
                limit_each(
                    values,
                    bound[0],
                    |value, bound| if below { value < bound } else { value > bound },
                );
            }
            (Numbers::U64(values), Numbers::U64(bound)) => {
                limit_each(
                    values,
                    bound[0],
                    |value, bound| if below { value < bound } else { value > bound },
                );
            }
            _ => {
                let found = format!("{} and a bound of {}", x.dtype(), inputs.tensor(index)?.dtype());
                return Err(inputs.argument("numbers and bounds of one type", found));
            }
        }
    }
    inputs.result(x.dtype(), x.shape(), numbers)
}

fn limit_each<T: Copy>(values: &mut [T], bound: T, beyond: impl Fn(T, T) -> bool) {
    values.iter_mut().filter(|value| beyond(**value, bound)).for_each(|value| *value = bound);
}
