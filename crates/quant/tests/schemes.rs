//! Small networks of every kind in every precision: our runtime and ONNX Runtime on the same file, against float.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use calipers_formats::onnx;
use calipers_ir::{
    Activation, BinaryKind, Conv, ConvTranspose, DType, Dim, Gemm, Graph, GraphEditor, Indexing, Layout,
    Model, Movement, Normalize, Op, Pool, PoolKind, Recurrent, Reduce, Scanning, Tensor, TensorType,
    UnaryKind, ValueId, Window,
};
use calipers_quant::{
    ActivationScheme, ActivationType, Batch, CalibrationOptions, Granularity, PRECISIONS, Placement,
    Quantized, Recipe, Scheme, Treatment, WeightScheme, WeightType, quantize,
};
use calipers_random::Random;
use calipers_runtime::{Session, SessionOptions};
use serde::Deserialize;

/// A graph under construction, with drawn weights.
struct Network {
    editor: GraphEditor,
    random: Random,
}

impl Network {
    fn new(name: &str) -> Network {
        Network { editor: GraphEditor::new(name), random: Random::new(7, name) }
    }

    fn input(&mut self, name: &str, dtype: DType, dims: &[Dim]) -> ValueId {
        self.editor.add_input(name, TensorType::new(dtype, dims.to_vec())).unwrap()
    }

    /// Normal numbers times `spread`.
    fn weight(&mut self, name: &str, shape: &[usize], spread: f64) -> ValueId {
        let count = shape.iter().product::<usize>();
        let drawn = (0..count).map(|_| (spread * self.random.normal_f64()) as f32).collect();
        self.editor.add_constant(name, Tensor::from_vec(shape, drawn).unwrap()).unwrap()
    }

    fn integers(&mut self, name: &str, values: &[i64]) -> ValueId {
        let tensor = Tensor::from_vec([values.len()], values.to_vec()).unwrap();
        self.editor.add_constant(name, tensor).unwrap()
    }

    fn node(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> ValueId {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        let output = vec![(name.to_owned(), TensorType::unranked(DType::F32))];
        self.editor.add_typed_node(name, op, &inputs, output).unwrap()[0]
    }

    fn done(mut self, output: ValueId) -> Graph {
        self.editor.add_output(output);
        self.editor.build().unwrap()
    }
}

fn conv(groups: usize, pad: usize, activation: Activation) -> Op {
    Op::Conv(Conv { groups, window: Window::uniform(2, 1, pad), layout: Layout::Nchw, activation })
}

fn gemm(transpose_b: bool, activation: Activation) -> Op {
    Op::Gemm(Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b, activation })
}

fn binary(kind: BinaryKind) -> Op {
    Op::Binary(kind, Activation::None)
}

/// Convolutions of every form, pooling, a gate, a concatenation, a resize by transposed convolution.
fn convolutions() -> Graph {
    let mut net = Network::new("convolutions");
    let x = net.input("x", DType::F32, &[Dim::symbolic("N"), 3.into(), 8.into(), 8.into()]);
    let (w, b) = (net.weight("stem.weight", &[8, 3, 3, 3], 0.3), net.weight("stem.bias", &[8], 0.2));
    let stem = net.node("stem", conv(1, 1, Activation::Relu), &[x, w, b]);
    let (w, b) = (net.weight("depth.weight", &[8, 1, 3, 3], 0.5), net.weight("depth.bias", &[8], 0.2));
    let depth = net.node("depth", conv(8, 1, Activation::None), &[stem, w, b]);
    let gate = net.node("gate", Op::Unary(UnaryKind::Sigmoid), &[depth]);
    let gated = net.node("gated", binary(BinaryKind::Mul), &[depth, gate]);
    let pool = Op::Pool(Pool {
        kind: PoolKind::Max,
        kernel: vec![2, 2],
        window: Window::uniform(2, 2, 0),
        ceil: false,
        column_major: false,
        layout: Layout::Nchw,
    });
    let small = net.node("small", pool, &[gated]);
    let w = net.weight("up.weight", &[8, 4, 2, 2], 0.4);
    let up = Op::ConvTranspose(ConvTranspose {
        groups: 1,
        window: Window::uniform(2, 2, 0),
        output_padding: vec![0, 0],
        layout: Layout::Nchw,
        activation: Activation::None,
    });
    let up = net.node("up", up, &[small, w]);
    let joined = net.node("joined", Op::Movement(Movement::Concat { axis: 1 }), &[up, depth]);
    let mean = Op::GlobalPool(PoolKind::Average { count_include_pad: false }, Layout::Nchw);
    let mean = net.node("mean", mean, &[joined]);
    let flat = net.node("flat", Op::Flatten { axis: 1 }, &[mean]);
    let (w, b) = (net.weight("fc.weight", &[48, 12], 0.4), net.weight("fc.bias", &[48], 0.2));
    let hidden = net.node("fc", gemm(true, Activation::Relu), &[flat, w, b]);
    let (w, b) = (net.weight("head.weight", &[48, 5], 0.3), net.weight("head.bias", &[5], 0.2));
    let logits = net.node("logits", gemm(false, Activation::None), &[hidden, w, b]);
    net.done(logits)
}

