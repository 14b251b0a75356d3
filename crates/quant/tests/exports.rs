//! Networks as PyTorch exports them: quantized, and the same file run here and in ONNX Runtime.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use calipers_formats::onnx;
use calipers_ir::{DType, Graph, Tensor};
use calipers_quant::{Batch, CalibrationOptions, Recipe, quantize};
use calipers_random::Random;
use calipers_runtime::{Session, SessionOptions};
use serde::Deserialize;

/// The tensors of a safetensors file.
fn tensors(path: &Path) -> Vec<(String, Tensor)> {
    #[derive(Deserialize)]
    struct Entry {
        dtype: String,
        shape: Vec<usize>,
        data_offsets: [usize; 2],
    }
    let bytes = fs::read(path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut entries: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    entries.remove("__metadata__");
    let data = &bytes[8 + header..];
    let tensor = |(name, entry)| {
        let entry: Entry = serde_json::from_value(entry).unwrap();
        let dtype = match entry.dtype.as_str() {
            "F32" => DType::F32,
            "I64" => DType::I64,
            "I32" => DType::I32,
            "BOOL" => DType::Bool,
            other => panic!("{other}"),
        };
        let [from, to] = entry.data_offsets;
        (name, Tensor::new(dtype, entry.shape, data[from..to].to_vec().into()).unwrap())
    };
    entries.into_iter().map(tensor).collect()
}

/// Batches like the one given: real numbers are drawn, others taken in another order.
fn like(given: &Batch, stream: &str) -> Batch {
    let mut random = Random::new(17, stream);
    let drawn = given.iter().map(|(name, tensor)| {
        let tensor = match (tensor.dtype(), tensor.elements::<i64>()) {
            (DType::F32, _) => {
                let numbers = (0..tensor.len()).map(|_| random.normal_f64() as f32).collect();
                Tensor::from_vec(tensor.shape(), numbers).unwrap()
            }
            (_, Ok(numbers)) => {
                let mut numbers = numbers.into_owned();
                for index in (1..numbers.len()).rev() {
                    numbers.swap(index, (random.uniform_f64() * (index + 1) as f64) as usize);
                }
                Tensor::from_vec(tensor.shape(), numbers).unwrap()
            }
            (_, Err(_)) => tensor.clone(),
        };
        (name.clone(), tensor)
    });
    drawn.collect()
}

fn run(graph: &Graph, subgraphs: &[(String, Graph)], batch: &Batch) -> Result<Vec<f32>, String> {
    let options = SessionOptions::default().with_threads(2);
    let session = Session::with_subgraphs(graph.clone(), subgraphs.iter().cloned(), options);
    let mut session = session.map_err(|error| error.to_string())?;
    let inputs: Vec<(&str, Tensor)> =
        batch.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
    let outputs = session.run(&inputs, &mut ()).map_err(|error| error.to_string())?;
    outputs[0]
        .as_f32()
        .map(std::borrow::Cow::into_owned)
        .ok_or_else(|| String::from("an output that is no f32"))
}

/// Ten times the logarithm of signal over noise.
fn decibels(real: &[f32], other: &[f32]) -> f64 {
    let power = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let noise = power(&mut real.iter().zip(other).map(|(&a, &b)| f64::from(a) - f64::from(b)));
    10.0 * (power(&mut real.iter().map(|&x| f64::from(x))) / noise.max(1e-30)).log10()
}

#[derive(Deserialize)]
struct Answer {
    error: Option<String>,
}

struct Case {
    name: String,
    real: Vec<f32>,
    ours: Vec<f32>,
    summary: String,
}

#[test]
#[ignore = "needs the exported networks and a Python with onnx and onnxruntime"]
fn exported_networks_are_quantized_and_run_in_onnx_runtime() {
    let (Some(python), Some(exports)) =
        (std::env::var_os("CALIPERS_ONNXRUNTIME_PYTHON"), std::env::var_os("CALIPERS_EXPORTS"))
    else {
        println!(
            "left out: quantized exports; set CALIPERS_ONNXRUNTIME_PYTHON to a Python with onnxruntime and \
             CALIPERS_EXPORTS to what `cargo xtask exports` makes"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut files: Vec<PathBuf> = fs::read_dir(exports).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "onnx"));
    files.sort();
    let (mut specified, mut cases, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for file in &files {
        let network = file.file_stem().unwrap().to_str().unwrap();
        let model = match onnx::read(file) {
            Ok(model) => model,
            Err(error) => {
                failures.push(format!("{network}: {error}"));
                continue;
            }
        };
        let test: Batch = tensors(&file.with_extension("inputs.safetensors"));
        let mut inputs = Vec::new();
        for (name, tensor) in &test {
            let raw = format!("{network}.{name}.in");
            fs::write(folder.path().join(&raw), tensor.bytes()).unwrap();
            let ty = match tensor.dtype() {
                DType::F32 => "float32",
                DType::I32 => "int32",
                DType::Bool => "bool",
                _ => "int64",
            };
            inputs.push(serde_json::json!({"name": name, "file": raw, "type": ty, "shape": tensor.shape()}));
        }
        fs::copy(file, folder.path().join(format!("{network}.onnx"))).unwrap();
        let beside = file.with_extension("onnx.data");
        if beside.exists() {
            fs::copy(&beside, folder.path().join(beside.file_name().unwrap())).unwrap();
        }
        specified.push(serde_json::json!({"name": network, "inputs": inputs}));
        let subgraphs: Vec<(String, Graph)> = model.subgraphs.clone().into_iter().collect();
        for precision in ["w8a8", "w8a8-dynamic", "w4"] {
            let name = format!("{network}.{precision}");
            let recipe = Recipe::of_precision(precision).unwrap();
            let batches =
                (0..6).map(|index| like(&test, &format!("{network} {index}"))).chain([test.clone()]);
            let options =
                CalibrationOptions { subgraphs: model.subgraphs.clone(), ..CalibrationOptions::default() };
            let result = quantize(&model.graph, batches, &recipe, &options.with_threads(2), |_| {});
            let outcome = result.map_err(|error| error.to_string()).and_then(|result| {
                let written = model.with_graph(result.graph.clone());
                onnx::write(&written, folder.path().join(format!("{name}.onnx")))
                    .map_err(|error| error.to_string())?;
                let real = run(&result.float, &subgraphs, &test)?;
                let ours = run(&result.graph, &subgraphs, &test)?;
                let summary = &result.summary;
                Ok(Case {
                    name: name.clone(),
                    real,
                    ours,
                    summary: format!(
                        "weights {:.2}, macs {:.2}, {} static, {} dynamic, {} weight only, {} float",
                        summary.share_of_weights(),
                        summary.share_of_macs(),
                        summary.quantized,
                        summary.dynamic,
                        summary.weight_only.len(),
                        summary.float.len()
                    ),
                })
            });
            match outcome {
                Ok(case) => {
                    specified.push(serde_json::json!({"name": name, "inputs": inputs}));
                    cases.push(case);
                }
                Err(error) => failures.push(format!("{name}: {error}")),
            }
        }
    }
    fs::write(folder.path().join("cases.json"), serde_json::to_string(&specified).unwrap()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemes.py");
    let answer = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let answers: BTreeMap<String, Answer> = serde_json::from_slice(&answer.stdout).unwrap();
    for case in &cases {
        let name = &case.name;
        let network = name.split('.').next().unwrap();
        if let Some(error) = &answers[network].error {
            println!("{name}: ONNX Runtime does not run the network in float: {error}");
            continue;
        }
        if let Some(error) = &answers[name].error {
            failures.push(format!("{name}: ONNX Runtime: {error}"));
            continue;
        }
        let theirs: Vec<f32> = bytemuck::allocation::pod_collect_to_vec(
            &fs::read(folder.path().join(format!("{name}.out"))).unwrap(),
        );
        let (quality, agreement) = (decibels(&case.real, &case.ours), decibels(&theirs, &case.ours));
        println!("{name}: {quality:.1} dB to float, {agreement:.1} dB between runtimes; {}", case.summary);
        // Weights are drawn, not trained: what 4 bits do to 20 layers of them says nothing about quantization.
        let least = if name.ends_with(".w4") { f64::NEG_INFINITY } else { 8.0 };
        if case.ours.len() != theirs.len() || quality < least || agreement < 25.0 {
            failures.push(format!("{name}: {quality:.1} dB to float, {agreement:.1} dB between runtimes"));
        }
    }
    assert!(!cases.is_empty());
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), 3 * files.len(), failures.join("\n"));
}
