//! Which operator set a model is written in: its own, or the first later one that has all that it uses.

use calipers_ir::{
    Creation, DType, Graph, Image, Indexing, Model, Movement, Node, Normalize, Op, Pool, PoolKind, Product,
    Recurrent, Scanning, Select, Signal, Tensor, Window,
};

use super::super::{NEWEST_OPSET, OLDEST_OPSET, WriteError, versions};
use super::operator::per_tensor;

/// The version of the default operator set that a model is written in.
pub(super) fn of(model: &Model) -> Result<i64, WriteError> {
    let own = model.opsets.get("").copied().unwrap_or(Model::DEFAULT_OPSET);
    if own > NEWEST_OPSET {
        let reason = format!("operator set {own} is not written; the last one is {NEWEST_OPSET}");
        return Err(WriteError::Model { reason });
    }
    let graphs = || std::iter::once(&model.graph).chain(model.subgraphs.values());
    let nodes = || graphs().flat_map(|graph| graph.nodes().iter().map(move |node| (graph, node)));
    let needed =
        nodes().map(|(graph, node)| (first_opset(graph, node), node)).max_by_key(|(opset, _)| *opset);
    let Some((needed, node)) = needed.filter(|(needed, _)| *needed > own) else { return Ok(own) };
    // A kept operator may mean something else in a later set.
    let kept = |node: &Node| matches!(&node.op, Op::Opaque(opaque) if opaque.domain.is_empty());
    match nodes().find(|(_, node)| kept(node)) {
        Some((_, kept)) => Err(WriteError::Node {
            node: node.name.clone(),
            op: node.op.name().to_owned(),
            reason: format!(
                "it needs operator set {needed}, the model has {own}, and node `{}` ({}) is kept as read in that set; \
                 convert the original model with onnx.version_converter.convert_version(model, {needed})",
                kept.name, kept.op
            ),
        }),
        None => Ok(needed),
    }
}

