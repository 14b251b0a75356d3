//! Weights of files that others and we wrote, held against the float weights that they were made from.

use std::path::{Path, PathBuf};

use calipers_inspect::Role;
use calipers_ir::{Model, Tensor};
use calipers_models::{Options, resnet8};
use calipers_quant::{CalibrationOptions, Quantized, Recipe, quantize};
use calipers_workers::protocol::StoredTensor;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::{Stored, StoredWeight, of_answer, of_model_file};
use crate::weights::of_graph;

fn quantized(precision: &str, file: &Path) -> Quantized {
    let graph = resnet8(&Options::default(), 5).unwrap();
    let image = (0..3072).map(|index| (index * 31 % 97) as f32 / 48.0 - 1.0).collect::<Vec<f32>>();
    let batch = vec![(String::from("input"), Tensor::from_vec([1, 3, 32, 32], image).unwrap())];
    let recipe = Recipe::of_precision(precision).unwrap();
    let made = quantize(&graph, [batch], &recipe, &CalibrationOptions::default(), |_| {}).unwrap();
    calipers_formats::onnx::write(&Model::new(made.graph.clone()), file).unwrap();
    made
}

/// The weights, smaller shapes first.
fn weights(stored: &[Stored]) -> Vec<(&Stored, &StoredWeight)> {
    let weights = stored.iter().filter_map(|tensor| Some((tensor, tensor.weight.as_ref()?)));
    let mut weights: Vec<_> = weights.collect();
    weights.sort_by_key(|(_, weight)| weight.shape.clone());
    weights
}

#[test]
fn integers_of_our_files_stand_for_the_folded_weights() {
    let folder = tempfile::tempdir().unwrap();
    for (precision, dtype) in [("w8a8", "i8"), ("w8a8-dynamic", "u8"), ("w8", "i8"), ("w4", "i4")] {
        let file = folder.path().join(format!("{precision}.onnx"));
        let made = quantized(precision, &file);
        let stored = of_model_file(&file).unwrap();
        let weights = weights(&stored);
        assert_eq!(weights.len(), 10, "{precision}");
        let mut types: Vec<&str> = weights.iter().map(|(tensor, _)| tensor.dtype.as_str()).collect();
        types.dedup();
        assert!(types.contains(&dtype), "{precision}: {types:?}");
        for (tensor, weight) in weights {
            let name = tensor.initializer.as_deref().unwrap();
            let float = &of_graph(&made.float)[name];
            let bits: u64 = tensor.dtype[1..].parse().unwrap();
            assert_eq!(
                (tensor.elements, tensor.bytes),
                (float.elements.len() as u64, (tensor.elements * bits).div_ceil(8))
            );
            let placements = made.assignment.nodes.values().map(|node| &node.placement);
            let mut constants = placements.flat_map(|placement| placement.constants());
            let parameters = &constants.find(|constant| constant.name == name).unwrap().parameters;
            let step = parameters.scale.iter().copied().fold(0.0, f32::max);
            let integers = weight.integers.as_ref().unwrap();
            let is_turned = weight.shape != float.shape;
            assert!(!is_turned || name == "fc.weight" && precision == "w8a8-dynamic", "{precision} {name}");
            for (index, real) in weight.real.iter().enumerate() {
                let at = if is_turned { index % 10 * 64 + index / 10 } else { index };
                // Ranges of 4 bits are clipped.
                let is_clipped = bits == 4 && [-8, -7, 7].contains(&integers[index]);
                let off = (real - float.elements[at]).abs();
                assert!(is_clipped || off <= step * 0.501, "{precision} {name} {index}: {off} of {step}");
            }
        }
        let sum: u64 = stored.iter().map(|tensor| tensor.bytes).sum();
        assert!(sum < std::fs::metadata(&file).unwrap().len());
        let of = |role| stored.iter().filter(|tensor| tensor.role == Some(role)).count();
        assert!(of(Role::Scale) > 0, "{precision}");
    }
}

fn tflite(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tflite").join(name)
}

