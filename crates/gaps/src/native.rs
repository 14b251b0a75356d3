//! Our own engine behind the commands of the gap matrix, so that it is probed exactly as the frameworks are.

use std::cell::Cell as StdCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path as FilePath;
use std::time::Duration;

use calipers_formats::onnx;
use calipers_inspect::describe::{Description, describe};
use calipers_inspect::open;
use calipers_ir::{Graph, GraphEditor, Model, Node, Op, Tensor, ValueId};
use calipers_passes::canonicalize;
use calipers_quant::{CalibrationOptions, Recipe};
use calipers_runtime::{Profiler, Session, SessionOptions, StepInfo, evaluate};
use calipers_workers::Command;
use calipers_workers::protocol::{
    Class, Ending, Failure, Found, Greeting, Operator, Outcome, Probe, Probed, Reply, Request, Role,
    Stage as ProtocolStage,
};
use calipers_workers::serve::serve_standard_streams;

use crate::capability;
use crate::layer::Layer;
use crate::layers::{CONTROLS, layer};
use crate::material::{self, Material};
use crate::path::Scheme;
use crate::state::Stage;

/// The deployed file of a probe.
pub(crate) const MODEL: &str = "model.onnx";
/// What the weights of the layer are multiplied by in the control that must come out wrong.
const PLANTED_FACTOR: f32 = 4.0;

/// Answers probes on standard input and output, until the input ends.
///
/// # Errors
/// Those of writing to standard output.
pub fn serve() -> std::io::Result<()> {
    serve_standard_streams(&mut |request, _| answer(request))
}

fn answer(request: Request) -> Result<Reply, Failure> {
    match request {
        Request::Hello(hello) => {
            let version = env!("CARGO_PKG_VERSION").to_owned();
            hello.answer(&Greeting {
                framework: String::from("calipers"),
                versions: BTreeMap::from([(String::from("calipers"), version)]),
                python: None,
                threads: hello.threads,
                pid: std::process::id(),
                devices: Vec::new(),
            })
        }
        Request::Probe(probe) => probe.answer(&probed(&probe)),
        Request::AskCapability(ask) => ask.answer(&capability::native(&ask)),
        other => Err(Failure::new(
            ProtocolStage::Start,
            "Unsupported",
            format!("this worker answers gap probes alone, not {other:?}"),
        )),
    }
}

thread_local! {
    static STAGE: StdCell<Stage> = const { StdCell::new(Stage::Build) };
}

fn enter(stage: Stage) {
    STAGE.set(stage);
}

fn probed(probe: &Probe) -> Probed {
    let (outcome, error, found) = match run(probe) {
        Ok(found) => (Outcome::Ran, None, found),
        Err(message) => (Outcome::Failed, Some(("Error", message)), Found::default()),
    };
    Probed { ending: Ending::new(outcome, STAGE.get().name(), error), found }
}

fn run(probe: &Probe) -> Result<Found, String> {
    enter(Stage::Build);
    let control = CONTROLS.iter().find(|control| control.name == probe.layer);
    let name = control.map_or(probe.layer.as_str(), |control| control.layer);
    let material = layer(name)
        .ok_or_else(|| format!("layer `{name}` is not known"))
        .and_then(|layer| Material::of(layer).map_err(|error| error.to_string()))?;
    match probe.layer.as_str() {
        "control_killed" => {
            enter(Stage::Convert);
            std::process::abort()
        }
        "control_hangs" => loop {
            enter(Stage::Calibrate);
            std::thread::sleep(Duration::from_secs(1));
        },
        _ => {}
    }
    let float = &material.probe.graph;
    let quantized = match probe.layer.as_str() {
        "control_float" => float.clone(),
        "control_wrong" => quantize(&planted(float)?, &probe.path, &material)?,
        _ => quantize(float, &probe.path, &material)?,
    };
    fs::create_dir_all(&probe.folder).map_err(|error| error.to_string())?;
    let file = probe.folder.join(MODEL);
    onnx::write(&Model::new(quantized.clone()), &file).map_err(|error| error.to_string())?;

    enter(Stage::Run);
    let mut session = session(quantized.clone())?;
    let mut profiler = Profiler::new();
    let made = material.samples.iter().map(|sample| {
        let inputs: Vec<(&str, Tensor)> =
            sample.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
        session
            .run(&inputs, &mut profiler)
            .map(|mut outputs| outputs.remove(0))
            .map_err(|error| error.to_string())
    });
    let made = floats(&made.collect::<Result<Vec<Tensor>, String>>()?)?;
    // The reference form of the control is that of what was not planted.
    let honest = match probe.layer.as_str() {
        "control_wrong" => quantize(float, &probe.path, &material)?,
        _ => quantized,
    };
    enter(Stage::Run);
    let defined = |graph: &Graph| -> Result<Vec<f32>, String> {
        let outputs = material.samples.iter().map(|sample| by_definition(graph, sample));
        floats(&outputs.collect::<Result<Vec<Tensor>, String>>()?)
    };
    let (expected, reference) = (floats(&material.expected)?, defined(&honest)?);
    Ok(Found {
        parity: difference(&defined(float)?, &expected),
        float_range: Some(range(&expected)),
        max_error: difference(&made, &expected),
        finite: Some(made.iter().all(|value| value.is_finite())),
        reference: Some(String::from("the definition of each node of the QDQ graph")),
        reference_error: difference(&reference, &expected),
        reference_difference: difference(&made, &reference),
        operators: operators(&profiler, &description(&file)?, &honest),
        files: vec![MODEL.into()],
        ..Found::default()
    })
}

