//! Files to models.

mod nodes;

mod graph;
mod sparse;

mod upgrade;
mod window;

mod operator;

mod lowering;

mod contrib;
mod loss;
mod packed;
mod quantized;

mod control;
mod functions;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use calipers_ir::Model;
use indexmap::IndexMap;
use prost::Message as _;

use super::messages::{GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto};
use super::tensor::TensorReader;
use super::{NEWEST_OPSET, OLDEST_OPSET, ReadError, keys, wire};
use crate::file;

/// Reads a model file, and the files beside it that hold its external data. Tensor data stay where they are: the files
/// are mapped into memory, and must not be changed in place while the model or a tensor of it is in use. (Replacing a
/// file, as [`super::write()`] does, is safe.)
///
/// # Errors
/// Where the file is broken or uses what is not supported; the error begins with the path.
pub fn read(path: impl AsRef<Path>) -> Result<Model, ReadError> {
    let path = path.as_ref();
    let bytes = file::map(path).map_err(|source| ReadError::Open { path: path.to_owned(), source })?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => Path::new(".").to_owned(),
    };
    model(bytes, TensorReader::beside(folder))
        .map_err(|error| ReadError::In { path: path.to_owned(), error: Box::new(error) })
}

/// Reads a model from the bytes of a file. Tensor data are slices of them. External data are refused.
///
/// # Errors
/// Where the bytes are broken or use what is not supported.
pub fn parse(bytes: Bytes) -> Result<Model, ReadError> {
    model(bytes, TensorReader::default())
}

fn model(bytes: Bytes, tensors: TensorReader) -> Result<Model, ReadError> {
    let refuse = |reason: &str| Err(ReadError::Model { reason: reason.to_owned() });
    if bytes.is_empty() {
        return refuse("the file is empty; expected an ONNX model");
    }
    wire::check(&bytes)?;
    let proto =
        ModelProto::decode(bytes).map_err(|error| ReadError::Malformed { reason: error.to_string() })?;
    let Some(graph) = proto.graph else {
        return refuse("the file holds no graph; expected an ONNX model, not another kind of protobuf file");
    };
    if !proto.training_info.is_empty() {
        return refuse("the model holds training graphs, which are not supported; export it for inference");
    }
    let opsets = opsets(&proto.opset_import)?;
    let metadata = metadata(
        &proto.metadata_props,
        &[
            (keys::DOC_STRING, &proto.doc_string),
            (keys::DOMAIN, &proto.domain),
            (keys::GRAPH_DOC_STRING, &graph.doc_string),
            (keys::MODEL_VERSION, &number_unless_zero(proto.model_version)),
        ],
        &graph,
    );
    let functions =
        proto.functions.into_iter().map(|function| (functions::name_of(&function), Rc::new(function)));
    let mut reader = nodes::ModelReader {
        tensors,
        functions: functions.collect::<HashMap<_, _>>(),
        subgraphs: IndexMap::new(),
        levels: Vec::new(),
        calls: Vec::new(),
        inlined: 0,
    };
    let graph = reader.graph(graph, &opsets, None)?;
    let producer = (proto.producer_name, proto.producer_version);
    Ok(Model { graph, subgraphs: reader.subgraphs, opsets, producer, metadata })
}

/// Versions by domain. The default domain must be there, in a version that is read.
fn opsets(imports: &[OperatorSetIdProto]) -> Result<BTreeMap<String, i64>, ReadError> {
    let opsets = opsets_of(imports)?;
    if opsets.contains_key("") {
        return Ok(opsets);
    }
    Err(ReadError::Model {
        reason: String::from(
            "the model does not say its version of the default operator set (`opset_import` is missing or the file \
             is cut short)",
        ),
    })
}

/// Versions by domain; the default domain, where it is there, in a version that is read.
fn opsets_of(imports: &[OperatorSetIdProto]) -> Result<BTreeMap<String, i64>, ReadError> {
    let mut opsets = BTreeMap::new();
    for import in imports {
        let domain = default_domain(&import.domain);
        if let Some(other) = opsets.insert(domain.to_owned(), import.version)
            && other != import.version
        {
            let version = import.version;
            let reason = format!("operator set `{domain}` is imported in versions {other} and {version}");
            return Err(ReadError::Model { reason });
        }
    }
    match opsets.get("") {
        Some(&found) if !(OLDEST_OPSET..=NEWEST_OPSET).contains(&found) => Err(ReadError::Opset { found }),
        _ => Ok(opsets),
    }
}

/// The default domain has two names.
fn default_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

fn number_unless_zero(number: i64) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

fn metadata(
    properties: &[StringStringEntryProto],
    fields: &[(&str, &str)],
    graph: &GraphProto,
) -> BTreeMap<String, String> {
    let mut metadata = by_key(properties, fields);
    for property in &graph.metadata_props {
        metadata.insert(format!("{}{}", keys::GRAPH_PROPERTY, property.key), property.value.clone());
    }
    for annotation in &graph.quantization_annotation {
        let parameters = annotation.quant_parameter_tensor_names.iter();
        let text: Vec<String> = parameters.map(|entry| format!("{}={}", entry.key, entry.value)).collect();
        metadata.insert(format!("{}{}", keys::QUANTIZATION, annotation.tensor_name), text.join(","));
    }
    metadata
}

/// Properties under their own keys, and fields that are not empty under the keys given.
fn by_key(properties: &[StringStringEntryProto], fields: &[(&str, &str)]) -> BTreeMap<String, String> {
    let properties = properties.iter().map(|entry| (entry.key.clone(), entry.value.clone()));
    let fields = fields.iter().filter(|(_, value)| !value.is_empty());
    properties.chain(fields.map(|&(key, value)| (key.to_owned(), value.to_owned()))).collect()
}
