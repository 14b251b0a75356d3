//! How a call to a worker can fail.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::process::last_lines;
use crate::protocol::{Failure, Stage};

pub use crate::process::{End, signal_title};

/// A call that failed. Every variant says which worker, and what to do next.
#[derive(Debug, Error)]
pub enum WorkerError {
    /// The process could not be started, or its log file not be opened.
    #[error(
        "the {worker} worker cannot be started: {}: {source}\nhint: check that the file exists and that this user may use it",
        what.display()
    )]
    Start {
        /// The worker's title.
        worker: String,
        /// The program, or the log file.
        what: PathBuf,
        /// What the system says.
        source: io::Error,
    },

    /// The worker lacks a package.
    #[error(
        "the {worker} worker cannot import the Python package `{package}`\nhint: install it for the interpreter that you named, or unset that variable so that Calipers makes its own environment; remove and install that one again with `calipers env`"
    )]
    MissingPackage {
        /// The worker's title.
        worker: String,
        /// The package's import name.
        package: String,
    },

    /// The command failed; the worker goes on.
    #[error("the {worker} worker failed at `{command}`, stage {}: {}: {}", failure.stage, failure.kind, failure.message)]
    Failed {
        /// The worker's title.
        worker: String,
        /// The command's name.
        command: &'static str,
        /// What the worker says.
        failure: Box<Failure>,
    },

    /// The process ended in the middle of a command.
    #[error(
        "the {worker} worker died at `{command}`, stage {stage}: {end}{}\nhint: {}",
        last_lines(stderr, 12),
        death_hint(*end)
    )]
    Died {
        /// The worker's title.
        worker: String,
        /// The command's name.
        command: &'static str,
        /// How it ended.
        end: End,
        /// The last stage that it reported.
        stage: Stage,
        /// The last 64 KiB of its standard error.
        stderr: String,
    },

    /// The command took longer than allowed; the worker was killed.
    #[error(
        "the {worker} worker did not finish `{command}` in {} s, and was stopped at stage {stage}{}\nhint: allow more time, or ask for less work",
        limit.as_secs_f64(),
        last_lines(stderr, 12)
    )]
    TimedOut {
        /// The worker's title.
        worker: String,
        /// The command's name.
        command: &'static str,
        /// The last stage that it reported.
        stage: Stage,
        /// The time that was allowed.
        limit: Duration,
        /// The last 64 KiB of its standard error.
        stderr: String,
    },

    /// The cancellation flag was set; the worker was killed.
    #[error("`{command}` of the {worker} worker was cancelled at stage {stage}")]
    Cancelled {
        /// The worker's title.
        worker: String,
        /// The command's name.
        command: &'static str,
        /// The last stage that it reported.
        stage: Stage,
    },

    /// The worker said something that is not an answer; it was killed.
    #[error(
        "the {worker} worker broke the protocol: {reason}\n  | {line}\nhint: this is a fault of the worker, not of your input"
    )]
    Protocol {
        /// The worker's title.
        worker: String,
        /// The line, cut to 400 characters.
        line: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The request cannot be written as JSON; nothing was sent.
    #[error(
        "`{command}` cannot be sent to the {worker} worker: {source}\nhint: use paths that are valid UTF-8"
    )]
    Request {
        /// The worker's title.
        worker: String,
        /// The command's name.
        command: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },

    /// An earlier call has ended the worker.
    #[error(
        "`{command}` cannot be sent: the {worker} worker was stopped by an earlier error\nhint: start a new worker"
    )]
    Stopped {
        /// The worker's title.
        worker: String,
        /// The command's name.
        command: &'static str,
    },
}

impl WorkerError {
    /// Whether the worker is gone after this error.
    pub fn ends_the_worker(&self) -> bool {
        match self {
            WorkerError::Failed { .. } | WorkerError::MissingPackage { .. } | WorkerError::Request { .. } => {
                false
            }
            WorkerError::Start { .. }
            | WorkerError::Died { .. }
            | WorkerError::TimedOut { .. }
            | WorkerError::Cancelled { .. }
            | WorkerError::Protocol { .. }
            | WorkerError::Stopped { .. } => true,
        }
    }

    /// The stage in which it happened, where there is one.
    pub fn stage(&self) -> Option<Stage> {
        match self {
            WorkerError::Start { .. } | WorkerError::MissingPackage { .. } => Some(Stage::Start),
            WorkerError::Failed { failure, .. } => Some(failure.stage),
            WorkerError::Died { stage, .. }
            | WorkerError::TimedOut { stage, .. }
            | WorkerError::Cancelled { stage, .. } => Some(*stage),
            WorkerError::Protocol { .. } | WorkerError::Request { .. } | WorkerError::Stopped { .. } => None,
        }
    }

    /// The traceback of a failed command, or the last words on standard error of a worker that is gone.
    pub fn details(&self) -> Option<&str> {
        match self {
            WorkerError::Failed { failure, .. } => Some(&failure.traceback),
            WorkerError::Died { stderr, .. } | WorkerError::TimedOut { stderr, .. } => Some(stderr),
            WorkerError::Start { .. }
            | WorkerError::MissingPackage { .. }
            | WorkerError::Cancelled { .. }
            | WorkerError::Protocol { .. }
            | WorkerError::Request { .. }
            | WorkerError::Stopped { .. } => None,
        }
    }
}

fn death_hint(end: End) -> &'static str {
    match end {
        End::Signal(9) => "killed from outside; most often the system ran out of memory",
        End::Signal(4) => "the framework was built for another processor",
        End::Signal(6 | 8 | 11) => "the framework's native code crashed; nothing in Python could catch it",
        End::Signal(_) => "killed from outside",
        End::Exit(_) | End::ClosedOutput => "the lines above are the last that it wrote to standard error",
    }
}

/// The import name of the package that a Python error says is missing.
pub(super) fn missing_package(kind: &str, message: &str) -> Option<String> {
    if kind != "ModuleNotFoundError" {
        return None;
    }
    let quoted = message.strip_prefix("No module named ")?.trim_matches(['\'', '"']);
    quoted.split('.').next().filter(|name| !name.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::missing_package;

    #[test]
    fn the_missing_package_is_the_top_level_one() {
        let found = missing_package("ModuleNotFoundError", "No module named 'torch.ao.quantization'");
        assert_eq!(found.as_deref(), Some("torch"));
        assert_eq!(missing_package("ImportError", "No module named 'torch'"), None);
        assert_eq!(missing_package("ModuleNotFoundError", ""), None);
    }
}
