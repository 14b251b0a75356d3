//! The shorter parts of the page: the model, changes, paths, controls, and where and how the run was made.

use std::fmt::Write as _;

use calipers_inspect::escape;
use calipers_inspect::number::percent;

use super::Links;
use super::matrix::swatch;
use crate::framework::Framework;
use crate::report::legend::Kind;
use crate::report::plain::{counted, one_line};
use crate::report::summary::{
    Tally, change_line, command, frameworks, model_line, model_on_paths, span, tally,
};
use crate::report::{Change, Report};

/// Opens a table of words inside a box that scrolls.
fn open_table(out: &mut String, label: &str, head: &[&str]) {
    let _ = write!(
        out,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">\n<table class=\"words\">\n<thead><tr>",
        escape(label)
    );
    for name in head {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escape(name));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
}

const CLOSE_TABLE: &str = "</tbody>\n</table>\n</div>\n";

/// Kinds of cells as a bar whose parts are as long as they are many.
pub(super) fn composition(tally: &Tally) -> String {
    let mut kinds = tally.kinds.clone();
    kinds.sort_by_key(|(kind, _)| kind.gap);
    let words: Vec<String> = kinds.iter().map(|(kind, count)| kind.counted(*count)).collect();
    let mut out = format!(
        "<svg class=\"composition\" viewBox=\"0 0 {} 10\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">",
        tally.cells.max(1),
        escape(&words.join(", "))
    );
    let mut x = 0;
    for (kind, count) in kinds {
        let gap = if kind.gap { " gap" } else { "" };
        let _ = write!(
            out,
            "<rect class=\"{}{gap}\" x=\"{x}\" y=\"0\" width=\"{count}\" height=\"10\"><title>{}</title></rect>",
            kind.word(),
            escape(&kind.counted(count))
        );
        x += count;
    }
    out.push_str("</svg>");
    out
}

/// What one model needs.
pub(super) fn model(out: &mut String, report: &Report) {
    let Some(needs) = &report.model else { return };
    let _ = writeln!(
        out,
        "<section id=\"model\">\n<h2>What the model needs</h2>\n<p>{}.</p>",
        escape(&model_line(report, needs).text)
    );
    open_table(out, "Layers of the model", &["Layer", "Nodes", "Gaps"]);
    for (layer, nodes) in &needs.layers {
        let of: Vec<_> = report.cells.iter().filter(|cell| &cell.layer == layer).collect();
        let gaps = of.iter().filter(|cell| cell.gap).count();
        let title = report.layers.iter().find(|it| &it.name == layer).map_or(layer, |it| &it.title);
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td data-label=\"nodes\">{}</td><td data-label=\"gaps\">on {gaps} of {}</td></tr>",
            escape(title),
            names(nodes),
            counted(of.len(), "path", "paths")
        );
    }
    for (operator, nodes) in &needs.not_probed {
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td data-label=\"nodes\">{}</td><td>? no layer of the matrix stands for this operator</td></tr>",
            escape(&one_line(operator, 200)),
            names(nodes)
        );
    }
    out.push_str(CLOSE_TABLE);
    out.push_str("<h3>Path by path</h3>\n");
    open_table(out, "The model on each path", &["Path", "Gaps"]);
    for path in model_on_paths(report, needs) {
        let mut gaps: Vec<String> = path
            .gaps
            .iter()
            .map(|cell| {
                format!(
                    "{} <a href=\"#{}\">{}</a> ({})",
                    swatch(Kind::of(cell)),
                    escape(&cell.key()),
                    escape(&cell.layer),
                    escape(&cell.state.to_string())
                )
            })
            .collect();
        if path.unknown > 0 {
            gaps.push(format!("? {} not tried", counted(path.unknown, "layer", "layers")));
        }
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}<small>{}</small></th><td>{}</td></tr>",
            escape(path.path),
            escape(path.framework.title()),
            if gaps.is_empty() { String::from("✓ none") } else { gaps.join(", ") }
        );
    }
    out.push_str(CLOSE_TABLE);
    out.push_str("</section>\n");
}

/// A few names, and the others behind a line to open.
fn names(nodes: &[String]) -> String {
    const SHOWN: usize = 4;
    let code = |name: &String| format!("<code>{}</code>", escape(&one_line(name, 200)));
    let words = |names: &[String]| names.iter().map(code).collect::<Vec<_>>().join(", ");
    if nodes.len() <= SHOWN + 1 {
        return words(nodes);
    }
    format!(
        "{}<details><summary>and {} more</summary>{}</details>",
        words(&nodes[..SHOWN]),
        nodes.len() - SHOWN,
        words(&nodes[SHOWN..])
    )
}

