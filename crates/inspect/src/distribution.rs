//! How the numbers of a tensor are distributed: range, moments, histogram, and that as a line of text.

use std::borrow::Cow;

use calipers_ir::{DType, Op, Select, Tensor};
use calipers_runtime::evaluate;
use serde::Serialize;

/// Bins of a histogram.
pub const BINS: usize = 32;

/// How numbers are distributed. Numbers that are not finite are counted and left out of everything else.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distribution {
    /// How many numbers there are.
    pub count: usize,
    /// How many are not finite.
    pub not_finite: usize,
    /// How many are zero.
    pub zeros: usize,
    /// The smallest; 0 when there is none.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
    /// Counts in bins of equal width from `min` to `max`; of few whole numbers, one bin each.
    pub bins: Vec<u64>,
}

impl Distribution {
    /// Of these numbers.
    pub fn of(numbers: &[f32]) -> Distribution {
        let finite = || numbers.iter().filter(|number| number.is_finite()).map(|&number| f64::from(number));
        let count = finite().count();
        let (mut min, mut max, mut sum, mut zeros) = (f64::INFINITY, f64::NEG_INFINITY, 0.0, 0);
        let mut whole = true;
        for number in finite() {
            (min, max) = (min.min(number), max.max(number));
            sum += number;
            zeros += usize::from(number == 0.0);
            whole &= number.fract() == 0.0;
        }
        let not_finite = numbers.len() - count;
        if count == 0 {
            let (mean, deviation) = (0.0, 0.0);
            let (min, max, bins) = (0.0, 0.0, Vec::new());
            return Distribution { count: numbers.len(), not_finite, zeros, min, max, mean, deviation, bins };
        }
        let mean = sum / count as f64;
        let squares: f64 = finite().map(|number| (number - mean) * (number - mean)).sum();
        let levels = max - min + 1.0;
        let mut bins = match () {
            () if max == min => vec![0u64; 1],
            () if whole && levels <= BINS as f64 => vec![0u64; levels as usize],
            () => vec![0u64; BINS],
        };
        let width = if whole { levels } else { max - min };
        for number in finite() {
            let place = ((number - min) / width.max(f64::MIN_POSITIVE) * bins.len() as f64) as usize;
            let last = bins.len() - 1;
            bins[place.min(last)] += 1;
        }
        let deviation = (squares / count as f64).sqrt();
        Distribution { count: numbers.len(), not_finite, zeros, min, max, mean, deviation, bins }
    }

    /// The histogram as a line of blocks; a bin that is not empty is never blank.
    pub fn sparkline(&self) -> String {
        const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let most = self.bins.iter().copied().max().unwrap_or(0).max(1);
        let block = |&count: &u64| match count {
            0 => ' ',
            // By the square root, so that tails can be seen.
            _ => BLOCKS[(((count as f64 / most as f64).sqrt() * 8.0).ceil() as usize).clamp(1, 8) - 1],
        };
        self.bins.iter().map(block).collect()
    }
}

/// The elements as `f32`, whatever their type; `None` of strings and complex numbers.
pub fn numbers(tensor: &Tensor) -> Option<Cow<'_, [f32]>> {
    match tensor.dtype() {
        DType::F32 => tensor.as_f32(),
        DType::String | DType::Complex64 | DType::Complex128 => None,
        DType::I8 => integers::<i8>(tensor),
        DType::U8 => integers::<u8>(tensor),
        DType::F16 => {
            let bytes = tensor.bytes();
            let numbers = bytes.chunks_exact(2).map(|pair| match pair {
                &[low, high] => half::f16::from_le_bytes([low, high]).to_f32(),
                _ => f32::NAN,
            });
            Some(Cow::Owned(numbers.collect()))
        }
        DType::Bool => Some(Cow::Owned(tensor.bytes().iter().map(|&byte| f32::from(byte)).collect())),
        DType::I2
        | DType::I4
        | DType::I16
        | DType::I32
        | DType::I64
        | DType::U2
        | DType::U4
        | DType::U16
        | DType::U32
        | DType::U64
        | DType::F4E2M1
        | DType::F8E4M3Fn
        | DType::F8E4M3FnUz
        | DType::F8E5M2
        | DType::F8E5M2FnUz
        | DType::F8E8M0
        | DType::BF16
        | DType::F64 => {
            let cast =
                Op::Select(Select::Cast { to: DType::F32, saturate: true, round_mode: String::from("up") });
            let converted = evaluate("cast", &cast, &[Some(tensor)], 1).ok()?.into_iter().next()?;
            Some(Cow::Owned(converted.as_f32()?.into_owned()))
        }
    }
}

fn integers<T: calipers_ir::Element + Into<f32>>(tensor: &Tensor) -> Option<Cow<'_, [f32]>> {
    let elements = tensor.elements::<T>().ok()?;
    Some(Cow::Owned(elements.iter().map(|&element| element.into()).collect()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use calipers_ir::{DType, Tensor};

    use super::{Distribution, numbers};

    #[test]
    fn a_histogram_counts_every_finite_number_once() {
        let found = Distribution::of(&[-1.0, 0.0, 0.5, 1.0, f32::NAN, 0.25]);
        assert_eq!((found.count, found.not_finite, found.zeros), (6, 1, 1));
        assert_eq!((found.min, found.max, found.mean), (-1.0, 1.0, 0.15));
        assert_eq!(found.bins.iter().sum::<u64>(), 5);
        let few = Distribution::of(&[3.0, 5.0, 5.0, 5.0]);
        assert_eq!(few.bins, [1, 0, 3]);
        assert_eq!(few.sparkline(), "▅ █");
        assert!(Distribution::of(&[]).bins.is_empty());
    }

    #[test]
    fn narrow_integers_and_halves_are_numbers() {
        let four = Tensor::new(DType::I4, [3], Bytes::from_static(&[0xf8, 0x07])).unwrap();
        assert_eq!(numbers(&four).unwrap().as_ref(), [-8.0, -1.0, 7.0]);
        let half = Tensor::new(DType::F16, [2], Bytes::from_static(&[0x00, 0x3c, 0x00, 0xc0])).unwrap();
        assert_eq!(numbers(&half).unwrap().as_ref(), [1.0, -2.0]);
        assert_eq!(numbers(&Tensor::from_strings([1], vec![b"a".to_vec()]).unwrap()), None);
    }
}
