//! A graph while it is read: its values by the names of the file, and names that are still free.

use std::collections::{BTreeMap, HashMap, HashSet};

use calipers_ir::{GraphEditor, Op, Tensor, TensorType, ValueId, infer};

use super::super::ReadError;
use super::super::messages::{GraphProto, NodeProto, ValueInfoProto};
use super::super::types::tensor_type_of;

/// Why a node cannot be read.
pub(super) enum Fault {
    /// What is wrong with the node.
    Node(String),
    /// What is wrong elsewhere.
    Elsewhere(ReadError),
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Fault::Node(reason)
    }
}

impl From<&str> for Fault {
    fn from(reason: &str) -> Self {
        Fault::Node(reason.to_owned())
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        Fault::Elsewhere(error)
    }
}

/// One graph of a file, the main one or one that a node runs.
pub(super) struct GraphReader {
    pub editor: GraphEditor,
    /// Values of this graph by their names in the file.
    pub values: HashMap<String, ValueId>,
    /// Types as the file states them, or what is wrong with the statement, which matters only where it is needed.
    declared: HashMap<String, Result<TensorType, String>>,
    /// Position of the node that makes a value.
    producers: HashMap<String, usize>,
    /// Positions of the nodes that each node reads from.
    sources: Vec<Vec<usize>>,
    /// Names of values of the file, which generated names avoid.
    value_names: HashSet<String>,
    /// Names that nodes of the file have, which generated names avoid.
    node_names: HashSet<String>,
    used_node_names: HashSet<String>,
    /// The number to try next behind a name that is taken.
    next_number: HashMap<String, u64>,
}

impl GraphReader {
    pub fn new(proto: &GraphProto) -> Self {
        let name = if proto.name.is_empty() { "graph" } else { &proto.name };
        let mut producers = HashMap::new();
        for (index, node) in proto.node.iter().enumerate() {
            for output in node.output.iter().filter(|output| !output.is_empty()) {
                producers.entry(output.clone()).or_insert(index);
            }
        }
        let sources = |node: &NodeProto| {
            node.input.iter().filter_map(|input| producers.get(input).copied()).collect::<Vec<_>>()
        };
        let inputs = proto.input.iter().map(|input| &input.name);
        let initializers = proto.initializer.iter().map(|tensor| &tensor.name);
        GraphReader {
            editor: GraphEditor::new(name),
            values: HashMap::new(),
            declared: proto
                .value_info
                .iter()
                .chain(&proto.output)
                .filter(|info| states_type(info))
                .map(declaration)
                .collect(),
            sources: proto.node.iter().map(sources).collect(),
            value_names: inputs.chain(initializers).chain(producers.keys()).cloned().collect(),
            producers,
            node_names: proto.node.iter().map(|node| node.name.clone()).collect(),
            used_node_names: HashSet::new(),
            next_number: HashMap::new(),
        }
    }

    pub fn define(
        &mut self,
        name: &str,
        add: impl FnOnce(&mut GraphEditor) -> Result<ValueId, calipers_ir::EditError>,
    ) -> Result<ValueId, ReadError> {
        let id = add(&mut self.editor)?;
        self.values.insert(name.to_owned(), id);
        Ok(id)
    }

    /// Why a name that the node at a position reads has no value.
    pub fn why_missing(&self, name: &str, reader: usize) -> String {
        match self.producers.get(name) {
            None => String::from("nothing defines"),
            Some(&later) if self.depends(later, reader) => {
                String::from("depends on what the node computes: the graph has a cycle")
            }
            Some(_) => String::from(
                "only a later node defines; ONNX lists nodes in topological order: sort them and save again",
            ),
        }
    }

