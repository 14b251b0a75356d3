//! Structure and parameter counts against torchvision and MLPerf Tiny; initial values against their definitions.

use std::collections::BTreeMap;

use calipers_ir::{Graph, Op, Tensor};

use super::{ModelError, NAMES, Options, build, resnet8, resnet18};

fn without_batch_norm() -> Options {
    Options { batch_norm: false, ..Options::default() }
}

fn constant<'a>(graph: &'a Graph, name: &str) -> &'a Tensor {
    graph.constant(graph.value_named(name).unwrap()).unwrap()
}

fn f32_of(graph: &Graph, name: &str) -> Vec<f32> {
    constant(graph, name).as_f32().unwrap().into_owned()
}

/// Elements of all constants but the running statistics, which PyTorch counts as buffers.
fn trainable(graph: &Graph) -> usize {
    let running = |name: &str| name.ends_with(".running_mean") || name.ends_with(".running_var");
    let trained = graph.constants().iter().filter(|(id, _)| !running(&graph.value(**id).name));
    trained.map(|(_, tensor)| tensor.len()).sum()
}

// The documentation of torchvision's `resnet18` gives 11,689,512 parameters for 1,000 classes.
#[test]
fn resnet18_has_as_many_parameters_as_torchvision() {
    let full = resnet18(&Options { classes: 1000, batch_norm: true }, 0).unwrap();
    assert_eq!(trainable(&full), 11_689_512);
    // Scale and bias for the 4,800 channels that torchvision normalises.
    let plain = resnet18(&Options { classes: 1000, batch_norm: false }, 0).unwrap();
    assert_eq!(plain.parameter_count(), 11_689_512 - 2 * 4_800);
    let paper = resnet18(&without_batch_norm(), 0).unwrap();
    assert_eq!(paper.parameter_count(), 11_172_042);
    let mebibytes = (4 * paper.parameter_count()) as f64 / f64::from(1 << 20);
    assert_eq!(format!("{mebibytes:.2}"), "42.62");
}

// The training log in MLPerf Tiny's repository: 78,666 parameters, of them 78,186 trainable, by layer as here.
#[test]
fn resnet8_has_as_many_parameters_as_the_benchmark() {
    let graph = resnet8(&Options::default(), 0).unwrap();
    assert_eq!(graph.parameter_count(), 78_666);
    assert_eq!(trainable(&graph), 78_186);
    let mut layers: BTreeMap<&str, usize> = BTreeMap::new();
    for (&id, tensor) in graph.constants() {
        let (layer, _) = graph.value(id).name.rsplit_once('.').unwrap();
        *layers.entry(layer).or_default() += tensor.len();
    }
    let expected = [
        ("conv1", 448),
        ("bn1", 64),
        ("stack1.conv1", 2_320),
        ("stack1.bn1", 64),
        ("stack1.conv2", 2_320),
        ("stack1.bn2", 64),
        ("stack2.conv1", 4_640),
        ("stack2.bn1", 128),
        ("stack2.conv2", 9_248),
        ("stack2.bn2", 128),
        ("stack2.shortcut", 544),
        ("stack3.conv1", 18_496),
        ("stack3.bn1", 256),
        ("stack3.conv2", 36_928),
        ("stack3.bn2", 256),
        ("stack3.shortcut", 2_112),
        ("fc", 650),
    ];
    assert_eq!(layers, BTreeMap::from(expected));
}

#[test]
fn structure() {
    insta::assert_snapshot!("resnet18", resnet18(&without_batch_norm(), 0).unwrap().to_string());
    insta::assert_snapshot!("resnet8", resnet8(&Options::default(), 0).unwrap().to_string());
}

#[test]
fn batch_norm_follows_each_convolution_of_resnet18() {
    let graph = resnet18(&Options::default(), 0).unwrap();
    let convs: Vec<_> = graph.nodes().iter().filter(|node| matches!(node.op, Op::Conv(_))).collect();
    assert_eq!(convs.len(), 20);
    for conv in convs {
        let (_, next) = graph.only_consumer(conv.outputs[0]).unwrap();
        assert!(matches!(next.op, Op::BatchNormalization(_)), "{} feeds {}", conv.name, next.name);
    }
}

#[test]
fn logits_follow_the_number_of_classes() {
    for name in NAMES {
        let graph = build(name, &Options { classes: 7, batch_norm: false }, 1).unwrap();
        let names = |ids: &[calipers_ir::ValueId]| -> Vec<String> {
            ids.iter().map(|&id| format!("{}: {}", graph.value(id).name, graph.value(id).ty)).collect()
        };
        assert_eq!(names(graph.inputs()), ["input: f32[N, 3, 32, 32]"]);
        assert_eq!(names(graph.outputs()), ["logits: f32[N, 7]"]);
    }
}

