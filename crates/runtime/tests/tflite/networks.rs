//! Networks that TensorFlow's converter exports, run by a session, against LiteRT's reference kernels.
//!
//! Needs the folder that the scripts in `testdata/exports` fill, named by `CALIPERS_EXPORTS`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use calipers_formats::tflite;
use calipers_ir::{DType, Tensor};
use calipers_runtime::{Session, SessionOptions};
use safetensors::tensor::{Dtype, SafeTensors};

/// The samples of the only tensor in a file.
fn samples(path: &Path) -> Vec<Tensor> {
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (_, stored) = tensors.tensors().remove(0);
    let dtype = match stored.dtype() {
        Dtype::F32 => DType::F32,
        Dtype::I8 => DType::I8,
        Dtype::I16 => DType::I16,
        Dtype::I32 => DType::I32,
        other => panic!("{}: samples of type {other:?}", path.display()),
    };
    let mut shape = stored.shape().to_vec();
    let count = std::mem::replace(&mut shape[0], 1);
    let size = stored.data().len() / count;
    let chunks = stored.data().chunks(size);
    chunks.map(|chunk| Tensor::new(dtype, shape.clone(), chunk.to_vec().into()).unwrap()).collect()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    match tensor.as_f32() {
        Some(floats) => floats.iter().map(|&float| float.into()).collect(),
        None => tensor.to_integers().unwrap().iter().map(|&integer| integer as f64).collect(),
    }
}

/// Networks with a layer on integer tensors that no session runs yet.
const REFUSED: [&str; 2] = ["lstm_dynamic", "lstm_int8"];

/// Networks with operators that have no integer arithmetic yet and run in f32, and the steps that these cost.
const INEXACT: [(&str, f64); 3] = [("decoder_int8", 8.0), ("encoder_int8", 16.0), ("vit_int8", 24.0)];

/// What may lie between a session and LiteRT: nothing of integers, and of floats a share of the largest output.
/// Dynamic range rounds activations by their own range, so that a last bit can move one of them by a step.
fn allowed(name: &str, dtype: DType, largest: f64) -> f64 {
    match dtype {
        DType::F32 if name.ends_with("_dynamic") => 0.1 * largest,
        DType::F32 => 1e-4 * largest,
        _ => INEXACT.iter().find(|(inexact, _)| *inexact == name).map_or(0.0, |(_, steps)| *steps),
    }
}

/// Largest difference over all samples, and the largest output.
fn compare(path: &Path, name: &str) -> Result<(f64, f64, DType), String> {
    let model = tflite::read(path).map_err(|error| error.to_string())?;
    let input = model.graph.value(model.graph.inputs()[0]).name.clone();
    let mut session = Session::with_subgraphs(model.graph, model.subgraphs, SessionOptions::default())
        .map_err(|e| e.to_string())?;
    let beside = |kind: &str| samples(&path.with_file_name(format!("{name}.{kind}.safetensors")));
    let (mut worst, mut largest, mut dtype) = (0.0f64, 0.0f64, DType::F32);
    for (given, expected) in beside("inputs").into_iter().zip(beside("outputs")) {
        let found = session.run(&[(&input, given)], &mut ()).map_err(|error| error.to_string())?.remove(0);
        if found.shape() != expected.shape() || found.dtype() != expected.dtype() {
            return Err(format!("{} instead of {}", found.tensor_type(), expected.tensor_type()));
        }
        dtype = found.dtype();
        for (a, b) in numbers(&found).iter().zip(numbers(&expected)) {
            worst = worst.max((a - b).abs());
            largest = largest.max(b.abs());
        }
    }
    Ok((worst, largest, dtype))
}

#[test]
#[ignore = "needs the exported networks"]
fn exported_networks_give_litert_s_numbers() {
    let Some(folder) = std::env::var_os("CALIPERS_EXPORTS") else {
        // Written past the test harness, which would keep it to itself.
        let test = "exported_networks_give_litert_s_numbers";
        let _ = writeln!(std::io::stderr(), "left out: {test}: CALIPERS_EXPORTS is not set");
        return;
    };
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "tflite"));
    paths.sort();
    assert!(!paths.is_empty());
    let mut failures = String::new();
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        match compare(&path, &name) {
            Ok((worst, largest, dtype)) => {
                println!("{name}: differs by {worst} at most, of {largest}");
                if worst > allowed(&name, dtype, largest) {
                    let _ = writeln!(failures, "{name}: differs by {worst}, of {largest}");
                }
            }
            Err(reason) if REFUSED.contains(&name.as_str()) => println!("{name}: {reason}"),
            Err(reason) => {
                let _ = writeln!(failures, "{name}: {reason}");
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
