//! Resize and crop of 8-bit pictures, to the same bits as PIL.
//!
//! Source of the formula: the documentation and behaviour of Pillow's `Image.resize`; `testdata`
//! holds what Pillow computes. A pixel of the result is the sum of the pixels within the filter's
//! support around its centre, `weight(x) = max(0, 1 - |x|)` with `x` in units of
//! `max(1, reduction)`, normalised, in 22 bits behind the point, rounded after the columns and
//! again after the rows.

use crate::samples::images::{Crop, Filter, Picture, Preprocessing, Resize};

/// Bits behind the point of a weight: 32, less 8 of a pixel, less 2 against overflow.
const PRECISION: u32 = 22;
const HALF: i64 = 1 << (PRECISION - 1);

/// Longest side of a resized picture, before the crop.
pub(super) const LONGEST: usize = 1 << 15;

/// Resizes and crops `picture` as `preprocessing` says; `None` when it is so long and narrow that
/// a side would exceed [`LONGEST`] on the way.
pub(super) fn fit(picture: &Picture, preprocessing: &Preprocessing) -> Option<Picture> {
    let (height, width) = match preprocessing.resize {
        Resize::None => (picture.height, picture.width),
        Resize::Exact { height, width } => (height, width),
        Resize::ShorterSide(side) => {
            let longer = |long: usize, short: usize| (side * long / short.max(1)).max(1);
            if picture.height <= picture.width {
                (side, longer(picture.width, picture.height))
            } else {
                (longer(picture.height, picture.width), side)
            }
        }
    };
    if height.max(width) > LONGEST {
        return None;
    }
    let resized = match preprocessing.filter {
        Filter::Bilinear => bilinear(picture, height, width),
        Filter::Nearest => nearest(picture, height, width),
    };
    match preprocessing.crop {
        Some(crop) => Some(center_crop(&resized, crop)),
        None => Some(resized),
    }
}

fn bilinear(picture: &Picture, height: usize, width: usize) -> Picture {
    let across = if width == picture.width {
        picture.clone()
    } else {
        let windows = windows(picture.width, width);
        let channels = picture.channels;
        let mut pixels = Vec::with_capacity(picture.height * width * channels);
        for row in picture.pixels.chunks_exact((picture.width * channels).max(1)) {
            for window in &windows {
                let mut sums = [HALF; 3];
                let under = row.chunks_exact(channels.max(1)).skip(window.first);
                for (weight, pixel) in window.weights.iter().zip(under) {
                    let values = sums.iter_mut().zip(pixel);
                    values.for_each(|(sum, &value)| *sum += weight * i64::from(value));
                }
                pixels.extend(sums.iter().take(channels).map(|&sum| rounded(sum)));
            }
        }
        Picture { width, pixels, ..*picture }
    };
    if height == across.height {
        return across;
    }
    let row = across.width * across.channels;
    let mut pixels = Vec::with_capacity(height * row);
    let mut sums = vec![0i64; row];
    for window in windows(across.height, height) {
        sums.fill(HALF);
        let rows = across.pixels.chunks_exact(row.max(1)).skip(window.first);
        for (weight, values) in window.weights.iter().zip(rows) {
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * i64::from(*value));
        }
        pixels.extend(sums.iter().map(|&sum| rounded(sum)));
    }
    Picture { height, pixels, ..across }
}

/// The pixels that one pixel of the result is made of.
struct Window {
    first: usize,
    weights: Vec<i64>,
}

/// A sum of weighted pixels, begun with [`HALF`], as a pixel.
fn rounded(sum: i64) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// One window for each of `to` pixels that `from` pixels become.
fn windows(from: usize, to: usize) -> Vec<Window> {
    let reduction = from as f64 / to as f64;
    let support = reduction.max(1.0);
    (0..to)
        .map(|pixel| {
            let center = (pixel as f64 + 0.5) * reduction;
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            let weights: Vec<f64> = (first..end)
                .map(|at| (1.0 - ((at as f64 - center + 0.5) * (1.0 / support)).abs()).max(0.0))
                .collect();
            let total: f64 = weights.iter().sum();
            let one = f64::from(1u32 << PRECISION);
            let weights = weights.iter().map(|weight| (0.5 + weight / total * one) as i64).collect();
            Window { first, weights }
        })
        .collect()
}

fn nearest(picture: &Picture, height: usize, width: usize) -> Picture {
    let place = |pixel: usize, from: usize, to: usize| {
        (((pixel as f64 + 0.5) * (from as f64 / to as f64)) as usize).min(from.saturating_sub(1))
    };
    let channels = picture.channels;
    let mut pixels = Vec::with_capacity(height * width * channels);
    for y in 0..height {
        let row = place(y, picture.height, height) * picture.width;
        for x in 0..width {
            let at = (row + place(x, picture.width, width)) * channels;
            pixels.extend_from_slice(&picture.pixels[at..at + channels]);
        }
    }
    Picture { height, width, channels, pixels }
}

/// The middle of a picture; half a pixel goes to the even place, as in torchvision. What lies
/// outside is black.
fn center_crop(picture: &Picture, crop: Crop) -> Picture {
    let (top, left) = (edge(picture.height, crop.height), edge(picture.width, crop.width));
    let channels = picture.channels;
    let mut pixels = Vec::with_capacity(crop.height * crop.width * channels);
    for y in 0..crop.height {
        let row = y.checked_add_signed(top).filter(|&row| row < picture.height);
        for x in 0..crop.width {
            let column = x.checked_add_signed(left).filter(|&column| column < picture.width);
            match row.zip(column) {
                Some((row, column)) => {
                    let at = (row * picture.width + column) * channels;
                    pixels.extend_from_slice(&picture.pixels[at..at + channels]);
                }
                None => pixels.extend(std::iter::repeat_n(0, channels)),
            }
        }
    }
    Picture { height: crop.height, width: crop.width, channels, pixels }
}

/// Where a crop begins: below zero when the image is smaller.
fn edge(size: usize, crop: usize) -> isize {
    if size >= crop {
        // Half to even.
        let spare = size - crop;
        (spare / 2 + usize::from(spare % 4 == 3)) as isize
    } else {
        -(((crop - size) / 2) as isize)
    }
}
