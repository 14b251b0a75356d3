//! The paths: every way in which a framework quantizes, and what each promises.

use serde::{Deserialize, Serialize};

use crate::framework::Framework;
use crate::state::State;

use Framework::{Calipers, OnnxRuntime, PyTorch, TensorFlow};
use Scheme::{Dynamic, Static, WeightOnly};

/// What a path sets out to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Integer weights and activations whose scales are fixed before.
    Static,
    /// Integer weights, and activations that are quantized at run time.
    Dynamic,
    /// Weights alone.
    WeightOnly,
}

impl Scheme {
    /// Name in files.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Static => "static",
            Scheme::Dynamic => "dynamic",
            Scheme::WeightOnly => "weight-only",
        }
    }

    /// Name for people.
    pub fn title(self) -> &'static str {
        match self {
            Scheme::Static => "static",
            Scheme::Dynamic => "dynamic",
            Scheme::WeightOnly => "weights alone",
        }
    }
}

/// One way of a framework to quantize.
#[derive(Debug, PartialEq)]
pub struct Path {
    /// Whose.
    pub framework: Framework,
    /// Name in commands and files.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// What it promises.
    pub scheme: Scheme,
    /// Largest error against float, as a share of the range of the float outputs, that its number formats explain on a
    /// probe: several times what a faithful computation shows.
    pub explained: f64,
    /// Whether it trains. The few steps of a probe do not settle ranges, so that only the reference form can be held against
    /// the result.
    pub trains: bool,
    /// Elements of the smallest constant that it quantizes, where its documentation states such a bound; else 0.
    pub smallest_constant: usize,
    /// The layers that it is for, where it differs from another path only in those; empty for all.
    pub only: &'static [&'static str],
    /// Whether it is in the quick subset.
    pub quick: bool,
}

/// Layers that gather rows of a table.
const EMBEDDINGS: &[&str] = &["embedding", "embedding_bag", "embedding_tied", "several_inputs"];
/// Those of them that do nothing else with a weight.
const GATHERS: &[&str] = &["embedding", "embedding_bag", "several_inputs"];
/// Error that 8-bit numbers explain with static scales, with dynamic ones, and of weights alone.
const STATIC: f64 = 0.15;
const DYNAMIC: f64 = 0.1;
const WEIGHTS: f64 = 0.05;
/// Error that 4-bit and 2-bit weights explain.
const FOUR_BITS: f64 = 0.5;
const TWO_BITS: f64 = 2.0;

const fn path(
    framework: Framework,
    name: &'static str,
    title: &'static str,
    scheme: Scheme,
    explained: f64,
) -> Path {
    Path {
        framework,
        name,
        title,
        scheme,
        explained,
        trains: false,
        smallest_constant: 0,
        only: &[],
        quick: false,
    }
}

const fn training(path: Path) -> Path {
    Path { trains: true, ..path }
}

const fn quick(path: Path) -> Path {
    Path { quick: true, ..path }
}

