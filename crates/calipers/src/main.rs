//! The `calipers` command: arguments to the library, results to the terminal, errors to the exit status.
#![forbid(unsafe_code)]

mod arguments;
mod compare;
mod data;
mod data_arguments;
mod environments;
mod eval;
mod gaps;
mod inspect;
mod output;
mod progress;
mod quantize;
mod report;
mod study;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

/// Exit status of a command that could not do its work.
const TROUBLE: u8 = 2;

/// An error as a person reads it: its message, which ends in a hint.
type Message = String;

fn served(result: std::io::Result<()>) -> Result<ExitCode, Message> {
    result.map(|()| ExitCode::SUCCESS).map_err(|error| format!("the worker cannot answer: {error}"))
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Study(arguments) => study::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Quantize(arguments) => quantize::run(&arguments),
        Command::Data(arguments) => data::run(&arguments),
        Command::Gaps(arguments) => gaps::run(&arguments),
        Command::Env(arguments) => environments::run(&arguments),
        Command::Worker => served(calipers::study::serve_native()),
        Command::GapWorker => served(calipers::gaps::serve_native()),
    };
    result.unwrap_or_else(|message| {
        eprintln!("error: {message}");
        ExitCode::from(TROUBLE)
    })
}