#[test]
fn what_cannot_be_built_is_refused() {
    assert_eq!(
        build("resnet9", &Options::default(), 0).unwrap_err().to_string(),
        "there is no built-in model `resnet9`; there are: resnet18, resnet8"
    );
    for classes in [0, Options::MOST_CLASSES + 1] {
        let options = Options { classes, batch_norm: true };
        assert_eq!(resnet8(&options, 0).unwrap_err(), ModelError::Classes { found: classes });
    }
}

// Computed outside of this project's code, in Python's floats, from the definitions in `initialize.rs` and
// `calipers-random`.
#[test]
fn initial_values_are_those_of_the_definition() {
    let graph = resnet18(&without_batch_norm(), 7).unwrap();
    let bits = |name: &str| -> Vec<u32> { f32_of(&graph, name)[..4].iter().map(|x| x.to_bits()).collect() };
    assert_eq!(bits("conv1.weight"), [0xbbd7_27cd, 0x3d34_69ab, 0xbc96_3c95, 0xbcb1_fddd]);
    assert_eq!(bits("layer4.1.conv2.weight"), [0x3b84_7168, 0xbc68_3dae, 0x3d17_b35a, 0xbbbb_221c]);
    assert_eq!(bits("fc.bias"), [0xbd24_2ca1, 0x3d0d_b754, 0x3d31_ff54, 0xbc79_e740]);
}

// The same on every platform, so that a result can be repeated on another one.
#[test]
fn all_bits_are_pinned() {
    let hash = |graph: &Graph| {
        let mut hasher = blake3::Hasher::new();
        for (&id, tensor) in graph.constants() {
            hasher.update(graph.value(id).name.as_bytes()).update(&tensor.bytes());
        }
        hasher.finalize().to_hex()[..16].to_owned()
    };
    assert_eq!(hash(&resnet18(&without_batch_norm(), 0).unwrap()), "f99d27d57b295119");
    assert_eq!(hash(&resnet8(&Options::default(), 0).unwrap()), "c455380b576fd682");
}

#[test]
fn a_tensor_depends_on_seed_and_name_alone() {
    let weight = |graph: &Graph, name: &str| f32_of(graph, name);
    let plain = resnet18(&without_batch_norm(), 3).unwrap();
    let normalised = resnet18(&Options { classes: 5, batch_norm: true }, 3).unwrap();
    let other = resnet18(&without_batch_norm(), 4).unwrap();
    let name = "layer3.0.conv2.weight";
    assert_eq!(weight(&plain, name), weight(&normalised, name));
    assert_ne!(weight(&plain, name), weight(&other, name));
    assert_ne!(weight(&plain, name), weight(&plain, "layer3.1.conv2.weight"));
}

// Five deviations of each estimate under the normal distribution: a wrong fan or a bias of the generator is far
// outside.
#[test]
fn convolutions_start_normal_with_the_deviation_of_fan_out() {
    for graph in [resnet18(&Options::default(), 0).unwrap(), resnet8(&Options::default(), 0).unwrap()] {
        let convs = graph.nodes().iter().filter(|node| matches!(node.op, Op::Conv(_)));
        for conv in convs {
            let weight = graph.constant(conv.input(1).unwrap()).unwrap();
            let shape = weight.shape();
            let variance = 2.0 / (shape[0] * shape[2] * shape[3]) as f64;
            let elements = weight.as_f32().unwrap();
            let count = elements.len() as f64;
            let mean = elements.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
            let square = elements.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / count;
            assert!(mean.abs() < 5.0 * (variance / count).sqrt(), "{}: mean {mean}", conv.name);
            let spread = 5.0 * (2.0 / count).sqrt();
            assert!((square / variance - 1.0).abs() < spread, "{}: {square} for {variance}", conv.name);
        }
    }
}

#[test]
fn the_rest_starts_as_documented() {
    let graph = resnet8(&Options::default(), 0).unwrap();
    let all = |name: &str, value: f32| f32_of(&graph, name).iter().all(|&x| x == value);
    assert!(all("stack2.conv1.bias", 0.0) && all("bn1.bias", 0.0) && all("bn1.running_mean", 0.0));
    assert!(all("bn1.weight", 1.0) && all("bn1.running_var", 1.0));
    let weight = f32_of(&graph, "fc.weight");
    let largest = weight.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    assert!((0.115..=0.125).contains(&largest), "{largest} for uniform within 1/8");
}
