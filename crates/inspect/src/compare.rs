//! Two models layer by layer: how much each value differs, and which layer is to blame for the output's error.

mod align;
mod html;
mod logical;
mod measure;
mod report;
mod restore;
mod run;
mod segment;
mod text;

use std::path::PathBuf;

use serde::Serialize;

use crate::evaluate::OutputDifference;

pub use align::{How, Permutation};
pub use html::html;
pub use run::compare;
pub use text::{TextOptions, text};

/// How models are compared.
#[derive(Clone, Copy, Debug)]
pub struct ComparisonOptions {
    /// Samples in one run, unless a model decides. All values of one run of both models are in memory at a time.
    pub batch: usize,
    /// Threads, at least 1.
    pub threads: usize,
    /// Samples on which layers are restored one at a time; on the others, values alone are compared.
    pub restored: usize,
}

impl Default for ComparisonOptions {
    fn default() -> Self {
        ComparisonOptions { batch: 8, threads: 1, restored: 32 }
    }
}

/// Two models layer by layer.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Version of this document.
    pub version: u32,
    /// The first model, which counts as right.
    pub a: PathBuf,
    /// The second model.
    pub b: PathBuf,
    /// Samples that both ran on.
    pub samples: usize,
    /// Samples on which layers were restored.
    pub restored: usize,
    /// The outputs of the second model against those of the first.
    pub outputs: Vec<OutputDifference>,
    /// Power of the difference of outputs over that of the first model's, summed over outputs, on the samples on which
    /// layers were restored.
    pub output_error: f64,
    /// How many values were aligned, and how.
    pub alignment: Alignment,
    /// The aligned layers, those that contribute most to the output error first.
    pub layers: Vec<LayerComparison>,
    /// The first layer that diverges, in the order of the second model; `None` where none does.
    pub diverges_first: Option<String>,
    /// Layers of the second model without a counterpart.
    pub unaligned: Vec<String>,
    /// What the user may want to know.
    pub notes: Vec<String>,
}

/// How many values were aligned, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Alignment {
    /// By name.
    pub name: usize,
    /// By the records of the passes.
    pub renamed: usize,
    /// By operator, shape and order.
    pub order: usize,
    /// Values whose channels had to be moved.
    pub permuted: usize,
    /// Layers of the second model that make real numbers.
    pub layers: usize,
}

/// A layer of both models.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerComparison {
    /// Name of the value in the second model, without what quantization adds.
    pub name: String,
    /// Name of the node in the second model; `None` for an input.
    pub node: Option<String>,
    /// Its operator there.
    pub operator: String,
    /// Name of the value in the first model.
    pub counterpart: String,
    /// How they were aligned.
    pub how: How,
    /// Order of axes of the second model's value.
    pub permutation: Permutation,
    /// Place in the second model, from 0.
    pub place: usize,
    /// Storage type in the second model.
    #[serde(rename = "type")]
    pub dtype: String,
    /// Signal to noise of the value, in decibels, with the errors of all layers before; `None` where nothing differs.
    pub sqnr: Option<f64>,
    /// The least of those of the values that it reads; `None` where nothing differs.
    pub input_sqnr: Option<f64>,
    /// Signal to noise that the layer itself makes: the second model's value against what the first model's layer makes of
    /// the second model's inputs. The outer `None` where that was not measured, the inner one where nothing differs.
    pub own_sqnr: Option<Option<f64>>,
    /// Cosine of the angle between both.
    pub cosine: f64,
    /// The largest difference of two numbers.
    pub largest_difference: f64,
    /// The share of integers at an end of their type that does not stand for zero.
    pub saturated: Option<f64>,
    /// The share of the integer range, at both ends, that never occurs.
    pub dead: Option<f64>,
    /// The smallest and the largest number of the first model.
    pub observed: Option<(f32, f32)>,
    /// The smallest and the largest number that the integers can say.
    pub representable: Option<(f64, f64)>,
    /// The smallest and the largest number that calibration saw, as the assignment beside the second model says.
    pub calibrated: Option<(f32, f32)>,
    /// By how much the output error drops when this layer alone is computed as the first model does, over the output error;
    /// `None` where that was not measured.
    pub contribution: Option<f64>,
    /// Whether it diverges: its noise is far above that of its inputs, and its own doing.
    pub diverges: bool,
}
