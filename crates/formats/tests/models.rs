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
fn constants_beside_the_model_read_back() {
    let folder = tempfile::tempdir().unwrap();
    for (index, path) in graphs::files().into_iter().enumerate() {
        let model = onnx::read(&path).unwrap();
        let copy = folder.path().join(format!("{index}.onnx"));
        onnx::write_with(&model, &copy, onnx::WriteOptions { external_from: Some(16) }).unwrap();
        assert_eq!(onnx::read(&copy).unwrap(), model, "{}", path.display());
        // Writing over the files that the model's constants are mapped from leaves them as they were.
        let mapped = onnx::read(&copy).unwrap();
        onnx::write_with(&mapped, &copy, onnx::WriteOptions { external_from: Some(64) }).unwrap();
        assert_eq!(onnx::read(&copy).unwrap(), mapped);
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
fn every_operator_of_the_files_is_understood() {
    for path in graphs::files() {
        let model = onnx::read(&path).unwrap();
        let kept: Vec<&str> = (model.graph.nodes().iter())
            .filter_map(|node| match &node.op {
                Op::Opaque(opaque) => Some(opaque.op_type.as_str()),
                _ => None,
            })
            .collect();
        assert!(kept.is_empty(), "{}: {kept:?}", path.display());
        assert_eq!(model.metadata["purpose"], "test");
        assert!(model.metadata[onnx::keys::DOC_STRING].starts_with("A test model"));
    }
}
