//! Type rules of convolutions.

use super::{Context, InferError, derived, slide, with_spatial};
use crate::{Conv, ConvTranspose, DType, Dim, TensorType};

/// A convolution of `x` with `weight` whose sums are of type `dtype`.
pub(super) fn forward(
    context: &Context<'_>,
    conv: &Conv,
    x: &TensorType,
    weight: &TensorType,
    dtype: DType,
) -> Result<TensorType, InferError> {
    let axes = conv.window.axes();
    context.rank(0, x, axes + 2)?;
    context.rank(1, weight, axes + 2)?;
    let bias = context.optional(2).filter(|_| dtype == x.dtype);
    if let Some(bias) = bias {
        context.rank(2, bias, 1)?;
    }
    let (Some(shape), Some(taps)) = (&x.shape, &weight.shape) else {
        return Ok(TensorType::unranked(dtype));
    };
    let channels = &shape[conv.layout.channel_axis(shape.len())];
    if let (Some(channels), Some(per_group)) = (channels.known(), taps[1].known())
        && (conv.groups == 0 || per_group.checked_mul(conv.groups) != Some(channels))
    {
        let expected = format!("input channels = {} groups x {per_group} of the weight", conv.groups);
        return context.error(expected, format!("{channels} input channels"));
    }
    if let (Some(bias), Some(out)) = (bias, taps[0].known())
        && bias.known_shape().is_some_and(|shape| shape != [out])
    {
        return context.error(format!("a bias of shape [{out}]"), format!("{bias}"));
    }
    if taps[0].known().is_some_and(|out| conv.groups == 0 || out % conv.groups != 0) {
        return context
            .error(format!("output channels in {} equal groups", conv.groups), format!("{}", taps[0]));
    }
    let spatial = slide(context, &conv.window, conv.layout, shape, &taps[2..], false)?;
    Ok(with_spatial(dtype, conv.layout, shape[0].clone(), taps[0].clone(), spatial))
}

/// A convolution of 8-bit integers.
pub(super) fn integer(context: &Context<'_>, conv: &Conv) -> Result<TensorType, InferError> {
    let (x, weight) = (context.argument(0)?, context.argument(1)?);
    for ty in [x, weight] {
        if !matches!(ty.dtype, DType::I8 | DType::U8) {
            return context.error("inputs of type i8 or u8", format!("{ty}"));
        }
    }
    forward(context, conv, x, weight, DType::I32)
}

/// A transposed convolution.
pub(super) fn transposed(context: &Context<'_>, conv: &ConvTranspose) -> Result<TensorType, InferError> {
    let x = context.float(0)?;
    let weight = context.same_type(1, x)?;
    let axes = conv.window.axes();
    context.rank(0, x, axes + 2)?;
    context.rank(1, weight, axes + 2)?;
    if conv.groups == 0 || conv.output_padding.len() != axes {
        return context.error(
            format!("at least 1 group and {axes} output paddings"),
            format!("{} groups, {} paddings", conv.groups, conv.output_padding.len()),
        );
    }
    let (Some(shape), Some(taps)) = (&x.shape, &weight.shape) else {
        return Ok(TensorType::unranked(x.dtype));
    };
    let channels = &shape[conv.layout.channel_axis(shape.len())];
    if !channels.compatible(&taps[0]) || taps[0].known().is_some_and(|inputs| inputs % conv.groups != 0) {
        return context.error(
            format!("{} input channels in {} equal groups", taps[0], conv.groups),
            format!("{channels}"),
        );
    }
    let out = taps[1].known().and_then(|per_group| per_group.checked_mul(conv.groups));
    let out = out.map_or_else(|| derived(format!("{}*{}", taps[1], conv.groups)), Dim::Known);
    if let Some(bias) = context.optional(2) {
        context.same_type(2, x)?;
        context.rank(2, bias, 1)?;
        if bias.shape.as_ref().is_some_and(|shape| !shape[0].compatible(&out)) {
            return context.error(format!("a bias of shape [{out}]"), format!("{bias}"));
        }
    }
    let first = conv.layout.first_spatial_axis();
    let spatial = (0..axes)
        .map(|axis| {
            let (extent, kernel) = (&shape[first + axis], &taps[2 + axis]);
            let (Some(extent), Some(kernel)) = (extent.known(), kernel.known()) else {
                return Ok(derived(format!("unpool({extent},{kernel},{axis},{:?})", conv.window.strides)));
            };
            match conv.output_extent(axis, extent, kernel) {
                Some(out) => Ok(Dim::Known(out)),
                None => context.error(
                    format!("pads that leave something of spatial axis {axis}"),
                    format!("{extent} elements, {kernel} taps, {:?}", conv.window),
                ),
            }
        })
        .collect::<Result<_, _>>()?;
    Ok(with_spatial(x.dtype, conv.layout, shape[0].clone(), out, spatial))
}
