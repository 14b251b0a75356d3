//! Signatures: the names under which a model offers its subgraphs, inputs and outputs.

use std::collections::BTreeMap;

use calipers_ir::Model;

use super::buffers::File;
use super::tensors::Described;
use super::{ReadError, keys};

/// A function that the model offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Its name, `serving_default` where nobody chose another.
    pub key: String,
    /// The subgraph that it runs; `None` for the main graph.
    pub subgraph: Option<String>,
    /// Its name for each input, and the value of the graph that it stands for.
    pub inputs: Vec<(String, String)>,
    /// Its name for each output, and the value of the graph that it stands for.
    pub outputs: Vec<(String, String)>,
}

/// The signatures of a model that came from a TFLite file, in the file's order.
pub fn signatures(model: &Model) -> Vec<Signature> {
    let field =
        |number: usize, rest: &str| model.metadata.get(&format!("{}{number}:{rest}", keys::SIGNATURE));
    let named = |number: usize, kind: &str| {
        let prefix = format!("{}{number}:{kind}:", keys::SIGNATURE);
        let from = model.metadata.range(prefix.clone()..);
        from.map_while(|(key, value)| Some((key.strip_prefix(&prefix)?.to_owned(), value.clone()))).collect()
    };
    (0..)
        .map_while(|number| {
            Some(Signature {
                key: field(number, "key")?.clone(),
                subgraph: field(number, "subgraph").cloned(),
                inputs: named(number, "input"),
                outputs: named(number, "output"),
            })
        })
        .collect()
}

/// What the file's signatures say, as metadata.
pub(super) fn metadata(
    file: &File<'_>,
    tensors: &[Vec<Described>],
    names: &[String],
) -> Result<BTreeMap<String, String>, ReadError> {
    let mut metadata = BTreeMap::new();
    for (number, signature) in file.model.signature_defs().into_iter().flatten().enumerate() {
        let refuse = |reason: String| ReadError::Model { reason: format!("signature {number}: {reason}") };
        let subgraph = signature.subgraph_index() as usize;
        let Some(tensors) = tensors.get(subgraph) else {
            let count = tensors.len();
            return Err(refuse(format!("it runs subgraph {subgraph}, the file has {count}")));
        };
        let mut insert = |rest: String, value: &str| {
            metadata.insert(format!("{}{number}:{rest}", keys::SIGNATURE), value.to_owned());
        };
        insert(String::from("key"), signature.signature_key().unwrap_or_default());
        if subgraph > 0 {
            insert(String::from("subgraph"), &names[subgraph]);
        }
        for (kind, list) in [("input", signature.inputs()), ("output", signature.outputs())] {
            for tensor in list.into_iter().flatten() {
                let (name, index) = (tensor.name().unwrap_or_default(), tensor.tensor_index() as usize);
                let Some(tensor) = tensors.get(index) else {
                    return Err(refuse(format!("its {kind} `{name}` is tensor {index}, which is not there")));
                };
                insert(format!("{kind}:{name}"), &tensor.name);
            }
        }
    }
    Ok(metadata)
}
