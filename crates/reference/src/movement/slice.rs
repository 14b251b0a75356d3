//! Regular selections along axes.

use calipers_ir::Tensor;

use super::walked;
use crate::Error;
use crate::inputs::Inputs;
use crate::shape::strides;

/// From `starts` to before `ends` in steps, where negative bounds count from the end and both are limited to the axis.
pub(super) fn slice(inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let data = inputs.tensor(0)?;
    let (starts, ends) = (inputs.integers(1)?, inputs.integers(2)?);
    let axes = match inputs.optional_integers(3)? {
        Some(axes) => inputs.axes(&axes, data.shape().len())?,
        None => (0..data.shape().len().min(starts.len())).collect(),
    };
    let steps = inputs.optional_integers(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()].iter().any(|&count| count != starts.len()) || steps.contains(&0)
    {
        return Err(inputs.argument(
            "as many ends, axes and steps, none of them 0, as starts",
            format!("starts {starts:?}, ends {ends:?}, axes {axes:?}, steps {steps:?}"),
        ));
    }
    let mut shape = data.shape().to_vec();
    let mut walk = strides(data.shape());
    let mut origin = 0isize;
    for (index, axis) in axes.into_iter().enumerate() {
        let extent = shape[axis] as i64;
        let step = steps[index];
        let from_front = |at: i64| if at < 0 { at.saturating_add(extent) } else { at };
        let (start, distance) = if step > 0 {
            let start = from_front(starts[index]).clamp(0, extent);
            (start, from_front(ends[index]).clamp(0, extent) - start)
        } else {
            // Unlike in Python, a start before the axis is its first element.
            let start = from_front(starts[index]).max(0).min(extent - 1);
            (start, start - from_front(ends[index]).max(-1).min(extent - 1))
        };
        shape[axis] =
            if distance <= 0 { 0 } else { (distance as u64).div_ceil(step.unsigned_abs()) as usize };
        if shape[axis] > 0 {
            origin += walk[axis] * start as isize;
        }
        // With one element the step is not taken, and may be as large as it likes.
        walk[axis] = if shape[axis] > 1 { walk[axis] * step as isize } else { 0 };
    }
    walked(data, &shape, &walk, origin, inputs)
}
