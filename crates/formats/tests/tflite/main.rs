//! TFLite files of others, against LiteRT's reference kernels.
//!
//! Needs the interpreter of an environment with `ai-edge-litert`, `numpy` and `safetensors`, named by
//! `CALIPERS_TENSORFLOW_PYTHON`, and the folder that the scripts in `testdata/exports` fill, named by
//! `CALIPERS_EXPORTS`.

mod cases;
mod evaluate;
mod exports;
mod files;
mod schema;
mod single;

use std::ffi::OsString;
use std::io::Write as _;

/// A variable of the environment; says what is left out where it is not set.
fn variable(test: &str, name: &str) -> Option<OsString> {
    let value = std::env::var_os(name);
    if value.is_none() {
        // Written past the test harness, which would keep it to itself.
        let _ = writeln!(std::io::stderr(), "left out: {test}: {name} is not set");
    }
    value
}

#[test]
#[ignore = "needs the Python environments"]
fn operators_compute_what_litert_does() {
    let test = "operators_compute_what_litert_does";
    let Some(python) = variable(test, "CALIPERS_TENSORFLOW_PYTHON") else { return };
    let cases = cases::all();
    assert_eq!(single::compare(&python, &cases), cases.len());
}

#[test]
#[ignore = "needs the Python environments"]
fn names_and_options_are_those_of_litert() {
    if let Some(python) = variable("names_and_options_are_those_of_litert", "CALIPERS_TENSORFLOW_PYTHON") {
        schema::check(&python);
    }
}

#[test]
#[ignore = "needs the exported networks"]
fn exported_networks_compute_what_litert_does() {
    let Some(folder) = variable("exported_networks_compute_what_litert_does", "CALIPERS_EXPORTS") else {
        return;
    };
    assert!(exports::compare(&folder) > 0);
}
