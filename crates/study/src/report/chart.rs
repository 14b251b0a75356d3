//! Charts as inline SVG in panels, one for each framework, with one axis for all; colours come from the page's style sheet.
//!
//! A mark stands below its label and its number, so that a panel can be read at the width of a phone.

pub(super) mod axis;
pub(super) mod histogram;
pub(super) mod lines;
pub(super) mod scatter;

use std::fmt::Write as _;

use calipers_inspect::escape;

use axis::Axis;

/// Marks of one quantity, in panels.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    /// For links, and for the labels of the panels.
    pub id: String,
    pub title: String,
    /// What the marks mean, in a sentence.
    pub legend: String,
    pub unit: &'static str,
    pub panels: Vec<Panel>,
}

/// The marks of one framework.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub title: String,
    pub entries: Vec<Entry>,
}

/// A mark with its label and its number.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub label: String,
    /// Class of the mark, which gives it its colour.
    pub class: &'static str,
    pub mark: Mark,
    /// The number as it is written.
    pub text: String,
}

/// What is drawn.
#[derive(Clone, Debug)]
pub(super) enum Mark {
    /// A bar from zero, or a dot where the axis is logarithmic, with the ends of its interval.
    Bar(f64, Option<(f64, f64)>),
    /// A dot with the ends of its interval.
    Dot(f64, Option<(f64, f64)>),
    /// Least, quartiles and greatest.
    Box([f64; 5]),
    /// Parts of a whole side by side: class, label, size.
    Stack(Vec<(&'static str, &'static str, f64)>),
    /// Nothing but the text.
    Nothing,
}

/// Width of a panel; as many characters of a label and a number fit into it as they have.
const WIDTH: f64 = 360.0;
const ROW: f64 = 32.0;
const AXIS: f64 = 18.0;
/// Room beside the axis for half of the last tick's text and for whiskers.
const MARGIN: f64 = 12.0;
/// Width of a letter in a part of a stack, at most.
const LETTER: f64 = 6.4;

impl Chart {
    /// Whether anything is drawn.
    pub fn is_empty(&self) -> bool {
        self.entries().all(|entry| matches!(entry.mark, Mark::Nothing))
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.panels.iter().flat_map(|panel| &panel.entries)
    }

    /// The chart as a figure, whose title is a heading of a level.
    pub fn html(&self, level: u8) -> String {
        let axis = self.axis();
        let scale = if axis.is_logarithmic() { " The axis is logarithmic." } else { "" };
        // The axis of a stack is in shares, whatever its numbers are in.
        let is_stack = self.entries().any(|entry| matches!(entry.mark, Mark::Stack(_)));
        let unit = if is_stack { String::new() } else { format!(", {}", self.unit) };
        let mut out = format!(
            "<figure class=\"chart\" id=\"{}\">\n<figcaption><h{level}>{}{}</h{level}><span>{}{scale}</span></figcaption>\n\
             <div class=\"panels\">\n",
            self.id,
            escape(&self.title),
            escape(&unit),
            escape(&self.legend),
        );
        for panel in &self.panels {
            self.panel(&mut out, panel, &axis);
        }
        out.push_str("</div>\n</figure>\n");
        out
    }

    fn axis(&self) -> Axis {
        let mut values: Vec<f64> = Vec::new();
        let mut may_be_logarithmic = true;
        for entry in self.entries() {
            match &entry.mark {
                Mark::Bar(value, ends) => values.extend(with_ends(*value, *ends)),
                Mark::Dot(value, ends) => {
                    may_be_logarithmic = false;
                    values.extend(with_ends(*value, *ends));
                }
                Mark::Box(five) => values.extend(five),
                Mark::Stack(_) => return Axis::of_shares(),
                Mark::Nothing => {}
            }
        }
        Axis::of(&values, may_be_logarithmic)
    }

