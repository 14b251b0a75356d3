//! Where unsafe code may be: each crate forbids it in its first lines, but for those that the table excepts.

use crate::sources::Source;
use crate::{Breach, assert_none, found_in, sources};

/// Crates that may hold unsafe code, and what their lib.rs says instead of forbidding it.
const EXCEPTIONS: [(&str, &str); 2] = [
    // Vector instructions.
    ("crates/kernels/src/lib.rs", ""),
    // The memory map, in one file, which says why it is sound; and the accessors of TFLite's tables, which flatc makes
    // and which read only what the verifier has checked.
    ("crates/formats/src/lib.rs", "#![deny(unsafe_code)]"),
];

/// A crate's first file that does not forbid unsafe code, or whose exception is not the one in the table.
fn unguarded(source: &Source) -> Vec<Breach> {
    if !(source.is("src/lib.rs") || source.is("src/main.rs")) {
        return Vec::new();
    }
    let exception = EXCEPTIONS.iter().find(|(path, _)| *path == source.path);
    let wanted = exception.map_or("#![forbid(unsafe_code)]", |(_, instead)| instead);
    let there = wanted.is_empty() || source.text.lines().any(|line| line.starts_with(wanted));
    (!there).then(|| format!("{}: lacks `{wanted}`", source.path)).into_iter().collect()
}

/// Permission for unsafe code outside the excepted crates.
fn permitted(source: &Source) -> Vec<Breach> {
    let excepted =
        EXCEPTIONS.iter().any(|(path, _)| source.path.starts_with(path.trim_end_matches("src/lib.rs")));
    let permission =
        |line: &str| line.contains("(unsafe_code)") && (line.contains("allow") || line.contains("expect"));
    if excepted || source.path.starts_with("xtask/tests/tidy/") || !source.is(".rs") {
        return Vec::new();
    }
    let lines = source.code().filter(|(_, line)| permission(line));
    lines.map(|(number, _)| format!("{}:{number}: permits unsafe code", source.path)).collect()
}

#[test]
fn crates_forbid_unsafe_code() {
    let sources = sources::all();
    let breaches = sources.iter().flat_map(unguarded).chain(sources.iter().flat_map(permitted)).collect();
    assert_none(breaches, "unsafe code belongs in crates/kernels");
}

#[test]
fn a_crate_that_does_not_forbid_unsafe_code_is_found() {
    assert_eq!(found_in(unguarded, "crates/a/src/lib.rs", "//! A.\n#![deny(unsafe_code)]\n"), 1);
    assert_eq!(found_in(unguarded, "crates/a/src/main.rs", "//! A.\n// #![forbid(unsafe_code)]\n"), 1);
    assert_eq!(found_in(unguarded, "crates/formats/src/lib.rs", "//! A.\n"), 1);
    assert_eq!(found_in(unguarded, "crates/a/src/lib.rs", "//! A.\n#![forbid(unsafe_code)]\n"), 0);
    assert_eq!(found_in(permitted, "crates/a/src/b.rs", "#[allow(unsafe_code)]\nfn f() {}\n"), 1);
    assert_eq!(found_in(permitted, "crates/formats/src/file.rs", "#[allow(unsafe_code)]\nfn f() {}\n"), 0);
}
