//! The check that every pass is tested with: a graph before and after, in text form.

use calipers_ir::text::{Constants, parse, to_text};
use calipers_ir::{Graph, verify};

use crate::{PassError, Rewritten};

/// Runs a pass on one graph and compares the result with the other.
pub fn check(before: &str, after: &str, pass: impl Fn(&Graph) -> Result<Rewritten, PassError>) -> Rewritten {
    let graph = parse(before).unwrap();
    let expected = parse(after).unwrap();
    let result = pass(&graph).unwrap();
    verify(&result.graph).unwrap();
    let (found, expected) = (to_text(&result.graph, Constants::Whole), to_text(&expected, Constants::Whole));
    assert_eq!(found, expected, "\nfound:\n{found}\nexpected:\n{expected}");
    for name in result.renames.0.keys() {
        assert_eq!(result.graph.value_named(name), None, "`{name}` is renamed, but still there");
    }
    result
}
