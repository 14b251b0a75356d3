//! The tables of a file, verified before anything reads them.

// Made by flatc: its accessors trust what the verifier has checked, and `model` is the only way to them.
#[allow(unsafe_code, warnings, clippy::all, clippy::undocumented_unsafe_blocks, clippy::wildcard_imports)]
#[rustfmt::skip]
mod generated;

use flatbuffers::{InvalidFlatbuffer, VerifierOptions};

pub(super) use generated::tflite::{
    Buffer, BuiltinOperator, Model, Operator, Options, QuantizationParameters, SubGraph, Tensor, TensorType,
};

#[cfg(test)]
pub(super) use generated::tflite as tables;

use super::ReadError;

/// What stands at byte 4 of every file.
const IDENTIFIER: &[u8] = b"TFL3";
/// Tables hang at most this deep in one another: model, subgraph, tensor, quantization, its details.
const MAX_DEPTH: usize = 8;
/// Fewest bytes of a table and of the offset that leads to it.
const SMALLEST_TABLE: usize = 8;
/// How many times the file's bytes may be reached: tables share their layouts, and names may be shared.
const MAX_SHARING: usize = 8;
/// The version that is read.
const VERSION: u32 = 3;

/// The model at the root of the bytes, of which every table, offset, vector and name lies within them.
pub(super) fn model(bytes: &[u8]) -> Result<Model<'_>, ReadError> {
    let refuse = |reason: String| Err(ReadError::NotTflite { reason });
    match bytes.get(4..8) {
        Some(IDENTIFIER) => {}
        None => return refuse(format!("it has {} bytes", bytes.len())),
        Some(found) => {
            return refuse(format!("bytes 4 to 7 are `{}`, expected `TFL3`", found.escape_ascii()));
        }
    }
    let limits = VerifierOptions {
        max_depth: MAX_DEPTH,
        max_tables: bytes.len() / SMALLEST_TABLE,
        max_apparent_size: bytes.len().saturating_mul(MAX_SHARING).saturating_add(1 << 16),
        ignore_missing_null_terminator: true,
    };
    let model = flatbuffers::root_with_opts::<Model<'_>>(&limits, bytes)
        .map_err(|error| ReadError::Malformed { reason: explain(&error) })?;
    match model.version() {
        VERSION => Ok(model),
        found => Err(ReadError::Model {
            reason: format!(
                "the file is of schema version {found}; version {VERSION} is read; convert it again"
            ),
        }),
    }
}

/// The first line of what the verifier says, and the field where it stopped.
fn explain(error: &InvalidFlatbuffer) -> String {
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("it breaks a rule of flatbuffers").trim_end_matches('.').to_owned();
    lines.next().map_or_else(|| first.clone(), |place| format!("{first}, {}", place.trim_end_matches('.')))
}
