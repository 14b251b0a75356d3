//! Operators on images in the order `[batch, height, width, channels]`, stated by those on other orders.

use calipers_ir::{DType, Dim, Image, Movement, Normalize, Op, TensorType, ValueId};

use super::super::read::{Mapped, Numbers, Site, keep};

/// Channels from the last axis to the second.
const TO_CHANNELS_FIRST: [usize; 4] = [0, 3, 1, 2];
/// And back.
const TO_CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];

/// RESIZE_BILINEAR.
pub(super) fn resize_bilinear(site: &mut Site<'_, '_>) -> Mapped {
    let coordinates = match (site.flag("align_corners"), site.flag("half_pixel_centers")) {
        (true, true) => return keep("corners and centers of pixels are both aligned"),
        (true, false) => "align_corners",
        (false, true) => "half_pixel",
        (false, false) => "asymmetric",
    };
    resize(site, Numbers::Real, "linear", coordinates, "round_prefer_floor")
}

/// RESIZE_NEAREST_NEIGHBOR: `floor((y + 0.5) scale)` with centers of pixels, `round(y scale)` with corners, which
/// rounds halves up, else `floor(y scale)`.
pub(super) fn resize_nearest(site: &mut Site<'_, '_>) -> Mapped {
    let (coordinates, rounding) = match (site.flag("align_corners"), site.flag("half_pixel_centers")) {
        (true, true) => return keep("corners and centers of pixels are both aligned"),
        (true, false) => ("align_corners", "round_prefer_ceil"),
        (false, true) => ("half_pixel", "round_prefer_ceil"),
        (false, false) => ("asymmetric", "floor"),
    };
    let numbers = site.shared(&[0])?;
    resize(site, numbers, "nearest", coordinates, rounding)
}

fn resize(
    site: &mut Site<'_, '_>,
    numbers: Numbers,
    mode: &str,
    coordinates: &str,
    rounding: &str,
) -> Mapped {
    site.arity(2, 2, 1)?;
    let shape = site.shape(0)?;
    if shape.len() != 4 {
        return Err(format!("data of rank 4 were expected, found rank {}", shape.len()).into());
    }
    let (sizes, axes) = match (site.integers(1).as_deref(), shape[0].known(), shape[3].known()) {
        (Some(&[height, width]), Some(batch), Some(channels)) => {
            (site.integer_list("sizes", vec![batch as i64, height, width, channels as i64])?, None)
        }
        (Some([_, _]) | None, ..) => (site.list(1)?, Some(vec![1, 2])),
        (Some(other), ..) => return Err(format!("two sizes were expected, found {other:?}").into()),
    };
    let op = Op::Image(Image::Resize {
        antialias: false,
        axes,
        coordinate_transformation_mode: coordinates.to_owned(),
        cubic_coeff_a: -0.75,
        exclude_outside: false,
        extrapolation_value: 0.0,
        keep_aspect_ratio_policy: String::from("stretch"),
        mode: mode.to_owned(),
        nearest_mode: rounding.to_owned(),
    });
    let x = site.numbers(0, numbers)?;
    site.make_plain(numbers, op, &[Some(x), None, None, Some(sizes)])
}

/// LOCAL_RESPONSE_NORMALIZATION: `x / (bias + alpha sum(x^2))^beta` over `radius` channels on either side. The operator
/// of the representation divides its `alpha` by the number of channels in the sum. (LiteRT's reference kernel leaves out
/// the last of these channels; its default kernel and TensorFlow do not.)
pub(super) fn local_response_normalization(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(1, 1, 1)?;
    let size = site.int("radius")?.saturating_mul(2).saturating_add(1);
    if size < 1 {
        return Err(format!("its radius {} is negative", site.int("radius")?).into());
    }
    let op = Op::Normalize(Normalize::LocalResponse {
        alpha: site.float("alpha")? * size as f32,
        beta: site.float("beta")?,
        bias: site.float("bias")?,
        size,
    });
    around(site, op)
}

