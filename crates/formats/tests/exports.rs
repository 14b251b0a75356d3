//! Networks exported by PyTorch are read; none is taken for a broken file.
//!
//! Needs the folder that the scripts in `testdata/exports` fill, named by `CALIPERS_EXPORTS`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use calipers_formats::onnx::{self, ReadError};
use calipers_ir::{Model, Op};

/// The files of the folder of exports that end in `extension`, where there is one.
fn files(test: &str, extension: &str) -> Option<Vec<PathBuf>> {
    let Some(folder) = std::env::var_os("CALIPERS_EXPORTS") else {
        // Written past the test harness, which would keep it to itself.
        let _ = writeln!(std::io::stderr(), "left out: {test}: CALIPERS_EXPORTS is not set");
        return None;
    };
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no .{extension}", folder.display());
    Some(paths)
}

/// What stands between a file and its being understood.
fn complaint(path: &Path, read: Result<Model, ReadError>) -> Option<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let model = match read {
        Ok(model) => model,
        Err(error) => {
            let broken = matches!(
                error,
                ReadError::Truncated { .. } | ReadError::NotProtobuf { .. } | ReadError::Malformed { .. }
            );
            assert!(!broken, "{name}: {error}");
            return Some(format!("{name}: {error}"));
        }
    };
    let opaque: BTreeSet<String> = (model.graph.nodes().iter())
        .filter_map(|node| match &node.op {
            Op::Opaque(opaque) => Some(opaque.op_type.clone()),
            _ => None,
        })
        .collect();
    (!opaque.is_empty()).then(|| format!("{name}: not understood: {opaque:?}"))
}

#[test]
fn no_onnx_export_is_taken_for_broken() {
    let Some(paths) = files("no_onnx_export_is_taken_for_broken", "onnx") else { return };
    let complaints: Vec<String> = paths.iter().filter_map(|path| complaint(path, onnx::read(path))).collect();
    println!("{} of {} files:\n{}", complaints.len(), paths.len(), complaints.join("\n"));
}
