//! The whole of a study, in order: material, gates, trainings, cells, timing, report.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use calipers_workers::environment::Host;

use crate::cell::{Cell, Framework, Variant};
use crate::crew::{Crew, Trouble, outcome};
use crate::error::StudyError;
use crate::event::{Event, Watcher};
use crate::latency;
use crate::machine::Machine;
use crate::material::{InitialModel, Material, initial_model, make_folder, write_whole};
use crate::measure::Weights;
use crate::overhead::STEPS_IN_ALL;
use crate::record::{CellTiming, Journal, Record};
use crate::report::{self, CellReport, Gates, Report, Status};
use crate::spec::{Source, Spec};
use crate::training::Trained;
use crate::weights;

/// What a study is run with.
pub struct Options {
    /// The specification, with what the command line changes.
    pub spec: Spec,
    /// Paths of data sets by name.
    pub data: BTreeMap<String, PathBuf>,
    /// Threads that each framework is held to.
    pub threads: usize,
    /// Output folder.
    pub out: PathBuf,
    /// The command line, for the report.
    pub command: Vec<String>,
    /// This program, which is also Calipers' own worker.
    pub program: PathBuf,
    /// Where environments are.
    pub host: Host,
    /// Set to true by anybody, it ends the study at the next chance.
    pub cancelled: Arc<AtomicBool>,
}

/// A study that ran to its end.
#[derive(Debug)]
pub struct Outcome {
    /// The report, also written as three files.
    pub report: Report,
    /// `report.json`, `report.md` and `report.html`.
    pub files: Vec<PathBuf>,
}

/// A study under way.
pub(crate) struct Bench<'a> {
    pub spec: Spec,
    pub out: PathBuf,
    pub scratch: PathBuf,
    pub material: Material,
    pub journal: Journal,
    pub crew: Crew,
    pub watcher: &'a mut dyn Watcher,
    pub machine: Machine,
    identities: BTreeMap<Framework, String>,
}

/// Everything that a finished study leaves to its report.
pub(crate) struct Findings {
    pub started: String,
    pub gates: Gates,
    pub cells: Vec<CellReport>,
    pub timings: Vec<CellTiming>,
    pub notes: Vec<String>,
}

/// Runs a study to its end, going on where an earlier command in the same folder stopped.
///
/// # Errors
/// [`StudyError`] where there can be no report. A failed cell or gate is no error but an outcome.
pub fn run(options: Options, watcher: &mut dyn Watcher) -> Result<Outcome, StudyError> {
    let Options { spec, data, threads, out, command, program, host, cancelled } = options;
    make_folder(&out)?;
    let out = std::path::absolute(&out).map_err(|source| StudyError::Files {
        action: "find",
        path: out.clone(),
        source,
    })?;
    let _lock = lock(&out)?;
    let used = spec.data.source;
    if let Some(given) = data.keys().find(|name| *name != used.name()) {
        let hint = match used {
            Source::Shapes10 => {
                "shapes10 is generated and takes no path; leave --data out, or name a study of that data set"
            }
            Source::Cifar10 => "write --data cifar10=PATH",
        };
        return Err(StudyError::OtherData { given: given.clone(), used: used.name(), hint });
    }
    watcher.event(Event::Step { title: "preparing data and model" });
    let scratch = out.join("scratch");
    let material = Material::prepare(&spec, data.get(used.name()).map(PathBuf::as_path), &scratch)?;
    let logs = out.join("logs");
    make_folder(&logs)?;
    let mut journal = Journal::open(&out.join("records.jsonl"))?;
    let (started, machine) = (now(), Machine::detect());
    journal.append(Record::Run {
        started: started.clone(),
        command: command.clone(),
        calipers: env!("CARGO_PKG_VERSION").to_owned(),
        machine: machine.clone(),
        threads,
    })?;
    let mut bench = Bench {
        crew: Crew::new(program, host, threads, logs, cancelled),
        spec,
        scratch,
        material,
        journal,
        watcher,
        machine,
        identities: BTreeMap::new(),
        out,
    };
    let findings = bench.carry_out(started);
    bench.crew.dismiss();
    let (model, findings) = match findings {
        Ok(found) => found,
        Err(Trouble::Study(error)) => return Err(error),
        Err(Trouble::Interrupted) => return Err(StudyError::Interrupted { path: bench.out }),
        Err(Trouble::Cell(error)) => return Err(StudyError::Unexpected { reason: error.message }),
    };
    let report = report::assemble(&bench, &model, command, findings);
    let files = write_reports(&bench.out, &report)?;
    // Only files that are a function of the specification stand there.
    let _ = std::fs::remove_dir_all(&bench.scratch);
    Ok(Outcome { report, files })
}

