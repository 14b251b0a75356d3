//! The report as one HTML file that needs nothing else: no script, no font, no image from elsewhere.

mod accuracy;
mod cells;
mod inside;
mod paper;
mod provenance;
mod speed;
mod summary;

use std::fmt::Write as _;

use calipers_inspect::escape;
use calipers_inspect::number::MISSING;
use calipers_inspect::page::{Page, Rows, grouped_table};

use crate::report::Report;
use crate::report::checks::Tone;
use crate::report::row::{self, Estimate, Row};
use crate::report::summary::{circumstances, subject};

const STYLE: &str = include_str!("report.css");

/// Patterns that marks are filled with, so that no difference is one of colour alone.
const PATTERNS: &str = "<svg width=\"0\" height=\"0\" aria-hidden=\"true\" class=\"patterns\"><defs>\
     <pattern id=\"hatch\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
     <rect class=\"hatch-back\" width=\"5\" height=\"5\"/><rect class=\"hatch-line\" width=\"1.8\" height=\"5\"/></pattern>\
     <pattern id=\"stripes\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(-45)\">\
     <rect class=\"stripes-back\" width=\"4\" height=\"4\"/><rect class=\"stripes-line\" width=\"1.2\" height=\"4\"/></pattern>\
     <pattern id=\"dots\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\">\
     <rect class=\"dots-back\" width=\"5\" height=\"5\"/><circle class=\"dots-dot\" cx=\"2.5\" cy=\"2.5\" r=\"1.1\"/></pattern>\
     </defs></svg>\n";

/// A part of the page: place, title, and what is in it.
struct Section {
    id: &'static str,
    title: &'static str,
    body: String,
}

/// The report as a self-contained HTML page. Everything that comes from outside is escaped.
pub fn html(report: &Report) -> String {
    let sections = [
        Section { id: "paper", title: "The paper’s figures, 2023 and now", body: paper::section(report) },
        Section { id: "accuracy", title: "Accuracy", body: accuracy::section(report) },
        Section { id: "speed", title: "Speed", body: speed::section(report) },
        Section { id: "memory", title: "Memory", body: speed::memory(report) },
        Section { id: "size", title: "Size and share of 8 bit", body: speed::size(report) },
        Section { id: "profiles", title: "Where the time goes", body: inside::profiles(report) },
        Section { id: "weights", title: "Weights", body: inside::weights(report) },
        Section { id: "cells", title: "Every cell", body: cells::section(report) },
        Section { id: "gates", title: "Gates", body: provenance::gates(report) },
        Section { id: "made", title: "How it was made", body: provenance::section(report) },
    ];
    let mut body = String::from("<nav aria-label=\"Parts of this page\"><a href=\"#summary\">Summary</a>");
    let shown = || sections.iter().filter(|section| !section.body.is_empty());
    for section in shown() {
        let _ = write!(body, "<a href=\"#{}\">{}</a>", section.id, section.title);
    }
    body.push_str("</nav>\n");
    summary::section(&mut body, report);
    for section in shown() {
        let Section { id, title, body: inside } = section;
        let _ = writeln!(body, "<section id=\"{id}\">\n<h2>{title}</h2>\n{inside}</section>");
    }
    let _ = writeln!(
        body,
        "<footer class=\"fine\">Calipers {}, {}. No script runs in this page and it loads nothing.</footer>",
        escape(&report.calipers),
        escape(&report.finished)
    );
    Page {
        kicker: "Calipers · quantization study",
        title: &report.study.title,
        subject: &format!("{}\n{}", subject(report), circumstances(report)),
        style: STYLE,
        before: &format!("<a class=\"skip\" href=\"#summary\">Skip to the summary</a>\n{PATTERNS}"),
        body: &body,
    }
    .html()
}

fn tone_class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Plain => "plain",
        Tone::Caution => "caution",
        Tone::Bad => "bad",
    }
}

/// The row's name as a link to its details.
fn linked(row: &Row<'_>, name: &str) -> String {
    format!("<a href=\"#{}\">{}</a>", row.anchor(), escape(name))
}

/// The status as a mark in words.
fn status(name: &str) -> String {
    format!("<span class=\"status {name}\">{name}</span>")
}

/// The number, and its spread in small print.
fn spread(estimate: Option<Estimate>, write: impl Fn(f64) -> String) -> String {
    let Some(estimate) = estimate else { return MISSING.to_owned() };
    let value = write(estimate.value);
    match estimate.spread_text(write) {
        spread if spread.is_empty() => value,
        spread => format!("{value} <small>{spread}</small>"),
    }
}

/// A table of rows by framework: the row's name as a link, its status, and what `cells` makes of it.
fn table_of_rows<'a>(
    name: &str,
    columns: &[(&str, bool)],
    rows: &[Row<'a>],
    cells: impl Fn(&Row<'a>) -> Option<Vec<String>>,
) -> String {
    let line = |row: &Row<'a>| {
        let mut line = vec![linked(row, &row.name()), status(row.status_name())];
        line.extend(cells(row)?);
        Some((row.status_name(), line))
    };
    let group = |(title, rows): (String, Vec<Row<'a>>)| Rows {
        title: escape(&title),
        rows: rows.iter().filter_map(line).collect(),
    };
    let mut groups: Vec<Rows> = row::groups(rows).into_iter().map(group).collect();
    groups.retain(|group| !group.rows.is_empty());
    if groups.is_empty() {
        return String::new();
    }
    let columns: Vec<(&str, bool)> =
        [("Path and scheme", false), ("Status", false)].into_iter().chain(columns.iter().copied()).collect();
    grouped_table(name, &columns, &groups)
}

/// Marks and what they mean: class and words of each.
fn legend<'a>(marks: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::from("<ul class=\"legend\">");
    for (class, words) in marks {
        let _ = write!(
            out,
            "<li><svg viewBox=\"0 0 16 12\" aria-hidden=\"true\"><rect class=\"part {class}\" width=\"16\" height=\"12\"/></svg>{}</li>",
            escape(words)
        );
    }
    out.push_str("</ul>\n");
    out
}
