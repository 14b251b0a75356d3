//! `calipers study`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use calipers::study::report::{self, Status};
use calipers::study::{Options, Overrides, Spec, run as run_study};
use calipers::workers::environment::Host;

use crate::Message;
use crate::arguments::StudyArguments;
use crate::progress::Display;

/// Exit status of a study that ran, but in which a gate or a cell failed.
const FAILED: u8 = 1;

/// Runs the study and prints its table.
pub fn run(arguments: &StudyArguments) -> Result<ExitCode, Message> {
    let spec = match &arguments.spec {
        Some(path) => Spec::read(path),
        None => Spec::quick(),
    };
    let overrides = Overrides {
        epochs: arguments.epochs,
        qat_epochs: arguments.qat_epochs,
        frameworks: arguments.frameworks.clone(),
        variants: arguments.variants.clone(),
        tunings: arguments.tunings.clone(),
        seeds: arguments.seeds.clone(),
    };
    let spec = spec.and_then(|spec| spec.with(&overrides)).map_err(|error| error.to_string())?;
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&spec.name));
    let threads = match arguments.threads {
        Some(threads) => threads.get(),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let program =
        std::env::current_exe().map_err(|error| format!("cannot find this program itself: {error}"))?;
    let host = Host::detect().map_err(|error| error.to_string())?;
    let cancelled = cancel_on_interrupt()?;
    let options = Options {
        spec,
        data: arguments.data.iter().cloned().collect(),
        threads,
        out,
        command: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        program,
        host,
        cancelled,
    };
    let mut display = Display::new();
    let outcome = run_study(options, &mut display);
    display.finish();
    let outcome = outcome.map_err(|error| error.to_string())?;
    let shown = if arguments.json {
        serde_json::to_string_pretty(&outcome.report).map_err(|error| error.to_string())? + "\n"
    } else {
        let files: String = outcome.files.iter().map(|file| format!("wrote {}\n", file.display())).collect();
        format!("{}\n{files}", report::table(&outcome.report))
    };
    // Whoever closes the pipe has read enough; the files are written.
    let _ = std::io::stdout().lock().write_all(shown.as_bytes());
    let failed = outcome.report.cells.iter().any(|cell| cell.status == Status::Failed);
    let passed = outcome.report.gates_pass() && !failed;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// A flag that Ctrl-C and a request to terminate set; the second time they end the process at once.
pub fn cancel_on_interrupt() -> Result<Arc<AtomicBool>, Message> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancelled);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(crate::TROUBLE));
        }
    })
    .map_err(|error| format!("cannot listen for Ctrl-C: {error}"))?;
    Ok(cancelled)
}
