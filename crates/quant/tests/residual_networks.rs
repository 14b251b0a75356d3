//! Quantized residual networks: the whole way from a float graph to integers, and ONNX Runtime on the same file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use calipers_formats::onnx;
use calipers_ir::{Graph, GraphEditor, Model, Op, Tensor};
use calipers_models::{Options, resnet8, resnet18};
use calipers_quant::{
    ActivationScheme, ActivationType, CalibrationOptions, Document, Quantized, Recipe, Scheme, Treatment,
    quantize,
};
use calipers_random::Random;
use calipers_runtime::{Session, SessionOptions};

const PIXELS: usize = 3 * 32 * 32;

fn images(stream: &str, count: usize) -> Tensor {
    let mut generator = Random::new(5, stream);
    let pixels = (0..count * PIXELS).map(|_| generator.normal_f64() as f32).collect();
    Tensor::from_vec([count, 3, 32, 32], pixels).unwrap()
}

/// The same network with BatchNorms that do something.
fn with_statistics(graph: &Graph) -> Graph {
    let mut generator = Random::new(9, "statistics");
    let mut editor = GraphEditor::edit(graph);
    for node in graph.nodes() {
        if let Op::BatchNormalization(_) = node.op {
            for (index, (center, spread)) in
                [(1.0, 0.3), (0.0, 0.3), (0.0, 0.5), (1.5, 0.4)].into_iter().enumerate()
            {
                let id = node.input(index + 1).unwrap();
                let count = graph.constant(id).unwrap().len();
                let drawn = (0..count)
                    .map(|_| (center + spread * (generator.uniform_f64() * 2.0 - 1.0)) as f32)
                    .collect();
                editor.set_constant(id, Tensor::from_vec([count], drawn).unwrap());
            }
        }
    }
    editor.build().unwrap()
}

fn small() -> Graph {
    with_statistics(&resnet8(&Options::default(), 3).unwrap())
}

fn quantized(graph: &Graph, recipe: &Recipe) -> Quantized {
    let batches = (0..4).map(|index| images(&format!("calibration {index}"), 16));
    let batches = batches.map(|images| vec![(String::from("input"), images)]);
    quantize(graph, batches, recipe, &CalibrationOptions::default().with_threads(2), |_| {}).unwrap()
}

fn run(graph: &Graph, images: &Tensor, threads: usize) -> Vec<f32> {
    let mut session = Session::new(graph.clone(), SessionOptions::default().with_threads(threads)).unwrap();
    let outputs = session.run(&[("input", images.clone())], &mut ()).unwrap();
    outputs[0].as_f32().unwrap().into_owned()
}

fn top1(logits: &[f32]) -> Vec<usize> {
    let best =
        |row: &[f32]| (0..row.len()).fold(0, |best, index| if row[index] > row[best] { index } else { best });
    logits.chunks(10).map(best).collect()
}

fn recipe(dtype: ActivationType, symmetric: bool) -> Recipe {
    let activation = ActivationScheme { dtype, symmetric, ..ActivationScheme::default() };
    let scheme = Scheme { activation, ..Scheme::default() };
    Recipe { default: Treatment::Static(scheme), ..Recipe::default() }
}

#[test]
fn everything_is_quantized_and_close_to_float() {
    let result = quantized(&small(), &Recipe::default());
    assert_eq!(result.summary.float, []);
    assert_eq!(result.summary.share_of_weights(), 1.0);
    assert_eq!(result.table.samples, 64);
    assert_eq!(result.notes, []);
    let test = images("test", 64);
    let (float, integer) = (run(&result.float, &test, 2), run(&result.graph, &test, 2));
    let power = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let signal = power(&mut float.iter().map(|&x| f64::from(x)));
    let noise = power(&mut float.iter().zip(&integer).map(|(&a, &b)| f64::from(a) - f64::from(b)));
    let decibels = 10.0 * (signal / noise).log10();
    assert!(decibels > 20.0, "{decibels} dB");
}

#[test]
fn the_same_data_gives_the_same_decision() {
    let (one, two) = (quantized(&small(), &Recipe::default()), quantized(&small(), &Recipe::default()));
    assert_eq!(one.assignment.to_json().unwrap(), two.assignment.to_json().unwrap());
    assert_eq!(one.graph, two.graph);
}

#[test]
fn onnx_runtime_agrees_on_the_same_file() {
    let Some(python) = std::env::var_os("CALIPERS_ONNXRUNTIME_PYTHON") else {
        println!(
            "left out: comparison with ONNX Runtime; set CALIPERS_ONNXRUNTIME_PYTHON to a Python with \
             onnxruntime and onnx"
        );
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run_onnx.py");
    let folder = tempfile::tempdir().unwrap();
    let (file, input, output) =
        (folder.path().join("m.onnx"), folder.path().join("in"), folder.path().join("out"));
    // As in the paper: no BatchNorm, and a max pool that shares its parameters.
    let large = resnet18(&Options { batch_norm: false, ..Options::default() }, 4).unwrap();
    for (graph, count, convolutions, dtype, symmetric) in [
        (small(), 400, 9, ActivationType::U8, false),
        (small(), 400, 9, ActivationType::I8, false),
        (small(), 400, 9, ActivationType::I8, true),
        (large, 20, 20, ActivationType::U8, false),
    ] {
        let test = images("test", count);
        fs::write(&input, test.bytes()).unwrap();
        let result = quantized(&graph, &recipe(dtype, symmetric));
        onnx::write(&Model::new(result.graph.clone()), &file).unwrap();
        let answer = Command::new(&python)
            .arg(&script)
            .args([&file, &input, &output])
            .args([count, 3, 32, 32].map(|extent| extent.to_string()))
            .output()
            .unwrap();
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        let nodes: BTreeMap<String, usize> = serde_json::from_slice(&answer.stdout).unwrap();
        let theirs: Vec<f32> = bytemuck::allocation::pod_collect_to_vec(&fs::read(&output).unwrap());
        let ours = run(&result.graph, &test, 2);

        let step = result.assignment.parameters("logits").unwrap().scale[0];
        let differences: Vec<f32> =
            ours.iter().zip(&theirs).map(|(a, b)| ((a - b) / step).abs().round()).collect();
        let differing = differences.iter().filter(|&&steps| steps > 0.0).count();
        let most = differences.iter().copied().fold(0.0, f32::max);
        let agreeing = top1(&ours).iter().zip(top1(&theirs)).filter(|(a, b)| *a == b).count();
        println!(
            "{}, {dtype:?}, symmetric {symmetric}: {agreeing} of {count} agree, {differing} of {} logits differ, by at \
             most {most} steps; {nodes:?}",
            graph.name(),
            ours.len()
        );
        assert!(
            top1(&ours).iter().any(|class| *class != top1(&ours)[0]),
            "one class for all compares nothing"
        );
        assert!(agreeing * 1000 >= count * 995);
        assert!(most <= 2.0);
        // For i8, ONNX Runtime forms no integer operators around a Relu, and computes those layers in f32.
        if dtype == ActivationType::U8 {
            let float = ["Conv", "Gemm", "Add", "Relu", "GlobalAveragePool"];
            assert!(float.iter().all(|op| !nodes.contains_key(*op)), "{nodes:?}");
            assert_eq!(nodes.get("QLinearConv"), Some(&convolutions), "{nodes:?}");
            assert_eq!(ours, theirs);
        }
    }
}
