//! Operators that slide a window: convolutions and pooling.

use std::collections::BTreeMap;

use calipers_ir::{
    Activation, Conv, ConvTranspose, DType, Dim, Layout, Op, Pool, PoolKind, UnaryKind, Window,
};

use super::super::keys;
use super::super::read::{Mapped, Numbers, Site, keep};
use super::super::schema::BuiltinOperator as Builtin;

const NONE: Activation = Activation::None;

/// CONV_2D: weights `[output channels, height, width, input channels / groups]`.
pub(super) fn convolution(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(2, 3, 1)?;
    let x = ranked(site, 0, 4)?;
    let [_, height, width, per_group] = extents(site, 1)?;
    let groups = groups(&x[3], per_group)?;
    let strides = [site.size("stride_h")?, site.size("stride_w")?];
    let dilations = [site.size("dilation_h_factor")?, site.size("dilation_w_factor")?];
    let window = window(site, &x[1..3], &[height, width], &strides, &dilations)?;
    // Per-channel weights meet activations with a zero point, others activations around zero.
    let per_axis = site.described(1)?.quantization.as_ref().is_some_and(|weights| !weights.per_tensor());
    forward(site, groups, window, &[0, 3, 1, 2], symmetry(per_axis))
}

/// DEPTHWISE_CONV_2D: weights `[1, height, width, input channels * multiplier]`.
pub(super) fn depthwise(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(2, 3, 1)?;
    let x = ranked(site, 0, 4)?;
    let [one, height, width, channels] = extents(site, 1)?;
    let groups = match x[3].known() {
        Some(groups) => groups,
        None => channels / site.size("depth_multiplier")?.max(1),
    };
    if one != 1 || groups == 0 || channels % groups != 0 {
        return Err(format!(
            "weights of shape [1, h, w, n {groups}] were expected, found {channels} channels"
        )
        .into());
    }
    let strides = [site.size("stride_h")?, site.size("stride_w")?];
    let dilations = [site.size("dilation_h_factor")?, site.size("dilation_w_factor")?];
    let window = window(site, &x[1..3], &[height, width], &strides, &dilations)?;
    forward(site, groups, window, &[3, 0, 1, 2], "depthwise")
}

/// CONV_3D: weights `[depth, height, width, input channels / groups, output channels]`.
pub(super) fn convolution_3d(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(2, 3, 1)?;
    let x = ranked(site, 0, 5)?;
    let [depth, height, width, per_group, _] = extents(site, 1)?;
    let groups = groups(&x[4], per_group)?;
    let strides = [site.size("stride_d")?, site.size("stride_h")?, site.size("stride_w")?];
    let dilations =
        [site.size("dilation_d_factor")?, site.size("dilation_h_factor")?, site.size("dilation_w_factor")?];
    let window = window(site, &x[1..4], &[depth, height, width], &strides, &dilations)?;
    forward(site, groups, window, &[4, 3, 0, 1, 2], "symmetric")
}

fn forward(
    site: &mut Site<'_, '_>,
    groups: usize,
    window: Window,
    permutation: &[usize],
    how: &str,
) -> Mapped {
    let activation = site.activation()?;
    let inputs = [Some(site.real(0)?), Some(site.permuted(1, permutation)?), site.optional(2)?];
    let op = Op::Conv(Conv { groups, window, layout: Layout::Nhwc, activation: NONE });
    site.make(0, Numbers::Real, op, &inputs, activation)?;
    let node = site.result(0)?.name.clone();
    hybrid(site, &node, [0, 1], how)
}

/// Around zero or not.
pub(super) fn symmetry(asymmetric: bool) -> &'static str {
    if asymmetric { "asymmetric" } else { "symmetric" }
}

/// Marks a node that LiteRT computes on integers although its activations are floats.
pub(super) fn hybrid(site: &mut Site<'_, '_>, node: &str, [data, weights]: [usize; 2], how: &str) -> Mapped {
    let (data, weights) = (site.described(data)?, site.described(weights)?);
    if data.ty.dtype != DType::F32 || weights.quantization.is_none() {
        return Ok(());
    }
    site.graph.note(node, BTreeMap::from([(keys::HYBRID.to_owned(), how.to_owned())]));
    Ok(())
}

