//! What is written passes the checker of the `onnx` package and gives the same result in ONNX Runtime.
//!
//! Needs the interpreter of an environment with `onnx`, `onnxruntime` and `numpy`, named by
//! `CALIPERS_ONNXRUNTIME_PYTHON`.

mod graphs;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use calipers_formats::onnx;
use calipers_ir::Model;

/// Runs `check_models.py` on pairs of an original file, where there is one, and the model written to compare with it.
fn check(test: &str, pairs: &[(Option<PathBuf>, Model)]) {
    let Some(python) = std::env::var_os("CALIPERS_ONNXRUNTIME_PYTHON") else {
        // Written past the test harness, which would keep it to itself.
        let _ = writeln!(std::io::stderr(), "left out: {test}: CALIPERS_ONNXRUNTIME_PYTHON is not set");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut arguments: Vec<OsString> = Vec::new();
    for (index, (original, model)) in pairs.iter().enumerate() {
        let written = folder.path().join(format!("{index}.onnx"));
        onnx::write(model, &written).unwrap();
        arguments.push(original.as_ref().map_or_else(|| OsString::from("-"), |path| path.into()));
        arguments.push(written.into());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check_models.py");
    let output = Command::new(python).arg(script).args(arguments).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(stdout.lines().filter(|line| line.starts_with("equal ")).count(), pairs.len(), "{stdout}");
}

#[test]
fn files_of_others_compute_the_same_when_written_again() {
    let pairs: Vec<_> =
        graphs::files().into_iter().map(|path| (Some(path.clone()), onnx::read(path).unwrap())).collect();
    check("files_of_others_compute_the_same_when_written_again", &pairs);
}

#[test]
fn every_operator_is_valid_when_written() {
    let pairs: Vec<_> = graphs::every_operator().into_iter().map(|model| (None, model)).collect();
    check("every_operator_is_valid_when_written", &pairs);
}

#[test]
fn a_fused_activation_computes_what_a_node_of_its_own_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut pairs = Vec::new();
    for (index, (apart, fused)) in graphs::fused_activations().into_iter().enumerate() {
        let path = folder.path().join(format!("{index}.onnx"));
        onnx::write(&apart, &path).unwrap();
        pairs.push((Some(path), fused));
    }
    check("a_fused_activation_computes_what_a_node_of_its_own_does", &pairs);
}

/// Cases that ONNX Runtime runs, read and written again, at least.
const COMPARED: usize = 1500;

/// The branch that is not taken splits 5 elements into 4 parts: 2, 2, 1 and 0 here, and 2, 2, 2 and -1 to the checker.
const NOT_VALID: &str = "node.test_affine_grid_3d";

#[test]
#[ignore = "needs CALIPERS_ONNXRUNTIME_PYTHON"]
fn cases_of_the_onnx_project_compute_the_same_when_written_again() {
    let test = "cases_of_the_onnx_project_compute_the_same_when_written_again";
    let Some(python) = std::env::var_os("CALIPERS_ONNXRUNTIME_PYTHON") else {
        let _ = writeln!(std::io::stderr(), "left out: {test} (CALIPERS_ONNXRUNTIME_PYTHON is not set)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (cases, written) = (folder.path().join("cases"), folder.path().join("written"));
    std::fs::create_dir(&written).unwrap();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let dump = tests.join("../../runtime/tests/conformance/dump_cases.py");
    let output = Command::new(&python).arg(dump).arg(&cases).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut failures = Vec::new();
    for entry in std::fs::read_dir(&cases).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("node.")
            || name.matches('.').count() != 2
            || !cases.join(name.replace(".onnx", ".0.onnx")).exists()
        {
            continue;
        }
        let Ok(model) = onnx::read(&path) else { continue };
        if let Err(error) = onnx::write(&model, written.join(&name)) {
            failures.push(format!("cannot write {name}: {error}"));
        }
    }
    let output =
        Command::new(python).arg(tests.join("check_cases.py")).args([&cases, &written]).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counts = stdout.lines().last().unwrap_or_default().to_owned();
    println!("{counts}");
    let known = format!("invalid {NOT_VALID}");
    let lines = stdout.lines().filter(|line| !line.starts_with("checked ") && !line.starts_with(&known));
    failures.extend(lines.map(str::to_owned));
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
    let compared: usize = counts.split(' ').nth(3).and_then(|count| count.parse().ok()).unwrap_or_default();
    assert!(compared >= COMPARED, "{compared} cases are compared, expected {COMPARED} or more");
}
