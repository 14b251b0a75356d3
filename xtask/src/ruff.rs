//! Lint and format rules of the Python files.

use std::io;
use std::process::Command;

use crate::checkout::root;
use crate::process::{answers, show};
use crate::tally::Tally;

/// Checks every Python file, where ruff is on the search path.
pub fn check() -> io::Result<Tally> {
    let ruff = |arguments: &[&str]| {
        let mut command = Command::new("ruff");
        command.args(arguments).current_dir(root());
        command
    };
    if !answers(&mut ruff(&["--version"])) {
        return Ok(Tally::left_out("it is not on the PATH (`pip install ruff`)"));
    }
    let mut tally = Tally::default();
    for arguments in [["check", "."].as_slice(), &["format", "--check", "."]] {
        let one = Tally::one(show(&mut ruff(arguments))?);
        tally.passed += one.passed;
        tally.failed += one.failed;
    }
    Ok(tally)
}
