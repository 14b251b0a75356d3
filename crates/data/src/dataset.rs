//! A set of labelled images in memory.

use std::path::PathBuf;

use crate::DataError;

/// Channels, height and width of every image of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageShape {
    /// Colour planes, in the set's own order (red, green, blue).
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl ImageShape {
    /// Bytes of one image, one a pixel and channel.
    pub fn bytes(self) -> usize {
        self.channels * self.height * self.width
    }

    /// Pixels of one channel.
    pub fn plane(self) -> usize {
        self.height * self.width
    }
}

/// Indexable samples: `u8` images `[C, H, W]`, plane by plane and row by row, each with a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    name: String,
    class_names: Vec<String>,
    shape: ImageShape,
    images: Vec<u8>,
    labels: Vec<u32>,
}

impl Dataset {
    /// A set of `labels.len()` samples from their pixels, one image after another.
    ///
    /// # Errors
    ///
    /// [`DataError::Setting`] for a shape without pixels, [`DataError::SizeMismatch`] when the bytes
    /// are not those of that many images, [`DataError::LabelOutOfRange`] for a label without a
    /// class name.
    pub fn new(
        name: impl Into<String>,
        class_names: Vec<String>,
        shape: ImageShape,
        images: Vec<u8>,
        labels: Vec<u32>,
    ) -> Result<Self, DataError> {
        let name = name.into();
        if shape.bytes() == 0 {
            return Err(DataError::Setting {
                name,
                what: "the shape of an image [channels, height, width]",
                found: format!("{:?}", [shape.channels, shape.height, shape.width]),
                expected: "at least one of each".to_owned(),
            });
        }
        if labels.len().checked_mul(shape.bytes()) != Some(images.len()) {
            return Err(DataError::SizeMismatch {
                name,
                labels: labels.len(),
                bytes_per_image: shape.bytes(),
                image_bytes: images.len(),
            });
        }
        let classes = class_names.len();
        if let Some(record) = labels.iter().position(|&label| label as usize >= classes) {
            return Err(DataError::LabelOutOfRange {
                file: PathBuf::from(name),
                record,
                value: labels[record],
                classes,
                hint: "give the class a name, or correct the label",
            });
        }
        Ok(Dataset { name, class_names, shape, images, labels })
    }

    /// The set's name, with its split: `cifar10/train`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Names of the classes, by label.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// The shape of every image.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The pixels of one sample, `[C, H, W]`.
    ///
    /// # Panics
    ///
    /// When there is no such sample, as with a slice.
    pub fn image(&self, index: usize) -> &[u8] {
        let bytes = self.shape.bytes();
        &self.images[index * bytes..(index + 1) * bytes]
    }

    /// The pixels of all samples, `[N, C, H, W]`.
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// The labels of all samples, each below `class_names().len()`.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The chosen samples as a set of their own, in the order given.
    ///
    /// # Panics
    ///
    /// When there is no such sample, as with a slice.
    pub fn select(&self, name: impl Into<String>, indices: &[usize]) -> Dataset {
        let mut images = Vec::with_capacity(indices.len() * self.shape.bytes());
        for &index in indices {
            images.extend_from_slice(self.image(index));
        }
        Dataset {
            name: name.into(),
            class_names: self.class_names.clone(),
            shape: self.shape,
            images,
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
        }
    }

