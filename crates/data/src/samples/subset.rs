//! A few samples out of many, drawn by seed and spread over the classes.

use calipers_random::Random;

use crate::samples::{Samples, SamplesError};

/// Positions of `count` samples, drawn without repetition by `seed`; all samples when there are
/// no more. A smaller count gives the first samples of a larger one.
///
/// Where there are labels, the classes take turns, each in an order of its own, so that the
/// classes differ by at most one sample as long as none has run out.
///
/// # Errors
///
/// [`SamplesError::Request`] when `count` is zero.
pub fn subset(samples: &dyn Samples, count: usize, seed: u64) -> Result<Vec<usize>, SamplesError> {
    if count == 0 {
        return Err(SamplesError::Request {
            what: "the number of samples to draw",
            found: 0,
            expected: "at least 1".to_owned(),
        });
    }
    let mut order = Random::new(seed, "data/samples/subset").permutation(samples.len());
    if let Some(labels) = samples.labels() {
        // The turn of a sample is how many of its class stand before it in the drawn order.
        let mut turns = std::collections::HashMap::new();
        let mut keyed: Vec<(usize, usize)> = order
            .iter()
            .map(|&index| {
                let turn = turns.entry(labels.get(index).copied().unwrap_or(0)).or_insert(0usize);
                *turn += 1;
                (*turn, index)
            })
            .collect();
        keyed.sort_by_key(|&(turn, _)| turn);
        order = keyed.into_iter().map(|(_, index)| index).collect();
    }
    order.truncate(count);
    Ok(order)
}
