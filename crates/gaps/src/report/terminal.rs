//! The report as text for a terminal, at most 120 columns wide and without colours.

use std::collections::BTreeMap;

use calipers_inspect::table::{Align, Table};

use crate::framework::Framework;
use crate::report::legend::{Kind, MARK_WIDTH, answer, today_sign};
use crate::report::markdown::reason;
use crate::report::plain::{counted, one_line};
use crate::report::summary::{
    change_line, command, frameworks, headline, model_line, model_on_paths, questions, sentences, span,
    tally, versions,
};
use crate::report::{Cell, Change, PathFacts, Report};

/// Columns of the terminal.
const WIDTH: usize = 110;
/// Columns of a layer's name.
const NAME: usize = 38;
/// Columns of a cell.
const CELL: usize = MARK_WIDTH + 1;
/// Lines of a list of changes.
const LISTED: usize = 20;
/// A matrix has its gaps in words beside it, up to so many.
const EXPLAINED: usize = 24;

/// What the command prints: the matrix of each framework, what the marks mean, changes, the model, and at the end what
/// matters most.
pub fn terminal(report: &Report) -> String {
    let mut out = String::new();
    for framework in frameworks(report) {
        matrix(&mut out, report, framework);
    }
    legend(&mut out, report);
    explained(&mut out, report);
    capabilities(&mut out, report);
    paper(&mut out, report);
    changes(&mut out, report);
    model(&mut out, report);
    for (framework, packages) in versions(report) {
        out.push_str(&wrapped("", &format!("{}: {packages}", framework.title()), "    "));
    }
    out.push_str(&wrapped("", &format!("{}  ({} of probes)", command(report), span(report.seconds)), "    "));
    out.push('\n');
    for sentence in sentences(report) {
        out.push_str(&wrapped("", &sentence.text, "    "));
    }
    out.push_str(&wrapped("", &headline(report).text, "    "));
    out
}

fn heading(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// Layers by numbered paths, in blocks that fit the width.
fn matrix(out: &mut String, report: &Report, framework: Framework) {
    let cells: Vec<&Cell> = report.cells.iter().filter(|cell| cell.framework == framework).collect();
    if cells.is_empty() || tally(cells.iter().copied()).not_installed == cells.len() {
        return;
    }
    let places: BTreeMap<(&str, &str), &Cell> =
        cells.iter().map(|cell| ((cell.path.as_str(), cell.layer.as_str()), *cell)).collect();
    let paths: Vec<(usize, &PathFacts)> =
        (1..).zip(report.paths.iter().filter(|path| path.framework == framework)).collect();
    heading(out, framework.title());
    for block in paths.chunks((WIDTH - NAME) / CELL) {
        let mut head = " ".repeat(NAME);
        for (number, _) in block {
            head.push_str(&format!("{number:>CELL$}"));
        }
        heading(out, head.trim_end());
        let mut group = None;
        for layer in &report.layers {
            let marks: Vec<Option<Kind>> = block
                .iter()
                .map(|(_, path)| places.get(&(path.name.as_str(), layer.name.as_str())))
                .map(|cell| cell.map(|cell| Kind::of(cell)))
                .collect();
            if marks.iter().all(Option::is_none) {
                continue;
            }
            if group != Some(&layer.group) {
                group = Some(&layer.group);
                heading(out, &format!(" {}", one_line(&layer.group, NAME)));
            }
            let mut row = format!("  {:<width$}", one_line(&layer.name, NAME - 3), width = NAME - 2);
            for kind in marks {
                let mark = kind.map_or_else(String::new, Kind::mark);
                // The symbol stands under the last digit of its number, the sign of a broken promise after it.
                let symbol: String = mark.chars().take(1).collect();
                let sign = mark.chars().nth(1);
                if let Some(sign) = sign {
                    row.push_str(&format!("{symbol:>width$}{sign}", width = CELL - 1));
                } else {
                    row.push_str(&format!("{symbol:>width$} ", width = CELL - 1));
                }
            }
            heading(out, row.trim_end());
        }
    }
    let key: Vec<String> =
        paths.iter().map(|(number, path)| format!("{number:>2} {}", one_line(&path.name, 40))).collect();
    out.push_str(&columns(&key));
    out.push('\n');
}

/// Short texts beside each other, downwards first.
fn columns(texts: &[String]) -> String {
    let widest = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0) + 2;
    let across = ((WIDTH - 2) / widest.max(1)).clamp(1, texts.len().max(1));
    let down = texts.len().div_ceil(across);
    let mut out = String::new();
    for line in 0..down {
        let row: String =
            texts.iter().skip(line).step_by(down).map(|text| format!("{text:<widest$}")).collect();
        out.push_str(&format!("  {}\n", row.trim_end()));
    }
    out
}

fn legend(out: &mut String, report: &Report) {
    let all = tally(report.cells.iter());
    if all.kinds.is_empty() {
        return;
    }
    let frameworks = frameworks(report);
    let titles = frameworks.iter().map(|it| (it.title(), Align::Right));
    let mut table = Table::new(
        [("", Align::Left), ("state", Align::Left)].into_iter().chain(titles).chain([("", Align::Left)]),
    );
    for (kind, _) in &all.kinds {
        let counts = frameworks.iter().map(|framework| {
            let cells = report.cells.iter().filter(|cell| cell.framework == *framework);
            match cells.filter(|cell| kind.is_of(Kind::of(cell))).count() {
                0 => String::new(),
                count => count.to_string(),
            }
        });
        let gap = String::from(if kind.gap { "gap" } else { "" });
        table.row([kind.mark(), kind.title().to_owned()].into_iter().chain(counts).chain([gap]));
    }
    out.push_str(&table.text());
    out.push('\n');
}

