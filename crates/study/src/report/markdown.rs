//! The report as Markdown.

use calipers_inspect::number::{MISSING, fixed, percent, percent2, ratio, three};

use crate::cell::{Framework, Origin, VARIANTS, variant_name};
use crate::report::checks::{checks, gate_lines, reason};
use crate::report::figures::kind_lines;
use crate::report::paper::{ISSUES, QUANTITIES, caveat, profile_table, table};
use crate::report::provenance::{TRACE, command, facts, spec};
use crate::report::row::{FLOAT_MODEL, Row, mebibytes, own, plain, points, rows, shared, text, untimed};
use crate::report::summary::{SCHEMES, answers, circumstances, headline, schemes, subject, what_schemes_are};
use crate::report::{Metrics, Report, Status};

/// The report as GitHub-flavoured Markdown.
pub fn markdown(report: &Report) -> String {
    let mut out = String::new();
    paragraph(&mut out, &format!("# {}", escape(&report.study.title)));
    paragraph(&mut out, &format!("{}  \n{}", escape(&subject(report)), escape(&circumstances(report))));
    summary(&mut out, report);
    beside_the_paper(&mut out, report);
    accuracy(&mut out, report);
    speed(&mut out, report);
    size(&mut out, report);
    profiles(&mut out, report);
    failures(&mut out, report);
    recipes(&mut out, report);
    gates(&mut out, report);
    provenance(&mut out, report);
    out
}

fn summary(out: &mut String, report: &Report) {
    paragraph(out, &format!("**{}**", escape(&headline(report).text)));
    for answer in answers(report) {
        let [question, answer, sure] = [answer.question, &answer.answer, &answer.sure].map(escape);
        line(out, &format!("- {question}: **{answer}**. {sure}"));
    }
    let lines = schemes(report);
    if !lines.is_empty() {
        line(out, "");
        head(out, &SCHEMES);
        for entry in lines {
            table_line(out, &entry.map(|cell| escape(&cell)));
        }
        line(out, &format!("\n{}", escape(&what_schemes_are(report))));
    }
    paragraph(out, "\n## How far to trust it");
    for sentence in checks(report) {
        line(out, &format!("- {}", escape(&sentence.text)));
    }
}

fn beside_the_paper(out: &mut String, report: &Report) {
    paragraph(out, "\n## Beside the paper of 2023");
    paragraph(out, &caveat(report));
    for quantity in &QUANTITIES {
        paragraph(out, &format!("**{}**", quantity.heading()));
        head(out, &["framework", "path"].into_iter().chain(VARIANTS.map(variant_name)).collect::<Vec<_>>());
        for (framework, lines) in table(report, quantity) {
            for entry in lines {
                let cells = std::iter::once(&entry.label).chain(&entry.cells);
                table_line(out, &of_paper(framework, cells, entry.is_paper));
            }
        }
        line(out, "");
    }
    paragraph(out, "**Operator profile of an inference**");
    head(out, &["framework", "path", "ms", "in convolutions, %", "in quantizing and dequantizing, %"]);
    for (framework, lines) in profile_table(report) {
        for (label, is_paper, numbers) in lines {
            table_line(out, &of_paper(framework, std::iter::once(&label).chain(&numbers), is_paper));
        }
    }
    paragraph(out, &format!("\n{ISSUES}"));
}

/// A line of a table with the paper's numbers in italics.
fn of_paper<'a>(
    framework: Framework,
    cells: impl Iterator<Item = &'a String>,
    is_paper: bool,
) -> Vec<String> {
    let mark = if is_paper { "*" } else { "" };
    let cells = cells.map(|cell| format!("{mark}{}{mark}", escape(cell)));
    std::iter::once(framework.title().to_owned()).chain(cells).collect()
}

