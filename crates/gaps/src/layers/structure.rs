//! Ways to put a model together.

use calipers_ir::{BinaryKind, EditError, Op, Reduce, Select, UnaryKind, ValueId};

use super::products::{Made, embedding};
use crate::builder::{Builder, Taps};
use crate::layer::Around;

const IMAGE: Taps = Taps::image(16, 16);

/// What does nothing at inference.
pub fn nothing(_: &mut Builder, around: Around) -> Made {
    Ok(around.before)
}

pub fn residual(builder: &mut Builder, around: Around) -> Made {
    let change = nested(builder, around)?;
    let sum = builder.binary(BinaryKind::Add, change, around.before)?;
    builder.unary(UnaryKind::Relu, sum)
}

/// Two convolutions and a ReLU between them.
pub fn nested(builder: &mut Builder, around: Around) -> Made {
    let first = builder.conv("conv1", around.before, IMAGE)?;
    let positive = builder.unary(UnaryKind::Relu, first)?;
    builder.conv("conv2", positive, IMAGE)
}

/// A ReLU where the sum of all elements before the convolution is positive. The graph computes both branches.
pub fn branch(builder: &mut Builder, around: Around) -> Result<ValueId, EditError> {
    let made = builder.conv("conv1", around.before, IMAGE)?;
    let sum = Reduce::Sum { keepdims: false, noop_with_empty_axes: false };
    let sum = builder.op("sum", Op::Reduce(sum), &[around.before])?;
    let zero = builder.constant_scalar("zero", 0.0)?;
    let positive = builder.binary(BinaryKind::Greater, sum, zero)?;
    let relu = builder.unary(UnaryKind::Relu, made)?;
    builder.op("choice", Op::Select(Select::Where), &[positive, relu, made])
}

pub fn several_inputs(builder: &mut Builder, around: Around) -> Made {
    let rows = embedding(builder, around)?;
    builder.binary(BinaryKind::Add, around.before, rows)
}
