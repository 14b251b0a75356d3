//! Going through samples batch by batch, under the model's batch rule.

use crate::samples::{BatchRule, NamedArray, Samples, SamplesError};

/// What goes into one run of the model.
#[derive(Debug, Clone)]
pub struct SampleBatch {
    /// One array for each input of the model.
    pub arrays: Vec<NamedArray>,
    /// Which samples they hold, in order. Where a model of fixed batch takes more than were left,
    /// the last one is repeated in the arrays: results beyond `indices.len()` are to be dropped.
    pub indices: Vec<usize>,
    /// How many repetitions of the last sample follow in the arrays.
    pub padded: usize,
    names: Vec<String>,
}

impl SampleBatch {
    /// Refuses numbers that are not finite, naming input, sample, value and place.
    ///
    /// # Errors
    ///
    /// [`SamplesError::NotFinite`].
    pub fn require_finite(&self) -> Result<(), SamplesError> {
        for array in self.arrays.iter().filter(|array| array.element.is_float()) {
            let elements = array.bytes.chunks_exact(array.element.bytes());
            let total = elements.len();
            let found = elements
                .map(|bytes| array.element.read_float(bytes))
                .enumerate()
                .find(|(_, value)| !value.is_finite());
            let Some((position, value)) = found else { continue };
            let per_sample = (total / (self.indices.len() + self.padded).max(1)).max(1);
            return Err(SamplesError::NotFinite {
                input: array.name.clone(),
                sample: self.names.get(position / per_sample).cloned().unwrap_or_default(),
                value: value.to_string(),
                position: position % per_sample,
            });
        }
        Ok(())
    }
}

/// Goes through the samples at `indices`, in that order, in batches of `preferred` samples (at
/// least one; the last holds what is left), or of as many as the batch rule demands.
///
/// Each item is an error when its samples cannot be read; the next one goes on behind it.
pub fn batches<'a>(
    samples: &'a dyn Samples,
    indices: &'a [usize],
    preferred: usize,
) -> impl Iterator<Item = Result<SampleBatch, SamplesError>> + 'a {
    let rule = samples.batch_rule();
    let size = match rule {
        BatchRule::Any => preferred.max(1),
        BatchRule::Exactly(size) => size.max(1),
    };
    indices.chunks(size).map(move |chosen| {
        let padded = if rule == BatchRule::Any { 0 } else { size - chosen.len() };
        let repeated = chosen.last().into_iter().cycle().take(padded);
        let filled: Vec<usize> = chosen.iter().chain(repeated).copied().collect();
        Ok(SampleBatch {
            arrays: samples.batch(&filled)?,
            indices: chosen.to_vec(),
            padded,
            names: chosen.iter().map(|&index| samples.sample_name(index)).collect(),
        })
    })
}
