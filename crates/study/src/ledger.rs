//! Where the bytes of a deployed file are, and why some of them still hold floats.

use std::collections::BTreeMap;

use calipers_inspect::Role;
use calipers_workers::protocol::{Class, ExecutedOperator, Kind, Variant};

use crate::report::{Ledger, LedgerEntry};
use crate::stored::Stored;

/// The ledger of a file of `file_bytes` bytes that holds the tensors `stored`.
///
/// Weights stand for themselves, those that were one initializer and are of one type together; vectors, scales and
/// shapes are summed by what they are for and by type, as `biases (21)`. The rest is negative where the file is compressed, or where tensors are in
/// files beside it. Floats among weights are explained by the file's own assignment, else by the `operators` that were
/// seen to execute.
pub fn ledger(
    file_bytes: u64,
    stored: &[Stored],
    variant: Variant,
    operators: &[ExecutedOperator],
) -> Ledger {
    let mut entries: Vec<LedgerEntry> = Vec::new();
    let mut weights: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut groups: BTreeMap<(&str, &str), (usize, LedgerEntry)> = BTreeMap::new();
    for tensor in stored {
        if let Some(group) = group(tensor) {
            let empty = || (0, entry(String::new(), tensor));
            let (count, sum) = groups
                .entry((group, tensor.dtype.as_str()))
                .and_modify(|(_, sum)| add(sum, tensor))
                .or_insert_with(empty);
            *count += 1;
            sum.name = format!("{group} ({count})");
            continue;
        }
        let key = tensor.initializer.as_deref().map(|initializer| (initializer, tensor.dtype.as_str()));
        match key.and_then(|key| Some((key.0, *weights.get(&key)?))) {
            Some((initializer, at)) => {
                add(&mut entries[at], tensor);
                entries[at].name = initializer.to_owned();
            }
            None => {
                if let Some(key) = key {
                    weights.insert(key, entries.len());
                }
                let why_float = why_float(tensor, stored, variant, operators);
                entries.push(LedgerEntry { why_float, ..entry(tensor.name.clone(), tensor) });
            }
        }
    }
    entries.extend(groups.into_values().map(|(_, sum)| sum));
    entries.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    let sum: u64 = entries.iter().map(|entry| entry.bytes).sum();
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    Ledger { entries, rest: signed(file_bytes).saturating_sub(signed(sum)) }
}

fn entry(name: String, tensor: &Stored) -> LedgerEntry {
    let Stored { dtype, elements, bytes, .. } = tensor;
    LedgerEntry { name, dtype: dtype.clone(), elements: *elements, bytes: *bytes, why_float: None }
}

fn add(entry: &mut LedgerEntry, tensor: &Stored) {
    entry.elements += tensor.elements;
    entry.bytes += tensor.bytes;
}

/// What a tensor is summed up with; `None` of a weight.
fn group(tensor: &Stored) -> Option<&'static str> {
    match tensor.role {
        Some(role @ (Role::Scale | Role::Index | Role::Bias)) => Some(role.name()),
        Some(Role::Weight) if tensor.rank < 2 => Some("other vectors and scalars"),
        None if tensor.rank < 2 => Some("vectors and scalars"),
        Some(Role::Weight) | None => None,
    }
}

/// Why a weight is stored in float; `None` where it is not.
fn why_float(
    tensor: &Stored,
    stored: &[Stored],
    variant: Variant,
    operators: &[ExecutedOperator],
) -> Option<String> {
    let is_float = |tensor: &Stored| tensor.dtype.starts_with('f') || tensor.dtype.starts_with("bf");
    if !is_float(tensor) {
        return None;
    }
    if matches!(variant, Variant::Float | Variant::FloatFinetuned) {
        return Some(String::from("the variant is float"));
    }
    if let Some(reason) = &tensor.reason {
        return Some(reason.clone());
    }
    // A recurrent operator has several weights.
    let reads_it = |operator: &ExecutedOperator| match operator.kind {
        Kind::Recurrent => operator.weights >= tensor.elements,
        _ => operator.weights == tensor.elements,
    };
    let of = |class: Class| operators.iter().find(|operator| operator.class == class && reads_it(operator));
    Some(if let Some(operator) = of(Class::Float) {
        format!("`{}` computes in float", operator.name)
    } else if let Some(operator) = of(Class::WeightOnly) {
        format!("`{}` reads it in {} bits and computes in float", operator.name, operator.weight_bits)
    } else if let Some(operator) = of(Class::Dynamic).or_else(|| of(Class::Integer)) {
        if stored.iter().any(|other| other.elements == tensor.elements && !is_float(other)) {
            format!("kept beside its integers, which `{}` reads", operator.name)
        } else {
            format!("`{}` makes integers of it when the model is loaded or run", operator.name)
        }
    } else {
        String::from("what reads it was not seen")
    })
}