/// A Transformer's encoder block over an embedding that is also the head.
fn encoder() -> Graph {
    const WIDTH: usize = 64;
    let mut net = Network::new("encoder");
    let ids = net.input("ids", DType::I64, &[Dim::symbolic("N"), 6.into()]);
    let mask = net.input("mask", DType::F32, &[Dim::symbolic("N"), 1.into(), 1.into(), 6.into()]);
    let table = net.weight("table", &[40, WIDTH], 0.5);
    let gather = Op::Indexing(Indexing::Gather { axis: 0, batch_dims: 0 });
    let tokens = net.node("tokens", gather, &[table, ids]);
    let positions = net.weight("positions", &[6, WIDTH], 0.3);
    let x = net.node("x", binary(BinaryKind::Add), &[tokens, positions]);
    let layer = |net: &mut Network, name: &str, x: ValueId| {
        let scale = net.weight(&format!("{name}.scale"), &[WIDTH], 1.0);
        let bias = net.weight(&format!("{name}.bias"), &[WIDTH], 0.1);
        let norm = Op::Normalize(Normalize::Layer { axis: -1, epsilon: 1e-5, stash_type: 1 });
        net.node(name, norm, &[x, scale, bias])
    };
    let product = |net: &mut Network, name: &str, x: ValueId, shape: [usize; 2]| {
        let w = net.weight(&format!("{name}.weight"), &shape, 0.12);
        let b = net.weight(&format!("{name}.bias"), &[shape[1]], 0.1);
        let y = net.node(&format!("{name}.product"), Op::MatMul, &[x, w]);
        net.node(name, binary(BinaryKind::Add), &[y, b])
    };
    let normed = layer(&mut net, "norm1", x);
    let heads = net.integers("heads", &[0, 6, 2, 32]);
    let head = |net: &mut Network, name: &str, permutation: &[usize]| {
        let y = product(net, name, normed, [WIDTH, WIDTH]);
        let y = net.node(&format!("{name}.heads"), Op::Reshape, &[y, heads]);
        net.node(&format!("{name}.turned"), Op::Transpose { permutation: permutation.to_vec() }, &[y])
    };
    let q = head(&mut net, "q", &[0, 2, 1, 3]);
    let k = head(&mut net, "k", &[0, 2, 3, 1]);
    let v = head(&mut net, "v", &[0, 2, 1, 3]);
    let scores = net.node("scores", Op::MatMul, &[q, k]);
    let root = net.editor.add_constant("root", Tensor::scalar(0.176_776_7f32)).unwrap();
    let scaled = net.node("scaled", binary(BinaryKind::Mul), &[scores, root]);
    let masked = net.node("masked", binary(BinaryKind::Add), &[scaled, mask]);
    let softmax = Op::Scanning(Scanning::Softmax { axis: -1, flatten: false, beta: 1.0 });
    let weights = net.node("weights", softmax, &[masked]);
    let mixed = net.node("mixed", Op::MatMul, &[weights, v]);
    let mixed = net.node("mixed.turned", Op::Transpose { permutation: vec![0, 2, 1, 3] }, &[mixed]);
    let whole = net.integers("whole", &[0, 6, WIDTH as i64]);
    let mixed = net.node("mixed.whole", Op::Reshape, &[mixed, whole]);
    let mixed = product(&mut net, "out", mixed, [WIDTH, WIDTH]);
    let x = net.node("residual1", binary(BinaryKind::Add), &[x, mixed]);
    let normed = layer(&mut net, "norm2", x);
    let hidden = product(&mut net, "up", normed, [WIDTH, 128]);
    let gelu = net.node("gelu", Op::Unary(UnaryKind::Gelu { approximate: String::from("none") }), &[hidden]);
    let down = product(&mut net, "down", gelu, [128, WIDTH]);
    let x = net.node("residual2", binary(BinaryKind::Add), &[x, down]);
    let x = layer(&mut net, "norm3", x);
    let axes = net.integers("axes", &[1]);
    let mean = Op::Reduce(Reduce::Mean { keepdims: false, noop_with_empty_axes: false });
    let mean = net.node("mean", mean, &[x, axes]);
    let logits = net.node("logits", gemm(true, Activation::None), &[mean, table]);
    net.done(logits)
}

