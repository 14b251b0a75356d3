//! Where the bytes of a file are.

use std::collections::{BTreeMap, HashSet};

use calipers_ir::Graph;

use super::tensors::bytes;
use super::{Ledger, LedgerRow, TensorFacts};
use crate::Role;

/// The ledger of a file of `file` bytes. Tensors that share their bytes are counted once.
pub(super) fn ledger(file: u64, graphs: &[(Option<&str>, &Graph)], tensors: &[TensorFacts]) -> Ledger {
    let mut seen = HashSet::new();
    let mut rows: BTreeMap<(Role, &str), LedgerRow> = BTreeMap::new();
    let stored = graphs.iter().flat_map(|(_, graph)| graph.constants().values());
    for (facts, tensor) in tensors.iter().zip(stored) {
        let slice = tensor.bytes();
        let is_shared = !slice.is_empty() && !seen.insert((slice.as_ptr() as usize, slice.len()));
        let row = rows.entry((facts.role, facts.dtype.as_str())).or_insert_with(|| LedgerRow {
            role: facts.role,
            dtype: facts.dtype.clone(),
            tensors: 0,
            elements: 0,
            bytes: 0,
        });
        row.tensors += 1;
        row.elements += tensor.len() as u64;
        row.bytes += if is_shared { 0 } else { bytes(tensor) };
    }
    let mut rows: Vec<LedgerRow> = rows.into_values().collect();
    rows.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| (a.role, &a.dtype).cmp(&(b.role, &b.dtype))));
    let constants: u64 = rows.iter().map(|row| row.bytes).sum();
    // A file that is smaller than its constants has them elsewhere; its own bytes are then structure.
    let beside = if constants > file { constants } else { 0 };
    Ledger { file, beside, rest: (file + beside).saturating_sub(constants), rows }
}
