//! A planted fault is found, and models of another layout are aligned.

use std::path::{Path, PathBuf};

use calipers_data::Normalization;
use calipers_data::samples::{OpenOptions, Opened};
use calipers_data::shapes10;
use calipers_inspect::compare::{
    Comparison, ComparisonOptions, How, Permutation, TextOptions, compare, text,
};
use calipers_inspect::dump::write_npy;
use calipers_inspect::{Format, OpenedModel, Side, model_inputs};
use calipers_ir::{Graph, GraphEditor, Model, Tensor};
use calipers_models::{Options, resnet8};
use calipers_quant::{CalibrationOptions, ObserverKind, Quantized, Recipe, quantize};

const IMAGES: usize = 12;

fn model(name: &str, graph: Graph) -> OpenedModel {
    OpenedModel { path: PathBuf::from(name), format: Format::Onnx, bytes: 0, model: Model::new(graph) }
}

/// Images of shapes10 as an array in a file.
fn images(folder: &Path) -> (PathBuf, Tensor) {
    let config = shapes10::Config { seed: 1, train: 20, test: 10 };
    let splits = shapes10::generate(config).expect("shapes");
    let normalization =
        Normalization::from_statistics(&splits.train.channel_statistics()).expect("statistics");
    let table = normalization.table();
    let shape = splits.train.shape();
    let mut numbers = Vec::new();
    for image in 0..IMAGES {
        for (index, &pixel) in splits.train.image(image).iter().enumerate() {
            numbers.push(table[index / shape.plane() * 256 + usize::from(pixel)]);
        }
    }
    let tensor =
        Tensor::from_vec([IMAGES, shape.channels, shape.height, shape.width], numbers).expect("a tensor");
    let path = folder.join("images.npy");
    write_npy(&path, &tensor).expect("writes");
    (path, tensor)
}

fn data(path: &Path, model: &OpenedModel) -> Opened {
    let inputs = model_inputs(model).expect("inputs");
    calipers_data::samples::open(path, &inputs, &OpenOptions::default()).expect("opens")
}

fn compared(a: &OpenedModel, b: &OpenedModel, path: (&Path, &Path)) -> Comparison {
    let (first, second) = (data(path.0, a), data(path.1, b));
    let options = ComparisonOptions { batch: 4, threads: 1, restored: 8 };
    let all: Vec<usize> = (0..first.samples.len()).collect();
    compare(
        Side { model: a, samples: first.samples.as_ref() },
        Side { model: b, samples: second.samples.as_ref() },
        &all,
        &options,
        &mut |_, _| true,
    )
    .expect("compares")
}

/// The quantized graph with every number of a constant multiplied.
fn with_factor(graph: &Graph, constant: &str, factor: f32) -> Graph {
    let id = graph.value_named(constant).expect("the scale is there");
    let scale = graph.constant(id).expect("a constant");
    let numbers = scale.as_f32().expect("f32").iter().map(|number| factor * number).collect::<Vec<f32>>();
    let mut editor = GraphEditor::edit(graph);
    editor.set_constant(id, Tensor::from_vec(scale.shape(), numbers).expect("a tensor"));
    editor.build().expect("a graph")
}

fn quantized(images: &Tensor) -> (Graph, Quantized) {
    let graph = resnet8(&Options::default(), 3).expect("a graph");
    let input = graph.value(graph.inputs()[0]).name.clone();
    let recipe = Recipe::default().with_observer(ObserverKind::MinMax);
    let batch = vec![(input, images.clone())];
    let found =
        quantize(&graph, [batch], &recipe, &CalibrationOptions::default(), |_| {}).expect("quantizes");
    (graph, found)
}

