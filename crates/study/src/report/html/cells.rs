//! Every cell with all that is known of it: recipe, artefact, training, bytes, operators, weights, errors.

use std::fmt::Write as _;

use calipers_inspect::escape;
use calipers_inspect::number::{MISSING, count, percent, percent2, ratio, three};
use calipers_inspect::page::{Rows, grouped_table};

use super::status;
use crate::report::chart::histogram::histogram;
use crate::report::chart::lines::curve;
use crate::report::figures::kind_lines;
use crate::report::row::{Row, groups, mebibytes, points, rows};
use crate::report::{CellReport, Ledger, Metrics, Profile, Report, Status};

/// All of them, closed until they are asked for.
pub(super) fn section(report: &Report) -> String {
    let all = rows(report);
    let mut out = String::new();
    for (title, rows) in groups(&all) {
        let _ = writeln!(out, "<h3>{}</h3>", escape(&title));
        for row in &rows {
            cell(&mut out, report, row);
        }
    }
    out
}

fn cell(out: &mut String, report: &Report, row: &Row<'_>) {
    let name = row.distinct_name(report);
    let _ = writeln!(
        out,
        "<details class=\"cell\">\n<summary><span>{}</span> {}</summary>\n<div id=\"{}\" class=\"known\">",
        escape(&name),
        status(row.status_name()),
        row.anchor()
    );
    if let Some(route) = row.framework.routes().iter().find(|route| route.path == row.path()) {
        let _ = writeln!(out, "<p class=\"fine\">{}</p>", escape(route.title));
    }
    for cell in row.cells.iter().filter(|cell| cell.status != Status::Ok) {
        error(out, cell);
    }
    if row.withheld {
        out.push_str("<p>Its numbers are withheld because a gate failed.</p>\n");
    }
    for cell in row.cells.iter().filter(|cell| cell.status == Status::Ok && !row.withheld) {
        if let Some(artefact) = &cell.artefact {
            let seed = if row.cells.len() > 1 { format!(", seed {}", cell.cell.seed) } else { String::new() };
            let _ = writeln!(
                out,
                "<p>Artefact{seed}: <a href=\"{}\"><code>{}</code></a></p>",
                address(&artefact.file),
                escape(&artefact.file)
            );
        }
    }
    numbers(out, row);
    // Recipe, bytes, operators and weights are the same for every seed but in their numbers: the first one's are shown.
    if let Some(metrics) = row.metrics().next() {
        measured(out, metrics, &name);
    }
    out.push_str("</div>\n</details>\n");
}

