//! `calipers gaps` as a user meets it: a part of the matrix, what it says of bad input, and, with the environments, the
//! quick matrix with its controls and its scripts.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use calipers::workers::Environment;
use calipers::workers::environment::{Host, State, state};
use serde_json::Value;

fn calipers(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("calipers").expect("the command is built");
    command.current_dir(folder).arg("gaps");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn report(folder: &Path) -> Value {
    let text = fs::read_to_string(folder.join("runs/gaps/gaps.json")).expect("the report is there");
    serde_json::from_str(&text).expect("JSON")
}

/// Cell to state.
fn states(report: &Value) -> BTreeMap<String, String> {
    let cells = report["cells"].as_array().expect("a list");
    let word = |cell: &Value, key: &str| cell[key].as_str().expect("text").to_owned();
    let key = |cell: &Value| ["framework", "path", "layer"].map(|key| word(cell, key)).join("/");
    cells.iter().map(|cell| (key(cell), word(cell, "state"))).collect()
}

#[test]
fn a_part_of_the_matrix_needs_no_python_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["--framework", "calipers", "--path", "w8a8,w8", "--layer", "conv2d,relu,conv3d"];
    let run = |more: &[&str]| {
        let mut command = calipers(folder.path());
        command.env("PATH", "").env("CALIPERS_CACHE", folder.path().join("cache"));
        command.args(arguments).args(more).assert().success().get_output().clone()
    };
    let output = run(&[]);
    assert!(text(&output.stdout).contains("conv2d"), "{}", text(&output.stdout));
    let first = report(folder.path());
    let found = states(&first);
    assert_eq!(found.len(), 6);
    assert_eq!(
        (&*found["calipers/w8a8/conv2d"], &*found["calipers/w8/conv2d"]),
        ("quantized", "weight-only")
    );
    assert_eq!(found["calipers/w8/relu"], "nothing to quantize");
    assert_eq!(first["controls"].as_array().expect("a list").len(), 5);
    assert!(first["controls"].as_array().expect("a list").iter().all(|control| control["passed"] == true));
    assert!(first["cells"][0]["evidence"]["operators"].as_array().expect("a list").len() > 2);

    let output = run(&["--json"]);
    assert!(text(&output.stderr).contains("11 of 11 cells were finished before"), "{}", text(&output.stderr));
    let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(printed["cells"], first["cells"]);

    let show = |arguments: &[&str]| {
        let output =
            calipers(folder.path()).arg("show").args(arguments).assert().success().get_output().clone();
        text(&output.stdout)
    };
    assert!(show(&["calipers/w8a8/conv2d"]).contains("convolve u8"));
    assert!(show(&["calipers/w8a8/conv2d", "--script"]).starts_with("#!/bin/sh"));
    assert!(show(&["pytorch/fx/lstm", "--script"]).contains("def path_fx("));
}

#[test]
fn unknown_names_list_the_known_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    for (arguments, name, known) in [
        (["--layer", "lsmt"], "`lsmt`", "lstm"),
        (["--path", "fxx"], "`fxx`", "pytorch/fx"),
        (["--framework", "torch"], "`torch`", "onnxruntime"),
        (["show", "pytorch/fx/lsmt"], "`lsmt`", "lstm"),
        (["show", "lstm"], "`lstm`", "FRAMEWORK/PATH/LAYER"),
    ] {
        let output = calipers(folder.path()).args(arguments).assert().code(2).get_output().clone();
        let said = text(&output.stderr);
        assert!(said.contains(name) && said.contains(known) && said.contains("hint:"), "{said}");
    }
    assert!(!folder.path().join("runs").exists(), "a refused run writes nothing");
}

#[test]
fn a_framework_that_is_not_there_is_cells_that_say_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = calipers(folder.path())
        .env("CALIPERS_PYTORCH_PYTHON", folder.path().join("no-python"))
        .env("CALIPERS_CACHE", folder.path().join("cache"))
        .args(["--framework", "pytorch,calipers", "--path", "fx,w8a8", "--layer", "linear"])
        .assert()
        .success()
        .get_output()
        .clone();
    let found = report(folder.path());
    assert_eq!(states(&found)["pytorch/fx/linear"], "not installed");
    assert_ne!(states(&found)["calipers/w8a8/linear"], "not installed");
    assert!(found["cells"][0]["error"].as_str().expect("text").contains("no-python"), "{found}");
    assert!(text(&output.stdout).contains("not installed"));
}

#[test]
fn a_model_needs_what_its_nodes_need() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models/residual_bn_opset21.onnx");
    calipers(folder.path())
        .args(["--framework", "calipers", "--path", "w8a8", "--model"])
        .arg(&model)
        .assert()
        .success();
    let found = report(folder.path());
    let needs = found["model"]["layers"].as_object().expect("a map");
    assert!(needs["batch_norm_folded"].as_array().expect("a list").len() > 1, "{needs:?}");
    let rows: Vec<&str> = needs.keys().map(String::as_str).collect();
    assert!(rows.contains(&"conv2d") && rows.contains(&"add") && !rows.contains(&"lstm"), "{rows:?}");
    assert_eq!(states(&found).len(), needs.len());

    let refused =
        calipers(folder.path()).args(["--model", "nothing.onnx"]).assert().code(2).get_output().clone();
    assert!(text(&refused.stderr).contains("nothing.onnx"), "{}", text(&refused.stderr));
}

