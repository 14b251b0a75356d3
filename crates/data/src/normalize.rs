//! From `u8` pixels to normalised `f32`, as a table that every framework shares.

use crate::{ChannelStatistics, DataError};

/// Mean and deviation by channel, of pixels scaled to 0..1.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalization {
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

impl Normalization {
    /// One mean and one deviation a channel.
    ///
    /// # Errors
    ///
    /// [`DataError::Normalization`] when their numbers differ, a value is not finite, or a
    /// deviation is not above zero.
    pub fn new(mean: &[f32], deviation: &[f32]) -> Result<Self, DataError> {
        let refuse = |what, channel, found: Option<&f32>, expected| {
            let found = found.map_or("absent".to_owned(), f32::to_string);
            Err(DataError::Normalization { what, channel, found, expected })
        };
        for channel in 0..mean.len().max(deviation.len()).max(1) {
            let (mean, deviation) = (mean.get(channel), deviation.get(channel));
            if !mean.is_some_and(|value| value.is_finite()) {
                return refuse("mean", channel, mean, "a finite number for each channel");
            }
            if !deviation.is_some_and(|value| value.is_finite() && *value > 0.0) {
                let expected = "a finite number above zero for each channel";
                return refuse("deviation", channel, deviation, expected);
            }
        }
        Ok(Normalization { mean: mean.to_vec(), deviation: deviation.to_vec() })
    }

    /// The statistics of a set, rounded to `f32`.
    ///
    /// # Errors
    ///
    /// As [`Normalization::new`]: a channel that is the same everywhere has no deviation.
    pub fn from_statistics(statistics: &ChannelStatistics) -> Result<Self, DataError> {
        let rounded = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<_>>();
        Normalization::new(&rounded(&statistics.mean), &rounded(&statistics.deviation))
    }

    /// Means by channel.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Deviations by channel.
    pub fn deviation(&self) -> &[f32] {
        &self.deviation
    }

    /// How many channels there are.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// The value of every pixel, `[C, 256]`: `(pixel / 255 - mean) / deviation`, each of the three
    /// operations rounded to `f32` before the next. A pixel is normalised by looking it up, so
    /// that all frameworks start from the same bits.
    pub fn table(&self) -> Vec<f32> {
        self.mean
            .iter()
            .zip(&self.deviation)
            .flat_map(|(mean, deviation)| {
                (0..=u8::MAX).map(move |pixel| (f32::from(pixel) / 255.0 - mean) / deviation)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_the_values_that_numpy_computes() {
        // numpy: ((np.arange(256, dtype=f4) / f4(255)) - f4(mean)) / f4(deviation), viewed as u4.
        let normalization = Normalization::new(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]).unwrap();
        let table = normalization.table();
        assert_eq!(table.len(), 3 * 256);
        let expected = [
            (0, 0, 0xc007_8bbd),
            (0, 127, 0x3d69_39a6),
            (1, 1, 0xc001_2a4f),
            (1, 255, 0x401b_6db7),
            (2, 0, 0xbfe6_f809),
            (2, 127, 0x3ed1_70bd_u32),
        ];
        for (channel, pixel, bits) in expected {
            let found = table[channel * 256 + pixel];
            assert_eq!(found.to_bits(), bits, "channel {channel}, pixel {pixel}");
        }
    }

    #[test]
    fn what_cannot_be_computed_with_is_refused() {
        for (mean, deviation) in [
            (vec![], vec![]),
            (vec![0.5], vec![]),
            (vec![0.5], vec![1.0, 1.0]),
            (vec![f32::NAN], vec![1.0]),
            (vec![0.5], vec![0.0]),
            (vec![0.5], vec![f32::INFINITY]),
        ] {
            assert!(Normalization::new(&mean, &deviation).is_err(), "{mean:?} {deviation:?}");
        }
        let message = Normalization::new(&[0.5, 0.5], &[1.0, -1.0]).unwrap_err().to_string();
        assert!(message.contains("deviation of channel 1 is -1"), "{message}");
    }
}
