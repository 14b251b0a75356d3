//! Statistics to decision to QDQ graph: post-training quantization with nothing to annotate, static, dynamic, or of
//! weights alone.
//!
//! [`quantize`] does all of it: [`calibrate`] runs the float graph and fills a [`CalibrationTable`], [`assign`] decides,
//! and [`insert_qdq`] edits. A [`Recipe`] steers all of them and is saved beside every output.
#![forbid(unsafe_code)]

mod document;
mod error;

mod histogram;
mod observer;
pub mod ranges;

mod scheme;
mod recipe;
mod precision;
mod table;

mod decide;
mod parameters;

mod calibrate;
mod judge;

#[cfg(test)]
mod residual;

mod assign;
mod summary;
mod insert_qdq;
mod quantize;

pub use assign::{
    Chosen, ConstantAssignment, NodeAssignment, Placement, QuantAssignment, ValueAssignment, assign,
};
pub use calibrate::{Batch, CalibrationOptions, Calibrator, calibrate};
pub use decide::values_to_observe;
pub use document::Document;
pub use error::QuantError;
pub use histogram::{Bin, Histogram};
pub use insert_qdq::insert_qdq;
pub use judge::judge;
pub use observer::{Average, Candidate, NotFinite, Observer, ObserverKind, Range, averaging_constant};
pub use parameters::{IntegerType, Parameters};
pub use precision::PRECISIONS;
pub use quantize::{Quantized, quantize};
pub use recipe::{Decider, Recipe, Rule, Treatment};
pub use scheme::{
    ActivationScheme, ActivationType, Granularity, Scheme, WeightRange, WeightScheme, WeightType,
};
pub use summary::{FloatNode, Summary, multiply_accumulates};
pub use table::CalibrationTable;
