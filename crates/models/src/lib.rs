//! Built-in architectures: functions that build a [`Graph`] with freshly drawn parameters.
//!
//! A model is a function of its [`Options`] and a seed alone: the same bits on every platform. Names follow PyTorch's
//! modules: the node and the value `layer1.0.conv1`, its constants `layer1.0.conv1.weight` and `layer1.0.bn1.running_mean`.
//! Every model takes `input`, f32 `[N, 3, 32, 32]` with symbolic `N`, and gives `logits`, f32 `[N, classes]`,
//! without softmax.
#![forbid(unsafe_code)]

mod resnet18;
mod resnet8;

mod initialize;
mod network;

use calipers_ir::{EditError, Graph};
use thiserror::Error;

pub use resnet8::resnet8;
pub use resnet18::resnet18;

/// What can be chosen about a built-in model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Number of logits, 1 to [`Options::MOST_CLASSES`].
    pub classes: usize,
    /// Whether BatchNorm follows the convolutions that have one in the original architecture.
    pub batch_norm: bool,
}

impl Options {
    /// Largest number of logits that is taken for what somebody meant.
    pub const MOST_CLASSES: usize = 1_000_000;
}

impl Default for Options {
    /// Ten classes, with BatchNorm.
    fn default() -> Self {
        Options { classes: 10, batch_norm: true }
    }
}

/// Why a built-in model was not built.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ModelError {
    /// No built-in model has that name.
    #[error("there is no built-in model `{name}`; there are: {}", NAMES.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// The number of classes is out of range.
    #[error("a model has 1 to {} classes, found {found}", Options::MOST_CLASSES)]
    Classes {
        /// The number asked for.
        found: usize,
    },
    /// The graph was refused.
    #[error(transparent)]
    Graph(#[from] EditError),
}

/// The names that [`build`] knows.
pub const NAMES: [&str; 2] = ["resnet18", "resnet8"];

/// The built-in model of that name, its parameters drawn from `seed`.
///
/// # Errors
/// An unknown name, with those that there are, or options out of range.
pub fn build(name: &str, options: &Options, seed: u64) -> Result<Graph, ModelError> {
    match name {
        "resnet18" => resnet18(options, seed),
        "resnet8" => resnet8(options, seed),
        _ => Err(ModelError::Unknown { name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests;