/// A table of rows with their framework, path, scheme and status before what `cells` makes of each.
fn rows_table<'a>(
    out: &mut String,
    columns: &[&str],
    rows: &[Row<'a>],
    cells: impl Fn(&Row<'a>) -> Option<Vec<String>>,
) {
    head(
        out,
        &["framework", "path and scheme", "weights", "status"]
            .into_iter()
            .chain(columns.iter().copied())
            .collect::<Vec<_>>(),
    );
    for row in rows {
        let Some(cells) = cells(row) else { continue };
        let weights = if row.weights == Origin::Own { "own" } else { "shared" };
        let first = [
            row.framework.title().to_owned(),
            escape(&row.name()),
            weights.to_owned(),
            row.status_name().to_owned(),
        ];
        table_line(out, &first.into_iter().chain(cells).collect::<Vec<_>>());
    }
    line(out, "");
}

fn accuracy(out: &mut String, report: &Report) {
    let all = rows(report);
    let tables = [
        ("## Accuracy: one set of weights in all frameworks", shared(report, &all)),
        ("## Accuracy: each framework's own training", own(&all)),
    ];
    let columns = [
        "top-1 % [95 %]",
        "less float's, points [95 %]",
        "gained, lost",
        "McNemar's p",
        "agreement with float %",
    ];
    for (title, rows) in tables.iter().filter(|(_, rows)| !rows.is_empty()) {
        paragraph(out, title);
        rows_table(out, &columns, rows, |row| {
            let moved: Vec<String> = row
                .against_float()
                .filter_map(|against| Some(format!("+{} -{}", against.gained?, against.lost?)))
                .collect();
            Some(vec![
                text(row.accuracy(), percent2),
                text(row.difference(), points),
                if moved.is_empty() { MISSING.to_owned() } else { moved.join("; ") },
                escape(&row.mcnemar()),
                plain(row.agreement(), percent2),
            ])
        });
    }
    paragraph(
        out,
        &format!(
            "Accuracy is top-1 on the test split with Wilson's 95 % interval. The difference is to {FLOAT_MODEL}, on the same \
             samples, with the bootstrap's 95 % interval; p is of McNemar's exact test. Of several seeds the mean is given, \
             with ± the standard deviation; the summary has Wilson's interval at the mean, with the size of the test split, \
             which all seeds share, and tests the gained and lost samples of all seeds together."
        ),
    );
}

fn speed(out: &mut String, report: &Report) {
    paragraph(out, "## Speed and memory");
    let columns = [
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "time / float [95 %]",
        "samples / s in batches",
        "first inference s",
        "s / epoch",
        "QAT step / float step [95 %]",
        "PTQ s",
        "calibration samples / s",
        "memory MiB: training",
        "quantizing",
        "running",
    ];
    let all = rows(report);
    rows_table(out, &columns, &all, |row| {
        let latency = |get: fn(&crate::report::LatencyMetrics) -> f64| {
            row.latency().map_or_else(|| MISSING.to_owned(), |latency| three(get(latency)))
        };
        let mut cells = vec![
            latency(|latency| latency.p50),
            latency(|latency| latency.p90),
            latency(|latency| latency.p99),
            text(row.to_float(), ratio),
            plain(row.throughput(), three),
            plain(row.first_inference(), three),
            plain(row.seconds_per_epoch(), three),
            text(row.overhead(), ratio),
            plain(row.calibration(), three),
            plain(row.calibration_rate(), three),
        ];
        cells.extend(row.memory().map(|memory| plain(memory, mebibytes)));
        Some(cells)
    });
    paragraph(
        out,
        &format!(
            "Latency is of one inference at batch 1, from float32 input to float32 logits, in interleaved blocks; its ratio is \
             to {FLOAT_MODEL}, paired by round, with the bootstrap's 95 % interval.{} PTQ s are the seconds to prepare, \
             calibrate and convert; calibration samples / s are of calibrating alone. Memory is resident memory above that of \
             the idle process. MiB are 1,048,576 bytes.",
            untimed(&all).map_or_else(String::new, |text| format!(" {text}"))
        ),
    );
}

fn size(out: &mut String, report: &Report) {
    paragraph(out, "## Size and share of 8 bit");
    let columns = [
        "file MiB",
        "file / float ONNX",
        "weights in memory MiB",
        "weights held in 8 bit %",
        "multiplied in 8 bit %",
        "multiply-accumulates in 8 bit %",
    ];
    let whole = report.model.onnx_bytes as f64;
    rows_table(out, &columns, &rows(report), |row| {
        let shares = |get: fn(crate::report::IntegerShares) -> f64| {
            plain(row.number(|metrics| metrics.integer.map(get)), percent)
        };
        Some(vec![
            plain(row.file_bytes(), mebibytes),
            plain(row.file_bytes(), |bytes| ratio(bytes / whole)),
            plain(row.number(|metrics| metrics.weight_bytes.map(|bytes| bytes as f64)), mebibytes),
            shares(|shares| shares.stored_weights),
            shares(|shares| shares.weights),
            shares(|shares| shares.macs),
        ])
    });
}

fn profiles(out: &mut String, report: &Report) {
    let profile = |row: &Row<'_>| row.metrics().find_map(|metrics| metrics.profile.clone());
    let rows: Vec<Row<'_>> = rows(report).into_iter().filter(|row| profile(row).is_some()).collect();
    if rows.is_empty() {
        return;
    }
    paragraph(out, "## Where the time goes");
    let columns = ["profiled ms", "residual ms", "residual %", "by kind: µs (%)"];
    rows_table(out, &columns, &rows, |row| {
        let profile = profile(row)?;
        let kinds: Vec<String> = kind_lines(&profile)
            .into_iter()
            .map(|[kind, _, time, share]| format!("{kind} {time} ({share})"))
            .collect();
        let residual = profile.residual_nanoseconds();
        Some(vec![
            three(profile.wall_nanoseconds / 1e6),
            three(residual / 1e6),
            fixed(100.0 * residual / profile.wall_nanoseconds, 1),
            escape(&kinds.join(", ")),
        ])
    });
}

/// The recipes, those of the same text together.
fn recipes(out: &mut String, report: &Report) {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for row in rows(report) {
        let Some(recipe) =
            row.metrics().map(|metrics: &Metrics| &metrics.recipe).find(|recipe| !recipe.is_empty())
        else {
            continue;
        };
        let name = row.distinct_name(report);
        match groups.iter_mut().find(|(text, _)| text == recipe) {
            Some((_, names)) => names.push(name),
            None => groups.push((recipe.clone(), vec![name])),
        }
    }
    if groups.is_empty() {
        return;
    }
    paragraph(out, "## Recipes");
    for (recipe, names) in groups {
        paragraph(out, &escape(&names.join(", ")));
        code(out, "", &recipe, "");
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
    head(out, &["gate", "seed", "framework", "against", "on", "difference", "allowed", "passed"]);
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

fn head(out: &mut String, names: &[&str]) {
    table_line(out, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    table_line(out, &names.iter().map(|_| String::from("---")).collect::<Vec<_>>());
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
