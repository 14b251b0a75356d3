//! Normalizations.

use calipers_ir::{Normalize, Op, UnaryKind, ValueId};

use super::products::{Made, conv2d};
use crate::builder::Builder;
use crate::layer::Around;

pub fn batch_norm_folded(builder: &mut Builder, around: Around) -> Made {
    let made = conv2d(builder, around)?;
    builder.batch_norm(made)
}

pub fn batch_norm_unfoldable(builder: &mut Builder, around: Around) -> Made {
    let positive = builder.unary(UnaryKind::Relu, around.before)?;
    builder.batch_norm(positive)
}

pub fn batch_norm_alone(builder: &mut Builder, around: Around) -> Made {
    builder.batch_norm(around.input)
}

pub fn layer_norm(builder: &mut Builder, around: Around) -> Made {
    layer_norm_of(builder, "layer", around.before)
}

/// Over the last axis of 64, `{name}.weight` and `{name}.bias`.
pub fn layer_norm_of(builder: &mut Builder, name: &str, x: ValueId) -> Made {
    let op = Normalize::Layer { axis: -1, epsilon: 1e-5, stash_type: 1 };
    let (weight, bias) = affine(builder, name, 64)?;
    builder.op(name, Op::Normalize(op), &[x, weight, bias])
}

pub fn group_norm(builder: &mut Builder, around: Around) -> Made {
    let op = Normalize::Group { num_groups: 4, epsilon: 1e-5, stash_type: 1, scale_per_group: false };
    let (weight, bias) = affine(builder, "layer", 16)?;
    builder.op("layer", Op::Normalize(op), &[around.before, weight, bias])
}

pub fn instance_norm(builder: &mut Builder, around: Around) -> Made {
    let (weight, bias) = affine(builder, "layer", 16)?;
    let op = Op::Normalize(Normalize::Instance { epsilon: 1e-5 });
    builder.op("layer", op, &[around.before, weight, bias])
}

pub fn rms_norm(builder: &mut Builder, around: Around) -> Made {
    let weight = builder.vector("layer.weight", 64, 0.5, 1.5)?;
    let op = Normalize::Rms { axis: -1, epsilon: 1e-6, stash_type: 1 };
    builder.op("layer", Op::Normalize(op), &[around.before, weight])
}

fn affine(
    builder: &mut Builder,
    name: &str,
    count: usize,
) -> Result<(ValueId, ValueId), calipers_ir::EditError> {
    let weight = builder.vector(&format!("{name}.weight"), count, 0.5, 1.5)?;
    let bias = builder.vector(&format!("{name}.bias"), count, -0.2, 0.2)?;
    Ok((weight, bias))
}
