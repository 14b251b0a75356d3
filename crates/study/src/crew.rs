//! The workers of a study: started when first needed, started again after a death.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use calipers_workers::protocol::{Greeting, Hello};
use calipers_workers::{Command, Launch, Progress, Stage, Worker, WorkerError, environment, sources};

use crate::cell::Framework;
use crate::error::StudyError;
use crate::event::{Event, Watcher};
use crate::material::file_hash;
use crate::report::{CellError, FrameworkFacts};

/// Longest time that an epoch, a conversion or a pass over a data set may take.
const LIMIT: Duration = Duration::from_secs(6 * 3600);
/// Longest time that starting, loading or a block of inferences may take.
const SHORT_LIMIT: Duration = Duration::from_secs(15 * 60);
/// Longest time that a worker may take to end by itself.
const FAREWELL: Duration = Duration::from_secs(10);

/// Why a call has no answer.
#[derive(Debug)]
pub enum Trouble {
    /// It is the cell's outcome; the study goes on.
    Cell(CellError),
    /// The user stopped the study.
    Interrupted,
    /// The study cannot go on.
    Study(StudyError),
}

impl From<StudyError> for Trouble {
    fn from(error: StudyError) -> Trouble {
        Trouble::Study(error)
    }
}

/// A failure is what came of it; only what ends the study goes further up.
///
/// # Errors
/// [`Trouble::Interrupted`] and [`Trouble::Study`].
pub fn outcome<T>(result: Result<T, Trouble>) -> Result<Result<T, CellError>, Trouble> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Trouble::Cell(error)) => Ok(Err(error)),
        Err(trouble) => Err(trouble),
    }
}

impl Trouble {
    /// A failure of our own at a stage.
    pub fn at(stage: &str, message: impl std::fmt::Display) -> Trouble {
        Trouble::Cell(CellError {
            stage: Some(stage.to_owned()),
            message: message.to_string(),
            details: None,
        })
    }
}

impl From<WorkerError> for Trouble {
    fn from(error: WorkerError) -> Trouble {
        if matches!(error, WorkerError::Cancelled { .. }) {
            return Trouble::Interrupted;
        }
        Trouble::Cell(CellError {
            stage: error.stage().map(|stage| stage.to_string()),
            message: error.to_string(),
            details: error.details().filter(|details| !details.is_empty()).map(str::to_owned),
        })
    }
}

/// Where workers come from.
pub struct Crew {
    /// This program, which is also Calipers' own worker.
    pub program: PathBuf,
    /// Where environments and worker sources are.
    pub host: environment::Host,
    /// Threads of every worker.
    pub threads: usize,
    /// Folder of the workers' standard error.
    pub logs: PathBuf,
    /// Set to true, it ends the study.
    pub cancelled: Arc<AtomicBool>,
    seats: BTreeMap<Framework, Seat>,
}

struct Seat {
    launch: Result<(Launch, FrameworkFacts), CellError>,
    worker: Option<Worker>,
}

impl Crew {
    /// A crew of nobody yet.
    pub fn new(
        program: PathBuf,
        host: environment::Host,
        threads: usize,
        logs: PathBuf,
        cancelled: Arc<AtomicBool>,
    ) -> Crew {
        Crew { program, host, threads, logs, cancelled, seats: BTreeMap::new() }
    }

