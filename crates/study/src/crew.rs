//! The workers of a study: started when first needed, started again after a death.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use calipers_workers::protocol::{Greeting, Hello};
use calipers_workers::{Command, Launch, Progress, Stage, Worker, WorkerError, environment, sources};

use crate::cell::{Cell, Framework};
use crate::error::StudyError;
use crate::event::{Event, Watcher};
use crate::material::file_hash;
use crate::memory;
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

/// What a worker computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Framework.
    pub framework: Framework,
    /// Whether it may use a GPU.
    pub gpu: bool,
}

impl From<Framework> for Place {
    fn from(framework: Framework) -> Place {
        Place { framework, gpu: false }
    }
}

impl From<&Cell> for Place {
    fn from(cell: &Cell) -> Place {
        Place { framework: cell.framework, gpu: cell.is_on_gpu() }
    }
}

/// A worker that has greeted.
pub struct Member {
    /// The process.
    pub worker: Worker,
    /// Its resident memory after the framework was imported, in bytes.
    pub idle: Option<u64>,
    /// What it said.
    pub greeting: Greeting,
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
    /// Folder of what workers compile.
    pub compiled: PathBuf,
    /// Set to true, it ends the study.
    pub cancelled: Arc<AtomicBool>,
    seats: BTreeMap<Place, Seat>,
}

struct Seat {
    launch: Result<(Launch, FrameworkFacts), CellError>,
    member: Option<Member>,
}

impl Crew {
    /// A crew of nobody yet.
    pub fn new(
        program: PathBuf,
        host: environment::Host,
        threads: usize,
        logs: PathBuf,
        compiled: PathBuf,
        cancelled: Arc<AtomicBool>,
    ) -> Crew {
        Crew { program, host, threads, logs, compiled, cancelled, seats: BTreeMap::new() }
    }

    /// Whether the user stopped the study.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Asks the worker of a place, which is started first where it does not run. Handles of an earlier worker mean
    /// nothing to a later one.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn call<C: Command>(
        &mut self,
        place: impl Into<Place>,
        command: C,
        watcher: &mut dyn Watcher,
    ) -> Result<C::Response, Trouble> {
        let member = self.member(place, watcher)?;
        ask(&mut member.worker, command, watcher)
    }

    /// The worker of a place, which is started first where it does not run.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn member(
        &mut self,
        place: impl Into<Place>,
        watcher: &mut dyn Watcher,
    ) -> Result<&mut Member, Trouble> {
        let place = place.into();
        if self.is_cancelled() {
            return Err(Trouble::Interrupted);
        }
        let runs = |seat: &Seat| seat.member.as_ref().is_some_and(|member| member.worker.is_running());
        if !self.seats.get(&place).is_some_and(runs) {
            let member = self.start(place, watcher)?;
            if let Some(seat) = self.seats.get_mut(&place) {
                seat.member = Some(member);
            }
        }
        let found = self.seats.get_mut(&place).and_then(|seat| seat.member.as_mut());
        found.ok_or_else(|| Trouble::at("start", "the worker is not there"))
    }

    /// Ends the worker of a place, so that what is asked next is asked of a new process.
    pub fn retire(&mut self, place: impl Into<Place>) {
        if let Some(member) = self.seats.get_mut(&place.into()).and_then(|seat| seat.member.take()) {
            farewell(member);
        }
    }

    /// Starts one more worker, beside the one that [`Crew::call`] asks.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn start(&mut self, place: impl Into<Place>, watcher: &mut dyn Watcher) -> Result<Member, Trouble> {
        let place = place.into();
        let title = place.framework.title();
        let (launch, facts) = self.seat(place, watcher)?;
        let (launch, versions) = (launch.clone(), facts.versions.clone());
        watcher.event(Event::Step { title: &format!("starting {title}") });
        let mut worker = Worker::spawn(launch)?;
        let greeting = ask(&mut worker, Hello { threads: self.threads }, watcher)?;
        if greeting.threads != self.threads {
            return Err(Trouble::at(
                "start",
                format!(
                    "{title} was told to use {} threads, but reports {}\nhint: an environment variable of its own may hold it to another number",
                    self.threads, greeting.threads
                ),
            ));
        }
        if let Some((package, found, expected)) = changed(&versions, &greeting) {
            return Err(Trouble::at(
                "start",
                format!(
                    "the environment of {title} has {package} {found}, where {expected} was installed: its packages were changed \
                     since\nhint: make it anew with `calipers env remove {framework}` and `calipers env install {framework}`; \
                     what was finished with the former packages is kept",
                    framework = place.framework
                ),
            ));
        }
        let idle = memory::resident(worker.id());
        Ok(Member { worker, idle, greeting })
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
        match self.seat(framework.into(), watcher) {
            Ok((launch, facts)) => {
                let facts = facts.clone();
                let program = launch.program.clone();
                // Our own engine is this program; Python's is told by its packages.
                let engine = match framework.python() {
                    None => file_hash(&program).unwrap_or_default(),
                    Some(_) => program.display().to_string(),
                };
                Ok((format!("{engine} {:?}", facts.versions), facts))
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
        place: Place,
        watcher: &mut dyn Watcher,
    ) -> Result<&(Launch, FrameworkFacts), Trouble> {
        if !self.seats.contains_key(&place) {
            let launch = outcome(self.launch(place, watcher))?;
            self.seats.insert(place, Seat { launch, member: None });
        }
        self.seats[&place].launch.as_ref().map_err(|error| Trouble::Cell(error.clone()))
    }

    /// Ends all workers.
    pub fn dismiss(&mut self) {
        for seat in self.seats.values_mut() {
            if let Some(member) = seat.member.take() {
                farewell(member);
            }
        }
    }

    fn launch(
        &self,
        Place { framework, gpu }: Place,
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
                let mut launch = Launch::framework(python, &interpreter, &sources, self.threads);
                // What PT2E compiles is found again by later processes of this study, and by no others.
                launch.variables.push(("TORCHINDUCTOR_CACHE_DIR".into(), self.compiled.clone().into()));
                if gpu {
                    launch.variables.retain(|(name, _)| name != "CUDA_VISIBLE_DEVICES");
                }
                launch
            }
        };
        launch.log = Some(self.logs.join(format!("{framework}.stderr")));
        launch.cancelled = Arc::clone(&self.cancelled);
        Ok((launch, facts))
    }
}

/// Ends a worker that is not needed any more.
fn farewell(member: Member) {
    if member.worker.is_running() {
        // A worker that does not go is killed, which is all that is wanted of it.
        let _ = member.worker.shutdown(FAREWELL);
    }
}

/// The first package whose version is not the one that was installed: its name, what is there and what was expected.
/// Environments name packages as they are imported, workers as they are installed.
fn changed(installed: &BTreeMap<String, String>, greeting: &Greeting) -> Option<(String, String, String)> {
    let plain = |name: &str| name.replace('-', "_").to_lowercase();
    greeting.versions.iter().find_map(|(name, found)| {
        let expected = installed.iter().find(|(other, _)| plain(other) == plain(name))?.1;
        (found != expected).then(|| (name.clone(), found.clone(), expected.clone()))
    })
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
        Stage::Start | Stage::Load | Stage::Time | Stage::Profile | Stage::Other => SHORT_LIMIT,
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
