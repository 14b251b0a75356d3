//! The run in order: what is asked for, what is finished already, who does the rest, and the report of it all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use calipers_study::{Event, Journal, Machine, Watcher, key};
use calipers_workers::environment::{Host, Installing};

use crate::bench::{Anonymous, Bench, Ready};
use crate::error::GapsError;
use crate::finding::Finder;
use crate::framework::Framework;
use crate::journal::Record;
use crate::layer::Layer;
use crate::layers::{CONTROLS, layer};
use crate::material::Material;
use crate::needs::needs;
use crate::paper;
use crate::path::Path;
use crate::report::{Control, LayerFacts, PathFacts, Report, SCHEMA, changes, read, write_files};
use crate::state::State;
use crate::task::{Chosen, Selection, Task};
use crate::workplace::Workplace;

/// What to run.
#[derive(Debug)]
pub struct Options {
    /// Which cells.
    pub selection: Selection,
    /// Only what this model needs.
    pub model: Option<PathBuf>,
    /// The `gaps.json` of an older run.
    pub against: Option<PathBuf>,
    /// The output folder.
    pub out: PathBuf,
    /// Probes at the same time, at least 1.
    pub jobs: usize,
    /// The command line, for the report.
    pub command: Vec<String>,
    /// This program, which is also our own engine's worker.
    pub program: PathBuf,
    /// Where environments are.
    pub host: Host,
    /// Set to true, it ends the run.
    pub cancelled: Arc<AtomicBool>,
}

/// What a run gives.
#[derive(Debug)]
pub struct Done {
    /// What was found.
    pub report: Report,
    /// The files that were written.
    pub files: Vec<PathBuf>,
}

/// Probes what is not finished yet, and writes `gaps.json`, `gaps.html` and `gaps.md` to the output folder. Finished
/// cells are in `cells.jsonl` there; the same command goes on from them.
///
/// # Errors
/// [`GapsError`]. What a framework does is never an error, but a cell.
pub fn run(options: &Options, watcher: &mut dyn Watcher) -> Result<Done, GapsError> {
    let mut chosen = options.selection.resolve()?;
    let older = options.against.as_deref().map(read).transpose()?;
    let model = options.model.as_deref().map(needs).transpose()?;
    if let Some(model) = &model {
        chosen.layers.retain(|layer| model.layers.contains_key(layer.name));
        chosen.questions.clear();
        if chosen.layers.is_empty() {
            let reason =
                format!("{} has no operator that a layer of the matrix stands for", model.file.display());
            return Err(GapsError::Empty { reason });
        }
    }
    fs::create_dir_all(&options.out).map_err(GapsError::files("create", &options.out))?;
    let material = write_material(&chosen, &options.out)?;
    let bench = Bench {
        program: options.program.clone(),
        host: options.host.clone(),
        logs: options.out.join("logs"),
        cancelled: Arc::clone(&options.cancelled),
    };
    let mut ready: BTreeMap<Framework, Result<Ready, String>> = BTreeMap::new();
    for framework in chosen.frameworks() {
        let title = format!("looking for {}", framework.title());
        watcher.event(Event::Step { title: &title });
        let mut progress = |installing: &Installing<'_>| {
            watcher.event(Event::Progress {
                stage: installing.phase.title(),
                done: installing.packages_done as u64,
                total: Some(installing.packages_total as u64),
                detail: installing.line,
            });
        };
        ready.insert(framework, bench.ready(framework, &mut progress));
    }
    let mut journal = Journal::<Record>::open(&options.out.join("cells.jsonl"))?;
    let tasks = chosen.tasks();
    let keys: Vec<String> = tasks.iter().map(|task| task_key(task, &ready, &material)).collect();
    let workplace = Workplace {
        options,
        material: &material,
        ready: &ready,
        finder: Finder { anonymous: Anonymous::new(&options.host, &options.out) },
    };
    workplace.probe(&tasks, &keys, &mut journal, watcher)?;

    let mut report = assemble(options, &chosen, &tasks, &keys, &ready, &journal);
    report.model = model;
    report.changes = older.map(|older| changes(&report, &older, options.against.clone().unwrap_or_default()));
    let files = write_files(&report, &options.out)?;
    Ok(Done { report, files })
}

/// What the files of a layer are.
pub struct LayerMaterial {
    /// The safetensors file, by an absolute path.
    pub tensors: PathBuf,
    /// Its hash.
    pub hash: String,
    /// Elements of each of the layer's own weights.
    pub own_constants: Vec<usize>,
}