/// A bidirectional LSTM with a classifier.
fn recurrent() -> Graph {
    let mut net = Network::new("recurrent");
    let x = net.input("x", DType::F32, &[5.into(), Dim::symbolic("N"), 40.into()]);
    let (w, r) = (net.weight("w", &[2, 64, 40], 0.3), net.weight("r", &[2, 64, 16], 0.3));
    let b = net.weight("b", &[2, 128], 0.1);
    let lstm = Op::Recurrent(Recurrent::Lstm {
        activation_alpha: vec![],
        activation_beta: vec![],
        activations: vec![],
        clip: None,
        direction: String::from("bidirectional"),
        hidden_size: Some(16),
        input_forget: false,
        layout: 0,
    });
    let ty = || TensorType::unranked(DType::F32);
    let outputs = vec![(String::from("states"), ty()), (String::from("last"), ty())];
    let last =
        net.editor.add_typed_node("lstm", lstm, &[Some(x), Some(w), Some(r), Some(b)], outputs).unwrap()[1];
    let turned = net.node("turned", Op::Transpose { permutation: vec![1, 0, 2] }, &[last]);
    let shape = net.integers("shape", &[-1, 32]);
    let flat = net.node("flat", Op::Reshape, &[turned, shape]);
    let (w, b) = (net.weight("fc.weight", &[4, 32], 0.4), net.weight("fc.bias", &[4], 0.2));
    let logits = net.node("logits", gemm(true, Activation::None), &[flat, w, b]);
    net.done(logits)
}

/// A batch of inputs for a graph.
fn batch(graph: &Graph, stream: &str, samples: usize) -> Batch {
    let mut random = Random::new(3, stream);
    let inputs = graph.inputs().iter().map(|&id| {
        let value = graph.value(id);
        let shape: Vec<usize> =
            value.ty.shape.iter().flatten().map(|dim| dim.known().unwrap_or(samples)).collect();
        let count: usize = shape.iter().product();
        let tensor = match (value.ty.dtype, value.name.as_str()) {
            (DType::I64, _) => {
                Tensor::from_vec(shape, (0..count).map(|_| (random.uniform_f64() * 40.0) as i64).collect())
            }
            (_, "mask") => {
                let hidden = |index: usize| if index % 6 == 5 && index % 4 == 1 { -1e9f32 } else { 0.0 };
                Tensor::from_vec(shape, (0..count).map(hidden).collect())
            }
            _ => Tensor::from_vec(shape, (0..count).map(|_| random.normal_f64() as f32).collect()),
        };
        (value.name.clone(), tensor.unwrap())
    });
    inputs.collect()
}

fn run(graph: &Graph, batch: &Batch) -> Result<Vec<f32>, calipers_runtime::Error> {
    let mut session = Session::new(graph.clone(), SessionOptions::default())?;
    let inputs: Vec<(&str, Tensor)> =
        batch.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
    Ok(session.run(&inputs, &mut ())?[0].as_f32().unwrap().into_owned())
}

