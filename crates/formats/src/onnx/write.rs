//! Models to files.

mod graph;

mod operator;
mod opset;

mod control;
mod downgrade;

mod external;

use std::path::Path;

use calipers_ir::{Graph, Model, Op};
use prost::Message as _;

use super::messages::{ModelProto, OperatorSetIdProto, StringStringEntryProto};
use super::types::ir_version_of;
use super::{WriteError, keys};
use crate::file;

/// Protobuf readers refuse larger messages.
const LARGEST_FILE: usize = i32::MAX as usize;

/// How a model is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Constants of this many bytes or more go to a file of their own beside the model, called as the model's with
    /// `.data` behind it. `None` does so only where the model's file would pass 2 GiB, for constants of 1 KiB or more.
    pub external_from: Option<usize>,
}

/// Writes a model under a temporary name in the same folder, then renames it over `path`; constants go to a file
/// beside it where one file cannot hold them, as with [`write_with`].
///
/// The file uses the model's own operator set, or the first later one that has what the graph uses, and the forms that
/// nodes have in that set. Fused activations become nodes of their own.
///
/// # Errors
/// What the graph has that ONNX cannot say, or what the operating system says.
pub fn write(model: &Model, path: impl AsRef<Path>) -> Result<(), WriteError> {
    write_with(model, path, WriteOptions::default())
}

/// The same with options.
///
/// # Errors
/// As of [`write()`].
pub fn write_with(model: &Model, path: impl AsRef<Path>, options: WriteOptions) -> Result<(), WriteError> {
    let path = path.as_ref();
    let mut proto = to_proto(model)?;
    let create = |path: &Path, source| WriteError::Create { path: path.to_owned(), source };
    let beside = match options.external_from {
        Some(least) => Some(least),
        None if proto.encoded_len() > LARGEST_FILE => Some(external::LEAST),
        None => None,
    };
    let data = beside.map(|least| external::take_out(&mut proto, path, least)).transpose();
    let data = data.map_err(|source| create(path, source))?.filter(|data| !data.parts.is_empty());
    let bytes = encode(&proto)?;
    let Some(data) = data else {
        return file::replace(path, &[bytes.into()]).map_err(|source| create(path, source));
    };
    file::replace(&data.path, &data.parts).map_err(|source| create(&data.path, source))?;
    file::replace(path, &[bytes.into()]).map_err(|source| create(path, source))
}

/// The bytes that [`write()`] writes to a file that holds its constants.
///
/// # Errors
/// What the graph has that ONNX cannot say, or that the model takes more than 2 GiB.
pub fn to_bytes(model: &Model) -> Result<Vec<u8>, WriteError> {
    encode(&to_proto(model)?)
}

fn encode(proto: &ModelProto) -> Result<Vec<u8>, WriteError> {
    let size = proto.encoded_len();
    if size > LARGEST_FILE {
        let reason = format!("it takes {size} bytes; one file holds at most {LARGEST_FILE}");
        return Err(WriteError::Model { reason });
    }
    Ok(proto.encode_to_vec())
}

fn to_proto(model: &Model) -> Result<ModelProto, WriteError> {
    let refuse = |reason: String| Err(WriteError::Model { reason });
    let opset = opset::of(model)?;
    let mut imports = vec![OperatorSetIdProto { domain: String::new(), version: opset }];
    let others = model.opsets.iter().filter(|(domain, _)| !domain.is_empty());
    imports.extend(others.map(|(domain, &version)| OperatorSetIdProto { domain: domain.clone(), version }));
    let nodes = || graphs(model).flat_map(Graph::nodes);
    let missing = nodes().find_map(|node| match &node.op {
        Op::Opaque(opaque) if !opaque.domain.is_empty() && !model.opsets.contains_key(&opaque.domain) => {
            Some(&opaque.domain)
        }
        _ => None,
    });
    if let Some(domain) = missing {
        return refuse(format!(
            "the version of the operator set `{domain}` is not given; add it to `opsets`"
        ));
    }
    let text = |key: &str| model.metadata.get(key).cloned().unwrap_or_default();
    let version = text(keys::MODEL_VERSION);
    let model_version = match version.as_str() {
        "" => 0,
        number => match number.parse() {
            Ok(number) => number,
            Err(_) => {
                return refuse(format!("metadata `{}` is `{number}`, not an integer", keys::MODEL_VERSION));
            }
        },
    };
    let fields = [keys::DOC_STRING, keys::DOMAIN, keys::GRAPH_DOC_STRING, keys::MODEL_VERSION];
    let (mut graph, _) = graph::graph(&graph::File { model, opset }, &model.graph, graph::Around::default())?;
    graph.doc_string = text(keys::GRAPH_DOC_STRING);
    let mut metadata_props = Vec::new();
    for (key, value) in model.metadata.iter().filter(|(key, _)| !fields.contains(&key.as_str())) {
        match key.strip_prefix(keys::GRAPH_PROPERTY) {
            Some(key) => graph.metadata_props.push(entry(key, value)),
            None => metadata_props.push(entry(key, value)),
        }
    }
    Ok(ModelProto {
        ir_version: graphs(model).map(|graph| ir_version(graph, opset)).max().unwrap_or_default(),
        opset_import: imports,
        producer_name: model.producer.0.clone(),
        producer_version: model.producer.1.clone(),
        domain: text(keys::DOMAIN),
        model_version,
        doc_string: text(keys::DOC_STRING),
        graph: Some(graph),
        metadata_props,
        ..Default::default()
    })
}

/// The main graph and those that nodes run.
fn graphs(model: &Model) -> impl Iterator<Item = &Graph> {
    std::iter::once(&model.graph).chain(model.subgraphs.values())
}

fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: key.to_owned(), value: value.to_owned() }
}

/// The first version of the file format that has an operator set and all storage types of a graph.
fn ir_version(graph: &Graph, opset: i64) -> i64 {
    let of_opset = match opset {
        ..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        21..=22 => 10,
        23 => 11,
        24 => 12,
        25..=27 => 13,
        28.. => 14,
    };
    let of_metadata = if graph.nodes().iter().any(|node| !node.metadata.is_empty()) { 10 } else { 3 };
    let of_types = graph.values().iter().map(|value| ir_version_of(value.ty.dtype));
    of_types.chain([of_opset, of_metadata]).max().unwrap_or(of_opset)
}
