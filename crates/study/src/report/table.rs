//! The table for the terminal, at most 110 columns wide.

use calipers_inspect::number::{MISSING, fixed, percent, ratio, three};

use crate::cell::{Framework, Origin};
use crate::report::checks::{Sentence, notes, null_tests, parity, reason, steps};
use crate::report::row::{Row, is_trained, mebibytes, plain, points, rows, text};
use crate::report::summary::{answers, headline};
use crate::report::{CellReport, Report, Status};

const WIDTH: usize = 110;

/// Number of columns.
const COLUMNS: usize = 9;
type Line = [String; COLUMNS];

/// The comparison as text: the cells by origin of their weights, what failed, the gates, the null tests, the notes, and what follows.
pub fn table(report: &Report) -> String {
    let all = rows(report);
    let cells: Vec<Line> = all.iter().map(|row| cells(report, row)).collect();
    let head = head(report);
    let mut widths = [0; COLUMNS];
    for line in head.iter().chain(&cells) {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for line in &head {
        push(&mut out, line, &widths);
    }
    for origin in [Origin::Own, Origin::Shared] {
        let of_origin = || all.iter().zip(&cells).filter(|(row, _)| row.weights == origin);
        if of_origin().next().is_none() {
            continue;
        }
        out.push_str(&origin_title(report, origin));
        for framework in Framework::ALL {
            let of: Vec<_> = of_origin().filter(|(row, _)| row.framework == framework).collect();
            if of.is_empty() {
                continue;
            }
            out.push_str(framework.title());
            out.push('\n');
            for (_, cells) in of {
                push(&mut out, cells, &widths);
            }
        }
    }
    if report.study.seeds.len() > 1 {
        out.push_str(&wrapped("mean ± standard deviation over seeds; latency is of the first seed", ""));
    }
    if all.iter().any(|row| row.withheld) {
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
    let null_tests = report.timing.iter().flat_map(null_tests);
    let checks: Vec<Sentence> = gates.chain(null_tests).chain(notes(report)).collect();
    for Sentence { text, .. } in &checks {
        out.push_str(&wrapped(text, "    "));
    }
    if !checks.is_empty() {
        out.push('\n');
    }
    out.push_str(&wrapped(&headline(report).text, "    "));
    for answer in answers(report) {
        out.push_str(&wrapped(&format!("{}: {}.", answer.question, answer.answer), "    "));
    }
    out
}

fn origin_title(report: &Report, origin: Origin) -> String {
    match (origin, report.study.lender()) {
        (Origin::Own, _) => String::from("-- each framework's own training --\n"),
        (Origin::Shared, Some(lender)) => format!(
            "\n-- the weights that {0} trained, in all frameworks; the rows of {0} itself are above --\n",
            lender.title()
        ),
        (Origin::Shared, None) => String::from("-- the model's own weights --\n"),
    }
}

fn head(report: &Report) -> [Line; 2] {
    let against = if is_trained(report) { ["-float", "points"] } else { ["agree", "%"] };
    let lines = [
        ["", ""],
        ["accuracy", "% [95 %]"],
        against,
        ["size", "MiB"],
        ["8-bit", "MAC %"],
        ["QAT", "ratio"],
        ["PTQ", "s"],
        ["p50", "ms"],
        ["time / float", "[95 %]"],
    ];
    [0, 1].map(|line| lines.map(|column| column[line].to_owned()))
}

fn cells(report: &Report, row: &Row<'_>) -> Line {
    let against = if is_trained(report) {
        plain(row.difference(), points)
    } else {
        plain(row.agreement(), |share| fixed(100.0 * share, 1))
    };
    let accuracy = match row.status_name() {
        "failed" => String::from("FAILED"),
        "skipped" => String::from("skipped"),
        "withheld" => String::from("gate"),
        _ => text(row.accuracy(), percent),
    };
    [
        format!(" {}", row.name()),
        accuracy,
        against,
        plain(row.file_bytes(), mebibytes),
        plain(row.integer_macs(), |share| fixed(100.0 * share, 0)),
        plain(row.overhead(), ratio),
        plain(row.calibration(), three),
        plain(row.milliseconds(), three),
        text(row.to_float(), ratio),
    ]
}

fn push(out: &mut String, cells: &Line, widths: &[usize; COLUMNS]) {
    let mut line = String::new();
    for (index, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let cell = if cell == MISSING { "" } else { cell };
        let pad = " ".repeat(width - cell.chars().count().min(width));
        if index == 0 {
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
pub(super) fn wrapped(text: &str, indent: &str) -> String {
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