#[test]
fn what_opened_and_closed_since_another_run_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["--framework", "calipers", "--path", "w8a8,w8", "--layer", "conv2d,relu"];
    calipers(folder.path()).args(arguments).assert().success();
    let now = fs::read_to_string(folder.path().join("runs/gaps/gaps.json")).expect("is there");
    let older = folder.path().join("older.json");
    // Then a convolution was left in float, and one that is gone now was quantized.
    let then =
        now.replacen("\"state\":\"quantized\",\"gap\":false", "\"state\":\"silently float\",\"gap\":true", 1);
    assert_ne!(now, then);
    fs::write(&older, &then).expect("writes");
    let output = calipers(folder.path())
        .args(arguments)
        .arg("--against")
        .arg(&older)
        .assert()
        .success()
        .get_output()
        .clone();
    let changes = &report(folder.path())["changes"];
    assert_eq!(changes["closed"].as_array().expect("a list").len(), 1, "{changes}");
    assert_eq!(changes["opened"].as_array().expect("a list").len(), 0, "{changes}");
    assert!(text(&output.stdout).contains("calipers/w8a8/conv2d"), "{}", text(&output.stdout));

    for (content, said) in [
        (then.replacen("\"schema\": 1", "\"schema\": 7", 1), "7"),
        (String::from("{\"cells\": []}"), "schema"),
        (then[..then.len() / 2].to_owned(), "older.json"),
    ] {
        fs::write(&older, content).expect("writes");
        let output = calipers(folder.path())
            .args(arguments)
            .arg("--against")
            .arg(&older)
            .assert()
            .code(2)
            .get_output()
            .clone();
        let error = text(&output.stderr);
        assert!(error.contains(said) && error.contains("hint:"), "{error}");
    }
}

/// The matrix that the documentation shows is read as any other run's, and is the whole one.
#[test]
fn the_published_matrix_is_rendered_and_compared_with() {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/gaps/gaps.json.gz");
    let folder = tempfile::tempdir().expect("a folder");
    calipers(folder.path()).arg("render").arg(&published).args(["--out", "page"]).assert().success();
    let page = fs::read_to_string(folder.path().join("page/gaps.html")).expect("the page");
    assert!(page.contains("tensorflow") && page.len() > 1_000_000, "{}", page.len());
    let markdown = |path: &Path| fs::read_to_string(path).expect("the Markdown");
    let shown = published.with_file_name("gaps.md");
    assert_eq!(markdown(&folder.path().join("page/gaps.md")), markdown(&shown), "gaps.md is of another run");

    let arguments = ["--framework", "calipers", "--path", "w8a8", "--layer", "conv2d", "--against"];
    calipers(folder.path()).args(arguments).arg(&published).assert().success();
    let gone = report(folder.path())["changes"]["gone"].as_array().expect("a list").len();
    assert!(gone > 2_500, "{gone} cells are in the published matrix alone");

    let half = folder.path().join("half.json.gz");
    let packed = fs::read(&published).expect("reads");
    fs::write(&half, &packed[..packed.len() / 2]).expect("writes");
    let output = calipers(folder.path()).args(arguments).arg(&half).assert().code(2).get_output().clone();
    assert!(text(&output.stderr).contains("half.json.gz"), "{}", text(&output.stderr));
}

#[cfg(unix)]
#[test]
fn a_run_that_is_killed_keeps_its_finished_cells() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["gaps", "--framework", "calipers", "--path", "w8a8", "--jobs", "1"];
    let mut child = Process::new(env!("CARGO_BIN_EXE_calipers"))
        .current_dir(folder.path())
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let journal = folder.path().join("runs/gaps/cells.jsonl");
    let finished = || fs::read_to_string(&journal).map_or(0, |text| text.lines().count());
    let start = Instant::now();
    while finished() < 8 {
        assert!(start.elapsed() < Duration::from_secs(120), "no cell was finished");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().expect("is killed");
    child.wait().expect("ends");
    assert!(!folder.path().join("runs/gaps/gaps.json").exists(), "a run that is killed writes no report");
    let kept = finished();
    let output = calipers(folder.path()).args(&arguments[1..]).assert().success().get_output().clone();
    let said = text(&output.stderr);
    let before = said.lines().find(|line| line.contains("were finished before")).expect("says what is kept");
    let count: usize = before.split_whitespace().find_map(|word| word.parse().ok()).expect("a number");
    assert!((kept - 1..=kept).contains(&count), "{kept} lines, {before}");
}

