//! Owns child processes: each leads a process group of its own, and nothing of the group outlives its [`Group`].

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The longest line that is taken from a child; a longer one is cut into lines of this many bytes.
const LONGEST_LINE: u64 = 64 << 20;
/// How often a waiting [`run`] reports that time goes by.
const TICK: Duration = Duration::from_millis(100);
/// How long a process that closed its outputs, or whose outputs outlive it, is waited for.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// A child process and whatever it starts itself, in a process group of its own, so that the terminal's Ctrl-C
/// does not reach it. Dropping it kills the group.
#[derive(Debug)]
pub(crate) struct Group {
    child: Child,
    status: Option<ExitStatus>,
}

impl Group {
    /// Starts `command` as the leader of a new group.
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Group> {
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        Ok(Group { child: command.spawn()?, status: None })
    }

    /// The leader, for its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The leader's process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The leader's exit status once it has ended; what is left of the group is killed then.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() && self.leader_has_ended()? {
            self.kill()?;
        }
        Ok(self.status)
    }

    /// Waits at most `limit` for the leader's end.
    pub(crate) fn wait(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            let status = self.ended()?;
            if status.is_some() || start.elapsed() >= limit {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills the whole group, at once, and returns the leader's exit status.
    pub(crate) fn kill(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        // The leader has not been waited for yet, so that its id cannot belong to another process or group.
        #[cfg(unix)]
        let _ = rustix::process::kill_process_group(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::KILL,
        );
        #[cfg(not(unix))]
        let _ = self.child.kill();
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }

    #[cfg(unix)]
    fn leader_has_ended(&mut self) -> io::Result<bool> {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(Pid::from_child(&self.child)), options) {
            Ok(status) => Ok(status.is_some()),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(unix))]
    fn leader_has_ended(&mut self) -> io::Result<bool> {
        self.child.try_wait().map(|status| status.is_some())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It exited with this status.
    Exit(i32),
    /// This signal killed it.
    Signal(i32),
    /// It closed its output and had to be killed.
    ClosedOutput,
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> End {
        #[cfg(unix)]
        if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
            return End::Signal(signal);
        }
        End::Exit(status.code().unwrap_or(-1))
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Exit(status) => write!(formatter, "exit status {status}"),
            End::Signal(signal) => write!(formatter, "signal {}", signal_title(*signal)),
            End::ClosedOutput => formatter.write_str("it closed its output without an answer"),
        }
    }
}

/// A signal's number, with its name where that is the same on every Unix: `11, SIGSEGV`.
pub fn signal_title(signal: i32) -> String {
    signal_name(signal).map_or_else(|| signal.to_string(), |name| format!("{signal}, {name}"))
}

fn signal_name(signal: i32) -> Option<&'static str> {
    // Those whose numbers are the same on every Unix.
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => return None,
    })
}

/// What [`run`] reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A line of standard output.
    Out(&'a str),
    /// A line of standard error.
    Err(&'a str),
    /// Time goes by.
    Tick,
}

/// Runs `command` to its end. `on_event` sees each line of its outputs, and is called ten times a second when there is
/// none; when it says no, the process is killed and the answer is `None`.
pub(crate) fn run(
    command: &mut Command,
    on_event: &mut dyn FnMut(Event<'_>) -> bool,
) -> io::Result<Option<ExitStatus>> {
    let mut group = Group::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let (sender, lines) = channel();
    if let Some(stdout) = group.child().stdout.take() {
        let sender = sender.clone();
        thread::spawn(move || read_lines(stdout, |line| sender.send((false, line)).is_ok()));
    }
    if let Some(stderr) = group.child().stderr.take() {
        thread::spawn(move || read_lines(stderr, |line| sender.send((true, line)).is_ok()));
    }
    let mut ended_at: Option<Instant> = None;
    loop {
        let goes_on = match lines.recv_timeout(TICK) {
            Ok((false, line)) => on_event(Event::Out(&String::from_utf8_lossy(&line))),
            Ok((true, line)) => on_event(Event::Err(&String::from_utf8_lossy(&line))),
            Err(RecvTimeoutError::Timeout) => {
                if ended_at.is_none() && group.ended()?.is_some() {
                    ended_at = Some(Instant::now());
                }
                on_event(Event::Tick)
            }
            Err(RecvTimeoutError::Disconnected) => match group.wait(TICK)? {
                Some(status) => return Ok(Some(status)),
                None => on_event(Event::Tick),
            },
        };
        if !goes_on {
            group.kill()?;
            return Ok(None);
        }
        // What it started can hold its outputs open after its end.
        if ended_at.is_some_and(|ended_at| ended_at.elapsed() > GRACE) {
            return group.ended();
        }
    }
}

/// Reads `source` to its end on a thread and hands over its lines, without their newlines.
pub(crate) fn lines<R: Read + Send + 'static>(source: R) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || read_lines(source, |line| sender.send(line).is_ok()));
    receiver
}

/// Hands the lines of `source`, without their newlines, to `take`, until the end or until `take` says no.
pub(crate) fn read_lines(source: impl Read, mut take: impl FnMut(Vec<u8>) -> bool) {
    let mut source = BufReader::new(source);
    loop {
        let mut line = Vec::new();
        match source.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        while line.last().is_some_and(|&byte| byte == b'\n' || byte == b'\r') {
            line.pop();
        }
        if !take(line) {
            return;
        }
    }
}

/// The last bytes of a stream, shared between the thread that reads it and whoever wants to see them.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    bytes: Arc<Mutex<VecDeque<u8>>>,
    limit: usize,
}

impl Tail {
    /// Keeps the last `limit` bytes.
    pub(crate) fn new(limit: usize) -> Tail {
        Tail { bytes: Arc::default(), limit }
    }

    /// Reads `source` to its end on a thread, into the tail and into `copy`.
    pub(crate) fn follow(
        &self,
        mut source: impl Read + Send + 'static,
        mut copy: Option<impl Write + Send + 'static>,
    ) -> thread::JoinHandle<()> {
        let tail = self.clone();
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            loop {
                let bytes = match source.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(count) => &buffer[..count],
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => return,
                };
                // A full disk must not stop the reading: the child would wait for ever on a full pipe.
                if copy.as_mut().is_some_and(|copy| copy.write_all(bytes).is_err()) {
                    copy = None;
                }
                tail.push(bytes);
            }
        })
    }

    /// Adds `bytes`, and forgets the oldest beyond the limit.
    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut kept = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(&bytes[bytes.len().saturating_sub(self.limit)..]);
        let surplus = kept.len().saturating_sub(self.limit);
        kept.drain(..surplus);
    }

    /// What is kept, as text; bytes that are not UTF-8 are replaced.
    pub(crate) fn text(&self) -> String {
        let mut kept = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(kept.make_contiguous()).into_owned()
    }
}

/// The last `count` lines of `text`, indented for an error message.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let kept = &lines[lines.len().saturating_sub(count)..];
    kept.iter().map(|line| format!("\n  | {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_newest_bytes() {
        let tail = Tail::new(4);
        tail.push(b"ab");
        tail.push(b"cde");
        assert_eq!(tail.text(), "bcde");
        tail.push(b"0123456789");
        assert_eq!(tail.text(), "6789");
    }

    #[test]
    fn lines_lose_their_newlines_and_the_last_needs_none() {
        let received: Vec<Vec<u8>> = lines(io::Cursor::new(b"a\r\n\nb".to_vec())).iter().collect();
        assert_eq!(received, [b"a".to_vec(), b"".to_vec(), b"b".to_vec()]);
    }
}
