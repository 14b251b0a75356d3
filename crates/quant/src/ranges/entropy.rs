//! The range whose quantized distribution says most about the one observed.

use crate::{ActivationType, Histogram, Range};

/// Levels that a candidate's distribution is reduced to, as in TensorRT and ONNX Runtime.
const LEVELS: usize = 128;
/// What a count of zero is taken for where the logarithm needs more.
const LEAST: f64 = 1e-4;

/// The range `[-T, T]`, within `range`, that has the least divergence: Kullback and Leibler's `sum p ln(p / q)` of the
/// distribution `p` within it, in bins of equal width with what lies beyond counted at its ends, from `q`, the same
/// distribution without what lies beyond, reduced to 128 levels and spread again over the bins that are not empty.
///
/// That is the calibration of TensorRT (S. Migacz, "8-bit Inference with TensorRT", 2017) for numbers of one sign, where
/// the levels cover one side of zero, and of ONNX Runtime for numbers of both. The bins are a 512th of the top octave wide.
/// For 16-bit integers, whose levels are more than the bins, it is `range`.
pub fn entropy(histogram: &Histogram, range: Range, dtype: ActivationType) -> Range {
    if matches!(dtype, ActivationType::I16 | ActivationType::U16) {
        return range;
    }
    let width = histogram.linear_width();
    let [negative, positive] = histogram.linear();
    let last = |side: &[u64]| side.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
    let bins = last(&negative).max(last(&positive));
    // From the lowest number to the highest; `zero` is the index of the first bin above zero.
    let (low_side, high_side) = (range.min < 0.0, range.max > 0.0);
    let mut counts: Vec<u64> = Vec::with_capacity(2 * bins);
    if low_side {
        counts.extend(negative.iter().take(bins).rev());
    }
    let zero = counts.len();
    if high_side || !low_side {
        counts.extend(positive.iter().take(bins));
    } else if let Some(nearest) = counts.last_mut() {
        *nearest += positive.first().copied().unwrap_or_default();
    }

    let least = if low_side && high_side { LEVELS / 2 } else { LEVELS };
    let mut best = (f64::INFINITY, bins);
    for half in least..=bins {
        let start = if low_side { zero.saturating_sub(half) } else { 0 };
        let end = if high_side { (zero + half).min(counts.len()) } else { counts.len() };
        let divergence = divergence(&counts, start, end);
        if divergence < best.0 {
            best = (divergence, half);
        }
    }
    let threshold = (best.1 as f64 * width) as f32;
    Range { min: range.min.max(-threshold), max: range.max.min(threshold) }
}

/// The divergence of the distribution within `start..end` from its reduction.
fn divergence(counts: &[u64], start: usize, end: usize) -> f64 {
    let (Some(within), Some(below), Some(above)) =
        (counts.get(start..end), counts.get(..start), counts.get(end..))
    else {
        return f64::INFINITY;
    };
    if within.is_empty() {
        return f64::INFINITY;
    }
    let mut p: Vec<f64> = within.iter().map(|&count| count as f64).collect();
    p[0] += below.iter().sum::<u64>() as f64;
    let last = p.len() - 1;
    p[last] += above.iter().sum::<u64>() as f64;
    let merged = (p.len() / LEVELS).max(1);
    let mut q = vec![LEAST; p.len()];
    for level in 0..LEVELS.min(p.len()) {
        let from = level * merged;
        let to = if level + 1 == LEVELS { p.len() } else { (from + merged).min(p.len()) };
        let sum: u64 = within[from..to].iter().sum();
        let filled = p[from..to].iter().filter(|&&p| p > 0.0).count();
        for (q, &p) in q[from..to].iter_mut().zip(&p[from..to]) {
            if p > 0.0 {
                *q = (sum as f64 / filled as f64).max(LEAST);
            }
        }
    }
    let (total_p, total_q) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
    let terms = p.iter().zip(&q).filter(|(p, _)| **p > 0.0);
    terms.map(|(&p, &q)| p / total_p * ((p / total_p) / (q / total_q)).ln()).sum()
}
