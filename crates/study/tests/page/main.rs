//! The page in a real browser: on a desk, on a phone, in the dark, and what its links lead to.

mod browser;
mod fixture;

use std::env;
use std::fs;
use std::path::Path;

use calipers_study::report::{Status, html};
use serde_json::Value;

/// Looks at the page from inside.
const HARNESS: &str = include_str!("harness.js");
/// Width of a phone's screen.
const PHONE: u32 = 390;
/// Layers of the paper's ResNet18 that have weights.
const LAYERS: usize = 22;
/// Contrast of text that WCAG 2.1 asks for (success criterion 1.4.3).
const CONTRAST: f64 = 4.5;
/// Charts of a study in which everything was measured.
const CHARTS: [&str; 14] = [
    "paper-accuracy",
    "paper-latency-gpu",
    "paper-latency",
    "paper-size",
    "paper-training",
    "paper-calibration",
    "trade",
    "difference-shared",
    "difference-own",
    "latency",
    "throughput",
    "bytes",
    "integer-work",
    "operator-profiles",
];

/// What the harness found in the page at a width, opened at a place of it.
fn looked_at(chromium: &Path, page: &str, width: u32, place: &str, flags: &[&str]) -> Value {
    let (head, policy) = ("<meta name=\"viewport\"", "default-src 'none'; ");
    assert!(page.contains(head) && page.contains(policy) && !page.contains("script-src"));
    let allowed = page.replacen(policy, "default-src 'none'; script-src 'nonce-harness'; ", 1);
    let page = allowed.replacen(head, &format!("<script nonce=\"harness\">{HARNESS}</script>\n{head}"), 1);
    browser::findings(chromium, &page, width, place, flags)
}

#[test]
fn a_reader_sees_every_chart_on_every_screen() {
    let Some(chromium) = browser::chromium() else {
        println!("left out: the page in a browser (no chromium on this machine)");
        return;
    };
    let report = fixture::report(3);
    let page = html(&report);
    let measured = report.cells.iter().filter(|cell| cell.status == Status::Ok).count();
    let wide = looked_at(&chromium, &page, 1280, "", &[]);
    let phone = looked_at(&chromium, &page, PHONE, "", &[]);
    let dark = looked_at(&chromium, &page, 1280, "cell-tensorflow-tflite-ptq-static", &["--force-dark-mode"]);
    for found in [&wide, &phone, &dark] {
        assert_eq!(found["errors"], Value::Array(Vec::new()));
        for chart in CHARTS {
            assert_eq!(found["charts"][chart], true, "{chart}: {}", found["charts"]);
        }
        assert_eq!(found["histograms"], measured);
        assert_eq!(
            (&found["drawnInCells"], &found["inCells"]),
            (&Value::from(3 * measured), &Value::from(3 * measured))
        );
        for nothing in [
            "sideways",
            "sidewaysAllOpen",
            "widest",
            "skippedHeadings",
            "unnamedPictures",
            "unreachable",
            "nameless",
        ] {
            assert_eq!(found[nothing], 0, "{nothing}");
        }
        assert_eq!(found["first"], "skip", "the first stop of the keyboard leads past the navigation");
        assert_eq!(found["followed"]["address"], "#cell-pytorch-eager-float");
        assert_eq!(found["followed"]["open"], true, "a link opens what it leads to");
        for (what, contrast) in found["legibility"].as_object().expect("samples of text") {
            assert!(contrast.as_f64().is_some_and(|contrast| contrast >= CONTRAST), "{what}: {contrast}");
        }
        assert!(found["narrowest"].as_f64().is_some_and(|width| width > 50.0), "{}", found["narrowest"]);
        assert!(found["smallest"].as_f64().is_some_and(|height| height > 10.0), "{}", found["smallest"]);
    }
    assert_eq!((&wide["dark"], &dark["dark"]), (&Value::Bool(false), &Value::Bool(true)));
    assert_eq!((&wide["opened"], &dark["opened"]), (&Value::Null, &Value::Bool(true)));
    let sections = [
        "summary", "paper", "accuracy", "speed", "memory", "size", "profiles", "weights", "cells", "gates",
        "made",
    ];
    assert_eq!(wide["sections"], Value::from(sections.to_vec()));
}

#[test]
fn a_full_study_makes_a_page_that_can_be_mailed() {
    let report = fixture::report(LAYERS);
    assert!(report.cells.len() >= 55, "{} cells", report.cells.len());
    let page = html(&report);
    assert!(page.len() < 6_000_000, "{} bytes", page.len());
    assert!(html(&fixture::with_second_seed(report)).len() < 6_000_000);
    // For looking at it: the variable names a file.
    if let Some(path) = env::var_os("CALIPERS_STUDY_PAGE") {
        fs::write(path, &page).expect("the page is written where it was asked for");
    }
}
