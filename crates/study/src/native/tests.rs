//! The engine behind the protocol, asked as the study asks it.

use std::path::{Path, PathBuf};

use calipers_ir::{DType, Dim, GraphEditor, Model, Op, Reduce, Tensor, TensorType};
use calipers_models::{Options, resnet8};
use calipers_workers::Command;
use calipers_workers::protocol::{
    AnswerBody, Class, Evaluate, Evaluated, ExecutedOperator, Failure, Hello, Kind, Load, Loaded, Logits,
    Operators, Profile, Profiled, Quantize, Quantized, Question, ReadOperators, ReadWeights, Request,
    SaveFloat, Saved, Time, Timed, TrainSave, Tuning, Variant,
};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::Engine;
use crate::weights;

/// Multiply-accumulates and weights of resnet8 on 32 x 32 pixels, layer by layer: output side squared, kernel elements,
/// input and output channels.
const PRODUCTS: [(u64, u64); 10] = [
    (32 * 32 * 9 * 3 * 16, 9 * 3 * 16),
    (32 * 32 * 9 * 16 * 16, 9 * 16 * 16),
    (32 * 32 * 9 * 16 * 16, 9 * 16 * 16),
    (16 * 16 * 9 * 16 * 32, 9 * 16 * 32),
    (16 * 16 * 9 * 32 * 32, 9 * 32 * 32),
    (16 * 16 * 16 * 32, 16 * 32),
    (8 * 8 * 9 * 32 * 64, 9 * 32 * 64),
    (8 * 8 * 9 * 64 * 64, 9 * 64 * 64),
    (8 * 8 * 32 * 64, 32 * 64),
    (64 * 10, 64 * 10),
];

/// An engine that is asked in lines.
struct Asked(Engine);

impl Asked {
    fn new() -> Asked {
        Asked(Engine { threads: 1, loaded: Default::default(), next: 1 })
    }

    fn ask<C: Command>(&mut self, command: C) -> Result<C::Response, Failure> {
        let line = serde_json::to_string(&Question { id: 1, request: command.into() }).unwrap();
        let mut output = Vec::new();
        let mut handler = |request: Request, reporter: &mut calipers_workers::serve::Reporter<'_>| {
            self.0.answer(request, reporter)
        };
        calipers_workers::serve::serve(line.as_bytes(), &mut output, &mut handler).unwrap();
        let last = String::from_utf8(output).unwrap().lines().last().unwrap().to_owned();
        match serde_json::from_str::<calipers_workers::protocol::Answer>(&last).unwrap().body {
            AnswerBody::Result { value } => Ok(serde_json::from_value(value).unwrap()),
            AnswerBody::Error(failure) => Err(failure),
            AnswerBody::Progress(progress) => panic!("{progress:?}"),
        }
    }

    fn load(&mut self, artefact: &Path, variant: Variant) -> (u64, Vec<ExecutedOperator>) {
        let load = Load {
            path: String::from("native"),
            tuning: Tuning::Default,
            variant,
            model: PathBuf::new(),
            artefact: artefact.to_owned(),
        };
        let Loaded { handle } = self.ask(load).unwrap();
        let Operators { operators } = self.ask(ReadOperators { handle }).unwrap();
        (handle, operators)
    }
}