// The network of make_models.py: 3 x 3 x 3 -> 4, depthwise 2 x 2 on 4 x 2, 2 x 2 x 8 -> 40.
#[test]
fn tflite_weights_come_in_the_layout_of_onnx() {
    let path = tflite("buffers_outside.tflite");
    let stored = of_model_file(&path).unwrap();
    let float = weights(&stored);
    let shapes: Vec<&[usize]> = float.iter().map(|(_, weight)| weight.shape.as_slice()).collect();
    assert_eq!(shapes, [&[4, 3, 3, 3][..], &[8, 1, 2, 2], &[40, 8, 2, 2]]);
    let bytes = std::fs::read(&path).unwrap();
    let holds = |numbers: Vec<f32>| {
        let wanted: Vec<u8> = numbers.into_iter().flat_map(f32::to_le_bytes).collect();
        bytes.windows(wanted.len()).any(|window| window == wanted)
    };
    // The file has [outputs, height, width, inputs], and [1, height, width, channels] of the depthwise one.
    let of = |layer: usize, at: usize| float[layer].1.real[at];
    let last = (0..40 * 4 * 8).map(|at| of(2, (at / 32 * 8 + at % 8) * 4 + at / 8 % 4)).collect();
    let depthwise = (0..4 * 8).map(|at| of(1, at % 8 * 4 + at / 8)).collect();
    assert!(holds(last) && holds(depthwise));

    for (name, types) in [
        ("int8.tflite", ["i8", "i8", "i8"]),
        ("int16x8.tflite", ["i8", "i8", "i8"]),
        ("dynamic_range.tflite", ["f32", "f32", "i8"]),
        ("float16.tflite", ["f16", "f16", "f16"]),
    ] {
        let stored = of_model_file(&tflite(name)).unwrap();
        let made = weights(&stored);
        let found: Vec<&str> = made.iter().map(|(tensor, _)| tensor.dtype.as_str()).collect();
        assert_eq!(found, types, "{name}");
        for ((tensor, made), (_, float)) in made.iter().zip(&float) {
            assert_eq!(made.shape, float.shape, "{name}");
            assert_eq!(made.integers.is_some(), tensor.dtype == "i8");
            let largest = float.real.iter().fold(0.0f32, |most, value| most.max(value.abs()));
            for (made, float) in made.real.iter().zip(&float.real) {
                // Half a step of 127, which is more than half precision loses.
                assert!((made - float).abs() <= largest / 127.0 * 0.501, "{name}: {made} for {float}");
            }
        }
    }
}

#[test]
fn the_answer_of_a_worker_is_read_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights");
    let integers = [255u8, 1, 2, 3];
    let real: Vec<u8> = [-0.5f32, 0.5, 1.0, 1.5].into_iter().flat_map(f32::to_le_bytes).collect();
    let write = |with_real: bool| {
        let mut views = vec![("w", TensorView::new(Dtype::I8, vec![2, 2], &integers).unwrap())];
        if with_real {
            views.push(("w/real", TensorView::new(Dtype::F32, vec![2, 2], &real).unwrap()));
        }
        std::fs::write(&file, safetensors::serialize(views, None).unwrap()).unwrap();
    };
    let tensor = |name: &str, dtype: &str, shape: &[u64], bytes| StoredTensor {
        name: name.to_owned(),
        initializer: (name == "w").then(|| String::from("fc.weight")),
        dtype: dtype.to_owned(),
        shape: shape.to_vec(),
        bytes,
    };
    let answer = [tensor("w", "int4", &[2, 2], 2), tensor("w.scale", "float32", &[2], 8)];
    write(true);
    let stored = of_answer(&answer, &file).unwrap();
    assert_eq!((stored[0].dtype.as_str(), stored[0].elements, stored[0].bytes), ("i4", 4, 2));
    assert_eq!(stored[0].initializer.as_deref(), Some("fc.weight"));
    let weight = stored[0].weight.as_ref().unwrap();
    assert_eq!(weight.integers.as_deref(), Some(&[-1, 1, 2, 3][..]));
    assert_eq!(weight.real, [-0.5, 0.5, 1.0, 1.5]);
    assert_eq!(
        (stored[1].role, &stored[1].weight, stored[1].dtype.as_str()),
        (Some(Role::Scale), &None, "f32")
    );

    // Integers that stand for nothing but themselves, such as a shape, are no weight.
    write(false);
    assert_eq!(of_answer(&answer, &file).unwrap()[0].weight, None);
    let lacking = [tensor("v", "int4", &[2, 2], 2)];
    let message = of_answer(&lacking, &file).unwrap_err().to_string();
    assert!(message.contains("tensor `v`") && message.contains("found nothing"), "{message}");
}
