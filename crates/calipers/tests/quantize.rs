//! `calipers quantize` as a user meets it: what it writes, what it says of bad input, and that it leaves nothing half-made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use calipers_formats::onnx;
use calipers_ir::{DType, Dim, GraphEditor, Model, Op, Opaque, TensorType};
use calipers_models::{Options, resnet8};
use serde_json::Value;

/// A folder with a small network, `float.onnx`, and `data` with sixteen images and labels.
fn setting() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let model = Model::new(resnet8(&Options::default(), 1).expect("a network"));
    onnx::write(&model, folder.path().join("float.onnx")).expect("writes");
    fs::create_dir(folder.path().join("data")).expect("a folder");
    let image = |index: u32| ((index.wrapping_mul(2_654_435_761) >> 8) % 1000) as f32 / 250.0 - 2.0;
    write_images(folder.path(), &(0..16 * 3072).map(image).collect::<Vec<f32>>());
    let labels: Vec<u8> = (0..16i64).flat_map(|index| (index % 10).to_le_bytes()).collect();
    write_npy(&folder.path().join("data/labels.npy"), "<i8", "(16,)", &labels);
    folder
}

fn write_npy(path: &Path, kind: &str, shape: &str, content: &[u8]) {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    let length = (header.len() + 1 + 10).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{header:<width$}\n", width = length - 1).bytes());
    bytes.extend_from_slice(content);
    fs::write(path, bytes).expect("writes");
}

fn write_images(folder: &Path, pixels: &[f32]) {
    let bytes: Vec<u8> = pixels.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
    let shape = format!("({}, 3, 32, 32)", pixels.len() / 3072);
    write_npy(&folder.join("data/input.npy"), "<f4", &shape, &bytes);
}