/// The interpreter of an environment; a test that needs it is run with the environments alone.
fn interpreter(environment: Environment) -> std::path::PathBuf {
    match state(environment, &Host::detect().expect("a cache folder")) {
        State::Own { program } => program,
        State::Installed(installed) => installed.folder.join("bin/python"),
        other => panic!("{}: {other:?}; `calipers env install` makes it", environment.name()),
    }
}

/// The whole of the quick matrix: every control, every probe's float outputs, what is known to be so, and the scripts of
/// one cell of each kind.
#[test]
#[ignore = "needs the Python environments"]
fn the_quick_matrix_holds_against_its_controls_and_its_scripts() {
    let folder = tempfile::tempdir().expect("a folder");
    calipers(folder.path()).arg("--quick").assert().success();
    let found = report(folder.path());
    let controls = found["controls"].as_array().expect("a list");
    assert_eq!(controls.len(), 22);
    for control in controls {
        assert_eq!(
            (&control["passed"], &control["state"]),
            (&Value::from(true), &control["expected"]),
            "{control}"
        );
    }
    let cells = states(&found);
    // What the frameworks' own documentation says of these paths.
    for (cell, state) in [
        ("pytorch/eager/conv2d", "quantized"),
        ("pytorch/fx/linear", "quantized"),
        ("pytorch/pt2e/conv2d", "quantized"),
        ("pytorch/eager-dynamic/linear", "dynamic"),
        ("pytorch/eager-dynamic/conv2d", "silently float"),
        ("tensorflow/tflite-int8/conv2d", "quantized"),
        ("tensorflow/tflite-dynamic/linear", "dynamic"),
        ("tensorflow/tflite-dynamic/add", "nothing to quantize"),
        ("onnxruntime/qdq/conv2d", "quantized"),
        ("onnxruntime/dynamic/linear", "dynamic"),
    ] {
        assert_eq!(cells[cell], state, "{cell}");
    }
    // Where a worker says that weights are stored as integers, our own reader finds some in the file.
    let mut read = 0;
    for cell in found["cells"].as_array().expect("a list") {
        let evidence = &cell["evidence"];
        let list = |key: &str| evidence[key].as_array().expect("a list").clone();
        let stores = |one: &Value| one["weighted"] == true && one["class"] != "float";
        if ["tensorflow", "onnxruntime"].contains(&cell["framework"].as_str().expect("text"))
            && list("operators").iter().any(stores)
        {
            let is_stored = |weight: &Value| !weight["type"].as_str().expect("text").starts_with("f32");
            assert!(list("weights").iter().any(is_stored), "{cell}");
            read += 1;
        }
    }
    assert!(read > 40, "{read} files were read");
    let training = found["capabilities"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|one| one["framework"] == "pytorch" && one["name"] == "qat_with_default_qconfig");
    assert_eq!(
        training.expect("was asked")["answer"],
        "no",
        "the notebook of 2023 trained without fake quantization"
    );

    // One script of each framework and kind of state, against the matrix.
    let interpreters = BTreeMap::from([
        ("pytorch", interpreter(Environment::PyTorch)),
        ("tensorflow", interpreter(Environment::TensorFlow)),
        ("onnxruntime", interpreter(Environment::OnnxRuntime)),
    ]);
    let mut seen = BTreeMap::new();
    for cell in found["cells"].as_array().expect("a list") {
        let key = ["framework", "path", "layer"].map(|key| cell[key].as_str().expect("text")).join("/");
        let framework = cell["framework"].as_str().expect("text");
        let kind = cell["state"].as_str().expect("text").split(" at ").next().unwrap_or_default().to_owned();
        if let Some(python) = interpreters.get(framework)
            && seen.insert((framework.to_owned(), kind), ()).is_none()
        {
            let script = calipers(folder.path())
                .args(["show", &key, "--script"])
                .assert()
                .success()
                .get_output()
                .stdout
                .clone();
            let file = folder.path().join("script.py");
            fs::write(&file, script).expect("writes");
            let output = Process::new(python).arg("-I").arg(&file).output().expect("runs");
            let expected = i32::from(cell["gap"] == true);
            let said =
                format!("{key}, {}:\n{}\n{}", cell["state"], text(&output.stdout), text(&output.stderr));
            assert_eq!(output.status.code(), Some(expected), "{said}");
        }
    }
    assert!(seen.len() >= 10, "{seen:?}");
}

/// Every layer is the same function in every framework: its native form gives what the graph defines.
#[test]
#[ignore = "needs the Python environments"]
fn every_layer_is_the_same_function_everywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    calipers(folder.path())
        .args(["--path", "eager-dynamic,tflite-dynamic,keras2-tflite-dynamic,onnxruntime/dynamic"])
        .assert()
        .success();
    let found = report(folder.path());
    let mut compared = 0;
    for cell in found["cells"].as_array().expect("a list") {
        if let (Some(parity), Some(range)) =
            (cell["evidence"]["parity"].as_f64(), cell["float_range"].as_f64())
        {
            assert!(parity <= 1e-4 * range.max(1.0), "{cell}");
            compared += 1;
        }
    }
    assert!(compared > 230, "{compared} cells were compared");
}
