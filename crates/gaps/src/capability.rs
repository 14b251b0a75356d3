//! The questions that are not about a layer, and our own engine's answers, each found by trying.

use std::collections::BTreeMap;
use std::path::Path as FilePath;

use calipers_formats::onnx;
use calipers_ir::Model;
use calipers_runtime::{Isa, Profiler, Recorder};
use calipers_workers::protocol::{AskCapability, Asked, Ending, Outcome, Verdict};

use crate::framework::Framework;
use crate::layers::layer;
use crate::material::Material;
use crate::native::{MODEL, description, quantize, session};

/// A question.
#[derive(Debug, PartialEq, Eq)]
pub struct Question {
    /// Its name.
    pub name: &'static str,
    /// In words.
    pub title: &'static str,
    /// The only framework that it is for; `None` for all.
    pub only: Option<Framework>,
    /// Whether it is in the quick subset.
    pub quick: bool,
}

const fn question(name: &'static str, title: &'static str) -> Question {
    Question { name, title, only: None, quick: false }
}

const fn quick(question: Question) -> Question {
    Question { quick: true, ..question }
}

/// Every question, in the order in which they are shown.
pub static QUESTIONS: &[Question] = &[
    quick(question("read_weights", "Can weights and scales be read after quantization?")),
    question("read_activations", "Can every intermediate activation be read after quantization?"),
    question("profile_float_inference", "Can float inference be profiled per operator?"),
    question("profile_quantized_inference", "Can quantized inference be profiled per operator?"),
    question("profile_training", "Can training be profiled per operator?"),
    question("profile_memory", "Does a profile show memory per operator?"),
    quick(question("automatic_fusion", "Is fusion automatic?")),
    quick(question("without_stubs", "Does it go without stubs and annotations?")),
    question("without_special_interpreter", "Does a quantized model run without a special interpreter?"),
    quick(question("accelerator", "Does a quantized model run on a GPU or TPU?")),
    question(
        "qat_overhead",
        "Is there quantization-aware training, and what does a step cost over a float step?",
    ),
    quick(question("save_and_load", "Does a quantized model survive saving and loading?")),
    question("export_to_onnx", "Can a quantized model be exported to ONNX?"),
    Question {
        name: "qat_with_default_qconfig",
        title: "Does prepare_qat with get_default_qconfig (as in 2023) train with fake quantization?",
        only: Some(Framework::PyTorch),
        quick: true,
    },
];

impl Question {
    /// Whether it is asked of that framework.
    pub fn is_for(&self, framework: Framework) -> bool {
        self.only.is_none_or(|only| only == framework)
    }
}

/// An answer in the making.
struct Reply {
    answer: Verdict,
    summary: String,
    evidence: Vec<String>,
}

fn reply(answer: Verdict, summary: impl Into<String>, evidence: Vec<String>) -> Reply {
    Reply { answer, summary: summary.into(), evidence }
}

/// Our own engine's answer.
pub(crate) fn native(ask: &AskCapability) -> Asked {
    let (answer, summary, evidence, ending) = match answer(&ask.name, &ask.folder) {
        Ok(Reply { answer, summary, evidence }) => {
            (Some(answer), summary, evidence, Ending::new(Outcome::Ran, "run", None))
        }
        Err(message) => {
            let ending = Ending::new(Outcome::Failed, "run", Some(("Error", message)));
            (None, String::new(), Vec::new(), ending)
        }
    };
    Asked { ending, answer, summary, evidence, numbers: BTreeMap::new() }
}

