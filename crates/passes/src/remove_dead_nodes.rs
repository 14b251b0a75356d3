//! Removes what no output of the graph depends on.

use std::collections::HashSet;

use calipers_ir::{Graph, GraphEditor, ValueId};

use crate::{PassError, Rewritten};

/// Removes nodes that no output of the graph depends on, with the constants that only they read.
///
/// Always legal: nodes have no effect but their outputs. Inputs of the graph stay, read or not.
///
/// ```text
/// node kept %kept: f32[2] = Relu(%x)
/// node dead %dead: f32[2] = Add(%x, %one)
/// output %kept
/// ```
/// becomes
/// ```text
/// node kept %kept: f32[2] = Relu(%x)
/// output %kept
/// ```
///
/// # Errors
/// A graph that was broken before.
pub fn remove_dead_nodes(graph: &Graph) -> Result<Rewritten, PassError> {
    let mut live: HashSet<ValueId> = graph.outputs().iter().copied().collect();
    let mut editor = GraphEditor::edit(graph);
    let mut rewrites = 0;
    for (id, node) in graph.node_ids().rev() {
        if node.outputs.iter().any(|output| live.contains(output)) {
            live.extend(node.inputs.iter().flatten());
        } else {
            editor.remove_node(id);
            rewrites += 1;
        }
    }
    Rewritten::finish("remove_dead_nodes", editor, rewrites, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::remove_dead_nodes;
    use crate::before_after::check;

    #[test]
    fn a_chain_that_nothing_reads_goes_with_its_constants() {
        let before = "graph g {
          input %x: f32[2]
          input %unread: f32[3]
          const %one: f32[2] = [1.0, 1.0]
          const %two: f32[2] = [2.0, 2.0]
          node dead %dead: f32[2] = Add(%x, %one)
          node deader %deader: f32[2] = Relu(%dead)
          node kept %kept: f32[2] = Mul(%x, %two)
          output %kept
        }";
        let after = "graph g {
          input %x: f32[2]
          input %unread: f32[3]
          const %two: f32[2] = [2.0, 2.0]
          node kept %kept: f32[2] = Mul(%x, %two)
          output %kept
        }";
        assert_eq!(check(before, after, remove_dead_nodes).rewrites, 2);
    }
}
