//! The matrix of the page: layers in groups, paths under their frameworks, a button for each cell.

use std::collections::HashMap;
use std::fmt::Write as _;

use calipers_inspect::escape;

use crate::framework::Framework;
use crate::report::legend::Kind;
use crate::report::plain::{counted, one_line};
use crate::report::summary::{belongs, tally};
use crate::report::{Cell, PathFacts, Report};

/// Cells by framework, path and layer, with their places in the report.
type Places<'a> = HashMap<(Framework, &'a str, &'a str), (usize, &'a Cell)>;

/// The legend, the filters and the table.
pub(super) fn matrix(out: &mut String, report: &Report) {
    out.push_str("<section id=\"matrix\">\n<h2>The matrix</h2>\n");
    if report.cells.is_empty() {
        out.push_str("<p>No cell was run.</p>\n</section>\n");
        return;
    }
    legend(out, report);
    filters(out, report);
    table(out, report);
    out.push_str("</section>\n");
}

fn legend(out: &mut String, report: &Report) {
    out.push_str(
        "<p class=\"help\">Rows are layers, columns are the paths of each framework. A framed symbol is a gap: the layer \
         falls short of what its path promises.<span class=\"script-only\"> Open a cell for its evidence and for the \
         script that shows it; arrow keys move between cells.</span></p>\n\
         <noscript><p class=\"help\">Without JavaScript the evidence is not shown here; it stands in \
         <code>gaps.json</code> beside this page.</p></noscript>\n\
         <details class=\"legend\" open><summary>What the symbols mean</summary>\n<dl>\n",
    );
    for kind in Kind::all() {
        let count = kind.count(report);
        let _ = writeln!(
            out,
            "<div{}><dt>{} <strong>{}</strong> <span class=\"count\">{count}</span></dt><dd>{}</dd></div>",
            if count == 0 { " class=\"absent\"" } else { "" },
            swatch(kind),
            escape(kind.title()),
            escape(kind.meaning())
        );
    }
    out.push_str("</dl></details>\n");
}

/// The symbol in its colours, as the matrix has it.
pub(super) fn swatch(kind: Kind) -> String {
    let gap = if kind.gap { " gap" } else { "" };
    format!(
        "<span class=\"swatch {}{gap}\" aria-hidden=\"true\">{}</span>",
        kind.word(),
        text_form(&kind.mark())
    )
}

/// The symbol as text, where a browser would draw a picture.
fn text_form(mark: &str) -> String {
    mark.replace('☠', "☠\u{fe0e}")
}

fn filters(out: &mut String, report: &Report) {
    out.push_str("<form class=\"filters script-only\" id=\"filters\" autocomplete=\"off\">\n");
    out.push_str(
        "<div class=\"line\"><label class=\"search\">Layer <input type=\"search\" name=\"layer\" \
         placeholder=\"lstm, conv, norm\" spellcheck=\"false\"></label>\n\
         <label class=\"chip\"><input type=\"checkbox\" name=\"gaps\"> gaps only</label>\n",
    );
    let frameworks = crate::report::summary::frameworks(report);
    out.push_str("<div class=\"choice\" role=\"group\" aria-label=\"Framework\"><span>Framework</span>");
    for framework in &frameworks {
        let _ = write!(
            out,
            "<label class=\"chip\"><input type=\"checkbox\" name=\"framework\" value=\"{}\" checked> {}</label>",
            framework.name(),
            escape(framework.title())
        );
    }
    out.push_str(
        "</div></div>\n<div class=\"choice\" role=\"group\" aria-label=\"State\"><span>State</span>",
    );
    for (kind, count) in tally(report.cells.iter()).kinds {
        let _ = write!(
            out,
            "<label class=\"chip\"><input type=\"checkbox\" name=\"state\" value=\"{}\" checked> {} {} \
             <span class=\"count\">{count}</span></label>",
            kind.word(),
            swatch(kind),
            escape(kind.title())
        );
    }
    let _ = write!(
        out,
        "<button type=\"button\" class=\"small\" data-none=\"state\">untick all</button></div>\n<details>\
         <summary>Paths <span id=\"paths-shown\"></span></summary>\n"
    );
    for framework in &frameworks {
        let title = escape(framework.title());
        let _ =
            write!(out, "<div class=\"choice\" role=\"group\" aria-label=\"{title}\"><span>{title}</span>");
        for path in report.paths.iter().filter(|path| path.framework == *framework) {
            let _ = write!(
                out,
                "<label class=\"chip\" title=\"{}\"><input type=\"checkbox\" name=\"path\" value=\"{}/{}\" checked> \
                 {}</label>",
                escape(&path.title),
                path.framework,
                escape(&path.name),
                escape(&path.name)
            );
        }
        out.push_str("</div>\n");
    }
    out.push_str(
        "<button type=\"button\" class=\"small\" data-none=\"path\">untick all</button></details>\n<p class=\"shown\"><span \
         id=\"shown\" role=\"status\"></span> <button type=\"reset\" class=\"small\">show all</button></p>\n</form>\n",
    );
}