/// Every path, in the order in which they are shown. The first of a framework is the one that controls go through.
pub static PATHS: &[Path] = &[
    quick(path(PyTorch, "eager", "eager mode, static, x86 engine", Static, STATIC)),
    path(PyTorch, "eager-fbgemm", "eager mode, static, fbgemm engine", Static, STATIC),
    path(PyTorch, "eager-onednn", "eager mode, static, onednn engine", Static, STATIC),
    path(PyTorch, "eager-qnnpack", "eager mode, static, qnnpack engine", Static, STATIC),
    Path {
        only: EMBEDDINGS,
        ..quick(path(
            PyTorch,
            "eager-embedding",
            "eager mode, static, embedding configuration",
            Static,
            STATIC,
        ))
    },
    training(path(PyTorch, "eager-qat", "eager mode, quantization-aware training", Static, STATIC)),
    quick(path(PyTorch, "eager-dynamic", "eager mode, dynamic", Dynamic, DYNAMIC)),
    quick(path(PyTorch, "fx", "FX graph mode, static, x86 engine", Static, STATIC)),
    path(PyTorch, "fx-fbgemm", "FX graph mode, static, fbgemm engine", Static, STATIC),
    path(PyTorch, "fx-onednn", "FX graph mode, static, onednn engine", Static, STATIC),
    path(PyTorch, "fx-qnnpack", "FX graph mode, static, qnnpack engine", Static, STATIC),
    training(path(PyTorch, "fx-qat", "FX graph mode, quantization-aware training", Static, STATIC)),
    path(PyTorch, "fx-dynamic", "FX graph mode, dynamic", Dynamic, DYNAMIC),
    quick(path(PyTorch, "pt2e", "torchao PT2E, static, compiled", Static, STATIC)),
    training(path(
        PyTorch,
        "pt2e-qat",
        "torchao PT2E, quantization-aware training, compiled",
        Static,
        STATIC,
    )),
    path(PyTorch, "pt2e-dynamic", "torchao PT2E, dynamic, compiled", Dynamic, DYNAMIC),
    quick(path(PyTorch, "torchao-int8-dynamic", "torchao quantize_, int8 dynamic", Dynamic, DYNAMIC)),
    quick(path(
        PyTorch,
        "torchao-int8-weight-only",
        "torchao quantize_, int8 weights alone",
        WeightOnly,
        WEIGHTS,
    )),
    path(PyTorch, "torchao-int4-weight-only", "torchao quantize_, int4 weights alone", WeightOnly, FOUR_BITS),
    quick(path(TensorFlow, "tflite-int8", "TFLite converter, full int8, Keras 3", Static, STATIC)),
    Path {
        smallest_constant: 1024,
        ..quick(path(
            TensorFlow,
            "tflite-dynamic",
            "TFLite converter, dynamic range, Keras 3",
            Dynamic,
            DYNAMIC,
        ))
    },
    path(TensorFlow, "tflite-int16x8", "TFLite converter, int16 activations, Keras 3", Static, STATIC),
    path(TensorFlow, "tflite-float16", "TFLite converter, float16 weights, Keras 3", WeightOnly, WEIGHTS),
    path(TensorFlow, "keras2-tflite-int8", "TFLite converter, full int8, Keras 2", Static, STATIC),
    Path {
        smallest_constant: 1024,
        ..path(
            TensorFlow,
            "keras2-tflite-dynamic",
            "TFLite converter, dynamic range, Keras 2",
            Dynamic,
            DYNAMIC,
        )
    },
    path(TensorFlow, "keras2-tflite-int16x8", "TFLite converter, int16 activations, Keras 2", Static, STATIC),
    path(
        TensorFlow,
        "keras2-tflite-float16",
        "TFLite converter, float16 weights, Keras 2",
        WeightOnly,
        WEIGHTS,
    ),
    quick(training(path(TensorFlow, "tfmot", "TFMOT, whole model, Keras 2", Static, STATIC))),
    training(path(TensorFlow, "tfmot-annotated", "TFMOT, annotated layers, Keras 2", Static, STATIC)),
    quick(path(TensorFlow, "aeq-static", "AI Edge Quantizer, static", Static, STATIC)),
    quick(path(TensorFlow, "aeq-dynamic", "AI Edge Quantizer, dynamic", Dynamic, DYNAMIC)),
    path(TensorFlow, "aeq-weight-only", "AI Edge Quantizer, weights alone", WeightOnly, WEIGHTS),
    path(TensorFlow, "aeq-4bit", "AI Edge Quantizer, 4-bit blocks, dynamic", Dynamic, FOUR_BITS),
    path(TensorFlow, "aeq-2bit", "AI Edge Quantizer, 2-bit blocks, dynamic", Dynamic, TWO_BITS),
    quick(path(OnnxRuntime, "qdq", "static, QDQ", Static, STATIC)),
    path(OnnxRuntime, "qoperator", "static, QOperator", Static, STATIC),
    quick(path(OnnxRuntime, "dynamic", "dynamic", Dynamic, DYNAMIC)),
    path(OnnxRuntime, "weight-only-4bit", "4-bit weights alone", WeightOnly, FOUR_BITS),
    quick(path(Calipers, "w8a8", "static, 8-bit", Static, STATIC)),
    path(Calipers, "w8a16", "static, 16-bit activations", Static, STATIC),
    path(Calipers, "w4a8", "static, 4-bit weights", Static, FOUR_BITS),
    path(Calipers, "w4a16", "static, 4-bit weights, 16-bit activations", Static, FOUR_BITS),
    quick(path(Calipers, "w8a8-dynamic", "dynamic", Dynamic, DYNAMIC)),
    path(Calipers, "w8", "8-bit weights alone", WeightOnly, WEIGHTS),
    path(Calipers, "w4", "4-bit weights alone", WeightOnly, FOUR_BITS),
];

impl Path {
    /// The paths of one framework.
    pub fn of(framework: Framework) -> impl Iterator<Item = &'static Path> {
        PATHS.iter().filter(move |path| path.framework == framework)
    }

    /// Whether a state falls short of what the path promises for a layer. Rows that are gathered from a table of integers
    /// are all that a dynamic path can do for an embedding.
    pub fn falls_short(&self, layer: &str, state: State) -> bool {
        let gathers = self.scheme == Scheme::Dynamic && GATHERS.contains(&layer);
        state.is_gap(if gathers { Scheme::WeightOnly } else { self.scheme })
    }

    /// Whether it is there for that layer.
    pub fn takes(&self, layer: &str) -> bool {
        self.only.is_empty() || self.only.contains(&layer)
    }
}