/// A model file, its weights and a data file of 6 images, in a folder.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn resnet8() -> Files {
        let files = Files { folder: tempfile::tempdir().unwrap() };
        let graph = resnet8(&Options::default(), 7).unwrap();
        weights::write(&files.path("weights"), &weights::of_graph(&graph)).unwrap();
        calipers_formats::onnx::write(&Model::new(graph), files.path("model.onnx")).unwrap();
        let pixels: Vec<u8> = (0..6 * 3072).map(|index: usize| (index * 37 % 251) as u8).collect();
        let table: Vec<u8> =
            (0..768).flat_map(|index| ((index % 256) as f32 / 128.0 - 1.0).to_le_bytes()).collect();
        files.data(&[
            ("images", Dtype::U8, &[6, 3, 32, 32], &pixels),
            ("table", Dtype::F32, &[3, 256], &table),
        ]);
        files
    }

    fn data(&self, tensors: &[(&str, Dtype, &[usize], &[u8])]) {
        let views = tensors.iter().map(|&(name, dtype, shape, bytes)| {
            (name, TensorView::new(dtype, shape.to_vec(), bytes).unwrap())
        });
        std::fs::write(self.path("data"), safetensors::serialize(views, None).unwrap()).unwrap();
    }

    fn quantize(&self, variant: Variant) -> Quantize {
        Quantize {
            path: String::from("native"),
            tuning: Tuning::Default,
            variant,
            model: self.path("model.onnx"),
            weights: Some(self.path("weights")),
            data: self.path("data"),
            batch: 4,
            artefact: self.path("artefact"),
        }
    }

    fn logits(&self, asked: &mut Asked, handle: u64, batch: usize) -> Vec<f32> {
        let evaluate = Evaluate { handle, data: self.path("data"), batch, output: self.path("logits") };
        let Evaluated { seconds } = asked.ask(evaluate).unwrap();
        assert!(seconds > 0.0);
        weights::read_logits(&self.path("logits")).unwrap().2
    }
}

fn products(operators: &[ExecutedOperator]) -> Vec<(u64, u64)> {
    let products = operators.iter().filter(|operator| operator.macs > 0);
    products.map(|operator| (operator.macs, operator.weights)).collect()
}

fn sorted(mut products: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    products.sort_unstable();
    products
}

/// Classes of the products, and the bits of their weights.
fn classes(operators: &[ExecutedOperator]) -> Vec<(Class, u32)> {
    let products = operators.iter().filter(|operator| operator.macs > 0);
    let mut classes: Vec<(Class, u32)> =
        products.map(|operator| (operator.class, operator.weight_bits)).collect();
    classes.dedup();
    classes
}

#[test]
fn variants_run_as_they_say_they_do() {
    let files = Files::resnet8();
    let mut asked = Asked::new();
    asked.ask(Hello { threads: 1 }).unwrap();
    let logits = Logits {
        model: files.path("model.onnx"),
        weights: Some(files.path("weights")),
        data: files.path("data"),
        batch: 4,
        output: files.path("logits"),
    };
    asked.ask(logits).unwrap();
    let (samples, classes_of_float, float) = weights::read_logits(&files.path("logits")).unwrap();
    assert_eq!((samples, classes_of_float), (6, 10));

    let save = SaveFloat {
        path: String::from("native"),
        tuning: Tuning::Default,
        model: files.path("model.onnx"),
        weights: Some(files.path("weights")),
        artefact: files.path("artefact"),
    };
    let Saved { file, file_bytes, .. } = asked.ask(save).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().len(), file_bytes);
    let (handle, operators) = asked.load(&files.path("artefact"), Variant::Float);
    assert_eq!(sorted(products(&operators)), sorted(PRODUCTS.to_vec()));
    assert_eq!(classes(&operators), [(Class::Float, 32)]);
    assert_eq!(files.logits(&mut asked, handle, 6), float);

    for (variant, samples, ran, kinds) in [
        (Variant::PtqStatic, 6, vec![(Class::Integer, 8)], vec![Kind::Conversion]),
        (Variant::PtqDynamic, 0, vec![(Class::Dynamic, 8)], vec![Kind::Conversion]),
        (Variant::WeightOnly, 0, vec![(Class::WeightOnly, 32)], vec![]),
    ] {
        let made: Quantized = asked.ask(files.quantize(variant)).unwrap();
        assert_eq!((made.samples, made.calibrate_seconds > 0.0), (samples, samples > 0), "{variant:?}");
        assert!(made.file_bytes < file_bytes / 2, "{variant:?}: {} of {file_bytes}", made.file_bytes);
        let (command, document) = made.recipe.split_once('\n').unwrap();
        assert!(command.starts_with("# calipers quantize model.onnx"), "{command}");
        let recipe = <calipers_quant::Recipe as calipers_quant::Document>::from_json(document).unwrap();
        assert_eq!(recipe.needs_data(), samples > 0);
        let (handle, operators) = asked.load(&files.path("artefact"), variant);
        assert_eq!(sorted(products(&operators)), sorted(PRODUCTS.to_vec()), "{variant:?}");
        assert_eq!(classes(&operators), ran, "{variant:?}");
        let converts = operators.iter().filter(|operator| operator.class == Class::Convert);
        let mut found: Vec<Kind> = converts.map(|operator| operator.kind).collect();
        found.dedup();
        assert_eq!(found, kinds, "{variant:?}");
        let quantized = files.logits(&mut asked, handle, 4);
        let worst = float.iter().zip(&quantized).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let largest = float.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        assert!(worst > 0.0 && worst < 0.2 * largest, "{variant:?}: {worst} of {largest}");
    }
    let refused = asked.ask(files.quantize(Variant::Qat)).unwrap_err();
    assert_eq!(refused.kind, "Unsupported");
}

