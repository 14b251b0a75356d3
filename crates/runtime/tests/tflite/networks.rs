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

/// What a session and LiteRT differ by.
struct Difference {
    /// The largest one.
    worst: f64,
    /// The largest output.
    largest: f64,
    /// Of the output.
    dtype: DType,
    /// Rows of outputs whose largest element is at the same place, and all rows.
    decisions: [usize; 2],
}

/// What may lie between a session and LiteRT: nothing of integers, and of floats a share of the largest output.
/// Dynamic range rounds activations by their own range: a last bit of a layer in floats can move one of them by a step,
/// which the layers after it spread. It does so in one network, whose third block has the first such step.
fn allowed(name: &str, difference: &Difference) -> f64 {
    match difference.dtype {
        DType::F32 if name == "mobilenet_v2_dynamic" => 0.05 * difference.largest,
        DType::F32 => 1e-5 * difference.largest,
        _ => 0.0,
    }
}

/// Where the first largest element of each row is.
fn decisions(numbers: &[f64], row: usize) -> Vec<usize> {
    let first_largest =
        |row: &[f64]| (0..row.len()).rev().fold(0, |best, at| if row[at] >= row[best] { at } else { best });
    numbers.chunks(row.max(1)).map(first_largest).collect()
}

/// The difference over all samples.
fn compare(path: &Path, name: &str) -> Result<Difference, String> {
    let model = tflite::read(path).map_err(|error| error.to_string())?;
    let input = model.graph.value(model.graph.inputs()[0]).name.clone();
    let mut session = Session::with_subgraphs(model.graph, model.subgraphs, SessionOptions::default())
        .map_err(|error| error.to_string())?;
    let beside = |kind: &str| samples(&path.with_file_name(format!("{name}.{kind}.safetensors")));
    let mut difference = Difference { worst: 0.0, largest: 0.0, dtype: DType::F32, decisions: [0, 0] };
    for (given, expected) in beside("inputs").into_iter().zip(beside("outputs")) {
        let found = session.run(&[(&input, given)], &mut ()).map_err(|error| error.to_string())?.remove(0);
        if found.shape() != expected.shape() || found.dtype() != expected.dtype() {
            return Err(format!("{} instead of {}", found.tensor_type(), expected.tensor_type()));
        }
        difference.dtype = found.dtype();
        let row = found.shape().last().copied().unwrap_or(1);
        let (found, expected) = (numbers(&found), numbers(&expected));
        for (a, b) in found.iter().zip(&expected) {
            difference.worst = difference.worst.max((a - b).abs());
            difference.largest = difference.largest.max(b.abs());
        }
        let pairs = decisions(&found, row).into_iter().zip(decisions(&expected, row));
        for (found, expected) in pairs {
            difference.decisions[0] += usize::from(found == expected);
            difference.decisions[1] += 1;
        }
    }
    Ok(difference)
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
    let [name, output, equal, difference, largest] = ["model", "output", "equal", "difference", "of largest"];
    println!("{name:24} {output:>6} {equal:>6} {difference:>12} {largest:>12} equal decisions");
    let mut failures = String::new();
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        match compare(&path, &name) {
            Ok(difference) => {
                let Difference { worst, largest, dtype, decisions: [same, all] } = difference;
                let exact = if worst == 0.0 { "yes" } else { "no" };
                println!(
                    "{name:24} {dtype:>6} {exact:>6} {worst:>12.3e} {largest:>12.3e} {same:>6} of {all}"
                );
                if worst > allowed(&name, &difference) || same != all {
                    let _ = writeln!(
                        failures,
                        "{name}: differs by {worst}, of {largest}; {same} of {all} decisions"
                    );
                }
            }
            Err(reason) => {
                let _ = writeln!(failures, "{name}: {reason}");
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