    /// BLAKE3, in hexadecimal, of shape, class names, labels and pixels: equal for equal content,
    /// whatever the set is called and wherever it came from.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let number = |hasher: &mut blake3::Hasher, value: usize| {
            hasher.update(&(value as u64).to_le_bytes());
        };
        let ImageShape { channels, height, width } = self.shape;
        for size in [channels, height, width, self.len(), self.class_names.len()] {
            number(&mut hasher, size);
        }
        for class in &self.class_names {
            number(&mut hasher, class.len());
            hasher.update(class.as_bytes());
        }
        for label in &self.labels {
            hasher.update(&label.to_le_bytes());
        }
        hasher.update(&self.images);
        hasher.finalize().to_hex().to_string()
    }

    /// Mean and deviation of every channel over all samples, of pixels scaled to 0..1.
    ///
    /// Exact sums of integers, divided at the end; the deviation is that of the population.
    /// Zeros for a set without samples.
    pub fn channel_statistics(&self) -> ChannelStatistics {
        let channels = self.shape.channels;
        let mut sums = vec![0u64; channels];
        let mut squares = vec![0u64; channels];
        let plane = self.shape.plane().max(1);
        for (position, pixels) in self.images.chunks_exact(plane).enumerate() {
            let channel = position % channels;
            // A 32-bit sum holds up to 66,051 squares of a pixel.
            for part in pixels.chunks(1 << 16) {
                let sum: u32 = part.iter().map(|&pixel| u32::from(pixel)).sum();
                let square: u32 = part.iter().map(|&pixel| u32::from(pixel).pow(2)).sum();
                sums[channel] += u64::from(sum);
                squares[channel] += u64::from(square);
            }
        }
        let count = (self.len() * self.shape.plane()).max(1) as f64;
        let mean: Vec<f64> = sums.iter().map(|&sum| sum as f64 / count / 255.0).collect();
        let deviation = squares
            .iter()
            .zip(&mean)
            .map(|(&square, mean)| {
                let variance = square as f64 / count / (255.0 * 255.0) - mean * mean;
                libm::sqrt(variance.max(0.0))
            })
            .collect();
        ChannelStatistics { mean, deviation }
    }
}

/// Mean and deviation by channel, of pixels scaled to 0..1.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelStatistics {
    /// One mean a channel.
    pub mean: Vec<f64>,
    /// One standard deviation a channel, of the population.
    pub deviation: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape { channels: 2, height: 1, width: 2 };

    fn classes() -> Vec<String> {
        vec!["cat".into(), "dog".into()]
    }

    fn two_samples() -> Dataset {
        let images = vec![0, 255, 51, 51, 0, 255, 153, 153];
        Dataset::new("pets", classes(), SHAPE, images, vec![1, 0]).unwrap()
    }

    #[test]
    fn samples_are_found_by_index() {
        let set = two_samples();
        assert_eq!(set.image(1), [0, 255, 153, 153]);
        let turned = set.select("turned", &[1, 0, 1]);
        assert_eq!(turned.labels(), [0, 1, 0]);
        assert_eq!(turned.image(1), set.image(0));
    }

    #[test]
    fn content_and_not_the_name_makes_the_fingerprint() {
        let set = two_samples();
        assert_eq!(set.fingerprint(), set.select("other", &[0, 1]).fingerprint());
        assert_ne!(set.fingerprint(), set.select("other", &[1, 0]).fingerprint());
        let relabelled = Dataset::new("pets", classes(), SHAPE, set.images.clone(), vec![1, 1]).unwrap();
        assert_ne!(set.fingerprint(), relabelled.fingerprint());
    }

    #[test]
    fn statistics_are_by_channel() {
        let statistics = two_samples().channel_statistics();
        for (found, expected) in statistics.mean.iter().zip([0.5, 0.4]) {
            assert!((found - expected).abs() < 1e-12, "{statistics:?}");
        }
        for (found, expected) in statistics.deviation.iter().zip([0.5, 0.2]) {
            assert!((found - expected).abs() < 1e-12, "{statistics:?}");
        }
    }

    #[test]
    fn a_label_without_a_class_is_refused_with_its_place() {
        let error = Dataset::new("pets", classes(), SHAPE, vec![0; 8], vec![0, 2]).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("pets: record 1 has label 2; expected 0 to 1"), "{message}");
    }

    #[test]
    fn pixels_that_do_not_fit_the_labels_are_refused() {
        let error = Dataset::new("pets", classes(), SHAPE, vec![0; 7], vec![0, 1]).unwrap_err();
        assert!(matches!(error, DataError::SizeMismatch { image_bytes: 7, .. }));
        let flat = ImageShape { channels: 2, height: 0, width: 2 };
        let error = Dataset::new("pets", classes(), flat, vec![], vec![0, 1]).unwrap_err();
        assert!(error.to_string().contains("[2, 0, 2]"), "{error}");
    }
}
