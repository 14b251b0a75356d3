//! The experiment: from a specification through cells and records to a report.
//!
//! [`run`] carries a [`Spec`] out: data and model are prepared once, each framework trains, quantizes and evaluates its
//! cells behind the worker protocol, everything measured is appended to `records.jsonl`, and a [`Report`] is assembled
//! from the records. [`serve_native`] is Calipers' own engine behind that same protocol.
#![forbid(unsafe_code)]

mod cell;
mod spec;
mod machine;
mod statistics;
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
mod latency;
mod run;
mod native;
pub mod report;

pub use cell::{Cell, Framework, VARIANTS, Variant, variant_name};
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
