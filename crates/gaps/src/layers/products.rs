//! Layers that multiply by a weight, pool, or gather rows of a table.

use calipers_ir::{EditError, Indexing, Layout, Op, PoolKind, Reduce, ValueId};

use crate::builder::{Builder, Taps, VOCABULARY};
use crate::layer::Around;

pub type Made = Result<ValueId, EditError>;

const IMAGE: Taps = Taps::image(16, 16);

pub fn linear(builder: &mut Builder, around: Around) -> Made {
    builder.linear("layer", around.before, 64, 64)
}

pub fn linear_small(builder: &mut Builder, around: Around) -> Made {
    builder.linear("layer", around.before, 64, 12)
}

pub fn conv1d(builder: &mut Builder, around: Around) -> Made {
    builder.conv("layer", around.before, Taps { axes: 1, ..Taps::image(32, 32) })
}

pub fn conv2d(builder: &mut Builder, around: Around) -> Made {
    builder.conv("layer", around.before, IMAGE)
}

pub fn depthwise(builder: &mut Builder, around: Around) -> Made {
    builder.conv("layer", around.before, Taps { groups: 128, ..Taps::image(128, 128) })
}

pub fn grouped(builder: &mut Builder, around: Around) -> Made {
    builder.conv("layer", around.before, Taps { groups: 4, ..Taps::image(32, 32) })
}

pub fn dilated(builder: &mut Builder, around: Around) -> Made {
    builder.conv("layer", around.before, Taps { dilation: 2, ..IMAGE })
}

pub fn strided(builder: &mut Builder, around: Around) -> Made {
    builder.conv("layer", around.before, Taps { stride: 2, ..IMAGE })
}

pub fn conv3d(builder: &mut Builder, around: Around) -> Made {
    let volume = builder.reshape(around.before, &[1, 32, 4, 4, 4])?;
    let made = builder.conv("layer", volume, Taps { axes: 3, ..Taps::image(32, 16) })?;
    builder.reshape(made, &[1, 16, 64])
}

pub fn conv_transpose2d(builder: &mut Builder, around: Around) -> Made {
    builder.conv_transpose(around.before, 16, 16)
}

pub fn conv_transpose2d_channels(builder: &mut Builder, around: Around) -> Made {
    builder.conv_transpose(around.before, 16, 24)
}

pub fn matmul(builder: &mut Builder, around: Around) -> Made {
    let transposed = builder.transpose(around.before, &[0, 2, 1])?;
    builder.op("layer", Op::MatMul, &[around.before, transposed])
}

pub fn pool(kind: PoolKind, size: usize) -> impl Fn(&mut Builder, Around) -> Made {
    move |builder, around| builder.pool(kind, size, around.before)
}

pub fn global_pool(builder: &mut Builder, around: Around) -> Made {
    let average = PoolKind::Average { count_include_pad: false };
    builder.op("layer", Op::GlobalPool(average, Layout::Nchw), &[around.before])
}

pub fn embedding(builder: &mut Builder, around: Around) -> Made {
    Ok(gather(builder, around)?.0)
}

pub fn embedding_bag(builder: &mut Builder, around: Around) -> Made {
    let rows = embedding(builder, around)?;
    let axes = builder.integers(&[1])?;
    let mean = Reduce::Mean { keepdims: false, noop_with_empty_axes: false };
    builder.op("layer", Op::Reduce(mean), &[rows, axes])
}

pub fn embedding_tied(builder: &mut Builder, around: Around) -> Made {
    let (rows, table) = gather(builder, around)?;
    let hidden = builder.linear("middle", rows, 64, 64)?;
    builder.product("output", hidden, &table, None, [VOCABULARY, 64])
}

/// Rows of `layer.weight`, and its elements.
fn gather(builder: &mut Builder, around: Around) -> Result<(ValueId, Vec<f32>), EditError> {
    let values = builder.draw("layer.weight", &[VOCABULARY, 64], -1.0, 1.0);
    let table = builder.constant("layer.weight", &[VOCABULARY, 64], values.clone())?;
    let gather = Op::Indexing(Indexing::Gather { axis: 0, batch_dims: 0 });
    Ok((builder.op("layer", gather, &[table, around.ids])?, values))
}
