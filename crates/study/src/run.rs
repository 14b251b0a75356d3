//! The whole of a study, in order: material, gates, trainings, cells, timing, report.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use calipers_workers::environment::Host;
use calipers_workers::protocol::TrainMode;
use calipers_workers::sources;

use crate::cell::{Cell, Framework, Origin, Variant};
use crate::crew::{Crew, Trouble, outcome};
use crate::error::StudyError;
use crate::event::{Event, Watcher};
use crate::latency;
use crate::looks::UNITS_OF_LOOK;
use crate::machine::Machine;
use crate::material::{InitialModel, Material, initial_model, make_folder};
use crate::measure::Weights;
use crate::overhead::STEPS_IN_ALL;
use crate::record::{CellTiming, Journal, Record};
use crate::report::{self, CellReport, Gates, Report};
use crate::spec::{Source, Spec};
use crate::training::Trained;

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
    /// What a reader of the report must know, as it came up.
    pub notes: Vec<String>,
    identities: BTreeMap<Framework, String>,
}

/// Everything that a finished study leaves to its report.
pub(crate) struct Findings {
    pub started: String,
    pub gates: Gates,
    pub cells: Vec<CellReport>,
    pub timings: Vec<CellTiming>,
}

/// Which of a framework's Python sources a result depends on. Our own engine is one program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sources {
    /// Those of float training. How the native model is built is not among them: the gates hold it against the other
    /// frameworks' whenever it changes.
    Training,
    /// Those, and what puts fake quantization in.
    QuantizedTraining,
    /// All that the study uses.
    Whole,
}

/// Files of a worker that put fake quantization in.
const FAKE_QUANTIZATION: [&str; 4] = ["quantize.py", "methods.py", "exported.py", "fake_quantization.py"];

impl Sources {
    fn fingerprint(self, framework: Framework) -> String {
        let Some(python) = framework.python() else { return String::new() };
        let own = format!("calipers_worker/{}/", python.name());
        let probes = format!("calipers_worker/gaps/{}/", python.name());
        let training = [String::from("calipers_worker/batches.py"), format!("{own}train.py")];
        let is_shared = |name: &str| name.matches('/').count() == 1;
        sources::fingerprint(|name| match self {
            Sources::Training => training.iter().any(|file| file == name),
            Sources::QuantizedTraining => {
                let is_quantization = FAKE_QUANTIZATION.iter().any(|file| name == format!("{own}{file}"));
                training.iter().any(|file| file == name) || is_quantization
            }
            Sources::Whole => name.starts_with(&own) || name.starts_with(&probes) || is_shared(name),
        })
    }
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
            Source::Files => "write --data files=PATH",
        };
        return Err(StudyError::OtherData { given: given.clone(), used: used.name(), hint });
    }
    watcher.event(Event::Step { title: "preparing data and model" });
    let mut models = BTreeMap::new();
    for &seed in &spec.seeds {
        models.insert(seed, initial_model(&spec, seed, &out.join("models"))?);
    }
    let Some((&seed, first)) = spec.seeds.first().and_then(|seed| models.get_key_value(seed)) else {
        return Err(StudyError::Unexpected { reason: String::from("the study has no seed") });
    };
    let scratch = out.join("scratch");
    let material = Material::prepare(&spec, data.get(used.name()).map(PathBuf::as_path), first, &scratch)?;
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
    let compiled = scratch.join("compiled");
    // What a killed run left there may be half of a file.
    let _ = std::fs::remove_dir_all(&compiled);
    make_folder(&compiled)?;
    let mut bench = Bench {
        crew: Crew::new(program, host, threads, logs, compiled, cancelled),
        spec,
        scratch,
        material,
        journal,
        watcher,
        machine,
        notes: Vec::new(),
        identities: BTreeMap::new(),
        out,
    };
    let findings = bench.carry_out(started, &models, seed);
    bench.crew.dismiss();
    let findings = match findings {
        Ok(found) => found,
        Err(Trouble::Study(error)) => return Err(error),
        Err(Trouble::Interrupted) => return Err(StudyError::Interrupted { path: bench.out }),
        Err(Trouble::Cell(error)) => return Err(StudyError::Unexpected { reason: error.message }),
    };
    let report = report::assemble(&bench, &models[&seed], command, findings);
    let files = report::write(&bench.out, &report)?;
    // Only files that are a function of the specification stand there.
    let _ = std::fs::remove_dir_all(&bench.scratch);
    Ok(Outcome { report, files })
}

