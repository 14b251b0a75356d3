//! Models to files.

mod graph;
mod operator;

use std::path::Path;

use calipers_ir::{Graph, Model, Op};
use prost::Message as _;

use super::messages::{ModelProto, OperatorSetIdProto, StringStringEntryProto};
use super::types::ir_version_of;
use super::{NEWEST_OPSET, OLDEST_OPSET, WriteError, keys};
use crate::file;

/// Protobuf readers refuse larger messages.
const LARGEST_FILE: usize = i32::MAX as usize;

/// Writes a model under a temporary name in the same folder, then renames it over `path`.
///
/// The file uses the model's own operator set, or the first later one that has what the graph uses. Fused activations
/// become nodes of their own.
///
/// # Errors
/// What the graph has that ONNX cannot say, or what the operating system says.
pub fn write(model: &Model, path: impl AsRef<Path>) -> Result<(), WriteError> {
    let path = path.as_ref();
    file::replace(path, &to_bytes(model)?)
        .map_err(|source| WriteError::Create { path: path.to_owned(), source })
}

/// The bytes that [`write()`] writes.
///
/// # Errors
/// What the graph has that ONNX cannot say, or that the model takes more than 2 GiB.
pub fn to_bytes(model: &Model) -> Result<Vec<u8>, WriteError> {
    let refuse = |reason: String| Err(WriteError::Model { reason });
    if let Some(name) = model.subgraphs.keys().next() {
        return refuse(format!("it has the subgraph `{name}`; subgraphs are not supported"));
    }
    let opset = opset(model)?;
    let mut imports = vec![OperatorSetIdProto { domain: String::new(), version: opset }];
    let others = model.opsets.iter().filter(|(domain, _)| !domain.is_empty());
    imports.extend(others.map(|(domain, &version)| OperatorSetIdProto { domain: domain.clone(), version }));
    let missing = model.graph.nodes().iter().find_map(|node| match &node.op {
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
    let mut graph = graph::graph(&model.graph)?;
    graph.doc_string = text(keys::GRAPH_DOC_STRING);
    let mut metadata_props = Vec::new();
    for (key, value) in model.metadata.iter().filter(|(key, _)| !fields.contains(&key.as_str())) {
        match key.strip_prefix(keys::GRAPH_PROPERTY) {
            Some(key) => graph.metadata_props.push(entry(key, value)),
            None => metadata_props.push(entry(key, value)),
        }
    }
    let proto = ModelProto {
        ir_version: ir_version(&model.graph, opset),
        opset_import: imports,
        producer_name: model.producer.0.clone(),
        producer_version: model.producer.1.clone(),
        domain: text(keys::DOMAIN),
        model_version,
        doc_string: text(keys::DOC_STRING),
        graph: Some(graph),
        metadata_props,
        ..Default::default()
    };
    let size = proto.encoded_len();
    if size > LARGEST_FILE {
        return refuse(format!("it takes {size} bytes; one file holds at most {LARGEST_FILE}"));
    }
    Ok(proto.encode_to_vec())
}

fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: key.to_owned(), value: value.to_owned() }
}

/// The model's own version of the default operator set, or the first later one that has all that the graph uses.
fn opset(model: &Model) -> Result<i64, WriteError> {
    let own = model.opsets.get("").copied().unwrap_or(Model::DEFAULT_OPSET);
    if own > NEWEST_OPSET {
        let reason = format!("operator set {own} is not written; the last one is {NEWEST_OPSET}");
        return Err(WriteError::Model { reason });
    }
    let graph = &model.graph;
    let (needed, node) = graph
        .nodes()
        .iter()
        .map(|node| (operator::first_opset(graph, node), Some(node)))
        .max_by_key(|(opset, _)| *opset)
        .unwrap_or((OLDEST_OPSET, None));
    if needed <= own {
        return Ok(own);
    }
    // A kept operator may mean something else in a later set.
    let kept =
        graph.nodes().iter().find(|node| matches!(&node.op, Op::Opaque(opaque) if opaque.domain.is_empty()));
    match (kept, node) {
        (Some(kept), Some(node)) => Err(WriteError::Node {
            node: node.name.clone(),
            op: node.op.name().to_owned(),
            reason: format!(
                "it needs operator set {needed}, the model has {own}, and node `{}` ({}) is kept as read in that set; \
                 convert the original model with onnx.version_converter.convert_version(model, {needed})",
                kept.name, kept.op
            ),
        }),
        _ => Ok(needed),
    }
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
