//! What is left of a study that is killed, whose disk is full, or whose environment changed under it.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

const STUDY: &str = include_str!("small.toml");
/// Random moments at which a study is killed.
const KILLS: usize = 50;

/// A study of Calipers and of a worker that pretends to be PyTorch.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// Prepares the folder: the weights that the fake worker gives are those of the built-in model.
    fn new() -> Bench {
        let folder = tempfile::tempdir().expect("a folder");
        let study = STUDY
            .replace("\"ptq-static\", \"qat\"]", "\"ptq-static\"]\ntunings = [\"default\"]")
            .replace("[train]\nepochs = 1", "[train]\nepochs = 4")
            .replace("block_milliseconds = 5.0", "block_milliseconds = 0.5");
        fs::write(folder.path().join("small.toml"), study).expect("writes");
        let options = calipers_models::Options { classes: 10, batch_norm: true };
        let graph = calipers_models::build("resnet8", &options, 1).expect("builds");
        let weights: Vec<(String, Vec<usize>, Vec<u8>)> = graph
            .constants()
            .iter()
            .filter_map(|(&id, tensor)| {
                let bytes = tensor.as_f32()?.iter().flat_map(|element| element.to_le_bytes()).collect();
                Some((graph.value(id).name.clone(), tensor.shape().to_vec(), bytes))
            })
            .collect();
        let views = weights.iter().map(|(name, shape, bytes)| {
            let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
            (name, view.expect("a tensor"))
        });
        let content = safetensors::serialize(views, None).expect("serializes");
        fs::write(folder.path().join("weights.safetensors"), content).expect("writes");
        Bench { folder }
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, out: &str) -> Command {
        let folder = self.folder.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_calipers"));
        command
            .current_dir(folder)
            .args(["study", "small.toml", "--threads", "1", "--out", out])
            .env("CALIPERS_PYTORCH_PYTHON", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake_framework.py"))
            .env("CALIPERS_CACHE", folder.join("cache"))
            .env("FAKE_TRAINING", "train")
            .env("FAKE_WEIGHTS", folder.join("weights.safetensors"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whole lines of the records; a torn last one is left out.
fn records(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("records.jsonl")).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).expect("every whole line is a record")).collect()
}

/// Results by their key: what must never be lost, and never be done twice.
fn results(records: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for record in records {
        if let Some(key) = record["key"].as_str() {
            let kind = record["record"].as_str().expect("a kind");
            *counts.entry(format!("{kind} {key}")).or_default() += 1;
        }
    }
    counts
}

/// Every checkpoint and artefact that a record says is finished is there and whole.
fn assert_files_are_whole(out: &Path, records: &[Value]) {
    let hex = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    let hash = |path: &Path| fs::read(path).ok().map(|bytes| hex(&bytes));
    let newest_epoch = records.iter().rev().find(|record| record["record"] == "epoch");
    if let Some(epoch) = newest_epoch {
        let file = out.join(epoch["checkpoint"].as_str().expect("a path"));
        assert_eq!(hash(&file).as_deref(), epoch["checkpoint_hash"].as_str(), "{}", file.display());
    }
    for record in records.iter().filter(|record| record["record"] == "cell" && record["hashes"].is_array()) {
        let file = out.join(record["cell"]["artefact"]["file"].as_str().expect("a path"));
        // That of all files of an artefact is a hash of theirs.
        let found = hash(&file).map(|hash| hex(hash.as_bytes()));
        assert_eq!(found.as_deref(), record["hashes"][0].as_str(), "{}", file.display());
    }
}

fn accuracies(out: &Path) -> Vec<Value> {
    let report = fs::read_to_string(out.join("report.json")).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let cells = report["cells"].as_array().expect("a list").clone();
    cells.into_iter().map(|cell| cell["metrics"]["accuracy"].clone()).collect()
}

#[test]
fn nothing_that_is_finished_is_lost_at_fifty_kills() {
    let bench = Bench::new();
    let whole = bench.command("whole").output().expect("runs");
    let lines = text(&whole.stderr).lines().count() as u64;
    assert!(bench.out("whole").join("report.json").exists(), "{}", text(&whole.stderr));

    let mut random = calipers_random::Random::new(5, "kills");
    let (mut kills, mut folders) = (0, 0);
    while kills < KILLS {
        // A folder is used until a study in it comes to its end; then there is nothing left to lose.
        folders += 1;
        let name = format!("killed-{folders}");
        let out = bench.out(&name);
        let mut finished: BTreeMap<String, usize> = BTreeMap::new();
        while !out.join("report.json").exists() {
            let mut child = bench.command(&name).spawn().expect("starts");
            // The moment follows the study's own steps, so that it is as random on a slow machine as on a fast one.
            let mut said = BufReader::new(child.stderr.take().expect("a pipe")).lines();
            said.by_ref().take(random.below(lines) as usize).for_each(drop);
            std::thread::sleep(Duration::from_secs_f64(0.05 * random.uniform_f64()));
            kills += usize::from(child.try_wait().expect("asks").is_none());
            child.kill().expect("kills");
            child.wait().expect("ends");
            let found = records(&out);
            assert_files_are_whole(&out, &found);
            let now = results(&found);
            for (key, count) in &finished {
                assert_eq!(now.get(key), Some(count), "{key} was lost, or done again");
            }
            finished = now;
            finished.retain(|key, _| !may_repeat(key));
        }
        let last = bench.command(&name).output().expect("runs");
        assert_eq!(accuracies(&out), accuracies(&bench.out("whole")), "{}", text(&last.stderr));
        for (key, count) in &results(&records(&out)) {
            assert!(may_repeat(key) || *count == 1, "{key} was done {count} times");
        }
    }
    println!("{kills} kills in {folders} folders");
}

/// Gates that fail, as those of a worker that pretends do, are evaluated again; nothing else is.
fn may_repeat(key: &str) -> bool {
    key.starts_with("parity") || key.starts_with("step")
}

#[test]
fn a_full_disk_is_named_and_what_was_finished_stays() {
    let bench = Bench::new();
    fs::create_dir(bench.folder.path().join("small")).expect("a folder");
    // A file system of one MiB, in a name space of its own: the study runs in it until nothing fits any more, and once
    // more when there is room.
    let mount = "mount -t tmpfs -o size=1m tmpfs small";
    let script = format!(
        "{mount} && {{ \"$@\"; echo first $?; mount -o remount,size=500m small && \"$@\" >/dev/null 2>&1; \
         echo second $?; cp small/out/report.json roomy.json; }}"
    );
    let inside = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.current_dir(bench.folder.path());
        command
    };
    if !inside(mount).output().is_ok_and(|output| output.status.success()) {
        println!("left out: a full disk (this system lets no file system be mounted in a name space)");
        return;
    }
    let study = bench.command("small/out");
    let mut command = inside(&script);
    command.arg(study.get_program()).args(study.get_args());
    command.envs(study.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let Output { stdout, stderr, .. } = command.output().expect("runs");
    let (stdout, stderr) = (text(&stdout), text(&stderr));
    assert!(stdout.contains("first 1") || stdout.contains("first 2"), "{stdout}{stderr}");
    assert!(stderr.contains("No space left"), "{stderr}");
    assert!(stderr.contains("hint: make room"), "{stderr}");
    let report =
        fs::read_to_string(bench.folder.path().join("roomy.json")).expect("the second went to its end");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let cells = report["cells"].as_array().expect("a list");
    assert!(cells.iter().all(|cell| cell["status"] != "failed"), "{report}");
}

#[test]
fn packages_that_changed_under_the_environment_are_named() {
    let bench = Bench::new();
    let output = bench.command("changed").env("FAKE_VERSION", "2.0").output().expect("runs");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let report = fs::read_to_string(bench.out("changed").join("report.json")).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let error = &report["cells"][0]["error"]["message"];
    let message = error.as_str().expect("text");
    assert!(message.contains("torch 2.0, where 1.0 was installed"), "{message}");
    assert!(message.contains("calipers env install pytorch"), "{message}");
}

#[test]
fn a_gpu_is_a_line_of_its_own_and_its_absence_is_said() {
    let bench = Bench::new();
    let study = fs::read_to_string(bench.folder.path().join("small.toml")).expect("reads");
    let study = study.replace("pytorch = [\"eager\"]", "pytorch = [\"eager\", \"gpu\"]");
    fs::write(bench.folder.path().join("small.toml"), study).expect("writes");
    let cell = |out: &str| {
        let report = fs::read_to_string(bench.out(out).join("report.json")).expect("a report");
        let report: Value = serde_json::from_str(&report).expect("JSON");
        let cells = report["cells"].as_array().expect("a list").clone();
        cells.into_iter().find(|cell| cell["path"] == "gpu").expect("the cell is there")
    };
    let _ = bench.command("without").output().expect("runs");
    let without = cell("without");
    assert_eq!(without["status"], "skipped", "{without}");
    let reason = without["error"]["message"].as_str().expect("text");
    assert!(reason.contains("PyTorch sees no GPU"), "{reason}");
    // A worker that pretends to have one sees it only where it may: in the process of that cell.
    let _ = bench.command("with").env("FAKE_DEVICE", "a pretended GPU").output().expect("runs");
    let with = cell("with");
    assert_eq!(with["status"], "ok", "{with}");
    assert!(with["metrics"]["latency"]["p50"].as_f64().expect("a time") > 0.0, "{with}");
}
