//! Networks that TensorFlow's converter exports, computed by the reference as they are read.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::Path;

use calipers_formats::tflite;
use calipers_ir::{DType, Op, Tensor};
use safetensors::tensor::SafeTensors;

use crate::evaluate;
use crate::single::{TYPES, numbers};

/// Networks with an LSTM on integers, which the runtime's kernels define and not the reference: they are only read.
const ONLY_READ: [&str; 2] = ["lstm_dynamic", "lstm_int8"];

/// The first sample of the tensors in a file, by name.
fn samples(path: &Path) -> Vec<(String, Tensor)> {
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let first = |name: &str| {
        let stored = tensors.tensor(name).unwrap();
        let dtype = TYPES.iter().find(|(_, kind, _)| *kind == stored.dtype()).unwrap().2;
        let mut shape = stored.shape().to_vec();
        let count = std::mem::replace(&mut shape[0], 1);
        let bytes = stored.data()[..stored.data().len() / count].to_vec();
        (name.to_owned(), Tensor::new(dtype, shape, bytes.into()).unwrap())
    };
    tensors.names().into_iter().map(first).collect()
}

/// How far the result of the reference's float arithmetic may be from LiteRT's: a share of the largest output, or
/// steps of an integer output. Rounding in between, which the integer kernels do in fixed point, adds up in deep
/// networks; what computes as LiteRT does is held against it elsewhere.
fn tolerance(name: &str, dtype: DType, largest: f64) -> f64 {
    match dtype {
        DType::I8 => 24.0,
        DType::I16 => 400.0,
        _ if name.ends_with("_dynamic") => 0.1 * largest,
        _ => 1e-4 * largest,
    }
}

/// Every file is read without an operator that is kept as it is, has the inputs and outputs of its signature, and gives
/// about LiteRT's numbers. Returns how many were compared.
pub fn compare(folder: &OsStr) -> usize {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "tflite"));
    paths.sort();
    let (mut failures, mut compared) = (String::new(), 0);
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        match one(&path, &name) {
            Ok(report) => {
                compared += 1;
                println!("{name}: {report}");
            }
            Err(reason) => {
                let _ = writeln!(failures, "{name}: {reason}");
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
    compared
}

fn one(path: &Path, name: &str) -> Result<String, String> {
    let model = tflite::read(path).map_err(|error| error.to_string())?;
    let graphs = || std::iter::once(&model.graph).chain(model.subgraphs.values());
    if let Some(node) = graphs().flat_map(|graph| graph.nodes()).find(|node| matches!(node.op, Op::Opaque(_)))
    {
        return Err(format!("`{}` is kept as it is: {:?}", node.name, node.metadata));
    }
    let names = |ids: &[calipers_ir::ValueId]| {
        ids.iter().map(|&id| model.graph.value(id).name.clone()).collect::<Vec<_>>()
    };
    let [signature] = &tflite::signatures(&model)[..] else { return Err(String::from("no signature")) };
    let signed = |list: &[(String, String)]| list.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>();
    assert_eq!(signed(&signature.inputs), names(model.graph.inputs()), "{name}");
    assert_eq!(signed(&signature.outputs), names(model.graph.outputs()), "{name}");
    if ONLY_READ.contains(&name) {
        return Ok(String::from("is read"));
    }
    let beside = |kind: &str| samples(&path.with_file_name(format!("{name}.{kind}.safetensors")));
    let inputs: Vec<Tensor> = beside("inputs").into_iter().map(|(_, tensor)| tensor).collect();
    let (_, expected) = beside("outputs").remove(0);
    let found = evaluate::run(&model, &inputs)?.remove(0);
    if found.shape() != expected.shape() || found.dtype() != expected.dtype() {
        return Err(format!("{} instead of {}", found.tensor_type(), expected.tensor_type()));
    }
    let [found, expected] =
        [&found, &expected].map(|tensor| (tensor.dtype(), numbers(tensor.dtype(), &tensor.bytes())));
    let largest = expected.1.iter().fold(0.0, |largest: f64, number| largest.max(number.abs()));
    let differences = found.1.iter().zip(&expected.1).map(|(a, b)| (a - b).abs());
    let worst = differences.fold(0.0, f64::max);
    let allowed = tolerance(name, found.0, largest);
    let report = format!("differs by {worst} at most, of {largest}; {allowed} is allowed");
    if worst <= allowed { Ok(report) } else { Err(report) }
}
