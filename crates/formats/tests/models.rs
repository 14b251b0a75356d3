//! Files that the `onnx` package wrote are read, written, and read as the same model.

use std::path::{Path, PathBuf};

use calipers_formats::onnx;

fn models() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 7, "found only {paths:?}");
    paths
}

#[test]
fn files_read_write_and_read_equal() {
    let folder = tempfile::tempdir().unwrap();
    for path in models() {
        let model = onnx::read(&path).unwrap();
        let copy = folder.path().join("copy.onnx");
        onnx::write(&model, &copy).unwrap();
        assert_eq!(onnx::read(&copy).unwrap(), model, "{}", path.display());
        assert_eq!(onnx::parse(std::fs::read(&copy).unwrap().into()).unwrap(), model);
    }
}
