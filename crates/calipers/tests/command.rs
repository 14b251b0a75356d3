//! The command as a user meets it: what it makes, how it goes on, what it says of bad input.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

/// A study that takes seconds.
const SMALL: &str = include_str!("small.toml");

fn calipers(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("calipers").expect("the command is built");
    command.current_dir(folder);
    command
}

fn with_spec(spec: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("small.toml"), spec).expect("writes");
    folder
}

fn report(folder: &Path) -> Value {
    let text = fs::read_to_string(folder.join("runs/small/report.json")).expect("the report is there");
    serde_json::from_str(&text).expect("JSON")
}

fn statuses(report: &Value) -> Vec<(String, String)> {
    let text = |cell: &Value, key: &str| cell[key].as_str().unwrap_or_default().to_owned();
    let cells = report["cells"].as_array().expect("a list");
    cells.iter().map(|cell| (text(cell, "variant"), text(cell, "status"))).collect()
}

/// Standard error of a command that must end with status 2.
fn refusal(folder: &Path, arguments: &[&str]) -> String {
    let output = calipers(folder).arg("study").args(arguments).assert().code(2).get_output().clone();
    assert!(!folder.join("runs/small/report.json").exists(), "a refused study writes no report");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_study_of_our_own_engine_needs_no_python_and_goes_on_where_it_was() {
    let folder = with_spec(SMALL);
    let arguments = ["study", "small.toml", "--frameworks", "calipers", "--threads", "1"];
    let no_python = |command: &mut Command| {
        command.env("PATH", "").env("CALIPERS_CACHE", folder.path().join("cache"));
    };
    let mut command = calipers(folder.path());
    no_python(&mut command);
    command.args(arguments).assert().success();

    let first = report(folder.path());
    assert_eq!(first["version"], 2);
    let expected = [("float", "ok"), ("ptq-static", "ok"), ("qat", "skipped")];
    assert_eq!(statuses(&first), expected.map(|(variant, status)| (variant.to_owned(), status.to_owned())));
    let notes = first["notes"].to_string();
    assert!(notes.contains("accuracy means nothing"), "{notes}");
    let quantized = &first["cells"][1];
    let (float_bytes, bytes) =
        (first["cells"][0]["metrics"]["file_bytes"].as_u64(), quantized["metrics"]["file_bytes"].as_u64());
    assert!(bytes.expect("bytes") * 2 < float_bytes.expect("bytes"), "8-bit weights take a quarter");
    assert!(quantized["metrics"]["against_float"]["agreement"].as_f64().expect("agreement") > 0.5);
    assert!(quantized["metrics"]["latency"]["to_float"]["value"].as_f64().expect("a ratio") > 0.0);
    let folder_of_artefact =
        folder.path().join("runs/small").join(quantized["artefact"]["folder"].as_str().expect("a path"));
    for file in ["model.onnx", "model.recipe.json", "logits.safetensors", "trace.json"] {
        assert!(folder_of_artefact.join(file).exists(), "{file}");
    }
    for file in ["report.html", "report.md", "report.csv", "records.jsonl"] {
        assert!(folder.path().join("runs/small").join(file).exists(), "{file}");
    }

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |name: &str| {
            let metadata = fs::metadata(folder.path().join("runs/small").join(name)).expect("is there");
            metadata.permissions().mode()
        };
        assert_eq!(
            mode("report.html"),
            mode("records.jsonl"),
            "reports can be read by whoever reads other files"
        );
    }

    let records =
        |folder: &Path| fs::read_to_string(folder.join("runs/small/records.jsonl")).expect("records");
    let before = records(folder.path());
    let mut command = calipers(folder.path());
    no_python(&mut command);
    let again = command.args(arguments).arg("--json").assert().success().get_output().stdout.clone();
    let again: Value = serde_json::from_slice(&again).expect("JSON on standard output");
    assert_eq!(again["cells"], first["cells"], "finished cells are taken as they are");
    let after = records(folder.path());
    let added: Vec<&str> = after[before.len()..].lines().collect();
    assert!(
        added
            .iter()
            .all(|line| line.contains(r#""record":"run""#) || line.contains(r#""record":"framework""#)),
        "{added:?}"
    );
}

#[test]
fn a_framework_that_is_not_there_is_failed_cells_and_a_failed_gate() {
    let folder = with_spec(SMALL);
    let missing = folder.path().join("no-such-python");
    calipers(folder.path())
        .args(["study", "small.toml", "--threads", "1"])
        .env("CALIPERS_PYTORCH_PYTHON", &missing)
        .env("CALIPERS_CACHE", folder.path().join("cache"))
        .assert()
        .code(1);
    let report = report(folder.path());
    assert!(statuses(&report)[..3].iter().all(|(_, status)| status == "failed"));
    let error = &report["cells"][0]["error"];
    assert_eq!(error["stage"], "install");
    assert!(error["message"].as_str().expect("text").contains("no-such-python"), "{error}");
    assert_eq!(report["gates"]["parity"][0]["passed"], false);
}

#[test]
fn bad_input_is_refused_by_name() {
    let folder = with_spec(&SMALL.replace("epochs = 1\nbatch", "epoks = 1\nbatch"));
    let message = refusal(folder.path(), &["small.toml"]);
    assert!(
        message.contains("small.toml") && message.contains("epoks") && message.contains("line"),
        "{message}"
    );

    let folder = with_spec(SMALL);
    for (arguments, expected) in [
        (vec!["absent.toml"], "cannot read the study absent.toml"),
        (
            vec!["small.toml", "--frameworks", "jax"],
            "one of pytorch, tensorflow, onnxruntime, openvino, calipers",
        ),
        (
            vec!["small.toml", "--variants", "fp4"],
            "one of float, float-finetuned, ptq-static, ptq-dynamic, weight-only, qat",
        ),
        (vec!["small.toml", "--epochs", "0"], "`train.epochs` is 0, expected 1 or more"),
        (vec!["small.toml", "--data", "cifar10=nowhere"], "takes no path"),
    ] {
        let message = refusal(folder.path(), &arguments);
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    calipers(folder.path()).args(["study", "small.toml", "--data", "cifar10"]).assert().code(2);
}

#[test]
fn data_that_is_not_there_or_damaged_is_named() {
    let spec = SMALL.replace("source = \"shapes10\"", "source = \"cifar10\"");
    let folder = with_spec(&spec);
    let message = refusal(folder.path(), &["small.toml"]);
    assert!(message.contains("--data cifar10=PATH"), "{message}");
    let message = refusal(folder.path(), &["small.toml", "--data", "cifar10=nowhere"]);
    assert!(message.contains("nowhere"), "{message}");

    let data = folder.path().join("data");
    fs::create_dir(&data).expect("a folder");
    let record = |label: u8| [&[label][..], &[0; 3072]].concat();
    for name in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
    {
        fs::write(data.join(format!("{name}.bin")), record(3).repeat(10_000)).expect("writes");
    }
    let damaged = [record(3).repeat(6), record(77), record(3).repeat(9_993)].concat();
    fs::write(data.join("data_batch_2.bin"), damaged).expect("writes");
    let message = refusal(folder.path(), &["small.toml", "--data", "cifar10=data"]);
    assert!(message.contains("data_batch_2.bin") && message.contains("77"), "{message}");
}

#[test]
fn an_output_folder_in_use_is_refused() {
    let folder = with_spec(SMALL);
    let out = folder.path().join("runs/small");
    fs::create_dir_all(&out).expect("a folder");
    let lock = fs::File::create(out.join(".lock")).expect("a file");
    lock.lock().expect("locks");
    let message = refusal(folder.path(), &["small.toml", "--frameworks", "calipers"]);
    assert!(message.contains("in use by another study"), "{message}");
}

#[test]
fn a_truncated_onnx_file_is_refused_by_name() {
    let folder = with_spec(SMALL);
    let arguments =
        ["study", "small.toml", "--frameworks", "calipers", "--variants", "float", "--threads", "1"];
    calipers(folder.path()).args(arguments).assert().success();
    let whole = fs::read(folder.path().join("runs/small/models/initial-seed-1.onnx")).expect("a model");
    fs::write(folder.path().join("mine.onnx"), &whole).expect("writes");
    let spec = SMALL.replace("\"resnet8\"", "\"mine.onnx\"").replace("\"small\"", "\"mine\"");
    let spec = spec.replace("classes = 10\n", "").replace("batch_norm = true\n", "");
    fs::write(folder.path().join("small.toml"), spec).expect("writes");
    calipers(folder.path()).args(arguments).assert().success();

    fs::write(folder.path().join("mine.onnx"), &whole[..whole.len() / 2]).expect("writes");
    let output = calipers(folder.path()).args(arguments).assert().code(2).get_output().clone();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("mine.onnx") && message.contains("cut short"), "{message}");
}

/// An `.npy` file of f32 in row-major order.
fn npy(shape: &[usize], values: impl Iterator<Item = f32>) -> Vec<u8> {
    let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(length).expect("short").to_le_bytes());
    bytes.extend(format!("{header:<width$}\n", width = length - 1).bytes());
    bytes.extend(values.flat_map(f32::to_le_bytes));
    bytes
}

#[test]
fn a_model_and_data_of_ones_own_are_studied() {
    let folder = with_spec(SMALL);
    let first = ["study", "small.toml", "--frameworks", "calipers", "--variants", "float", "--threads", "1"];
    calipers(folder.path()).args(first).assert().success();
    fs::copy(folder.path().join("runs/small/models/initial-seed-1.onnx"), folder.path().join("mine.onnx"))
        .expect("copies");
    let (samples, values) = (30, 3 * 32 * 32);
    let noise = (0..samples * values).map(|at| ((at * 7919 % 1000) as f32 / 500.0) - 1.0);
    fs::write(folder.path().join("mine.npy"), npy(&[samples, 3, 32, 32], noise)).expect("writes");

    let spec = r#"
name = "small"
title = "My network on my arrays"
seeds = [1]
variants = ["float", "ptq-static", "ptq-dynamic", "weight-only"]
[model]
name = "mine.onnx"
[data]
source = "files"
[calibration]
samples = 10
batch = 5
[latency]
rounds = 5
block_milliseconds = 1.0
samples = 4
batch = 2
[profile]
inferences = 2
[frameworks]
calipers = ["native"]
"#;
    fs::write(folder.path().join("small.toml"), spec).expect("writes");
    let message = String::from_utf8_lossy(
        &calipers(folder.path()).args(["study", "small.toml"]).assert().code(2).get_output().stderr,
    )
    .into_owned();
    assert!(message.contains("--data files=PATH"), "{message}");
    let arguments = ["study", "small.toml", "--data", "files=mine.npy", "--threads", "1"];
    calipers(folder.path()).args(arguments).assert().success();
    let report = report(folder.path());
    assert_eq!((&report["data"]["train"], &report["data"]["test"]), (&10.into(), &20.into()));
    let cells = report["cells"].as_array().expect("a list");
    assert_eq!(cells.len(), 4);
    for cell in cells {
        assert_eq!((&cell["status"], &cell["weights"]), (&"ok".into(), &"shared".into()), "{cell}");
        assert!(cell["metrics"]["accuracy"].is_null(), "data without labels have no accuracy: {cell}");
        assert!(cell["metrics"]["profile"]["operators"].as_array().is_some_and(|all| !all.is_empty()));
        assert_eq!(
            cell["metrics"]["weights"].as_array().expect("layers").len(),
            10,
            "nine convolutions, one product"
        );
    }
    let agreement = cells[1]["metrics"]["against_float"]["agreement"].as_f64().expect("agreement");
    assert!(agreement > 0.5, "{agreement}");

    let too_many = spec.replace("samples = 10\nbatch", "samples = 40\nbatch");
    fs::write(folder.path().join("small.toml"), too_many).expect("writes");
    let output = calipers(folder.path()).args(arguments).assert().code(2).get_output().clone();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("at most 30 samples"), "{message}");
}
