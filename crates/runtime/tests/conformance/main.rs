//! Cases of others, most of them one node. Those of the ONNX project (<https://github.com/onnx/onnx>,
//! `onnx/backend/test`): everything that the reader accepts computes what the case says, to the case's own tolerance
//! unless a table here says why not; what is refused is counted by reason. And operators of ONNX Runtime's own set, with
//! its results.
//!
//! `CALIPERS_ONNXRUNTIME_PYTHON` names a Python with onnx, onnxruntime and numpy; the cases that it writes are kept under
//! `CALIPERS_CACHE`, or the folder for temporary files, by versions. `CALIPERS_ONNX_CASE` runs the cases whose names
//! hold that text alone, and asserts nothing about counts.

mod compare;

use compare::Tolerance;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;

use calipers_formats::onnx;
use calipers_ir::{DType, Graph, Model, Op, Tensor};
use calipers_runtime::{Session, SessionOptions};
use serde_json::Value;

/// Cases of the suite of node tests that are accepted at least.
const ACCEPTED: usize = 1700;

/// Parts of the errors of the reader, and what they are counted as.
const REASONS: [(&str, &str); 9] = [
    ("it is a sequence", "sequences or optional values"),
    ("optional value", "sequences or optional values"),
    ("(Sequence", "sequences or optional values"),
    ("(SplitToSequence)", "sequences or optional values"),
    ("uses operator set", "operator sets before 7"),
    ("its version of the default operator set", "no operators of the default set"),
    ("(RandomUniformLike)", "operator RandomUniformLike"),
    ("Scan over a batch", "Scan over a batch"),
    ("FlexAttention", "operator ai.onnx.preview::FlexAttention"),
];

/// Every reason for which a case may be refused.
const REFUSED: [&str; 21] = [
    "Scan over a batch",
    "no operators of the default set",
    "operator Attention",
    "operator BatchNormalization",
    "operator Bernoulli",
    "operator CausalConvWithState",
    "operator Dropout",
    "operator ImageDecoder",
    "operator LinearAttention",
    "operator OptionalGetElement",
    "operator OptionalHasElement",
    "operator RandomUniformLike",
    "operator Reshape",
    "operator SpaceToDepth",
    "operator SwiGLU",
    "operator TfIdfVectorizer",
    "operator ai.onnx.preview.training::Gradient",
    "operator ai.onnx.preview::FlexAttention",
    "operator sets before 7",
    "sequences or optional values",
    "string tensors",
];

/// Cases whose own tolerance is narrower than their arithmetic.
struct Wider {
    /// What their names hold.
    parts: &'static [&'static str],
    tolerance: Tolerance,
}

const fn reals(relative: f64, absolute: f64) -> Tolerance {
    Tolerance { relative, absolute, steps: 0 }
}

const WIDER: [Wider; 4] = [
    // A step of bf16 is 0.8 % of a number; the expected ones were rounded after every step, ours once.
    Wider { parts: &["attention", "bf16"], tolerance: reals(1.6e-2, 1e-7) },
    // Two steps of f16 after three roundings in another order.
    Wider { parts: &["attention", "fp16_expanded"], tolerance: reals(2e-3, 1e-7) },
    // Sums that are 0 exactly, where the expected numbers are what a fast transform leaves.
    Wider { parts: &["dft_inverse"], tolerance: reals(1e-3, 1e-6) },
    // A mean that falls between two integers, from sums in another order.
    Wider { parts: &["QLinearAveragePool"], tolerance: Tolerance { relative: 0.0, absolute: 0.0, steps: 1 } },
];

impl Wider {
    fn fits(&self, name: &str) -> bool {
        self.parts.iter().all(|part| name.contains(part))
    }
}

/// What becomes of a case.
enum Outcome {
    Passed,
    Refused(String),
    Failed(String),
}

/// What became of the cases of each suite.
#[derive(Default)]
struct Report {
    passed: BTreeMap<String, usize>,
    total: BTreeMap<String, usize>,
    refused: BTreeMap<String, BTreeMap<String, usize>>,
    failed: Vec<String>,
}

