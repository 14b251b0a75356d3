//! Results to standard output and to files.

use std::io::Write;
use std::num::NonZeroUsize;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::Message;

/// Prints a result. Whoever closes the pipe has read enough.
pub fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// A result as indented JSON with a newline at the end.
///
/// # Errors
/// A number that JSON cannot say.
pub fn json(result: &impl Serialize) -> Result<String, Message> {
    Ok(serde_json::to_string_pretty(result).map_err(|error| error.to_string())? + "\n")
}

/// A bar on standard error, where that is a terminal.
pub fn progress_bar(title: &'static str, samples: usize) -> ProgressBar {
    let bar = ProgressBar::new(samples as u64);
    if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:30}] {pos} of {len}, {eta} left") {
        bar.set_style(style);
    }
    bar.set_prefix(title);
    bar
}

/// The threads that the user asked for, or one for each core.
pub fn threads(asked: Option<NonZeroUsize>) -> usize {
    match asked {
        Some(threads) => threads.get(),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    }
}
