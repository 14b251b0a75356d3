//! `cargo xtask test`: all tests, and an account of those that were left out.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use calipers_workers::Environment;
use clap::Args;

use crate::checkout::shared_cifar10;
use crate::interpreters::Interpreters;
use crate::rust_tests::Settings;
use crate::tally::{Tally, summary};
use crate::{exports, python_tests, ruff, rust_tests};

/// Names CIFAR-10's binary version to the tests that read it.
const CIFAR10: &str = "CALIPERS_CIFAR10";

/// What can be said about a run of all tests.
#[derive(Args)]
pub struct Options {
    /// Folder of CIFAR-10's binary version, for the tests that read it [default: $CALIPERS_CIFAR10, else
    /// ../shared/data/cifar10/cifar-10-batches-bin where that is].
    #[arg(long, value_name = "PATH")]
    cifar10: Option<PathBuf>,
    /// Make no Python environments and leave out what needs them.
    #[arg(long)]
    no_python: bool,
}

/// Runs all tests. Returns whether none failed.
pub fn run(options: &Options) -> io::Result<bool> {
    let mut parts = Vec::new();

    let start = Instant::now();
    let interpreters = if options.no_python {
        None
    } else {
        let made = Interpreters::ensure();
        if let Err(error) = &made {
            eprintln!("error: {error}");
        }
        let tally = Tally { failed: usize::from(made.is_err()), ..Tally::default() };
        parts.push(("Python environments", tally, start.elapsed()));
        made.ok()
    };

    let start = Instant::now();
    let exported = match &interpreters {
        Some(interpreters) => {
            let (folder, tally) = exports::ensure(interpreters)?;
            parts.push(("exported networks", tally, start.elapsed()));
            folder
        }
        None => None,
    };

    let cifar10: Option<OsString> = match &options.cifar10 {
        Some(path) => Some(std::path::absolute(path)?.into()),
        None => std::env::var_os(CIFAR10).or_else(|| shared_cifar10().map(OsString::from)),
    };
    let mut settings = Settings { variables: Vec::new(), ignored_too: interpreters.is_some() };
    settings.variables.extend(cifar10.as_deref().map(|path| (CIFAR10, path)));
    settings.variables.extend(exported.as_deref().map(|path| (exports::EXPORTS, path)));
    if let Some(interpreters) = &interpreters {
        settings.variables.extend(interpreters.variables().map(|(name, path)| (name, path.as_os_str())));
    }
    let start = Instant::now();
    parts.push(("Rust tests", rust_tests::all(&settings)?, start.elapsed()));
    let start = Instant::now();
    parts.push(("Rust documentation", rust_tests::documentation()?, start.elapsed()));

    let workers = [
        ("worker tests, shared", "test_shared*.py", Environment::PyTorch),
        ("worker tests, PyTorch", "test_pytorch*.py", Environment::PyTorch),
        ("worker tests, TensorFlow", "test_tensorflow*.py", Environment::TensorFlow),
        ("worker tests, ONNX Runtime", "test_onnxruntime*.py", Environment::OnnxRuntime),
        ("worker tests, OpenVINO", "test_openvino*.py", Environment::OpenVino),
    ];
    for (name, pattern, environment) in workers {
        let start = Instant::now();
        let tally = match &interpreters {
            Some(interpreters) => python_tests::matching(pattern, interpreters.of(environment))?,
            None => Tally::left_out(format!("{pattern} (there is no Python environment)")),
        };
        parts.push((name, tally, start.elapsed()));
    }

    let start = Instant::now();
    parts.push(("ruff", ruff::check()?, start.elapsed()));

    println!("\n{}", summary(&parts).trim_end());
    Ok(parts.iter().all(|(_, tally, _)| tally.failed == 0))
}
