//! The runtime against ONNX Runtime on the same files: every integer pattern exactly (or by a step where the table says
//! why), every f32 operator and whole networks to a tolerance. On every instruction set of the machine, and with one
//! and two threads.
//!
//! `CALIPERS_ONNXRUNTIME_PYTHON` names a Python with onnxruntime, onnx and safetensors; without it the comparison is
//! left out aloud.

mod case;
mod floats;
mod patterns;

use case::{Agreement, Case};

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use calipers_formats::onnx;
use calipers_ir::{DType, Model, Tensor};
use calipers_runtime::{Isa, Session, SessionOptions};
use safetensors::{Dtype, SafeTensors};

#[test]
fn integer_patterns_equal_onnxruntime() {
    compare(&patterns::all());
}

#[test]
fn f32_operators_are_close_to_onnxruntime() {
    compare(&floats::all());
}

fn compare(cases: &[Case]) {
    let Some(python) = std::env::var_os("CALIPERS_ONNXRUNTIME_PYTHON") else {
        println!(
            "left out: {} comparisons with ONNX Runtime (CALIPERS_ONNXRUNTIME_PYTHON is not set)",
            cases.len()
        );
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    for case in cases {
        let model = Model::new(case.graph.clone());
        onnx::write(&model, folder.path().join(format!("{}.onnx", case.name))).expect(&case.name);
        write_inputs(&folder.path().join(format!("{}.inputs.safetensors", case.name)), &case.inputs);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnxruntime_outputs.py");
    let output =
        Command::new(python).arg(script).arg(folder.path()).output().expect("the Python interpreter starts");
    assert!(output.status.success(), "ONNX Runtime failed:\n{}", String::from_utf8_lossy(&output.stderr));
    let operators: BTreeMap<String, Vec<String>> =
        serde_json::from_slice(&std::fs::read(folder.path().join("operators.json")).expect("operators"))
            .expect("json");

    let mut failures = Vec::new();
    for case in cases {
        let path = folder.path().join(format!("{}.outputs.safetensors", case.name));
        let bytes = std::fs::read(path).expect("outputs");
        let expected = SafeTensors::deserialize(&bytes).expect("outputs");
        if let Err(failure) = check(case, &expected, &operators[&case.name]) {
            failures.push(format!("{}: {failure}", case.name));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases differ:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
    println!("{} cases compared with ONNX Runtime", cases.len());
}

fn check(case: &Case, expected: &SafeTensors<'_>, operators: &[String]) -> Result<(), String> {
    if let Some(operator) = case.runs_as
        && !operators.iter().any(|found| found == operator)
    {
        return Err(format!("ONNX Runtime ran {operators:?}, not {operator}: the comparison says nothing"));
    }
    for isa in Isa::ALL.into_iter().filter(|isa| isa.supported().is_some()) {
        for threads in [1, 2] {
            let options = SessionOptions { threads, isa: Some(isa), ..SessionOptions::default() };
            let mut session = Session::new(case.graph.clone(), options).map_err(|error| error.to_string())?;
            let inputs: Vec<(&str, Tensor)> =
                case.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
            let outputs = session.run(&inputs, &mut ()).map_err(|error| error.to_string())?;
            let shapes: Vec<Vec<usize>> = inputs.iter().map(|(_, tensor)| tensor.shape().to_vec()).collect();
            let plan = session.plan(&shapes).map_err(|error| error.to_string())?;
            let kernels: Vec<String> = plan.steps().map(|step| step.kernel.clone()).collect();
            if let Some(kernel) = &case.kernel
                && !kernels.contains(kernel)
            {
                return Err(format!("planned as {kernels:?}, without {kernel}"));
            }
            for (id, output) in session.graph().outputs().iter().zip(&outputs) {
                let name = &session.graph().value(*id).name;
                let view = expected.tensor(name).map_err(|error| error.to_string())?;
                if view.shape() != output.shape() {
                    return Err(format!("{isa}: shape {:?}, expected {:?}", output.shape(), view.shape()));
                }
                let expected = numbers(view.dtype(), view.data());
                let found = numbers(safetensors_type(output.dtype()), &output.bytes());
                case.agreement
                    .check(&found, &expected)
                    .map_err(|error| format!("{isa} x{threads}: {error}"))?;
            }
        }
    }
    Ok(())
}

impl Agreement {
    fn check(&self, found: &[f64], expected: &[f64]) -> Result<(), String> {
        let differences: Vec<f64> = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).collect();
        let largest = differences.iter().copied().fold(0.0, f64::max);
        let different = differences.iter().filter(|difference| **difference > 0.0).count();
        let all_numbers =
            found.len() == expected.len() && differences.iter().all(|difference| !difference.is_nan());
        let agrees = match self {
            Agreement::Exact => different == 0,
            Agreement::OneStep { share, .. } => {
                largest <= 1.0 && different as f64 <= share * found.len() as f64 + 1.0
            }
            Agreement::Relative(tolerance) => {
                largest
                    <= tolerance * expected.iter().fold(1.0, |largest: f64, value| largest.max(value.abs()))
            }
        };
        if agrees && all_numbers {
            return Ok(());
        }
        let at =
            differences.iter().position(|difference| *difference > 0.0 || difference.is_nan()).unwrap_or(0);
        Err(format!(
            "{different} of {} numbers differ, by up to {largest}; the first is {at}: {}, expected {}",
            found.len(),
            found[at],
            expected[at]
        ))
    }
}

fn safetensors_type(dtype: DType) -> Dtype {
    match dtype {
        DType::U8 => Dtype::U8,
        DType::I8 => Dtype::I8,
        DType::F32 => Dtype::F32,
        other => panic!("no case has values of type {other}"),
    }
}

fn numbers(dtype: Dtype, bytes: &[u8]) -> Vec<f64> {
    match dtype {
        Dtype::U8 => bytes.iter().map(|byte| f64::from(*byte)).collect(),
        Dtype::I8 => bytes.iter().map(|byte| f64::from(*byte as i8)).collect(),
        Dtype::F32 => bytes
            .chunks_exact(4)
            .map(|bytes| f64::from(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])))
            .collect(),
        other => panic!("no case has values of type {other:?}"),
    }
}

fn write_inputs(path: &Path, inputs: &[(String, Tensor)]) {
    let bytes: Vec<_> = inputs.iter().map(|(_, tensor)| tensor.bytes()).collect();
    let views = inputs.iter().zip(&bytes).map(|((name, tensor), bytes)| {
        let view = safetensors::tensor::TensorView::new(
            safetensors_type(tensor.dtype()),
            tensor.shape().to_vec(),
            bytes,
        );
        (name.as_str(), view.expect("a tensor"))
    });
    safetensors::serialize_to_file(views, None, path).expect("inputs are written");
}
