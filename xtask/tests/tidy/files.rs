//! What every file begins with, and how long it may be.

use crate::sources::Source;
use crate::{Breach, assert_none, found_in, sources};

/// Lines that a file may have; most have under 400.
const MOST_LINES: usize = 600;
/// Made by a program, as the file that it is made from says, and read by nobody.
const GENERATED: &str = "crates/formats/src/tflite/schema/generated.rs";

/// A file whose first line does not say what it owns.
fn silent(source: &Source) -> Vec<Breach> {
    // The system reads the line before it, where the file is a program.
    let first = source.text.lines().find(|line| !line.starts_with("#!/")).unwrap_or_default();
    let says =
        |mark: &str| first.strip_prefix(mark).is_some_and(|text| !text.trim_matches(['"', ' ']).is_empty());
    let silent = (source.is(".rs") && !says("//!")) || (source.is(".py") && !says("\"\"\""));
    silent.then(|| format!("{}:1: does not say what the file owns", source.path)).into_iter().collect()
}

/// A file that is longer than it may be, tests aside.
fn long(source: &Source) -> Vec<Breach> {
    let counts = (source.is(".rs") || source.is(".py")) && !source.is_test() && source.path != GENERATED;
    let lines = if counts { source.without_unit_tests().lines().count() } else { 0 };
    (lines > MOST_LINES)
        .then(|| format!("{}: {lines} lines, more than {MOST_LINES}", source.path))
        .into_iter()
        .collect()
}

#[test]
fn every_file_says_what_it_owns() {
    let breaches = sources::all().iter().flat_map(silent).collect();
    assert_none(breaches, "begin with `//! What this file owns.`, in Python with a docstring");
}

#[test]
fn no_file_is_too_long() {
    assert_none(sources::all().iter().flat_map(long).collect(), "split it along an idea");
}

#[test]
fn a_silent_file_is_found() {
    assert_eq!(found_in(silent, "crates/a/src/b.rs", "use std::io;\n"), 1);
    assert_eq!(found_in(silent, "crates/a/src/b.rs", "//!\nuse std::io;\n"), 1);
    assert_eq!(found_in(silent, "crates/a/src/b.rs", ""), 1);
    assert_eq!(found_in(silent, "a/b.py", "import os\n"), 1);
    assert_eq!(found_in(silent, "a/b.py", "\"\"\"\"\"\"\n"), 1);
    assert_eq!(
        found_in(silent, "a/b.py", "\"\"\"Owns it.\"\"\"\n") + found_in(silent, "a.rs", "//! Owns it.\n"),
        0
    );
    let program = "#!/usr/bin/env python3\n\"\"\"Owns it.\"\"\"\n";
    assert_eq!(found_in(silent, "a/b.py", program), 0);
    assert_eq!(found_in(silent, "a/b.py", "#!/usr/bin/env python3\nimport os\n\"\"\"Late.\"\"\"\n"), 1);
    assert_eq!(found_in(silent, "a.md", "text"), 0);
}

#[test]
fn a_long_file_is_found() {
    let (short, over) = ("x\n".repeat(MOST_LINES), "x\n".repeat(MOST_LINES + 1));
    assert_eq!(found_in(long, "crates/a/src/b.rs", &over), 1);
    assert_eq!(found_in(long, "crates/a/src/b.rs", &short), 0);
    assert_eq!(found_in(long, "crates/a/src/b/tests.rs", &over), 0);
    assert_eq!(found_in(long, "crates/a/tests/b.rs", &over), 0);
    let tested = format!("{short}#[cfg(test)]\nmod tests {{\n{over}");
    assert_eq!(found_in(long, "crates/a/src/b.rs", &tested), 0);
}
