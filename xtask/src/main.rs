//! Project chores: `cargo xtask test` runs every test there is, `cargo xtask lint` every check that runs nothing.
//!
//! The house rules are tests of this package, in `tests/tidy`.
#![forbid(unsafe_code)]

mod checkout;
mod process;
mod tally;

mod interpreters;
mod exports;
mod python_tests;
mod ruff;
mod rust_tests;

mod lint;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores of the Calipers project.
#[derive(Parser)]
#[command(name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run all tests: Rust, documentation, Python workers, ruff.
    ///
    /// The Python environments are made on first use (some gigabytes); CALIPERS_PYTORCH_PYTHON,
    /// CALIPERS_TENSORFLOW_PYTHON and CALIPERS_ONNXRUNTIME_PYTHON name your own interpreters instead.
    /// Exit status: 0 when nothing failed, 1 otherwise.
    Test(test::Options),
    /// Make the exported networks that tests read, where they are missing, and print their folder.
    ///
    /// Tests find them by the variable CALIPERS_EXPORTS, which `cargo xtask test` sets itself.
    Exports,
    /// Check formatting, clippy, documentation and ruff.
    Lint,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Test(options) => test::run(&options),
        Chore::Exports => exports::run(),
        Chore::Lint => lint::run(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
