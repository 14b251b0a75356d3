//! Removes nodes that hand on their input.

use std::collections::HashMap;

use calipers_ir::{Graph, GraphEditor, Node, Op, UnaryKind, ValueId};

use crate::{Note, PassError, Rewritten};

const PASS: &str = "remove_identities";

/// Lets readers of a node that hands on its input read that input, and removes the node.
///
/// Such nodes are Identity, Clip without bounds, Transpose that keeps the order, Flatten of a matrix at axis 1, and
/// Reshape to the shape that is there. Legal everywhere but between an output of the graph and an input, a constant or
/// another output, where both names are the user's.
///
/// ```text
/// node sum %sum: f32[2] = Add(%x, %x)
/// node same %same: f32[2] = Identity(%sum)
/// node relu %relu: f32[2] = Relu(%same)
/// ```
/// becomes, with `same` renamed to `sum`,
/// ```text
/// node sum %sum: f32[2] = Add(%x, %x)
/// node relu %relu: f32[2] = Relu(%sum)
/// ```
///
/// # Errors
/// A graph that was broken before.
pub fn remove_identities(graph: &Graph) -> Result<Rewritten, PassError> {
    inside(graph)?.then(at_outputs)
}

/// Those whose result is no output of the graph.
fn inside(graph: &Graph) -> Result<Rewritten, PassError> {
    let mut editor = GraphEditor::edit(graph);
    let mut sources: HashMap<ValueId, ValueId> = HashMap::new();
    for (id, node) in graph.node_ids() {
        let Some(source) = handed_on(graph, node) else { continue };
        if graph.outputs().contains(&node.outputs[0]) {
            continue;
        }
        let source = sources.get(&source).copied().unwrap_or(source);
        editor.replace_uses(node.outputs[0], source, &[]);
        editor.record_renamed(node.outputs[0], source);
        editor.remove_node(id);
        sources.insert(node.outputs[0], source);
    }
    Rewritten::finish(PASS, editor, sources.len(), Vec::new())
}

/// Those whose result is an output of the graph: what makes their input takes over the output's name.
fn at_outputs(graph: &Graph) -> Result<Rewritten, PassError> {
    let mut editor = GraphEditor::edit(graph);
    let mut taken: Vec<ValueId> = Vec::new();
    let mut notes = Vec::new();
    for (id, node) in graph.node_ids() {
        let Some(source) = handed_on(graph, node) else { continue };
        let source_is_named =
            graph.producer(source).is_none() || graph.outputs().contains(&source) || taken.contains(&source);
        if source_is_named {
            let source = &graph.value(source).name;
            let reason = format!("it connects an output of the graph to `{source}`, whose name stays too");
            notes.push(Note { pass: PASS, node: node.name.clone(), reason });
            continue;
        }
        editor.replace_uses(node.outputs[0], source, &[]);
        editor.remove_node(id);
        taken.push(source);
    }
    Rewritten::finish(PASS, editor, taken.len(), notes)
}

