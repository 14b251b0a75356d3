//! The table for the terminal, at most 110 columns wide.

use calipers_inspect::number::{fixed, percent, ratio, three};

use crate::cell::Framework;
use crate::report::row::{Row, plain, rows, text};
use crate::report::verdict::{headline, null_test, parity, steps};
use crate::report::{CellReport, Report, Status};

const WIDTH: usize = 110;
const HEAD: [[&str; 2]; 10] = [
    ["", ""],
    ["", ""],
    ["accuracy", "% [95 %]"],
    ["agree", "%"],
    ["size", "MiB"],
    ["train", "s/ep"],
    ["QAT", "/float"],
    ["PTQ", "s"],
    ["p50", "ms"],
    ["time / float", "[95 %]"],
];

/// The comparison as text: the cells, then what failed, the gates and the null test.
pub fn table(report: &Report) -> String {
    let rows = rows(report);
    let cells: Vec<[String; 10]> = rows.iter().map(cells).collect();
    let mut widths = HEAD.map(|lines| lines.map(|line| line.chars().count()).into_iter().max().unwrap_or(0));
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for line in 0..2 {
        push(&mut out, &HEAD.map(|lines| lines[line].to_owned()), &widths);
    }
    for framework in Framework::ALL {
        let of: Vec<_> = rows.iter().zip(&cells).filter(|(row, _)| row.framework == framework).collect();
        if of.is_empty() {
            continue;
        }
        out.push_str(framework.title());
        out.push('\n');
        for (_, cells) in of {
            push(&mut out, cells, &widths);
        }
    }
    if report.study.seeds.len() > 1 {
        out.push_str(&wrapped("mean ± standard deviation over seeds; latency is of the first seed", ""));
    }
    if rows.iter().any(|row| row.withheld) {
        out.push_str("gate: withheld, because a gate failed\n");
    }
    let missing: Vec<&CellReport> = report.cells.iter().filter(|cell| cell.status != Status::Ok).collect();
    if !missing.is_empty() {
        out.push('\n');
    }
    for cell in missing {
        out.push_str(&wrapped(&reason(cell), "    "));
    }
    out.push('\n');
    let gates = parity(&report.gates).into_iter().chain(steps(&report.gates));
    for sentence in gates.chain(report.timing.as_ref().map(null_test)) {
        out.push_str(&wrapped(&sentence.text, "    "));
    }
    out.push_str(&wrapped(&headline(report).text, "    "));
    out
}

/// Why a cell has no numbers, in a line or a few.
pub(super) fn reason(cell: &CellReport) -> String {
    let status = if cell.status == Status::Failed { "failed" } else { "skipped" };
    let Some(error) = &cell.error else {
        return format!("{}: {status}", cell.cell);
    };
    match &error.stage {
        Some(stage) => format!("{}: {status} at {stage}: {}", cell.cell, error.message),
        None => format!("{}: {status}: {}", cell.cell, error.message),
    }
}

fn cells(row: &Row<'_>) -> [String; 10] {
    let status = match row.status_name() {
        "failed" => "FAIL",
        "skipped" => "skip",
        "withheld" => "gate",
        _ => "ok",
    };
    [
        format!(" {}", row.name()),
        status.to_owned(),
        text(row.accuracy(), percent),
        plain(row.agreement(), |share| fixed(100.0 * share, 1)),
        plain(row.mebibytes(), three),
        plain(row.seconds_per_epoch(), three),
        plain(row.overhead(), ratio),
        plain(row.calibration(), three),
        plain(row.latency().map(|(p50, _, _)| p50), three),
        text(row.to_float(), ratio),
    ]
}

fn push(out: &mut String, cells: &[String; 10], widths: &[usize; 10]) {
    let mut line = String::new();
    for (index, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let pad = " ".repeat(width - cell.chars().count().min(width));
        if index < 2 {
            line.push_str(cell);
            line.push_str(&pad);
        } else {
            line.push_str(&pad);
            line.push_str(cell);
        }
        line.push_str("  ");
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

/// Text broken at spaces; control characters, which could steer the terminal, become spaces.
fn wrapped(text: &str, indent: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut out = String::new();
    let mut line = String::new();
    for word in clean.split_whitespace() {
        if !line.trim().is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = indent.to_owned();
        }
        if !line.trim().is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
    out
}
