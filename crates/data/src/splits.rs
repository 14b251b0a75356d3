//! Training and test data, held apart by hash, and the calibration samples drawn from training.

use std::collections::HashMap;

use calipers_random::Random;

use crate::{DataError, Dataset};

/// What becomes of a training sample whose image also occurs in the test split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DuplicatePolicy {
    /// An error: right for generated data, where it means a fault of the generator.
    Refuse,
    /// The sample leaves the training split and the report says so: right for published data,
    /// whose test split must stay the one that others measure on.
    DropFromTraining,
}

/// One image in both splits, by position in each as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedImage {
    /// Position in the training split, before anything was dropped from it.
    pub train_index: usize,
    /// Position in the test split; the first one where the image occurs there repeatedly.
    pub test_index: usize,
}

/// What the comparison of the splits found. Images are compared by BLAKE3 of their bytes, labels
/// left aside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SplitReport {
    /// Training samples whose image is in the test split too, all of them dropped, by position.
    pub dropped_from_training: Vec<SharedImage>,
    /// Training samples whose image came before in the training split; they stay.
    pub repeated_in_training: usize,
    /// Test samples whose image came before in the test split; they stay.
    pub repeated_in_test: usize,
}

/// A training and a test split that share no image.
#[derive(Debug, Clone)]
pub struct Splits {
    /// What is learned and calibrated from.
    pub train: Dataset,
    /// What accuracy is measured on, and nothing else.
    pub test: Dataset,
    /// What the comparison of the two found.
    pub report: SplitReport,
}

impl Splits {
    /// Compares the splits and makes them disjoint, or refuses, as `policy` says.
    ///
    /// # Errors
    ///
    /// [`DataError::SplitsOverlap`] under [`DuplicatePolicy::Refuse`].
    pub fn disjoint(train: Dataset, test: Dataset, policy: DuplicatePolicy) -> Result<Splits, DataError> {
        let (in_test, repeated_in_test) = first_positions(&test);
        let (_, repeated_in_training) = first_positions(&train);
        let shared: Vec<SharedImage> = (0..train.len())
            .filter_map(|train_index| {
                let test_index = *in_test.get(&blake3::hash(train.image(train_index)))?;
                Some(SharedImage { train_index, test_index })
            })
            .collect();
        let train = match (policy, shared.first()) {
            (_, None) => train,
            (DuplicatePolicy::Refuse, Some(&first)) => {
                return Err(DataError::SplitsOverlap {
                    name: train.name().to_owned(),
                    first,
                    count: shared.len(),
                });
            }
            (DuplicatePolicy::DropFromTraining, Some(_)) => without(&train, &shared),
        };
        Ok(Splits {
            train,
            test,
            report: SplitReport { dropped_from_training: shared, repeated_in_training, repeated_in_test },
        })
    }
}

/// `count` samples of `train` for calibration, drawn without repetition by `seed`, in drawn order.
/// A smaller count gives the first samples of a larger one.
///
/// # Errors
///
/// [`DataError::Setting`] when `count` is zero or exceeds the training samples.
pub fn calibration_subset(train: &Dataset, count: usize, seed: u64) -> Result<Dataset, DataError> {
    if count == 0 || count > train.len() {
        return Err(DataError::Setting {
            name: train.name().to_owned(),
            what: "the number of calibration samples",
            found: count.to_string(),
            expected: format!("1 to {}, the size of the training split", train.len()),
        });
    }
    let order = Random::new(seed, "data/calibration").permutation(train.len());
    let name = format!("{}/calibration", train.name());
    Ok(train.select(name, &order[..count]))
}

/// Where each distinct image stands first, and how many samples repeat an earlier one.
fn first_positions(set: &Dataset) -> (HashMap<blake3::Hash, usize>, usize) {
    let mut positions = HashMap::with_capacity(set.len());
    for index in 0..set.len() {
        positions.entry(blake3::hash(set.image(index))).or_insert(index);
    }
    let repeated = set.len() - positions.len();
    (positions, repeated)
}

/// `train` less the samples in `shared`, which stand in increasing order.
fn without(train: &Dataset, shared: &[SharedImage]) -> Dataset {
    let mut dropped = shared.iter().map(|pair| pair.train_index).peekable();
    let kept: Vec<usize> = (0..train.len()).filter(|&index| dropped.next_if_eq(&index).is_none()).collect();
    train.select(train.name(), &kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageShape;

    fn pixels(name: &str, values: &[u8]) -> Dataset {
        let shape = ImageShape { channels: 1, height: 1, width: 1 };
        let labels = vec![0; values.len()];
        Dataset::new(name, vec!["pixel".into()], shape, values.to_vec(), labels).unwrap()
    }

    #[test]
    fn shared_images_leave_the_training_split_of_published_data() {
        let splits = Splits::disjoint(
            pixels("train", &[1, 2, 3, 2, 4, 4]),
            pixels("test", &[9, 2, 2, 8, 3]),
            DuplicatePolicy::DropFromTraining,
        )
        .unwrap();
        assert_eq!(splits.train.images(), [1, 4, 4]);
        assert_eq!(splits.test.len(), 5);
        let pairs: Vec<_> = splits
            .report
            .dropped_from_training
            .iter()
            .map(|pair| (pair.train_index, pair.test_index))
            .collect();
        assert_eq!(pairs, [(1, 1), (2, 4), (3, 1)]);
        assert_eq!(splits.report.repeated_in_training, 2);
        assert_eq!(splits.report.repeated_in_test, 1);
    }

    #[test]
    fn shared_images_of_generated_data_are_refused_by_both_indices() {
        let error = Splits::disjoint(
            pixels("made/train", &[1, 2, 3]),
            pixels("made/test", &[7, 3]),
            DuplicatePolicy::Refuse,
        )
        .unwrap_err();
        let message = error.to_string();
        assert!(message.contains("training sample 2 and test sample 1"), "{message}");
    }

    #[test]
    fn calibration_draws_distinct_training_samples_by_seed() {
        let train = pixels("train", &(0..100).collect::<Vec<u8>>());
        let drawn = |count, seed| {
            let subset = calibration_subset(&train, count, seed).unwrap();
            subset.images().to_vec()
        };
        assert_eq!(drawn(30, 1), drawn(100, 1)[..30]);
        assert_ne!(drawn(30, 1), drawn(30, 2));
        let mut all = drawn(100, 1);
        all.sort_unstable();
        assert_eq!(all, train.images());
        assert!(calibration_subset(&train, 101, 1).is_err());
        assert!(calibration_subset(&train, 0, 1).is_err());
    }
}
