//! Cost against gain: a numbered point for each model, and the list that says which is which.

use std::fmt::Write as _;

use calipers_inspect::escape;
use calipers_inspect::number::{percent2, three};

use crate::report::chart::axis::Axis;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 34.0;
const BOTTOM: f64 = 34.0;
const RADIUS: f64 = 8.0;

/// A model: name, place of its details, class, milliseconds of an inference, and accuracy as a share.
pub(in crate::report) type Point = (String, String, &'static str, f64, f64);

/// Accuracy over latency, with a note below the title; nothing for fewer than two points.
pub(in crate::report) fn scatter(points: &[Point], note: Option<&str>) -> Option<String> {
    let mut points: Vec<&Point> =
        points.iter().filter(|point| point.3 > 0.0 && point.4.is_finite()).collect();
    points.sort_by(|a, b| a.3.total_cmp(&b.3));
    if points.len() < 2 {
        return None;
    }
    let times: Vec<f64> = points.iter().map(|point| point.3).collect();
    let shares: Vec<f64> = points.iter().map(|point| 100.0 * point.4).collect();
    let (across, up) = (Axis::logarithmic(&times), Axis::around(&shares));
    let x = |time: f64| LEFT + RADIUS + across.place(time) * (WIDTH - LEFT - 2.0 * RADIUS - 4.0);
    let y = |share: f64| RADIUS + (1.0 - up.place(share)) * (HEIGHT - BOTTOM - 2.0 * RADIUS);
    let mut out = format!(
        "<figure class=\"chart\" id=\"trade\">\n<figcaption><h4>Cost against gain</h4><span>Each number is a model on \
         the shared weights, in the order of its speed: up is more accurate, left is faster.{}</span></figcaption>\n\
         <svg class=\"scatter\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Accuracy over latency of {} models; \
         the list below has the numbers\">\n<g class=\"axis\">",
        note.map_or_else(String::new, |note| format!(" {}", escape(note))),
        points.len()
    );
    for (value, text) in up.ticks() {
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
            LEFT - 6.0,
            y(value) + 4.0,
            at = y(value)
        );
    }
    for (value, text) in across.ticks() {
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"0\" y2=\"{:.1}\"/><text x=\"{at:.1}\" y=\"{:.1}\">{text}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 13.0,
            at = x(value)
        );
    }
    let _ = writeln!(
        out,
        "<text class=\"end\" x=\"{WIDTH}\" y=\"{:.1}\">ms per inference, logarithmic</text><text class=\"start\" x=\"0\" y=\"{:.1}\">top-1, %</text></g>",
        HEIGHT - 4.0,
        HEIGHT - 4.0
    );
    let places: Vec<(f64, f64)> = points.iter().map(|point| (x(point.3), y(100.0 * point.4))).collect();
    for (index, (place, (cx, cy))) in places.iter().zip(apart(&places)).enumerate() {
        let class = points[index].2;
        if (place.0 - cx).hypot(place.1 - cy) > 2.0 {
            let _ = write!(
                out,
                "<line class=\"leader\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{cx:.1}\" y2=\"{cy:.1}\"/>\
                 <circle class=\"{class}\" cx=\"{0:.1}\" cy=\"{1:.1}\" r=\"2.5\"/>",
                place.0, place.1
            );
        }
        let _ = writeln!(
            out,
            "<circle class=\"{class}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"{RADIUS}\"/><text class=\"mark in-{class}\" x=\"{cx:.1}\" y=\"{:.1}\">{}</text>",
            cy + 3.4,
            index + 1
        );
    }
    out.push_str("</svg>\n<ol class=\"key\">\n");
    for (name, anchor, class, time, accuracy) in points {
        let _ = writeln!(
            out,
            "<li><span class=\"swatch back-{class}\"></span><a href=\"#{anchor}\">{}</a> <span>{} ms, {} %</span></li>",
            escape(name),
            three(*time),
            percent2(*accuracy)
        );
    }
    out.push_str("</ol>\n</figure>\n");
    Some(out)
}

/// Places moved apart until no two discs cover each other, or nearly so; each stays as near as it can.
fn apart(places: &[(f64, f64)]) -> Vec<(f64, f64)> {
    const ROUNDS: usize = 200;
    let wanted = 2.0 * RADIUS + 1.0;
    let mut moved = places.to_vec();
    for _ in 0..ROUNDS {
        for a in 0..moved.len() {
            for b in a + 1..moved.len() {
                let (dx, dy) = (moved[b].0 - moved[a].0, moved[b].1 - moved[a].1);
                let distance = dx.hypot(dy);
                if distance >= wanted {
                    continue;
                }
                // Those in one place part along a direction of their own.
                let (dx, dy) =
                    if distance < 1e-6 { (b as f64).sin_cos() } else { (dx / distance, dy / distance) };
                let push = (wanted - distance) / 2.0;
                moved[a] = (moved[a].0 - push * dx, moved[a].1 - push * dy);
                moved[b] = (moved[b].0 + push * dx, moved[b].1 + push * dy);
            }
        }
        for place in &mut moved {
            *place = (
                place.0.clamp(LEFT + RADIUS, WIDTH - RADIUS),
                place.1.clamp(RADIUS, HEIGHT - BOTTOM - RADIUS),
            );
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::{RADIUS, apart};

    #[test]
    fn discs_do_not_cover_each_other() {
        let places: Vec<(f64, f64)> = (0..12).map(|place| (300.0 + f64::from(place % 2), 150.0)).collect();
        let moved = apart(&places);
        for a in 0..moved.len() {
            for b in a + 1..moved.len() {
                let distance = (moved[a].0 - moved[b].0).hypot(moved[a].1 - moved[b].1);
                assert!(distance > 1.9 * RADIUS, "{a} and {b}: {distance}");
            }
        }
        assert_eq!(apart(&[(100.0, 100.0), (200.0, 100.0)]), [(100.0, 100.0), (200.0, 100.0)]);
    }
}