/// The gaps of a small run in words; of a large one, how to see them.
fn explained(out: &mut String, report: &Report) {
    let gaps: Vec<&Cell> = report.cells.iter().filter(|cell| cell.gap).collect();
    if gaps.len() > EXPLAINED {
        let key = gaps[0].key();
        out.push_str(&wrapped(
            "",
            &format!("`calipers gaps show {key}` gives the evidence of a cell, `--script` the script that shows it."),
            "    ",
        ));
    } else {
        for cell in &gaps {
            let why = reason(cell);
            let why = if why.is_empty() { why } else { format!(": {why}") };
            let text = format!("{}, {}{why}", cell.key(), cell.state);
            out.push_str(&wrapped(&format!("{:<3}", Kind::of(cell).mark()), &text, "    "));
        }
    }
    if !gaps.is_empty() {
        out.push('\n');
    }
}

fn capabilities(out: &mut String, report: &Report) {
    if report.capabilities.is_empty() {
        return;
    }
    let mut frameworks = frameworks(report);
    frameworks.retain(|framework| report.capabilities.iter().any(|it| it.framework == *framework));
    let titles = frameworks.iter().map(|it| (it.title(), Align::Left));
    let mut table = Table::new(std::iter::once(("capability", Align::Left)).chain(titles));
    for (question, answers) in questions(report, &frameworks) {
        let answers = answers.into_iter().map(|found| {
            found.map_or_else(String::new, |found| {
                let (sign, word) = answer(found.answer);
                format!("{sign} {word}")
            })
        });
        table.row(std::iter::once(one_line(&question.name, 40)).chain(answers));
    }
    out.push_str(&table.text());
    out.push('\n');
}

fn paper(out: &mut String, report: &Report) {
    if report.paper.is_empty() {
        return;
    }
    let mut table = Table::new([("in 2023", Align::Left), ("", Align::Left), ("today", Align::Left)]);
    for row in &report.paper {
        let today = format!("{} {}", today_sign(row.today), row.today.title());
        table.row([row.framework.title().to_owned(), one_line(&row.statement, 68), today]);
    }
    out.push_str(&table.text());
    out.push('\n');
}

fn changes(out: &mut String, report: &Report) {
    let Some(changes) = &report.changes else { return };
    out.push_str(&wrapped("", &change_line(changes), "    "));
    let lists = [("closed", &changes.closed), ("opened", &changes.opened), ("moved ", &changes.moved)];
    for (title, list) in lists {
        for Change { cell, then, now } in list.iter().take(LISTED) {
            out.push_str(&wrapped(
                &format!("  {title}  "),
                &format!("{cell}: {then} -> {now}"),
                "          ",
            ));
        }
        if list.len() > LISTED {
            heading(out, &format!("  {title}  and {} more", list.len() - LISTED));
        }
    }
    for (framework, package, then, now) in &changes.versions {
        let version = |version: &Option<String>| version.clone().unwrap_or_else(|| String::from("none"));
        let text = format!("{}, {package}: {} -> {}", framework.title(), version(then), version(now));
        out.push_str(&wrapped("  version ", &text, "          "));
    }
    out.push('\n');
}

fn model(out: &mut String, report: &Report) {
    let Some(needs) = &report.model else { return };
    let mut table = Table::new([("layer", Align::Left), ("gaps", Align::Right), ("nodes", Align::Left)]);
    let nodes = |nodes: &[String]| one_line(&nodes.join(", "), 64);
    for (layer, names) in &needs.layers {
        let of: Vec<&Cell> = report.cells.iter().filter(|cell| &cell.layer == layer).collect();
        let gaps = of.iter().filter(|cell| cell.gap).count();
        table.row([one_line(layer, NAME), format!("{gaps} of {}", of.len()), nodes(names)]);
    }
    for (operator, names) in &needs.not_probed {
        table.row([one_line(operator, NAME), String::from("?"), nodes(names)]);
    }
    out.push_str(&table.text());
    let mut table = Table::new([("path", Align::Left), ("gaps for this model", Align::Left)]);
    for path in model_on_paths(report, needs) {
        let mut words: Vec<String> =
            path.gaps.iter().map(|cell| format!("{} {}", Kind::of(cell).mark(), cell.layer)).collect();
        if path.unknown > 0 {
            words.push(format!("? {} not tried", counted(path.unknown, "layer", "layers")));
        }
        let gaps = if words.is_empty() { String::from("✓ none") } else { one_line(&words.join(", "), 70) };
        table.row([format!("{}/{}", path.framework, path.path), gaps]);
    }
    out.push_str(&table.text());
    out.push_str(&wrapped("", &model_line(report, needs).text, "    "));
    out.push('\n');
}

/// Text after a start, broken at spaces, later lines indented; control characters, which could steer the terminal, are gone.
fn wrapped(start: &str, text: &str, indent: &str) -> String {
    let clean = one_line(text, 4000);
    let mut out = String::new();
    let mut line = start.to_owned();
    let mut is_empty = true;
    for word in clean.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        if !is_empty && line.chars().count() + 1 + word.len() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = indent.to_owned();
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        // A word that is longer than the line is cut.
        while line.chars().count() + word.len() > WIDTH {
            let rest = word.split_off(WIDTH - line.chars().count());
            out.push_str(&line);
            out.extend(word);
            out.push('\n');
            line = indent.to_owned();
            word = rest;
        }
        line.extend(word);
        is_empty = false;
    }
    out.push_str(&line);
    out.push('\n');
    out
}
