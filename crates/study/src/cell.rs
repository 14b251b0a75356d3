//! Cells: one framework, path, tuning, variant, origin of weights and seed each, and which combinations exist.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use calipers_workers::protocol::{Tuning, Variant};

use self::Variant::{Float, FloatFinetuned, PtqDynamic, PtqStatic, Qat, WeightOnly};

/// Who quantizes and runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framework {
    /// PyTorch with torchao.
    PyTorch,
    /// TensorFlow with Keras 2, the model optimization toolkit, LiteRT and the AI Edge Quantizer.
    TensorFlow,
    /// ONNX Runtime with its quantization tools.
    OnnxRuntime,
    /// OpenVINO with NNCF.
    OpenVino,
    /// Calipers' own engine.
    Calipers,
}

/// One of a framework's tools, and the variants that each of its settings can make.
#[derive(Debug)]
pub struct Route {
    /// Name in specs, commands and files.
    pub path: &'static str,
    /// What its documentation's settings make.
    pub default: &'static [Variant],
    /// What is made in another way by those who know it well.
    pub tuned: &'static [Variant],
    /// What it is, for people who know the framework.
    pub title: &'static str,
    /// The path whose float cell runs as this one's cells do, and is what they are compared with.
    pub float: &'static str,
}

const fn route(
    path: &'static str,
    float: &'static str,
    title: &'static str,
    default: &'static [Variant],
    tuned: &'static [Variant],
) -> Route {
    Route { path, default, tuned, title, float }
}

/// The path that runs the file that Calipers made.
pub const OUR_FILE: &str = "calipers";
/// The path that computes on a GPU.
pub const GPU: &str = "gpu";

const PYTORCH: &[Route] = &[
    route(
        "eager",
        "eager",
        "torch.ao.quantization, eager mode",
        &[Float, FloatFinetuned, PtqStatic, PtqDynamic, Qat],
        &[PtqStatic],
    ),
    route(
        "eager-2023",
        "eager",
        "eager mode as the paper's notebook used it: prepare_qat with get_default_qconfig",
        &[Qat],
        &[],
    ),
    route(
        "fx",
        "eager",
        "torch.ao.quantization, FX graph mode",
        &[PtqStatic, PtqDynamic, Qat],
        &[PtqStatic, Qat],
    ),
    route(
        "pt2e",
        "pt2e",
        "torchao PT2E for x86, compiled by Inductor",
        &[Float, PtqStatic, PtqDynamic, Qat],
        &[],
    ),
    route("torchao", "eager", "torchao quantize_", &[PtqDynamic, WeightOnly], &[WeightOnly]),
    route(GPU, "eager", "float on the GPU", &[Float], &[]),
];

const TENSORFLOW: &[Route] = &[
    route("keras", "keras", "Keras 2 as a tf.function", &[Float, FloatFinetuned], &[]),
    route("tflite", "tflite", "TFLite converter, run by LiteRT", &[Float, PtqStatic, PtqDynamic], &[]),
    route(
        "tflite-int16x8",
        "tflite",
        "TFLite converter, 16-bit activations, run by LiteRT",
        &[PtqStatic],
        &[],
    ),
    route(
        "tflite-float16",
        "tflite",
        "TFLite converter, half-precision weights, run by LiteRT",
        &[WeightOnly],
        &[],
    ),
    route("tfmot", "tflite", "TensorFlow Model Optimization Toolkit, run by LiteRT", &[Qat], &[Qat]),
    route(
        "aeq",
        "tflite",
        "AI Edge Quantizer, run by LiteRT",
        &[PtqStatic, PtqDynamic, WeightOnly],
        &[PtqStatic],
    ),
];

const ONNXRUNTIME: &[Route] = &[
    route("qdq", "qdq", "onnxruntime.quantization, static", &[Float, PtqStatic], &[PtqStatic]),
    route("dynamic", "qdq", "onnxruntime.quantization, dynamic", &[PtqDynamic], &[]),
    route(OUR_FILE, "qdq", "the file that Calipers made", &[PtqStatic], &[]),
];

const OPENVINO: &[Route] = &[
    route("nncf", "nncf", "NNCF, run by OpenVINO", &[Float, PtqStatic, WeightOnly], &[Float, PtqStatic]),
    route(OUR_FILE, "nncf", "the file that Calipers made", &[PtqStatic], &[]),
];

const CALIPERS: &[Route] =
    &[route("native", "native", "calipers quantize", &[Float, PtqStatic, PtqDynamic, WeightOnly, Qat], &[])];

impl Framework {
    /// All of them, in the order in which they are shown and run.
    pub const ALL: [Framework; 5] = [
        Framework::PyTorch,
        Framework::TensorFlow,
        Framework::OnnxRuntime,
        Framework::OpenVino,
        Framework::Calipers,
    ];

