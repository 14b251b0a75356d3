//! Rewrites of a [`Graph`](calipers_ir::Graph): one pass per file, each a function from one graph to another.
//!
//! A pass never changes what the graph's outputs are called, says of every value that it fuses away where it went
//! ([`Rewritten::renames`]), and says of what it nearly rewrote why it did not ([`Rewritten::notes`]). Passes compute
//! nothing themselves but folded parameters; where a node has to be evaluated, the caller gives an [`Evaluate`].
#![forbid(unsafe_code)]

mod rewritten;

mod remove_dead_nodes;
mod remove_identities;

mod fold_constants;

mod fold_batch_norm;

mod fuse_activations;

mod canonicalize;

mod extract;

pub use canonicalize::canonicalize;
pub use extract::extract;
pub use fold_batch_norm::fold_batch_norm;
pub use fold_constants::{Evaluate, Quantization, fold_constants};
pub use fuse_activations::fuse_activations;
pub use remove_dead_nodes::remove_dead_nodes;
pub use remove_identities::remove_identities;
pub use rewritten::{Note, PassError, Rewritten};

#[cfg(test)]
mod before_after;
