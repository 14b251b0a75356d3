//! Functions of single elements: limits, two operands with broadcasting, and the 8-bit sum.
//!
//! Every kernel here is its own definition: one body, compiled for each instruction set.

mod add;
mod binary;
#[cfg(test)]
mod tests;

pub use add::{Addition, add_bytes};
pub use binary::{Binary, Broadcast, binary};

use crate::isa::Execution;

/// `y = min(max(x, range[0]), range[1])`; a Relu is the range from 0 to infinity. Not-a-number stays.
pub fn clip(execution: Execution, input: &[f32], range: [f32; 2], output: &mut [f32]) {
    assert_eq!(input.len(), output.len(), "lengths");
    execution.split(output, 1, 1, |first, output| {
        execution.isa.vectorize(
            #[inline(always)]
            || {
                for (y, x) in output.iter_mut().zip(&input[first..]) {
                    *y = crate::gemm::clamp(*x, range);
                }
            },
        );
    });
}
