//! Gates, environment, command and study.

use std::fmt::Write as _;

use calipers_inspect::escape;
use calipers_inspect::page::{Rows, grouped_table};

use crate::report::Report;
use crate::report::checks::gate_lines;
use crate::report::provenance::{TRACE, command, facts, spec};

/// The gates as a table.
pub(super) fn gates(report: &Report) -> String {
    let lines = gate_lines(report);
    if lines.is_empty() {
        return String::from("<p>One framework alone: there was nothing to compare.</p>\n");
    }
    let columns = ["Gate", "Seed", "Framework", "Against", "On", "Difference", "Allowed", "Passed"]
        .map(|name| (name, false));
    let rows = lines
        .iter()
        .map(|line| {
            let class = if line[7] == "NO" { "failed" } else { "" };
            (class, line.iter().map(|cell| escape(cell)).collect())
        })
        .collect();
    format!(
        "<p>In float, all frameworks must compute the same logits from the same weights, and end at the same weights after \
         the same steps. Where they do not, quantized rows are withheld.</p>\n{}",
        grouped_table("Gates", &columns, &[Rows { title: String::new(), rows }])
    )
}

/// Machine, versions, data, command and study.
pub(super) fn section(report: &Report) -> String {
    let mut out = format!("<p>{}</p>\n<dl class=\"facts\">\n", escape(TRACE));
    for [name, value] in facts(report) {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escape(&name), escape(&value));
    }
    let _ = writeln!(
        out,
        "</dl>\n<h3>Command</h3>\n<pre>{}</pre>\n<h3>Study, with what the command line changed</h3>\n<pre>{}</pre>",
        escape(&command(report)),
        escape(spec(report).trim_end())
    );
    out
}
