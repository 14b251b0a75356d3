//! The frameworks of the matrix.

use std::fmt;

use calipers_workers as workers;
use serde::{Deserialize, Serialize};

/// Whose quantization is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framework {
    /// PyTorch with torchao.
    PyTorch,
    /// TensorFlow with TFLite, its model optimization toolkit and the AI Edge Quantizer.
    TensorFlow,
    /// ONNX Runtime's quantization tools.
    OnnxRuntime,
    /// Our own engine.
    Calipers,
}

impl Framework {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Framework; 4] =
        [Framework::PyTorch, Framework::TensorFlow, Framework::OnnxRuntime, Framework::Calipers];

    /// Name in commands and files.
    pub fn name(self) -> &'static str {
        match self {
            Framework::PyTorch => "pytorch",
            Framework::TensorFlow => "tensorflow",
            Framework::OnnxRuntime => "onnxruntime",
            Framework::Calipers => "calipers",
        }
    }

    /// Name for people.
    pub fn title(self) -> &'static str {
        match self {
            Framework::PyTorch => "PyTorch",
            Framework::TensorFlow => "TensorFlow",
            Framework::OnnxRuntime => "ONNX Runtime",
            Framework::Calipers => "Calipers",
        }
    }

    /// The worker in Python that speaks for it; none for our own engine, which is this program.
    pub fn python(self) -> Option<workers::Framework> {
        match self {
            Framework::PyTorch => Some(workers::Framework::PyTorch),
            Framework::TensorFlow => Some(workers::Framework::TensorFlow),
            Framework::OnnxRuntime => Some(workers::Framework::OnnxRuntime),
            Framework::Calipers => None,
        }
    }
}

impl fmt::Display for Framework {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
