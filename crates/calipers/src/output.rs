//! Results to standard output and to files.

use std::io::Write;

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
