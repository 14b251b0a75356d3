//! Which constant arguments of an operator are weights, and along which axes they share scales.

use calipers_ir::{DType, Graph, Indexing, Node, Op, Recurrent, Tensor, ValueId};

use crate::{Granularity, WeightScheme};

/// What shares a scale in a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slicing {
    pub axis: Option<usize>,
    pub block: Option<usize>,
}

/// A weight of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weight {
    /// Position among the arguments.
    pub input: usize,
    /// What its axes mean.
    axes: Axes,
}

#[derive(Clone, Copy, Debug)]
enum Axes {
    /// One axis of outputs, one that is summed over.
    Product { channel: usize, summed: usize },
    /// Rows that are taken as they are; scales lie along the last axis.
    Rows { last: usize },
    /// Neither.
    Other,
}

impl Weight {
    /// How a scheme divides the weight, which has this shape.
    pub fn slicing(&self, shape: &[usize], scheme: &WeightScheme) -> Slicing {
        let extent = |axis: usize| shape.get(axis).copied().unwrap_or_default();
        let whole = Slicing { axis: None, block: None };
        match (scheme.granularity, self.axes) {
            (Granularity::PerTensor, _) | (_, Axes::Other) => whole,
            (Granularity::PerChannel, Axes::Product { channel, .. }) => {
                Slicing { axis: Some(channel), block: None }
            }
            (Granularity::PerGroup(group), Axes::Product { channel, summed }) => {
                if extent(summed) > group {
                    Slicing { axis: Some(summed), block: Some(group) }
                } else {
                    Slicing { axis: Some(channel), block: None }
                }
            }
            (Granularity::PerChannel, Axes::Rows { last }) => {
                Slicing { axis: Some(last), block: Some(extent(last).max(1)) }
            }
            (Granularity::PerGroup(group), Axes::Rows { last }) => {
                Slicing { axis: Some(last), block: Some(group.min(extent(last)).max(1)) }
            }
        }
    }
}

/// The f32 constant of an argument.
pub(crate) fn constant<'a>(graph: &'a Graph, node: &Node, input: usize) -> Option<(ValueId, &'a Tensor)> {
    let id = node.input(input)?;
    let tensor = graph.constant(id)?;
    (tensor.dtype() == DType::F32).then_some((id, tensor))
}

/// The constant weights of a node: of convolutions, matrix products, embeddings and recurrent layers.
pub(crate) fn weights(graph: &Graph, node: &Node) -> Vec<Weight> {
    let shape = |input: usize| constant(graph, node, input).map(|(_, tensor)| tensor.shape());
    let product = |input: usize, least_rank: usize, channel: usize, summed: usize| {
        let fits = shape(input).is_some_and(|shape| shape.len() >= least_rank);
        fits.then_some(Weight { input, axes: Axes::Product { channel, summed } })
    };
    let found: Vec<Option<Weight>> = match &node.op {
        Op::Conv(_) => vec![product(1, 2, 0, 1)],
        Op::ConvTranspose(_) => vec![product(1, 2, 1, 0)],
        Op::Gemm(gemm) => vec![if gemm.transpose_b { product(1, 2, 0, 1) } else { product(1, 2, 1, 0) }],
        Op::MatMul => {
            let rank = shape(1).map_or(0, <[usize]>::len);
            vec![product(1, 2, rank.saturating_sub(1), rank.saturating_sub(2))]
        }
        Op::Indexing(Indexing::Gather { axis: 0, batch_dims: 0 }) => {
            let axes = match shape(0).map(<[usize]>::len) {
                Some(rank) if rank >= 2 => Axes::Rows { last: rank - 1 },
                _ => Axes::Other,
            };
            vec![shape(0).map(|_| Weight { input: 0, axes })]
        }
        Op::Recurrent(Recurrent::Lstm { .. } | Recurrent::Gru { .. } | Recurrent::Rnn { .. }) => {
            vec![product(1, 3, 1, 2), product(2, 3, 1, 2)]
        }
        Op::Recurrent(Recurrent::TfliteLstm { .. })
        | Op::ConvInteger(_)
        | Op::Product(_)
        | Op::Unary(_)
        | Op::Binary(..)
        | Op::Variadic(_)
        | Op::Select(_)
        | Op::Clip(_)
        | Op::Pool(_)
        | Op::GlobalPool(..)
        | Op::BatchNormalization(_)
        | Op::Normalize(_)
        | Op::Reduce(_)
        | Op::Scanning(_)
        | Op::Reshape
        | Op::Flatten { .. }
        | Op::Transpose { .. }
        | Op::Movement(_)
        | Op::Indexing(_)
        | Op::Creation(_)
        | Op::Image(_)
        | Op::Signal(_)
        | Op::Control(_)
        | Op::QuantizeLinear(_)
        | Op::DequantizeLinear(_)
        | Op::DynamicQuantizeLinear
        | Op::Opaque(_) => Vec::new(),
    };
    found.into_iter().flatten().collect()
}
