//! Losses, as the operators that they are made of. Formulas: the ONNX pages of NegativeLogLikelihoodLoss and
//! SoftmaxCrossEntropyLoss.

use calipers_ir::{
    Activation, BinaryKind, DType, Indexing, Movement, Op, Reduce, Scanning, Select, Tensor, UnaryKind,
    ValueId,
};

use super::graph::Fault;
use super::lowering::Lowering;

/// Lowers a loss; false for any other operator.
pub(super) fn lower(node: &mut Lowering<'_>) -> Result<bool, Fault> {
    match node.op_type() {
        "NegativeLogLikelihoodLoss" => {
            let x = node.input(0)?;
            of_log_probabilities(node, x)?;
        }
        "SoftmaxCrossEntropyLoss" => {
            let x = node.input(0)?;
            let softmax = Op::Scanning(Scanning::LogSoftmax { axis: 1, flatten: false });
            let x = match node.output(1) {
                None => node.add("log_probabilities", softmax, &[x])?,
                Some(_) => {
                    node.result(1, "log_probabilities", softmax, &[x])?;
                    let name = node.call.proto.output.get(1);
                    let id = name.and_then(|name| node.graph.values.get(name).copied());
                    id.ok_or("output 1 is missing")?
                }
            };
            of_log_probabilities(node, x)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// `-weight[target] x[target]` over axis 1, with 0 where the target is ignored; then its sum or weighted mean.
fn of_log_probabilities(node: &mut Lowering<'_>, x: ValueId) -> Result<(), Fault> {
    let mut attributes = node.attributes();
    let reduction = attributes.string("reduction")?.unwrap_or(b"mean");
    let ignore = attributes.int("ignore_index")?;
    let target = node.input(1)?;
    let weight = node.optional(2);
    let dtype = node.ty(x).dtype;
    let target_type = node.ty(target).dtype;
    let scalar = |value: i64| match target_type {
        DType::I32 => Ok(Tensor::scalar(value as i32)),
        DType::I64 => Ok(Tensor::scalar(value)),
        other => Err(format!("expected a target of i32 or i64, found {other}")),
    };

    let mut safe = target;
    let mut ignored = None;
    if let Some(index) = ignore {
        let index = node.constant("ignore_index", scalar(index)?)?;
        let zero = node.constant("class_0", scalar(0)?)?;
        let mask = node.binary("ignored", BinaryKind::Equal, target, index)?;
        safe = node.add("target", Op::Select(Select::Where), &[mask, zero, target])?;
        ignored = Some(mask);
    }
    let axis = node.ints("axis", &[1])?;
    let positions = node.add("positions", Op::Movement(Movement::Unsqueeze), &[safe, axis])?;
    let picked = node.add("picked", Op::Indexing(Indexing::GatherElements { axis: 1 }), &[x, positions])?;
    let picked = node.add("probabilities", Op::Movement(Movement::Squeeze), &[picked, axis])?;
    let mut losses = node.add("negative", Op::Unary(UnaryKind::Neg), &[picked])?;

    let mut weights = match weight {
        Some(weight) => Some(node.add(
            "weights",
            Op::Indexing(Indexing::Gather { axis: 0, batch_dims: 0 }),
            &[weight, safe],
        )?),
        None => None,
    };
    if let Some(mask) = ignored {
        let zero = node.float("zero", 0.0, dtype)?;
        let rest = match weights {
            Some(weights) => weights,
            None => node.float("one", 1.0, dtype)?,
        };
        weights = Some(node.add("kept_weights", Op::Select(Select::Where), &[mask, zero, rest])?);
    }
    if let Some(weights) = weights {
        losses = node.binary("weighted", BinaryKind::Mul, losses, weights)?;
    }
    let all = |mean: bool| match mean {
        true => Op::Reduce(Reduce::Mean { keepdims: false, noop_with_empty_axes: false }),
        false => Op::Reduce(Reduce::Sum { keepdims: false, noop_with_empty_axes: false }),
    };
    match (reduction, weights) {
        (b"none", _) => node.result(0, "loss", Op::Unary(UnaryKind::Identity), &[losses]),
        (b"sum", _) => node.result(0, "loss", all(false), &[losses]),
        (b"mean", None) => node.result(0, "loss", all(true), &[losses]),
        (b"mean", Some(weights)) => {
            let sum = node.add("sum", all(false), &[losses])?;
            let total = node.add("total_weight", all(false), &[weights])?;
            node.result(0, "loss", Op::Binary(BinaryKind::Div, Activation::None), &[sum, total])
        }
        (other, _) => Err(Fault::Node(format!(
            "attribute `reduction`: expected none, sum or mean, found {}",
            String::from_utf8_lossy(other)
        ))),
    }
}
