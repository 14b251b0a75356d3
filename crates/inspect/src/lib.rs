//! Looks into models: opens files of every format, describes them, runs them on data and compares them layer by layer.
//!
//! Results are values, and texts and pages that are rendered from them; nothing here prints. Three questions have a
//! function each: what is in a file, how good a model is on data, and which layer of two models differs.
#![forbid(unsafe_code)]

mod error;

mod open;
mod feed;

pub use error::InspectError;
pub use feed::{DataSettings, model_inputs, named_tensors, tensor_of};
pub use open::{Format, OpenedModel, open};
