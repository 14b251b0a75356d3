//! What `shapes10` promises: the same bytes everywhere, balance, and that pixels alone say little.

use super::*;
use crate::{Batches, Normalization};

#[test]
fn the_same_seed_gives_the_same_bytes_on_every_platform() {
    let splits = generate(Config { seed: 10, train: 100, test: 50 }).unwrap();
    let hash = |images: &[u8]| blake3::hash(images).to_hex().to_string();
    // These say only that nothing changed: every study on shapes10 rests on these bytes.
    assert_eq!(
        hash(splits.train.images()),
        "fce1d0b8d140b5030ea0d57c786ba5fa44370fe22eb022a2c425c7057b95d2b9"
    );
    assert_eq!(
        hash(splits.test.images()),
        "9ec3645e1dbbec5709501f5e80a76cb541247aeadc259b24e5c5e574df66b952"
    );
}

#[test]
fn a_larger_set_goes_on_where_a_smaller_one_ends() {
    let small = split("shapes10/train", 3, 20).unwrap();
    let large = split("shapes10/train", 3, 40).unwrap();
    assert_eq!(small.images(), &large.images()[..small.images().len()]);
    let other = split("shapes10/train", 4, 20).unwrap();
    assert!((0..20).all(|index| small.image(index) != other.image(index)));
}

#[test]
fn the_default_is_balanced_and_its_splits_share_nothing() {
    let splits = generate(Config::default()).unwrap();
    for set in [&splits.train, &splits.test] {
        for label in 0..10 {
            let found = set.labels().iter().filter(|&&other| other == label);
            assert_eq!(found.count(), set.len() / 10);
        }
    }
    assert_eq!(splits.report, crate::SplitReport::default());
}

#[test]
fn sizes_that_cannot_be_balanced_are_refused() {
    for (train, test) in [(0, 10), (10, 0), (15, 10)] {
        let error = generate(Config { seed: 1, train, test }).unwrap_err();
        assert!(matches!(error, DataError::Setting { .. }), "{error}");
    }
}

#[test]
fn every_outline_is_inside_its_bounds_and_fills_a_part_of_them() {
    for outline in Outline::ALL {
        let mut inside = 0;
        for row in -50i16..=50 {
            for column in -50i16..=50 {
                let (u, v) = (f32::from(column) / 25.0, f32::from(row) / 25.0);
                if outline.depth(u, v) > 0.0 {
                    inside += 1;
                    assert!(u * u + v * v < 1.45 * 1.45, "{outline:?} at {u}, {v}");
                }
            }
        }
        // Of the 625 points of a unit square.
        assert!((500..2000).contains(&inside), "{outline:?}: {inside}");
    }
}

#[test]
fn a_linear_classifier_learns_something_but_stays_under_one_half() {
    let splits = generate(Config::default()).unwrap();
    let normalization = Normalization::from_statistics(&splits.train.channel_statistics()).unwrap();
    let mut weights = vec![[0.0f32; 10]; SHAPE.bytes() + 1];
    for epoch in 0..4 {
        let train = crate::epoch(&splits.train, crate::Order::Shuffled, crate::Augmentation::NONE, 1, epoch);
        let labels = train.labels.iter().map(|&label| label as u32).collect();
        let classes = splits.train.class_names().to_vec();
        let train = Dataset::new("shuffled", classes, SHAPE, train.images, labels).unwrap();
        for sample in Batches::new(&train, &normalization, 1) {
            let mut error = probabilities(&weights, &sample.images);
            error[sample.labels[0] as usize] -= 1.0;
            let step = error.map(|value| value * 5e-5);
            for (row, pixel) in weights.iter_mut().zip(with_one(&sample.images)) {
                for (weight, step) in row.iter_mut().zip(step) {
                    *weight -= step * pixel;
                }
            }
        }
    }
    let right = Batches::new(&splits.test, &normalization, 1)
        .filter(|sample| {
            let found = probabilities(&weights, &sample.images);
            let best = (0..10).max_by(|&a, &b| found[a].total_cmp(&found[b]));
            best == Some(sample.labels[0] as usize)
        })
        .count();
    let accuracy = right as f64 / splits.test.len() as f64;
    assert!((0.2..0.5).contains(&accuracy), "{accuracy}");
}

/// The softmax of the linear functions in `weights`, whose last row is added to every sample.
fn probabilities(weights: &[[f32; 10]], pixels: &[f32]) -> [f32; 10] {
    let mut sums = [0.0f32; 10];
    for (row, pixel) in weights.iter().zip(with_one(pixels)) {
        for (sum, weight) in sums.iter_mut().zip(row) {
            *sum += weight * pixel;
        }
    }
    let largest = sums.into_iter().fold(f32::MIN, f32::max);
    let powers = sums.map(|sum| libm::expf(sum - largest));
    let total: f32 = powers.iter().sum();
    powers.map(|power| power / total)
}

fn with_one(pixels: &[f32]) -> impl Iterator<Item = f32> {
    pixels.iter().copied().chain([1.0])
}