/// What is different from an older run.
pub(super) fn changes(out: &mut String, report: &Report, links: &Links) {
    let Some(changes) = &report.changes else { return };
    let _ = writeln!(
        out,
        "<section id=\"changes\">\n<h2>What changed</h2>\n<p>{}.</p>",
        escape(&change_line(changes))
    );
    let lists = [
        ("Closed gaps", &changes.closed),
        ("Opened gaps", &changes.opened),
        ("Other states", &changes.moved),
    ];
    for (title, list) in lists {
        if list.is_empty() {
            continue;
        }
        let _ = writeln!(out, "<details open><summary>{title} ({})</summary>", list.len());
        open_table(out, title, &["Cell", "Then", "Now"]);
        for Change { cell, then, now } in list {
            let _ = writeln!(
                out,
                "<tr><th scope=\"row\">{}</th><td data-label=\"then\">{} {then}</td>\
                 <td data-label=\"now\">{} {now}</td></tr>",
                links.to(cell),
                then.symbol(),
                now.symbol()
            );
        }
        out.push_str(CLOSE_TABLE);
        out.push_str("</details>\n");
    }
    if !changes.versions.is_empty() {
        let _ = writeln!(out, "<details open><summary>Versions ({})</summary>", changes.versions.len());
        open_table(out, "Versions", &["Package", "Then", "Now"]);
        for (framework, package, then, now) in &changes.versions {
            let version =
                |version: &Option<String>| version.as_ref().map_or("none".to_owned(), |it| one_line(it, 120));
            let _ = writeln!(
                out,
                "<tr><th scope=\"row\">{}<small>{}</small></th><td data-label=\"then\">{}</td><td data-label=\"now\">{}</td></tr>",
                escape(&one_line(package, 120)),
                escape(framework.title()),
                escape(&version(then)),
                escape(&version(now))
            );
        }
        out.push_str(CLOSE_TABLE);
        out.push_str("</details>\n");
    }
    if !changes.gone.is_empty() {
        let gone: Vec<String> =
            changes.gone.iter().map(|key| format!("<code>{}</code>", escape(key))).collect();
        let _ = writeln!(
            out,
            "<details><summary>Only in the older run ({})</summary><p class=\"refs\">{}</p></details>",
            gone.len(),
            gone.join(" ")
        );
    }
    let _ = writeln!(
        out,
        "<p class=\"fine\">{} only in this run.</p>\n</section>",
        match changes.added {
            1 => String::from("1 cell is"),
            count => format!("{count} cells are"),
        }
    );
}

/// What each path promises, and how much of it is kept.
pub(super) fn paths(out: &mut String, report: &Report) {
    if report.cells.is_empty() {
        return;
    }
    out.push_str(
        "<section id=\"paths\">\n<h2>Path by path</h2>\n<p>What each path promises, and on how many layers it is so.</p>\n",
    );
    let head = ["Path", "What it is", "Promise", "As promised", "States"];
    open_table(out, "Paths", &head);
    for framework in frameworks(report) {
        let _ = writeln!(
            out,
            "<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"{}\">{}</th></tr>",
            head.len(),
            escape(framework.title())
        );
        for path in report.paths.iter().filter(|path| path.framework == framework) {
            let of = report.cells.iter().filter(|cell| cell.framework == framework && cell.path == path.name);
            let tally = tally(of);
            let share = if tally.cells == 0 {
                String::from("not run")
            } else if tally.not_installed == tally.cells {
                String::from("not installed")
            } else {
                let share = percent(tally.kept as f64 / tally.cells as f64);
                format!("{} of {} ({share} %)", tally.kept, tally.cells)
            };
            let _ = writeln!(
                out,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td data-label=\"promise\">{}</td>\
                 <td class=\"number\" data-label=\"as promised\">{share}</td>\
                 <td class=\"bars\">{}</td></tr>",
                escape(&path.name),
                escape(&one_line(&path.title, 200)),
                path.scheme.title(),
                composition(&tally)
            );
        }
    }
    out.push_str(CLOSE_TABLE);
    out.push_str("</section>\n");
}

/// What the detector was tried on.
pub(super) fn controls(out: &mut String, report: &Report) {
    if report.controls.is_empty() {
        return;
    }
    out.push_str(
        "<section id=\"controls\">\n<h2>Controls</h2>\n<p>Probes whose verdict is known before. One that comes out otherwise \
         means that the verdicts of that framework cannot be trusted.</p>\n",
    );
    open_table(out, "Controls", &["Control", "Must come out as", "Came out as", "Passed"]);
    for (index, control) in report.controls.iter().enumerate() {
        let place = report.cells.len() + index;
        let _ = writeln!(
            out,
            "<tr{}><th scope=\"row\"><button type=\"button\" class=\"link\" data-cell=\"{place}\">{}</button>\
             <small>{}, {}</small></th><td data-label=\"must come out as\">{}</td>\
             <td data-label=\"came out as\">{}</td><td data-label=\"passed\">{}</td></tr>",
            if control.passed { "" } else { " class=\"failed\"" },
            escape(&one_line(&control.cell.layer, 200)),
            escape(control.cell.framework.title()),
            escape(&one_line(&control.cell.path, 200)),
            escape(&control.expected.to_string()),
            escape(&control.cell.state.to_string()),
            if control.passed { "✓ yes" } else { "✗ NO" }
        );
    }
    out.push_str(CLOSE_TABLE);
    out.push_str("</section>\n");
}

/// Versions, machine and command.
pub(super) fn environment(out: &mut String, report: &Report) {
    out.push_str("<section id=\"environment\">\n<h2>Environment</h2>\n<dl class=\"facts\">\n");
    let mut fact = |name: &str, value: &str| {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
    };
    for framework in Framework::ALL {
        let Some(packages) = report.versions.get(&framework) else { continue };
        let words: Vec<String> = packages
            .iter()
            .map(|(name, version)| format!("{} {}", one_line(name, 120), one_line(version, 120)))
            .collect();
        fact(framework.title(), &words.join(", "));
    }
    fact("Machine", &one_line(&report.machine, 400));
    fact("Finished", &one_line(&report.finished, 60));
    fact("Time of all probes", &span(report.seconds));
    fact("Document", &format!("gaps.json, schema {}", report.schema));
    let _ = writeln!(
        out,
        "</dl>\n<h3>Command</h3>\n<pre>{}</pre>\n</section>\n<footer class=\"fine\">Calipers {}. This page loads nothing \
         and sends nothing.</footer>",
        escape(&command(report)),
        escape(&one_line(&report.calipers, 80))
    );
}
