//! What a study tells whoever watches it. This room prints nothing.

use crate::report::{CellReport, ParityGate, StepGate};

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The work of the whole study, in units of about a millisecond on two cores; sent once, before any [`Event::Work`].
    Plan {
        /// Units in all.
        units: u64,
    },
    /// Units that are done (or turned out to be done already, or not to be needed).
    Work {
        /// Their number.
        units: u64,
    },
    /// What is being done from now on.
    Step {
        /// A few words.
        title: &'a str,
    },
    /// How far the present step is.
    Progress {
        /// What part of it.
        stage: &'a str,
        /// Parts done.
        done: u64,
        /// Parts in all, where known.
        total: Option<u64>,
        /// A few more words; may be empty.
        detail: &'a str,
    },
    /// A parity gate was evaluated.
    Parity(&'a ParityGate),
    /// A step gate was evaluated.
    Steps(&'a StepGate),
    /// A cell ended.
    Cell(&'a CellReport),
    /// Something that a reader of the terminal should know.
    Note {
        /// A sentence.
        text: &'a str,
    },
}

/// Whoever watches.
pub trait Watcher {
    /// Is told of everything, in order.
    fn event(&mut self, event: Event<'_>);
}
