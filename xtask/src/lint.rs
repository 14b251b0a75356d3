//! `cargo xtask lint`: everything that looks at the sources and runs none of them.

use std::io;
use std::time::Instant;

use crate::process::{cargo, show};
use crate::ruff;
use crate::tally::{Tally, summary};

/// Runs all checks. Returns whether all passed.
pub fn run() -> io::Result<bool> {
    let checks = [
        ("formatting", cargo(&["fmt", "--all", "--check"])),
        ("clippy", cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
        ("documentation", {
            let mut command = cargo(&["doc", "--workspace", "--no-deps"]);
            command.env("RUSTDOCFLAGS", "-D warnings");
            command
        }),
    ];
    let mut parts = Vec::new();
    for (name, mut command) in checks {
        let start = Instant::now();
        parts.push((name, Tally::one(show(&mut command)?), start.elapsed()));
    }
    let start = Instant::now();
    parts.push(("ruff", ruff::check()?, start.elapsed()));
    println!("\n{}", summary(&parts));
    Ok(parts.iter().all(|(_, tally, _)| tally.failed == 0))
}
