//! Cells: one framework, path, variant and seed each, and which combinations exist.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use calipers_workers::protocol::Variant;

/// Who quantizes and runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framework {
    /// PyTorch.
    PyTorch,
    /// TensorFlow with Keras 2, the model optimization toolkit and LiteRT.
    TensorFlow,
    /// Calipers' own engine.
    Calipers,
}

impl Framework {
    /// All of them, in the order in which they are shown and run.
    pub const ALL: [Framework; 3] = [Framework::PyTorch, Framework::TensorFlow, Framework::Calipers];

    /// Name in specs, commands and files.
    pub fn name(self) -> &'static str {
        match self {
            Framework::PyTorch => "pytorch",
            Framework::TensorFlow => "tensorflow",
            Framework::Calipers => "calipers",
        }
    }

    /// Name for people.
    pub fn title(self) -> &'static str {
        match self {
            Framework::PyTorch => "PyTorch",
            Framework::TensorFlow => "TensorFlow",
            Framework::Calipers => "Calipers",
        }
    }

    /// The framework of that name.
    pub fn from_name(name: &str) -> Option<Framework> {
        Framework::ALL.into_iter().find(|framework| framework.name() == name)
    }

    /// The Python framework behind a worker; `None` for our own engine.
    pub fn python(self) -> Option<calipers_workers::Framework> {
        match self {
            Framework::PyTorch => Some(calipers_workers::Framework::PyTorch),
            Framework::TensorFlow => Some(calipers_workers::Framework::TensorFlow),
            Framework::Calipers => None,
        }
    }

    /// Its paths (which of its tools) with the variants that each can make.
    pub fn paths(self) -> &'static [(&'static str, &'static [Variant])] {
        use Variant::{Float, FloatFinetuned, PtqStatic, Qat};
        match self {
            Framework::PyTorch => {
                &[("eager", &[Float, FloatFinetuned, PtqStatic, Qat]), ("fx", &[PtqStatic, Qat])]
            }
            Framework::TensorFlow => {
                &[("keras", &[Float, FloatFinetuned]), ("tflite", &[PtqStatic]), ("tfmot", &[Qat])]
            }
            Framework::Calipers => &[("native", &[Float, FloatFinetuned, PtqStatic, Qat])],
        }
    }

    /// The path that trains and saves in float.
    pub fn float_path(self) -> &'static str {
        self.paths()[0].0
    }
}

impl fmt::Display for Framework {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// All variants, in the order in which they are shown.
pub const VARIANTS: [Variant; 4] =
    [Variant::Float, Variant::FloatFinetuned, Variant::PtqStatic, Variant::Qat];

/// A variant's name in specs, commands and files.
pub fn variant_name(variant: Variant) -> &'static str {
    match variant {
        Variant::Float => "float",
        Variant::FloatFinetuned => "float-finetuned",
        Variant::PtqStatic => "ptq-static",
        Variant::Qat => "qat",
    }
}

/// One row of the comparison.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// Who quantizes and runs.
    pub framework: Framework,
    /// Which of its tools.
    pub path: String,
    /// What is done to the model.
    pub variant: Variant,
    /// Seed of the initial weights and of the order of samples.
    pub seed: u64,
}

impl Cell {
    /// Folder of the cell's files below the artefacts, also its name in records.
    pub fn folder(&self) -> String {
        format!("{}/{}/{}/seed-{}", self.framework, self.path, variant_name(self.variant), self.seed)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cell { framework, path, variant, seed } = self;
        write!(f, "{framework} {path} {} (seed {seed})", variant_name(*variant))
    }
}