#[test]
#[ignore = "needs CALIPERS_ONNXRUNTIME_PYTHON"]
fn accepted_cases_of_the_onnx_project_pass() {
    let Some(report) = report("dump_cases.py", "calipers-onnx-cases") else { return };
    assert!(report.failed.is_empty(), "{} cases fail:\n{}", report.failed.len(), report.failed.join("\n"));
    if std::env::var_os("CALIPERS_ONNX_CASE").is_none() {
        let accepted = report.passed["node"];
        assert!(accepted >= ACCEPTED, "{accepted} cases are accepted, expected {ACCEPTED} or more");
        let reasons = report.refused.values().flat_map(BTreeMap::keys);
        let new: Vec<&String> = reasons.filter(|reason| !REFUSED.contains(&reason.as_str())).collect();
        assert!(new.is_empty(), "cases are refused for reasons that are not listed: {new:?}");
    }
}

#[test]
#[ignore = "needs CALIPERS_ONNXRUNTIME_PYTHON"]
fn operators_of_onnxruntime_compute_what_it_does() {
    let Some(report) = report("dump_contributed.py", "calipers-contributed-cases") else { return };
    assert!(report.refused.is_empty(), "refused: {:?}", report.refused);
    assert!(report.failed.is_empty(), "{} cases fail:\n{}", report.failed.len(), report.failed.join("\n"));
}

/// Runs the cases that a script writes, and prints the counts; `None` without Python.
fn report(script: &str, folder: &str) -> Option<Report> {
    let Some(python) = std::env::var_os("CALIPERS_ONNXRUNTIME_PYTHON") else {
        println!("left out: the cases of {script} (CALIPERS_ONNXRUNTIME_PYTHON is not set)");
        return None;
    };
    let folder = cases(Path::new(&python), script, folder);
    let table = std::fs::read(folder.join("cases.json")).expect("the table of cases");
    let table: Vec<Value> = serde_json::from_slice(&table).expect("json");
    let wanted = std::env::var("CALIPERS_ONNX_CASE").ok();

    let mut report = Report::default();
    for case in &table {
        let name = case["name"].as_str().expect("a name");
        if wanted.as_ref().is_some_and(|wanted| !name.contains(wanted.as_str())) {
            continue;
        }
        let suite = case["suite"].as_str().expect("a suite").to_owned();
        *report.total.entry(suite.clone()).or_default() += 1;
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| run(&folder, name, case)));
        match outcome.unwrap_or_else(|_| Outcome::Failed(String::from("panicked"))) {
            Outcome::Passed => *report.passed.entry(suite).or_default() += 1,
            Outcome::Refused(reason) => {
                if wanted.is_some() {
                    println!("{name}: refused: {reason}");
                }
                *report.refused.entry(suite).or_default().entry(reason).or_default() += 1;
            }
            Outcome::Failed(reason) => report.failed.push(format!("{name}: {reason}")),
        }
    }
    for (suite, total) in &report.total {
        let passed = report.passed.get(suite).copied().unwrap_or_default();
        let refused = report.refused.get(suite);
        let count = refused.map_or(0, |reasons| reasons.values().sum::<usize>());
        println!("{suite}: {total} cases, accepted {}, passed {passed}, refused {count}", total - count);
        for (reason, count) in refused.into_iter().flatten() {
            println!("{count:6}  {reason}");
        }
    }
    Some(report)
}

/// The folder of the cases, written by Python once for each version of onnx, ONNX Runtime and the script.
fn cases(python: &Path, script: &str, name: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(script);
    let version = "import hashlib, pathlib, sys, onnx, onnxruntime as runtime; \
                   script = hashlib.sha256(pathlib.Path(sys.argv[1]).read_bytes()).hexdigest()[:8]; \
                   print(onnx.__version__, runtime.__version__, script, sep='-')";
    let version = Command::new(python)
        .args(["-c", version])
        .arg(&script)
        .output()
        .expect("the Python interpreter starts");
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let cache = std::env::var_os("CALIPERS_CACHE").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = cache.join(format!("{name}-{version}"));
    if folder.join("cases.json").exists() {
        return folder;
    }
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
    let own = reals(case["rtol"].as_f64().unwrap_or(1e-3), case["atol"].as_f64().unwrap_or(1e-7));
    let tolerance = WIDER.iter().find(|wider| wider.fits(name)).map_or(&own, |wider| &wider.tolerance);
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
            if let Err(difference) = compare::close(found, expected, tolerance) {
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
    for (part, reason) in REASONS {
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
