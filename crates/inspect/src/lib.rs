//! Looks into models: opens files of every format, describes them, runs them on data and compares them layer by layer.
//!
//! Results are values, and texts and pages that are rendered from them; nothing here prints. Three questions have a
//! function each: what is in a file, how good a model is on data, and which layer of two models differs.
#![forbid(unsafe_code)]

mod error;

mod open;
mod feed;

mod distribution;
mod names;
mod structure;

mod layout;
mod outputs;

pub mod number;
pub mod page;
pub mod statistics;
pub mod table;

pub mod compare;
pub mod describe;
pub mod dump;
pub mod evaluate;

pub use distribution::{BINS, Distribution, numbers};
pub use error::InspectError;
pub use feed::{DataSettings, model_inputs, named_tensors, quantizing, real_inputs, tensor_of};
pub use names::{bare_name, shortened};
pub use open::{Format, OpenedModel, open};
pub use outputs::Side;
pub use page::escape;
pub use structure::{Role, source};
