//! The workspace's Rust tests, by cargo-nextest where it is installed, else by cargo, and the examples in the
//! documentation, which only cargo runs.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use crate::process::{Finished, answers, cargo, run};
use crate::tally::{LEFT_OUT, Tally};

/// How the tests are run.
pub struct Settings<'a> {
    /// Variables that name what the tests need.
    pub variables: Vec<(&'static str, &'a OsStr)>,
    /// Also those marked `#[ignore]`, which need the Python environments.
    pub ignored_too: bool,
}

/// All tests but those in the documentation.
pub fn all(settings: &Settings<'_>) -> io::Result<Tally> {
    if answers(&mut cargo(&["nextest", "--version"])) { nextest(settings) } else { plain(settings) }
}

/// The examples in the documentation.
pub fn documentation() -> io::Result<Tally> {
    let finished = run(&mut cargo(&["test", "--workspace", "--doc", "--no-fail-fast"]))?;
    let tally = counted(&finished.lines);
    Ok(if finished.success { tally } else { tally.hold_against(false) })
}

fn nextest(settings: &Settings<'_>) -> io::Result<Tally> {
    let report = target_folder()?.join("nextest/default/tests.xml");
    if let Err(error) = fs::remove_file(&report)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut command = cargo(&["nextest", "run", "--workspace", "--no-fail-fast"]);
    if settings.ignored_too {
        command.args(["--run-ignored", "all"]);
    }
    let Finished { success, lines } = run(command.envs(settings.variables.iter().copied()))?;
    // Nothing was built where there is no report.
    let report = fs::read_to_string(&report).unwrap_or_default();
    let mut tally = reported(&report);
    tally.left_out.extend(ignored(skipped_by_nextest(&lines)));
    Ok(tally.hold_against(success))
}

fn plain(settings: &Settings<'_>) -> io::Result<Tally> {
    let mut command =
        cargo(&["test", "--workspace", "--all-targets", "--no-fail-fast", "--", "--show-output"]);
    if settings.ignored_too {
        command.arg("--include-ignored");
    }
    let Finished { success, lines } = run(command.envs(settings.variables.iter().copied()))?;
    Ok(counted(&lines).hold_against(success))
}

/// The folder of everything that is built.
fn target_folder() -> io::Result<PathBuf> {
    let output =
        cargo(&["metadata", "--no-deps", "--format-version", "1"]).stderr(Stdio::inherit()).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let folder = metadata["target_directory"].as_str();
    folder.map(PathBuf::from).ok_or_else(|| io::Error::other("cargo metadata names no target_directory"))
}

/// What cargo test counts: `test result: ok. 3 passed; 0 failed; 1 ignored; ...`, once for each program.
fn counted(lines: &[String]) -> Tally {
    let mut tally = Tally::default();
    let mut not_run = 0;
    for line in lines.iter().filter_map(|line| line.strip_prefix("test result: ")) {
        tally.passed += number_before(line, " passed");
        tally.failed += number_before(line, " failed");
        not_run += number_before(line, " ignored");
    }
    tally.take_up(lines.iter().map(String::as_str));
    tally.left_out.extend(ignored(not_run));
    tally
}

/// What nextest's JUnit report counts, and what the tests in it say that they left out.
fn reported(report: &str) -> Tally {
    let Some(start) = report.find("<testsuites ") else { return Tally::default() };
    let tag = report[start..].split('>').next().unwrap_or_default();
    let failed = attribute(tag, "failures") + attribute(tag, "errors");
    let mut tally =
        Tally { passed: attribute(tag, "tests").saturating_sub(failed), failed, left_out: Vec::new() };
    let lines: Vec<String> = report
        .lines()
        .filter_map(|line| line.find(LEFT_OUT).map(|at| &line[at..]).filter(|_| says_left_out(line)))
        .map(|line| unescaped(line.split('<').next().unwrap_or_default()))
        .collect();
    tally.take_up(lines.iter().map(String::as_str));
    tally
}

/// Whether the words begin a line of a test's output, which may stand directly behind the report's tag.
fn says_left_out(line: &str) -> bool {
    let before = line.split(LEFT_OUT).next().unwrap_or_default().trim();
    before.is_empty() || before.ends_with('>')
}

fn skipped_by_nextest(lines: &[String]) -> usize {
    let summary = lines.iter().rev().find(|line| line.trim_start().starts_with("Summary ["));
    summary.map_or(0, |line| number_before(line, " skipped"))
}

fn ignored(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|_| "a test that installs packages or needs them (#[ignore])".to_owned())
}

fn number_before(line: &str, word: &str) -> usize {
    let before = line.split(word).next().filter(|before| before.len() < line.len()).unwrap_or_default();
    let digits = before.trim_end_matches(|character: char| character.is_ascii_digit()).len();
    before[digits..].parse().unwrap_or(0)
}

fn attribute(tag: &str, name: &str) -> usize {
    let value = tag.split(&format!(" {name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn unescaped(text: &str) -> String {
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    pairs.into_iter().fold(text.to_owned(), |text, (escape, character)| text.replace(escape, character))
}

#[cfg(test)]
mod tests {
    use super::{counted, reported, skipped_by_nextest};

    #[test]
    fn the_counts_of_cargo_test_are_added_up() {
        let lines = [
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "left out: the data (it is not here)",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s",
        ];
        let tally = counted(&lines.map(str::to_owned));
        assert_eq!((tally.passed, tally.failed, tally.left_out.len()), (12, 2, 2));
        assert_eq!(tally.left_out[0], "the data (it is not here)");
    }

    #[test]
    fn a_report_is_counted() {
        let report = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="5" failures="1" errors="1" uuid="1" time="1.0">
  <testsuite name="a" tests="5" disabled="0" errors="1" failures="1">
    <testcase name="b"><system-out>running 1 test
left out: the data (&lt;here&gt; &amp; there)
test b ... ok</system-out><system-err>left out: more (why)</system-err></testcase>
    <testcase name="c"><system-out>it was not left out: really</system-out></testcase>"#;
        let tally = reported(report);
        assert_eq!((tally.passed, tally.failed), (1, 2));
        assert_eq!(tally.left_out, ["the data (<here> & there)", "more (why)"]);
        assert_eq!(reported("").hold_against(true).failed, 1);
    }

    #[test]
    fn the_tests_that_nextest_skips_are_counted() {
        let lines = ["     Summary [   0.4s] 12 tests run: 12 passed (1 slow), 5 skipped"].map(str::to_owned);
        assert_eq!(skipped_by_nextest(&lines), 5);
        assert_eq!(skipped_by_nextest(&[]), 0);
    }
}
