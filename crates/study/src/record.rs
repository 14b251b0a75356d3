//! What was measured, appended to `records.jsonl` as it comes, and found again when a study goes on.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cell::Cell;
use crate::error::StudyError;
use crate::machine::Machine;
use crate::report::{
    CellReport, FrameworkFacts, Ledger, Memory, ParityGate, Profile, Start, StepGate, WeightReport,
};
use calipers_workers::protocol::ExecutedOperator;

/// One line of `records.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// A command began.
    Run {
        /// When, in UTC.
        started: String,
        /// Its command line.
        command: Vec<String>,
        /// Version of Calipers.
        calipers: String,
        /// Where it ran.
        machine: Machine,
        /// Threads.
        threads: usize,
    },
    /// A worker said who it is.
    Framework(FrameworkFacts),
    /// A parity gate was evaluated.
    Parity {
        /// Hash of the inputs.
        key: String,
        /// The outcome.
        gate: ParityGate,
    },
    /// A step gate was evaluated.
    Step {
        /// Hash of the inputs.
        key: String,
        /// The outcome.
        gate: StepGate,
    },
    /// An epoch of training ended well, and what the next one depends on was written.
    Epoch {
        /// Hash of the inputs, the epochs before it included.
        key: String,
        /// The epoch.
        epoch: EpochRecord,
        /// File that a trainer goes on from, relative to the output folder; it is removed when the next epoch has one.
        checkpoint: String,
        /// Hash of that file.
        checkpoint_hash: String,
    },
    /// A float training ended well.
    Training {
        /// Hash of the inputs.
        key: String,
        /// Weights file, relative to the output folder.
        weights: String,
        /// Hash of that file.
        weights_hash: String,
    },
    /// Steps of QAT and float were timed in alternating blocks.
    Overhead {
        /// Hash of the inputs.
        key: String,
        /// Seconds of each block of float steps.
        float_seconds: Vec<f64>,
        /// Seconds of each block of QAT steps, paired with the former.
        qat_seconds: Vec<f64>,
    },
    /// A cell ended.
    Cell {
        /// Hash of the inputs.
        key: String,
        /// The outcome, without what is measured of its artefact later.
        cell: Box<CellReport>,
        /// What executes in one inference, in order.
        operators: Vec<ExecutedOperator>,
        /// Hash of the deployed file and of the logits; absent for a cell that failed.
        hashes: Option<[String; 2]>,
    },
    /// What is in a cell's artefact.
    Content {
        /// Hash of the inputs.
        key: String,
        /// The cell.
        cell: Cell,
        /// Where each byte of the deployed file is.
        ledger: Ledger,
        /// Weights of each layer.
        weights: Vec<WeightReport>,
    },
    /// A new process was followed to its first inference.
    Start {
        /// Hash of the inputs.
        key: String,
        /// The cell.
        cell: Cell,
        /// What was measured.
        start: Start,
    },
    /// A cell was profiled.
    Profile {
        /// Hash of the inputs.
        key: String,
        /// The cell.
        cell: Cell,
        /// What was measured.
        profile: Profile,
    },
    /// All cells were timed.
    Latency {
        /// Hash of the inputs.
        key: String,
        /// Per timed process, its cell and blocks.
        timings: Vec<CellTiming>,
    },
}

/// One epoch of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Number, from 0; later trainings of the same weights go on counting.
    pub epoch: usize,
    /// Learning rate.
    pub rate: f64,
    /// Mean loss.
    pub loss: f64,
    /// Share of training samples classified correctly, 0 to 1.
    pub accuracy: f64,
    /// Seconds.
    pub seconds: f64,
    /// Seconds of each step.
    pub step_seconds: Vec<f64>,
    /// Memory of the process; absent where the system does not say.
    pub memory: Option<Memory>,
}

