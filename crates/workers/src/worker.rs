//! A worker process and the calls to it.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command as ProcessCommand, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::process::{self, GRACE, Group, Tail};
use crate::protocol::{Answer, AnswerBody, Command, Failure, Progress, Question, Shutdown, Stage};

mod error;
mod launch;

pub use error::{End, WorkerError, signal_title};
pub use launch::Launch;

/// How often a waiting call looks at the clock, the cancellation flag and the process.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes of standard error that are kept in memory.
const STDERR_TAIL: usize = 64 << 10;

/// A running worker. It answers one call at a time, and is killed with everything it started when it is dropped.
#[derive(Debug)]
pub struct Worker {
    title: String,
    group: Group,
    requests: Option<Sender<Vec<u8>>>,
    answers: Receiver<Vec<u8>>,
    stderr: Tail,
    stderr_reader: JoinHandle<()>,
    cancelled: Arc<AtomicBool>,
    next_id: u64,
    ended: bool,
}

impl Worker {
    /// Starts the process; it has not answered anything yet when this returns.
    ///
    /// # Errors
    /// [`WorkerError::Start`] where the program cannot be started or the log file cannot be opened.
    pub fn spawn(launch: Launch) -> Result<Worker, WorkerError> {
        let Launch { title, program, arguments, variables, removed_variables, folder, log, cancelled } =
            launch;
        let failed = |what: PathBuf| {
            let worker = title.clone();
            move |source| WorkerError::Start { worker, what, source }
        };
        let log = log.map(|path| open_log(&path).map_err(failed(path.clone()))).transpose()?;

        let mut command = ProcessCommand::new(&program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for variable in removed_variables {
            command.env_remove(variable);
        }
        command.envs(variables);
        if let Some(folder) = folder {
            command.current_dir(folder);
        }
        let mut group = Group::spawn(&mut command).map_err(failed(program.clone()))?;

        let child = group.child();
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            unreachable!("all three streams were asked for as pipes");
        };
        let tail = Tail::new(STDERR_TAIL);
        Ok(Worker {
            title,
            group,
            requests: Some(write_lines(stdin)),
            answers: process::lines(stdout),
            stderr_reader: tail.follow(stderr, log),
            stderr: tail,
            cancelled,
            next_id: 1,
            ended: false,
        })
    }

    /// Sends `command` and waits for its response. `progress` sees each progress answer as it comes.
    /// `timeout` is the longest that the whole call may take.
    ///
    /// # Errors
    /// After [`WorkerError::Failed`], [`WorkerError::MissingPackage`] and [`WorkerError::Request`] the worker goes
    /// on; after any other error it has been killed, and further calls return [`WorkerError::Stopped`].
    pub fn call<C: Command>(
        &mut self,
        command: C,
        progress: &mut dyn FnMut(Progress),
        timeout: Option<Duration>,
    ) -> Result<C::Response, WorkerError> {
        let result = self.ask(command, progress, timeout);
        if result.as_ref().is_err_and(WorkerError::ends_the_worker) {
            self.stop();
        }
        result
    }

    /// Asks the worker to exit, and waits for it, at most `timeout`; then it is killed.
    ///
    /// # Errors
    /// As [`Worker::call`].
    pub fn shutdown(mut self, timeout: Duration) -> Result<(), WorkerError> {
        let start = Instant::now();
        self.call(Shutdown {}, &mut |_| {}, Some(timeout))?;
        self.requests = None;
        let _ = self.group.wait(timeout.saturating_sub(start.elapsed()));
        Ok(())
    }

    /// Kills the process and everything it started. Further calls return [`WorkerError::Stopped`].
    pub fn stop(&mut self) {
        self.ended = true;
        self.requests = None;
        let _ = self.group.kill();
    }

    /// Whether another call can be made.
    pub fn is_running(&self) -> bool {
        !self.ended
    }

    /// The worker's process id.
    pub fn id(&self) -> u32 {
        self.group.id()
    }

