//! The workers of a run: one framework made ready, and the calls to its worker.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use calipers_workers::environment::{self, Host, Installing};
use calipers_workers::protocol::{Command, Outcome};
use calipers_workers::{Launch, Worker, WorkerError, sources};

use crate::framework::Framework;

/// How much longer than a probe's limit a call may take: the worker's own import, before its first fork.
const SLACK: Duration = Duration::from_secs(240);

/// A framework that is ready to be probed.
#[derive(Debug, Clone)]
pub struct Ready {
    /// How its worker is started.
    pub launch: Launch,
    /// Package to version.
    pub versions: BTreeMap<String, String>,
    /// What tells it from another version of it.
    pub identity: String,
}

/// Where frameworks come from.
#[derive(Debug)]
pub struct Bench {
    /// This program, whose hidden subcommand is our own engine's worker.
    pub program: PathBuf,
    /// Where environments and worker sources are.
    pub host: Host,
    /// Folder of the workers' standard error.
    pub logs: PathBuf,
    /// Set to true, it ends the run.
    pub cancelled: Arc<AtomicBool>,
}

impl Bench {
    /// Makes a framework ready; installs it where it is not there.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn ready(
        &self,
        framework: Framework,
        progress: &mut dyn FnMut(&Installing<'_>),
    ) -> Result<Ready, String> {
        let (mut launch, versions, engine) = match framework.python() {
            None => {
                let mut launch = Launch::new(framework.title(), &self.program);
                launch.arguments = vec!["gap-worker".into()];
                let version = env!("CARGO_PKG_VERSION").to_owned();
                let program = std::fs::read(&self.program).map_err(|error| error.to_string())?;
                let versions = BTreeMap::from([(String::from("calipers"), version)]);
                (launch, versions, blake3::hash(&program).to_hex().to_string())
            }
            Some(python) => {
                let interpreter =
                    environment::ensure(python.environment(), &self.host, progress, &self.cancelled)
                        .map_err(|error| error.to_string())?;
                let sources = sources::unpack(&self.host.cache).map_err(|error| error.to_string())?;
                let mut versions = interpreter.versions.clone();
                versions.insert(String::from("python"), interpreter.python.clone());
                let engine = format!("{} {}", interpreter.program.display(), code_hash(framework));
                (Launch::framework(python, &interpreter, &sources, 1), versions, engine)
            }
        };
        launch.log = Some(self.logs.join(format!("{framework}.stderr")));
        launch.cancelled = Arc::clone(&self.cancelled);
        let identity = format!("{engine} {versions:?}");
        Ok(Ready { launch, versions, identity })
    }
}

/// Hash of the worker's code for a framework's probes.
fn code_hash(framework: Framework) -> blake3::Hash {
    let shared = "calipers_worker/gaps/";
    let own = format!("{shared}{framework}/");
    let mut hasher = blake3::Hasher::new();
    for (name, text) in sources::files() {
        let is_shared = name.strip_prefix(shared).is_some_and(|rest| !rest.contains('/'));
        if is_shared || name.starts_with(&own) {
            hasher.update(name.as_bytes()).update(text.as_bytes());
        }
    }
    hasher.finalize()
}

/// What came of a call.
pub enum Called<T> {
    /// An answer.
    Answered(T),
    /// The worker's own process ended, or did not answer in time.
    Ended(Box<Ended>),
    /// The framework cannot be used.
    Unusable(String),
    /// The user stopped the run.
    Interrupted,
}

/// How a worker's own process ended.
pub struct Ended {
    /// As a probe would have ended.
    pub outcome: Outcome,
    /// The signal.
    pub signal: Option<i32>,
    /// The exit status.
    pub status: Option<i32>,
    /// The error's words.
    pub message: String,
}

/// A worker that is started when it is first asked, and again after it ended.
pub struct Seat {
    framework: Framework,
    ready: Ready,
    worker: Option<Worker>,
}

impl Seat {
    /// A seat that nobody sits in yet.
    pub fn new(framework: Framework, ready: Ready) -> Seat {
        Seat { framework, ready, worker: None }
    }

    /// Whose.
    pub fn framework(&self) -> Framework {
        self.framework
    }

    /// Asks the worker. It is not greeted first: what a framework computes to answer that starts threads, and a process with
    /// threads cannot be forked. Our own engine has no process inside to fork, so that each probe of it gets a worker of its own.
    pub fn call<C: Command>(&mut self, command: C, limit_seconds: f64) -> Called<C::Response> {
        if self.framework.python().is_none() {
            self.worker = None;
        }
        let worker = match &mut self.worker {
            Some(worker) if worker.is_running() => worker,
            seat => match Worker::spawn(self.ready.launch.clone()) {
                Ok(worker) => seat.insert(worker),
                Err(error) => return Called::Unusable(error.to_string()),
            },
        };
        let limit = Duration::from_secs_f64(limit_seconds);
        let limit = if self.framework.python().is_some() { limit + SLACK } else { limit };
        match worker.call(command, &mut |_| {}, Some(limit)) {
            Ok(answer) => Called::Answered(answer),
            Err(WorkerError::Cancelled { .. }) => Called::Interrupted,
            Err(error @ WorkerError::MissingPackage { .. }) => Called::Unusable(error.to_string()),
            Err(error) => {
                let (outcome, signal, status) = match &error {
                    WorkerError::TimedOut { .. } => (Outcome::TimedOut, None, None),
                    WorkerError::Died { end, .. } => match end {
                        calipers_workers::worker::End::Signal(signal) => {
                            (Outcome::Killed, Some(*signal), None)
                        }
                        calipers_workers::worker::End::Exit(status) => (Outcome::Killed, None, Some(*status)),
                        calipers_workers::worker::End::ClosedOutput => (Outcome::Killed, None, None),
                    },
                    _ => (Outcome::Failed, None, None),
                };
                Called::Ended(Box::new(Ended { outcome, signal, status, message: error.to_string() }))
            }
        }
    }
}

/// Replaces the paths of this machine, so that findings of two machines can be compared and published.
pub struct Anonymous(Vec<(String, String)>);

impl Anonymous {
    /// For the folders of a run.
    pub fn new(host: &Host, out: &FilePath) -> Anonymous {
        let home = std::env::var("HOME").unwrap_or_default();
        let out = std::path::absolute(out).unwrap_or_else(|_| out.to_owned());
        let temporary = std::env::temp_dir();
        let pairs = [
            (out.display().to_string(), "<out>"),
            (host.cache.display().to_string(), "<cache>"),
            (home, "~"),
            (temporary.display().to_string(), "<temporary>"),
        ];
        let folders = pairs.into_iter().filter(|(path, _)| path.len() > 1);
        Anonymous(folders.map(|(path, name)| (format!("{path}/"), format!("{name}/"))).collect())
    }

    /// The text without those paths.
    pub fn text(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (path, name)| text.replace(path, name))
    }
}
