//! The tests of the workers' Python sources, each by the interpreter of the framework that it is about.

use std::io;
use std::path::Path;
use std::process::Command;

use crate::checkout::worker_sources;
use crate::process::run;
use crate::tally::Tally;

/// Runs the test files that match `pattern` by `python`.
pub fn matching(pattern: &str, python: &Path) -> io::Result<Tally> {
    let mut command = Command::new(python);
    command.args(["-m", "unittest", "discover", "--buffer", "-s", "tests", "-t", ".", "-p", pattern]);
    command.current_dir(worker_sources()).env("OMP_NUM_THREADS", "1").env("PYTHONDONTWRITEBYTECODE", "1");
    let finished = run(&mut command)?;
    Ok(counted(&finished.lines).hold_against(finished.success))
}

/// What unittest counts: `Ran 12 tests in 3.4s`, then `OK (skipped=1)` or `FAILED (failures=1, errors=2)`.
fn counted(lines: &[String]) -> Tally {
    let ran = lines.iter().rev().find_map(|line| {
        let (count, _) = line.strip_prefix("Ran ")?.split_once(" test")?;
        count.parse::<usize>().ok()
    });
    let ending = lines.iter().rev().find(|line| line.starts_with("OK") || line.starts_with("FAILED"));
    let number = |name: &str| {
        let inside = ending?.split_once('(')?.1.trim_end_matches(')');
        inside.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix('=')?.parse::<usize>().ok())
    };
    let failed: usize = ["failures", "errors", "unexpected successes"].into_iter().filter_map(number).sum();
    let skipped = number("skipped").unwrap_or(0);
    Tally {
        passed: ran.unwrap_or(0).saturating_sub(failed + skipped),
        failed,
        left_out: (0..skipped).map(|_| "a test that unittest skipped".to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn the_counts_of_unittest_are_read() {
        let count = |text: &str| {
            let tally = counted(&text.lines().map(str::to_owned).collect::<Vec<_>>());
            (tally.passed, tally.failed, tally.left_out.len())
        };
        assert_eq!(count("...\nRan 12 tests in 3.4s\n\nOK"), (12, 0, 0));
        assert_eq!(count("Ran 12 tests in 3.4s\n\nOK (skipped=2)"), (10, 0, 2));
        assert_eq!(count("Ran 12 tests in 3s\nFAILED (failures=1, errors=2, skipped=1)"), (8, 3, 1));
        assert_eq!(count("Ran 1 test in 3s\nOK"), (1, 0, 0));
        assert_eq!(count("Traceback"), (0, 0, 0));
    }
}