/// The error of our own engine on a layer with the number formats of a scheme, as a share of the range of the float
/// outputs; `None` where it cannot do it.
pub(crate) fn comparable(layer: &Layer, scheme: Scheme) -> Option<f64> {
    let precision = match scheme {
        Scheme::Static => "w8a8",
        Scheme::Dynamic => "w8a8-dynamic",
        Scheme::WeightOnly => "w8",
    };
    let material = Material::of(layer).ok()?;
    let quantized = quantize(&material.probe.graph, precision, &material).ok()?;
    let made = floats(&material::run(&quantized, &material.samples).ok()?).ok()?;
    let expected = floats(&material.expected).ok()?;
    Some(difference(&made, &expected)? / range(&expected))
}

/// The artefact as our own reader describes it.
pub(crate) fn description(file: &FilePath) -> Result<Description, String> {
    let opened = open(file).map_err(|error| error.to_string())?;
    describe(&opened).map_err(|error| error.to_string())
}

pub(crate) fn session(graph: Graph) -> Result<Session, String> {
    Session::new(graph, SessionOptions::default().with_threads(1)).map_err(|error| error.to_string())
}

/// All elements of the outputs of all samples.
fn floats(outputs: &[Tensor]) -> Result<Vec<f32>, String> {
    let mut all = Vec::new();
    for output in outputs {
        all.extend_from_slice(&output.as_f32().ok_or_else(|| String::from("the output is not f32"))?);
    }
    Ok(all)
}

/// The largest absolute difference; `None` where one is no number.
fn difference(a: &[f32], b: &[f32]) -> Option<f64> {
    let differences = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
    differences
        .map(|difference| (!difference.is_nan()).then_some(difference))
        .try_fold(0.0, |largest, one| one.map(|one| f64::max(largest, one)))
}

fn range(values: &[f32]) -> f64 {
    let bounds = (f32::INFINITY, f32::NEG_INFINITY);
    let (low, high) = values.iter().fold(bounds, |(low, high), &value| (low.min(value), high.max(value)));
    f64::from(high - low)
}

/// The quantized graph of a path, which has the short name of a recipe.
pub(crate) fn quantize(graph: &Graph, path: &str, material: &Material) -> Result<Graph, String> {
    enter(Stage::Prepare);
    let recipe = Recipe::of_precision(path).map_err(|error| error.to_string())?;
    let compute = |node: &Node, inputs: &[Option<&Tensor>]| {
        evaluate(&node.name, &node.op, inputs, node.outputs.len()).ok()
    };
    let canonical = canonicalize(graph, &compute).map_err(|error| error.to_string())?.graph;
    enter(Stage::Calibrate);
    let table = calipers_quant::calibrate(
        &canonical,
        material.samples.iter().cloned(),
        &recipe,
        &CalibrationOptions::default(),
        |_| {},
    )
    .map_err(|error| error.to_string())?;
    enter(Stage::Convert);
    let assignment =
        calipers_quant::assign(&canonical, &table, &recipe).map_err(|error| error.to_string())?;
    calipers_quant::insert_qdq(&canonical, &assignment).map_err(|error| error.to_string())
}

/// The graph with the layer's weights multiplied.
fn planted(graph: &Graph) -> Result<Graph, String> {
    let mut editor = GraphEditor::edit(graph);
    for (&id, tensor) in graph.constants() {
        if graph.value(id).name.starts_with("layer.weight")
            && let Some(values) = tensor.as_f32()
        {
            let values: Vec<f32> = values.iter().map(|value| value * PLANTED_FACTOR).collect();
            let planted =
                Tensor::from_vec(tensor.shape().to_vec(), values).map_err(|error| error.to_string())?;
            editor.set_constant(id, planted);
        }
    }
    editor.build().map_err(|error| error.to_string())
}

