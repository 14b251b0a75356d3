//! The work of a run: several at a time, each with one worker, until nothing is left.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use calipers_study::{Event, Journal, Watcher};
use calipers_workers::protocol::{AskCapability, Ending, Found, Outcome, Probe, Probed};
use tempfile::TempDir;

use crate::bench::{Called, Ended, Ready, Seat};
use crate::error::GapsError;
use crate::finding::Finder;
use crate::framework::Framework;
use crate::journal::Record;
use crate::path::Path;
use crate::run::{LayerMaterial, Options};
use crate::task::Task;

/// Seconds after which a cell is killed, and an attempt to answer a question.
const CELL_LIMIT: f64 = 120.0;
const QUESTION_LIMIT: f64 = 240.0;
/// What those who probe share.
pub struct Workplace<'a> {
    /// What is asked for.
    pub options: &'a Options,
    /// The files of each layer.
    pub material: &'a BTreeMap<&'static str, LayerMaterial>,
    /// Each framework, or why it is not there.
    pub ready: &'a BTreeMap<Framework, Result<Ready, String>>,
    /// Makes findings of answers.
    pub finder: Finder,
}

/// What is left to do, by framework, and how many work on it.
struct Queue<'t> {
    tasks: BTreeMap<Framework, VecDeque<(&'t Task, &'t str)>>,
    at_work: BTreeMap<Framework, u64>,
}

impl<'t> Queue<'t> {
    /// The next task: of the framework whose worker is there, else of the one with the most left for each at work.
    fn next(&mut self, seated: Option<Framework>) -> Option<(&'t Task, &'t str)> {
        let own = seated.filter(|framework| self.tasks.get(framework).is_some_and(|left| !left.is_empty()));
        let framework = own.or_else(|| {
            if let Some(framework) = seated {
                *self.at_work.entry(framework).or_default() -= 1;
            }
            let most =
                self.tasks.iter().filter(|(_, left)| !left.is_empty()).max_by_key(|(framework, left)| {
                    let cost: u64 = left.iter().map(|(task, _)| task.cost()).sum();
                    cost / (1 + self.at_work.get(framework).copied().unwrap_or(0))
                });
            let framework = most.map(|(framework, _)| *framework)?;
            *self.at_work.entry(framework).or_default() += 1;
            Some(framework)
        })?;
        self.tasks.get_mut(&framework)?.pop_front()
    }
}

/// What a worker thread tells.
enum News {
    Begins(String),
    Ends(u64, Box<Record>),
    Stops(Stop),
}

/// Why a task has no record.
enum Stop {
    /// The user stopped the run.
    Interrupted,
    /// The run cannot go on.
    Trouble(GapsError),
}

/// A folder for what a probe makes.
fn scratch() -> Result<TempDir, Stop> {
    tempfile::tempdir()
        .map_err(GapsError::files("make a folder in", &std::env::temp_dir()))
        .map_err(Stop::Trouble)
}

