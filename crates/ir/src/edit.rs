//! The one way to make or change a graph: every edit is typed, and the result is verified.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use indexmap::IndexMap;
use thiserror::Error;

use crate::{
    Graph, InferError, Node, NodeId, Op, Requantization, Tensor, TensorType, Value, ValueId, VerifyError,
    infer, verify,
};

/// Why an edit was refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EditError {
    /// The name is taken.
    #[error("graph `{graph}`: the name `{name}` is taken; names must be unique")]
    NameTaken {
        /// Name of the graph.
        graph: String,
        /// The name in question.
        name: String,
    },
    /// An argument breaks a rule of the operator.
    #[error("graph `{graph}`, node `{node}`: {error}")]
    Operator {
        /// Name of the graph.
        graph: String,
        /// Name of the node.
        node: String,
        /// The rule.
        error: Box<InferError>,
    },
    /// The number of output names is not that of the operator, or the operator needs its types stated.
    #[error("graph `{graph}`, node `{node}`: {reason}")]
    Outputs {
        /// Name of the graph.
        graph: String,
        /// Name of the node.
        node: String,
        /// What is wrong.
        reason: String,
    },
    /// The edited graph breaks an invariant.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

/// What became of a value's name in an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The value goes by another name.
    Renamed(String),
    /// The value is computed inside the node that makes the value of this name, and cannot be read any more.
    Fused(String),
}

/// Old names of values to what became of them. Names not listed are unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renames(pub BTreeMap<String, Fate>);

impl Renames {
    /// Appends a later edit: chains of renames are followed, a rename of a fused value stays fused.
    pub fn then(&mut self, later: Renames) {
        for fate in self.0.values_mut() {
            let current = match fate {
                Fate::Renamed(name) | Fate::Fused(name) => name.clone(),
            };
            match (later.0.get(&current), &*fate) {
                (Some(Fate::Renamed(next)), Fate::Renamed(_)) => *fate = Fate::Renamed(next.clone()),
                (Some(Fate::Renamed(next) | Fate::Fused(next)), _) => *fate = Fate::Fused(next.clone()),
                (None, _) => {}
            }
        }
        for (name, fate) in later.0 {
            self.0.entry(name).or_insert(fate);
        }
    }
}

/// A graph under construction or change. Ids from the graph it began with, and ids it gave out, stay valid until
/// [`GraphEditor::finish`].
#[derive(Clone, Debug)]
pub struct GraphEditor {
    name: String,
    requantization: Requantization,
    values: Vec<Value>,
    nodes: Vec<Option<Node>>,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    constants: IndexMap<ValueId, Tensor>,
    value_names: HashMap<String, ValueId>,
    node_names: HashSet<String>,
    renames: Renames,
}

impl GraphEditor {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Self {
        GraphEditor {
            name: name.into(),
            requantization: Requantization::default(),
            values: Vec::new(),
            nodes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            constants: IndexMap::new(),
            value_names: HashMap::new(),
            node_names: HashSet::new(),
            renames: Renames::default(),
        }
    }

    /// A copy of a graph, to be changed. Constants are shared, not copied.
    pub fn edit(graph: &Graph) -> Self {
        GraphEditor {
            name: graph.name.clone(),
            requantization: graph.requantization,
            values: graph.values.clone(),
            nodes: graph.nodes.iter().cloned().map(Some).collect(),
            inputs: graph.inputs.clone(),
            outputs: graph.outputs.clone(),
            constants: graph.constants.clone(),
            value_names: graph.value_ids().map(|(id, value)| (value.name.clone(), id)).collect(),
            node_names: graph.nodes.iter().map(|node| node.name.clone()).collect(),
            renames: Renames::default(),
        }
    }

    /// Sets how sums of integers become integers again.
    pub fn set_requantization(&mut self, requantization: Requantization) {
        self.requantization = requantization;
    }