/// SPACE_TO_DEPTH and DEPTH_TO_SPACE.
pub(super) fn depth(site: &mut Site<'_, '_>, to_space: bool) -> Mapped {
    site.arity(1, 1, 1)?;
    let blocksize = site.int("block_size")?;
    if blocksize < 1 {
        return Err(format!("its block size {blocksize} must be 1 or more").into());
    }
    around(
        site,
        if to_space {
            Op::Movement(Movement::DepthToSpace { blocksize, mode: String::from("DCR") })
        } else {
            Op::Movement(Movement::SpaceToDepth { blocksize })
        },
    )
}

/// An operator on channels in the second axis, between transpositions.
fn around(site: &mut Site<'_, '_>, op: Op) -> Mapped {
    let numbers = site.shared(&[0])?;
    let x = site.numbers(0, numbers)?;
    let dtype = site.graph.editor.value(x).ty.dtype;
    let first = Op::Transpose { permutation: TO_CHANNELS_FIRST.to_vec() };
    let planes = site.step("Transpose", first, &[Some(x)], dtype)?;
    let open = TensorType::new(dtype, (0..4).map(|axis| Dim::symbolic(format!("?{axis}"))));
    let name = op.name().to_owned();
    let planes = site.step_typed(&name, op, &[Some(planes)], open)?;
    let last = Op::Transpose { permutation: TO_CHANNELS_LAST.to_vec() };
    site.make_plain(numbers, last, &[Some(planes)])
}

/// Blocks and crops or pads of the operators between space and batch, for axes 1 and on.
struct Blocks {
    blocks: Vec<i64>,
    /// Before and after each axis.
    borders: Vec<[i64; 2]>,
    /// Extents of the blocked axes, and of those after them.
    spatial: Vec<i64>,
    rest: Vec<i64>,
}

fn blocks(site: &mut Site<'_, '_>) -> Mapped<Blocks> {
    site.arity(3, 3, 1)?;
    let (Some(blocks), Some(borders)) = (site.integers(1), site.integers(2)) else {
        return keep("its blocks are computed");
    };
    let shape = site.shape(0)?;
    let (rows, left) = borders.as_chunks::<2>();
    let fits =
        rows.len() == blocks.len() && left.is_empty() && shape.len() > blocks.len() && !blocks.is_empty();
    if !fits || blocks.iter().any(|&block| block < 1) || borders.iter().any(|&border| border < 0) {
        return Err(
            format!("blocks {blocks:?} and borders {borders:?} do not fit rank {}", shape.len()).into()
        );
    }
    let extents: Option<Vec<i64>> =
        shape[1..].iter().map(|dim| dim.known().and_then(|extent| i64::try_from(extent).ok())).collect();
    let Some(mut spatial) = extents else { return keep("the extents of its data are not known") };
    let rest = spatial.split_off(blocks.len());
    Ok(Blocks { blocks, borders: rows.to_vec(), spatial, rest })
}

