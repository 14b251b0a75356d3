//! Normalised `f32` batches for Calipers' own runtime.

use crate::{Dataset, ImageShape, Normalization};

/// Consecutive samples, normalised.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Shape of every image.
    pub shape: ImageShape,
    /// Normalised pixels, `[N, C, H, W]`.
    pub images: Vec<f32>,
    /// Labels, `[N]`.
    pub labels: Vec<u32>,
}

impl Batch {
    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// Goes through a set in its own order, batch by batch; the last batch holds what is left.
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    dataset: &'a Dataset,
    table: Vec<f32>,
    batch_size: usize,
    next: usize,
}

impl<'a> Batches<'a> {
    /// Batches of `batch_size` samples (at least one) under `normalization`.
    ///
    /// # Panics
    ///
    /// When `normalization` is not for as many channels as the images have.
    pub fn new(dataset: &'a Dataset, normalization: &Normalization, batch_size: usize) -> Self {
        assert_eq!(
            normalization.channels(),
            dataset.shape().channels,
            "the normalization is for another number of channels than the images"
        );
        Batches { dataset, table: normalization.table(), batch_size: batch_size.max(1), next: 0 }
    }
}

impl Iterator for Batches<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        if self.next >= self.dataset.len() {
            return None;
        }
        let end = (self.next + self.batch_size).min(self.dataset.len());
        let shape = self.dataset.shape();
        let mut images = Vec::with_capacity((end - self.next) * shape.bytes());
        for index in self.next..end {
            let planes = self.dataset.image(index).chunks_exact(shape.plane());
            for (plane, table) in planes.zip(self.table.chunks_exact(256)) {
                images.extend(plane.iter().map(|&pixel| table[usize::from(pixel)]));
            }
        }
        let labels = self.dataset.labels()[self.next..end].to_vec();
        self.next = end;
        Some(Batch { shape, images, labels })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.dataset.len().saturating_sub(self.next);
        let batches = left.div_ceil(self.batch_size);
        (batches, Some(batches))
    }
}

impl ExactSizeIterator for Batches<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_is_looked_up_in_its_channel() {
        let shape = ImageShape { channels: 2, height: 1, width: 2 };
        let images: Vec<u8> = (0..20).map(|value| value * 12).collect();
        let dataset = Dataset::new("five", vec!["one".into()], shape, images, vec![0; 5]).unwrap();
        let normalization = Normalization::new(&[0.0, 0.5], &[1.0, 0.25]).unwrap();

        let batches = Batches::new(&dataset, &normalization, 2);
        assert_eq!(batches.len(), 3);
        let sizes: Vec<usize> = batches.clone().map(|batch| batch.len()).collect();
        assert_eq!(sizes, [2, 2, 1]);

        let values: Vec<f32> = batches.flat_map(|batch| batch.images).collect();
        for (position, (&value, &pixel)) in values.iter().zip(dataset.images()).enumerate() {
            let scaled = f32::from(pixel) / 255.0;
            let expected = if position / 2 % 2 == 0 { scaled } else { (scaled - 0.5) * 4.0 };
            assert_eq!(value, expected);
        }
        assert_eq!(values.len(), 20);
    }
}