#[test]
fn a_profile_accounts_for_the_time_and_the_bytes() {
    let files = Files::resnet8();
    let mut asked = Asked::new();
    asked.ask(files.quantize(Variant::PtqStatic)).unwrap();
    let (handle, _) = asked.load(&files.path("artefact"), Variant::PtqStatic);
    let profile = Profile { handle, data: files.path("data"), samples: 3, count: 4 };
    let Profiled { wall_nanoseconds, operators, .. } = asked.ask(profile).unwrap();
    let sum: f64 = operators.iter().map(|operator| operator.nanoseconds).sum();
    assert!(sum > 0.0 && sum <= wall_nanoseconds, "{sum} of {wall_nanoseconds}");
    // Activations are bytes: the first convolution writes 16 channels of 32 x 32.
    let first = operators.iter().find(|operator| operator.kind == Kind::Convolution).unwrap();
    assert_eq!(first.bytes, Some(16 * 32 * 32), "{first:?}");
    let convolutions: u64 =
        operators.iter().filter(|operator| operator.kind == Kind::Convolution).map(|one| one.calls).sum();
    assert_eq!(convolutions, 9);

    let time =
        |batch, samples| Time { handle, data: files.path("data"), samples, batch, warm_up: 2, count: 5 };
    let Timed { nanoseconds } = asked.ask(time(4, 3)).unwrap();
    assert!(nanoseconds.len() == 5 && nanoseconds.iter().all(|&time| time > 0));
    assert!(asked.ask(time(1, 7)).unwrap_err().message.contains("7 samples asked for, 6 found"));
    let save = TrainSave { trainer: 1, output: files.path("state") };
    assert_eq!(asked.ask(save).unwrap_err().kind, "Unsupported");
    let read = ReadWeights { handle, output: files.path("weights.out") };
    assert_eq!(asked.ask(read).unwrap_err().kind, "Unsupported");
}

/// Rows 3 i, 3 i + 1, 3 i + 2 of a table of 4 rows, for two tokens, plus what a second input holds, times a matrix.
fn two_inputs() -> Model {
    let mut editor = GraphEditor::new("tokens");
    let shape = |dims: &[usize]| dims.iter().map(|&dim| Dim::Known(dim)).collect::<Vec<Dim>>();
    let ty = |dtype, dims: &[usize]| TensorType { dtype, shape: Some(shape(dims)) };
    let tokens = editor.add_input("tokens", ty(DType::I64, &[1, 2])).unwrap();
    let shift = editor.add_input("shift", ty(DType::F32, &[1, 2, 3])).unwrap();
    let table = Tensor::from_vec([4, 3], (0..12).map(|value| value as f32).collect::<Vec<_>>()).unwrap();
    let table = editor.add_constant("table", table).unwrap();
    let gather = Op::Indexing(calipers_ir::Indexing::Gather { axis: 0, batch_dims: 0 });
    let rows = editor.add("rows", gather, &[table, tokens]).unwrap();
    let add = Op::Binary(calipers_ir::BinaryKind::Add, calipers_ir::Activation::None);
    let moved = editor.add("moved", add, &[rows, shift]).unwrap();
    let matrix = Tensor::from_vec([3, 2], vec![1.0f32, 0.0, 0.0, 1.0, 0.0, f32::NEG_INFINITY]).unwrap();
    let matrix = editor.add_constant("matrix", matrix).unwrap();
    let made = editor.add("made", Op::MatMul, &[moved, matrix]).unwrap();
    editor.add_output(made);
    Model::new(editor.build().unwrap())
}

