//! Project chores: `cargo xtask test` runs every test there is, `cargo xtask lint` every check that runs nothing,
//! `cargo xtask fuzz` the fuzz targets.
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

mod fuzz;
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
    /// CALIPERS_TENSORFLOW_PYTHON, CALIPERS_ONNXRUNTIME_PYTHON and CALIPERS_OPENVINO_PYTHON name your own
    /// interpreters instead.
    /// Exit status: 0 when nothing failed, 1 otherwise.
    Test(test::Options),
    /// Make the exported networks that tests read, where they are missing, and print their folder.
    ///
    /// Tests find them by the variable CALIPERS_EXPORTS, which `cargo xtask test` sets itself.
    Exports,
    /// Check formatting, clippy, documentation and ruff.
    Lint,
    /// Fuzz the readers of files, and small graphs against the definitions of their operators.
    ///
    /// Needs a nightly toolchain and cargo-fuzz. What broke a target is kept in fuzz/artifacts, inputs that reach new code
    /// in fuzz/corpus. Exit status: 0 when nothing was found, 1 when something was, 2 when a tool is missing.
    Fuzz(fuzz::Options),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Test(options) => test::run(&options),
        Chore::Exports => exports::run(),
        Chore::Lint => lint::run(),
        Chore::Fuzz(options) => fuzz::run(&options),
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
