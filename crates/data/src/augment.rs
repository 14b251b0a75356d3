//! Augmentation of `u8` images, drawn by seed, epoch and sample.

use calipers_random::Random;

use crate::ImageShape;

/// What is done to a training image each time it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Augmentation {
    /// The image is framed by this many black pixels on all sides and cut to its own size again
    /// at a uniformly drawn place. Zero leaves it where it is.
    pub crop_padding: usize,
    /// Whether the image is mirrored left to right with probability one half, after the crop.
    pub horizontal_flip: bool,
}

impl Augmentation {
    /// Images as they are.
    pub const NONE: Augmentation = Augmentation { crop_padding: 0, horizontal_flip: false };

    /// The usual augmentation of CIFAR-10: crop with padding 4, and flip.
    pub const CROP_AND_FLIP: Augmentation = Augmentation { crop_padding: 4, horizontal_flip: true };

    /// Appends `image` `[C, H, W]` to `output` as sample `index` is seen in `epoch`: a function of
    /// these and the seed alone, whatever the order of the samples.
    pub(crate) fn apply(self, image: &[u8], shape: ImageShape, draw: Draw, output: &mut Vec<u8>) {
        if self == Augmentation::NONE {
            output.extend_from_slice(image);
            return;
        }
        let stream = format!("data/augment/{}/{}", draw.epoch, draw.index);
        let mut random = Random::new(draw.seed, &stream);
        let places = 2 * self.crop_padding as u64 + 1;
        let top = random.below(places) as usize;
        let left = random.below(places) as usize;
        let mirrored = self.horizontal_flip && random.below(2) == 1;

        let ImageShape { height, width, .. } = shape;
        for plane in image.chunks_exact(shape.plane()) {
            for y in 0..height {
                let source = (y + top)
                    .checked_sub(self.crop_padding)
                    .and_then(|row| (row < height).then(|| &plane[row * width..(row + 1) * width]));
                output.extend((0..width).map(|x| {
                    let x = if mirrored { width - 1 - x } else { x };
                    let column = (x + left).checked_sub(self.crop_padding);
                    source.and_then(|row| row.get(column?)).copied().unwrap_or(0)
                }));
            }
        }
    }
}

/// Names one draw of an augmentation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draw {
    pub seed: u64,
    pub epoch: u64,
    pub index: usize,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SHAPE: ImageShape = ImageShape { channels: 2, height: 3, width: 3 };

    fn seen(augmentation: Augmentation, epoch: u64, index: usize) -> Vec<u8> {
        let image: Vec<u8> = (1..=18).collect();
        let mut output = Vec::new();
        let draw = Draw { seed: 4, epoch, index };
        augmentation.apply(&image, SHAPE, draw, &mut output);
        output
    }

    #[test]
    fn crops_and_flips_are_all_the_shifts_and_mirrors() {
        let augmentation = Augmentation { crop_padding: 1, horizontal_flip: true };
        let found: BTreeSet<Vec<u8>> = (0..1000).map(|i| seen(augmentation, 0, i)).collect();

        let mut expected = BTreeSet::new();
        for (down, right, mirrored) in (0..18).map(|case| (case / 6 - 1, case / 2 % 3 - 1, case % 2 == 1)) {
            let pixel = |channel: i32, y: i32, x: i32| {
                let x = if mirrored { 2 - x } else { x };
                let (y, x) = (y + down, x + right);
                let inside = (0..3).contains(&y) && (0..3).contains(&x);
                if inside { (channel * 9 + y * 3 + x + 1) as u8 } else { 0 }
            };
            let image = (0..18).map(|at| pixel(at / 9, at / 3 % 3, at % 3)).collect();
            expected.insert(image);
        }
        assert_eq!(expected.len(), 18);
        assert_eq!(found, expected);
    }

    #[test]
    fn no_augmentation_keeps_the_bytes() {
        assert_eq!(seen(Augmentation::NONE, 3, 5), (1..=18).collect::<Vec<u8>>());
    }

    #[test]
    fn epoch_and_sample_choose_the_draw() {
        let over_epochs: Vec<_> = (0..20).map(|epoch| seen(Augmentation::CROP_AND_FLIP, epoch, 0)).collect();
        let again: Vec<_> = (0..20).map(|epoch| seen(Augmentation::CROP_AND_FLIP, epoch, 0)).collect();
        let over_samples: Vec<_> = (0..20).map(|index| seen(Augmentation::CROP_AND_FLIP, 0, index)).collect();
        assert_eq!(over_epochs, again);
        assert_ne!(over_epochs, over_samples);
        assert!(over_epochs.iter().collect::<BTreeSet<_>>().len() > 5);
    }
}
