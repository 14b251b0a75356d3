//! Counts of numbers by magnitude in a fixed number of bins, whatever comes and in whatever order.

use serde::{Deserialize, Serialize};

use crate::Range;

/// Octaves below the largest magnitude that have bins of their own.
const OCTAVES: usize = 16;
/// Bins of the top octave are this power of two.
const FINEST: u32 = 9;
/// Bins of the lower octaves are at least this power of two.
const COARSEST: u32 = 6;
/// Bins of one sign: the octaves', and one for all that is smaller.
const BINS: usize = offset(0) + size(0);

/// Bins of the octave that lies `distance` below the top one.
const fn size(distance: usize) -> usize {
    1 << bits(distance)
}

const fn bits(distance: usize) -> u32 {
    let lost = distance as u32;
    if lost > FINEST - COARSEST { COARSEST } else { FINEST - lost }
}

/// Index of the first bin of an octave.
const fn offset(distance: usize) -> usize {
    let mut offset = 1;
    let mut below = OCTAVES;
    while below > distance + 1 {
        below -= 1;
        offset += size(below);
    }
    offset
}

/// For each octave, its first bin and how many bits of a significand its bins do not tell apart.
const OFFSETS: [(u32, u32); OCTAVES] = {
    let mut table = [(0, 0); OCTAVES];
    let mut distance = 0;
    while distance < OCTAVES {
        table[distance] = (offset(distance) as u32, 23 - bits(distance));
        distance += 1;
    }
    table
};

/// A histogram of finite numbers in bounded memory (28 KB), whose range follows the data.
///
/// Let the largest magnitude lie in `[2^t, 2^(t+1))`. That octave has 512 bins for each sign, the next lower ones 256,
/// 128, and then 64 each, sixteen octaves in all; what is smaller shares one bin, and zeros are counted apart. So a bin is
/// `2^t / 512` wide or, below an eighth of the largest magnitude, a 64th of its octave: outliers do not take the
/// resolution from the bulk. When a larger magnitude comes, every octave's bins are merged pairwise and exactly, so the
/// result depends on the numbers alone, not on their order or how they were split: merging two histograms gives the one
/// of all their numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Histogram {
    /// Exponent field of the largest magnitude (its f32's bits 23 to 30).
    top: u32,
    zeros: u64,
    /// By magnitude, of length 0 (none seen) or `BINS`.
    negative: Vec<u64>,
    positive: Vec<u64>,
}

/// A bin of a histogram: that many numbers between two bounds, of one sign or all zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
    /// Numbers between them.
    pub count: u64,
}

impl Histogram {
    /// Counts numbers, which must be finite and within `range`.
    pub(crate) fn add(&mut self, data: &[f32], range: Range) {
        self.grow(exponent(range.min).max(exponent(range.max)));
        for (side, wanted) in [(&mut self.negative, range.min < 0.0), (&mut self.positive, range.max > 0.0)] {
            if wanted && side.is_empty() {
                side.resize(BINS, 0);
            }
        }
        for &x in data {
            let magnitude = x.to_bits() & 0x7fff_ffff;
            if magnitude == 0 {
                self.zeros += 1;
                continue;
            }
            let index = index(self.top, magnitude);
            let side = if x < 0.0 { &mut self.negative } else { &mut self.positive };
            if let Some(count) = side.get_mut(index) {
                *count += 1;
            }
        }
    }

    /// Counts what another histogram counted.
    pub fn merge(&mut self, other: &Histogram) {
        self.grow(other.top);
        self.zeros += other.zeros;
        for (side, from) in [(&mut self.negative, &other.negative), (&mut self.positive, &other.positive)] {
            if !from.is_empty() && side.is_empty() {
                side.resize(BINS, 0);
            }
            add_counts(side, self.top, from, other.top);
        }
    }

    /// How many numbers were counted.
    pub fn count(&self) -> u64 {
        self.zeros + self.negative.iter().chain(&self.positive).sum::<u64>()
    }

    /// How many of them were zeros.
    pub fn zeros(&self) -> u64 {
        self.zeros
    }

    /// The bins that hold anything, from the lowest to the highest, cut to a range that holds all numbers.
    pub fn bins(&self, range: Range) -> Vec<Bin> {
        let (min, max) = (f64::from(range.min), f64::from(range.max));
        let edges = edges(self.top);
        let cut = |low: f64, high: f64, count: u64| Bin { low: low.max(min), high: high.min(max), count };
        let side = |counts: &[u64], sign: f64| -> Vec<Bin> {
            let bins = counts.iter().zip(edges.windows(2)).filter(|(count, _)| **count > 0);
            bins.map(|(&count, edge)| {
                let (a, b) = (sign * edge[0], sign * edge[1]);
                cut(a.min(b), a.max(b), count)
            })
            .collect()
        };
        let mut bins = side(&self.negative, -1.0);
        bins.reverse();
        if self.zeros > 0 {
            bins.push(Bin { low: 0.0, high: 0.0, count: self.zeros });
        }
        bins.extend(side(&self.positive, 1.0));
        bins
    }

