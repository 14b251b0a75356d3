//! The verdict on hand-made evidence: the cases that scripts are tested on too, and what only the program judges.

use calipers_workers::protocol::{Ending, Found, Operator, Outcome};
use serde::Deserialize;

use super::judge;
use crate::framework::Framework;
use crate::path::{Path, Scheme};
use crate::state::{Stage, State};

#[derive(Deserialize)]
struct Case {
    name: String,
    scheme: Scheme,
    /// Role, class, weighted, and how often where that is not once.
    operators: Vec<serde_json::Value>,
    #[serde(default)]
    own_constants: Option<Vec<usize>>,
    #[serde(default)]
    smallest_constant: usize,
    #[serde(default)]
    max_error: f64,
    #[serde(default)]
    reference_error: Option<f64>,
    #[serde(default)]
    reference_difference: Option<f64>,
    #[serde(default)]
    comparable: Option<f64>,
    #[serde(default)]
    finite: Option<bool>,
    state: State,
}

fn path(scheme: Scheme) -> Path {
    Path {
        framework: Framework::PyTorch,
        name: "eager",
        title: "",
        scheme,
        explained: 0.1,
        trains: false,
        smallest_constant: 0,
        only: &[],
        quick: false,
    }
}

fn ending(outcome: Outcome) -> Ending {
    serde_json::from_value(serde_json::json!({ "outcome": outcome, "stage": "convert" }))
        .expect("is an ending")
}

fn operator(row: &serde_json::Value) -> Operator {
    let text = serde_json::json!({
        "name": "op", "role": row[0], "class": row[1], "weighted": row[2], "count": row.get(3),
    });
    serde_json::from_value(text).expect("is an operator")
}

#[test]
fn every_case_has_its_state() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/verdicts.json")).expect("parses");
    assert!(cases.len() > 15);
    for case in cases {
        let path = Path { smallest_constant: case.smallest_constant, ..path(case.scheme) };
        let found = Found {
            float_range: Some(10.0),
            max_error: Some(case.max_error),
            finite: Some(case.finite.unwrap_or(true)),
            reference: case.reference_error.map(|_| String::from("reference")),
            reference_error: case.reference_error,
            reference_difference: case.reference_difference,
            operators: case.operators.iter().map(operator).collect(),
            ..Found::default()
        };
        let own = case.own_constants.unwrap_or_else(|| vec![4096]);
        let judged = judge(&path, &own, &ending(Outcome::Ran), &found, &|| case.comparable);
        assert_eq!(judged.state, case.state, "{}: {}", case.name, judged.reason);
    }
}

#[test]
fn endings_come_before_evidence() {
    let judged =
        |outcome| judge(&path(Scheme::Static), &[], &ending(outcome), &Found::default(), &|| None).state;
    assert_eq!(judged(Outcome::Failed), State::Fails(Stage::Convert));
    assert_eq!(judged(Outcome::NoApi), State::NoApi);
    assert_eq!(judged(Outcome::TimedOut), State::TimesOut);
    assert_eq!(judged(Outcome::Killed), State::Killed);
    let killed = Ending { signal: Some(11), ..ending(Outcome::Killed) };
    let reason = judge(&path(Scheme::Static), &[], &killed, &Found::default(), &|| None).reason;
    assert_eq!(reason, "the process ended by signal 11, SIGSEGV, at convert");
}

#[test]
fn a_probe_that_computes_something_else_is_no_finding() {
    let found = Found { parity: Some(0.5), float_range: Some(10.0), ..Found::default() };
    let judged = judge(&path(Scheme::Static), &[], &ending(Outcome::Ran), &found, &|| None);
    assert_eq!(judged.state, State::Fails(Stage::Build));
    assert!(judged.reason.contains("the probe itself is wrong"));
}

#[test]
fn float_that_is_said_is_not_silent() {
    let float = operator(&serde_json::json!(["layer", "float", true]));
    let found = Found { operators: vec![float], ..Found::default() };
    let said = |warnings: &[&str]| {
        let warnings = warnings.iter().map(|one| (*one).to_owned()).collect();
        let ending = Ending { warnings, ..ending(Outcome::Ran) };
        judge(&path(Scheme::Static), &[], &ending, &found, &|| None).state
    };
    assert_eq!(said(&["UserWarning: layer `GRU` will not be quantized"]), State::FloatWithWarning);
    assert_eq!(said(&["INFO - skip to quantize before ..."]), State::FloatWithWarning);
    assert_eq!(said(&["DeprecationWarning: use something else"]), State::SilentlyFloat);
    assert_eq!(said(&["Skipping runtime version metadata in the model."]), State::SilentlyFloat);
}

#[test]
fn training_is_held_against_its_reference_alone() {
    let integer = operator(&serde_json::json!(["layer", "integer", true]));
    let found = Found {
        float_range: Some(10.0),
        max_error: Some(4.0),
        finite: Some(true),
        reference: Some(String::from("fake quantization")),
        reference_error: Some(4.0),
        reference_difference: Some(0.0),
        operators: vec![integer],
        ..Found::default()
    };
    let state = |trains| {
        let path = Path { trains, ..path(Scheme::Static) };
        judge(&path, &[], &ending(Outcome::Ran), &found, &|| Some(0.01)).state
    };
    assert_eq!((state(true), state(false)), (State::Quantized, State::NumericallyWrong));
}
