//! What each framework cannot quantize, found by running it: a matrix of layers and paths with evidence for each cell.
//!
//! Each [`Layer`] is a tiny model, each [`Path`] one way of a framework to quantize. [`run`] sends every layer through every
//! path, each in a process of its own, and judges by what executed; [`serve_native`] is our own engine behind the same
//! commands.
#![forbid(unsafe_code)]

mod draw;
mod builder;
mod layer;
mod layers;
mod material;

mod framework;
mod path;
mod state;

mod error;
mod task;
mod journal;
mod bench;
mod artefact;
mod verdict;
mod finding;
mod workplace;
mod run;

mod capability;
mod native;

mod needs;
mod paper;
mod slice;
mod script;
pub mod report;

pub use capability::{QUESTIONS, Question};
pub use error::GapsError;
pub use framework::Framework;
pub use layer::{Layer, Probe, Sandwich};
pub use layers::{CONTROLS, Control, LAYERS};
pub use material::{Material, SAMPLES};
pub use native::serve as serve_native;
pub use path::{PATHS, Path, Scheme};
pub use report::Report;
pub use run::{Done, Options, run};
pub use script::script;
pub use state::{Stage, State};
pub use task::{Selection, cell};