#[test]
fn tokens_of_a_model_of_batch_1_run_sample_by_sample() {
    let files = Files { folder: tempfile::tempdir().unwrap() };
    let model = two_inputs();
    weights::write(&files.path("weights"), &weights::of_graph(&model.graph)).unwrap();
    calipers_formats::onnx::write(&model, files.path("model.onnx")).unwrap();
    let tokens: Vec<u8> = [0i64, 1, 3, 2].into_iter().flat_map(i64::to_le_bytes).collect();
    let shift: Vec<u8> = [0.5f32; 12].into_iter().flat_map(f32::to_le_bytes).collect();
    files.data(&[
        ("input/tokens", Dtype::I64, &[2, 2], &tokens),
        ("input/shift", Dtype::F32, &[2, 2, 3], &shift),
    ]);
    let mut asked = Asked::new();
    // The model's own constant is not finite at one place; so may that of the weights file be.
    let logits = Logits {
        model: files.path("model.onnx"),
        weights: Some(files.path("weights")),
        data: files.path("data"),
        batch: 2,
        output: files.path("logits"),
    };
    asked.ask(logits).unwrap();
    let (samples, width, made) = weights::read_logits(&files.path("logits")).unwrap();
    assert_eq!((samples, width), (2, 4));
    // Column 0 is the row's first element plus a half; column 1 has minus infinity in it.
    let first: Vec<f32> = made.iter().step_by(2).copied().collect();
    assert_eq!(first, [0.5, 3.5, 9.5, 6.5]);
    assert!(made.iter().skip(1).step_by(2).all(|value| *value == f32::NEG_INFINITY));

    let save = SaveFloat {
        path: String::from("native"),
        tuning: Tuning::Default,
        model: files.path("model.onnx"),
        weights: Some(files.path("weights")),
        artefact: files.path("artefact"),
    };
    asked.ask(save).unwrap();
    let (handle, operators) = asked.load(&files.path("artefact"), Variant::Float);
    let seen: Vec<(Kind, u64, u64)> = operators.iter().map(|one| (one.kind, one.macs, one.weights)).collect();
    assert!(
        seen.contains(&(Kind::Embedding, 0, 12)) && seen.contains(&(Kind::MatrixProduct, 12, 6)),
        "{seen:?}"
    );
    let time = Time { handle, data: files.path("data"), samples: 2, batch: 3, warm_up: 0, count: 2 };
    assert_eq!(asked.ask(time).unwrap().nanoseconds.len(), 2);
}

#[test]
fn a_mean_over_height_and_width_is_a_pooling() {
    let kind = |axes: Vec<i64>| {
        let mut editor = GraphEditor::new("means");
        let shape = [1, 3, 4, 5].map(Dim::Known).to_vec();
        let images =
            editor.add_input("images", TensorType { dtype: DType::F32, shape: Some(shape) }).unwrap();
        let axes = editor.add_constant("axes", Tensor::from_vec([2], axes).unwrap()).unwrap();
        let mean = Op::Reduce(Reduce::Mean { keepdims: false, noop_with_empty_axes: false });
        let mean = editor.add("mean", mean, &[images, axes]).unwrap();
        editor.add_output(mean);
        let files = Files { folder: tempfile::tempdir().unwrap() };
        let model = Model::new(editor.build().unwrap());
        calipers_formats::onnx::write(&model, files.path("model.onnx")).unwrap();
        let (_, operators) = Asked::new().load(&files.path(""), Variant::Float);
        let [mean] = &operators[..] else { panic!("{operators:?}") };
        mean.kind
    };
    assert_eq!((kind(vec![-1, 2]), kind(vec![1, 2])), (Kind::Pooling, Kind::Other));
}
