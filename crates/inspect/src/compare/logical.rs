//! The values that layers hand to each other, whatever conversions stand around them.

use std::collections::HashMap;

use calipers_ir::{Graph, NodeId, Op, QuantParams, ValueId};

use crate::bare_name;
use crate::describe::operator;
use crate::structure::{Part, Readers, parts};

/// What one layer makes, or an input of the graph.
///
/// ```text
/// layer -> raw -> QuantizeLinear -> integers -> DequantizeLinear -> views -> the layers behind
/// ```
#[derive(Clone, Debug)]
pub(super) struct Logical {
    /// All names that it may have in another model.
    pub names: Vec<String>,
    /// The layer; `None` for an input.
    pub node: Option<NodeId>,
    /// Its operator.
    pub operator: String,
    /// What it makes.
    pub raw: ValueId,
    /// Whether `raw` has readers that are no QuantizeLinear, or is an output of the graph.
    pub raw_is_read: bool,
    /// The integers that stand for it.
    pub integers: Option<(ValueId, QuantParams)>,
    /// Whether the integers have readers that are no DequantizeLinear, or are an output of the graph.
    pub integers_are_read: bool,
    /// What DequantizeLinear nodes make of the integers.
    pub views: Vec<ValueId>,
    /// All values that hold it in another QuantizeLinear's integers.
    pub others: Vec<ValueId>,
}

impl Logical {
    /// What is recorded of a run: the integers where there are any.
    pub fn recorded(&self) -> ValueId {
        self.integers.as_ref().map_or(self.raw, |(id, _)| *id)
    }

    /// The name that people know it by.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}

/// The values of a graph, inputs first, then in topological order; and where each value of the graph belongs.
pub(super) fn logicals(graph: &Graph) -> (Vec<Logical>, HashMap<ValueId, usize>) {
    let readers = Readers::of(graph);
    let parts = parts(graph);
    let inputs = graph.inputs().iter().map(|&id| (None, id));
    let made = graph.node_ids().filter(|(id, _)| parts[id.index()] == Part::Layer);
    let made = made.flat_map(|(id, node)| node.outputs.iter().map(move |&output| (Some(id), output)));
    let mut found: Vec<Logical> = Vec::new();
    let mut places: HashMap<ValueId, usize> = HashMap::new();
    for (node, raw) in inputs.chain(made) {
        let mut logical = one(graph, &readers, node, raw);
        // What only moves integers keeps their parameters.
        if logical.integers.is_none() && graph.value(raw).ty.dtype.integer_range().is_some() {
            let source = node.and_then(|id| graph.node(id).input(0)).and_then(|input| places.get(&input));
            if let Some((id, params)) = source.and_then(|&at| found[at].integers.clone())
                && graph.value(id).ty.dtype == graph.value(raw).ty.dtype
                && params.axis.is_none()
            {
                logical.integers = Some((raw, params));
                logical.integers_are_read = true;
            }
        }
        let at = found.len();
        let all = logical.views.iter().chain(&logical.others).copied().chain([raw, logical.recorded()]);
        places.extend(all.map(|id| (id, at)));
        found.push(logical);
    }
    (found, places)
}

fn one(graph: &Graph, readers: &Readers, node: Option<NodeId>, raw: ValueId) -> Logical {
    let is = |id: &NodeId, of: ValueId, quantizes: bool| {
        let node = graph.node(*id);
        let kind = match quantizes {
            true => matches!(node.op, Op::QuantizeLinear(_)),
            false => matches!(node.op, Op::DequantizeLinear(_)),
        };
        kind && node.input(0) == Some(of)
    };
    let results = |of: ValueId, quantizes: bool| -> Vec<ValueId> {
        let nodes = readers.of_value(of).iter().filter(|id| is(id, of, quantizes));
        nodes.filter_map(|id| graph.node(*id).outputs.first().copied()).collect()
    };
    let is_read = |of: ValueId, quantizes: bool| {
        graph.outputs().contains(&of) || readers.of_value(of).iter().any(|id| !is(id, of, quantizes))
    };
    let stored_as_integers = graph.value(raw).ty.dtype.integer_range().is_some();
    let all = if stored_as_integers { vec![raw] } else { results(raw, true) };
    let integers = all.first().and_then(|&id| Some((id, graph.quant_params(id)?)));
    let integers = integers.filter(|(_, params)| params.block.is_none());
    let views: Vec<ValueId> = all.iter().flat_map(|&id| results(id, false)).collect();
    let mut names: Vec<String> = Vec::new();
    let values = [raw].into_iter().chain(all.iter().copied()).chain(views.iter().copied());
    let own: Vec<&str> = values.map(|id| graph.value(id).name.as_str()).collect();
    for name in own.iter().map(|name| bare_name(name)).chain(own.iter().copied()) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    Logical {
        names,
        node,
        operator: node.map_or_else(|| String::from("input"), |id| operator(&graph.node(id).op)),
        raw,
        raw_is_read: is_read(raw, true),
        integers_are_read: all.iter().any(|&id| is_read(id, false)),
        integers,
        views,
        others: all.into_iter().skip(1).collect(),
    }
}
