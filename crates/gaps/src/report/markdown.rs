//! The report as Markdown, for a README or a wiki.

use std::collections::BTreeMap;

use calipers_inspect::number::three;

use crate::framework::Framework;
use crate::report::legend::{Kind, answer, today_sign};
use crate::report::plain::{counted, one_line};
use crate::report::summary::{
    Sentence, change_line, command, frameworks, headline, model_line, questions, sentences, span, tally,
    versions,
};
use crate::report::{Cell, Change, Report};

/// Characters of a reason in a list.
const REASON: usize = 180;
/// Characters of a finding in a table.
const FINDING: usize = 600;

/// The report as GitHub-flavoured Markdown.
pub fn markdown(report: &Report) -> String {
    let mut out = String::new();
    paragraph(&mut out, "# What each framework cannot quantize");
    paragraph(&mut out, &format!("**{}**", escape(&headline(report).text)));
    let needed = report.model.iter().map(|needs| model_line(report, needs));
    for Sentence { text, .. } in sentences(report).into_iter().chain(needed) {
        line(&mut out, &format!("- {}", escape(&text)));
    }
    if let Some(changes) = &report.changes {
        line(&mut out, &format!("- {}", escape(&change_line(changes))));
    }
    line(&mut out, "");
    legend(&mut out, report);
    for framework in frameworks(report) {
        matrix(&mut out, report, framework);
    }
    model(&mut out, report);
    changes(&mut out, report);
    if !report.paper.is_empty() {
        paragraph(&mut out, "## The table of 2023, today");
        paragraph(&mut out, &paper_table(report));
    }
    capabilities(&mut out, report);
    environment(&mut out, report);
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// The paper's table of 2023, row by row, with what became of it.
pub fn paper_table(report: &Report) -> String {
    let mut out = String::new();
    table_head(&mut out, &["Framework", "In 2023", "Today", "What was found"]);
    for row in &report.paper {
        let evidence = match row.evidence.as_slice() {
            [] => String::new(),
            [only] => format!("<br>{}", code(only)),
            [first, rest @ ..] => format!("<br>{} and {} more", code(first), rest.len()),
        };
        table_line(
            &mut out,
            &[
                format!("{}, {}", row.framework.title(), escape(&one_line(&row.topic, 60))),
                escape(&one_line(&row.statement, FINDING)),
                format!("{} {}", today_sign(row.today), row.today.title()),
                format!("{}{evidence}", escape(&one_line(&row.finding, FINDING))),
            ],
        );
    }
    out
}

fn legend(out: &mut String, report: &Report) {
    let kinds = tally(report.cells.iter()).kinds;
    if kinds.is_empty() {
        return;
    }
    table_head(out, &["", "State", "Cells", "Meaning"]);
    for (kind, count) in kinds {
        let title = match kind.gap {
            true => format!("**{}**", kind.title()),
            false => kind.title().to_owned(),
        };
        table_line(out, &[kind.mark(), title, count.to_string(), escape(kind.meaning())]);
    }
    paragraph(out, "\nBold states are gaps: the layer falls short of what its path promises.");
}

/// Layers by paths, and the gaps in words behind a line to open.
fn matrix(out: &mut String, report: &Report, framework: Framework) {
    let paths: Vec<_> = report.paths.iter().filter(|path| path.framework == framework).collect();
    let cells: Vec<&Cell> = report.cells.iter().filter(|cell| cell.framework == framework).collect();
    paragraph(out, &format!("## {}", framework.title()));
    if tally(cells.iter().copied()).not_installed == cells.len() {
        paragraph(out, "Not installed: nothing was tried.");
        return;
    }
    let places: BTreeMap<(&str, &str), &Cell> =
        cells.iter().map(|cell| ((cell.path.as_str(), cell.layer.as_str()), *cell)).collect();
    let head: Vec<String> =
        std::iter::once(String::from("Layer")).chain(paths.iter().map(|path| code(&path.name))).collect();
    table_line(out, &head);
    let rule: Vec<String> =
        std::iter::once(String::from("---")).chain(paths.iter().map(|_| String::from(":-:"))).collect();
    table_line(out, &rule);
    for layer in &report.layers {
        let marks = paths.iter().map(|path| {
            let cell = places.get(&(path.name.as_str(), layer.name.as_str()));
            cell.map_or_else(String::new, |cell| Kind::of(cell).mark())
        });
        let row: Vec<String> = std::iter::once(escape(&one_line(&layer.title, 100))).chain(marks).collect();
        table_line(out, &row);
    }
    line(out, "");
    gaps(out, report, framework, &cells);
}

/// The gaps of a framework; paths on which a layer comes to the same for the same reason share a line.
fn gaps(out: &mut String, report: &Report, framework: Framework, cells: &[&Cell]) {
    let mut lines: Vec<(&str, String, String, Vec<&str>)> = Vec::new();
    let mut count = 0;
    for cell in cells.iter().filter(|cell| cell.gap) {
        count += 1;
        let state = format!("{} {}", Kind::of(cell).mark(), cell.state);
        let reason = reason(cell);
        let same = lines
            .iter_mut()
            .find(|(layer, of, why, _)| *layer == cell.layer && *of == state && *why == reason);
        match same {
            Some((.., paths)) => paths.push(&cell.path),
            None => lines.push((&cell.layer, state, reason, vec![&cell.path])),
        }
    }
    if count == 0 {
        return;
    }
    let title = framework.title();
    paragraph(
        out,
        &format!("<details><summary>{title}: {}, with reasons</summary>", counted(count, "gap", "gaps")),
    );
    for (layer, state, reason, paths) in lines {
        let title = report.layers.iter().find(|it| it.name == layer).map_or(layer, |it| &it.title);
        let paths: Vec<String> = paths.into_iter().map(code).collect();
        let reason = if reason.is_empty() { reason } else { format!(": {}", escape(&reason)) };
        line(
            out,
            &format!("- **{}** {state} on {}{reason}", escape(&one_line(title, 100)), paths.join(", ")),
        );
    }
    paragraph(out, "\n</details>");
}

/// Why, in a line: the error where there is one.
pub(super) fn reason(cell: &Cell) -> String {
    match cell.error.as_deref().map(str::trim).filter(|error| !error.is_empty()) {
        Some(error) => one_line(error, REASON),
        None => one_line(&cell.evidence.reason, REASON),
    }
}

fn model(out: &mut String, report: &Report) {
    let Some(needs) = &report.model else { return };
    paragraph(out, "## What the model needs");
    table_head(out, &["Layer", "Nodes", "Gaps"]);
    let nodes = |nodes: &[String]| {
        let shown: Vec<String> = nodes.iter().take(4).map(|name| code(name)).collect();
        match nodes.len().saturating_sub(4) {
            0 => shown.join(", "),
            more => format!("{} and {more} more", shown.join(", ")),
        }
    };
    for (layer, names) in &needs.layers {
        let of: Vec<&Cell> = report.cells.iter().filter(|cell| &cell.layer == layer).collect();
        let gaps = of.iter().filter(|cell| cell.gap).count();
        let count = format!("on {gaps} of {}", counted(of.len(), "path", "paths"));
        table_line(out, &[code(layer), nodes(names), count]);
    }
    for (operator, names) in &needs.not_probed {
        table_line(
            out,
            &[code(operator), nodes(names), String::from("? no layer of the matrix stands for it")],
        );
    }
    line(out, "");
}

fn changes(out: &mut String, report: &Report) {
    let Some(changes) = &report.changes else { return };
    paragraph(out, "## What changed");
    paragraph(out, &format!("{}.", escape(&change_line(changes))));
    let lists =
        [("Closed", &changes.closed), ("Opened", &changes.opened), ("Of another state", &changes.moved)];
    if lists.iter().any(|(_, list)| !list.is_empty()) {
        table_head(out, &["", "Cell", "Then", "Now"]);
        for (title, list) in lists {
            for Change { cell, then, now } in list {
                let state = |state: &crate::state::State| format!("{} {state}", state.symbol());
                table_line(out, &[title.to_owned(), code(cell), state(then), state(now)]);
            }
        }
        line(out, "");
    }
    if !changes.versions.is_empty() {
        table_head(out, &["Package", "Then", "Now"]);
        for (framework, package, then, now) in &changes.versions {
            let version = |version: &Option<String>| {
                escape(&version.as_ref().map_or_else(|| String::from("none"), |it| one_line(it, 120)))
            };
            let name = format!("{}, {}", framework.title(), escape(&one_line(package, 120)));
            table_line(out, &[name, version(then), version(now)]);
        }
        line(out, "");
    }
}

fn capabilities(out: &mut String, report: &Report) {
    if report.capabilities.is_empty() {
        return;
    }
    paragraph(out, "## Capabilities");
    let mut frameworks = frameworks(report);
    frameworks.retain(|framework| report.capabilities.iter().any(|it| it.framework == *framework));
    let head: Vec<&str> = std::iter::once("Question").chain(frameworks.iter().map(|it| it.title())).collect();
    table_head(out, &head);
    for (question, answers) in questions(report, &frameworks) {
        let answers = answers.into_iter().map(|found| {
            found.map_or_else(String::new, |found| {
                let (sign, word) = answer(found.answer);
                let numbers: String = found
                    .numbers
                    .iter()
                    .map(|(name, number)| {
                        format!(" ({}: {})", escape(&name.replace('_', " ")), three(*number))
                    })
                    .collect();
                format!("{sign} {word}. {}{numbers}", escape(&one_line(&found.summary, FINDING)))
            })
        });
        let row: Vec<String> =
            std::iter::once(escape(&one_line(&question.title, FINDING))).chain(answers).collect();
        table_line(out, &row);
    }
    line(out, "");
}

fn environment(out: &mut String, report: &Report) {
    paragraph(out, "## Environment");
    for (framework, packages) in versions(report) {
        line(out, &format!("- {}: {}", framework.title(), escape(&packages)));
    }
    line(out, &format!("- Machine: {}", escape(&one_line(&report.machine, 400))));
    line(
        out,
        &format!(
            "- Calipers {}, finished {}, {} of probes",
            escape(&one_line(&report.calipers, 80)),
            escape(&one_line(&report.finished, 60)),
            span(report.seconds)
        ),
    );
    let command = command(report);
    let longest = command.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    paragraph(out, &format!("\n{fence}sh\n{command}\n{fence}"));
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn paragraph(out: &mut String, text: &str) {
    line(out, text.trim_end());
    out.push('\n');
}

fn table_head(out: &mut String, head: &[&str]) {
    table_line(out, &head.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    table_line(out, &head.iter().map(|_| String::from("---")).collect::<Vec<_>>());
}

fn table_line(out: &mut String, cells: &[String]) {
    line(out, &format!("| {} |", cells.join(" | ")));
}

/// A name as code, in a table too.
fn code(name: &str) -> String {
    let name = one_line(name, 200);
    match name.contains(['`', '|', '<', '\\']) {
        true => escape(&name),
        false => format!("`{name}`"),
    }
}

/// Text without a meaning for Markdown or HTML.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '*' | '_' | '`' | '|' | '\\' | '[' | ']' | '~' | '$' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
