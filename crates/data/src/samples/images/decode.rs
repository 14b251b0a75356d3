//! PNG and JPEG files to pixels, within limits.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::{DynamicImage, ImageError, ImageFormat, ImageReader, Limits};

use crate::samples::SamplesError;
use crate::samples::images::Picture;

/// Largest side that is decoded.
const LARGEST_SIDE: u32 = 1 << 15;

/// Most memory that one image may take while it is decoded.
const MEMORY: u64 = 512 << 20;

/// Decodes the file, by its content whatever it is called. Deeper pixels are reduced to 8 bits,
/// transparency is dropped.
pub(super) fn decode(path: &Path, gray: bool) -> Result<Picture, SamplesError> {
    let refuse = |problem: String| SamplesError::Image { path: path.to_owned(), problem };
    let file = File::open(path).map_err(SamplesError::io(path, "open the image"))?;
    let mut reader = ImageReader::new(BufReader::new(file))
        .with_guessed_format()
        .map_err(SamplesError::io(path, "read the image"))?;
    match reader.format() {
        Some(ImageFormat::Png | ImageFormat::Jpeg) => {}
        Some(other) => return Err(refuse(format!("is an image of the kind {other:?}"))),
        None => return Err(refuse("is not an image".to_owned())),
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST_SIDE);
    limits.max_image_height = Some(LARGEST_SIDE);
    limits.max_alloc = Some(MEMORY);
    reader.limits(limits);
    let image = reader.decode().map_err(|error| match error {
        ImageError::Limits(_) => refuse(format!(
            "is larger than {LARGEST_SIDE} x {LARGEST_SIDE} pixels or {} MiB when decoded",
            MEMORY >> 20
        )),
        error => refuse(format!("cannot be decoded: {error}")),
    })?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width == 0 || height == 0 {
        return Err(refuse("has no pixel".to_owned()));
    }
    let is_gray = matches!(
        image,
        DynamicImage::ImageLuma8(_)
            | DynamicImage::ImageLumaA8(_)
            | DynamicImage::ImageLuma16(_)
            | DynamicImage::ImageLumaA16(_)
    );
    let pixels = match (gray, is_gray) {
        // Gray files stay as they are; those in colours go through the weights below.
        (true, true) => image.into_luma8().into_raw(),
        (true, false) => luma(&image.into_rgb8().into_raw()),
        (false, _) => image.into_rgb8().into_raw(),
    };
    Ok(Picture { width, height, channels: if gray { 1 } else { 3 }, pixels })
}

/// Gray of red, green and blue by ITU-R 601-2, in 16 bits behind the point as in PIL.
pub(super) fn luma(rgb: &[u8]) -> Vec<u8> {
    rgb.chunks_exact(3)
        .map(|pixel| {
            let weighted = pixel.iter().zip([19_595u32, 38_470, 7_471]);
            let sum: u32 = weighted.map(|(&value, weight)| u32::from(value) * weight).sum();
            ((sum + 0x8000) >> 16) as u8
        })
        .collect()
}
