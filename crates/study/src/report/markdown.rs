//! The report as Markdown.

use calipers_inspect::number::{MISSING, percent2, ratio, three};

use crate::report::paper::{COLUMNS, caveat, tables};
use crate::report::provenance::{TRACE, command, facts, spec};
use crate::report::row::{Row, plain, rows, text};
use crate::report::table::reason;
use crate::report::verdict::{gate_lines, headline, sentences, subject};
use crate::report::{Report, Status};

/// The report as GitHub-flavoured Markdown.
pub fn markdown(report: &Report) -> String {
    let mut out = String::new();
    paragraph(&mut out, &format!("# {}", escape(&report.study.title)));
    paragraph(&mut out, &escape(&subject(report)));
    paragraph(&mut out, &format!("**{}**", escape(&headline(report).text)));
    for sentence in sentences(report) {
        line(&mut out, &format!("- {}", escape(&sentence.text)));
    }
    for note in &report.notes {
        line(&mut out, &format!("- Note: {}", escape(note)));
    }
    comparison(&mut out, report);
    beside_the_paper(&mut out, report);
    failures(&mut out, report);
    gates(&mut out, report);
    provenance(&mut out, report);
    out
}

fn comparison(out: &mut String, report: &Report) {
    paragraph(out, "\n## Comparison");
    let head = [
        "framework",
        "path",
        "variant",
        "status",
        "accuracy % [95 %]",
        "agreement with float %",
        "size MiB",
        "s / step",
        "s / epoch",
        "QAT step / float step",
        "PTQ s",
        "latency p50 ms",
        "p90 ms",
        "p99 ms",
        "time / float [95 %]",
    ];
    table_line(out, &head.map(str::to_owned));
    table_line(out, &head.map(|_| String::from("---")));
    for row in rows(report) {
        table_line(out, &cells(&row));
    }
    paragraph(
        out,
        "\nAccuracy is top-1 on the test split with Wilson's 95 % interval. Latency is of one inference at batch 1, from \
         float32 input to float32 logits, in interleaved blocks; its ratio is to the float cell of the same framework, \
         with the bootstrap's 95 % interval. MiB are 1,048,576 bytes. PTQ s are the seconds to prepare, calibrate and \
         convert. Of several seeds the mean is given, with ± the standard deviation.",
    );
}

fn cells(row: &Row<'_>) -> [String; 15] {
    let variant = crate::cell::variant_name(row.variant).to_owned();
    let latency = row.latency();
    let percentile = |which: usize| {
        latency.map_or_else(|| MISSING.to_owned(), |(p50, p90, p99)| three([p50, p90, p99][which].value))
    };
    [
        row.framework.title().to_owned(),
        escape(row.path),
        variant,
        row.status_name().to_owned(),
        text(row.accuracy(), percent2),
        plain(row.agreement(), percent2),
        plain(row.mebibytes(), three),
        plain(row.seconds_per_step(), three),
        plain(row.seconds_per_epoch(), three),
        text(row.overhead(), ratio),
        plain(row.calibration(), three),
        percentile(0),
        percentile(1),
        percentile(2),
        text(row.to_float(), ratio),
    ]
}

fn beside_the_paper(out: &mut String, report: &Report) {
    paragraph(out, "## Beside the paper of 2023");
    paragraph(out, caveat(report));
    for table in tables(report) {
        paragraph(out, &format!("**{}**", table.title));
        let head: Vec<String> = std::iter::once("").chain(COLUMNS).map(str::to_owned).collect();
        table_line(out, &head);
        table_line(out, &["---", "---", "---", "---", "---"].map(str::to_owned));
        for entry in table.lines {
            let mark = if entry.is_paper { "*" } else { "" };
            let cells: Vec<String> = std::iter::once(&entry.label)
                .chain(&entry.cells)
                .map(|cell| format!("{mark}{}{mark}", escape(cell)))
                .collect();
            table_line(out, &cells);
        }
        line(out, "");
    }
}

fn failures(out: &mut String, report: &Report) {
    let missing = || report.cells.iter().filter(|cell| cell.status != Status::Ok);
    if missing().next().is_none() {
        return;
    }
    paragraph(out, "## Cells without numbers");
    for cell in missing() {
        line(out, &format!("- {}", escape(&reason(cell))));
        if let Some(details) = cell.error.as_ref().and_then(|error| error.details.as_ref()) {
            line(out, "");
            code(out, "", details, "  ");
        }
    }
    line(out, "");
}

fn gates(out: &mut String, report: &Report) {
    paragraph(out, "## Gates");
    let gates = &report.gates;
    if gates.parity.is_empty() && gates.steps.is_empty() {
        paragraph(out, "One framework alone: there was nothing to compare.");
        return;
    }
    let head = ["gate", "seed", "framework", "against", "on", "difference", "allowed", "passed"];
    table_line(out, &head.map(str::to_owned));
    table_line(out, &head.map(|_| String::from("---")));
    for entry in gate_lines(report) {
        table_line(out, &entry.map(|cell| escape(&cell)));
    }
    line(out, "");
}

fn provenance(out: &mut String, report: &Report) {
    paragraph(out, "## Where the numbers come from");
    paragraph(out, TRACE);
    for [name, value] in facts(report) {
        line(out, &format!("- {name}: {}", escape(&value)));
    }
    paragraph(out, "\nCommand:");
    code(out, "sh", &command(report), "");
    paragraph(out, "Study, with what the command line changed:");
    code(out, "toml", &spec(report), "");
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn paragraph(out: &mut String, text: &str) {
    line(out, text);
    out.push('\n');
}

fn table_line(out: &mut String, cells: &[String]) {
    line(out, &format!("| {} |", cells.join(" | ")));
}

/// A code block whose fence is longer than any run of backticks inside.
fn code(out: &mut String, language: &str, text: &str, indent: &str) {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    line(out, &format!("{indent}{fence}{language}"));
    for entry in text.trim_end().lines() {
        line(out, format!("{indent}{entry}").trim_end());
    }
    paragraph(out, &format!("{indent}{fence}"));
}

/// Text on one line without a meaning for Markdown or HTML.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '*' | '`' | '|' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '[' if !text.contains("](") => out.push('['),
            '[' => out.push_str("\\["),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