impl Bench<'_> {
    /// Everything that needs no idle machine first, for all seeds; then what is timed, of the first seed.
    fn carry_out(
        &mut self,
        started: String,
        models: &BTreeMap<u64, InitialModel>,
        first: u64,
    ) -> Result<Findings, Trouble> {
        let mut findings =
            Findings { started, gates: Gates::default(), cells: Vec::new(), timings: Vec::new() };
        let units = self.plan();
        self.watcher.event(Event::Plan { units: units as u64 });
        if self.spec.train.is_some() && self.spec.lender().is_none() {
            self.notes.push(String::from(
                "No framework that trains took part: the initial weights were quantized and run, so accuracy means nothing here.",
            ));
        }
        let mut starts = BTreeMap::new();
        for (&seed, model) in models {
            let weights = self.seed(model, seed, &mut findings)?;
            if seed == first {
                starts = weights;
            }
        }
        let (model, mut cells) = (&models[&first], std::mem::take(&mut findings.cells));
        self.overheads(model, &mut cells, &starts, first)?;
        self.look_inside(model, &mut cells, first)?;
        findings.timings = self.time(model, first, &latency::timeable(&self.spec, &cells, first))?;
        findings.cells = cells;
        Ok(findings)
    }

    /// Everything of one seed that is not timed; the weights that each framework quantizes.
    fn seed(
        &mut self,
        model: &InitialModel,
        seed: u64,
        findings: &mut Findings,
    ) -> Result<BTreeMap<(Framework, Origin), Weights>, Trouble> {
        findings.gates.parity.extend(self.parity(model, seed, "initial", None)?);
        findings.gates.steps.extend(self.steps(model, seed)?);
        let mut weights: BTreeMap<(Framework, Origin), Weights> = BTreeMap::new();
        for framework in self.trainers() {
            let float = outcome(self.float_weights(model, framework, Variant::Float, seed, None))?;
            let finetuned = match &float {
                _ if !self.finetunes() => None,
                Ok(float) => {
                    let variant = Variant::FloatFinetuned;
                    Some(outcome(self.float_weights(model, framework, variant, seed, Some(float)))?)
                }
                Err(error) => Some(Err(error.clone())),
            };
            weights.insert((framework, Origin::Own), Weights { float, finetuned });
        }
        for ((framework, _), weights) in &weights {
            if let Ok(Trained { weights: Some(weights), hash, .. }) = &weights.float {
                let label = format!("trained by {framework}");
                findings.gates.parity.extend(self.parity(model, seed, &label, Some((weights, hash)))?);
            }
        }
        let shared = match self.spec.lender() {
            Some(lender) => weights[&(lender, Origin::Own)].clone(),
            None => {
                let own = Trained { weights: None, hash: model.hash.clone(), epochs: Vec::new() };
                Weights { float: Ok(own.clone()), finetuned: Some(Ok(own)) }
            }
        };
        for framework in self.spec.chosen().collect::<Vec<_>>() {
            weights.insert((framework, Origin::Shared), shared.clone());
        }
        let mut cells = self.cells(model, seed, &weights)?;
        self.against_float(&mut cells)?;
        findings.cells.append(&mut cells);
        Ok(weights)
    }

    /// All cells of a seed, in the order in which they are shown. Those that run the file that Calipers made come last.
    fn cells(
        &mut self,
        model: &InitialModel,
        seed: u64,
        weights: &BTreeMap<(Framework, Origin), Weights>,
    ) -> Result<Vec<CellReport>, Trouble> {
        let all = self.spec.cells(seed);
        let (later, first): (Vec<Cell>, Vec<Cell>) = all.iter().cloned().partition(Cell::runs_our_file);
        let mut reports: Vec<CellReport> = Vec::new();
        for cell in first.iter().chain(&later) {
            let ours = reports.iter().find(|report| {
                report.cell.framework == Framework::Calipers && report.cell.variant == cell.variant
            });
            let ours = ours
                .and_then(|report| report.artefact.as_ref())
                .map(|artefact| self.out.join(&artefact.file));
            let start = &weights[&(cell.framework, cell.weights)];
            reports.push(self.measure(model, cell, start, ours.as_deref())?);
        }
        reports.sort_by_key(|report| all.iter().position(|cell| *cell == report.cell));
        Ok(reports)
    }

    /// Measures what QAT costs, once for each path.
    fn overheads(
        &mut self,
        model: &InitialModel,
        cells: &mut [CellReport],
        weights: &BTreeMap<(Framework, Origin), Weights>,
        seed: u64,
    ) -> Result<(), Trouble> {
        for report in cells.iter_mut().filter(|report| report.cell.seed == seed) {
            let cell = report.cell.clone();
            let (Variant::Qat, Some(training)) = (cell.variant, &mut report.metrics.training) else {
                continue;
            };
            let Some(Weights { float: Ok(start), .. }) = weights.get(&(cell.framework, cell.weights)) else {
                continue;
            };
            match outcome(self.overhead(model, &cell, start))? {
                Ok(overhead) => training.overhead = overhead,
                Err(error) => {
                    self.note(format!("{cell}: the cost of QAT could not be measured: {}", error.message));
                }
            }
        }
        Ok(())
    }

    /// Frameworks that train, in the order in which they are shown and run.
    pub fn trainers(&self) -> Vec<Framework> {
        let trains = self.spec.train.is_some();
        self.spec.chosen().filter(|framework| trains && framework.trains()).collect()
    }

    /// Whether float weights are trained on for as long as QAT.
    fn finetunes(&self) -> bool {
        self.spec.variants.contains(&Variant::FloatFinetuned) && self.spec.qat.is_some()
    }

    /// Units of work of the whole study.
    fn plan(&self) -> usize {
        let seeds = self.spec.seeds.len();
        let trainers = self.trainers().len();
        let float_epochs = self.spec.train.as_ref().map_or(0, |train| train.epochs);
        let extra = self.extra_epochs().len();
        let finetuning = if self.finetunes() { extra } else { 0 };
        let training = trainers * (float_epochs + finetuning) * self.units_of_epoch(TrainMode::Float);
        let cells: Vec<Cell> = self.spec.seeds.first().map(|&seed| self.spec.cells(seed)).unwrap_or_default();
        let made: usize = cells.iter().map(|cell| self.units_of_cell(cell)).sum();
        let costs =
            cells.iter().filter(|cell| cell.variant == Variant::Qat && cell.framework.trains()).count();
        let batch = self.spec.train.as_ref().map_or(0, |train| train.batch);
        let costs = costs * STEPS_IN_ALL * batch;
        seeds * (training + made) + costs + cells.len() * UNITS_OF_LOOK + self.timing_units(cells.len())
    }

    /// Tells of something that could not be measured, now and in the report.
    pub fn note(&mut self, text: String) {
        self.watcher.event(Event::Note { text: &text });
        self.notes.push(text);
    }

    /// Says that units of work are done.
    pub fn done(&mut self, units: usize) {
        self.watcher.event(Event::Work { units: units as u64 });
    }

    /// Hash of what every result of a framework depends on: its versions and its part of our sources, the machine,
    /// threads and instruction set, the model and the data.
    pub fn base_key(
        &mut self,
        framework: Framework,
        model: &InitialModel,
        sources: Sources,
    ) -> Result<String, Trouble> {
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
            &sources.fingerprint(framework),
            &format!("{:?}", self.machine),
            &std::env::var("CALIPERS_ISA").unwrap_or_default(),
            &self.crew.threads.to_string(),
            &model.hash,
            &facts.train_hash,
            &facts.test_hash,
            &format!(
                "{:?} {:?} {:?}",
                self.spec.data.mean, self.spec.data.deviation, self.spec.data.settings
            ),
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