fn calipers(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_calipers"));
    command.current_dir(folder).arg("quantize").args(arguments).output().expect("the command starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Standard error of a command that must end with status 2 and leave nothing.
fn refusal(folder: &Path, arguments: &[&str]) -> String {
    let before = names(folder);
    let output = calipers(folder, arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    assert_eq!(names(folder), before, "{arguments:?}");
    text(&output.stderr)
}

#[test]
fn nothing_but_the_data_is_needed() {
    let folder = setting();
    let output = calipers(folder.path(), &["float.onnx", "--data", "data", "--samples", "8", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        names(folder.path()),
        [
            "data",
            "float.onnx",
            "float.w8a8.assignment.json",
            "float.w8a8.calibration.json",
            "float.w8a8.onnx",
            "float.w8a8.recipe.json"
        ]
    );
    let bytes = |name: &str| fs::metadata(folder.path().join(name)).expect("is there").len();
    assert_eq!(report["bytes_before"], bytes("float.onnx"));
    assert_eq!(report["bytes_after"], bytes("float.w8a8.onnx"));
    assert!(bytes("float.w8a8.onnx") * 2 < bytes("float.onnx"));
    assert_eq!(
        (report["share_of_weights"].as_f64(), report["share_of_macs"].as_f64()),
        (Some(1.0), Some(1.0))
    );
    assert_eq!(report["calibration"]["samples"], 8);
    let verification = &report["verification"];
    assert_eq!((&verification["samples"], &verification["held_out"]), (&Value::from(8), &Value::from(true)));
    assert_eq!(verification["accuracy_after"]["of"], 8);
    assert!(verification["outputs"][0]["sqnr"].as_f64().expect("a number") > 15.0, "{verification}");

    // The recipe beside it, given again, gives the same file.
    let arguments = [
        "float.onnx",
        "--data",
        "data",
        "--samples",
        "8",
        "--recipe",
        "float.w8a8.recipe.json",
        "-o",
        "again.onnx",
    ];
    assert!(calipers(folder.path(), &arguments).status.success());
    let read = |name: &str| fs::read(folder.path().join(name)).expect("is there");
    assert_eq!(read("again.onnx"), read("float.w8a8.onnx"));
    assert_eq!(read("again.recipe.json"), read("float.w8a8.recipe.json"));

    let message = refusal(folder.path(), &["float.w8a8.onnx", "--data", "data", "-o", "twice.onnx"]);
    assert!(message.contains("only a float graph can be quantized"), "{message}");
}

#[test]
fn without_data_weights_and_running_ranges_can_be_quantized() {
    let folder = setting();
    for (mode, output) in [("weight-only", "float.w8.onnx"), ("dynamic", "float.w8a8-dynamic.onnx")] {
        let found = calipers(folder.path(), &["float.onnx", "--mode", mode]);
        assert!(found.status.success(), "{}", text(&found.stderr));
        assert!(text(&found.stdout).contains("loaded and run on zeros"), "{}", text(&found.stdout));
        assert!(folder.path().join(output).exists());
    }
    let message = refusal(folder.path(), &["float.onnx"]);
    assert!(message.contains("data are needed") && message.contains("--mode weight-only"), "{message}");
}

#[test]
fn what_is_excluded_stays_in_float_and_is_listed_with_the_reason() {
    let folder = setting();
    let arguments = ["float.onnx", "--data", "data", "--exclude", "fc*", "--exclude", "no such node"];
    let output = calipers(folder.path(), &arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(shown.contains("1 Gemm (fc): the recipe excludes `fc*`"), "{shown}");
    assert!(shown.contains("note: the exclusion `no such node` matches no node"), "{shown}");
    assert!(shown.contains("used for calibration too"), "{shown}");
}

#[test]
fn bad_input_is_refused_and_leaves_nothing() {
    let folder = setting();
    let tflite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tflite/float16.tflite");
    fs::copy(tflite, folder.path().join("model.tflite")).expect("copies");
    fs::write(folder.path().join("recipe.json"), r#"{"version": 2, "rule": []}"#).expect("writes");
    fs::write(folder.path().join("broken.onnx"), b"no model").expect("writes");
    for (arguments, expected) in [
        (&["float.onnx", "--data", "data", "-o", "float.onnx"][..], "is the model itself"),
        (&["float.onnx", "--data", "data", "-o", "missing/out.onnx"], "there is no folder missing"),
        (&["float.onnx", "--data", "data", "-o", "out.tflite"], "TFLite is read and not yet written"),
        (&["model.tflite", "--data", "data", "-o", "out.onnx"], "is a TFLite model"),
        (&["broken.onnx", "--data", "data"], "broken.onnx"),
        (&["absent.onnx", "--data", "data"], "absent.onnx"),
        (&["float.onnx", "--data", "absent"], "there is no such file or folder"),
        (&["float.onnx", "--data", "data", "--recipe", "recipe.json"], "unknown field `rule`"),
        (
            &["float.onnx", "--data", "data", "--precision", "w8", "--mode", "static"],
            "the precision w8 is weight-only",
        ),
        (&["float.onnx", "--data", "data", "--exclude", "*"], "nothing in this model is quantized"),
        (&["float.onnx", "--data", "data", "--precision", "w2"], "possible values"),
    ] {
        let message = refusal(folder.path(), arguments);
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    let mut pixels = vec![0.5f32; 16 * 3072];
    pixels[5 * 3072 + 7] = f32::NAN;
    write_images(folder.path(), &pixels);
    let message = refusal(folder.path(), &["float.onnx", "--data", "data"]);
    assert!(message.contains("'input' has the value NaN at element 7"), "{message}");
    assert!(message.contains('5'), "the sample is named: {message}");
}

#[test]
fn operators_that_nobody_knows_are_named_where_they_block_calibration() {
    let folder = setting();
    let read = onnx::read(folder.path().join("float.onnx")).expect("reads");
    let mut editor = GraphEditor::edit(&read.graph);
    let mut value = read.graph.outputs()[0];
    for (node, name) in [("first", "Fancy"), ("second", "Fancier")] {
        let op = Op::Opaque(Opaque {
            domain: String::from("example"),
            op_type: name.to_owned(),
            attributes: Default::default(),
        });
        let ty = TensorType::new(DType::F32, [Dim::symbolic("N"), Dim::Known(10)]);
        let made = editor.add_typed_node(node, op, &[Some(value)], vec![(format!("{node}_out"), ty)]);
        value = made.expect("a node")[0];
    }
    editor.add_output(value);
    let mut model = Model::new(editor.build().expect("a graph"));
    model.opsets.insert(String::from("example"), 1);
    onnx::write(&model, folder.path().join("fancy.onnx")).expect("writes");
    let message = refusal(folder.path(), &["fancy.onnx", "--data", "data"]);
    assert!(message.contains("node `first`"), "{message}");
    assert!(message.contains("Fancy (node `first`), Fancier (node `second`)"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing() {
    let folder = setting();
    let before = names(folder.path());
    // A limit on the length of files; without the signal that comes with it, writing fails as on a full disk.
    let output = Command::new("sh")
        .args(["-c", r#"trap '' XFSZ; ulimit -f 16; exec "$0" "$@""#, env!("CARGO_BIN_EXE_calipers")])
        .args(["quantize", "float.onnx", "--data", "data"])
        .current_dir(folder.path())
        .output()
        .expect("starts");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("could not be written; nothing of it is left"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(names(folder.path()), before);
}

#[cfg(unix)]
#[test]
fn an_interrupted_command_leaves_nothing() {
    let folder = setting();
    let images = folder.path().join("many.npy");
    write_npy(&images, "<f4", "(40000, 3, 32, 32)", &[]);
    // Zeros that take no room on the disk.
    let file = fs::OpenOptions::new().write(true).open(&images).expect("opens");
    let header = file.metadata().expect("is there").len();
    file.set_len(header + 40_000 * 3072 * 4).expect("grows");
    drop(file);
    let before = names(folder.path());
    let child = Command::new(env!("CARGO_BIN_EXE_calipers"))
        .args(["quantize", "float.onnx", "--data", "many.npy", "--samples", "40000"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    // It listens when it has threads of its own.
    let tasks = PathBuf::from(format!("/proc/{}/task", child.id()));
    let start = Instant::now();
    while tasks.exists()
        && fs::read_dir(&tasks).map_or(0, Iterator::count) < 2
        && start.elapsed() < Duration::from_secs(60)
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(interrupt.success());
    let Output { status, stderr, .. } = child.wait_with_output().expect("ends");
    assert_eq!(status.code(), Some(2), "{}", text(&stderr));
    assert!(text(&stderr).contains("stopped; nothing was written"), "{}", text(&stderr));
    assert_eq!(names(folder.path()), before);
}