    fn panel(&self, out: &mut String, panel: &Panel, axis: &Axis) {
        let body = panel.entries.len() as f64 * ROW;
        let at = |value: f64| 2.0 + axis.place(value) * (WIDTH - 2.0 - MARGIN);
        let _ = write!(
            out,
            "<div class=\"panel\">\n<p class=\"panel-title\">{}</p>\n<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" \
             aria-label=\"{}\">\n<g class=\"axis\">",
            escape(&panel.title),
            body + AXIS,
            escape(&self.description(panel)),
        );
        for (value, text) in axis.ticks() {
            let zero = if value == 0.0 { " zero" } else { "" };
            let x = at(value);
            // The lines stand behind the marks alone, so that none runs through a label.
            let rows = 0..panel.entries.len();
            let bands: String =
                rows.map(|row| format!("M{x:.1} {:.0}v14", row as f64 * ROW + 16.0)).collect();
            let _ = write!(
                out,
                "<path class=\"grid{zero}\" d=\"{bands}\"/><text x=\"{x:.1}\" y=\"{:.1}\">{text}</text>",
                body + 13.0
            );
        }
        out.push_str("</g>\n");
        for (index, entry) in panel.entries.iter().enumerate() {
            let top = index as f64 * ROW;
            let _ = write!(
                out,
                "<text class=\"name\" x=\"0\" y=\"{y:.1}\">{}</text><text class=\"number\" x=\"{WIDTH}\" y=\"{y:.1}\">{}</text>",
                escape(&entry.label),
                escape(&entry.text),
                y = top + 13.0
            );
            draw(out, entry, top + 18.0, axis, &at);
            out.push('\n');
        }
        out.push_str("</svg>\n</div>\n");
    }

    /// The numbers in words, for those who hear the chart.
    fn description(&self, panel: &Panel) -> String {
        let mut out = format!("{}, {}:", self.title, panel.title);
        for entry in &panel.entries {
            let _ = write!(out, " {}: {} {};", entry.label, entry.text, self.unit);
        }
        out
    }
}

fn with_ends(value: f64, ends: Option<(f64, f64)>) -> impl Iterator<Item = f64> {
    std::iter::once(value).chain(ends.into_iter().flat_map(|(low, high)| [low, high]))
}

/// Draws a mark of height 10 below `top`.
fn draw(out: &mut String, entry: &Entry, top: f64, axis: &Axis, at: &dyn Fn(f64) -> f64) {
    let class = entry.class;
    let middle = top + 5.0;
    match &entry.mark {
        Mark::Bar(value, ends) if !axis.is_logarithmic() => {
            let (from, to) = (at(0.0).min(at(*value)), at(0.0).max(at(*value)));
            let _ = write!(
                out,
                "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"10\" rx=\"1.5\"/>",
                (to - from).max(1.0)
            );
            whisker(out, *ends, middle, at);
        }
        Mark::Bar(value, ends) | Mark::Dot(value, ends) => {
            whisker(out, *ends, middle, at);
            let _ = write!(
                out,
                "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{middle:.1}\" r=\"4.5\"/>",
                at(*value)
            );
        }
        Mark::Box([least, lower, median, upper, greatest]) => {
            whisker(out, Some((*least, *greatest)), middle, at);
            let _ = write!(
                out,
                "<rect class=\"{class} box\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"10\"/>\
                 <path class=\"median\" d=\"M{:.1} {:.1}v12\"/>",
                at(*lower),
                (at(*upper) - at(*lower)).max(1.0),
                at(*median),
                top - 1.0
            );
        }
        Mark::Stack(parts) => {
            let whole: f64 = parts.iter().map(|(_, _, size)| size).sum();
            let mut from = 0.0;
            for (class, label, size) in parts.iter().filter(|(_, _, size)| *size > 0.0) {
                let (left, right) = (at(from / whole), at((from + size) / whole));
                let _ = write!(
                    out,
                    "<rect class=\"part {class}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"12\"/>",
                    top - 1.0,
                    right - left
                );
                if right - left > LETTER * label.chars().count() as f64 + 4.0 {
                    let _ = write!(
                        out,
                        "<text class=\"within in-{class}\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>",
                        f64::midpoint(left, right),
                        top + 8.6
                    );
                }
                from += size;
            }
        }
        Mark::Nothing => {}
    }
}

fn whisker(out: &mut String, ends: Option<(f64, f64)>, middle: f64, at: &dyn Fn(f64) -> f64) {
    let Some((low, high)) = ends.filter(|(low, high)| low < high) else { return };
    let (from, to, top) = (at(low), at(high), middle - 4.0);
    let _ = write!(
        out,
        "<path class=\"whisker\" d=\"M{from:.1} {middle:.1}H{to:.1}M{from:.1} {top:.1}v8M{to:.1} {top:.1}v8\"/>"
    );
}