    /// Width of the bins of [`Histogram::linear`], that of the finest ones at the top.
    pub(crate) fn linear_width(&self) -> f64 {
        power_of_two(self.top as i32 - 127) / size(0) as f64
    }

    /// Counts in bins of equal width, by magnitude, for negative and positive numbers; zeros are among the positive
    /// ones.
    pub(crate) fn linear(&self) -> [Vec<u64>; 2] {
        let edges = edges(self.top);
        let width = self.linear_width();
        let mut sides = [&self.negative, &self.positive].map(|counts| {
            let mut linear = vec![0u64; 2 * size(0)];
            for (&count, edge) in counts.iter().zip(&edges) {
                // Every bin lies within one of the linear ones: both are cut at multiples of powers of two.
                let index = (edge / width) as usize;
                linear[index.min(2 * size(0) - 1)] += count;
            }
            linear
        });
        sides[1][0] += self.zeros;
        sides
    }

    fn grow(&mut self, top: u32) {
        if top <= self.top {
            return;
        }
        for side in [&mut self.negative, &mut self.positive] {
            if !side.is_empty() {
                let old = std::mem::replace(side, vec![0; BINS]);
                add_counts(side, top, &old, self.top);
            }
        }
        self.top = top;
    }
}

/// Adds counts of one octave grid to a coarser or equal one.
fn add_counts(to: &mut [u64], top: u32, from: &[u64], from_top: u32) {
    for (bin, &count) in from.iter().enumerate().filter(|(_, count)| **count > 0) {
        if let Some(slot) = to.get_mut(index(top, lowest(from_top, bin))) {
            *slot += count;
        }
    }
}

fn exponent(x: f32) -> u32 {
    (x.to_bits() & 0x7fff_ffff) >> 23
}

/// The bin of a magnitude, given as the bits of an f32 that is not above the top octave.
fn index(top: u32, magnitude: u32) -> usize {
    let distance = top.wrapping_sub(magnitude >> 23) as usize;
    match OFFSETS.get(distance) {
        Some(&(offset, shift)) => (offset + ((magnitude & 0x7f_ffff) >> shift)) as usize,
        None => 0,
    }
}

/// The bits of the smallest magnitude of a bin.
fn lowest(top: u32, bin: usize) -> u32 {
    for (distance, &(offset, shift)) in OFFSETS.iter().enumerate() {
        if bin >= offset as usize {
            let field = top.saturating_sub(distance as u32);
            return (field << 23) | ((bin as u32 - offset) << shift);
        }
    }
    0
}

/// The lower bounds of all bins of one sign, and the upper bound of the last.
fn edges(top: u32) -> Vec<f64> {
    let least = top as usize + 1;
    let edge = |bin: usize| match OFFSETS.iter().position(|&(offset, _)| bin >= offset as usize) {
        // Octaves below the smallest number there is hold nothing.
        Some(distance) if distance < least => f64::from(f32::from_bits(lowest(top, bin))),
        _ => 0.0,
    };
    let mut edges: Vec<f64> = (0..BINS).map(edge).collect();
    edges.push(power_of_two(top as i32 - 126));
    edges
}

fn power_of_two(exponent: i32) -> f64 {
    2f64.powi(exponent)
}

/// The written form: counts as text, runs of zeros as `0xN`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    top: u32,
    zeros: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    negative: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    positive: String,
}

impl From<Histogram> for Written {
    fn from(histogram: Histogram) -> Written {
        let text = |counts: &[u64]| {
            let mut words: Vec<String> = Vec::new();
            for run in counts.chunk_by(|a, b| *a == 0 && *b == 0) {
                words.push(match run {
                    [count] => count.to_string(),
                    zeros => format!("0x{}", zeros.len()),
                });
            }
            words.join(" ")
        };
        Written {
            top: histogram.top,
            zeros: histogram.zeros,
            negative: text(&histogram.negative),
            positive: text(&histogram.positive),
        }
    }
}

impl TryFrom<Written> for Histogram {
    type Error = String;

    fn try_from(written: Written) -> Result<Histogram, String> {
        let counts = |text: &str| -> Result<Vec<u64>, String> {
            let mut counts: Vec<u64> = Vec::new();
            for word in text.split_ascii_whitespace() {
                let wrong = |_| format!("`{word}` is no count of a histogram");
                match word.strip_prefix("0x") {
                    Some(run) => {
                        let run: usize = run.parse().map_err(wrong)?;
                        counts.resize(counts.len().saturating_add(run).min(BINS + 1), 0);
                    }
                    None => counts.push(word.parse().map_err(wrong)?),
                }
                if counts.len() > BINS {
                    break;
                }
            }
            if counts.is_empty() || counts.len() == BINS {
                Ok(counts)
            } else {
                Err(format!("a histogram has {BINS} counts for each sign, found {}", counts.len()))
            }
        };
        if written.top > 254 {
            return Err(format!(
                "the exponent field of a finite number is at most 254, found {}",
                written.top
            ));
        }
        let (negative, positive) = (counts(&written.negative)?, counts(&written.positive)?);
        let total = negative.iter().chain(&positive).try_fold(written.zeros, |sum, &n| sum.checked_add(n));
        total.ok_or("the counts of a histogram overflow")?;
        Ok(Histogram { top: written.top, zeros: written.zeros, negative, positive })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BINS, Histogram, edges};
    use crate::Range;