#[test]
fn a_scale_times_eight_is_the_first_and_the_worst_layer() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, images) = images(folder.path());
    let (float, quantized) = quantized(&images);
    let float = model("float.onnx", float);

    let sound = compared(&float, &model("sound.onnx", quantized.graph.clone()), (&path, &path));
    assert_eq!(sound.diverges_first, None, "{}", text(&sound, &TextOptions::default()));
    assert_eq!(sound.unaligned, Vec::<String>::new());
    assert_eq!((sound.samples, sound.restored), (IMAGES, 8));
    assert_eq!((sound.alignment.order, sound.alignment.permuted), (0, 0));

    let scaled: Vec<(String, String)> = quantized
        .graph
        .constants()
        .keys()
        .filter_map(|&id| {
            let name = quantized.graph.value(id).name.clone();
            let node = name.strip_suffix(".weight_scale")?.to_owned();
            let node = quantized.graph.node_named(&node)?;
            let made = *quantized.graph.node(node).outputs.first()?;
            Some((name, quantized.graph.value(made).name.clone()))
        })
        .collect();
    assert!(scaled.len() > 5, "{scaled:?}");
    // The first, the middle and the last of them.
    for (scale, value) in [0, scaled.len() / 2, scaled.len() - 1].map(|at| scaled[at].clone()) {
        let faulty = model("faulty.onnx", with_factor(&quantized.graph, &scale, 8.0));
        let found = compared(&float, &faulty, (&path, &path));
        let shown = text(&found, &TextOptions::default());
        let value = calipers_inspect::bare_name(&value);
        assert_eq!(found.diverges_first.as_deref(), Some(value), "{scale}\n{shown}");
        assert_eq!(found.layers[0].name, value, "{scale}\n{shown}");
        assert!(found.layers[0].contribution.expect("measured") > 0.5, "{scale}\n{shown}");
    }
}

#[test]
fn the_same_network_with_channels_last_and_other_names_is_aligned_by_order() {
    let first = r#"graph first {
      input %x: f32[N, 2, 3, 3]
      const %w: f32[2, 2, 1, 1] = [1.0, -1.0, 0.5, 2.0]
      const %v: f32[2, 3] = [1.0, 2.0, 3.0, -1.0, 0.5, 0.25]
      node conv %conv: f32[N, 2, 3, 3] = Conv(%x, %w) {strides = [1, 1], pads = [0, 0, 0, 0], activation = "relu"}
      node mean %mean: f32[N, 2, 1, 1] = GlobalAveragePool(%conv)
      node flat %flat: f32[N, 2] = Flatten(%mean)
      node gemm %y: f32[N, 3] = Gemm(%flat, %v)
      output %y
    }"#;
    let second = r#"graph second {
      input %image: f32[N, 3, 3, 2]
      const %a: f32[2, 2, 1, 1] = [1.0, -1.0, 0.5, 2.25]
      const %b: f32[2, 3] = [1.0, 2.0, 3.0, -1.0, 0.5, 0.25]
      node one %one: f32[N, 3, 3, 2] = Conv(%image, %a) {strides = [1, 1], pads = [0, 0, 0, 0], activation = "relu", layout = "nhwc"}
      node two %two: f32[N, 1, 1, 2] = GlobalAveragePool(%one) {layout = "nhwc"}
      node three %three: f32[N, 2] = Flatten(%two)
      node four %four: f32[N, 3] = Gemm(%three, %b)
      output %four
    }"#;
    let parse = |text: &str| calipers_ir::text::parse(text).expect("parses");
    let (a, b) = (model("a.onnx", parse(first)), model("b.tflite", parse(second)));
    let folder = tempfile::tempdir().expect("a folder");
    let paths = (folder.path().join("a.npy"), folder.path().join("b.npy"));
    let numbers: Vec<f32> = (0..36).map(|index| (index as f32 * 0.7).sin()).collect();
    // numpy: x.transpose(0, 2, 3, 1)
    let last: Vec<f32> = (0..36).map(|at| numbers[at / 18 * 18 + at % 2 * 9 + at % 18 / 2]).collect();
    write_npy(&paths.0, &Tensor::from_vec([2, 2, 3, 3], numbers).expect("a tensor")).expect("writes");
    write_npy(&paths.1, &Tensor::from_vec([2, 3, 3, 2], last).expect("a tensor")).expect("writes");
    let found = compared(&a, &b, (&paths.0, &paths.1));
    let shown = text(&found, &TextOptions::default());
    assert!(found.layers.iter().all(|layer| layer.how == How::Order), "{shown}");
    assert_eq!(found.unaligned, Vec::<String>::new(), "{shown}");
    let layer = |name: &str| found.layers.iter().find(|layer| layer.name == name).expect("the layer");
    assert_eq!(
        (layer("one").counterpart.as_str(), layer("one").permutation),
        ("conv", Permutation::ChannelsLast)
    );
    assert_eq!(layer("image").sqnr, None, "{shown}");
    // One weight differs, and all of the error is its layer's.
    assert_eq!(found.layers[0].name, "one", "{shown}");
    assert!((found.layers[0].contribution.expect("measured") - 1.0).abs() < 1e-9, "{shown}");
    assert!(layer("four").contribution.expect("measured").abs() < 1e-9, "{shown}");
}
