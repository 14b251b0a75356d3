//! The test cases of the ONNX project (<https://github.com/onnx/onnx>, `onnx/backend/test`): everything that the reader
//! accepts computes what the case says, to the case's own tolerance. What is refused is counted by reason.
//!
//! `CALIPERS_ONNXRUNTIME_PYTHON` names a Python with onnx and numpy; the cases that it writes are kept under
//! `CALIPERS_CACHE`, or the folder for temporary files, by the version of onnx. `CALIPERS_ONNX_CASE` runs the cases
//! whose names hold that text alone, and asserts nothing about counts.

mod compare;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;

use calipers_formats::onnx;
use calipers_ir::{DType, Graph, Model, Op, Tensor};
use calipers_runtime::{Session, SessionOptions};
use serde_json::Value;

/// Cases of the suite of node tests that are accepted at least.
const ACCEPTED: usize = 1500;

/// What becomes of a case.
enum Outcome {
    Passed,
    Refused(String),
    Failed(String),
}

#[test]
#[ignore = "needs CALIPERS_ONNXRUNTIME_PYTHON"]
fn accepted_cases_of_the_onnx_project_pass() {
    let Some(python) = std::env::var_os("CALIPERS_ONNXRUNTIME_PYTHON") else {
        println!("left out: the test cases of onnx (CALIPERS_ONNXRUNTIME_PYTHON is not set)");
        return;
    };
    let folder = cases(Path::new(&python));
    let table = std::fs::read(folder.join("cases.json")).expect("the table of cases");
    let table: Vec<Value> = serde_json::from_slice(&table).expect("json");
    let wanted = std::env::var("CALIPERS_ONNX_CASE").ok();

    let mut passed: BTreeMap<String, usize> = BTreeMap::new();
    let mut total: BTreeMap<String, usize> = BTreeMap::new();
    let mut refused: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    let mut failed = Vec::new();
    for case in &table {
        let name = case["name"].as_str().expect("a name");
        if wanted.as_ref().is_some_and(|wanted| !name.contains(wanted.as_str())) {
            continue;
        }
        let suite = case["suite"].as_str().expect("a suite").to_owned();
        *total.entry(suite.clone()).or_default() += 1;
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| run(&folder, name, case)));
        match outcome.unwrap_or_else(|_| Outcome::Failed(String::from("panicked"))) {
            Outcome::Passed => *passed.entry(suite).or_default() += 1,
            Outcome::Refused(reason) => {
                if wanted.is_some() {
                    println!("{name}: refused: {reason}");
                }
                *refused.entry(suite).or_default().entry(reason).or_default() += 1;
            }
            Outcome::Failed(reason) => failed.push(format!("{name}: {reason}")),
        }
    }
    for (suite, total) in &total {
        let passed = passed.get(suite).copied().unwrap_or_default();
        let refused = refused.get(suite);
        let count = refused.map_or(0, |reasons| reasons.values().sum::<usize>());
        println!("{suite}: {total} cases, accepted {}, passed {passed}, refused {count}", total - count);
        for (reason, count) in refused.into_iter().flatten() {
            println!("{count:6}  {reason}");
        }
    }
    assert!(failed.is_empty(), "{} accepted cases fail:\n{}", failed.len(), failed.join("\n"));
    if wanted.is_none() {
        let accepted = passed["node"];
        assert!(accepted >= ACCEPTED, "{accepted} cases are accepted, expected {ACCEPTED} or more");
    }
}

