//! Histograms of weights: float as an outline over the filled quantized ones, and integers.

use std::fmt::Write as _;

use calipers_inspect::escape;
use calipers_inspect::number::{count, three};

use crate::report::{Histogram, WeightReport};

/// Bins that are drawn; neighbours are added up to so many.
const BINS: usize = 64;
const WIDTH: f64 = 256.0;
const HEIGHT: f64 = 64.0;

/// A layer's weights: what the artefact stands for, filled, under the outline of the float weights it was made from, and
/// below them the integers where it stores such. The title is HTML, the name is for those who hear the page.
pub(in crate::report) fn histogram(weights: &WeightReport, title: &str, name: &str) -> String {
    let real = rebinned(&weights.real.counts);
    let float = rebinned(&weights.float.counts);
    let most = real.iter().chain(&float).copied().max().unwrap_or(0);
    let mut out = format!(
        "<figure class=\"weights\">\n<figcaption><strong>{}</strong><span>{} {}</span></figcaption>\n{}",
        title,
        count(weights.elements),
        escape(&weights.dtype),
        svg(&[("filled", &real, most), ("outline", &float, most)], &format!("weights of {name}")),
    );
    ends(&mut out, &weights.real);
    if let Some(integers) = &weights.integers {
        let bins = rebinned(&integers.counts);
        let most = bins.iter().copied().max().unwrap_or(0);
        out.push_str(&svg(&[("integers", &bins, most)], &format!("stored integers of {name}")));
        ends(&mut out, integers);
    }
    out.push_str("</figure>\n");
    out
}

fn ends(out: &mut String, histogram: &Histogram) {
    let _ = writeln!(
        out,
        "<p class=\"ends\"><span>{}</span><span>{}</span></p>",
        three(histogram.low),
        three(histogram.high)
    );
}

fn svg(layers: &[(&str, &[u64], u64)], label: &str) -> String {
    let mut out =
        format!("<svg viewBox=\"0 0 {WIDTH:.0} {HEIGHT:.0}\" role=\"img\" aria-label=\"{}\">", escape(label));
    for (class, bins, most) in layers.iter().filter(|(_, bins, _)| !bins.is_empty()) {
        let _ = write!(out, "<path class=\"{class}\" d=\"{}\"/>", outline(bins, *most));
    }
    out.push_str("</svg>\n");
    out
}

/// The outline of bars whose heights are square roots of the counts, so that tails can be seen.
fn outline(bins: &[u64], most: u64) -> String {
    let width = WIDTH / bins.len() as f64;
    let height = |count: u64| {
        let tall = (count as f64 / most.max(1) as f64).sqrt() * (HEIGHT - 2.0);
        HEIGHT - if count > 0 { tall.max(1.0) } else { 0.0 }
    };
    let mut path = format!("M0 {HEIGHT:.0}");
    let mut last = HEIGHT;
    for (index, &count) in bins.iter().enumerate() {
        let at = height(count);
        if (at - last).abs() > 0.05 {
            if index > 0 {
                let _ = write!(path, "H{}", short(index as f64 * width));
            }
            let _ = write!(path, "V{}", short(at));
            last = at;
        }
    }
    let _ = write!(path, "H{WIDTH:.0}V{HEIGHT:.0}");
    path
}

fn short(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Neighbouring bins added up, so that at most [`BINS`] are left.
fn rebinned(counts: &[u64]) -> Vec<u64> {
    let size = counts.len().div_ceil(BINS).max(1);
    counts.chunks(size).map(|bins| bins.iter().sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::{outline, rebinned};

    #[test]
    fn no_weight_is_lost_in_fewer_bins() {
        let counts: Vec<u64> = (0..255).collect();
        let bins = rebinned(&counts);
        assert_eq!((bins.len(), bins.iter().sum::<u64>()), (64, 254 * 255 / 2));
        assert_eq!(rebinned(&[1, 2]), [1, 2]);
        assert!(rebinned(&[]).is_empty());
    }

    #[test]
    fn an_outline_returns_to_the_ground() {
        assert_eq!(outline(&[0, 4, 4, 1], 4), "M0 64H64V2H192V33H256V64");
        assert_eq!(outline(&[0, 0], 0), "M0 64H256V64");
    }
}