/// TRANSPOSE_CONV and CONV_3D_TRANSPOSE: inputs are the shape of the result, weights, data and an optional bias. The
/// weights are `[output channels, spatial..., input channels]`, in three dimensions
/// `[spatial..., output channels, input channels]`.
pub(super) fn transposed(site: &mut Site<'_, '_>, axes: usize) -> Mapped {
    site.arity(3, 4, 1)?;
    let x = ranked(site, 2, axes + 2)?;
    let weights = site.described(1)?.ty.known_shape().filter(|shape| shape.len() == axes + 2);
    let Some(weights) = weights else {
        return Err(format!("weights of rank {} were expected", axes + 2).into());
    };
    let (taps, permutation, names): (&[usize], &[usize], &[[&str; 2]]) = match axes {
        2 => (&weights[1..3], &[3, 0, 1, 2], &[["stride_h", ""], ["stride_w", ""]]),
        _ => (
            &weights[..3],
            &[4, 3, 0, 1, 2],
            &[
                ["stride_d", "dilation_d_factor"],
                ["stride_h", "dilation_h_factor"],
                ["stride_w", "dilation_w_factor"],
            ],
        ),
    };
    let declared = site.result(0)?.ty.shape.clone();
    let stated = match site.integers(0) {
        Some(shape) => shape.iter().map(|&extent| usize::try_from(extent).ok()).collect(),
        None => declared.map_or_else(Vec::new, |shape| shape.iter().map(Dim::known).collect()),
    };
    let same = site.word("padding")? != "valid";
    let mut window = Window::uniform(axes, 1, 0);
    let mut output_padding = vec![0; axes];
    for axis in 0..axes {
        let (Some(Some(out)), Some(extent)) = (stated.get(axis + 1).copied(), x[axis + 1].known()) else {
            return keep("the spatial extents of its data and its result are not known");
        };
        let [stride, dilation] = names[axis];
        let stride = site.size(stride)?;
        let dilation = if dilation.is_empty() { 1 } else { site.size(dilation)? };
        let reach = reach(taps[axis], dilation)?;
        if stride == 0 || dilation == 0 || extent == 0 {
            return Err(
                format!("stride {stride}, dilation {dilation} and extent {extent} must not be 0").into()
            );
        }
        // The padding is that of the convolution from the result back to the data.
        let positions =
            if same { out.div_ceil(stride) } else { (out + 1).saturating_sub(reach).div_ceil(stride) };
        let covered = (positions.max(1) - 1).saturating_mul(stride).saturating_add(reach);
        let begin = covered.saturating_sub(out) / 2;
        let whole = (extent - 1).saturating_mul(stride).saturating_add(reach);
        let wanted = begin.saturating_add(out);
        window.strides[axis] = stride;
        window.dilations[axis] = dilation;
        window.pads_begin[axis] = begin;
        window.pads_end[axis] = whole.saturating_sub(wanted);
        output_padding[axis] = wanted.saturating_sub(whole);
    }
    let activation = site.activation()?;
    let inputs = [Some(site.real(2)?), Some(site.permuted(1, permutation)?), site.optional(3)?];
    let op = Op::ConvTranspose(ConvTranspose {
        groups: 1,
        window,
        output_padding,
        layout: Layout::Nhwc,
        activation: NONE,
    });
    site.make(0, Numbers::Real, op, &inputs, activation)?;
    let node = site.result(0)?.name.clone();
    hybrid(site, &node, [2, 1], "asymmetric")
}

