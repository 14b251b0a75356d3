//! `calipers report` as a user meets it: what it renders again, what it says of two runs, and what it refuses.

#[path = "../../study/tests/page/fixture.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod fixture;

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use calipers_study::Report;
use calipers_study::report::write;
use serde_json::Value;

/// A folder as a study leaves it.
fn run(folder: &Path, name: &str, report: &Report) {
    let folder = folder.join(name);
    fs::create_dir(&folder).expect("a folder");
    write(&folder, report).expect("the report is written");
}

fn calipers(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("calipers").expect("the command is built");
    command.current_dir(folder).arg("report").args(arguments);
    command
}

fn printed(command: &mut Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).expect("UTF-8")
}

#[test]
fn a_report_is_rendered_again() {
    let folder = tempfile::tempdir().expect("a folder");
    run(folder.path(), "a", &fixture::report(2));
    let files = ["report.html", "report.md", "report.csv"].map(|name| folder.path().join("a").join(name));
    let first = files.each_ref().map(|file| fs::read(file).expect("it is there"));
    for file in &files {
        fs::remove_file(file).expect("it can be removed");
    }
    let text = printed(&mut calipers(folder.path(), &["a"]));
    assert_eq!(files.each_ref().map(|file| fs::read(file).expect("it is there again")), first);
    assert!(text.contains("native ptq-static") && text.contains("wrote a/report.html"), "{text}");
    assert!(!text.contains("report.json"), "what was read is left as it is");

    let json: Value =
        serde_json::from_str(&printed(&mut calipers(folder.path(), &["a", "--json"]))).expect("JSON");
    let written = fs::read_to_string(folder.path().join("a/report.json")).expect("it is there");
    assert_eq!(json, serde_json::from_str::<Value>(&written).expect("JSON"));
}

#[test]
fn two_runs_are_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let (older, mut newer) = (fixture::report(1), fixture::report(1));
    newer.frameworks[0].versions.insert(String::from("torch"), String::from("3.0"));
    newer.cells[4].metrics.accuracy = Some(fixture::accuracy(1_500));
    run(folder.path(), "older", &older);
    run(folder.path(), "newer", &newer);
    let text = printed(&mut calipers(folder.path(), &["newer", "--against", "older"]));
    for told in ["pytorch torch  2.15.0  3.0", "75.00", "Newcombe", "not paired", "no winner is named"] {
        assert!(text.contains(told), "{told} in {text}");
    }
    let arguments = ["newer", "--against", "older", "--json"];
    let changes: Value =
        serde_json::from_str(&printed(&mut calipers(folder.path(), &arguments))).expect("JSON");
    assert_eq!(changes["versions"][0]["after"], "3.0");
    let fallen = changes["accuracies"].as_array().expect("a list").iter().filter(|it| it["after"] == 0.75);
    assert_eq!(fallen.count(), 1);
}

#[test]
fn what_cannot_be_read_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    run(folder.path(), "good", &fixture::report(1));
    fs::create_dir(folder.path().join("bad")).expect("a folder");
    let refusal = |arguments: &[&str]| {
        let output = calipers(folder.path(), arguments).assert().code(2).get_output().clone();
        assert!(output.stdout.is_empty());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let report = folder.path().join("bad/report.json");
    assert!(refusal(&["bad"]).starts_with("error: bad: there is no report.json\nhint: give the folder"));
    fs::write(&report, "{\"version\": 1}").expect("writes");
    assert!(refusal(&["bad"]).contains("bad/report.json: is a report of version 1, expected 2\nhint:"));
    fs::write(&report, "{\"version\": 2, \"calipers\": 3}").expect("writes");
    assert!(refusal(&["bad"]).contains("at line 1 column 28\nhint: `calipers study` makes it again"));
    let page = folder.path().join("good/report.html");
    fs::remove_file(&page).expect("it is there");
    assert!(refusal(&["good", "--against", "bad"]).contains("bad/report.json"));
    assert!(!page.exists() && !folder.path().join("bad/report.html").exists());
}
