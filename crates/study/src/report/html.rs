//! The report as one HTML file that needs nothing else: no script, no font, no image from elsewhere.

use std::fmt::Write as _;

use calipers_inspect::escape;
use calipers_inspect::number::{MISSING, percent2, ratio, three};

use crate::cell::Framework;
use crate::report::chart::charts;
use crate::report::paper::{COLUMNS, caveat, tables};
use crate::report::provenance::{TRACE, command, facts, spec};
use crate::report::row::{Estimate, Row, Spread, plain, rows};
use crate::report::verdict::{Sentence, Tone, gate_lines, headline, sentences, subject};
use crate::report::{CellReport, Report, Status};

const STYLE: &str = include_str!("report.css");

/// The report as a self-contained HTML page. Everything that comes from outside is escaped.
pub fn html(report: &Report) -> String {
    let mut out = String::new();
    let title = escape(&report.study.title);
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"generator\" content=\"Calipers {}\">\n<title>{title} · Calipers</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<header>\n\
         <p class=\"kicker\">Calipers · quantization study</p>\n<h1>{title}</h1>\n\
         <p class=\"subject\">{}<br>{}</p>\n</header>\n",
        escape(&report.calipers),
        escape(&subject(report)),
        escape(&circumstances(report)),
    );
    verdict(&mut out, report);
    figures(&mut out, report);
    comparison(&mut out, report);
    failures(&mut out, report);
    beside_the_paper(&mut out, report);
    gates(&mut out, report);
    operators(&mut out, report);
    provenance(&mut out, report);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// Seeds, threads, processor and day.
fn circumstances(report: &Report) -> String {
    let seeds: Vec<String> = report.study.seeds.iter().map(u64::to_string).collect();
    let noun = if seeds.len() == 1 { "seed" } else { "seeds" };
    let threads = if report.threads == 1 { "1 thread" } else { &format!("{} threads", report.threads) };
    let day = report.finished.split('T').next().unwrap_or_default();
    format!("{noun} {} · {threads} · {} · {day}", seeds.join(", "), report.machine.processor)
}

fn verdict(out: &mut String, report: &Report) {
    let Sentence { tone, text } = headline(report);
    let more = match tone {
        Tone::Bad => {
            "<small>The frameworks were not shown to compute or to train the same thing, so quantized rows that \
             depend on it are withheld. The gates below say where.</small>"
        }
        Tone::Good | Tone::Plain | Tone::Caution => "",
    };
    let _ = writeln!(
        out,
        "<section aria-label=\"Result\">\n<p class=\"headline {}\">{}{more}</p>",
        class(tone),
        escape(&text)
    );
    let (checks, findings): (Vec<Sentence>, Vec<Sentence>) =
        sentences(report).into_iter().partition(|sentence| sentence.tone != Tone::Plain);
    out.push_str("<div class=\"verdict\">\n");
    if !findings.is_empty() {
        list(out, "Findings", &findings);
    }
    let notes = report.notes.iter().map(|note| Sentence { tone: Tone::Plain, text: note.clone() });
    let checks: Vec<Sentence> = checks.into_iter().chain(notes).collect();
    if !checks.is_empty() {
        list(out, "Checks and notes", &checks);
    }
    out.push_str("</div>\n</section>\n");
}

fn list(out: &mut String, title: &str, sentences: &[Sentence]) {
    let _ = writeln!(out, "<div>\n<h2>{title}</h2>\n<ul>");
    for Sentence { tone, text } in sentences {
        let _ = writeln!(out, "<li class=\"{}\">{}</li>", class(*tone), escape(text));
    }
    out.push_str("</ul>\n</div>\n");
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Plain => "plain",
        Tone::Caution => "caution",
        Tone::Bad => "bad",
    }
}

fn figures(out: &mut String, report: &Report) {
    out.push_str("<section>\n<h2>At a glance</h2>\n<div class=\"charts\">\n");
    for chart in charts(report) {
        let _ = writeln!(
            out,
            "<figure>\n<figcaption><strong>{}</strong><span>{}</span></figcaption>\n{}</figure>",
            escape(&chart.heading()),
            escape(chart.legend),
            chart.svg()
        );
    }
    out.push_str("</div>\n</section>\n");
}