/// Raw times of one cell in one process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellTiming {
    /// The cell.
    pub cell: Cell,
    /// Whether this is the second process of the null test.
    pub null_twin: bool,
    /// Samples of an inference.
    pub batch: usize,
    /// Blocks in round order, each the nanoseconds of its inferences.
    pub blocks: Vec<Vec<u64>>,
    /// Processor time over wall-clock time of the process while it was timed.
    pub cores: Option<f64>,
}

/// A record that is found again by the hash of its inputs.
pub trait Keyed {
    /// The hash; `None` for a record that is not looked for.
    fn key(&self) -> Option<&str>;
}

impl Keyed for Record {
    fn key(&self) -> Option<&str> {
        match self {
            Record::Run { .. } | Record::Framework(_) => None,
            Record::Parity { key, .. }
            | Record::Step { key, .. }
            | Record::Epoch { key, .. }
            | Record::Training { key, .. }
            | Record::Overhead { key, .. }
            | Record::Cell { key, .. }
            | Record::Content { key, .. }
            | Record::Start { key, .. }
            | Record::Profile { key, .. }
            | Record::Latency { key, .. } => Some(key),
        }
    }
}

/// The records of an output folder.
#[derive(Debug)]
pub struct Journal<R = Record> {
    path: PathBuf,
    file: File,
    records: Vec<R>,
}

impl<R: Keyed + Serialize + DeserializeOwned> Journal<R> {
    /// Opens or begins the records of a folder. A last line that an earlier command could not finish is cut off; a
    /// line of another version is passed over, and its work is done again.
    ///
    /// # Errors
    /// [`StudyError::Files`] where the file cannot be read or written.
    pub fn open(path: &Path) -> Result<Self, StudyError> {
        let failed = |source| StudyError::Files { action: "open", path: path.to_owned(), source };
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let lines = text[..whole].split(|&byte| byte == b'\n');
        let records = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
        if whole < text.len() {
            file.set_len(whole as u64).map_err(failed)?;
        }
        Ok(Journal { path: path.to_owned(), file, records })
    }

    /// Appends a record.
    ///
    /// # Errors
    /// [`StudyError::Files`] where it cannot be written.
    pub fn append(&mut self, record: R) -> Result<(), StudyError> {
        let failed = |source| StudyError::Files { action: "append to", path: self.path.clone(), source };
        let mut line = serde_json::to_vec(&record).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        let whole = self.file.metadata().map_err(failed)?.len();
        if let Err(error) = self.file.write_all(&line) {
            // What was written of the line would spoil the next one.
            let _ = self.file.set_len(whole);
            return Err(failed(error));
        }
        self.records.push(record);
        Ok(())
    }

    /// The newest record of those inputs.
    pub fn find(&self, key: &str) -> Option<&R> {
        self.records.iter().rev().find(|record| record.key() == Some(key))
    }

    /// All records, oldest first.
    pub fn records(&self) -> &[R] {
        &self.records
    }
}

/// Hash of inputs, in order: the key of the record that they lead to.
pub fn key(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Journal, Record, key};

    fn overhead(key: &str, seconds: f64) -> Record {
        Record::Overhead { key: key.to_owned(), float_seconds: vec![seconds], qat_seconds: vec![] }
    }

    #[test]
    fn a_torn_last_line_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.jsonl");
        let mut journal = Journal::<Record>::open(&path).unwrap();
        journal.append(overhead("a", 1.0)).unwrap();
        journal.append(overhead("a", 2.0)).unwrap();
        drop(journal);
        let text = std::fs::read_to_string(&path).unwrap();
        // Cut inside a character of two bytes.
        std::fs::write(&path, [text.as_bytes(), b"{\"record\":\"overh\xc3"].concat()).unwrap();
        let mut journal = Journal::<Record>::open(&path).unwrap();
        assert_eq!(journal.find("a"), Some(&overhead("a", 2.0)));
        journal.append(overhead("b", 3.0)).unwrap();
        assert_eq!(Journal::<Record>::open(&path).unwrap().records().len(), 3);
    }

    #[test]
    fn keys_depend_on_every_part() {
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_eq!(key(&["a", "b"]), key(&["a", "b"]));
    }
}
