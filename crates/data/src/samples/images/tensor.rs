//! From pixels to the elements of a model's input.

use crate::samples::InputQuantization;
use crate::samples::images::{ChannelOrder, Layout, Picture, Preprocessing, Scale};

/// Appends `picture`, which has the size of the model's input, to `output`.
pub(super) fn append(
    picture: &Picture,
    preprocessing: &Preprocessing,
    quantization: Option<InputQuantization>,
    output: &mut Vec<u8>,
) {
    let channels = picture.channels;
    let width = preprocessing.element.bytes();
    let tables: Vec<Vec<u8>> =
        (0..channels).map(|channel| table(preprocessing, quantization, channel)).collect();
    let source = |channel: usize| match preprocessing.channels {
        ChannelOrder::Bgr => channels - 1 - channel,
        ChannelOrder::Rgb | ChannelOrder::Gray => channel,
    };
    output.reserve(picture.pixels.len() * width);
    let mut put = |channel: usize, pixel: u8| {
        let at = usize::from(pixel) * width;
        output.extend_from_slice(&tables[channel][at..at + width]);
    };
    match preprocessing.layout {
        Layout::Nchw => {
            for channel in 0..channels {
                let plane = picture.pixels.iter().skip(source(channel)).step_by(channels);
                plane.for_each(|&pixel| put(channel, pixel));
            }
        }
        Layout::Nhwc => {
            for pixel in picture.pixels.chunks_exact(channels) {
                (0..channels).for_each(|channel| put(channel, pixel[source(channel)]));
            }
        }
    }
}

/// The bytes of the element that each of the 256 pixels of a channel becomes. Each operation is
/// rounded to `f32` before the next, as in [`Normalization::table`](crate::Normalization::table).
fn table(preprocessing: &Preprocessing, quantization: Option<InputQuantization>, channel: usize) -> Vec<u8> {
    let of = |values: &[f32], otherwise| values.get(channel).copied().unwrap_or(otherwise);
    let (mean, deviation) = (of(&preprocessing.mean, 0.0), of(&preprocessing.deviation, 1.0));
    let element = preprocessing.element;
    let mut bytes = Vec::with_capacity(256 * element.bytes());
    for pixel in 0..=u8::MAX {
        let scaled = match preprocessing.scale {
            Scale::Unit => f32::from(pixel) / 255.0,
            Scale::Raw => f32::from(pixel),
        };
        let value = (scaled - mean) / deviation;
        match element.range() {
            None => element.write_float(value.into(), &mut bytes),
            Some((least, greatest)) => {
                let (scale, zero_point) = quantization.map_or((1.0, 0), |by| (by.scale, by.zero_point));
                // TFLite's rounding: half away from zero.
                let stored = i128::from((value / scale).round() as i64) + i128::from(zero_point);
                element.write_integer(stored.clamp(least, greatest), &mut bytes);
            }
        }
    }
    bytes
}
