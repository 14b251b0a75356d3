//! Models are written and read as the same models, those of the `onnx` package and those built here.

mod graphs;

use calipers_formats::onnx;
use calipers_ir::Op;
use calipers_ir::text::{Constants, to_text};

#[test]
fn files_read_write_and_read_equal() {
    let folder = tempfile::tempdir().unwrap();
    for path in graphs::files() {
        let model = onnx::read(&path).unwrap();
        let copy = folder.path().join("copy.onnx");
        onnx::write(&model, &copy).unwrap();
        assert_eq!(onnx::read(&copy).unwrap(), model, "{}", path.display());
        assert_eq!(onnx::parse(std::fs::read(&copy).unwrap().into()).unwrap(), model);
    }
}

#[test]
fn built_models_read_as_written() {
    for model in graphs::every_operator() {
        let read = onnx::parse(onnx::to_bytes(&model).unwrap().into()).unwrap();
        // Values are numbered in the order of their definition, which the text does not show.
        let text = |graph| to_text(graph, Constants::Whole);
        assert_eq!(text(&read.graph), text(&model.graph));
        assert_eq!((&read.producer, &read.metadata), (&model.producer, &model.metadata));
        let again = onnx::parse(onnx::to_bytes(&read).unwrap().into()).unwrap();
        assert_eq!(again, read);
    }
}

#[test]
fn operators_are_understood_or_kept() {
    for path in graphs::files() {
        let model = onnx::read(&path).unwrap();
        let kept: Vec<&str> = (model.graph.nodes().iter())
            .filter_map(|node| match &node.op {
                Op::Opaque(opaque) => Some(opaque.op_type.as_str()),
                _ => None,
            })
            .collect();
        let expected: &[&str] = match path.file_stem().unwrap().to_str().unwrap() {
            "kept_opset18" => &["HardSigmoid", "Split", "Concat", "GRU"],
            _ => &[],
        };
        assert_eq!(kept, expected, "{}", path.display());
        assert_eq!(model.metadata["purpose"], "test");
        assert!(model.metadata[onnx::keys::DOC_STRING].starts_with("A test model"));
    }
}
