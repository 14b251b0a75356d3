//! The inputs that output pixels see, as rows of a product.

use super::Geometry;

/// Writes what the output pixels from `first` on see in `group`, taps in order, `padding` outside the image: one row
/// every `stride` elements of `output`, to its end. `copy` is given slices of one length.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) fn gather<T: Copy, L: Copy>(
    geometry: &Geometry,
    input: &[T],
    group: usize,
    padding: L,
    copy: impl Fn(&[T], &mut [L]) + Copy,
    first: usize,
    stride: usize,
    output: &mut [L],
) {
    let [height, width] = geometry.output;
    let (mut column, mut row, mut image) = (first % width, first / width % height, first / width / height);
    for patch in output.chunks_exact_mut(stride) {
        let patch = &mut patch[..geometry.depth()];
        // Neighbouring taps are neighbours in memory where nothing lies between them.
        if geometry.groups == 1 && geometry.dilation[1] == 1 {
            runs(geometry, input, [image, row, column], padding, copy, patch);
        } else {
            taps(geometry, input, [image, row, column], group, padding, copy, patch);
        }
        column += 1;
        if column == width {
            column = 0;
            row += 1;
        }
        if row == height {
            row = 0;
            image += 1;
        }
    }
}

/// One patch, each of its rows in one run.
#[inline(always)]
fn runs<T: Copy, L: Copy>(
    geometry: &Geometry,
    input: &[T],
    [image, row, column]: [usize; 3],
    padding: L,
    copy: impl Fn(&[T], &mut [L]) + Copy,
    patch: &mut [L],
) {
    let channels = geometry.input_channels;
    let [height, width] = geometry.input;
    let begin = column * geometry.stride[1];
    let left = geometry.pad_begin[1].saturating_sub(begin).min(geometry.kernel[1]);
    let start = begin.saturating_sub(geometry.pad_begin[1]).min(width);
    let inside = (geometry.kernel[1] - left).min(width - start);
    for (i, patch) in patch.chunks_exact_mut(geometry.kernel[1] * channels).enumerate() {
        let Some(y) = geometry.source(0, row, i) else {
            fill(patch, padding);
            continue;
        };
        let from = &input[((image * height + y) * width + start) * channels..][..inside * channels];
        let run = &mut patch[left * channels..][..inside * channels];
        copy(from, run);
        fill(&mut patch[..left * channels], padding);
        fill(&mut patch[(left + inside) * channels..], padding);
    }
}

/// One patch, tap by tap.
#[inline(always)]
fn taps<T: Copy, L: Copy>(
    geometry: &Geometry,
    input: &[T],
    [image, row, column]: [usize; 3],
    group: usize,
    padding: L,
    copy: impl Fn(&[T], &mut [L]) + Copy,
    patch: &mut [L],
) {
    let channels = geometry.group_inputs();
    for (tap, patch) in patch.chunks_exact_mut(channels).enumerate() {
        let y = geometry.source(0, row, tap / geometry.kernel[1]);
        let x = geometry.source(1, column, tap % geometry.kernel[1]);
        let (Some(y), Some(x)) = (y, x) else {
            fill(patch, padding);
            continue;
        };
        let pixel = (image * geometry.input[0] + y) * geometry.input[1] + x;
        let from = &input[pixel * geometry.input_channels + group * channels..][..channels];
        copy(from, patch);
    }
}

/// [`slice::fill`] without the call for what is mostly empty.
#[inline(always)]
fn fill<L: Copy>(values: &mut [L], value: L) {
    if !values.is_empty() {
        values.fill(value);
    }
}