    /// Name in specs, commands and files.
    pub fn name(self) -> &'static str {
        match self {
            Framework::PyTorch => "pytorch",
            Framework::TensorFlow => "tensorflow",
            Framework::OnnxRuntime => "onnxruntime",
            Framework::OpenVino => "openvino",
            Framework::Calipers => "calipers",
        }
    }

    /// Name for people.
    pub fn title(self) -> &'static str {
        match self {
            Framework::PyTorch => "PyTorch",
            Framework::TensorFlow => "TensorFlow",
            Framework::OnnxRuntime => "ONNX Runtime",
            Framework::OpenVino => "OpenVINO",
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
            Framework::OnnxRuntime => Some(calipers_workers::Framework::OnnxRuntime),
            Framework::OpenVino => Some(calipers_workers::Framework::OpenVino),
            Framework::Calipers => None,
        }
    }

    /// Whether it trains models here.
    pub fn trains(self) -> bool {
        match self {
            Framework::PyTorch | Framework::TensorFlow => true,
            Framework::OnnxRuntime | Framework::OpenVino | Framework::Calipers => false,
        }
    }

    /// Its tools, the one that trains and runs in float first.
    pub fn routes(self) -> &'static [Route] {
        match self {
            Framework::PyTorch => PYTORCH,
            Framework::TensorFlow => TENSORFLOW,
            Framework::OnnxRuntime => ONNXRUNTIME,
            Framework::OpenVino => OPENVINO,
            Framework::Calipers => CALIPERS,
        }
    }

    /// The path that trains and saves in float.
    pub fn float_path(self) -> &'static str {
        self.routes()[0].path
    }
}

impl fmt::Display for Framework {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// All variants, in the order in which they are shown.
pub const VARIANTS: [Variant; 6] = [
    Variant::Float,
    Variant::FloatFinetuned,
    Variant::PtqStatic,
    Variant::PtqDynamic,
    Variant::WeightOnly,
    Variant::Qat,
];

/// A variant's name in specs, commands and files.
pub fn variant_name(variant: Variant) -> &'static str {
    match variant {
        Variant::Float => "float",
        Variant::FloatFinetuned => "float-finetuned",
        Variant::PtqStatic => "ptq-static",
        Variant::PtqDynamic => "ptq-dynamic",
        Variant::WeightOnly => "weight-only",
        Variant::Qat => "qat",
    }
}

/// Both tunings, in the order in which they are shown.
pub const TUNINGS: [Tuning; 2] = [Tuning::Default, Tuning::Tuned];

/// A tuning's name in specs, commands and files.
pub fn tuning_name(tuning: Tuning) -> &'static str {
    match tuning {
        Tuning::Default => "default",
        Tuning::Tuned => "tuned",
    }
}

/// Whose weights a cell quantizes and runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Trained by the framework itself.
    Own,
    /// One set for all frameworks, so that differences of training cannot hide in it: trained by the first framework
    /// that trains, or the model's own where nothing is trained.
    Shared,
}

/// One row of the comparison.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// Who quantizes and runs.
    pub framework: Framework,
    /// Which of its tools.
    pub path: String,
    /// How they are set.
    pub tuning: Tuning,
    /// What is done to the model.
    pub variant: Variant,
    /// Whose weights.
    pub weights: Origin,
    /// Seed of the initial weights and of the order of samples.
    pub seed: u64,
}

impl Cell {
    /// Folder of the cell's files below the artefacts, also its name in records.
    pub fn folder(&self) -> String {
        let Cell { framework, path, tuning, variant, weights, seed } = self;
        let tuned = if *tuning == Tuning::Tuned { "-tuned" } else { "" };
        let shared = if *weights == Origin::Shared { "-shared" } else { "" };
        format!("{framework}/{path}/{}{tuned}{shared}/seed-{seed}", variant_name(*variant))
    }

    /// The float cells that it is compared with, of the same weights and seed: the first that there is.
    pub fn float_cells(&self) -> [Cell; 2] {
        let routes = self.framework.routes();
        let own = routes.iter().find(|route| route.path == self.path).map(|route| route.float);
        let framework = self.framework.float_path();
        [own.unwrap_or(framework), framework].map(|path| Cell {
            path: path.to_owned(),
            tuning: Tuning::Default,
            variant: Variant::Float,
            ..self.clone()
        })
    }

    /// Whether it computes on a GPU.
    pub fn is_on_gpu(&self) -> bool {
        self.path == GPU
    }

    /// Whether it runs the file that Calipers made.
    pub fn runs_our_file(&self) -> bool {
        self.path == OUR_FILE
    }

    /// Path, variant and tuning, such as `fx ptq-static tuned`.
    pub fn name(&self) -> String {
        let tuned = if self.tuning == Tuning::Tuned { " tuned" } else { "" };
        format!("{} {}{tuned}", self.path, variant_name(self.variant))
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = if self.weights == Origin::Shared { ", shared weights" } else { "" };
        write!(f, "{} {} (seed {}{shared})", self.framework, self.name(), self.seed)
    }
}
