//! Programs whose output is shown as it comes and kept.

use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

/// What a program did.
pub struct Finished {
    /// Whether it ended with status 0.
    pub success: bool,
    /// Both its streams, line by line as they came, without colours.
    pub lines: Vec<String>,
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> io::Result<Finished> {
    eprintln!("\n$ {}", shown(command));
    // ONNX Runtime sends events to its makers unless it is told not to before it is imported.
    command.env("ORT_DISABLE_TELEMETRY", "1");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let lines = Mutex::new(Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| stdout.map(|stream| pass_on(stream, &mut io::stdout(), &lines)));
        scope.spawn(|| stderr.map(|stream| pass_on(stream, &mut io::stderr(), &lines)));
    });
    let success = child.wait()?.success();
    Ok(Finished { success, lines: lines.into_inner().unwrap_or_default() })
}

/// Runs a program to its end, its output going where ours goes. Returns whether it ended with status 0.
pub fn show(command: &mut Command) -> io::Result<bool> {
    eprintln!("\n$ {}", shown(command));
    Ok(command.stdin(Stdio::null()).status()?.success())
}

/// Cargo, coloured where a person looks.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(crate::checkout::root());
    if io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    command
}

/// Whether a program starts and says that all is well; its output is not shown.
pub fn answers(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn pass_on(stream: impl Read, to: &mut dyn Write, lines: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
        // A reader that went away is no reason to stop the tests.
        let _ = to.write_all(&bytes).and_then(|()| to.flush());
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(mut lines) = lines.lock() {
            lines.push(without_colours(text.trim_end()));
        }
        bytes.clear();
    }
}

fn without_colours(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{run, without_colours};
    use std::process::Command;

    #[test]
    fn colours_are_taken_out() {
        assert_eq!(without_colours("\u{1b}[32;1mok\u{1b}[0m 3 passed"), "ok 3 passed");
    }

    #[cfg(unix)]
    #[test]
    fn both_streams_are_kept() {
        let finished = run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"])).unwrap();
        let mut lines = finished.lines;
        lines.sort();
        assert_eq!((finished.success, lines), (false, vec!["err".to_owned(), "out".to_owned()]));
    }
}