fn write_material(
    chosen: &Chosen,
    out: &FilePath,
) -> Result<BTreeMap<&'static str, LayerMaterial>, GapsError> {
    let mut names: Vec<&'static str> = chosen.layers.iter().map(|layer| layer.name).collect();
    names.extend(CONTROLS.iter().map(|control| control.layer));
    let folder = std::path::absolute(out).unwrap_or_else(|_| out.to_owned()).join("probes");
    let mut all = BTreeMap::new();
    for layer in names.into_iter().filter_map(layer) {
        let tensors = folder.join(format!("{}.safetensors", layer.name));
        let material = Material::of(layer)?;
        material.write(&tensors)?;
        let bytes = fs::read(&tensors).map_err(GapsError::files("read", &tensors))?;
        let hash = blake3::hash(&bytes).to_hex().to_string();
        let own_constants = material.probe.own_constants().collect();
        all.insert(layer.name, LayerMaterial { tensors, hash, own_constants });
    }
    Ok(all)
}

/// The rules that cells were judged by: a cell that others judged is not finished.
const RULES: [&str; 3] = [include_str!("verdict.rs"), include_str!("path.rs"), include_str!("finding.rs")];

/// Hash of all that a task's outcome depends on.
fn task_key(
    task: &Task,
    ready: &BTreeMap<Framework, Result<Ready, String>>,
    material: &BTreeMap<&'static str, LayerMaterial>,
) -> String {
    let identity = match ready.get(&task.framework()) {
        Some(Ok(ready)) => ready.identity.as_str(),
        Some(Err(_)) | None => "absent",
    };
    let layer = match task {
        Task::Cell(_, layer) => layer.name,
        Task::Control(_, control) => control.layer,
        Task::Ask(..) => "",
    };
    let hash = material.get(layer).map_or("", |material| material.hash.as_str());
    let task = task.to_string();
    let parts: Vec<&str> = [task.as_str(), identity, hash].into_iter().chain(RULES).collect();
    key(&parts)
}

fn assemble(
    options: &Options,
    chosen: &Chosen,
    tasks: &[Task],
    keys: &[String],
    ready: &BTreeMap<Framework, Result<Ready, String>>,
    journal: &Journal<Record>,
) -> Report {
    let machine = Machine::detect();
    let (mut cells, mut controls, mut capabilities) = (Vec::new(), Vec::new(), Vec::new());
    let mut seconds = 0.0;
    for (task, key) in tasks.iter().zip(keys) {
        let Some(record) = journal.find(key) else { continue };
        seconds += record.seconds();
        match (task, record) {
            (Task::Control(_, control), Record::Cell { cell, .. }) => {
                let expected = control.expected.parse().unwrap_or(State::NotInstalled);
                let passed = cell.state == expected || cell.state == State::NotInstalled;
                controls.push(Control { cell: (**cell).clone(), expected, passed });
            }
            (_, Record::Cell { cell, .. }) => cells.push((**cell).clone()),
            (_, Record::Capability { capability, .. }) => capabilities.push((**capability).clone()),
        }
    }
    let versions = ready
        .iter()
        .filter_map(|(framework, ready)| Some((*framework, ready.as_ref().ok()?.versions.clone())))
        .collect();
    let mut report = Report {
        schema: SCHEMA,
        calipers: env!("CARGO_PKG_VERSION").to_owned(),
        finished: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        command: options.command.clone(),
        machine: format!("{}, {} cores, {}", machine.processor, machine.cores, machine.system),
        seconds,
        versions,
        paths: chosen.paths.iter().map(|path| path_facts(path)).collect(),
        layers: chosen.layers.iter().map(|layer| layer_facts(layer)).collect(),
        cells,
        controls,
        capabilities,
        paper: Vec::new(),
        model: None,
        changes: None,
    };
    report.paper = paper::rows(&report);
    report
}

fn path_facts(path: &Path) -> PathFacts {
    PathFacts {
        framework: path.framework,
        name: path.name.to_owned(),
        title: path.title.to_owned(),
        scheme: path.scheme,
    }
}

fn layer_facts(layer: &Layer) -> LayerFacts {
    LayerFacts { name: layer.name.to_owned(), title: layer.title.to_owned(), group: layer.group.to_owned() }
}