    fn of(data: &[f32]) -> Histogram {
        let mut histogram = Histogram::default();
        if let Some(range) = Range::of(data).unwrap() {
            histogram.add(data, range);
        }
        histogram
    }

    #[test]
    fn bins_rise_and_are_as_narrow_as_promised() {
        let edges = edges(127);
        assert_eq!(edges.len(), BINS + 1);
        assert!(edges.windows(2).all(|edge| edge[0] < edge[1]));
        assert_eq!((edges[0], edges[1], edges[BINS]), (0.0, 2f64.powi(-15), 2.0));
        for edge in edges.windows(2).skip(1) {
            assert!(edge[1] - edge[0] <= f64::max(1.0 / 512.0, edge[0] / 64.0), "{edge:?}");
        }
    }

    #[test]
    fn counts_stand_where_the_numbers_are() {
        let data = [0.0, -0.0, 1.0, 1.000_1, -0.5, 1.999, 1e-30];
        let histogram = of(&data);
        assert_eq!((histogram.count(), histogram.zeros()), (7, 2));
        let bins = histogram.bins(Range { min: -0.5, max: 1.999 });
        let counts: Vec<u64> = bins.iter().map(|bin| bin.count).collect();
        assert_eq!(counts, [1, 2, 1, 2, 1]);
        for (bin, x) in bins.iter().zip([-0.5, 0.0, 1e-30, 1.0, 1.999]) {
            assert!(bin.low <= x && x <= bin.high + 1e-6, "{bin:?} {x}");
        }
        let [negative, positive] = histogram.linear();
        assert_eq!((negative[256], positive[0], positive[512], positive[1023]), (1, 3, 2, 1));
    }

    #[test]
    fn extremes_have_a_place() {
        let tiny = f32::from_bits(1);
        for data in [vec![tiny, -tiny], vec![f32::MAX, f32::MIN, 1.0], vec![0.0; 3], vec![f32::MIN_POSITIVE]]
        {
            let histogram = of(&data);
            assert_eq!(histogram.count(), data.len() as u64);
            let range = Range::of(&data).unwrap().unwrap();
            let bins = histogram.bins(range);
            assert!(bins.iter().all(|bin| bin.low <= bin.high), "{bins:?}");
        }
    }

    #[test]
    fn the_written_form_is_short_and_exact() {
        let histogram = of(&[0.0, 1.0, -3.5, 1.0, 100.0]);
        let json = serde_json::to_string(&histogram).unwrap();
        assert!(json.len() < 100, "{json}");
        assert_eq!(serde_json::from_str::<Histogram>(&json).unwrap(), histogram);
        for broken in [
            r#"{"top":1,"zeros":0,"positive":"1 2"}"#,
            r#"{"top":300,"zeros":0}"#,
            r#"{"top":1,"zeros":0,"positive":"0x99999999999999"}"#,
            r#"{"top":1,"zeros":0,"positive":"-1"}"#,
            r#"{"top":1,"zeros":18446744073709551615,"positive":"1 0x1727"}"#,
        ] {
            assert!(serde_json::from_str::<Histogram>(broken).is_err(), "{broken}");
        }
    }

    fn numbers() -> impl Strategy<Value = Vec<f32>> {
        let any = prop_oneof![Just(0f32), -1f32..1.0, -1e30f32..1e30, -1e-20f32..1e-20, -100f32..100.0];
        prop::collection::vec(any, 0..40)
    }

    proptest! {
        #[test]
        fn merged_in_any_order_is_the_histogram_of_all(a in numbers(), b in numbers()) {
            let all = of(&[a.clone(), b.clone()].concat());
            let (mut ab, mut ba) = (of(&a), of(&b));
            ab.merge(&of(&b));
            ba.merge(&of(&a));
            prop_assert_eq!(&ab, &all);
            prop_assert_eq!(&ba, &all);
            let mut steps = Histogram::default();
            for x in a.iter().chain(&b) {
                steps.add(&[*x], Range { min: *x, max: *x });
            }
            prop_assert_eq!(&steps, &all);
        }

        #[test]
        fn every_number_lies_in_a_bin_that_counts_it(data in numbers()) {
            let histogram = of(&data);
            if let Some(range) = Range::of(&data).unwrap() {
                let bins = histogram.bins(range);
                prop_assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), data.len() as u64);
                for x in data {
                    let x = f64::from(x);
                    prop_assert!(bins.iter().any(|bin| bin.low <= x && x <= bin.high), "{}", x);
                }
            }
        }
    }
}
