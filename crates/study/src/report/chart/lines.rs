//! Training curves: loss of each epoch as a line.

use std::fmt::Write as _;

use calipers_inspect::escape;
use calipers_inspect::number::three;

use crate::report::EpochPoint;
use crate::report::chart::axis::Axis;

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 120.0;
const LEFT: f64 = 38.0;
const BOTTOM: f64 = 18.0;

/// Loss by epoch; nothing for fewer than two epochs.
pub(in crate::report) fn curve(points: &[EpochPoint], title: &str) -> Option<String> {
    let points: Vec<&EpochPoint> = points.iter().filter(|point| point.loss.is_finite()).collect();
    let (first, last) = (points.first()?, points.last()?);
    if first.epoch >= last.epoch {
        return None;
    }
    let losses: Vec<f64> = points.iter().map(|point| point.loss).collect();
    let axis = Axis::of(&losses, false);
    let span = (last.epoch - first.epoch) as f64;
    let x = |epoch: usize| LEFT + (epoch - first.epoch) as f64 / span * (WIDTH - LEFT - 8.0);
    let y = |loss: f64| 6.0 + (1.0 - axis.place(loss)) * (HEIGHT - BOTTOM - 6.0);
    let mut out = format!(
        "<svg class=\"curve\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}: mean loss {} in epoch {}, {} in \
         epoch {}\">\n<g class=\"axis\">",
        escape(title),
        three(first.loss),
        first.epoch,
        three(last.loss),
        last.epoch
    );
    for (value, text) in axis.ticks() {
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
            LEFT - 5.0,
            y(value) + 4.0,
            at = y(value)
        );
    }
    for epoch in [first.epoch, last.epoch] {
        let _ = write!(out, "<text x=\"{:.1}\" y=\"{:.1}\">{epoch}</text>", x(epoch), HEIGHT - 3.0);
    }
    let path: Vec<String> =
        points.iter().map(|point| format!("{:.1} {:.1}", x(point.epoch), y(point.loss))).collect();
    let _ = write!(out, "</g>\n<path class=\"line\" d=\"M{}\"/>\n</svg>\n", path.join("L"));
    Some(out)
}