    /// Declares an input of the graph.
    pub fn add_input(&mut self, name: impl Into<String>, ty: TensorType) -> Result<ValueId, EditError> {
        let id = self.add_value(name.into(), ty)?;
        self.inputs.push(id);
        Ok(id)
    }

    /// Adds a constant.
    pub fn add_constant(&mut self, name: impl Into<String>, tensor: Tensor) -> Result<ValueId, EditError> {
        let id = self.add_value(name.into(), tensor.tensor_type())?;
        self.constants.insert(id, tensor);
        Ok(id)
    }

    /// Replaces the data, and with it the type, of a constant.
    pub fn set_constant(&mut self, id: ValueId, tensor: Tensor) {
        self.values[id.index()].ty = tensor.tensor_type();
        self.constants.insert(id, tensor);
    }

    /// Adds a node with the types that shape inference finds for its outputs.
    pub fn add_node(
        &mut self,
        name: impl Into<String>,
        op: Op,
        inputs: &[Option<ValueId>],
        outputs: &[&str],
    ) -> Result<Vec<ValueId>, EditError> {
        let name = name.into();
        let types = self.infer(&name, &op, inputs)?.ok_or_else(|| EditError::Outputs {
            graph: self.name.clone(),
            node: name.clone(),
            reason: format!("the output types of {op} cannot be inferred; they must be stated"),
        })?;
        if types.len() < outputs.len() {
            return Err(EditError::Outputs {
                graph: self.name.clone(),
                node: name,
                reason: format!(
                    "{op} has at most {} outputs, {} names were given",
                    types.len(),
                    outputs.len()
                ),
            });
        }
        let typed = outputs.iter().zip(types).map(|(&name, ty)| (name.to_owned(), ty)).collect();
        self.add_typed_node(name, op, inputs, typed)
    }

    /// Adds a node of one output whose value is called as the node is.
    pub fn add(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> Result<ValueId, EditError> {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        Ok(self.add_node(name, op, &inputs, &[name])?[0])
    }

    /// Adds a node whose output types are stated, as a file states them. They are checked when finishing.
    pub fn add_typed_node(
        &mut self,
        name: impl Into<String>,
        op: Op,
        inputs: &[Option<ValueId>],
        outputs: Vec<(String, TensorType)>,
    ) -> Result<Vec<ValueId>, EditError> {
        let name = name.into();
        if !self.node_names.insert(name.clone()) {
            return Err(self.name_taken(name));
        }
        let outputs =
            outputs.into_iter().map(|(name, ty)| self.add_value(name, ty)).collect::<Result<Vec<_>, _>>()?;
        let node =
            Node { name, op, inputs: inputs.to_vec(), outputs: outputs.clone(), metadata: BTreeMap::new() };
        self.nodes.push(Some(node));
        Ok(outputs)
    }

    /// Declares a value as an output of the graph.
    pub fn add_output(&mut self, id: ValueId) {
        self.outputs.push(id);
    }

    /// A node that is there.
    ///
    /// # Panics
    /// When the node was removed.
    pub fn node(&self, id: NodeId) -> &Node {
        self.nodes[id.index()].as_ref().expect("the node was removed")
    }

    /// The same node, to change its operator, inputs or metadata. Types are checked when finishing.
    ///
    /// # Panics
    /// When the node was removed.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id.index()].as_mut().expect("the node was removed")
    }

    /// Sets what the file says of the node of that name beside its meaning.
    pub fn set_metadata(&mut self, node: &str, metadata: BTreeMap<String, String>) {
        if let Some(node) = self.nodes.iter_mut().flatten().rfind(|candidate| candidate.name == node) {
            node.metadata = metadata;
        }
    }

