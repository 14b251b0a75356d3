//! Samples of a user's own model, through the public interface: against what Pillow and numpy
//! compute (`testdata/samples`), and on damaged and hostile files.

mod arrays;
mod images;
mod opening;
mod tokens;

use std::path::{Path, PathBuf};

use calipers_data::samples::{Element, Extent, ModelInput, OpenOptions, Opened, open};

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/samples")
}

/// An input whose extents of zero stand for free ones.
fn input(name: &str, element: Element, shape: &[usize]) -> ModelInput {
    let extents = shape.iter().map(|&extent| if extent == 0 { Extent::from("") } else { extent.into() });
    ModelInput::new(name, element, extents.collect())
}

fn opened(path: &Path, inputs: &[ModelInput]) -> Opened {
    open(path, inputs, &OpenOptions::default()).unwrap()
}

/// The message of the error that opening must give.
fn refusal(path: &Path, inputs: &[ModelInput]) -> String {
    open(path, inputs, &OpenOptions::default()).map(|_| ()).unwrap_err().to_string()
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}
