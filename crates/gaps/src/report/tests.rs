//! The renderings of a hand-made report with a cell in every state and hostile text.

use std::collections::BTreeSet;

use serde_json::Value;

use super::legend::Kind;
use super::summary::{Tone, headline, sentences, tally};
use super::{Cell, Report, SCHEMA, html, markdown, paper_table, terminal};
use crate::state::State;

/// A report with a cell of every kind and what must mean nothing in a page, a table and a terminal.
pub(super) const SMALL: &str = include_str!("../../tests/page/small.json");
const DOCUMENTATION: &str = include_str!("../../../../docs/gaps.md");

pub(super) fn small() -> Report {
    serde_json::from_str(SMALL).expect("the fixture follows the schema")
}

/// Parts that many cells share, and one of their own.
fn scripts(cell: &Cell) -> Vec<String> {
    let shared = String::from("import sys  # </script> & \"quotes\"\n");
    vec![shared, format!("def path_{}(): ...\n", cell.path), format!("print({:?})\n", cell.key())]
}

#[test]
fn the_fixture_has_every_kind_of_cell() {
    let report = small();
    assert_eq!(report.schema, SCHEMA);
    let kinds = tally(report.cells.iter()).kinds;
    let missing: Vec<String> = Kind::all()
        .into_iter()
        .filter(|kind| !kinds.iter().any(|(found, _)| found.is_of(*kind)))
        .map(Kind::mark)
        .collect();
    assert_eq!(missing, ["W"], "a path of weights alone would add a column for nothing else");
    let again = serde_json::to_value(&report).expect("a report is JSON");
    assert_eq!(again, serde_json::from_str::<Value>(SMALL).expect("the fixture is JSON"));
}

#[test]
fn the_documentation_names_every_field_and_state() {
    fn fields(value: &Value, out: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    // Keys that are names of packages, layers and numbers are data.
                    if !matches!(name.as_str(), "versions" | "layers" | "not_probed" | "numbers") {
                        fields(value, out);
                    } else if let Value::Array(list) = value {
                        list.iter().for_each(|value| fields(value, out));
                    }
                    out.insert(name.clone());
                }
            }
            Value::Array(list) => list.iter().for_each(|value| fields(value, out)),
            _ => {}
        }
    }
    let mut names = BTreeSet::new();
    fields(&serde_json::from_str(SMALL).expect("the fixture is JSON"), &mut names);
    let missing: Vec<&String> =
        names.iter().filter(|name| !DOCUMENTATION.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/gaps.md does not name {missing:?}");
    for kind in Kind::all() {
        let (mark, words) = (kind.mark(), kind.state.kind_title());
        assert!(DOCUMENTATION.contains(&format!("`{mark}`")), "docs/gaps.md has no symbol {mark}");
        assert!(DOCUMENTATION.contains(&format!("`{words}")), "docs/gaps.md has no state {words}");
    }
    assert!(DOCUMENTATION.contains(&format!("version {SCHEMA}")));
}

#[test]
fn a_failed_control_comes_first() {
    let mut report = small();
    let first = headline(&report);
    assert_eq!(first.tone, Tone::Bad);
    assert_eq!(first.text, "1 of 3 controls failed: the verdicts on PyTorch cannot be trusted");
    for text in [terminal(&report), markdown(&report), html(&report, &scripts)] {
        assert!(text.contains("CONTROL FAILED"), "{text}");
    }
    report.controls.retain(|control| control.passed);
    assert_eq!(
        headline(&report).text,
        "11 gaps in 16 cells of 4 frameworks; 4 are as promised, 1 not installed"
    );
    assert!(sentences(&report).iter().all(|sentence| sentence.tone != Tone::Bad));
    report.controls.clear();
    let silent = sentences(&report);
    let caution = silent.iter().any(|it| it.tone == Tone::Caution && it.text.contains("No control was run"));
    assert!(caution, "{silent:?}");
}