    /// Whether `node` reads, over any number of nodes, what `source` makes.
    fn depends(&self, node: usize, source: usize) -> bool {
        let mut seen = HashSet::from([node]);
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            if node == source {
                return true;
            }
            let sources = self.sources.get(node).map(Vec::as_slice).unwrap_or_default();
            open.extend(sources.iter().copied().filter(|&next| seen.insert(next)));
        }
        false
    }

    /// A name that no value of the file has, and from now on none that is made.
    pub fn fresh(&mut self, wanted: &str) -> String {
        let name = self.number(wanted, |reader, name| {
            !reader.value_names.contains(name) && reader.editor.value_named(name).is_none()
        });
        self.value_names.insert(name.clone());
        name
    }

    /// `wanted`, or with the first number behind it that makes it free.
    fn number(&mut self, wanted: &str, free: impl Fn(&Self, &str) -> bool) -> String {
        if free(self, wanted) {
            return wanted.to_owned();
        }
        let mut number = self.next_number.get(wanted).copied().unwrap_or(0);
        let name = loop {
            number += 1;
            let name = format!("{wanted}_{number}");
            if free(self, &name) {
                break name;
            }
        };
        self.next_number.insert(wanted.to_owned(), number);
        name
    }

    /// A constant under a name of its own.
    pub fn constant(&mut self, wanted: &str, tensor: Tensor) -> Result<ValueId, String> {
        let name = self.fresh(wanted);
        self.editor.add_constant(name, tensor).map_err(|error| error.to_string())
    }

    /// The type that the file states for a value, where it does.
    pub fn declared(&self, name: &str) -> Result<Option<&TensorType>, ReadError> {
        match self.declared.get(name) {
            Some(Ok(ty)) => Ok(Some(ty)),
            Some(Err(reason)) => Err(ReadError::Value { value: name.to_owned(), reason: reason.clone() }),
            None => Ok(None),
        }
    }

    /// Adds a node of an operator with a type rule. Outputs with empty names get values that nothing reads; those at
    /// the end are dropped.
    pub fn add(
        &mut self,
        node: &str,
        op: Op,
        inputs: &[Option<ValueId>],
        outputs: &[String],
    ) -> Result<Vec<ValueId>, Fault> {
        let types: Vec<Option<&TensorType>> =
            inputs.iter().map(|input| input.map(|id| &self.editor.value(id).ty)).collect();
        let constants: Vec<Option<&Tensor>> =
            inputs.iter().map(|input| input.and_then(|id| self.editor.constant(id))).collect();
        let inferred = infer(&op, &types, &constants).map_err(|error| error.to_string())?;
        let Some(inferred) = inferred else {
            return Err(Fault::Node(format!("the types of the outputs of {op} must be stated")));
        };
        let present = outputs.iter().rposition(|output| !output.is_empty()).map_or(0, |last| last + 1);
        if present == 0 || present > inferred.len() {
            let most = inferred.len();
            let expected = if most == 1 { String::from("1 output") } else { format!("1 to {most} outputs") };
            return Err(Fault::Node(format!("expected {expected}, found {present}")));
        }
        let mut typed = Vec::with_capacity(present);
        for (index, (name, inferred)) in outputs[..present].iter().zip(inferred).enumerate() {
            if name.is_empty() {
                typed.push((self.fresh(&format!("{node}/unused_{index}")), inferred));
                continue;
            }
            let ty = match self.declared(name)? {
                Some(declared) if !declared.compatible(&inferred) => {
                    let reason =
                        format!("the file declares it as {declared}, but node `{node}` makes {inferred}");
                    return Err(ReadError::Value { value: name.clone(), reason }.into());
                }
                Some(declared) if inferred.shape.is_none() => declared.clone(),
                _ => inferred,
            };
            typed.push((name.clone(), ty));
        }
        self.add_typed(node, op, inputs, typed)
    }

    /// Adds a node with outputs of known types.
    pub fn add_typed(
        &mut self,
        node: &str,
        op: Op,
        inputs: &[Option<ValueId>],
        outputs: Vec<(String, TensorType)>,
    ) -> Result<Vec<ValueId>, Fault> {
        let names: Vec<String> = outputs.iter().map(|(name, _)| name.clone()).collect();
        let ids = self.editor.add_typed_node(node, op, inputs, outputs).map_err(ReadError::from)?;
        self.values.extend(names.into_iter().zip(ids.iter().copied()));
        Ok(ids)
    }

    pub fn set_metadata(&mut self, node: &str, metadata: BTreeMap<String, String>) {
        if !metadata.is_empty() {
            self.editor.set_metadata(node, metadata);
        }
    }

    /// The node's own name; that of its first output where it has none; with a number where the name is taken.
    pub fn unique_node_name(&mut self, proto: &NodeProto) -> String {
        let output = proto.output.iter().find(|output| !output.is_empty());
        let (wanted, own) = match (proto.name.as_str(), output) {
            ("", Some(output)) => (output.as_str(), false),
            ("", None) => (proto.op_type.as_str(), false),
            (name, _) => (name, true),
        };
        let wanted = if wanted.is_empty() { "node" } else { wanted };
        let name = if own && !self.used_node_names.contains(wanted) {
            wanted.to_owned()
        } else {
            self.number(wanted, |reader, name| {
                !reader.used_node_names.contains(name) && !reader.node_names.contains(name)
            })
        };
        self.used_node_names.insert(name.clone());
        name
    }

    /// A name for a node that the file does not have.
    pub fn fresh_node_name(&mut self, wanted: &str) -> String {
        let name = self.number(wanted, |reader, name| {
            !reader.used_node_names.contains(name) && !reader.node_names.contains(name)
        });
        self.used_node_names.insert(name.clone());
        name
    }
}

/// Whether a file says the type of a value; those within graphs that nodes run may be open.
pub(super) fn states_type(info: &ValueInfoProto) -> bool {
    info.r#type.as_ref().is_some_and(|ty| ty.value.is_some())
}

/// Name and type of a value as the file states them.
pub(super) fn declaration(info: &ValueInfoProto) -> (String, Result<TensorType, String>) {
    let ty = match &info.r#type {
        Some(ty) => tensor_type_of(&info.name, ty),
        None => Err(String::from("its type is not given")),
    };
    (info.name.clone(), ty)
}
