//! What was found, appended to `cells.jsonl` as it comes, and found again when a run goes on.

use calipers_study::Keyed;
use serde::{Deserialize, Serialize};

use crate::report::{Capability, Cell};

/// One line of `cells.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// A cell or a control.
    Cell {
        /// Hash of the inputs.
        key: String,
        /// What came of it.
        cell: Box<Cell>,
    },
    /// A question.
    Capability {
        /// Hash of the inputs.
        key: String,
        /// The answer.
        capability: Box<Capability>,
    },
}

impl Keyed for Record {
    fn key(&self) -> Option<&str> {
        match self {
            Record::Cell { key, .. } | Record::Capability { key, .. } => Some(key),
        }
    }
}

impl Record {
    /// Whether the framework was there. What fails for want of it is tried again with the next run.
    pub fn is_final(&self) -> bool {
        match self {
            Record::Cell { cell, .. } => cell.state != crate::state::State::NotInstalled,
            Record::Capability { capability, .. } => capability.answer.is_some(),
        }
    }

    /// Wall-clock seconds that it took.
    pub fn seconds(&self) -> f64 {
        match self {
            Record::Cell { cell, .. } => cell.seconds,
            Record::Capability { capability, .. } => capability.seconds,
        }
    }
}
