//! Weights and inputs from a seed: a table that every language can draw from again.

use calipers_random::split_mix_output;

/// A tensor that is drawn: element `i` is `low + u (high - low)` in f64, rounded to f32, where `u` is the upper 24 bits of
/// output `i` of SplitMix64 started at `stream`, as a fraction.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// Its name: a weight's or an input's.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Where SplitMix64 starts.
    pub stream: u64,
    /// Smallest value.
    pub low: f64,
    /// Limit of the values.
    pub high: f64,
}

impl Drawn {
    /// A tensor of a layer; its stream is the FNV-1a hash of `layer/name`.
    pub fn new(layer: &str, name: &str, shape: &[usize], low: f64, high: f64) -> Drawn {
        let bytes = layer.bytes().chain([b'/']).chain(name.bytes());
        let stream = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Drawn { name: name.to_owned(), shape: shape.to_vec(), stream, low, high }
    }

    /// How many elements it has.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Its elements in row-major order.
    pub fn values(&self) -> Vec<f32> {
        (0..self.count() as u64)
            .map(|index| (self.low + self.unit(index) * (self.high - self.low)) as f32)
            .collect()
    }

    /// The same as integers from 0 to `below - 1`, for a tensor drawn in [0, 1).
    pub fn integers(&self, below: i64) -> Vec<i64> {
        (0..self.count() as u64).map(|index| (self.unit(index) * below as f64).floor() as i64).collect()
    }

    fn unit(&self, index: u64) -> f64 {
        (split_mix_output(self.stream, index) >> 40) as f64 / f64::from(1 << 24)
    }
}

#[cfg(test)]
mod tests {
    use super::Drawn;

    #[test]
    fn values_lie_within_their_bounds_and_differ_by_name() {
        let one = Drawn::new("linear", "layer.weight", &[40, 50], -0.5, 0.25);
        let values = one.values();
        assert!(values.iter().all(|value| (-0.5..0.25).contains(value)));
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!((mean + 0.125).abs() < 0.02, "{mean}");
        assert_ne!(
            values,
            Drawn { stream: Drawn::new("linear", "after.weight", &[], 0.0, 0.0).stream, ..one }.values()
        );
        let ids = Drawn::new("embedding", "ids", &[1000], 0.0, 1.0).integers(7);
        assert_eq!((ids.iter().min(), ids.iter().max()), (Some(&0), Some(&6)));
    }
}