#[test]
fn what_was_left_out_is_said() {
    let mut report = small();
    let said = |report: &Report| {
        sentences(report).into_iter().map(|sentence| sentence.text).collect::<Vec<_>>().join("\n")
    };
    assert!(said(&report).contains("quick run"));
    // 7 paths of 5 layers, of which one path takes only the embedding, and 16 cells.
    assert!(said(&report).contains("15 cells were not run"), "{}", said(&report));
    report.command = ["calipers", "gaps", "--layer=lstm", "--quickly"].map(str::to_owned).to_vec();
    assert!(said(&report).contains("as --layer asked") && !said(&report).contains("quick run"));
    for cell in &mut report.cells {
        cell.state = State::NotInstalled;
        cell.gap = false;
    }
    assert!(said(&report).contains("PyTorch is not installed: nothing was tried"), "{}", said(&report));
}

#[test]
fn an_empty_run_is_shown() {
    let mut report = small();
    report.cells.clear();
    report.controls.clear();
    report.capabilities.clear();
    report.paper.clear();
    (report.model, report.changes) = (None, None);
    for text in [terminal(&report), markdown(&report), html(&report, &scripts)] {
        assert!(text.contains("No cell was run"), "{text}");
    }
    report.paths.clear();
    report.layers.clear();
    assert!(terminal(&report).contains("No cell was run"));
    assert!(!html(&report, &scripts).is_empty() && !markdown(&report).is_empty());
}

#[test]
fn nothing_steers_the_terminal() {
    let text = terminal(&small());
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 120).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn the_terminal_has_this_form() {
    insta::assert_snapshot!(terminal(&small()));
}

#[test]
fn the_markdown_has_this_form() {
    insta::assert_snapshot!(markdown(&small()));
}

#[test]
fn hostile_text_has_no_meaning_in_markdown() {
    let text = markdown(&small());
    assert!(!text.contains("<script") && !text.contains("<img") && !text.contains("<!--"), "{text}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    // Each line of a table has as many cells as its head.
    let mut columns = 0;
    for line in text.lines() {
        let bars = line.replace("\\|", "").matches('|').count();
        match line.starts_with('|') {
            true if columns == 0 => columns = bars,
            true => assert_eq!(bars, columns, "{line}"),
            false => columns = 0,
        }
    }
    let table = paper_table(&small());
    assert!(text.contains(&table) && table.starts_with('|'), "{table}");
}

#[test]
fn hostile_text_has_no_meaning_in_the_page() {
    let page = html(&small(), &scripts);
    assert_eq!(page.matches("<script").count(), 2, "the data and the program, no other");
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(!page.contains("<img") && !page.contains("<!--"));
    let (_, data) = page.split_once("<script type=\"application/json\" id=\"data\">").expect("the data");
    let (data, _) = data.split_once("</script>").expect("its end");
    let data: Value = serde_json::from_str(data).expect("the data is JSON");
    assert_eq!(data["cells"].as_array().map(Vec::len), Some(small().cells.len() + small().controls.len()));
    // Scripts come out as they went in.
    let parts = data["parts"].as_array().expect("the parts of scripts");
    let first = &small().cells[0];
    let script: String = data["cells"][0]["script"]
        .as_array()
        .expect("the script of a gap")
        .iter()
        .map(|index| parts[index.as_u64().expect("an index") as usize].as_str().expect("a text"))
        .collect();
    assert_eq!(script, scripts(first).concat());
    assert_eq!(
        parts.iter().filter(|part| part.as_str().is_some_and(|it| it.starts_with("import"))).count(),
        1
    );
}

#[test]
fn the_page_without_its_program_has_the_tables() {
    let page = html(&small(), &scripts);
    let (page, _) = page.split_once("<script").expect("a page with scripts");
    for text in [
        "aria-label=\"LSTM, PyTorch fx: fails at convert, a gap\"",
        "Can weights and scales be read after quantization?",
        "Embedding layers are not supported",
        "still true",
        "/encoder/lstm",
        "torchao",
        "calipers gaps --quick --out &#39;an out&#39;\\&#39;&#39;s folder&#39;",
        "fails at prepare",
    ] {
        assert!(page.contains(text), "{text} is not in the page");
    }
    assert!(!page.contains("style=") && !page.contains("onclick"), "the policy forbids both");
}
