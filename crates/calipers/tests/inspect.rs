//! `calipers inspect`, `eval` and `compare` as a user meets them.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use calipers_formats::onnx;
use calipers_inspect::dump::write_npy;
use calipers_ir::{Graph, GraphEditor, Model, Tensor, text::parse};
use calipers_quant::{CalibrationOptions, Document, ObserverKind, Recipe, quantize};
use serde_json::Value;

const NETWORK: &str = r#"graph small {
  input %x: f32[N, 2, 4, 4]
  const %conv.weight: f32[3, 2, 1, 1] = [1.0, -1.0, 0.5, 0.25, -0.75, 2.0]
  const %conv.bias: f32[3] = [0.5, 0.0, -0.5]
  const %fc.weight: f32[3, 4] = [1.0, 2.0, 3.0, -1.0, 0.5, 0.25, -2.0, 1.5, 0.75, -0.5, 1.0, 0.125]
  node conv %conv: f32[N, 3, 4, 4] = Conv(%x, %conv.weight, %conv.bias) {strides = [1, 1], pads = [0, 0, 0, 0]}
  node relu %relu: f32[N, 3, 4, 4] = Relu(%conv)
  node mean %mean: f32[N, 3, 1, 1] = GlobalAveragePool(%relu)
  node flat %flat: f32[N, 3] = Flatten(%mean)
  node fc %scores: f32[N, 4] = Gemm(%flat, %fc.weight)
  output %scores
}"#;

const SAMPLES: usize = 24;

fn calipers(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("calipers").expect("the command is built");
    command.current_dir(folder);
    command
}

fn printed(folder: &Path, arguments: &[&str]) -> String {
    let output = calipers(folder).args(arguments).assert().success().get_output().stdout.clone();
    String::from_utf8(output).expect("UTF-8")
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(folder, arguments)).expect("JSON")
}

/// Standard error of a command that must end with status 2.
fn refusal(folder: &Path, arguments: &[&str]) -> String {
    let output = calipers(folder).args(arguments).assert().code(2).get_output().clone();
    assert!(output.stdout.is_empty());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn write(path: &Path, graph: Graph) {
    onnx::write(&Model::new(graph), path).expect("writes");
}

/// A folder with a float model, the quantized one, one with a fault, and data with labels.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let graph = parse(NETWORK).expect("parses");
    write(&at("float.onnx"), graph.clone());
    let numbers: Vec<f32> = (0..SAMPLES * 32).map(|index| (index as f32 * 0.37).sin() * 2.0).collect();
    let x = Tensor::from_vec([SAMPLES, 2, 4, 4], numbers).expect("a tensor");
    fs::create_dir(at("data")).expect("a folder");
    write_npy(&at("data/x.npy"), &x).expect("writes");
    let labels: Vec<i64> = (0..SAMPLES as i64).map(|index| index % 4).collect();
    write_npy(&at("data/labels.npy"), &Tensor::from_vec([SAMPLES], labels).expect("a tensor"))
        .expect("writes");
    let recipe = Recipe::default().with_observer(ObserverKind::MinMax);
    let batch = vec![(String::from("x"), x)];
    let options = CalibrationOptions::default();
    let quantized = quantize(&graph, [batch], &recipe, &options, |_| {}).expect("quantizes");
    quantized.assignment.save(&at("int8.assignment.json")).expect("writes");
    let mut editor = GraphEditor::edit(&quantized.graph);
    let scale = quantized.graph.value_named("conv.weight_scale").expect("the scale");
    let numbers = quantized.graph.constant(scale).and_then(Tensor::as_f32).expect("f32");
    let faulty: Vec<f32> = numbers.iter().map(|number| 8.0 * number).collect();
    editor.set_constant(scale, Tensor::from_vec([faulty.len()], faulty).expect("a tensor"));
    write(&at("faulty.onnx"), editor.build().expect("a graph"));
    write(&at("int8.onnx"), quantized.graph);
    folder
}

#[test]
fn a_model_is_described_as_text_json_and_page() {
    let folder = folder();
    insta::assert_snapshot!("inspect_float", printed(folder.path(), &["inspect", "float.onnx"]));
    insta::assert_snapshot!("inspect_int8", printed(folder.path(), &["inspect", "int8.onnx"]));
    let found = json(folder.path(), &["inspect", "int8.onnx", "--json", "--html", "page.html"]);
    assert_eq!(found["parameters"], 6 + 3 + 12);
    // Products of the convolution, 4 x 4 x 3 x 2, and of the matrix product, 3 x 4.
    assert_eq!(found["macs"], 96 + 12);
    let ledger = &found["ledger"];
    let rows = ledger["rows"].as_array().expect("rows");
    let stored: u64 = rows.iter().filter_map(|row| row["bytes"].as_u64()).sum();
    let bytes = fs::metadata(folder.path().join("int8.onnx")).expect("is there").len();
    assert_eq!(stored + ledger["rest"].as_u64().expect("a number"), bytes);
    let page = fs::read_to_string(folder.path().join("page.html")).expect("the page");
    assert!(page.contains("<svg") && !page.contains("<script") && !page.contains("http://"));
}

