//! Networks that others export go through the commands with no flag but the data, and what comes out computes the same in
//! ONNX Runtime.
//!
//! Needs the folder that the scripts in `testdata/exports` fill, named by `CALIPERS_EXPORTS`, and the interpreter of an
//! environment with `onnxruntime`, `safetensors` and `numpy`, named by `CALIPERS_ONNXRUNTIME_PYTHON`.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use calipers_data::samples::batches;
use calipers_inspect::{OpenedModel, model_inputs, named_tensors, open};
use safetensors::SafeTensors;
use serde_json::Value;

/// Samples for each network: 128 to calibrate on, the others to compare on.
const SAMPLES: usize = 256;

/// Least share of decisions in which ONNX Runtime and we agree. Sums of integers are the same, but float operators round
/// otherwise, and a number on the edge between two integers goes to the other one. Networks with random weights make
/// much of that: where ONNX Runtime with and without its optimizations agrees less with itself, that is what is asked.
const AGREEMENT: f64 = 0.995;

/// Largest difference between ONNX Runtime's results and ours, relative to the largest result, likewise.
const DIFFERENCE: f64 = 0.05;

fn calipers(arguments: &[&OsStr]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_calipers")).args(arguments).output().expect("the command starts")
}

/// What a command printed as JSON.
fn json(arguments: &[&OsStr]) -> Result<Value, String> {
    let output = calipers(arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        return Err(format!("{:?}: {}", arguments[0], text(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {}", text(&output.stdout)))
}

fn python(interpreter: &OsStr, arguments: &[&OsStr]) -> bool {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exports.py");
    Command::new(interpreter).arg(script).args(arguments).status().expect("the interpreter starts").success()
}

/// Results of our runtime on all samples: the elements of the first output, and the shape of one sample of it.
fn ours(model: &OpenedModel, data: &Path) -> (Vec<f32>, Vec<usize>) {
    let inputs = model_inputs(model).expect("inputs");
    let opened = calipers_data::samples::open(data, &inputs, &Default::default()).expect("data");
    let all: Vec<usize> = (0..opened.samples.len()).collect();
    let mut session = model.session(1).expect("a session");
    let (mut elements, mut shape) = (Vec::new(), Vec::new());
    for batch in batches(opened.samples.as_ref(), &all, 8) {
        let inputs = named_tensors(batch.expect("a batch")).expect("tensors");
        let inputs: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
        let outputs = session.run(&inputs, &mut ()).expect("runs");
        elements.extend_from_slice(&outputs[0].as_f32().expect("numbers"));
        shape = outputs[0].shape()[1..].to_vec();
    }
    (elements, shape)
}

/// The elements of an output that Python wrote.
fn elements(path: &Path, output: &str) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("outputs");
    let outputs = SafeTensors::deserialize(&bytes).expect("outputs");
    let found = outputs.tensor(output).expect("the first output").data().chunks_exact(4);
    found.map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes"))).collect()
}

/// Share of equal decisions, and the largest difference relative to the largest number.
fn compare(ours: &[f32], theirs: &[f32], shape: &[usize]) -> (f64, f64) {
    assert_eq!(ours.len(), theirs.len());
    // Classes are the last axis, and of images the channels.
    let (classes, inner) = match shape {
        [classes, height, width] => (*classes, height * width),
        _ => (*shape.last().expect("an axis"), 1),
    };
    let decisions = |data: &[f32]| -> Vec<usize> {
        let rows = data.chunks(classes * inner).flat_map(|row| {
            (0..inner).map(move |column| {
                let score = |class: &usize| row[class * inner + column];
                (0..classes).max_by(|a, b| score(a).total_cmp(&score(b))).expect("a class")
            })
        });
        rows.collect()
    };
    let (a, b) = (decisions(ours), decisions(theirs));
    let equal = a.iter().zip(&b).filter(|(a, b)| a == b).count();
    let largest = theirs.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    let difference = ours.iter().zip(theirs).fold(0f32, |worst, (x, y)| worst.max((x - y).abs()));
    (equal as f64 / a.len() as f64, f64::from(difference / largest))
}

/// Inspects, quantizes, evaluates and compares one network. What was found, in words.
fn through_the_commands(exports: &Path, folder: &Path, name: &str) -> Result<String, String> {
    let os = |path: &Path| path.as_os_str().to_owned();
    let (model, quantized) = (exports.join(format!("{name}.onnx")), folder.join(format!("{name}.int8.onnx")));
    let (model, quantized, data) = (os(&model), os(&quantized), os(&folder.join(format!("{name}.npz"))));
    let flags = |words: [&'static str; 2]| words.map(OsStr::new);
    let [with, json_flag] = flags(["--data", "--json"]);
    json(&[OsStr::new("inspect"), &model, json_flag])?;
    let report =
        json(&[OsStr::new("quantize"), &model, with, &data, OsStr::new("-o"), &quantized, json_flag])?;
    json(&[OsStr::new("inspect"), &quantized, json_flag])?;
    for (command, models) in [("eval", vec![&quantized]), ("compare", vec![&model, &quantized])] {
        let mut arguments = vec![OsStr::new(command)];
        arguments.extend(models.into_iter().map(|path| path.as_os_str()));
        arguments.extend([with, data.as_os_str(), json_flag]);
        json(&arguments)?;
    }
    let verification = &report["verification"];
    Ok(format!(
        "{:.1} % of weights and {:.1} % of multiply-accumulates in integers, agreement with float {:.1} %, SQNR {:.1} dB",
        100.0 * report["share_of_weights"].as_f64().unwrap_or(f64::NAN),
        100.0 * report["share_of_macs"].as_f64().unwrap_or(f64::NAN),
        100.0 * verification["agreement"]["value"].as_f64().unwrap_or(f64::NAN),
        verification["outputs"][0]["sqnr"].as_f64().unwrap_or(f64::NAN),
    ))
}

#[test]
#[ignore = "needs CALIPERS_EXPORTS and CALIPERS_ONNXRUNTIME_PYTHON"]
fn exported_networks_go_through_every_command_and_run_in_onnxruntime() {
    let variable = |name: &str| {
        let value = std::env::var_os(name);
        if value.is_none() {
            let _ = writeln!(std::io::stderr(), "left out: exported networks ({name} is not set)");
        }
        value
    };
    let (Some(exports), Some(interpreter)) =
        (variable("CALIPERS_EXPORTS"), variable("CALIPERS_ONNXRUNTIME_PYTHON"))
    else {
        return;
    };
    let exports = PathBuf::from(exports);
    let folder = tempfile::tempdir().expect("a folder");
    let samples = SAMPLES.to_string();
    let at = folder.path().as_os_str();
    assert!(python(&interpreter, &[OsStr::new("data"), exports.as_os_str(), at, OsStr::new(&samples)]));
    let entries = std::fs::read_dir(folder.path()).expect("the folder");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("a file").path())
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no networks in {}", exports.display());

    let mut failures = String::new();
    for name in &names {
        match through_the_commands(&exports, folder.path(), name) {
            Ok(found) => println!("{name}: {found}"),
            Err(error) => {
                let _ = writeln!(failures, "{name}: {error}");
            }
        }
    }
    assert!(python(&interpreter, &[OsStr::new("run"), at]));
    let mut compared = 0;
    for name in &names {
        let file = |ending: &str| folder.path().join(format!("{name}.{ending}"));
        let Ok(model) = open(file("int8.onnx")) else { continue };
        if let Ok(reason) = std::fs::read_to_string(file("refused")) {
            let float = [OsStr::new("float"), exports.as_os_str(), at, OsStr::new(name)];
            if python(&interpreter, &float) {
                let _ = writeln!(failures, "{name}: ONNX Runtime runs the float network alone: {reason}");
            } else {
                println!("left out: {name} in ONNX Runtime (it does not run the float network either)");
            }
            continue;
        }
        let output = &model.graph().value(model.graph().outputs()[0]).name;
        let theirs = elements(&file("optimized.safetensors"), output);
        let plain = elements(&file("plain.safetensors"), output);
        let (ours, shape) = ours(&model, &file("npz"));
        let (agreement, difference) = compare(&ours, &theirs, &shape);
        let (own_agreement, own_difference) = compare(&plain, &theirs, &shape);
        compared += 1;
        println!(
            "{name}: {:.2} % of decisions as ONNX Runtime, difference {difference:.1e}; ONNX Runtime without \
             optimizations {:.2} %, {own_difference:.1e}",
            100.0 * agreement,
            100.0 * own_agreement
        );
        if agreement < AGREEMENT.min(own_agreement) || difference > DIFFERENCE.max(own_difference) {
            let _ = writeln!(failures, "{name}: agreement {agreement:.4}, difference {difference:.3}");
        }
    }
    assert!(failures.is_empty(), "{failures}");
    println!("{compared} of {} quantized networks compared with ONNX Runtime", names.len());
}
