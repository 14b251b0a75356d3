//! Attention with four heads of 16, and the decoder layer made of it.

use calipers_ir::{BinaryKind, EditError, Op, Scanning, UnaryKind, ValueId};

use super::normalization::layer_norm_of;
use super::products::Made;
use crate::builder::Builder;
use crate::layer::Around;

const WIDTH: usize = 64;
const HEADS: i64 = 4;
const HEAD: i64 = 16;
const LENGTH: usize = 32;

pub fn multihead(builder: &mut Builder, around: Around) -> Made {
    attention(builder, "layer", around.before, around.before, false)
}

pub fn multihead_sequence_first(builder: &mut Builder, around: Around) -> Made {
    let batch_first = builder.transpose(around.before, &[1, 0, 2])?;
    let made = attention(builder, "layer", batch_first, batch_first, false)?;
    builder.transpose(made, &[1, 0, 2])
}

pub fn scaled_dot_product(builder: &mut Builder, around: Around) -> Made {
    let heads = split_heads(builder, around.before)?;
    let mixed = weighted_mean(builder, [heads; 3], false)?;
    merge_heads(builder, mixed)
}

/// A decoder layer with normalization after each part; the memory is the model's input.
pub fn decoder_layer(builder: &mut Builder, around: Around) -> Made {
    let x = around.before;
    let own = attention(builder, "layer.self_attn", x, x, true)?;
    let x = residual(builder, "layer.norm1", x, own)?;
    let other = attention(builder, "layer.multihead_attn", x, around.input, false)?;
    let x = residual(builder, "layer.norm2", x, other)?;
    let wide = builder.linear("layer.linear1", x, WIDTH, 128)?;
    let wide = builder.unary(UnaryKind::Relu, wide)?;
    let narrow = builder.linear("layer.linear2", wide, 128, WIDTH)?;
    residual(builder, "layer.norm3", x, narrow)
}

fn residual(builder: &mut Builder, norm: &str, x: ValueId, change: ValueId) -> Made {
    let sum = builder.binary(BinaryKind::Add, x, change)?;
    layer_norm_of(builder, norm, sum)
}

/// Multi-head attention of `[1, length, 64]`, `{name}.in_proj_weight` and so on.
fn attention(
    builder: &mut Builder,
    name: &str,
    query: ValueId,
    memory: ValueId,
    causal: bool,
) -> Result<ValueId, EditError> {
    let weight = builder.draw_product(&format!("{name}.in_proj_weight"), &[3 * WIDTH, WIDTH], WIDTH);
    let bias = builder.draw_bias(&format!("{name}.in_proj_bias"), 3 * WIDTH);
    let mut heads = Vec::new();
    for (part, x) in [query, memory, memory].into_iter().enumerate() {
        let rows = &weight[part * WIDTH * WIDTH..][..WIDTH * WIDTH];
        let bias = bias[part * WIDTH..][..WIDTH].to_vec();
        let projected = builder.product(name, x, rows, Some(bias), [WIDTH, WIDTH])?;
        heads.push(split_heads(builder, projected)?);
    }
    let mixed = weighted_mean(builder, [heads[0], heads[1], heads[2]], causal)?;
    let merged = merge_heads(builder, mixed)?;
    builder.linear(&format!("{name}.out_proj"), merged, WIDTH, WIDTH)
}

/// `[1, length, 64]` to `[1, heads, length, 16]`.
fn split_heads(builder: &mut Builder, x: ValueId) -> Made {
    let apart = builder.reshape(x, &[1, LENGTH as i64, HEADS, HEAD])?;
    builder.transpose(apart, &[0, 2, 1, 3])
}

fn merge_heads(builder: &mut Builder, x: ValueId) -> Made {
    let last = builder.transpose(x, &[0, 2, 1, 3])?;
    builder.reshape(last, &[1, LENGTH as i64, WIDTH as i64])
}

/// `softmax(q k^T / sqrt(16)) v`; a causal one sees no position after its own.
fn weighted_mean(builder: &mut Builder, [q, k, v]: [ValueId; 3], causal: bool) -> Made {
    let transposed = builder.transpose(k, &[0, 1, 3, 2])?;
    let scores = builder.op("scores", Op::MatMul, &[q, transposed])?;
    let factor = builder.constant_scalar("scale", 0.25)?;
    let mut scores = builder.binary(BinaryKind::Mul, scores, factor)?;
    if causal {
        let later = |at: usize| if at % LENGTH > at / LENGTH { f32::NEG_INFINITY } else { 0.0 };
        let mask = (0..LENGTH * LENGTH).map(later).collect();
        let mask = builder.constant("mask", &[LENGTH, LENGTH], mask)?;
        scores = builder.binary(BinaryKind::Add, scores, mask)?;
    }
    let softmax = Scanning::Softmax { axis: -1, flatten: false, beta: 1.0 };
    let weights = builder.op("softmax", Op::Scanning(softmax), &[scores])?;
    builder.op("mean", Op::MatMul, &[weights, v])
}