/// The input that a node of one output hands on unchanged.
fn handed_on(graph: &Graph, node: &Node) -> Option<ValueId> {
    let input = node.input(0)?;
    let (from, to) = (&graph.value(input).ty, &graph.value(*node.outputs.first()?).ty);
    let same = match &node.op {
        Op::Unary(kind) => *kind == UnaryKind::Identity,
        Op::Clip(clip) => clip.min == f32::NEG_INFINITY && clip.max == f32::INFINITY,
        Op::Transpose { permutation } => permutation.is_sorted(),
        Op::Flatten { axis } => from.rank() == Some(2) && (*axis == 1 || *axis == -1),
        Op::Reshape => from.shape.is_some() && from == to,
        Op::Conv(_)
        | Op::Gemm(_)
        | Op::MatMul
        | Op::Binary(..)
        | Op::Pool(_)
        | Op::GlobalPool(..)
        | Op::BatchNormalization(_)
        | Op::QuantizeLinear(_)
        | Op::DequantizeLinear(_)
        | Op::ConvTranspose(_)
        | Op::ConvInteger(_)
        | Op::Product(_)
        | Op::Variadic(_)
        | Op::Select(_)
        | Op::Normalize(_)
        | Op::Reduce(_)
        | Op::Scanning(_)
        | Op::Movement(_)
        | Op::Indexing(_)
        | Op::Creation(_)
        | Op::Image(_)
        | Op::Signal(_)
        | Op::Recurrent(_)
        | Op::Control(_)
        | Op::DynamicQuantizeLinear
        | Op::Opaque(_) => false,
    };
    same.then_some(input)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use calipers_ir::Fate;

    use super::remove_identities;
    use crate::before_after::check;

    fn renamed(names: &[(&str, &str)]) -> BTreeMap<String, Fate> {
        names.iter().map(|(old, new)| (String::from(*old), Fate::Renamed(String::from(*new)))).collect()
    }

    #[test]
    fn readers_of_a_chain_read_its_start() {
        let before = r#"graph g {
          input %x: f32[N, 4]
          const %same_shape: i64[2] = [0, 4]
          node sum %sum: f32[N, 4] = Add(%x, %x)
          node a %a: f32[N, 4] = Identity(%sum)
          node b %b: f32[N, 4] = Clip(%a)
          node c %c: f32[N, 4] = Transpose(%b) {permutation = [0, 1]}
          node d %d: f32[N, 4] = Flatten(%c)
          node e %e: f32[N, 4] = Reshape(%d, %same_shape)
          node relu %relu: f32[N, 4] = Relu(%e)
          output %relu
        }"#;
        let after = "graph g {
          input %x: f32[N, 4]
          node sum %sum: f32[N, 4] = Add(%x, %x)
          node relu %relu: f32[N, 4] = Relu(%sum)
          output %relu
        }";
        let result = check(before, after, remove_identities);
        let names = ["a", "b", "c", "d", "e"].map(|name| (name, "sum"));
        assert_eq!((result.rewrites, result.renames.0), (5, renamed(&names)));
    }

    #[test]
    fn an_output_keeps_its_name() {
        let before = "graph g {
          input %x: f32[2]
          node relu %relu: f32[2] = Relu(%x)
          node inner %inner: f32[2] = Identity(%relu)
          node first %first: f32[2] = Identity(%inner)
          node second %second: f32[2] = Identity(%relu)
          node third %third: f32[2] = Identity(%x)
          output %first
          output %second
          output %third
        }";
        let after = "graph g {
          input %x: f32[2]
          node relu %first: f32[2] = Relu(%x)
          node second %second: f32[2] = Identity(%first)
          node third %third: f32[2] = Identity(%x)
          output %first
          output %second
          output %third
        }";
        let result = check(before, after, remove_identities);
        assert_eq!(result.renames.0, renamed(&[("relu", "first"), ("inner", "first")]));
        let notes: Vec<String> = result.notes.iter().map(ToString::to_string).collect();
        assert_eq!(
            notes,
            [
                "remove_identities: node `second` stays: it connects an output of the graph to `relu`, whose name \
                 stays too",
                "remove_identities: node `third` stays: it connects an output of the graph to `x`, whose name stays \
                 too",
            ]
        );
    }

    #[test]
    fn what_changes_data_stays() {
        let text = "graph g {
          input %x: f32[2, 3, 4]
          const %shape: i64[2] = [0, -1]
          node clip %clip: f32[2, 3, 4] = Clip(%x) {min = 0.0}
          node turn %turn: f32[3, 2, 4] = Transpose(%clip) {permutation = [1, 0, 2]}
          node reshape %reshape: f32[3, 8] = Reshape(%turn, %shape)
          node flatten %flatten: f32[1, 24] = Flatten(%reshape) {axis = 0}
          output %flatten
        }";
        assert_eq!(check(text, text, remove_identities).rewrites, 0);
    }
}