    /// The last 64 KiB that the worker wrote to standard error.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    fn ask<C: Command>(
        &mut self,
        command: C,
        progress: &mut dyn FnMut(Progress),
        timeout: Option<Duration>,
    ) -> Result<C::Response, WorkerError> {
        if self.ended {
            return Err(WorkerError::Stopped { worker: self.title.clone(), command: C::NAME });
        }
        let id = self.next_id;
        self.next_id += 1;
        let mut line = serde_json::to_vec(&Question { id, request: command.into() }).map_err(|source| {
            WorkerError::Request { worker: self.title.clone(), command: C::NAME, source }
        })?;
        line.push(b'\n');
        // Where the worker is dead already, its end is found below, with its last words.
        if let Some(requests) = &self.requests {
            let _ = requests.send(line);
        }

        let start = Instant::now();
        let mut stage = C::FIRST_STAGE;
        let mut dead_since: Option<Instant> = None;
        loop {
            match self.answers.recv_timeout(LOOK) {
                Ok(line) => match self.read(&line, id)? {
                    AnswerBody::Progress(step) => {
                        stage = step.stage;
                        progress(step);
                    }
                    AnswerBody::Result { value } => return self.response(value, &line),
                    AnswerBody::Error(failure) => return Err(self.failure(C::NAME, failure)),
                },
                Err(RecvTimeoutError::Disconnected) => return Err(self.died(C::NAME, stage)),
                // The output of a dead worker can stay open for as long as something that it started lives.
                Err(RecvTimeoutError::Timeout) => match dead_since {
                    Some(since) if since.elapsed() > GRACE => return Err(self.died(C::NAME, stage)),
                    Some(_) => {}
                    None => {
                        if !matches!(self.group.ended(), Ok(None)) {
                            dead_since = Some(Instant::now());
                        }
                    }
                },
            }
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(WorkerError::Cancelled { worker: self.title.clone(), command: C::NAME, stage });
            }
            if let Some(limit) = timeout
                && start.elapsed() >= limit
            {
                return Err(WorkerError::TimedOut {
                    worker: self.title.clone(),
                    command: C::NAME,
                    stage,
                    limit,
                    stderr: self.stderr.text(),
                });
            }
        }
    }

    fn read(&self, line: &[u8], id: u64) -> Result<AnswerBody, WorkerError> {
        let answer: Answer =
            serde_json::from_slice(line).map_err(|error| self.misspoke(line, &error.to_string()))?;
        match (answer.id, answer.body) {
            (Some(found), body) if found == id => Ok(body),
            (None, body @ AnswerBody::Error(_)) => Ok(body),
            (found, _) => {
                Err(self.misspoke(line, &format!("an answer to request {id} was expected, not to {found:?}")))
            }
        }
    }

    fn response<T: DeserializeOwned>(&self, value: serde_json::Value, line: &[u8]) -> Result<T, WorkerError> {
        serde_json::from_value(value).map_err(|error| self.misspoke(line, &error.to_string()))
    }

    fn failure(&self, command: &'static str, failure: Failure) -> WorkerError {
        match error::missing_package(&failure.kind, &failure.message) {
            Some(package) => WorkerError::MissingPackage { worker: self.title.clone(), package },
            None => WorkerError::Failed { worker: self.title.clone(), command, failure: Box::new(failure) },
        }
    }

    fn misspoke(&self, line: &[u8], reason: &str) -> WorkerError {
        const SHOWN: usize = 400;
        let mut text: String = String::from_utf8_lossy(&line[..line.len().min(4 * SHOWN)]).into_owned();
        if let Some((end, _)) = text.char_indices().nth(SHOWN) {
            text.truncate(end);
            text.push_str("...");
        }
        WorkerError::Protocol { worker: self.title.clone(), line: text, reason: reason.to_owned() }
    }

    /// Collects what is known of a worker whose output has ended.
    fn died(&mut self, command: &'static str, stage: Stage) -> WorkerError {
        let end = match self.group.wait(GRACE) {
            Ok(Some(status)) => End::from(status),
            Ok(None) | Err(_) => {
                let _ = self.group.kill();
                End::ClosedOutput
            }
        };
        let start = Instant::now();
        while !self.stderr_reader.is_finished() && start.elapsed() < GRACE {
            thread::sleep(Duration::from_millis(5));
        }
        let stderr = self.stderr.text();
        let worker = self.title.clone();
        let last_line = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        match last_line.split_once(": ").and_then(|(kind, message)| error::missing_package(kind, message)) {
            Some(package) => WorkerError::MissingPackage { worker, package },
            None => WorkerError::Died { worker, command, end, stage, stderr },
        }
    }
}

fn open_log(path: &std::path::Path) -> std::io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    File::options().create(true).append(true).open(path)
}

/// Writes lines on a thread, so that a worker that does not read its input cannot hold up a call beyond its time-out.
fn write_lines(mut stdin: impl Write + Send + 'static) -> Sender<Vec<u8>> {
    let (sender, receiver) = channel::<Vec<u8>>();
    thread::spawn(move || {
        for line in receiver {
            if stdin.write_all(&line).and_then(|()| stdin.flush()).is_err() {
                return;
            }
        }
    });
    sender
}