/// The numbers of the tables above in one place; those that are not there are left out.
fn numbers(out: &mut String, row: &Row<'_>) {
    let latency = row.latency();
    let milliseconds = |numbers: &[f64]| numbers.iter().map(|&it| three(it)).collect::<Vec<_>>().join(" · ");
    let [training, quantizing, running] = row.memory();
    let facts: [(&str, Option<String>); 12] = [
        ("Top-1, %", row.accuracy().map(|it| it.text(percent2))),
        ("Less float’s, points", row.difference().map(|it| it.text(points))),
        ("Agreement with float, %", row.agreement().map(|it| it.text(percent2))),
        ("Latency p50 · p90 · p99, ms", latency.map(|it| milliseconds(&[it.p50, it.p90, it.p99]))),
        (
            "Medians of its blocks, least · quartiles · greatest, ms",
            latency.map(|it| milliseconds(&it.of_blocks)),
        ),
        ("Inferences timed", latency.map(|it| count(it.inferences))),
        ("Time / float", row.to_float().map(|it| it.text(ratio))),
        ("Samples a second in batches", row.throughput().map(|it| three(it.value))),
        ("First inference of a new process, s", row.first_inference().map(|it| three(it.value))),
        ("Memory above idle while training, MiB", training.map(|it| mebibytes(it.value))),
        ("while quantizing, MiB", quantizing.map(|it| mebibytes(it.value))),
        ("while running, MiB", running.map(|it| mebibytes(it.value))),
    ];
    if facts.iter().all(|(_, value)| value.is_none()) {
        return;
    }
    out.push_str("<dl class=\"facts\">\n");
    for (name, value) in facts {
        if let Some(value) = value {
            let _ = writeln!(out, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
        }
    }
    out.push_str("</dl>\n");
}

fn error(out: &mut String, cell: &CellReport) {
    let word = if cell.status == Status::Failed { "failed" } else { "skipped" };
    let stage = cell.error.as_ref().and_then(|error| error.stage.as_ref());
    let stage = stage.map_or_else(String::new, |stage| format!(" at <code>{}</code>", escape(stage)));
    let _ = writeln!(out, "<p>Seed {}: {}{stage}</p>", cell.cell.seed, status(word));
    let Some(error) = &cell.error else { return };
    let _ = writeln!(out, "<p class=\"message\">{}</p>", escape(&error.message));
    if let Some(details) = &error.details {
        let details = escape(details.trim_end());
        let _ = writeln!(out, "<details><summary>Details</summary><pre>{details}</pre></details>");
    }
}

fn measured(out: &mut String, metrics: &Metrics, name: &str) {
    if !metrics.recipe.is_empty() {
        let _ = writeln!(
            out,
            "<h4>Recipe</h4>\n<pre class=\"recipe\" tabindex=\"0\">{}</pre>",
            escape(metrics.recipe.trim_end())
        );
    }
    if let Some(training) = &metrics.training {
        let _ = writeln!(
            out,
            "<h4>Training</h4>\n<p>{} epochs in {} s, {} s a step; mean loss of the last epoch {}.</p>",
            training.epochs,
            three(training.seconds),
            three(training.seconds_per_step),
            three(training.final_loss)
        );
        out.push_str(&curve(&training.curve, name).unwrap_or_default());
    }
    operators_seen(out, metrics);
    if let Some(profile) = &metrics.profile {
        operators(out, profile, name);
    }
    if let Some(ledger) = &metrics.ledger {
        bytes(out, ledger, metrics.file_bytes.unwrap_or_default(), name);
    }
    if !metrics.weights.is_empty() {
        let _ = writeln!(
            out,
            "<details><summary>Weights of {} layers</summary>\n<div class=\"histograms\">",
            metrics.weights.len()
        );
        for weights in &metrics.weights {
            out.push_str(&histogram(weights, &escape(&weights.name), &weights.name));
        }
        out.push_str("</div>\n</details>\n");
    }
}

fn operators_seen(out: &mut String, metrics: &Metrics) {
    if metrics.operators.is_empty() {
        return;
    }
    out.push_str("<h4>What executes in one inference</h4>\n<ul class=\"seen\">\n");
    for (kind, classes) in &metrics.operators {
        let classes: Vec<String> = classes.iter().map(|(class, count)| format!("{count} {class}")).collect();
        let _ = writeln!(out, "<li>{}: {}</li>", escape(kind), escape(&classes.join(", ")));
    }
    out.push_str("</ul>\n");
}

fn operators(out: &mut String, profile: &Profile, name: &str) {
    let lines = |rows: Vec<Vec<String>>| {
        let rows = rows.into_iter().map(|row| ("", row.iter().map(|cell| escape(cell)).collect())).collect();
        [Rows { title: String::new(), rows }]
    };
    let kinds = kind_lines(profile).into_iter().map(Vec::from).collect();
    let columns = [("Kind", false), ("Calls", true), ("µs", true), ("%", true)];
    let _ = write!(
        out,
        "<h4>Where the time goes</h4>\n<p class=\"fine\">By {}, which tells differences of {} ns. <a href=\"{}\">Trace</a> for \
         chrome://tracing or Perfetto.</p>\n{}",
        escape(&profile.profiler),
        count(profile.resolution_nanoseconds as usize),
        address(&profile.trace),
        grouped_table(&format!("Kinds of operators of {name}"), &columns, &lines(kinds))
    );
    let whole = profile.wall_nanoseconds.max(profile.sum_nanoseconds());
    let rows = profile.operators.iter().map(|operator| {
        vec![
            operator.name.clone(),
            crate::report::metrics::kind_name(operator.kind).to_owned(),
            operator.calls.to_string(),
            three(operator.nanoseconds / 1e3),
            percent(operator.nanoseconds / whole),
            operator.bytes.map_or_else(|| MISSING.to_owned(), |bytes| count(bytes as usize)),
        ]
    });
    let columns =
        [("Operator", false), ("Kind", false), ("Calls", true), ("µs", true), ("%", true), ("Bytes", true)];
    let bytes_are = match profile.bytes_are.as_str() {
        "" => String::new(),
        text => format!("<p class=\"fine\">Bytes: {}</p>\n", escape(text)),
    };
    let _ = write!(
        out,
        "<details><summary>{} operators, in the order of execution</summary>\n{}{bytes_are}</details>\n",
        profile.operators.len(),
        grouped_table(&format!("Operators of {name}"), &columns, &lines(rows.collect()))
    );
}

fn bytes(out: &mut String, ledger: &Ledger, file: u64, name: &str) {
    let mut rows: Vec<(&'static str, Vec<String>)> = ledger
        .entries
        .iter()
        .map(|entry| {
            let cells = vec![
                escape(&entry.name),
                escape(&entry.dtype),
                count(entry.elements as usize),
                count(entry.bytes as usize),
                escape(entry.why_float.as_deref().unwrap_or_default()),
            ];
            ("", cells)
        })
        .collect();
    let rest = if ledger.rest < 0 {
        format!("-{}", count(ledger.rest.unsigned_abs() as usize))
    } else {
        count(ledger.rest as usize)
    };
    rows.push((
        "",
        vec![
            String::from("rest: structure, names, padding"),
            String::new(),
            String::new(),
            rest,
            String::new(),
        ],
    ));
    let columns =
        [("Tensor", false), ("Type", false), ("Elements", true), ("Bytes", true), ("Why in float", false)];
    let _ = write!(
        out,
        "<details><summary>Bytes of the file: {} MiB in {} tensors</summary>\n{}</details>\n",
        mebibytes(file as f64),
        ledger.entries.len(),
        grouped_table(&format!("Bytes of {name}"), &columns, &[Rows { title: String::new(), rows }])
    );
}

/// A relative path as an address.
fn address(path: &str) -> String {
    let mut address = String::from("./");
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                address.push(char::from(byte))
            }
            _ => {
                let _ = write!(address, "%{byte:02X}");
            }
        }
    }
    address
}