fn table(out: &mut String, report: &Report) {
    let places: Places<'_> = report
        .cells
        .iter()
        .enumerate()
        .map(|(index, cell)| ((cell.framework, cell.path.as_str(), cell.layer.as_str()), (index, cell)))
        .collect();
    let frameworks = crate::report::summary::frameworks(report);
    let columns: Vec<&PathFacts> = frameworks
        .iter()
        .flat_map(|framework| report.paths.iter().filter(move |path| path.framework == *framework))
        .collect();
    out.push_str(
        "<div class=\"box\" id=\"box\" tabindex=\"0\" role=\"region\" aria-label=\"Matrix of layers and paths\">\n\
         <table class=\"matrix\">\n<thead>\n<tr class=\"frameworks\"><td></td>",
    );
    for framework in &frameworks {
        let span = columns.iter().filter(|path| path.framework == *framework).count();
        if span > 0 {
            let _ = write!(
                out,
                "<th scope=\"colgroup\" colspan=\"{span}\" class=\"first\" data-framework=\"{}\"><span>{}</span></th>",
                framework.name(),
                escape(framework.title())
            );
        }
    }
    out.push_str("</tr>\n<tr class=\"paths\"><th scope=\"col\" class=\"corner\">Layer</th>");
    for (index, path) in columns.iter().enumerate() {
        let _ = write!(
            out,
            "<th scope=\"col\"{} data-path=\"{}/{}\" title=\"{}: {}\"><span>{}</span></th>",
            first(&columns, index),
            path.framework,
            escape(&path.name),
            escape(path.framework.title()),
            escape(&one_line(&path.title, 200)),
            escape(&path.name)
        );
    }
    out.push_str("</tr>\n</thead>\n");
    let mut group = None;
    for layer in &report.layers {
        if group != Some(&layer.group) {
            if group.is_some() {
                out.push_str("</tbody>\n");
            }
            group = Some(&layer.group);
            let _ = writeln!(
                out,
                "<tbody>\n<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"{}\"><span>{}</span></th></tr>",
                columns.len() + 1,
                escape(&layer.group)
            );
        }
        let _ = write!(
            out,
            "<tr data-layer=\"{} {}\"><th scope=\"row\" title=\"{}\"><span>{}</span></th>",
            escape(&layer.name),
            escape(&layer.title),
            escape(&layer.name),
            escape(&layer.title)
        );
        for (index, path) in columns.iter().enumerate() {
            let place = places.get(&(path.framework, path.name.as_str(), layer.name.as_str()));
            cell(out, place.copied(), path, &layer.name, &layer.title, first(&columns, index));
        }
        out.push_str("</tr>\n");
    }
    if group.is_some() {
        out.push_str("</tbody>\n");
    }
    let _ = writeln!(
        out,
        "</table>\n<p id=\"nothing\" hidden>No cell is like that.</p>\n</div>\n<p class=\"fine\">{} × {}, {}.</p>",
        counted(report.layers.len(), "layer", "layers"),
        counted(columns.len(), "path", "paths"),
        counted(report.cells.len(), "cell", "cells")
    );
}

/// A class for the first column of a framework.
fn first(columns: &[&PathFacts], index: usize) -> &'static str {
    match index.checked_sub(1) {
        Some(before) if columns[before].framework == columns[index].framework => "",
        _ => " class=\"first\"",
    }
}

fn cell(
    out: &mut String,
    place: Option<(usize, &Cell)>,
    path: &PathFacts,
    layer: &str,
    title: &str,
    first: &str,
) {
    let Some((index, cell)) = place else {
        let words = match belongs(path.framework, &path.name, layer) {
            true => "not run",
            false => "this path is not for this layer",
        };
        let sign = if words == "not run" { "·" } else { "" };
        let _ = write!(out, "<td{first} title=\"{words}\">{sign}</td>");
        return;
    };
    let kind = Kind::of(cell);
    let words = format!(
        "{}, {} {}: {}, {}",
        one_line(title, 200),
        cell.framework.title(),
        cell.path,
        cell.state,
        if cell.gap { "a gap" } else { "no gap" }
    );
    let words = escape(&words);
    let gap = if cell.gap { " gap" } else { "" };
    let _ = write!(
        out,
        "<td{first} id=\"{}\"><button type=\"button\" class=\"{}{gap}\" data-cell=\"{index}\" title=\"{words}\" \
         aria-label=\"{words}\">{}</button></td>",
        escape(&cell.key()),
        kind.word(),
        text_form(&kind.mark())
    );
}
