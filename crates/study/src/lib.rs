//! The experiment: from a specification through cells and records to a report.
//!
//! [`run`] carries a [`Spec`] out: data and model are prepared once, each framework trains, quantizes and evaluates its
//! cells behind the worker protocol, everything measured is appended to `records.jsonl`, and a [`Report`] is assembled
//! from the records. [`serve_native`] is Calipers' own engine behind that same protocol.
#![forbid(unsafe_code)]

// The tests of the page and those in here build one and the same report.
#[cfg(test)]
extern crate self as calipers_study;

mod cell;
mod spec;
mod machine;
mod statistics;
mod memory;
mod error;
mod event;
mod record;
mod weights;
mod material;
mod crew;
mod training;
mod gates;
mod overhead;
mod measure;
mod stored;
mod weights_report;
mod ledger;
mod content;
mod looks;
mod latency;
mod run;
mod native;
pub mod report;

pub use cell::{Cell, Framework, Origin, Tuning, VARIANTS, Variant, tuning_name, variant_name};
pub use error::StudyError;
pub use event::{Event, Watcher};
pub use machine::Machine;
pub use material::write_whole;
pub use native::serve as serve_native;
pub use record::{Journal, Keyed, key};
pub use report::Report;
pub use run::{Options, Outcome, run};
pub use spec::{Overrides, Source, Spec, SpecError};
pub use statistics::Interval;