fn recipes() -> Vec<(String, Recipe)> {
    let mut recipes: Vec<(String, Recipe)> = PRECISIONS
        .iter()
        .map(|(name, _)| ((*name).to_owned(), Recipe::of_precision(name).unwrap()))
        .collect();
    let of = |weight| Recipe { default: Treatment::WeightOnly(weight), ..Recipe::default() };
    let asymmetric = WeightScheme { symmetric: false, ..WeightScheme::four_bits() };
    let whole = WeightScheme { granularity: Granularity::PerTensor, ..WeightScheme::default() };
    let fixed = |dtype, weight| {
        let activation = ActivationScheme { dtype, ..ActivationScheme::default() };
        Recipe { default: Treatment::Static(Scheme { activation, weight }), ..Recipe::default() }
    };
    let eight = WeightScheme::default();
    let unsigned = WeightScheme { dtype: WeightType::U8, ..eight };
    recipes.push((String::from("w8a8-signed"), fixed(ActivationType::I8, eight)));
    recipes.push((String::from("w8a16-signed"), fixed(ActivationType::I16, eight)));
    recipes.push((String::from("w8a8-unsigned-weights"), fixed(ActivationType::U8, unsigned)));
    let uneven = WeightScheme { symmetric: false, ..eight };
    recipes.push((String::from("w8a8-asymmetric-weights"), fixed(ActivationType::U8, uneven)));
    let dynamic = |weight| Recipe { default: Treatment::Dynamic(weight), ..Recipe::default() };
    recipes.push((
        String::from("w8a8-dynamic-unsigned"),
        dynamic(WeightScheme { symmetric: false, ..unsigned }),
    ));
    recipes.push((String::from("w4-asymmetric"), of(asymmetric)));
    recipes.push((String::from("w8-per-tensor"), of(whole)));
    recipes
}

fn quantized(graph: &Graph, recipe: &Recipe) -> Quantized {
    let batches = (0..8).map(|index| batch(graph, &format!("calibration {index}"), 24));
    let result = quantize(graph, batches, recipe, &CalibrationOptions::default(), |_| {});
    result.unwrap_or_else(|error| panic!("{}: {error}", graph.name()))
}

/// Ten times the logarithm of signal over noise.
fn decibels(real: &[f32], other: &[f32]) -> f64 {
    let power = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let noise = power(&mut real.iter().zip(other).map(|(&a, &b)| f64::from(a) - f64::from(b)));
    10.0 * (power(&mut real.iter().map(|&x| f64::from(x))) / noise.max(1e-30)).log10()
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    nodes: BTreeMap<String, usize>,
    error: Option<String>,
}

