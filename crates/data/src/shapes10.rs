//! `shapes10`: generated 32 x 32 colour images of ten shapes, the same bytes from the same seed on
//! every platform.
//!
//! Each image shows one shape, brighter than its ground, at a drawn place, size, tilt and stretch,
//! in drawn colours that shade off across the image, with waves on the ground, a few lines beside
//! and over the shape, and noise over all. No pixel by itself says much about the class: a linear
//! classifier of the pixels stays far under 50 %.
//!
//! Arithmetic is IEEE 754 `f32`, each operation rounded by itself, with roots, sines and cosines
//! from `libm`.

mod canvas;
mod outline;
mod scene;

use calipers_random::Random;

use crate::{DataError, Dataset, DuplicatePolicy, ImageShape, Splits};

use canvas::Canvas;
use outline::Outline;

/// Names of the classes, by label.
pub const CLASS_NAMES: [&str; 10] =
    ["disc", "ring", "square", "frame", "triangle", "star", "cross", "crescent", "heart", "bar"];

/// Shape of every image.
pub const SHAPE: ImageShape = ImageShape { channels: 3, height: canvas::SIDE, width: canvas::SIDE };

/// How much of `shapes10` to make. Sample `i` of a split has label `i % 10` and depends on the
/// seed, the split and `i` alone: more samples go on where fewer end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Chooses the images.
    pub seed: u64,
    /// Training samples, a multiple of ten.
    pub train: usize,
    /// Test samples, a multiple of ten.
    pub test: usize,
}

/// 5,120 training samples, 80 batches of 64 without a remainder, and 2,000 for the test.
impl Default for Config {
    fn default() -> Self {
        Config { seed: 10, train: 5_120, test: 2_000 }
    }
}

/// Draws the images of both splits.
///
/// # Errors
///
/// [`DataError::Setting`] when a size is not a positive multiple of ten, so that the classes could
/// not be balanced; [`DataError::SplitsOverlap`] when an image occurs in both splits.
pub fn generate(config: Config) -> Result<Splits, DataError> {
    let train = split("shapes10/train", config.seed, config.train)?;
    let test = split("shapes10/test", config.seed, config.test)?;
    Splits::disjoint(train, test, DuplicatePolicy::Refuse)
}

fn split(name: &str, seed: u64, count: usize) -> Result<Dataset, DataError> {
    let classes = CLASS_NAMES.len();
    if count == 0 || !count.is_multiple_of(classes) {
        return Err(DataError::Setting {
            name: name.to_owned(),
            what: "the number of samples",
            found: count.to_string(),
            expected: "a positive multiple of 10, for balanced classes".to_owned(),
        });
    }
    let mut images = Vec::with_capacity(count * SHAPE.bytes());
    let mut labels = Vec::with_capacity(count);
    for index in 0..count {
        let label = index % classes;
        let mut random = Random::new(seed, &format!("{name}/{index}"));
        let mut canvas = Canvas::new();
        scene::draw(Outline::ALL[label], &mut random, &mut canvas);
        canvas.write(&mut images);
        labels.push(label as u32);
    }
    let class_names = CLASS_NAMES.map(str::to_owned).to_vec();
    Dataset::new(name, class_names, SHAPE, images, labels)
}

#[cfg(test)]
mod tests;
