//! The page in a real browser: opened, clicked, filtered, and on the screen of a phone.

#[path = "../../../study/tests/page/browser.rs"]
mod browser;
mod large;

use std::env;
use std::fs;
use std::path::Path;

use calipers_gaps::report::{Cell, Report, html};
use serde_json::Value;

/// Drives the page from inside.
const HARNESS: &str = include_str!("harness.js");
/// Width of a phone's screen.
const PHONE: u32 = 390;

fn small() -> Report {
    serde_json::from_str(include_str!("small.json")).expect("the fixture follows the schema")
}

fn scripts(cell: &Cell) -> Vec<String> {
    let shared: String = (0..120).map(|line| format!("# line {line} of </script> every script\n")).collect();
    vec![shared, format!("def path_{}(model): ...\n", cell.path), format!("print({:?})\n", cell.key())]
}

/// What the harness found in the page at a width, opened at a cell.
fn driven(chromium: &Path, page: &str, width: u32, cell: &str) -> Value {
    let head = "<meta name=\"viewport\"";
    assert!(page.contains(head) && page.contains("script-src 'sha256-"));
    let page = page.replacen("script-src ", "script-src 'nonce-harness' ", 1).replacen(
        head,
        &format!("<script nonce=\"harness\">{HARNESS}</script>\n{head}"),
        1,
    );
    browser::findings(chromium, &page, width, cell, &[])
}

fn visible(report: &Report, keep: impl Fn(&Cell) -> bool) -> u64 {
    report.cells.iter().filter(|cell| keep(cell)).count() as u64
}

/// What holds for every page at every size.
fn check(report: &Report, found: &Value) {
    let (columns, rows) = (report.paths.len(), report.layers.len());
    assert_eq!(found["errors"], Value::Array(Vec::new()));
    assert_eq!(
        (found["columns"].as_u64(), found["rows"].as_u64()),
        (Some(columns as u64), Some(rows as u64))
    );
    assert_eq!(found["buttons"].as_u64(), Some(report.cells.len() as u64));
    assert_eq!((found["tabbable"].as_u64(), found["unnamed"].as_u64()), (Some(1), Some(0)));

    let clicked = &found["clicked"];
    let cell =
        report.cells.iter().find(|cell| cell.key() == "pytorch/fx/lstm").expect("the cell of the test");
    assert_eq!(clicked["open"], true);
    let text = clicked["text"].as_str().expect("the evidence");
    assert!(text.contains("fails at convert") && !text.contains("What executed"));
    let line = cell.error.as_deref().and_then(|error| error.lines().next()).expect("its error");
    assert!(text.contains(line), "{text}");
    assert_eq!(clicked["script"], scripts(cell).concat());
    assert_eq!(clicked["elements"], 0, "text of frameworks became elements");
    assert_eq!(found["address"], "#pytorch/fx/lstm");
    assert_eq!(found["focus"], "panel-title");
    assert_eq!((&found["closed"], &found["escaped"]), (&Value::Bool(true), &Value::Bool(true)));
    assert_ne!(found["arrow"], "pytorch/fx/lstm");
    assert!(found["arrow"].as_str().is_some_and(|id| id.starts_with("pytorch/fx/")), "{}", found["arrow"]);

    let of = |name: &str| report.paths.iter().filter(|path| path.framework.name() == name).count();
    let without = &found["withoutTensorFlow"];
    assert_eq!(without["left"], 0);
    assert_eq!(without["columns"].as_u64(), Some((columns - of("tensorflow")) as u64));
    assert_eq!(found["withoutPath"]["columns"].as_u64(), Some(columns as u64 - 1));
    assert_eq!(found["withoutPath"]["shown"], false);
    let named = report.layers.iter().filter(|layer| layer.name.contains("lstm")).count();
    assert_eq!(found["named"]["rows"].as_u64(), Some(named as u64));
    assert_eq!(found["named"]["groups"], 1);
    assert_eq!((&found["nothing"]["rows"], &found["nothing"]["said"]), (&Value::from(0), &Value::Bool(true)));
    assert_eq!(found["gaps"].as_u64(), Some(visible(report, |cell| cell.gap)));
    assert_eq!(found["failing"].as_u64(), Some(visible(report, |cell| cell.state.kind() == "fails")));
    assert_eq!(found["reset"]["columns"].as_u64(), Some(columns as u64));
    assert_eq!(found["reset"]["rows"].as_u64(), Some(rows as u64));
    assert_eq!(found["control"]["open"], true);
    assert!(found["control"]["title"].as_str().is_some_and(|title| title.starts_with("control_quantized")));
    for sideways in ["sideways", "sidewaysAtEnd", "panelSideways"] {
        assert_eq!(found[sideways].as_i64(), Some(0), "{sideways}");
    }
}

#[test]
fn a_reader_finds_the_evidence() {
    let Some(browser) = browser::chromium() else {
        println!("left out: the page in a browser (no chromium on this machine)");
        return;
    };
    let small = small();
    let page = html(&small, &scripts);
    let wide = driven(&browser, &page, 1280, "");
    let phone = driven(&browser, &page, PHONE, "");
    let linked = driven(&browser, &page, 1280, "tensorflow/tflite-int8/lstm");
    for found in [&wide, &phone, &linked] {
        check(&small, found);
    }
    assert_eq!(wide["linked"]["open"], false);
    assert_eq!(linked["linked"]["open"], true);
    assert!(linked["linked"]["text"].as_str().is_some_and(|text| text.contains("11, SIGSEGV")));

    let large = large::large(&small);
    let page = html(&large, &scripts);
    for width in [1280, PHONE] {
        let found = driven(&browser, &page, width, "");
        check(&large, &found);
        assert_eq!(found["matrixScrolls"], true);
    }
}

#[test]
fn a_full_run_makes_a_page_that_can_be_mailed() {
    let report = large::large(&small());
    assert!(report.cells.len() > 2800, "{} cells", report.cells.len());
    let page = html(&report, &scripts);
    assert!(page.len() < 6_000_000, "{} bytes", page.len());
    // For looking at it: the variable names a file.
    if let Some(path) = env::var_os("CALIPERS_GAPS_PAGE") {
        fs::write(path, &page).expect("the page is written where it was asked for");
    }
}