#[test]
#[ignore = "needs a Python with onnx and onnxruntime"]
fn onnx_runtime_agrees_in_every_precision() {
    let Some(python) = std::env::var_os("CALIPERS_ONNXRUNTIME_PYTHON") else {
        println!(
            "left out: precisions in ONNX Runtime; set CALIPERS_ONNXRUNTIME_PYTHON to a Python with onnxruntime"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (mut cases, mut results) = (Vec::new(), Vec::new());
    for graph in [convolutions(), encoder(), recurrent()] {
        let test = batch(&graph, "test", 16);
        let mut inputs = Vec::new();
        for (name, tensor) in &test {
            let file = format!("{}.{name}.in", graph.name());
            fs::write(folder.path().join(&file), tensor.bytes()).unwrap();
            let ty = if tensor.dtype() == DType::I64 { "int64" } else { "float32" };
            inputs.push(serde_json::json!({"name": name, "file": file, "type": ty, "shape": tensor.shape()}));
        }
        for (precision, recipe) in recipes() {
            let result = quantized(&graph, &recipe);
            let name = format!("{}.{precision}", graph.name());
            onnx::write(&Model::new(result.graph.clone()), folder.path().join(format!("{name}.onnx")))
                .unwrap();
            cases.push(serde_json::json!({"name": name, "inputs": inputs}));
            results.push((name, precision, result, test.clone()));
        }
    }
    fs::write(folder.path().join("cases.json"), serde_json::to_string(&cases).unwrap()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemes.py");
    let answer = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let answers: BTreeMap<String, Answer> = serde_json::from_slice(&answer.stdout).unwrap();

    let mut failures = Vec::new();
    for (name, precision, result, test) in &results {
        let answer = &answers[name];
        if let Some(error) = &answer.error {
            failures.push(format!("{name}: ONNX Runtime: {error}"));
            continue;
        }
        let theirs: Vec<f32> = bytemuck::allocation::pod_collect_to_vec(
            &fs::read(folder.path().join(format!("{name}.out"))).unwrap(),
        );
        let real = run(&result.float, test).unwrap();
        let ours = match run(&result.graph, test) {
            Ok(ours) => ours,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        let (quality, agreement) = (decibels(&real, &theirs), decibels(&theirs, &ours));
        println!(
            "{name}: {quality:.1} dB to float, {agreement:.1} dB between runtimes, weights {:.2}, macs {:.2}; {:?}",
            result.summary.share_of_weights(),
            result.summary.share_of_macs(),
            answer.nodes
        );
        let least = match precision.as_str() {
            "w8" | "w8a16" | "w8a16-signed" => 35.0,
            name if name.starts_with("w8") => 22.0,
            _ => 10.0,
        };
        // Where both compute in float they differ by rounding; between integers a step may differ here and there.
        let same = match precision.as_str() {
            "w8" | "w4" | "w4-asymmetric" | "w8-per-tensor" => 90.0,
            "w8a16" | "w8a16-signed" | "w4a16" => 60.0,
            _ => 35.0,
        };
        if ours.len() != theirs.len() || quality < least || agreement < same {
            failures.push(format!("{name}: {quality:.1} dB to float, {agreement:.1} dB between runtimes"));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), results.len(), failures.join("\n"));
}

/// What became of the nodes, by kind of placement.
fn placements(graph: &Graph, precision: &str) -> BTreeMap<&'static str, Vec<String>> {
    let result = quantized(graph, &Recipe::of_precision(precision).unwrap());
    let mut placements: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for (name, node) in &result.assignment.nodes {
        let kind = match node.placement {
            Placement::Float { .. } => "float",
            Placement::Quantized { .. } => "quantized",
            Placement::Dynamic { .. } => "dynamic",
            Placement::WeightOnly { .. } => "weight only",
        };
        placements.entry(kind).or_default().push(name.clone());
    }
    placements
}

#[test]
fn what_a_transformer_keeps_in_float() {
    let placements = placements(&encoder(), "w8a8");
    // Normalizations and softmax, and the cheap operators that they alone read.
    assert_eq!(
        placements["float"],
        [
            "x",
            "norm1",
            "scaled",
            "masked",
            "weights",
            "out",
            "residual1",
            "norm2",
            "up",
            "gelu",
            "down",
            "residual2",
            "norm3"
        ]
    );
    assert_eq!(placements["weight only"], ["tokens"]);
    assert!(placements["quantized"].contains(&String::from("scores")));
    assert!(placements["quantized"].contains(&String::from("mixed")));
}

#[test]
fn a_tied_table_is_stored_once() {
    let graph = encoder();
    for precision in ["w8", "w8a8"] {
        let result = quantized(&graph, &Recipe::of_precision(precision).unwrap());
        let copies = result.graph.constants().iter().filter(|(id, tensor)| {
            result.graph.value(**id).name.starts_with("table") && tensor.len() == 40 * 64
        });
        assert_eq!(copies.count(), 1, "{precision}");
        assert_eq!(result.assignment.notes, Vec::<String>::new(), "{precision}");
    }
}

#[test]
fn every_choice_of_an_observer_is_explained() {
    let result = quantized(&convolutions(), &Recipe::default());
    let mut winners = std::collections::BTreeSet::new();
    for (name, value) in &result.assignment.values {
        let calipers_quant::ValueAssignment::Own(chosen) = value else { continue };
        assert!(!chosen.candidates.is_empty(), "{name}");
        let least = chosen.candidates.iter().map(|candidate| candidate.error).fold(f64::INFINITY, f64::min);
        let winner = chosen.candidates.iter().find(|candidate| candidate.error == least).unwrap();
        assert_eq!((winner.observer, winner.range), (chosen.observer, chosen.range), "{name}");
        assert!(least.is_finite() && least > 0.0, "{name}: {least}");
        winners.insert(chosen.observer.to_string());
    }
    assert!(winners.len() > 1, "{winners:?}");
}