/// Runs each node by the definition of its operator: no lowering, no integer step.
fn by_definition(graph: &Graph, sample: &[(String, Tensor)]) -> Result<Tensor, String> {
    let mut values: BTreeMap<ValueId, Tensor> =
        graph.constants().iter().map(|(&id, tensor)| (id, tensor.clone())).collect();
    for &input in graph.inputs() {
        let name = &graph.value(input).name;
        let given = sample.iter().find(|(given, _)| given == name);
        let (_, tensor) = given.ok_or_else(|| format!("input `{name}` is not given"))?;
        values.insert(input, tensor.clone());
    }
    for node in graph.nodes() {
        let inputs: Vec<Option<&Tensor>> =
            node.inputs.iter().map(|input| input.as_ref().and_then(|id| values.get(id))).collect();
        let made =
            evaluate(&node.name, &node.op, &inputs, node.outputs.len()).map_err(|error| error.to_string())?;
        for (&id, tensor) in node.outputs.iter().zip(made) {
            values.insert(id, tensor);
        }
    }
    let output = graph.outputs().first().and_then(|id| values.remove(id));
    output.ok_or_else(|| String::from("the graph has no output"))
}

/// The steps of a session as operators. Of a step that ends at a node, the description knows the weight.
fn operators(profiler: &Profiler, description: &Description, graph: &Graph) -> Vec<Operator> {
    let nodes: BTreeMap<&str, &Node> = graph.nodes().iter().map(|node| (node.name.as_str(), node)).collect();
    let dynamic = graph.nodes().iter().any(|node| matches!(node.op, Op::DynamicQuantizeLinear));
    let operator = |step: &StepInfo| {
        let StepWords { name, dtype } = words(&step.kernel);
        let weight = description
            .layers
            .iter()
            .find(|layer| layer.name == step.node)
            .and_then(|layer| layer.weight.as_ref());
        let facts =
            weight.and_then(|weight| description.tensors.iter().find(|tensor| tensor.name == weight.name));
        let weighted = PRODUCTS.contains(&name) && facts.is_none_or(|facts| facts.shape.len() >= 2);
        // The rows of a table's scales are gathered beside the rows of its integers.
        let gathers_scales = step.node.contains("_scale_Gather") || step.node.contains("_zero_point_Gather");
        let integers = weight.is_some_and(|weight| weight.dtype.starts_with(['i', 'u']));
        let class = match (name, dtype) {
            _ if MOVES.contains(&name) => Class::Move,
            _ if CONVERSIONS.contains(&name) || gathers_scales => Class::Convert,
            // Rows of integers are dequantized before anything computes on them.
            ("Gather", _) if integers => Class::WeightOnly,
            (_, "f32") if weighted && integers => Class::WeightOnly,
            (_, "f32") => Class::Float,
            _ if dynamic => Class::Dynamic,
            _ => Class::Integer,
        };
        Operator {
            name: nodes.get(step.node.as_str()).map_or_else(|| name.to_owned(), |node| node.op.to_string()),
            role: role(&step.node),
            class,
            weighted,
            inputs: [dtype.to_owned()].into_iter().chain(weight.map(|weight| weight.dtype.clone())).collect(),
            outputs: Vec::new(),
            kernel: Some(step.kernel.clone()),
            count: None,
        }
    };
    profiler.steps.iter().map(|time| operator(&time.step)).collect()
}

/// Kernels and operators that multiply by weights, or gather rows of a table.
const PRODUCTS: &[&str] = &[
    "convolve",
    "multiply",
    "multiply to f32",
    "Conv",
    "ConvTranspose",
    "ConvInteger",
    "Gemm",
    "MatMul",
    "MatMulInteger",
    "LSTM",
    "GRU",
    "RNN",
    "Gather",
];
/// Those that only move elements.
const MOVES: &[&str] =
    &["permute", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Split"];
/// Those that only change how numbers are stored.
const CONVERSIONS: &[&str] =
    &["quantize", "dequantize", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast"];

/// Where a node stands: what Quantize and Dequantize nodes are called begins with what they are for.
fn role(node: &str) -> Role {
    if node.starts_with("before") {
        Role::Before
    } else if node.starts_with("after") {
        Role::After
    } else {
        Role::Layer
    }
}

/// A kernel's name, and the type that it computes on.
struct StepWords<'a> {
    name: &'a str,
    dtype: &'a str,
}

fn words(kernel: &str) -> StepWords<'_> {
    let plain = kernel.strip_suffix(" by definition").unwrap_or(kernel);
    let (name, dtype) = plain.rsplit_once(' ').unwrap_or((plain, ""));
    StepWords { name, dtype }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn kernels_say_what_they_compute_on() {
        assert_eq!((words("convolve u8").name, words("convolve u8").dtype), ("convolve", "u8"));
        assert_eq!(words("LayerNormalization f32 by definition").dtype, "f32");
    }
}
