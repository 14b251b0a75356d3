//! Python environments, one for each framework.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A framework that a worker speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Framework {
    /// PyTorch.
    PyTorch,
    /// TensorFlow with Keras 2, its model optimization toolkit, and LiteRT.
    TensorFlow,
}

impl Framework {
    /// Name in commands and files.
    pub fn name(self) -> &'static str {
        match self {
            Framework::PyTorch => "pytorch",
            Framework::TensorFlow => "tensorflow",
        }
    }

    /// Name for people.
    pub fn title(self) -> &'static str {
        match self {
            Framework::PyTorch => "PyTorch",
            Framework::TensorFlow => "TensorFlow",
        }
    }
}

/// A Python interpreter with the packages that an environment needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// The program.
    pub program: PathBuf,
    /// Its version, such as `3.11.7`.
    pub python: String,
    /// Package name to version, of the packages that count.
    pub versions: BTreeMap<String, String>,
    /// True where the user named it, false in an environment that Calipers made.
    pub own: bool,
}
