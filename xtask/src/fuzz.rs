//! `cargo xtask fuzz`: the targets of `fuzz/` under libFuzzer, from the hostile and the real files in `testdata/`.

use std::fs;
use std::io;
use std::process::Command;

use clap::{Args, ValueEnum};

use crate::checkout::root;
use crate::process::{answers, show};

/// What is fuzzed, and for how long.
#[derive(Args)]
pub struct Options {
    /// The target; all of them, one after the other, where none is named.
    target: Option<Target>,
    /// Seconds for each target.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Target {
    /// The ONNX reader and writer.
    Onnx,
    /// The TFLite reader.
    Tflite,
    /// The text form of graphs.
    Text,
    /// Small graphs, planned, against the definitions of their operators.
    Programs,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Target::Onnx => "onnx",
            Target::Tflite => "tflite",
            Target::Text => "text",
            Target::Programs => "programs",
        }
    }

    /// Folders of files to begin with.
    fn seeds(self) -> &'static [&'static str] {
        match self {
            Target::Onnx => &["testdata/hostile/onnx", "testdata/models"],
            Target::Tflite => &["testdata/hostile/tflite", "testdata/tflite"],
            Target::Text => &["testdata/hostile/text", "testdata/text"],
            Target::Programs => &[],
        }
    }
}

/// Fuzzes. Returns whether nothing was found.
pub fn run(options: &Options) -> io::Result<bool> {
    if !answers(nightly_cargo().arg("--version")) {
        return Err(missing("the nightly toolchain", "rustup toolchain install nightly"));
    }
    if !answers(nightly_cargo().args(["fuzz", "--version"])) {
        return Err(missing("cargo-fuzz", "cargo install cargo-fuzz"));
    }
    let chosen = options.target.map_or(Target::value_variants().to_vec(), |target| vec![target]);
    let mut clean = true;
    for target in chosen {
        // What is found stays for the next time.
        let corpus = root().join("fuzz/corpus").join(target.name());
        fs::create_dir_all(&corpus)?;
        let mut command = nightly_cargo();
        command.args(["fuzz", "run", target.name()]).arg(&corpus).args(target.seeds());
        command.arg("--").arg(format!("-max_total_time={}", options.seconds));
        // Seconds for an input, megabytes of memory.
        command.args(["-timeout=20", "-rss_limit_mb=2048", "-malloc_limit_mb=1024"]);
        clean &= show(&mut command)?;
    }
    Ok(clean)
}

/// The nightly cargo, without what the cargo that runs this says of itself.
fn nightly_cargo() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo"]).current_dir(root());
    command.env_remove("CARGO").env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN");
    command
}

fn missing(what: &str, install: &str) -> io::Error {
    io::Error::other(format!("fuzzing needs {what}, which is not here\nhint: {install}"))
}
