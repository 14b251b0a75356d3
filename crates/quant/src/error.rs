//! What can go wrong between a float graph and its quantized form.

use std::path::PathBuf;

use calipers_ir::EditError;
use thiserror::Error;

/// Why a graph was not calibrated, assigned or quantized.
#[derive(Debug, Error)]
pub enum QuantError {
    /// A calibration batch made a value that has no place in a range.
    #[error(
        "value `{value}`: element {index} of calibration tensor {tensor} is {found}; a range needs finite numbers. \
         Check the input data and the weights that lead there"
    )]
    NotFinite {
        /// Name of the value.
        value: String,
        /// Which tensor of that value, counted from 0.
        tensor: u64,
        /// Position in row-major order.
        index: usize,
        /// What was there.
        found: f32,
    },
    /// A weight or bias has no integer.
    #[error(
        "initializer `{initializer}`: element {index:?} is {found}; weights must be finite to be quantized. \
         Repair or retrain the model, or leave its nodes in float by a rule of the recipe"
    )]
    InitializerNotFinite {
        /// Name of the constant.
        initializer: String,
        /// Position along each axis.
        index: Vec<usize>,
        /// What was there.
        found: f32,
    },
    /// There was nothing to calibrate on.
    #[error(
        "graph `{graph}`: no calibration batch was given; static quantization measures ranges on real samples and \
         never invents them. Give at least one batch"
    )]
    NoData {
        /// Name of the graph.
        graph: String,
    },
    /// The table does not hold a value that is to be quantized.
    #[error(
        "value `{value}` of graph `{graph}` is not in the calibration table; calibrate this graph with this recipe"
    )]
    NotCalibrated {
        /// Name of the graph.
        graph: String,
        /// Name of the value.
        value: String,
    },
    /// The graph has Quantize or Dequantize nodes.
    #[error(
        "graph `{graph}`: node `{node}` is a {operator}; only a float graph can be quantized, start from that"
    )]
    AlreadyQuantized {
        /// Name of the graph.
        graph: String,
        /// Name of the node.
        node: String,
        /// Its operator.
        operator: String,
    },
    /// A scale is not a positive finite f32.
    #[error(
        "node `{node}`: the scale of its bias, {input_scale} x {weight_scale}, is no finite f32; rescale the model"
    )]
    BiasScale {
        /// Name of the node.
        node: String,
        /// Scale of the input.
        input_scale: f32,
        /// Scale of the weight.
        weight_scale: f32,
    },
    /// Two observers cannot become one.
    #[error("value `{value}`: {reason}")]
    Merge {
        /// Name of the value.
        value: String,
        /// What stands against it.
        reason: String,
    },
    /// A recipe, table or assignment that does not parse.
    #[error("{what}: {error}")]
    Json {
        /// Which document, and where it was read from.
        what: String,
        /// The parser's answer, with line and column.
        error: serde_json::Error,
    },
    /// A recipe, table or assignment of another version.
    #[error("{what}: version {found} is not supported, expected {expected}")]
    Version {
        /// Which document.
        what: String,
        /// The version that this program writes.
        expected: u32,
        /// The version that was found.
        found: u32,
    },
    /// A recipe that parses and cannot be followed.
    #[error("recipe, {place}: expected {expected}, found {found}")]
    Recipe {
        /// Which rule.
        place: String,
        /// What a rule must have.
        expected: String,
        /// What it has.
        found: String,
    },
    /// A table, or an assignment, that does not fit the graph or has impossible numbers.
    #[error("{place}: expected {expected}, found {found}")]
    Assignment {
        /// The node, value or constant.
        place: String,
        /// What the graph needs.
        expected: String,
        /// What the assignment has.
        found: String,
    },
    /// The float graph could not be run.
    #[error(
        "calibration of graph `{graph}`: {error}. Static quantization runs the whole float graph on samples, so that \
         node has to run even where it stays in float; replace it by standard operators, or quantize without running \
         by weights alone (`w8`) or dynamically (`w8a8-dynamic`)"
    )]
    Run {
        /// Name of the graph.
        graph: String,
        /// Where it stopped.
        error: Box<calipers_runtime::Error>,
    },
    /// The float graph could not be brought into canonical form.
    #[error(transparent)]
    Pass(#[from] calipers_passes::PassError),
    /// The quantized graph broke an invariant.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        error: std::io::Error,
    },
}
