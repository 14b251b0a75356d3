//! Constants in a file of their own beside the model.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::super::messages::{DataLocation, ModelProto, TensorProto};
use super::entry;

/// Constants that leave the model's file where it is too large.
pub(super) const LEAST: usize = 1 << 10;

/// Data begin at multiples of this, so that every element is aligned in a memory map.
const ALIGNMENT: usize = 64;

/// A file of constants.
pub(super) struct Data {
    pub path: PathBuf,
    /// Its content, piece by piece.
    pub parts: Vec<Bytes>,
}

/// Takes the data of constants of `least` bytes or more out of a model that is to be written to `path`.
pub(super) fn take_out(proto: &mut ModelProto, path: &Path, least: usize) -> io::Result<Data> {
    let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidInput, reason);
    let name = path.file_name().ok_or_else(|| invalid("the path names no file"))?;
    let name =
        name.to_str().ok_or_else(|| invalid("a model with constants beside it needs a name in UTF-8"))?;
    let location = format!("{name}.data");
    let mut parts = Vec::new();
    let mut offset = 0;
    let initializers = proto.graph.as_mut().map(|graph| graph.initializer.as_mut_slice()).unwrap_or_default();
    let large = |tensor: &&mut TensorProto| !tensor.raw_data.is_empty() && tensor.raw_data.len() >= least;
    for tensor in initializers.iter_mut().filter(large) {
        let data = std::mem::take(&mut tensor.raw_data);
        tensor.data_location = DataLocation::External as i32;
        tensor.external_data = vec![
            entry("location", &location),
            entry("offset", &offset.to_string()),
            entry("length", &data.len().to_string()),
        ];
        let padding = data.len().next_multiple_of(ALIGNMENT) - data.len();
        offset += data.len() + padding;
        parts.push(data);
        parts.push(Bytes::from_static(&[0; ALIGNMENT]).slice(..padding));
    }
    Ok(Data { path: path.with_file_name(location), parts })
}
