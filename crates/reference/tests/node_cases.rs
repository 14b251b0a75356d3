//! Every operator gives what the node cases of the `onnx` package expect, and what ONNX Runtime gives where those
//! cases are few.
//!
//! Needs the interpreter of an environment with `onnx`, `onnxruntime` and `numpy`, named by
//! `CALIPERS_ONNXRUNTIME_PYTHON`.
//! `CALIPERS_NODE_CASES` chooses cases by a part of their names.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use calipers_ir::{Attribute, Attributes, DType, Op, Tensor};
use calipers_reference::evaluate;
use half::{bf16, f16};
use serde_json::Value;

struct Cases {
    document: Value,
    data: Bytes,
}

/// What a case came to.
enum Outcome {
    Passed,
    /// The operator, or its form, is none of ours.
    Refused(String),
    Failed(String),
}

impl Cases {
    /// Has a script of this folder write them; `None` without an interpreter.
    fn written(script: &str) -> Option<Cases> {
        let python = std::env::var_os("CALIPERS_ONNXRUNTIME_PYTHON")?;
        let folder = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
        let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let document = fs::read(folder.path().join("cases.json")).unwrap();
        let data = fs::read(folder.path().join("data.bin")).unwrap();
        Some(Cases { document: serde_json::from_slice(&document).unwrap(), data: data.into() })
    }

    fn tensor(&self, entry: &Value) -> Tensor {
        let shape: Vec<usize> = list(&entry["shape"], |extent| extent.as_u64().unwrap() as usize);
        match entry["type"].as_str().unwrap() {
            // The script writes each byte as one character.
            "string" => {
                let bytes = |word: &Value| word.as_str().unwrap().chars().map(|c| c as u8).collect();
                Tensor::from_strings(shape, list(&entry["strings"], bytes)).unwrap()
            }
            name => {
                let place = |key: &str| entry[key].as_u64().unwrap() as usize;
                let bytes = self.data.slice(place("start")..place("end"));
                Tensor::new(name.parse().unwrap(), shape, bytes).unwrap()
            }
        }
    }

    fn attribute(&self, entry: &Value) -> Attribute {
        let (kind, value) = entry.as_object().unwrap().iter().next().unwrap();
        let bytes = |word: &Value| word.as_str().unwrap().as_bytes().to_vec();
        match kind.as_str() {
            "int" => Attribute::Int(value.as_i64().unwrap()),
            "float" => Attribute::Float(value.as_f64().unwrap() as f32),
            "string" => Attribute::String(bytes(value)),
            "type" => Attribute::Type(value.as_str().unwrap().parse().unwrap_or(DType::String)),
            "ints" => Attribute::Ints(list(value, |value| value.as_i64().unwrap())),
            "floats" => Attribute::Floats(list(value, |value| value.as_f64().unwrap() as f32)),
            "strings" => Attribute::Strings(list(value, bytes)),
            _ => Attribute::Tensor(self.tensor(value)),
        }
    }

    fn outcome(&self, case: &Value) -> Outcome {
        let mut nodes = Vec::new();
        for node in case["nodes"].as_array().unwrap() {
            let attributes: Attributes = node["attributes"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, entry)| (name.clone(), self.attribute(entry)))
                .collect();
            let inputs = list(&node["inputs"], name_of);
            nodes.push((name_of(&node["op"]), attributes, inputs, list(&node["outputs"], name_of)));
        }
        for set in case["sets"].as_array().unwrap() {
            let tensors = set["inputs"].as_object().unwrap().iter();
            let tensors = tensors.chain(case["constants"].as_object().unwrap());
            let mut values: HashMap<String, Tensor> =
                tensors.map(|(name, entry)| (name.clone(), self.tensor(entry))).collect();
            for (name, attributes, inputs, outputs) in &nodes {
                let mut inputs: Vec<Option<&Tensor>> = inputs.iter().map(|name| values.get(name)).collect();
                let (mut name, mut attributes) = (name.as_str(), attributes.clone());
                if name == "CastLike" {
                    name = "Cast";
                    let Some(like) = inputs.pop().flatten() else {
                        return Outcome::Failed(String::from("CastLike without a second input"));
                    };
                    attributes.insert(String::from("to"), Attribute::Type(like.dtype()));
                }
                let op = match Op::from_attributes(name, attributes) {
                    Ok(op) => op,
                    Err(reason) => return Outcome::Refused(reason),
                };
                match evaluate(&op, &inputs, outputs.len()) {
                    Ok(results) => values.extend(outputs.iter().cloned().zip(results)),
                    Err(error) => return Outcome::Failed(error.to_string()),
                }
            }
            let (rtol, atol) = (case["rtol"].as_f64().unwrap(), case["atol"].as_f64().unwrap());
            let outputs = case["outputs"].as_array().unwrap();
            for (name, expected) in outputs.iter().zip(set["outputs"].as_array().unwrap()) {
                let Some(found) = values.get(&name_of(name)) else {
                    return Outcome::Failed(format!("no output {name}"));
                };
                if let Some(difference) = difference(found, &self.tensor(expected), rtol, atol) {
                    return Outcome::Failed(format!("{name}: {difference}"));
                }
            }
        }
        Outcome::Passed
    }
}

