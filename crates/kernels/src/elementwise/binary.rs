//! Functions of two f32 tensors with broadcasting.

use crate::gemm::clamp;
use crate::isa::Execution;

/// A function of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The names are the documentation.
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
}

/// The extents of a result and how its operands are walked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    /// Extents of the result, outermost first.
    pub shape: Vec<usize>,
    /// Elements between neighbours of the left operand along each axis: 0 where it is repeated.
    pub left: Vec<usize>,
    /// The same for the right operand.
    pub right: Vec<usize>,
}

impl Broadcast {
    /// The walk for two row-major operands whose extents are the result's or 1, missing leading extents being 1.
    ///
    /// `None` when the shapes do not fit each other.
    pub fn new(left: &[usize], right: &[usize]) -> Option<Broadcast> {
        let rank = left.len().max(right.len());
        let extent = |shape: &[usize], axis: usize| {
            (axis + shape.len()).checked_sub(rank).map_or(1, |index| shape[index])
        };
        let shape: Vec<usize> = (0..rank)
            .map(|axis| match (extent(left, axis), extent(right, axis)) {
                (left, right) if left == right => Some(left),
                (1, right) => Some(right),
                (left, 1) => Some(left),
                _ => None,
            })
            .collect::<Option<_>>()?;
        let strides = |operand: &[usize]| {
            let mut strides = vec![0; rank];
            let mut stride = 1;
            for axis in (0..rank).rev() {
                let extent = extent(operand, axis);
                strides[axis] = if extent == 1 { 0 } else { stride };
                stride *= extent;
            }
            strides
        };
        Some(Broadcast { left: strides(left), right: strides(right), shape }.merged())
    }

    /// The same walk with axes merged where both operands allow it.
    fn merged(self) -> Broadcast {
        let mut merged = Broadcast { shape: Vec::new(), left: Vec::new(), right: Vec::new() };
        for axis in 0..self.shape.len() {
            let (extent, left, right) = (self.shape[axis], self.left[axis], self.right[axis]);
            if extent == 1 {
                continue;
            }
            let last = merged.shape.len().wrapping_sub(1);
            let fits = !merged.shape.is_empty()
                && merged.left[last] == left * extent
                && merged.right[last] == right * extent;
            if fits {
                merged.shape[last] *= extent;
                merged.left[last] = left;
                merged.right[last] = right;
            } else {
                merged.shape.push(extent);
                merged.left.push(left);
                merged.right.push(right);
            }
        }
        if merged.shape.is_empty() {
            merged = Broadcast { shape: vec![1], left: vec![0], right: vec![0] };
        }
        merged
    }
}

/// `y = clamp(function(a, b))`, the clamp being the fused activation, infinite for none.
pub fn binary(
    execution: Execution,
    function: Binary,
    broadcast: &Broadcast,
    left: &[f32],
    right: &[f32],
    range: [f32; 2],
    output: &mut [f32],
) {
    match function {
        Binary::Add => walk(execution, broadcast, left, right, range, output, |a, b| a + b),
        Binary::Sub => walk(execution, broadcast, left, right, range, output, |a, b| a - b),
        Binary::Mul => walk(execution, broadcast, left, right, range, output, |a, b| a * b),
        Binary::Div => walk(execution, broadcast, left, right, range, output, |a, b| a / b),
    }
}

#[inline(always)]
fn walk(
    execution: Execution,
    broadcast: &Broadcast,
    left: &[f32],
    right: &[f32],
    range: [f32; 2],
    output: &mut [f32],
    function: impl Fn(f32, f32) -> f32 + Sync,
) {
    let Some((&inner, outer)) = broadcast.shape.split_last() else { return };
    if output.is_empty() {
        return;
    }
    assert_eq!(output.len(), broadcast.shape.iter().product::<usize>(), "output length");
    let last = outer.len();
    let (left_step, right_step) = (broadcast.left[last], broadcast.right[last]);
    if outer.is_empty() {
        return execution.split(output, 1, 1, |first, output| {
            let left = &left[first * left_step..];
            let right = &right[first * right_step..];
            execution.isa.vectorize(
                #[inline(always)]
                || run(left, left_step, right, right_step, range, output, &function),
            );
        });
    }
    execution.split(output, inner, inner, |first, output| {
        for (index, output) in output.chunks_exact_mut(inner).enumerate() {
            let (mut rest, mut left_start, mut right_start) = (first + index, 0, 0);
            for axis in (0..last).rev() {
                let position = rest % outer[axis];
                rest /= outer[axis];
                left_start += position * broadcast.left[axis];
                right_start += position * broadcast.right[axis];
            }
            let (left, right) = (&left[left_start..], &right[right_start..]);
            execution.isa.vectorize(
                #[inline(always)]
                || run(left, left_step, right, right_step, range, output, &function),
            );
        }
    });
}

/// One run along the innermost axis, where a step is 0 or 1.
#[inline(always)]
fn run(
    left: &[f32],
    left_step: usize,
    right: &[f32],
    right_step: usize,
    range: [f32; 2],
    output: &mut [f32],
    function: &impl Fn(f32, f32) -> f32,
) {
    match (left_step, right_step) {
        (1, 1) => {
            for ((y, a), b) in output.iter_mut().zip(left).zip(right) {
                *y = clamp(function(*a, *b), range);
            }
        }
        (1, 0) => {
            let b = right[0];
            for (y, a) in output.iter_mut().zip(left) {
                *y = clamp(function(*a, b), range);
            }
        }
        (0, 1) => {
            let a = left[0];
            for (y, b) in output.iter_mut().zip(right) {
                *y = clamp(function(a, *b), range);
            }
        }
        _ => {
            for (index, y) in output.iter_mut().enumerate() {
                *y = clamp(function(left[index * left_step], right[index * right_step]), range);
            }
        }
    }
}