impl Bench<'_> {
    fn carry_out(&mut self, started: String) -> Result<(InitialModel, Findings), Trouble> {
        let mut findings = Findings {
            started,
            gates: Gates::default(),
            cells: Vec::new(),
            timings: Vec::new(),
            notes: Vec::new(),
        };
        let units = self.plan();
        self.watcher.event(Event::Plan { units: units as u64 });
        if self.trainers().is_empty() {
            findings.notes.push(String::from(
                "No framework that trains took part: the initial weights were quantized and run, so accuracy means nothing here.",
            ));
        }
        let models = self.out.join("models");
        let seeds = self.spec.seeds.clone();
        let mut first = None;
        for &seed in &seeds {
            let model = initial_model(&self.spec, seed, &models)?;
            self.seed(&model, seed, &mut findings)?;
            first.get_or_insert((model, seed));
        }
        let Some((model, seed)) = first else {
            return Err(StudyError::Unexpected { reason: String::from("the study has no seed") }.into());
        };
        let timed = self.time(&model, seed, &latency::timeable(&findings.cells, seed))?;
        findings.timings = timed.timings;
        for (cell, error) in timed.failures {
            if let Some(report) = findings.cells.iter_mut().find(|report| report.cell == cell) {
                report.status = Status::Failed;
                report.error = Some(error);
                self.watcher.event(Event::Cell(report));
            }
        }
        Ok((model, findings))
    }

    /// Everything of one seed but the timing.
    fn seed(&mut self, model: &InitialModel, seed: u64, findings: &mut Findings) -> Result<(), Trouble> {
        let trainers = self.trainers();
        findings.gates.parity.extend(self.parity(model, seed, "initial", None)?);
        findings.gates.steps.extend(self.steps(model, seed)?);

        let mut trained: BTreeMap<Framework, Weights> = BTreeMap::new();
        for &framework in &trainers {
            let float = outcome(self.float_weights(model, framework, Variant::Float, seed, None))?;
            let finetuned = match &float {
                _ if !self.spec.variants.contains(&Variant::FloatFinetuned) => None,
                Ok(float) => {
                    let variant = Variant::FloatFinetuned;
                    Some(outcome(self.float_weights(model, framework, variant, seed, Some(float)))?)
                }
                Err(error) => Some(Err(error.clone())),
            };
            trained.insert(framework, Weights { float, finetuned });
        }
        for (framework, weights) in &trained {
            if let Ok(Trained { weights, hash, .. }) = &weights.float {
                let label = format!("trained by {framework}");
                findings.gates.parity.extend(self.parity(model, seed, &label, Some((weights, hash)))?);
            }
        }
        if self.spec.frameworks.contains_key(&Framework::Calipers) {
            let borrowed = trainers.iter().find(|framework| trained[framework].float.is_ok());
            let weights = match (borrowed, trainers.first()) {
                (Some(framework), _) => {
                    findings.notes.push(format!(
                        "Seed {seed}: Calipers quantizes and runs the weights that {} trained; its own training comes later.",
                        framework.title()
                    ));
                    trained[framework].clone()
                }
                (None, Some(framework)) => trained[framework].clone(),
                (None, None) => self.initial_weights(model, seed)?,
            };
            trained.insert(Framework::Calipers, weights);
        }
        let mut cells = Vec::new();
        for cell in self.spec.cells(seed) {
            let mut report = self.measure(model, &cell, &trained[&cell.framework])?;
            self.add_overhead(model, &cell, &trained[&cell.framework], &mut report)?;
            cells.push(report);
        }
        self.agree(&mut cells)?;
        findings.cells.extend(cells);
        Ok(())
    }

    /// Measures what QAT costs, once for each path, on the first seed.
    fn add_overhead(
        &mut self,
        model: &InitialModel,
        cell: &Cell,
        weights: &Weights,
        report: &mut CellReport,
    ) -> Result<(), Trouble> {
        let (Ok(start), Some(training)) = (&weights.float, &mut report.metrics.training) else {
            return Ok(());
        };
        if cell.variant != Variant::Qat || self.spec.seeds.first() != Some(&cell.seed) {
            return Ok(());
        }
        match outcome(self.overhead(model, cell.framework, &cell.path, cell.seed, start))? {
            Ok(overhead) => training.overhead = overhead,
            Err(error) => {
                let text = format!("{cell}: the cost of QAT could not be measured: {}", error.message);
                self.watcher.event(Event::Note { text: &text });
            }
        }
        Ok(())
    }

    /// The initial weights as if they had been trained.
    fn initial_weights(&mut self, model: &InitialModel, seed: u64) -> Result<Weights, Trouble> {
        let failed = |reason: String| StudyError::Model { name: self.spec.model.name.clone(), reason };
        let path = self.out.join(format!("models/initial-seed-{seed}.safetensors"));
        let graph =
            calipers_formats::onnx::read(&model.path).map_err(|error| failed(error.to_string()))?.graph;
        weights::write(&path, &weights::of_graph(&graph)).map_err(|error| failed(error.to_string()))?;
        let trained = Trained { weights: path, hash: model.hash.clone(), epochs: Vec::new() };
        Ok(Weights { float: Ok(trained.clone()), finetuned: Some(Ok(trained)) })
    }

    /// Frameworks that train, in the order in which they are shown and run.
    pub fn trainers(&self) -> Vec<Framework> {
        self.spec.chosen().filter(|framework| framework.python().is_some()).collect()
    }

    /// Units of work of the whole study.
    fn plan(&self) -> usize {
        let (train, test) = (self.material.facts.train, self.material.facts.test);
        let trainers = self.trainers().len();
        let mut units = 0;
        let mut timed = 0;
        for (index, &seed) in self.spec.seeds.iter().enumerate() {
            units += trainers * self.spec.train.epochs * train;
            if self.spec.variants.contains(&Variant::FloatFinetuned) {
                units += trainers * self.spec.qat.epochs * train;
            }
            for cell in self.spec.cells(seed) {
                if cell.framework == Framework::Calipers && cell.variant == Variant::Qat {
                    continue;
                }
                units += test / 2;
                if cell.variant == Variant::Qat {
                    units += 2 * self.spec.qat.epochs * train;
                    units += if index == 0 { STEPS_IN_ALL * self.spec.train.batch } else { 0 };
                }
                timed += usize::from(index == 0);
            }
        }
        units + self.timing_units(timed)
    }

    /// Says that units of work are done.
    pub fn done(&mut self, units: usize) {
        self.watcher.event(Event::Work { units: units as u64 });
    }

    /// Hash of what every result of a framework depends on: its versions,
    /// the machine, threads and instruction set, the model and the data.
    pub fn base_key(&mut self, framework: Framework, model: &InitialModel) -> Result<String, Trouble> {
        let identity = match self.identities.get(&framework) {
            Some(identity) => identity.clone(),
            None => {
                let (identity, facts) = self.crew.identity(framework, self.watcher)?;
                self.journal.append(Record::Framework(facts))?;
                self.identities.insert(framework, identity.clone());
                identity
            }
        };
        let facts = &self.material.facts;
        Ok(crate::record::key(&[
            env!("CARGO_PKG_VERSION"),
            &identity,
            &format!("{:?}", self.machine),
            &std::env::var("CALIPERS_ISA").unwrap_or_default(),
            &self.crew.threads.to_string(),
            &model.hash,
            &facts.train_hash,
            &facts.test_hash,
            &format!("{:?} {:?}", self.spec.data.mean, self.spec.data.deviation),
        ]))
    }
}

/// The present time in UTC, to the second.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().round(jiff::Unit::Second).map_or_else(|_| String::new(), |now| now.to_string())
}

/// Keeps other studies out of the folder for as long as the file is open.
fn lock(out: &Path) -> Result<File, StudyError> {
    let path = out.join(".lock");
    let failed = |source| StudyError::Files { action: "open", path: path.clone(), source };
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StudyError::Busy { path: out.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn write_reports(out: &Path, report: &Report) -> Result<Vec<PathBuf>, StudyError> {
    let json = serde_json::to_string_pretty(report).map_err(|error| StudyError::Files {
        action: "write",
        path: out.join("report.json"),
        source: error.into(),
    })?;
    let contents = [
        ("report.json", json + "\n"),
        ("report.md", report::markdown(report)),
        ("report.html", report::html(report)),
    ];
    contents
        .into_iter()
        .map(|(name, content)| {
            let path = out.join(name);
            write_whole(&path, content.as_bytes()).map_err(|source| StudyError::Files {
                action: "write",
                path: path.clone(),
                source,
            })?;
            Ok(path)
        })
        .collect()
}
