//! What a pass gives back, and how passes follow each other.

use std::fmt;

use calipers_ir::{EditError, Graph, GraphEditor, Renames, TensorType};
use thiserror::Error;

/// The result of a pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewritten {
    /// The graph after the pass, verified.
    pub graph: Graph,
    /// What became of the names of values that are not there any more.
    pub renames: Renames,
    /// How many matches were rewritten.
    pub rewrites: usize,
    /// What was nearly rewritten, in the order of the nodes.
    pub notes: Vec<Note>,
}

/// Why a pass left a node alone that it is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Name of the pass.
    pub pass: &'static str,
    /// Name of the node.
    pub node: String,
    /// The condition that does not hold.
    pub reason: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: node `{}` stays: {}", self.pass, self.node, self.reason)
    }
}

/// Why a pass gave no graph.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PassError {
    /// The graph after the pass breaks an invariant.
    #[error("pass {pass}: {error}")]
    Edit {
        /// Name of the pass.
        pass: &'static str,
        /// The invariant.
        error: Box<EditError>,
    },
    /// A part of a graph needs a value that is neither in it nor among its inputs.
    #[error("extract: {node} reads `{value}`, which is neither computed in the part nor one of its inputs")]
    Extract {
        /// The node that reads it.
        node: String,
        /// The value.
        value: String,
    },
    /// A node was evaluated to something else than its outputs.
    #[error("pass fold_constants, node `{node}`: evaluated to {found}, but its outputs are {expected}")]
    Evaluated {
        /// Name of the node.
        node: String,
        /// Types of its outputs.
        expected: String,
        /// Types of what the evaluation gave.
        found: String,
    },
}

impl Rewritten {
    /// A graph as it is.
    pub fn unchanged(graph: &Graph) -> Self {
        Rewritten { graph: graph.clone(), renames: Renames::default(), rewrites: 0, notes: Vec::new() }
    }

    /// Runs another pass on the graph, and appends what it did.
    ///
    /// # Errors
    /// Those of the pass.
    pub fn then(self, pass: impl FnOnce(&Graph) -> Result<Rewritten, PassError>) -> Result<Self, PassError> {
        let Rewritten { graph, mut renames, mut rewrites, mut notes } = self;
        let later = pass(&graph)?;
        renames.then(later.renames);
        rewrites += later.rewrites;
        notes.extend(later.notes);
        Ok(Rewritten { graph: later.graph, renames, rewrites, notes })
    }

    /// Repeats a pass whose result can match again until it rewrites nothing. Notes are those of the last round.
    pub(crate) fn until_unchanged(
        graph: &Graph,
        pass: impl Fn(&Graph) -> Result<Rewritten, PassError>,
    ) -> Result<Self, PassError> {
        let mut result = pass(graph)?;
        loop {
            let before = result.rewrites;
            result.notes.clear();
            result = result.then(&pass)?;
            if result.rewrites == before {
                return Ok(result);
            }
        }
    }

    /// Finishes the edits of a pass.
    pub(crate) fn finish(
        pass: &'static str,
        editor: GraphEditor,
        rewrites: usize,
        notes: Vec<Note>,
    ) -> Result<Self, PassError> {
        let (graph, renames) =
            editor.finish().map_err(|error| PassError::Edit { pass, error: Box::new(error) })?;
        Ok(Rewritten { graph, renames, rewrites, notes })
    }
}

/// Types as a list, for messages.
pub(crate) fn list<'a>(types: impl IntoIterator<Item = &'a TensorType>) -> String {
    let types: Vec<String> = types.into_iter().map(ToString::to_string).collect();
    format!("({})", types.join(", "))
}