fn list<T>(value: &Value, element: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().unwrap().iter().map(element).collect()
}

fn name_of(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The elements of a float tensor; `None` for other types.
fn floats(tensor: &Tensor) -> Option<Vec<f64>> {
    let bytes = tensor.bytes();
    let halves = || bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    Some(match tensor.dtype() {
        DType::F16 => halves().map(|bits| f16::from_bits(bits).to_f64()).collect(),
        DType::BF16 => halves().map(|bits| bf16::from_bits(bits).to_f64()).collect(),
        DType::F32 => tensor.as_f32()?.iter().map(|&value| f64::from(value)).collect(),
        DType::F64 => tensor.elements().ok()?.into_owned(),
        _ => return None,
    })
}

/// What differs beyond `atol + rtol |expected|`, in 16 bits at least two steps between neighbouring numbers, since the
/// cases are computed with other roundings in between; nothing but floats may differ at all.
fn difference(found: &Tensor, expected: &Tensor, rtol: f64, atol: f64) -> Option<String> {
    if (found.dtype(), found.shape()) != (expected.dtype(), expected.shape()) {
        return Some(format!("{} instead of {}", found.tensor_type(), expected.tensor_type()));
    }
    let (Some(left), Some(right)) = (floats(found), floats(expected)) else {
        return (found != expected).then(|| format!("{:?} instead of {:?}", short(found), short(expected)));
    };
    let rtol = match expected.dtype() {
        DType::F16 => rtol.max(2.0 * f64::from(f16::EPSILON)),
        DType::BF16 => rtol.max(2.0 * f64::from(bf16::EPSILON)),
        _ => rtol,
    };
    let close = |found: f64, expected: f64| {
        found == expected
            || found.is_nan() && expected.is_nan()
            || (found - expected).abs() <= atol + rtol * expected.abs()
    };
    let wrong = left.iter().zip(&right).position(|(&found, &expected)| !close(found, expected))?;
    Some(format!("{} instead of {} at {wrong}", left[wrong], right[wrong]))
}

/// The first bytes or strings.
fn short(tensor: &Tensor) -> String {
    match tensor.strings() {
        Some(strings) => {
            format!(
                "{:?}",
                strings.iter().take(8).map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>()
            )
        }
        None => format!("{:?}", &tensor.bytes()[..tensor.bytes().len().min(64)]),
    }
}

#[test]
#[ignore = "needs a Python environment with onnx"]
fn node_cases_of_onnx() {
    compare("node_cases.py");
}

#[test]
#[ignore = "needs a Python environment with onnxruntime"]
fn cases_run_by_onnxruntime() {
    compare("onnxruntime_cases.py");
}

#[test]
#[ignore = "needs a Python environment with onnxruntime"]
fn cases_of_elements_run_by_onnxruntime() {
    compare("element_cases.py");
}

/// Runs the cases that a script writes, prints how many passed for each operator, and fails when one differs.
fn compare(script: &str) {
    // Written past the test harness, which would keep it to itself.
    let mut out = std::io::stderr();
    let Some(cases) = Cases::written(script) else {
        let _ = writeln!(out, "left out: cases of {script} (CALIPERS_ONNXRUNTIME_PYTHON is not set)");
        return;
    };
    let chosen = std::env::var("CALIPERS_NODE_CASES").unwrap_or_default();
    let mut operators: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    for entry in cases.document["left_out"].as_array().unwrap() {
        *refused.entry(name_of(&entry["reason"])).or_default() += 1;
    }
    let mut failures = Vec::new();
    for case in cases.document["cases"].as_array().unwrap() {
        let name = name_of(&case["name"]);
        if !name.contains(&chosen) {
            continue;
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| cases.outcome(case)));
        let group = match case["nodes"].as_array().unwrap().as_slice() {
            [node] => name_of(&node["op"]),
            _ => String::from("several operators"),
        };
        let (passed, failed) = operators.entry(group.clone()).or_default();
        match outcome.unwrap_or_else(|_| Outcome::Failed(String::from("panicked"))) {
            Outcome::Passed => *passed += 1,
            Outcome::Refused(reason) => *refused.entry(reason).or_default() += 1,
            Outcome::Failed(reason) => {
                *failed += 1;
                failures.push(format!("{group}: {name}: {reason}"));
            }
        }
    }
    for (operator, (passed, failed)) in &operators {
        let _ = writeln!(out, "{operator}: {passed} passed, {failed} failed");
    }
    for (reason, count) in &refused {
        let _ = writeln!(out, "refused {count}: {reason}");
    }
    let passed: usize = operators.values().map(|(passed, _)| passed).sum();
    let _ = writeln!(out, "{passed} cases passed, {} failed", failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
