//! One epoch: a data set in the order and under the augmentation of that epoch.

use calipers_random::Random;

use crate::augment::Draw;
use crate::{Augmentation, Dataset, ImageShape};

/// The order in which an epoch goes through a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As the set stands.
    Sequential,
    /// Uniformly shuffled, by (seed, epoch).
    Shuffled,
}

impl Order {
    /// Positions in a set of `samples`, in the order in which `epoch` visits them.
    pub fn indices(self, samples: usize, seed: u64, epoch: u64) -> Vec<usize> {
        match self {
            Order::Sequential => (0..samples).collect(),
            Order::Shuffled => Random::new(seed, &format!("data/order/{epoch}")).permutation(samples),
        }
    }
}

/// The samples of one epoch, ready to be handed to any framework.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochData {
    /// Shape of every image.
    pub shape: ImageShape,
    /// Pixels, `[N, C, H, W]`.
    pub images: Vec<u8>,
    /// Labels, `[N]`.
    pub labels: Vec<i64>,
}

impl EpochData {
    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// `dataset` as `epoch` (from 0) sees it: a function of its content, `order`, `augmentation`,
/// `seed` and `epoch` alone. The augmentation of a sample is drawn by its position in `dataset`,
/// not by its place in the order.
pub fn epoch(
    dataset: &Dataset,
    order: Order,
    augmentation: Augmentation,
    seed: u64,
    epoch: u64,
) -> EpochData {
    let shape = dataset.shape();
    let mut images = Vec::with_capacity(dataset.images().len());
    let mut labels = Vec::with_capacity(dataset.len());
    for index in order.indices(dataset.len(), seed, epoch) {
        let draw = Draw { seed, epoch, index };
        augmentation.apply(dataset.image(index), shape, draw, &mut images);
        labels.push(i64::from(dataset.labels()[index]));
    }
    EpochData { shape, images, labels }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hundred() -> Dataset {
        let shape = ImageShape { channels: 1, height: 1, width: 2 };
        let images = (0..100).flat_map(|value| [value, 200]).collect();
        let classes = (0..100).map(|class| class.to_string()).collect();
        Dataset::new("hundred", classes, shape, images, (0..100).collect()).unwrap()
    }

    #[test]
    fn seed_and_epoch_choose_the_order() {
        let shuffled = |seed, number| epoch(&hundred(), Order::Shuffled, Augmentation::NONE, seed, number);
        assert_eq!(shuffled(1, 0), shuffled(1, 0));
        assert_ne!(shuffled(1, 0).labels, shuffled(1, 1).labels);
        assert_ne!(shuffled(1, 0).labels, shuffled(2, 0).labels);
    }

    #[test]
    fn every_sample_comes_once_with_its_label() {
        let seen = epoch(&hundred(), Order::Shuffled, Augmentation::NONE, 1, 0);
        for (pixels, &label) in seen.images.chunks_exact(2).zip(&seen.labels) {
            assert_eq!(pixels, [label as u8, 200]);
        }
        let mut labels = seen.labels;
        labels.sort_unstable();
        assert_eq!(labels, (0..100).collect::<Vec<i64>>());
    }

    #[test]
    fn the_order_does_not_change_the_augmentation_of_a_sample() {
        let flip = Augmentation { crop_padding: 0, horizontal_flip: true };
        let straight = epoch(&hundred(), Order::Sequential, flip, 1, 5);
        let shuffled = epoch(&hundred(), Order::Shuffled, flip, 1, 5);
        for (pixels, &label) in shuffled.images.chunks_exact(2).zip(&shuffled.labels) {
            let at = 2 * label as usize;
            assert_eq!(pixels, &straight.images[at..at + 2]);
        }
        let mirrored = straight.images.chunks_exact(2).filter(|two| two[0] == 200);
        assert!((30..70).contains(&mirrored.count()));
    }
}