    /// Type and name of a value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// The data of a value that is a constant.
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        self.constants.get(&id)
    }

    /// The value of that name.
    pub fn value_named(&self, name: &str) -> Option<ValueId> {
        self.value_names.get(name).copied()
    }

    /// Removes a node. Its outputs must get another definition or lose all uses before finishing.
    pub fn remove_node(&mut self, id: NodeId) {
        if let Some(node) = self.nodes[id.index()].take() {
            self.node_names.remove(&node.name);
        }
    }

    /// Lets everything that reads `old`, other than the nodes of `except`, read `new`.
    ///
    /// Where `old` is an output of the graph, `new` becomes that output and takes over its name, because output names
    /// are the user's; the rename is recorded.
    pub fn replace_uses(&mut self, old: ValueId, new: ValueId, except: &[NodeId]) {
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if except.iter().any(|id| id.index() == index) {
                continue;
            }
            for input in node.iter_mut().flat_map(|node| &mut node.inputs) {
                if *input == Some(old) {
                    *input = Some(new);
                }
            }
        }
        if self.outputs.contains(&old) {
            for output in &mut self.outputs {
                if *output == old {
                    *output = new;
                }
            }
            let new_name = self.values[new.index()].name.clone();
            let old_name = std::mem::replace(&mut self.values[old.index()].name, new_name.clone());
            self.values[new.index()].name = old_name.clone();
            self.value_names.insert(old_name.clone(), new);
            self.value_names.insert(new_name.clone(), old);
            self.renames.0.insert(new_name, Fate::Renamed(old_name));
        }
    }

    /// Records that `value` is computed inside the node that makes `into` and cannot be read any more.
    pub fn record_fused(&mut self, value: ValueId, into: ValueId) {
        let (value, into) = (self.value(value).name.clone(), self.value(into).name.clone());
        self.renames.0.insert(value, Fate::Fused(into));
    }

    /// Records that what was called `value` is now called as `by` is.
    pub fn record_renamed(&mut self, value: ValueId, by: ValueId) {
        let (value, by) = (self.value(value).name.clone(), self.value(by).name.clone());
        if value != by {
            self.renames.0.insert(value, Fate::Renamed(by));
        }
    }

    /// A value or node name that nothing has yet: `wanted`, or `wanted` with a number.
    pub fn fresh_name(&self, wanted: &str) -> String {
        let taken = |name: &str| self.value_names.contains_key(name) || self.node_names.contains(name);
        if !taken(wanted) {
            return wanted.to_owned();
        }
        (1..).map(|number| format!("{wanted}_{number}")).find(|name| !taken(name)).unwrap_or_default()
    }

    /// Drops constants and values that nothing uses, sorts the nodes topologically (keeping their order where it is
    /// one), infers all types again and verifies.
    ///
    /// # Errors
    /// The first invariant that the edits broke.
    pub fn finish(self) -> Result<(Graph, Renames), EditError> {
        let order = self.topological_order()?;
        let nodes: Vec<&Node> = order.iter().filter_map(|&index| self.nodes[index].as_ref()).collect();

        let mut used: BTreeSet<ValueId> = self.inputs.iter().chain(&self.outputs).copied().collect();
        for node in &nodes {
            used.extend(node.inputs.iter().flatten().chain(&node.outputs));
        }
        let new_ids: HashMap<ValueId, ValueId> =
            used.iter().enumerate().map(|(index, &old)| (old, ValueId(index as u32))).collect();

        let mut graph = Graph {
            name: self.name.clone(),
            requantization: self.requantization,
            values: used.iter().map(|id| self.values[id.index()].clone()).collect(),
            nodes: Vec::with_capacity(nodes.len()),
            inputs: self.inputs.iter().map(|id| new_ids[id]).collect(),
            outputs: self.outputs.iter().map(|id| new_ids[id]).collect(),
            constants: IndexMap::new(),
            producers: vec![None; used.len()],
        };
        for (id, tensor) in &self.constants {
            if let Some(&new) = new_ids.get(id) {
                graph.constants.insert(new, tensor.clone());
            }
        }
        for node in nodes {
            let id = NodeId(graph.nodes.len() as u32);
            let inputs: Vec<_> = node.inputs.iter().map(|input| input.map(|old| new_ids[&old])).collect();
            let outputs: Vec<_> = node.outputs.iter().map(|old| new_ids[old]).collect();
            let node = Node { inputs, outputs, ..node.clone() };
            let constants: Vec<_> =
                node.inputs.iter().map(|input| input.and_then(|id| graph.constants.get(&id))).collect();
            // A broken rule is left to `verify`, which names the place.
            if let Ok(Some(types)) = infer(&node.op, &graph.input_types(&node), &constants) {
                for (&output, ty) in node.outputs.iter().zip(types) {
                    let declared = &mut graph.values[output.index()].ty;
                    if ty.shape.is_some() || declared.dtype != ty.dtype {
                        *declared = ty;
                    }
                }
            }
            for output in &node.outputs {
                graph.producers[output.index()] = Some(id);
            }
            graph.nodes.push(node);
        }
        verify(&graph)?;
        Ok((graph, self.renames))
    }

    /// [`GraphEditor::finish`] for a new graph, whose names have no history.
    ///
    /// # Errors
    /// The first invariant that the edits broke.
    pub fn build(self) -> Result<Graph, EditError> {
        self.finish().map(|(graph, _)| graph)
    }

    fn infer(
        &self,
        name: &str,
        op: &Op,
        inputs: &[Option<ValueId>],
    ) -> Result<Option<Vec<TensorType>>, EditError> {
        let types: Vec<_> = inputs.iter().map(|input| input.map(|id| &self.values[id.index()].ty)).collect();
        let constants: Vec<_> =
            inputs.iter().map(|input| input.and_then(|id| self.constants.get(&id))).collect();
        infer(op, &types, &constants).map_err(|error| EditError::Operator {
            graph: self.name.clone(),
            node: name.to_owned(),
            error: Box::new(error),
        })
    }

    fn add_value(&mut self, name: String, ty: TensorType) -> Result<ValueId, EditError> {
        if name.is_empty() || self.value_names.contains_key(&name) {
            return Err(self.name_taken(name));
        }
        let id = ValueId(self.values.len() as u32);
        self.value_names.insert(name.clone(), id);
        self.values.push(Value { name, ty });
        Ok(id)
    }

    fn name_taken(&self, name: String) -> EditError {
        EditError::NameTaken { graph: self.name.clone(), name }
    }

    /// Positions of the nodes so that each stands after those it reads; the earliest ready one first.
    fn topological_order(&self) -> Result<Vec<usize>, VerifyError> {
        let mut producer = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            for output in node.iter().flat_map(|node| &node.outputs) {
                producer.insert(*output, index);
            }
        }
        let mut waiting_for = vec![0usize; self.nodes.len()];
        let mut readers: HashMap<usize, Vec<usize>> = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let sources: BTreeSet<usize> = node
                .iter()
                .flat_map(|node| node.inputs.iter().flatten())
                .filter_map(|input| producer.get(input).copied())
                .collect();
            waiting_for[index] = sources.len();
            for source in sources {
                readers.entry(source).or_default().push(index);
            }
        }
        let present = |index: &usize| self.nodes[*index].is_some();
        let mut ready: BTreeSet<usize> =
            (0..self.nodes.len()).filter(|index| present(index) && waiting_for[*index] == 0).collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(index) = ready.pop_first() {
            order.push(index);
            for &reader in readers.get(&index).into_iter().flatten() {
                waiting_for[reader] -= 1;
                if waiting_for[reader] == 0 {
                    ready.insert(reader);
                }
            }
        }
        let stuck =
            self.nodes.iter().enumerate().find(|(index, node)| node.is_some() && waiting_for[*index] > 0);
        match stuck {
            Some((_, Some(node))) => {
                Err(VerifyError::Cycle { graph: self.name.clone(), node: node.name.clone() })
            }
            _ => Ok(order),
        }
    }
}

#[cfg(test)]
mod tests;