#[test]
fn values_are_dumped() {
    let folder = folder();
    let dump = |name: &str, more: &[&str]| {
        let arguments = [&["inspect", "int8.onnx", "--dump", name, "-o", "value.npy"], more].concat();
        printed(folder.path(), &arguments);
        fs::read(folder.path().join("value.npy")).expect("the file")
    };
    let stored = dump("conv.weight_quantized", &[]);
    // Symmetric, per channel: the largest of each channel is 127.
    assert_eq!(&stored[stored.len() - 6..], &[127, 129, 127, 64, 208, 127]);
    let real = dump("conv.weight_quantized", &["--dequantized"]);
    let numbers: Vec<f32> = real[real.len() - 24..]
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
        .collect();
    assert!(
        numbers.iter().zip([1.0, -1.0, 0.5, 0.25, -0.75, 2.0]).all(|(x, y)| (x - y).abs() < 0.01),
        "{numbers:?}"
    );
    let activation = dump("scores", &["--data", "data/x.npy", "--limit", "2"]);
    assert_eq!(activation.len(), 128 + 2 * 4 * 4);
    let message = refusal(folder.path(), &["inspect", "float.onnx", "--dump", "relu", "-o", "no.npy"]);
    assert!(
        message.contains("`relu` is an activation") && message.contains("hint: give --data"),
        "{message}"
    );
    let message = refusal(folder.path(), &["inspect", "float.onnx", "--dump", "Conv.W", "-o", "no.npy"]);
    assert!(message.contains("no value `Conv.W`") && message.contains("`conv.weight`"), "{message}");
    assert!(!folder.path().join("no.npy").exists());
}

#[test]
fn accuracy_and_agreement() {
    let folder = folder();
    let found = json(
        folder.path(),
        &["eval", "int8.onnx", "--against", "float.onnx", "--data", "data", "--batch", "7", "--json"],
    );
    assert_eq!(found["samples"], SAMPLES);
    assert_eq!((&found["top1"]["of"], &found["top5"]), (&Value::from(SAMPLES), &Value::Null));
    let agreement = found["against"]["agreement"]["hits"].as_u64().expect("a number");
    assert!(agreement >= SAMPLES as u64 - 2, "{found}");
    assert!(found["against"]["outputs"][0]["sqnr"].as_f64().expect("a number") > 20.0, "{found}");
    // Against itself everything agrees.
    let same = json(
        folder.path(),
        &["eval", "float.onnx", "--against", "float.onnx", "--data", "data", "--limit", "5", "--json"],
    );
    assert_eq!(
        (&same["against"]["agreement"]["hits"], &same["against"]["outputs"][0]["largest"]),
        (&5.into(), &0.0.into())
    );
    let text = printed(folder.path(), &["eval", "float.onnx", "--data", "data/x.npy"]);
    assert!(text.contains("the data have no labels"), "{text}");
    let message = refusal(folder.path(), &["eval", "float.onnx"]);
    assert!(message.contains("hint: give --data"), "{message}");
    let message = refusal(folder.path(), &["eval", "data/x.npy", "--data", "data"]);
    assert!(message.contains("x.npy"), "{message}");
}

#[test]
fn the_layer_to_blame_is_named() {
    let folder = folder();
    let sound = json(folder.path(), &["compare", "float.onnx", "int8.onnx", "--data", "data", "--json"]);
    assert_eq!(sound["diverges_first"], Value::Null, "{sound}");
    let conv = |found: &Value| {
        let layers = found["layers"].as_array().expect("layers").clone();
        layers.into_iter().find(|layer| layer["operator"] == "Conv").expect("the convolution")
    };
    assert!(conv(&sound)["calibrated"].is_array(), "the assignment beside the model is read");
    let found = json(
        folder.path(),
        &["compare", "float.onnx", "faulty.onnx", "--data", "data", "--json", "--html", "page.html"],
    );
    assert_eq!(found["diverges_first"], "relu", "{found}");
    assert_eq!(found["layers"][0]["name"], "relu", "{found}");
    assert!(conv(&found)["saturated"].as_f64().expect("a share") > 0.2, "{found}");
    let page = fs::read_to_string(folder.path().join("page.html")).expect("the page");
    assert!(page.contains("first layer that diverges") && !page.contains("<script"));
    let text =
        printed(folder.path(), &["compare", "float.onnx", "faulty.onnx", "--data", "data", "--limit", "4"]);
    assert!(text.contains("`relu` is the first layer that diverges. `relu` contributes most"), "{text}");
}