#[cfg(test)]
mod tests {
    use calipers_inspect::Role;
    use calipers_ir::{Model, Tensor};
    use calipers_models::{Options, resnet8};
    use calipers_quant::{CalibrationOptions, Document, QuantAssignment, Recipe, quantize};
    use calipers_workers::protocol::{Class, ExecutedOperator, Kind, Variant};

    use super::ledger;
    use crate::stored::{Stored, of_model_file};

    fn tensor(name: &str, dtype: &str, rank: usize, elements: u64, role: Option<Role>) -> Stored {
        let width = if dtype == "i8" { 1 } else { 4 };
        Stored {
            name: name.to_owned(),
            initializer: None,
            dtype: dtype.to_owned(),
            rank,
            elements,
            bytes: elements * width,
            role,
            reason: None,
            weight: None,
        }
    }

    fn operator(name: &str, class: Class, weights: u64) -> ExecutedOperator {
        ExecutedOperator {
            name: name.to_owned(),
            kind: Kind::MatrixProduct,
            class,
            macs: weights,
            weights,
            weight_bits: 32,
            activation_bits: None,
        }
    }

    #[test]
    fn vectors_are_summed_and_floats_explained() {
        let stored = [
            tensor("a", "i8", 4, 1000, None),
            tensor("b", "f32", 2, 500, None),
            tensor("c", "f32", 2, 70, None),
            tensor("a.scale", "f32", 1, 10, Some(Role::Scale)),
            tensor("b.scale", "f32", 4, 5, Some(Role::Scale)),
            tensor("a.bias", "f32", 1, 10, Some(Role::Bias)),
            tensor("mean", "f32", 1, 3, None),
        ];
        let operators = [operator("linear", Class::Float, 500), operator("lookup", Class::WeightOnly, 70)];
        let made = ledger(3000, &stored, Variant::PtqDynamic, &operators);
        let rows: Vec<(&str, u64, u64)> =
            made.entries.iter().map(|entry| (entry.name.as_str(), entry.elements, entry.bytes)).collect();
        assert_eq!(
            rows,
            [
                ("b", 500, 2000),
                ("a", 1000, 1000),
                ("c", 70, 280),
                ("scales and zero points (2)", 15, 60),
                ("biases (1)", 10, 40),
                ("vectors and scalars (1)", 3, 12),
            ]
        );
        // The tensors have 3392 bytes; the file is compressed.
        assert_eq!(made.rest, -392);
        let why = |at: usize| made.entries[at].why_float.as_deref();
        assert_eq!(why(0), Some("`linear` computes in float"));
        assert_eq!((why(1), why(3), why(4), why(5)), (None, None, None, None));
        assert_eq!(why(2), Some("`lookup` reads it in 32 bits and computes in float"));
        let float = ledger(3000, &stored, Variant::Float, &operators);
        assert_eq!(float.entries[0].why_float.as_deref(), Some("the variant is float"));
    }

    #[test]
    fn our_files_say_why_a_layer_is_float() {
        let graph = resnet8(&Options::default(), 5).unwrap();
        let image = Tensor::from_vec([1, 3, 32, 32], vec![0.5f32; 3072]).unwrap();
        let batch = vec![(String::from("input"), image)];
        let recipe = Recipe { exclude: vec![String::from("fc")], ..Recipe::default() };
        let made = quantize(&graph, [batch], &recipe, &CalibrationOptions::default(), |_| {}).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.onnx");
        calipers_formats::onnx::write(&Model::new(made.graph), &file).unwrap();
        made.assignment.save(&QuantAssignment::path_beside(&file)).unwrap();
        let bytes = std::fs::metadata(&file).unwrap().len();
        let made = ledger(bytes, &of_model_file(&file).unwrap(), Variant::PtqStatic, &[]);
        let sum: u64 = made.entries.iter().map(|entry| entry.bytes).sum();
        assert_eq!(sum + u64::try_from(made.rest).unwrap(), bytes);
        // 64 x 64 x 9 weights of one byte are the largest tensor.
        assert_eq!((made.entries[0].bytes, made.entries[0].dtype.as_str()), (36_864, "i8"));
        let floats: Vec<_> = made.entries.iter().filter(|entry| entry.why_float.is_some()).collect();
        let [fc] = floats[..] else { panic!("{floats:?}") };
        assert_eq!((fc.name.as_str(), fc.bytes), ("fc.weight", 64 * 10 * 4));
        assert!(fc.why_float.as_deref().unwrap().starts_with("the recipe excludes"), "{fc:?}");
        // Nine convolutions have a bias each, of 32 bits; the last layer's is in float.
        let biases = made.entries.iter().find(|entry| entry.name == "biases (9)").unwrap();
        assert_eq!((biases.dtype.as_str(), biases.elements), ("i32", 3 * 16 + 3 * 32 + 3 * 64));
    }
}