fn answer(name: &str, folder: &FilePath) -> Result<Reply, String> {
    let material = layer("batch_norm_folded")
        .ok_or_else(|| String::from("the layer `batch_norm_folded` is not there"))
        .and_then(|layer| Material::of(layer).map_err(|error| error.to_string()))?;
    let float = &material.probe.graph;
    let sample: Vec<(&str, calipers_ir::Tensor)> =
        material.samples[0].iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
    let quantized = quantize(float, "w8a8", &material)?;
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let file = folder.join(MODEL);
    onnx::write(&Model::new(quantized.clone()), &file).map_err(|error| error.to_string())?;
    let profile = |graph| -> Result<Vec<String>, String> {
        let mut profiler = Profiler::new();
        session(graph)?.run(&sample, &mut profiler).map_err(|error| error.to_string())?;
        Ok(profiler
            .steps
            .iter()
            .map(|step| format!("{}: {}, {:.1?}", step.step.node, step.step.kernel, step.durations[0]))
            .collect())
    };
    match name {
        "read_weights" => {
            let description = description(&file)?;
            let weights: Vec<String> = description
                .layers
                .iter()
                .filter_map(|layer| {
                    let weight = layer.weight.as_ref()?;
                    let scale = weight.scale.as_ref()?;
                    Some(format!("{}: {} with {} scales", weight.name, weight.dtype, scale.scales))
                })
                .collect();
            let all = if weights.len() == 3 { Verdict::Yes } else { Verdict::Partly };
            Ok(reply(all, "`calipers inspect` reads every weight and scale of the written file", weights))
        }
        "read_activations" => {
            let names: Vec<String> =
                quantized.nodes().iter().map(|node| quantized.value(node.outputs[0]).name.clone()).collect();
            let mut recorder = Recorder::new(names.clone());
            session(quantized)?.run(&sample, &mut recorder).map_err(|error| error.to_string())?;
            let read = names.iter().filter(|name| recorder.values.contains_key(*name)).count();
            let evidence =
                vec![format!("{read} of {} values of the quantized graph were read in one run", names.len())];
            let all = if read == names.len() { Verdict::Yes } else { Verdict::Partly };
            Ok(reply(all, "a probe of the session reads every value by name", evidence))
        }
        "profile_float_inference" => {
            let evidence = profile(float.clone())?;
            Ok(reply(Verdict::Yes, "the session's profiler times every step", evidence))
        }
        "profile_quantized_inference" => {
            let evidence = profile(quantized)?;
            Ok(reply(Verdict::Yes, "the same profiler times every integer step", evidence))
        }
        "profile_memory" => {
            let evidence = profile(quantized)?;
            Ok(reply(Verdict::No, "the profiler has times alone; no memory stands at a step", evidence))
        }
        "profile_training" => Ok(reply(Verdict::No, "the engine does not train yet", Vec::new())),
        "qat_overhead" => {
            Ok(reply(Verdict::No, "the engine has no quantization-aware training yet", Vec::new()))
        }
        "automatic_fusion" => {
            let steps = profile(quantized)?;
            let products = steps.iter().filter(|step| step.contains("convolve")).count();
            let norms = steps.iter().filter(|step| step.contains("normal")).count();
            let fused = if products == 3 && norms == 0 { Verdict::Yes } else { Verdict::No };
            Ok(reply(
                fused,
                "BatchNorm is folded and activations are fused without a word from the user",
                steps,
            ))
        }
        "without_stubs" => {
            let evidence = vec![String::from(
                "the float ONNX file was quantized as it is, with nothing but its name and data",
            )];
            Ok(reply(Verdict::Yes, "nothing is annotated", evidence))
        }
        "without_special_interpreter" => {
            let evidence = profile(quantized)?;
            let summary =
                "the engine that runs the float model runs the quantized one; the file is ONNX in QDQ form";
            Ok(reply(Verdict::Yes, summary, evidence))
        }
        "accelerator" => {
            let evidence = vec![format!("instruction set in use: {}", Isa::detect().name())];
            Ok(reply(Verdict::No, "the engine runs on the CPU alone", evidence))
        }
        "save_and_load" | "export_to_onnx" => {
            let read = onnx::read(&file).map_err(|error| error.to_string())?.graph;

            let before = session(quantized)?.run(&sample, &mut ()).map_err(|error| error.to_string())?;
            let after = session(read)?.run(&sample, &mut ()).map_err(|error| error.to_string())?;
            let same = before == after;
            let evidence = vec![format!(
                "outputs of the written and read ONNX file are {}",
                if same { "bit-equal" } else { "different" }
            )];
            let verdict = if same { Verdict::Yes } else { Verdict::No };
            Ok(reply(verdict, "the quantized model is an ONNX file, written and read back", evidence))
        }
        other => Err(format!("question `{other}` is not known")),
    }
}
