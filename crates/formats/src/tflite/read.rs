//! Files to models.

mod graph;
mod site;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use bytes::Bytes;
use calipers_ir::Model;
use indexmap::IndexMap;

use super::buffers::File;
use super::schema::SubGraph;
use super::{ReadError, keys, schema, signatures, tensors};
use crate::file;

pub(super) use site::{Mapped, Numbers, Refusal, Site, cast, keep};

/// Reads a model file. Tensor data stay where they are: the file is mapped into memory, and must not be changed in place
/// while the model or a tensor of it is in use. Weights of convolutions are copied into the order of the representation.
///
/// # Errors
/// Where the file is broken or uses what is not supported; the error begins with the path.
pub fn read(path: impl AsRef<Path>) -> Result<Model, ReadError> {
    let path = path.as_ref();
    let bytes = file::map(path).map_err(|source| ReadError::Open { path: path.to_owned(), source })?;
    parse(bytes).map_err(|error| ReadError::In { path: path.to_owned(), error: Box::new(error) })
}

/// Reads a model from the bytes of a file. Tensor data are slices of them.
///
/// # Errors
/// Where the bytes are broken or use what is not supported.
pub fn parse(bytes: Bytes) -> Result<Model, ReadError> {
    let file = File { bytes: &bytes, model: schema::model(&bytes)? };
    let subgraphs: Vec<SubGraph<'_>> = file.model.subgraphs().into_iter().flatten().collect();
    if subgraphs.is_empty() {
        return Err(ReadError::Model { reason: String::from("the file holds no subgraph") });
    }
    let names = subgraph_names(&subgraphs);
    let place = |index: usize| match subgraphs.len() {
        1 => String::new(),
        _ => format!("subgraph `{}`, ", names[index]),
    };
    let mut described = Vec::with_capacity(subgraphs.len());
    for (index, subgraph) in subgraphs.iter().enumerate() {
        described.push(tensors::describe(&file, subgraph, &place(index))?);
    }
    let mut metadata = metadata(&file)?;
    metadata.extend(signatures::metadata(&file, &described, &names)?);

    let mut graphs = IndexMap::new();
    let mut calls = Vec::with_capacity(subgraphs.len());
    for (index, subgraph) in subgraphs.iter().enumerate() {
        let (graph, called) = graph::graph(&file, subgraph, &described[index], &names, index, &place(index))?;
        graphs.insert(names[index].clone(), graph);
        calls.push(called);
    }
    acyclic(&calls, &names)?;
    let Some((_, graph)) = graphs.shift_remove_index(0) else {
        return Err(ReadError::Model { reason: String::from("the file holds no subgraph") });
    };
    Ok(Model {
        subgraphs: graphs,
        opsets: BTreeMap::from([(String::new(), Model::DEFAULT_OPSET), (super::DOMAIN.to_owned(), 1)]),
        producer: (String::from("tflite"), String::new()),
        metadata,
        ..Model::new(graph)
    })
}

/// The names of the file, with the subgraph's index where one is empty or taken.
fn subgraph_names(subgraphs: &[SubGraph<'_>]) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut names = Vec::with_capacity(subgraphs.len());
    for (index, subgraph) in subgraphs.iter().enumerate() {
        let given = subgraph.name().unwrap_or_default();
        let mut name = match (given, index) {
            ("", 0) => String::from("main"),
            ("", _) => format!("subgraph_{index}"),
            _ => given.to_owned(),
        };
        while !taken.insert(name.clone()) {
            name = format!("{name}_{index}");
        }
        names.push(name);
    }
    names
}

/// Refuses subgraphs that run themselves, also by way of others.
fn acyclic(calls: &[Vec<usize>], names: &[String]) -> Result<(), ReadError> {
    // Callers are taken away one after the other; what runs itself is never free of callers.
    let mut callers = vec![0usize; calls.len()];
    for &called in calls.iter().flatten() {
        callers[called] += 1;
    }
    let mut free: Vec<usize> = (0..calls.len()).filter(|&index| callers[index] == 0).collect();
    while let Some(index) = free.pop() {
        for &called in &calls[index] {
            callers[called] -= 1;
            if callers[called] == 0 {
                free.push(called);
            }
        }
    }
    match callers.iter().position(|&count| count > 0) {
        Some(index) => Err(ReadError::Model {
            reason: format!("subgraph `{}` runs itself, or is run by one that does", names[index]),
        }),
        None => Ok(()),
    }
}

/// What the file says beside its subgraphs and signatures.
fn metadata(file: &File<'_>) -> Result<BTreeMap<String, String>, ReadError> {
    let mut metadata = BTreeMap::new();
    if let Some(description) = file.model.description().filter(|text| !text.is_empty()) {
        metadata.insert(keys::DESCRIPTION.to_owned(), description.to_owned());
    }
    for entry in file.model.metadata().into_iter().flatten() {
        let name = entry.name().unwrap_or_default();
        let bytes = file
            .buffer(entry.buffer())
            .map_err(|reason| ReadError::Model { reason: format!("metadata `{name}`: {reason}") })?
            .unwrap_or_default();
        // Texts are filled up with zeros.
        let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let printable =
            |text: &&str| !text.chars().any(|letter| letter.is_control() && !letter.is_whitespace());
        let (prefix, value) = match std::str::from_utf8(&bytes[..end]).ok().filter(printable) {
            Some(text) => (keys::METADATA, text.to_owned()),
            None => (keys::METADATA_BYTES, bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        };
        metadata.insert(format!("{prefix}{name}"), value);
    }
    Ok(metadata)
}
