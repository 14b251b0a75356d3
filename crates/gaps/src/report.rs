//! What a run found, as `gaps.json` has it, and its renderings.
//!
//! The document is described in `docs/gaps.md`; [`SCHEMA`] counts its versions.

mod plain;
mod legend;
mod summary;
mod changes;
mod files;
mod html;
mod json;
mod markdown;
mod terminal;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use calipers_workers::protocol::{Operator, StoredWeight, Verdict};
use serde::{Deserialize, Serialize};

use crate::framework::Framework;
use crate::path::Scheme;
use crate::state::State;

pub use changes::{ReadError, changes, read};
pub use files::write_files;
pub use html::html;
pub use json::json;
pub use markdown::{markdown, paper_table};
pub use terminal::terminal;

/// Version of the document.
pub const SCHEMA: u32 = 1;

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of Calipers.
    pub calipers: String,
    /// When it ended, in UTC, as RFC 3339 has it.
    pub finished: String,
    /// The command line.
    pub command: Vec<String>,
    /// Processor and system.
    pub machine: String,
    /// Wall-clock seconds of all probes together, whenever they ran.
    pub seconds: f64,
    /// Framework to package to version; `python` is among the packages.
    pub versions: BTreeMap<Framework, BTreeMap<String, String>>,
    /// The paths of this run, in the order of columns.
    pub paths: Vec<PathFacts>,
    /// The layers of this run, in the order of rows.
    pub layers: Vec<LayerFacts>,
    /// What came of each layer on each path, in the order of rows, then columns.
    pub cells: Vec<Cell>,
    /// What the detector said of the controls.
    pub controls: Vec<Control>,
    /// What is not a layer.
    pub capabilities: Vec<Capability>,
    /// The table of 2023, row by row.
    pub paper: Vec<PaperRow>,
    /// What one model needs, where the run was for one.
    #[serde(default)]
    pub model: Option<ModelNeeds>,
    /// What is different from an older run, where one was given.
    #[serde(default)]
    pub changes: Option<Changes>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathFacts {
    /// Whose.
    pub framework: Framework,
    /// Its name.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// What it promises.
    pub scheme: Scheme,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerFacts {
    /// Its name.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// The group of rows that it stands in.
    pub group: String,
}

/// One layer on one path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Whose.
    pub framework: Framework,
    /// The path.
    pub path: String,
    /// The layer.
    pub layer: String,
    /// What came of it.
    pub state: State,
    /// Whether that falls short of what the path promises.
    pub gap: bool,
    /// Largest difference from float over all samples; `None` where there are no outputs, or some are not finite.
    pub max_error: Option<f64>,
    /// Largest minus smallest float output.
    pub float_range: Option<f64>,
    /// Where it ended, unless it went through.
    pub stage: Option<String>,
    /// The error, type and words.
    pub error: Option<String>,
    /// Why the state is what it is.
    pub evidence: Evidence,
    /// Wall-clock seconds.
    pub seconds: f64,
}

impl Cell {
    /// `framework/path/layer`.
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.framework, self.path, self.layer)
    }
}

/// What a verdict rests on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// The verdict's reason, in a sentence or two.
    pub reason: String,
    /// What executed, in order.
    pub operators: Vec<Operator>,
    /// Weights in the artefact.
    pub weights: Vec<StoredWeight>,
    /// Kernels as a profiler names them.
    pub kernels: Vec<String>,
    /// Why there is no such list.
    pub kernels_note: Option<String>,
    /// The reference form, by name.
    pub reference: Option<String>,
    /// The reference form against float, at most.
    pub reference_error: Option<f64>,
    /// The quantized model against its reference form, at most.
    pub reference_difference: Option<f64>,
    /// Why there is no reference form, or what else was held against the result.
    pub reference_note: Option<String>,
    /// The framework's float model against the definition of the layer, at most.
    pub parity: Option<f64>,
    /// Warnings and deprecations in the framework's words.
    pub warnings: Vec<String>,
    /// The end of standard error.
    pub log: String,
    /// The traceback of the error.
    pub traceback: Option<String>,
    /// The signal that ended the process.
    pub signal: Option<i32>,
}

/// A probe whose verdict is known before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// What was found.
    #[serde(flatten)]
    pub cell: Cell,
    /// What has to be found.
    pub expected: State,
    /// Whether it was.
    pub passed: bool,
}

/// A question about a framework that is not about a layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capability {
    /// Whose.
    pub framework: Framework,
    /// Name of the question.
    pub name: String,
    /// The question.
    pub title: String,
    /// The answer; `None` where the attempt itself came to no answer.
    pub answer: Option<Verdict>,
    /// The answer in a sentence, or why there is none.
    pub summary: String,
    /// What was seen.
    pub evidence: Vec<String>,
    /// Measured numbers, by name.
    #[serde(default)]
    pub numbers: BTreeMap<String, f64>,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// A statement of the paper's table of issues, held against today.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PaperRow {
    /// Whose column.
    pub framework: Framework,
    /// The table's row: hardware, profiler, quantization, analysis.
    pub topic: String,
    /// What the paper said in 2023.
    pub statement: String,
    /// What is true of it today.
    pub today: Today,
    /// What was found.
    pub finding: String,
    /// The cells and capabilities that it rests on: `framework/path/layer` or `framework/capability`.
    pub evidence: Vec<String>,
}

/// What became of a statement of 2023.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Today {
    /// Still true.
    StillTrue,
    /// Not true any more.
    NoLonger,
    /// True in part, or in another way.
    Changed,
    /// This run did not look at what it takes to say.
    NotProbed,
}

impl Today {
    /// In words.
    pub fn title(self) -> &'static str {
        match self {
            Today::StillTrue => "still true",
            Today::NoLonger => "no longer",
            Today::Changed => "changed",
            Today::NotProbed => "not probed in this run",
        }
    }
}

/// Which layers of the matrix a model needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelNeeds {
    /// The file.
    pub file: PathBuf,
    /// Layer to the names of the nodes that need it.
    pub layers: BTreeMap<String, Vec<String>>,
    /// Operators that no layer of the matrix stands for, to the names of their nodes.
    pub not_probed: BTreeMap<String, Vec<String>>,
}

/// What is different from an older run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// The older document.
    pub file: PathBuf,
    /// When it was made.
    pub finished: String,
    /// Packages whose version is another: framework, package, then, now.
    pub versions: Vec<(Framework, String, Option<String>, Option<String>)>,
    /// Cells that were gaps and are none any more.
    pub closed: Vec<Change>,
    /// Cells that were none and are gaps now.
    pub opened: Vec<Change>,
    /// Other cells whose state is another.
    pub moved: Vec<Change>,
    /// Cells that only the older run has.
    pub gone: Vec<String>,
    /// How many cells only this run has.
    pub added: usize,
}

/// One cell in two runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// `framework/path/layer`.
    pub cell: String,
    /// Its state in the older run.
    pub then: State,
    /// Its state in this one.
    pub now: State,
}