/// The first operator set in which a node can be said.
fn first_opset(graph: &Graph, node: &Node) -> i64 {
    let types = node.inputs.iter().flatten().chain(&node.outputs).map(|&id| graph.value(id).ty.dtype);
    let exists = versions::first_version(node.op.name()).unwrap_or(OLDEST_OPSET).max(OLDEST_OPSET);
    let needs = |condition: bool, version: i64| if condition { version } else { OLDEST_OPSET };
    let constant = |index: usize| node.input(index).is_none_or(|id| graph.constant(id).is_some());
    let form = match &node.op {
        Op::QuantizeLinear(quantize) => {
            let stated = node.input(2).is_none() && quantize.dtype != DType::U8;
            [
                needs(quantize.block_size != 0 || stated, 21),
                needs(!quantize.saturate, 19),
                needs(!per_tensor(graph, node), 13),
            ]
            .into_iter()
            .chain(types.map(quantized_since))
            .fold(OLDEST_OPSET, i64::max)
        }
        Op::DequantizeLinear(dequantize) => {
            [needs(dequantize.block_size != 0, 21), needs(!per_tensor(graph, node), 13)]
                .into_iter()
                .chain(types.map(quantized_since))
                .fold(OLDEST_OPSET, i64::max)
        }
        Op::Pool(Pool { kind, window, ceil, .. }) => match kind {
            PoolKind::Average { .. } => needs(dilated(window), 19).max(needs(*ceil, 10)),
            PoolKind::Lp { .. } => needs(dilated(window) || *ceil, 18),
            PoolKind::Max => needs(dilated(window) || *ceil, 10),
        },
        Op::Clip(_) => 11,
        Op::Select(Select::Limit) => {
            types.map(|dtype| if dtype == DType::F32 { 11 } else { 12 }).fold(11, i64::max)
        }
        Op::Select(Select::Cast { saturate, round_mode, .. }) => {
            needs(!saturate, 19).max(needs(round_mode != "up", 24))
        }
        Op::Reduce(reduce) => {
            let sum = matches!(reduce, calipers_ir::Reduce::Sum { .. });
            let noop = node.op.attributes().contains_key("noop_with_empty_axes");
            needs(noop || !constant(1), if sum { 13 } else { 18 })
        }
        Op::Scanning(scanning) => match scanning {
            Scanning::ArgMax { select_last_index, .. } | Scanning::ArgMin { select_last_index, .. } => {
                needs(*select_last_index, 12)
            }
            Scanning::Softmax { axis, flatten, .. }
            | Scanning::LogSoftmax { axis, flatten }
            | Scanning::Hardmax { axis, flatten } => {
                let rank = node.input(0).and_then(|id| graph.value(id).ty.rank());
                let last = *axis == -1 || rank.is_some_and(|rank| axis + 1 == rank as i64);
                needs(!flatten && !last, 13)
            }
            Scanning::TopK { .. } => 11,
            Scanning::CumSum { .. } | Scanning::CumProd { .. } => OLDEST_OPSET,
        },
        Op::Movement(movement) => match movement {
            Movement::Squeeze | Movement::Unsqueeze => needs(!constant(1), 13),
            Movement::Split { num_outputs, .. } => {
                let uneven = num_outputs.is_some() && node.input(1).is_none() && !even(graph, node);
                needs(!constant(1), 13).max(needs(uneven, 18))
            }
            Movement::Pad { mode } => {
                if mode == "wrap" {
                    19
                } else {
                    needs(node.input(3).is_some(), 18).max(11)
                }
            }
            Movement::Slice => 10,
            _ => OLDEST_OPSET,
        },
        Op::Indexing(indexing) => match indexing {
            Indexing::GatherNd { batch_dims } => needs(*batch_dims != 0, 12),
            Indexing::ScatterElements { reduction, .. } | Indexing::ScatterNd { reduction } => {
                match reduction.as_str() {
                    "none" => OLDEST_OPSET,
                    "add" | "mul" => 16,
                    _ => 18,
                }
            }
            _ => OLDEST_OPSET,
        },
        Op::Creation(Creation::Shape { start, end }) => needs(*start != 0 || end.is_some(), 15),
        Op::Image(Image::Resize { antialias, axes, keep_aspect_ratio_policy, .. }) => {
            needs(*antialias || axes.is_some() || keep_aspect_ratio_policy != "stretch", 18).max(11)
        }
        Op::Image(Image::RoiAlign { coordinate_transformation_mode, .. }) => {
            needs(coordinate_transformation_mode != "output_half_pixel", 16)
        }
        Op::Normalize(Normalize::Group { scale_per_group, .. }) => needs(!scale_per_group, 21),
        Op::Signal(Signal::Dft { .. }) => needs(!constant(2), 20),
        Op::Signal(Signal::Stft { .. }) => OLDEST_OPSET,
        Op::Recurrent(
            Recurrent::Rnn { layout, .. } | Recurrent::Gru { layout, .. } | Recurrent::Lstm { layout, .. },
        ) => needs(*layout != 0, 14),
        Op::Product(Product::Attention { .. }) => needs(node.input(6).is_some(), 24),
        Op::Opaque(_) => return OLDEST_OPSET,
        Op::Conv(_)
        | Op::ConvTranspose(_)
        | Op::ConvInteger(_)
        | Op::Gemm(_)
        | Op::MatMul
        | Op::Product(_)
        | Op::Unary(_)
        | Op::Binary(..)
        | Op::Variadic(_)
        | Op::Select(_)
        | Op::GlobalPool(..)
        | Op::BatchNormalization(_)
        | Op::Normalize(_)
        | Op::Reshape
        | Op::Flatten { .. }
        | Op::Transpose { .. }
        | Op::Creation(_)
        | Op::Image(_)
        | Op::Recurrent(_)
        | Op::Control(_)
        | Op::DynamicQuantizeLinear => OLDEST_OPSET,
    };
    let activation = match node.op.activation() {
        calipers_ir::Activation::Clip(_) => 11,
        _ => OLDEST_OPSET,
    };
    form.max(exists).max(activation)
}

/// Whether all parts of a split are known to be equal.
fn even(graph: &Graph, node: &Node) -> bool {
    let shape = |id: &calipers_ir::ValueId| graph.value(*id).ty.shape.clone();
    let shapes: Option<Vec<_>> = node.outputs.iter().map(shape).collect();
    shapes.is_some_and(|shapes| shapes.windows(2).all(|pair| pair[0] == pair[1]))
}

/// The first operator set whose Quantize and Dequantize know a storage type.
fn quantized_since(dtype: DType) -> i64 {
    match dtype {
        DType::F16
        | DType::BF16
        | DType::F8E4M3Fn
        | DType::F8E4M3FnUz
        | DType::F8E5M2
        | DType::F8E5M2FnUz => 19,
        DType::I4 | DType::U4 | DType::I16 | DType::U16 => 21,
        DType::F4E2M1 => 23,
        DType::F8E8M0 => 24,
        DType::I2 | DType::U2 => 25,
        _ => OLDEST_OPSET,
    }
}

pub(super) fn dilated(window: &Window) -> bool {
    window.dilations.iter().any(|&dilation| dilation != 1)
}

/// The integers of a constant argument.
pub(super) fn integers(graph: &Graph, node: &Node, index: usize) -> Option<Vec<i64>> {
    graph.constant(node.input(index)?).and_then(Tensor::to_integers)
}