    /// Whether the user stopped the study.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Asks the framework's worker, which is started first where it does not run. Handles of an earlier worker mean
    /// nothing to a later one.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn call<C: Command>(
        &mut self,
        framework: Framework,
        command: C,
        watcher: &mut dyn Watcher,
    ) -> Result<C::Response, Trouble> {
        if self.is_cancelled() {
            return Err(Trouble::Interrupted);
        }
        if !self
            .seats
            .get(&framework)
            .is_some_and(|seat| seat.worker.as_ref().is_some_and(Worker::is_running))
        {
            let (worker, _) = self.start(framework, watcher)?;
            if let Some(seat) = self.seats.get_mut(&framework) {
                seat.worker = Some(worker);
            }
        }
        match self.seats.get_mut(&framework).and_then(|seat| seat.worker.as_mut()) {
            Some(worker) => ask(worker, command, watcher),
            None => Err(Trouble::at("start", "the worker is not there")),
        }
    }

    /// Starts one more worker of the framework, beside the one that [`Crew::call`] asks.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn start(
        &mut self,
        framework: Framework,
        watcher: &mut dyn Watcher,
    ) -> Result<(Worker, Greeting), Trouble> {
        let (launch, _) = self.seat(framework, watcher)?;
        let launch = launch.clone();
        watcher.event(Event::Step { title: &format!("starting {}", framework.title()) });
        let mut worker = Worker::spawn(launch)?;
        let greeting = ask(&mut worker, Hello { threads: self.threads }, watcher)?;
        if greeting.threads != self.threads {
            return Err(Trouble::at(
                "start",
                format!(
                    "{} was told to use {} threads, but reports {}\nhint: an environment variable of its own may hold it to another number",
                    framework.title(),
                    self.threads,
                    greeting.threads
                ),
            ));
        }
        Ok((worker, greeting))
    }

    /// What tells one version of the framework from another, and the same for the report. A framework that is not
    /// there has an identity too: what fails with it is tried again with the next.
    ///
    /// # Errors
    /// [`Trouble::Interrupted`] alone.
    pub fn identity(
        &mut self,
        framework: Framework,
        watcher: &mut dyn Watcher,
    ) -> Result<(String, FrameworkFacts), Trouble> {
        match self.seat(framework, watcher) {
            Ok((launch, facts)) => {
                let facts = facts.clone();
                let program = launch.program.clone();
                let sources = format!("{:?} {:?}", launch.arguments, launch.variables);
                // Our own engine is this program; Python's is told by its packages and sources.
                let engine = match framework.python() {
                    None => file_hash(&program).unwrap_or_default(),
                    Some(_) => program.display().to_string(),
                };
                Ok((format!("{engine} {sources} {:?}", facts.versions), facts))
            }
            Err(Trouble::Cell(_)) => {
                let facts =
                    FrameworkFacts { framework, versions: BTreeMap::new(), python: None, threads: None };
                Ok((String::from("absent"), facts))
            }
            Err(trouble) => Err(trouble),
        }
    }

    fn seat(
        &mut self,
        framework: Framework,
        watcher: &mut dyn Watcher,
    ) -> Result<&(Launch, FrameworkFacts), Trouble> {
        if !self.seats.contains_key(&framework) {
            let launch = outcome(self.launch(framework, watcher))?;
            self.seats.insert(framework, Seat { launch, worker: None });
        }
        self.seats[&framework].launch.as_ref().map_err(|error| Trouble::Cell(error.clone()))
    }

    /// Ends all workers.
    pub fn dismiss(&mut self) {
        for seat in self.seats.values_mut() {
            if let Some(worker) = seat.worker.take()
                && worker.is_running()
            {
                // A worker that does not go is killed, which is all that is wanted of it.
                let _ = worker.shutdown(FAREWELL);
            }
        }
    }

    fn launch(
        &self,
        framework: Framework,
        watcher: &mut dyn Watcher,
    ) -> Result<(Launch, FrameworkFacts), Trouble> {
        let mut facts = FrameworkFacts {
            framework,
            versions: BTreeMap::new(),
            python: None,
            threads: Some(self.threads),
        };
        let mut launch = match framework.python() {
            None => {
                let mut launch = Launch::new(framework.title(), &self.program);
                launch.arguments = vec!["worker".into()];
                facts.versions.insert(String::from("calipers"), env!("CARGO_PKG_VERSION").to_owned());
                launch
            }
            Some(python) => {
                watcher.event(Event::Step { title: &format!("looking for {}", framework.title()) });
                let mut progress = |installing: &environment::Installing<'_>| {
                    watcher.event(Event::Progress {
                        stage: &format!("{}: {}", installing.title, installing.phase.title()),
                        done: installing.packages_done as u64,
                        total: Some(installing.packages_total as u64),
                        detail: installing.line,
                    });
                };
                let interpreter =
                    environment::ensure(python.environment(), &self.host, &mut progress, &self.cancelled)
                        .map_err(|error| {
                            if self.is_cancelled() {
                                Trouble::Interrupted
                            } else {
                                Trouble::at("install", error)
                            }
                        })?;
                let sources =
                    sources::unpack(&self.host.cache).map_err(|error| Trouble::at("install", error))?;
                facts.python = Some(interpreter.python.clone());
                facts.versions.clone_from(&interpreter.versions);
                Launch::framework(python, &interpreter, &sources, self.threads)
            }
        };
        launch.log = Some(self.logs.join(format!("{framework}.stderr")));
        launch.cancelled = Arc::clone(&self.cancelled);
        Ok((launch, facts))
    }
}

/// Asks a worker and passes its progress on.
///
/// # Errors
/// [`Trouble`].
pub fn ask<C: Command>(
    worker: &mut Worker,
    command: C,
    watcher: &mut dyn Watcher,
) -> Result<C::Response, Trouble> {
    let mut progress = |progress: Progress| {
        watcher.event(Event::Progress {
            stage: &progress.stage.to_string(),
            done: progress.done,
            total: progress.total,
            detail: progress.detail.as_deref().unwrap_or_default(),
        });
    };
    let limit = match C::FIRST_STAGE {
        Stage::Start | Stage::Load | Stage::Time | Stage::Other => SHORT_LIMIT,
        Stage::Build
        | Stage::Train
        | Stage::Prepare
        | Stage::Calibrate
        | Stage::Convert
        | Stage::Save
        | Stage::Evaluate => LIMIT,
    };
    Ok(worker.call(command, &mut progress, Some(limit))?)
}