/// AVERAGE_POOL_2D, MAX_POOL_2D, and L2_POOL_2D, which is the square root of the mean of squares.
pub(super) fn pool(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(1, 1, 1)?;
    let x = ranked(site, 0, 4)?;
    let kernel = [site.size("filter_height")?, site.size("filter_width")?];
    let strides = [site.size("stride_h")?, site.size("stride_w")?];
    let window = window(site, &x[1..3], &kernel, &strides, &[1, 1])?;
    let activation = site.activation()?;
    let kind = match site.op {
        Builtin::MAX_POOL_2D => PoolKind::Max,
        _ => PoolKind::Average { count_include_pad: false },
    };
    let pool = Op::Pool(Pool {
        kind,
        kernel: kernel.to_vec(),
        window,
        ceil: false,
        column_major: false,
        layout: Layout::Nhwc,
    });
    let x = site.real(0)?;
    if site.op != Builtin::L2_POOL_2D {
        return site.make(0, Numbers::Real, pool, &[Some(x)], activation);
    }
    let squares = site.step("Square", Op::Unary(UnaryKind::Square), &[Some(x)], DType::F32)?;
    let means = site.step("AveragePool", pool, &[Some(squares)], DType::F32)?;
    site.make(0, Numbers::Real, Op::Unary(UnaryKind::Sqrt), &[Some(means)], activation)
}

/// The shape of an input of that rank.
fn ranked(site: &mut Site<'_, '_>, position: usize, rank: usize) -> Mapped<Vec<Dim>> {
    let shape = site.shape(position)?;
    if shape.len() != rank {
        return Err(
            format!("input {position} of rank {rank} was expected, found rank {}", shape.len()).into()
        );
    }
    Ok(shape)
}

/// The shape of weights.
fn extents<const N: usize>(site: &Site<'_, '_>, position: usize) -> Mapped<[usize; N]> {
    let ty = &site.described(position)?.ty;
    let Some(shape) = ty.known_shape() else { return keep("the shape of its weights is not known") };
    shape.try_into().map_err(|_| format!("weights of rank {N} were expected, found {ty}").into())
}

/// Groups of a convolution, from the channels of its data and those of a filter.
fn groups(channels: &Dim, per_group: usize) -> Mapped<usize> {
    match channels.known() {
        None => Ok(1),
        Some(channels) if per_group > 0 && channels % per_group == 0 => Ok((channels / per_group).max(1)),
        Some(channels) => {
            Err(format!("its weights take {per_group} channels, its data have {channels}").into())
        }
    }
}

/// Elements that a window of that many taps reaches over.
fn reach(taps: usize, dilation: usize) -> Mapped<usize> {
    let reach = taps.checked_sub(1).and_then(|steps| steps.checked_mul(dilation)?.checked_add(1));
    reach.ok_or_else(|| format!("a window of {taps} taps with dilation {dilation} is none").into())
}

/// The window with the option's padding: none, or `(ceil(extent / stride) - 1) stride + reach - extent` elements, the
/// smaller half of them before the data.
fn window(
    site: &Site<'_, '_>,
    spatial: &[Dim],
    taps: &[usize],
    strides: &[usize],
    dilations: &[usize],
) -> Mapped<Window> {
    let same = site.word("padding")? != "valid";
    let mut window = Window::uniform(taps.len(), 1, 0);
    for axis in 0..taps.len() {
        let (stride, dilation) = (strides[axis], dilations[axis]);
        if stride == 0 || dilation == 0 {
            return Err(format!("its stride {stride} and dilation {dilation} must not be 0").into());
        }
        let reach = reach(taps[axis], dilation)?;
        window.strides[axis] = stride;
        window.dilations[axis] = dilation;
        if !same {
            continue;
        }
        let total = match spatial[axis].known() {
            Some(extent) => {
                let covered =
                    (extent.div_ceil(stride).max(1) - 1).saturating_mul(stride).saturating_add(reach);
                covered.saturating_sub(extent)
            }
            None if stride == 1 => reach - 1,
            None => return keep("the spatial extents that its padding depends on are not known"),
        };
        window.pads_begin[axis] = total / 2;
        window.pads_end[axis] = total - total / 2;
    }
    Ok(window)
}
