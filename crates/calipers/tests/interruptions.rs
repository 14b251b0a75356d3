//! What is left of a study when a worker dies or the user stops it.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const STUDY: &str = include_str!("small.toml");

fn study(folder: &Path, training: &str) -> Command {
    fs::write(folder.join("small.toml"), STUDY).expect("writes");
    let fake = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fake_framework.py");
    let mut command = Command::new(env!("CARGO_BIN_EXE_calipers"));
    command
        .current_dir(folder)
        .args(["study", "small.toml", "--threads", "1"])
        .env("CALIPERS_PYTORCH_PYTHON", fake)
        .env("CALIPERS_CACHE", folder.join("cache"))
        .env("FAKE_TRAINING", training)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_worker_that_is_killed_is_a_failed_cell_with_its_last_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let Output { status, stderr, .. } = study(folder.path(), "die").output().expect("runs");
    assert_eq!(status.code(), Some(1), "{}", text(&stderr));
    let report = fs::read_to_string(folder.path().join("runs/small/report.json")).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let cell = &report["cells"][0];
    assert_eq!((&cell["framework"], &cell["status"]), (&Value::from("pytorch"), &Value::from("failed")));
    assert_eq!(cell["error"]["stage"], "train");
    assert!(cell["error"]["message"].as_str().expect("text").contains("signal 9"), "{cell}");
    assert!(cell["error"]["details"].as_str().expect("text").contains("the last words"), "{cell}");
}

#[test]
fn an_interrupted_study_keeps_what_is_finished_and_writes_no_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let child = study(folder.path(), "hang").spawn().expect("starts");
    let log = folder.path().join("runs/small/logs/pytorch.stderr");
    let start = Instant::now();
    // The step gate is the first that trains.
    while !fs::read_to_string(&log).unwrap_or_default().contains("the last words") {
        assert!(start.elapsed() < Duration::from_secs(120), "the study never came to train");
        std::thread::sleep(Duration::from_millis(50));
    }
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(interrupt.success());
    let Output { status, stderr, .. } = child.wait_with_output().expect("ends");
    let stderr = text(&stderr);
    assert_eq!(status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("error: stopped; what was finished is kept in"), "{stderr}");
    assert!(stderr.contains("the same command goes on"), "{stderr}");
    assert!(!folder.path().join("runs/small/report.json").exists());
    let records = fs::read_to_string(folder.path().join("runs/small/records.jsonl")).expect("records");
    assert!(records.lines().any(|line| line.contains(r#""record":"parity""#)), "{records}");
}