const HEAD: [&str; 12] = [
    "Cell",
    "Status",
    "Accuracy<br>% [95 %]",
    "Agreement<br>with float, %",
    "File<br>MiB",
    "Training<br>s / epoch",
    "QAT step<br>/ float step",
    "PTQ<br>s",
    "Latency<br>p50 ms",
    "Time / float<br>[95 %]",
    "p90<br>ms",
    "p99<br>ms",
];

fn comparison(out: &mut String, report: &Report) {
    out.push_str(
        "<section>\n<h2>Comparison</h2>\n<div class=\"scroll\" tabindex=\"0\">\n<table>\n<thead><tr>",
    );
    for head in HEAD {
        let _ = write!(out, "<th scope=\"col\">{head}</th>");
    }
    out.push_str("</tr></thead>\n");
    let rows = rows(report);
    for framework in Framework::ALL {
        let mut of = rows.iter().filter(|row| row.framework == framework).peekable();
        if of.peek().is_none() {
            continue;
        }
        let span = HEAD.len();
        let title = framework.title();
        let _ = writeln!(
            out,
            "<tbody>\n<tr class=\"group\"><th colspan=\"{span}\" scope=\"rowgroup\">{title}</th></tr>"
        );
        for row in of {
            comparison_row(out, row);
        }
        out.push_str("</tbody>\n");
    }
    out.push_str(
        "</table>\n</div>\n<p class=\"fine\">Accuracy: top-1 on the test split with Wilson's 95 % interval. Latency: \
         one inference at batch 1 from float32 input to float32 logits, in shuffled interleaved blocks; its ratio is \
         to the float cell of the same framework, paired by round, with the bootstrap's 95 % interval. MiB: 1,048,576 \
         bytes. PTQ: seconds to prepare, calibrate and convert. Of several seeds the mean is given, with ± the standard \
         deviation.</p>\n</section>\n",
    );
}

fn comparison_row(out: &mut String, row: &Row<'_>) {
    let status = row.status_name();
    let _ = write!(
        out,
        "<tr class=\"{status}\"><th scope=\"row\">{}</th><td><span class=\"status {status}\">{status}</span></td>",
        linked(row)
    );
    let latency = row.latency();
    let cells = [
        spread(row.accuracy(), percent2),
        plain(row.agreement(), percent2),
        plain(row.mebibytes(), three),
        plain(row.seconds_per_epoch(), three),
        spread(row.overhead(), ratio),
        plain(row.calibration(), three),
        plain(latency.map(|(p50, _, _)| p50), three),
        spread(row.to_float(), ratio),
        plain(latency.map(|(_, p90, _)| p90), three),
        plain(latency.map(|(_, _, p99)| p99), three),
    ];
    for cell in cells {
        let _ = write!(out, "<td>{cell}</td>");
    }
    out.push_str("</tr>\n");
}

/// The row's name, with a link to its file where there is one.
fn linked(row: &Row<'_>) -> String {
    let name = escape(&row.name());
    let [CellReport { artefact: Some(artefact), .. }] = row.cells[..] else { return name };
    let mut address = String::from("./");
    for byte in artefact.file.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                address.push(char::from(byte))
            }
            _ => {
                let _ = write!(address, "%{byte:02X}");
            }
        }
    }
    format!("<a href=\"{address}\">{name}</a>")
}

/// The number, and its spread in small print.
fn spread(estimate: Option<Estimate>, write: impl Fn(f64) -> String) -> String {
    let Some(estimate) = estimate else { return MISSING.to_owned() };
    let value = write(estimate.value);
    match estimate.spread {
        Spread::Unknown => value,
        Spread::Interval(low, high) => format!("{value} <small>[{}, {}]</small>", write(low), write(high)),
        Spread::Deviation(deviation) => format!("{value} <small>± {}</small>", write(deviation)),
    }
}

