//! Running sums and products along an axis. Integers wrap.

use calipers_ir::Tensor;

use crate::Error;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::shape::around;

/// Sums of the elements up to each, or before each with `exclusive`, from the end with `reverse`.
pub(super) fn sums(exclusive: bool, reverse: bool, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let line = Line::of(exclusive, reverse, inputs)?;
    line.result(match inputs.numbers(0)? {
        Numbers::F32(values) => Numbers::F64(line.scan(&values, 0.0, |sum, value| sum + f64::from(value))),
        Numbers::F64(values) => Numbers::F64(line.scan(&values, 0.0, |sum, value| sum + value)),
        Numbers::I64(values) => Numbers::I64(line.scan(&values, 0, i64::wrapping_add)),
        Numbers::U64(values) => Numbers::U64(line.scan(&values, 0, u64::wrapping_add)),
        Numbers::Bool(_) => return Err(inputs.unsupported_type(line.tensor.dtype(), "numbers")),
    })
}

/// Products, otherwise as [`sums`].
pub(super) fn products(exclusive: bool, reverse: bool, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let line = Line::of(exclusive, reverse, inputs)?;
    line.result(match inputs.numbers(0)? {
        Numbers::F32(values) => {
            Numbers::F64(line.scan(&values, 1.0, |product, value| product * f64::from(value)))
        }
        Numbers::F64(values) => Numbers::F64(line.scan(&values, 1.0, |product, value| product * value)),
        Numbers::I64(values) => Numbers::I64(line.scan(&values, 1, i64::wrapping_mul)),
        Numbers::U64(values) => Numbers::U64(line.scan(&values, 1, u64::wrapping_mul)),
        Numbers::Bool(_) => return Err(inputs.unsupported_type(line.tensor.dtype(), "numbers")),
    })
}

struct Line<'a> {
    tensor: &'a Tensor,
    axis: usize,
    exclusive: bool,
    reverse: bool,
    inputs: &'a Inputs<'a>,
}

impl<'a> Line<'a> {
    fn of(exclusive: bool, reverse: bool, inputs: &'a Inputs<'a>) -> Result<Line<'a>, Error> {
        let tensor = inputs.tensor(0)?;
        let axis = inputs.axis(inputs.integer(1)?, tensor.shape().len())?;
        Ok(Line { tensor, axis, exclusive, reverse, inputs })
    }

    fn scan<T: Copy, S: Copy>(&self, values: &[T], first: S, add: impl Fn(S, T) -> S) -> Vec<S> {
        let (outer, extent, inner) = around(self.tensor.shape(), self.axis);
        let mut result = vec![first; values.len()];
        for lane in (0..outer).flat_map(|row| (0..inner).map(move |column| row * extent * inner + column)) {
            let mut sum = first;
            for step in 0..extent {
                let at = lane + inner * if self.reverse { extent - 1 - step } else { step };
                let before = sum;
                sum = add(sum, values[at]);
                result[at] = if self.exclusive { before } else { sum };
            }
        }
        result
    }

    fn result(&self, numbers: Numbers) -> Result<Tensor, Error> {
        self.inputs.result(self.tensor.dtype(), self.tensor.shape(), numbers)
    }
}