impl Workplace<'_> {
    /// Does what is not finished, several at a time.
    pub fn probe(
        &self,
        tasks: &[Task],
        keys: &[String],
        journal: &mut Journal<Record>,
        watcher: &mut dyn Watcher,
    ) -> Result<(), GapsError> {
        let mut queue = Queue { tasks: BTreeMap::new(), at_work: BTreeMap::new() };
        let (mut finished, mut left) = (0, 0);
        for (task, key) in tasks.iter().zip(keys) {
            if journal.find(key).is_some_and(Record::is_final) {
                finished += 1;
            } else {
                left += task.cost();
                queue.tasks.entry(task.framework()).or_default().push_back((task, key));
            }
        }
        watcher.event(Event::Plan { units: left });
        if finished > 0 {
            let text = format!("{finished} of {} cells were finished before", tasks.len());
            watcher.event(Event::Note { text: &text });
        }
        let queue = Mutex::new(queue);
        thread::scope(|scope| {
            let (sender, news) = channel();
            for _ in 0..self.options.jobs {
                let sender = sender.clone();
                let queue = &queue;
                scope.spawn(move || self.work(queue, &sender));
            }
            drop(sender);
            let mut interrupted = false;
            for news in news {
                match news {
                    News::Begins(title) => watcher.event(Event::Step { title: &title }),
                    News::Ends(cost, record) => {
                        if let Err(error) = journal.append(*record) {
                            self.options.cancelled.store(true, Ordering::Relaxed);
                            return Err(error.into());
                        }
                        finished += 1;
                        watcher.event(Event::Work { units: cost });
                    }
                    News::Stops(Stop::Interrupted) => interrupted = true,
                    News::Stops(Stop::Trouble(error)) => {
                        self.options.cancelled.store(true, Ordering::Relaxed);
                        return Err(error);
                    }
                }
            }
            if interrupted { Err(GapsError::Interrupted { finished, all: tasks.len() }) } else { Ok(()) }
        })
    }

    /// One of those who probe: takes tasks until none is left, with one worker at a time.
    fn work(&self, queue: &Mutex<Queue<'_>>, news: &Sender<News>) {
        let mut seat: Option<Seat> = None;
        loop {
            if self.options.cancelled.load(Ordering::Relaxed) {
                let _ = news.send(News::Stops(Stop::Interrupted));
                return;
            }
            let seated = seat.as_ref().map(Seat::framework);
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next(seated);
            let Some((task, key)) = next else { return };
            if seated != Some(task.framework()) {
                seat = match self.ready.get(&task.framework()) {
                    Some(Ok(ready)) => Some(Seat::new(task.framework(), ready.clone())),
                    Some(Err(_)) | None => None,
                };
            }
            let _ = news.send(News::Begins(task.to_string()));
            let last = match self.carry_out(task, key, seat.as_mut()) {
                Ok(record) => news.send(News::Ends(task.cost(), Box::new(record))),
                Err(stop) => news.send(News::Stops(stop)),
            };
            // Nobody listens any more once the run has failed.
            if last.is_err() {
                return;
            }
        }
    }

    /// What came of a task.
    fn carry_out(&self, task: &Task, key: &str, seat: Option<&mut Seat>) -> Result<Record, Stop> {
        let started = Instant::now();
        let key = key.to_owned();
        let absent = || match self.ready.get(&task.framework()) {
            Some(Err(reason)) => reason.clone(),
            Some(Ok(_)) | None => String::from("the framework is not part of this run"),
        };
        match *task {
            Task::Cell(path, of) => self.carry_out_probe(path, [of.name; 2], CELL_LIMIT, key, seat, absent),
            Task::Control(path, control) => {
                let names = [control.name, control.layer];
                self.carry_out_probe(path, names, control.limit_seconds, key, seat, absent)
            }
            Task::Ask(framework, question) => {
                let folder = scratch()?;
                let command = AskCapability {
                    name: question.name.to_owned(),
                    folder: folder.path().to_owned(),
                    limit_seconds: QUESTION_LIMIT,
                };
                let asked = match seat.map(|seat| seat.call(command, QUESTION_LIMIT)) {
                    None => Err(absent()),
                    Some(Called::Answered(asked)) => Ok(asked),
                    Some(Called::Ended(ended)) => Err(ended.message),
                    Some(Called::Unusable(reason)) => Err(reason),
                    Some(Called::Interrupted) => return Err(Stop::Interrupted),
                };
                let mut capability = self.finder.capability(framework, question, asked);
                capability.seconds = started.elapsed().as_secs_f64();
                Ok(Record::Capability { key, capability: Box::new(capability) })
            }
        }
    }

    /// Probes a layer or control of the first name with the tensors of the layer of the second.
    fn carry_out_probe(
        &self,
        path: &Path,
        names: [&str; 2],
        limit_seconds: f64,
        key: String,
        seat: Option<&mut Seat>,
        absent: impl Fn() -> String,
    ) -> Result<Record, Stop> {
        let started = Instant::now();
        let folder = scratch()?;
        let material = &self.material[names[1]];
        let command = Probe {
            layer: names[0].to_owned(),
            path: path.name.to_owned(),
            tensors: material.tensors.clone(),
            folder: folder.path().to_owned(),
            limit_seconds,
        };
        let probed = match seat.map(|seat| seat.call(command, limit_seconds)) {
            None => Err(absent()),
            Some(Called::Answered(probed)) => Ok(probed),
            Some(Called::Ended(ended)) => {
                Ok(Probed { ending: ending(&ended, limit_seconds), found: Found::default() })
            }
            Some(Called::Unusable(reason)) => Err(reason),
            Some(Called::Interrupted) => return Err(Stop::Interrupted),
        };
        let mut cell = self.finder.cell(path, names, &material.own_constants, probed, folder.path());
        cell.seconds = started.elapsed().as_secs_f64();
        Ok(Record::Cell { key, cell: Box::new(cell) })
    }
}

/// The end of a worker's own process as that of the probe that it was asked for.
fn ending(ended: &Ended, seconds: f64) -> Ending {
    let stage = if ended.outcome == Outcome::TimedOut { "run" } else { "build" };
    let error = (ended.outcome == Outcome::Failed).then(|| ("WorkerError", ended.message.clone()));
    Ending { signal: ended.signal, status: ended.status, seconds, ..Ending::new(ended.outcome, stage, error) }
}