fn failures(out: &mut String, report: &Report) {
    let missing: Vec<&CellReport> = report.cells.iter().filter(|cell| cell.status != Status::Ok).collect();
    if missing.is_empty() {
        return;
    }
    out.push_str("<section>\n<h2>Cells without numbers</h2>\n");
    for cell in missing {
        let status = if cell.status == Status::Failed { "failed" } else { "skipped" };
        let stage = cell.error.as_ref().and_then(|error| error.stage.as_ref());
        let stage = stage.map_or_else(String::new, |stage| format!(" at <code>{}</code>", escape(stage)));
        let _ = writeln!(
            out,
            "<div class=\"missing {status}\">\n<p><strong>{}</strong> <span class=\"status {status}\">{status}</span>{stage}</p>",
            escape(&cell.cell.to_string())
        );
        if let Some(error) = &cell.error {
            let _ = writeln!(out, "<p class=\"message\">{}</p>", escape(&error.message));
            if let Some(details) = &error.details {
                let details = escape(details.trim_end());
                let _ = writeln!(out, "<details><summary>Details</summary><pre>{details}</pre></details>");
            }
        }
        out.push_str("</div>\n");
    }
    out.push_str("</section>\n");
}

fn beside_the_paper(out: &mut String, report: &Report) {
    let _ = writeln!(out, "<section>\n<h2>Beside the paper of 2023</h2>\n<p>{}</p>", escape(caveat(report)));
    for table in tables(report) {
        let _ = write!(
            out,
            "<h3>{}</h3>\n<div class=\"scroll\" tabindex=\"0\">\n<table>\n<thead><tr><th scope=\"col\"></th>",
            escape(table.title)
        );
        for column in COLUMNS {
            let _ = write!(out, "<th scope=\"col\">{column}</th>");
        }
        out.push_str("</tr></thead>\n<tbody>\n");
        for line in &table.lines {
            let class = if line.is_paper { " class=\"paper\"" } else { "" };
            let _ = write!(out, "<tr{class}><th scope=\"row\">{}</th>", escape(&line.label));
            for cell in &line.cells {
                let _ = write!(out, "<td>{}</td>", escape(cell));
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody>\n</table>\n</div>\n");
    }
    out.push_str("</section>\n");
}

fn gates(out: &mut String, report: &Report) {
    out.push_str("<section>\n<h2>Gates</h2>\n");
    let lines = gate_lines(report);
    if lines.is_empty() {
        out.push_str("<p>One framework alone: there was nothing to compare.</p>\n</section>\n");
        return;
    }
    words_table(
        out,
        &["Gate", "Seed", "Framework", "Against", "On", "Difference", "Allowed", "Passed"],
        &lines,
    );
    out.push_str("</section>\n");
}

fn operators(out: &mut String, report: &Report) {
    let kinds = |kinds: &std::collections::BTreeMap<String, u64>| {
        let all: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        if all.is_empty() { MISSING.to_owned() } else { all.join(", ") }
    };
    let mut lines = Vec::new();
    for row in rows(report) {
        let Some(metrics) = row.metrics().next() else { continue };
        if !metrics.quantized_operators.is_empty() || !metrics.float_operators.is_empty() {
            lines.push([
                row.full_name(),
                kinds(&metrics.quantized_operators),
                kinds(&metrics.float_operators),
            ]);
        }
    }
    if lines.is_empty() {
        return;
    }
    out.push_str("<section>\n<h2>What runs in 8 bit</h2>\n");
    words_table(out, &["Cell", "In 8 bit", "In float"], &lines);
    out.push_str("</section>\n");
}

fn words_table<const N: usize>(out: &mut String, head: &[&str; N], lines: &[[String; N]]) {
    out.push_str("<div class=\"scroll\" tabindex=\"0\">\n<table class=\"words\">\n<thead><tr>");
    for head in head {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escape(head));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for line in lines {
        out.push_str("<tr>");
        for cell in line {
            let _ = write!(out, "<td>{}</td>", escape(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
}

fn provenance(out: &mut String, report: &Report) {
    let _ = writeln!(out, "<section>\n<h2>Where the numbers come from</h2>\n<p>{}</p>\n<dl>", escape(TRACE));
    for [name, value] in facts(report) {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escape(&name), escape(&value));
    }
    let _ = writeln!(
        out,
        "</dl>\n<h3>Command</h3>\n<pre>{}</pre>\n<h3>Study, with what the command line changed</h3>\n<pre>{}</pre>\n</section>",
        escape(&command(report)),
        escape(spec(report).trim_end())
    );
    let _ = writeln!(
        out,
        "<footer class=\"fine\">Calipers {}, {}. No script runs in this page and it loads nothing.</footer>",
        escape(&report.calipers),
        escape(&report.finished)
    );
}