/// SPACE_TO_BATCH_ND: positions of a block become batches, positions of the block outermost.
pub(super) fn space_to_batch(site: &mut Site<'_, '_>) -> Mapped {
    let Blocks { blocks, borders, spatial, rest } = blocks(site)?;
    let numbers = site.shared(&[0])?;
    if numbers == Numbers::Real {
        return keep("its result has other quantization parameters than its data");
    }
    let mut whole = Vec::new();
    for axis in 0..blocks.len() {
        let padded = borders[axis].iter().fold(spatial[axis], |sum, &pad| sum.saturating_add(pad));
        if padded % blocks[axis] != 0 {
            return Err(
                format!("its padded extent {padded} is no multiple of the block {}", blocks[axis]).into()
            );
        }
        whole.push(padded / blocks[axis]);
    }
    let value = match site.described(0)?.quantization.clone() {
        Some(quantization) => site.graph.parameters(site.input(0)?, &quantization)?.1,
        None => None,
    };
    let x = site.stored(0)?;
    let dtype = site.ty(0)?.dtype;
    let edge = |side: usize| {
        let inner = borders.iter().map(move |border| border[side]);
        [0].into_iter().chain(inner).chain(rest.iter().map(|_| 0))
    };
    let pads = site.integer_list("pads", edge(0).chain(edge(1)).collect())?;
    let inputs = [Some(x), Some(pads), value];
    let inputs = if value.is_some() { &inputs[..] } else { &inputs[..2] };
    let pad = Op::Movement(Movement::Pad { mode: String::from("constant") });
    let padded = site.step("Pad", pad, inputs, dtype)?;
    // [batch, whole, block, ..., rest] to [block, ..., batch, whole, ..., rest].
    let mut apart = vec![-1];
    apart.extend(whole.iter().zip(&blocks).flat_map(|(&whole, &block)| [whole, block]));
    apart.extend(&rest);
    let count = blocks.len();
    let mut permutation: Vec<usize> = (0..count).map(|axis| 2 * axis + 2).collect();
    permutation.push(0);
    permutation.extend((0..count).map(|axis| 2 * axis + 1));
    permutation.extend(2 * count + 1..apart.len());
    let mut result = vec![-1];
    result.extend(whole.iter().chain(&rest));
    let turned = turned(site, padded, dtype, apart, permutation)?;
    let shape = site.integer_list("shape", result)?;
    site.store(0, Op::Reshape, &[Some(turned), Some(shape)])
}

/// BATCH_TO_SPACE_ND: batches become positions of blocks, of which the borders are cut off.
pub(super) fn batch_to_space(site: &mut Site<'_, '_>) -> Mapped {
    let Blocks { blocks, borders, spatial, rest } = blocks(site)?;
    if site.shared(&[0])? == Numbers::Real {
        return keep("its result has other quantization parameters than its data");
    }
    let x = site.stored(0)?;
    let dtype = site.ty(0)?.dtype;
    // [block, ..., batch, whole, ..., rest] to [batch, whole, block, ..., rest].
    let count = blocks.len();
    let mut apart = blocks.clone();
    apart.push(-1);
    apart.extend(spatial.iter().chain(&rest));
    let mut permutation = vec![count];
    permutation.extend((0..count).flat_map(|axis| [count + 1 + axis, axis]));
    permutation.extend(2 * count + 1..apart.len());
    let mut whole = vec![-1];
    whole.extend(spatial.iter().zip(&blocks).map(|(&extent, &block)| extent.saturating_mul(block)));
    whole.extend(&rest);
    let turned = turned(site, x, dtype, apart, permutation)?;
    let shape = site.integer_list("shape", whole.clone())?;
    if borders.iter().flatten().all(|&crop| crop == 0) {
        return site.store(0, Op::Reshape, &[Some(turned), Some(shape)]);
    }
    let uncut = site.step("Reshape_whole", Op::Reshape, &[Some(turned), Some(shape)], dtype)?;
    let ends =
        borders.iter().zip(&whole[1..]).map(|(crop, &extent)| extent.saturating_sub(crop[1])).collect();
    let starts = site.integer_list("starts", borders.iter().map(|crop| crop[0]).collect())?;
    let ends = site.integer_list("ends", ends)?;
    let axes = site.integer_list("axes", (1..=count as i64).collect())?;
    let inputs = [Some(uncut), Some(starts), Some(ends), Some(axes)];
    site.store(0, Op::Movement(Movement::Slice), &inputs)
}

/// The value under another shape, with its axes permuted.
fn turned(
    site: &mut Site<'_, '_>,
    value: ValueId,
    dtype: DType,
    shape: Vec<i64>,
    permutation: Vec<usize>,
) -> Mapped<ValueId> {
    let shape = site.integer_list("blocks", shape)?;
    let apart = site.step("Reshape", Op::Reshape, &[Some(value), Some(shape)], dtype)?;
    site.step("Transpose", Op::Transpose { permutation }, &[Some(apart)], dtype)
}
