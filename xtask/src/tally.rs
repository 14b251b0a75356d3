//! Counting: how many tests passed and failed, and what was left out and why.

use std::fmt::Write as _;
use std::time::Duration;

/// How a test says that it could not run for want of something: a line of its output that begins so, with what was left
/// out and why. Such a test counts as skipped.
pub const LEFT_OUT: &str = "left out: ";

/// What came of one part of the tests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that ran and passed.
    pub passed: usize,
    /// Tests that failed, and parts that could not be run although they should have been.
    pub failed: usize,
    /// Tests that did not run, each with what and why.
    pub left_out: Vec<String>,
}

impl Tally {
    /// A part that as a whole is left out.
    pub fn left_out(reason: impl Into<String>) -> Tally {
        Tally { left_out: vec![reason.into()], ..Tally::default() }
    }

    /// A part that is one check.
    pub fn one(success: bool) -> Tally {
        Tally { passed: usize::from(success), failed: usize::from(!success), left_out: Vec::new() }
    }

    /// Takes up the lines of [`LEFT_OUT`]: tests that their runner took for passed.
    pub fn take_up<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        for reason in lines.into_iter().filter_map(|line| line.trim().strip_prefix(LEFT_OUT)) {
            self.passed = self.passed.saturating_sub(1);
            self.left_out.push(reason.to_owned());
        }
    }

    /// Counts a runner that failed without naming a test, as one does that was not built, or that found no test.
    pub fn hold_against(mut self, success: bool) -> Tally {
        if self.failed == 0 && (!success || self == Tally::default()) {
            self.failed = 1;
        }
        self
    }
}

/// The parts that were run, as a table, what was left out, and a line with the sums.
pub fn summary(parts: &[(&str, Tally, Duration)]) -> String {
    let width = parts.iter().map(|(name, ..)| name.len()).max().unwrap_or_default();
    let mut text = format!("{:width$}  passed  failed  left out  seconds\n", "");
    let mut sum = Tally::default();
    for (name, tally, time) in parts {
        let (passed, failed, left_out) = (tally.passed, tally.failed, tally.left_out.len());
        let seconds = time.as_secs();
        let _ = writeln!(text, "{name:width$}  {passed:6}  {failed:6}  {left_out:8}  {seconds:7}");
        sum.passed += passed;
        sum.failed += failed;
        sum.left_out.extend(tally.left_out.iter().map(|reason| format!("{name}: {reason}")));
    }
    for reason in &sum.left_out {
        let _ = writeln!(text, "{LEFT_OUT}{reason}");
    }
    let _ = writeln!(text, "\n{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.left_out.len());
    text
}

#[cfg(test)]
mod tests {
    use super::{Tally, summary};
    use std::time::Duration;

    #[test]
    fn what_is_left_out_has_not_passed() {
        let mut tally = Tally { passed: 3, ..Tally::default() };
        tally.take_up(["running", "    left out: the data (it is not here)", "it was not left out: really"]);
        assert_eq!(
            (tally.passed, tally.left_out.as_slice()),
            (2, &["the data (it is not here)".to_owned()][..])
        );
    }

    #[test]
    fn a_runner_that_fails_or_finds_nothing_has_failed() {
        assert_eq!(Tally { passed: 3, ..Tally::default() }.hold_against(false).failed, 1);
        assert_eq!(Tally { passed: 3, failed: 2, ..Tally::default() }.hold_against(false).failed, 2);
        assert_eq!(Tally::default().hold_against(true).failed, 1);
        assert_eq!(Tally { passed: 3, ..Tally::default() }.hold_against(true).failed, 0);
    }

    #[test]
    fn the_last_line_has_the_sums() {
        let parts = [
            (
                "Rust",
                Tally { passed: 3, failed: 1, left_out: vec!["a (b)".to_owned()] },
                Duration::from_secs(4),
            ),
            ("ruff", Tally::left_out("it is not on the PATH"), Duration::ZERO),
        ];
        let text = summary(&parts);
        assert!(text.ends_with("\n3 passed, 1 failed, 2 skipped\n"), "{text}");
        assert!(text.contains("\nleft out: Rust: a (b)\nleft out: ruff: it is not on the PATH\n"), "{text}");
    }
}