/// The folder of the cases, written by Python once for each version of onnx.
fn cases(python: &Path) -> PathBuf {
    let version = Command::new(python)
        .args(["-c", "import onnx; print(onnx.__version__)"])
        .output()
        .expect("the Python interpreter starts");
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let cache = std::env::var_os("CALIPERS_CACHE").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = cache.join(format!("calipers-onnx-cases-{version}"));
    if folder.join("cases.json").exists() {
        return folder;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/dump_cases.py");
    let output =
        Command::new(python).arg(script).arg(&folder).output().expect("the Python interpreter starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

fn run(folder: &Path, name: &str, case: &Value) -> Outcome {
    if let Some(reason) = case["left_out"].as_str() {
        return Outcome::Refused(reason.to_owned());
    }
    let model = match onnx::read(folder.join(format!("{name}.onnx"))) {
        Ok(model) => model,
        Err(error) => return Outcome::Refused(reason_of(&error.to_string())),
    };
    if let Some(reason) = unsupported(&model) {
        return Outcome::Refused(reason);
    }
    let graph = model.graph.clone();
    let mut session = match Session::with_subgraphs(graph, model.subgraphs.clone(), SessionOptions::default())
    {
        Ok(session) => session,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let tolerance = compare::Tolerance {
        relative: case["rtol"].as_f64().unwrap_or(1e-3),
        absolute: case["atol"].as_f64().unwrap_or(1e-7),
    };
    let names: Vec<&str> =
        case["inputs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for set in 0..case["sets"].as_u64().unwrap_or_default() {
        let data = onnx::read(folder.join(format!("{name}.{set}.onnx"))).expect("data of a case");
        let of = |kind: &str| -> Vec<Tensor> {
            let tensor = |index: usize| {
                let id = data.graph.value_named(&format!("{kind}_{index}"))?;
                data.graph.constant(id).cloned()
            };
            (0..).map_while(tensor).collect()
        };
        // Values that the file also stores are constants here.
        let inputs: Vec<(&str, Tensor)> = names
            .iter()
            .copied()
            .zip(of("input"))
            .filter(|(name, _)| {
                let inputs = session.graph().inputs();
                inputs.iter().any(|id| session.graph().value(*id).name == *name)
            })
            .collect();
        let outputs = match session.run(&inputs, &mut ()) {
            Ok(outputs) => outputs,
            Err(error) => return Outcome::Failed(error.to_string()),
        };
        let expected = of("output");
        if outputs.len() != expected.len() {
            return Outcome::Failed(format!("{} outputs, expected {}", outputs.len(), expected.len()));
        }
        for (index, (found, expected)) in outputs.iter().zip(&expected).enumerate() {
            if let Err(difference) = compare::close(found, expected, &tolerance) {
                return Outcome::Failed(format!("output {index}: {difference}"));
            }
        }
    }
    Outcome::Passed
}

/// Why a model that was read cannot run: an operator that was kept as it is, or strings.
fn unsupported(model: &Model) -> Option<String> {
    let graphs = || std::iter::once(&model.graph).chain(model.subgraphs.values());
    if graphs().flat_map(Graph::values).any(|value| value.ty.dtype == DType::String) {
        return Some(String::from("string tensors"));
    }
    graphs().flat_map(Graph::nodes).find_map(|node| match &node.op {
        Op::Opaque(opaque) if opaque.domain.is_empty() => Some(format!("operator {}", opaque.op_type)),
        Op::Opaque(opaque) => Some(format!("operator {}::{}", opaque.domain, opaque.op_type)),
        _ => None,
    })
}

/// An error without the names of files, values and nodes.
fn reason_of(error: &str) -> String {
    for (part, reason) in [
        ("it is a sequence", "sequences or optional values"),
        ("it is a optional value", "sequences or optional values"),
        ("it is an optional value", "sequences or optional values"),
        ("optional value", "sequences or optional values"),
        ("training", "training"),
        ("uses operator set", "operator sets before 7"),
    ] {
        if error.contains(part) {
            return reason.to_owned();
        }
    }
    let text = error.rsplit_once(".onnx: ").map_or(error, |(_, text)| text);
    let mut reason = String::new();
    for (index, piece) in text.split('`').enumerate() {
        reason.push_str(if index % 2 == 0 { piece } else { "_" });
    }
    reason
}
