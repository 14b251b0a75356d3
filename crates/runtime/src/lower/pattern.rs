//! Which nodes become one step.
//!
//! Integer patterns end at a Quantize node to 8 bits with one constant scale and begin at Dequantize nodes of the same
//! storage type:
//!
//! | pattern | becomes |
//! |---|---|
//! | Dequantize, constant weights -> Conv -> [Relu, Clip] -> Quantize | 8-bit convolution, requantized |
//! | Dequantize, constant weights -> Gemm, MatMul -> [Relu, Clip] -> Quantize | 8-bit product, requantized |
//! | Dequantize, constant weights -> Gemm, MatMul | 8-bit product, scaled to f32 |
//! | two Dequantize of one shape -> Add -> [Relu, Clip] -> Quantize | 8-bit sum |
//! | Dequantize -> AveragePool, GlobalAveragePool -> Quantize | 8-bit mean |
//! | Dequantize -> MaxPool, GlobalMaxPool, Reshape, Flatten, Transpose, Identity -> Quantize, equal parameters | the same on integers |
//!
//! They are those that ONNX Runtime 1.2x forms on its CPU provider, and a Relu or Clip that the Quantize node does not
//! already imply (which ONNX Runtime runs in f32; results can differ by one step there). Nothing may read a value
//! inside a pattern; a probe may, and gets it computed beside the integer step.

use calipers_ir::{
    Activation, BinaryKind, DType, Node, NodeId, Op, PoolKind, Requantization, UnaryKind, ValueId,
};
use calipers_kernels::quantize::Params;

use super::quantized::{ByteValue, ByteWeights, bias, dequantized, per_tensor, weights};
use super::{Scope, geometry, tflite};
use crate::error::Error;

/// How the node that ends a step is computed.
pub(crate) enum Pattern {
    /// By itself.
    Alone,
    /// As the activation of the f32 node before it.
    Activated { core: NodeId, activation: Activation },
    /// As the end of an integer pattern.
    Bytes(BytePattern),
    /// In TFLite's integer arithmetic.
    TfLite(tflite::Found),
}

/// An integer pattern.
pub(crate) struct BytePattern {
    /// The node between Dequantize and Quantize.
    pub(crate) core: NodeId,
    pub(crate) x: ByteValue,
    /// The second operand of a sum.
    pub(crate) y: Option<ByteValue>,
    pub(crate) weights: Option<ByteWeights>,
    pub(crate) bias: Option<Vec<i32>>,
    pub(crate) to: Destination,
}

/// What the sums of an integer pattern become.
#[derive(Clone, Copy)]
pub(crate) enum Destination {
    /// Integers of the input's type within an inclusive range.
    Bytes { params: Params, range: [i32; 2] },
    /// Real numbers.
    Floats,
}

impl Pattern {
    /// The values that the step reads and that are no constants.
    pub(crate) fn inputs(&self, scope: &Scope<'_>, end: NodeId) -> Vec<ValueId> {
        let of_node = |id: NodeId| scope.graph.node(id).inputs.iter().flatten().copied().collect();
        let inputs: Vec<ValueId> = match self {
            Pattern::Alone => of_node(end),
            Pattern::Activated { core, .. } => of_node(*core),
            Pattern::Bytes(pattern) => {
                std::iter::once(pattern.x.value).chain(pattern.y.map(|operand| operand.value)).collect()
            }
            Pattern::TfLite(found) => found.inputs.iter().flatten().copied().collect(),
        };
        inputs.into_iter().filter(|input| !scope.constants.is_constant(*input)).collect()
    }
}

/// The pattern that a node ends.
pub(crate) fn find(scope: &Scope<'_>, end: NodeId) -> Result<Pattern, Error> {
    let node = scope.graph.node(end);
    if scope.graph.requantization() == Requantization::TfLite {
        return Ok(match tflite::find(scope, end)? {
            Some(found) => Pattern::TfLite(found),
            None => Pattern::Alone,
        });
    }
    let bytes = match &node.op {
        Op::QuantizeLinear(_) => ending_in_quantize(scope, node)?,
        Op::Gemm(_) | Op::MatMul if node.op.activation() == Activation::None => {
            product(scope, end, Destination::Floats)?
        }
        _ => None,
    };
    if let Some(bytes) = bytes {
        return Ok(Pattern::Bytes(bytes));
    }
    let Some(activation) = as_activation(node) else { return Ok(Pattern::Alone) };
    let Some(core) =
        node.input(0).filter(|x| !scope.wanted.contains(x)).and_then(|x| sole_producer(scope, x))
    else {
        return Ok(Pattern::Alone);
    };
    let core_node = scope.graph.node(core);
    let carries =
        matches!(core_node.op, Op::Conv(_) | Op::Gemm(_) | Op::Binary(..) | Op::BatchNormalization(_));
    let plain = core_node.op.activation() == Activation::None;
    // A product of integers has no place for an activation of its own.
    let integer = matches!(core_node.op, Op::Gemm(_)) && product(scope, core, Destination::Floats)?.is_some();
    Ok(if carries && plain && !integer { Pattern::Activated { core, activation } } else { Pattern::Alone })
}

/// The activation that a node is.
pub(super) fn as_activation(node: &Node) -> Option<Activation> {
    match &node.op {
        Op::Unary(UnaryKind::Relu) => Some(Activation::Relu),
        Op::Clip(clip) => Some(Activation::Clip(*clip)),
        _ => None,
    }
}

/// The node that computes a value which one node alone reads.
pub(super) fn sole_producer(scope: &Scope<'_>, value: ValueId) -> Option<NodeId> {
    scope.graph.only_consumer(value)?;
    scope.graph.producer(value)
}

fn ending_in_quantize(scope: &Scope<'_>, quantize: &Node) -> Result<Option<BytePattern>, Error> {
    let Op::QuantizeLinear(attributes) = &quantize.op else { return Ok(None) };
    let bounds = match attributes.dtype {
        DType::U8 => [0, 255],
        DType::I8 => [-128, 127],
        _ => return Ok(None),
    };
    let Some(params) = per_tensor(scope, quantize)? else { return Ok(None) };
    let Some(mut core) = quantize.input(0).and_then(|x| sole_producer(scope, x)) else { return Ok(None) };
    let mut activation = Activation::None;
    if let Some(found) = as_activation(scope.graph.node(core)) {
        let before = scope.graph.node(core).input(0).and_then(|x| sole_producer(scope, x));
        if let Some(before) = before
            && matches!(scope.graph.node(before).op, Op::Conv(_) | Op::Gemm(_) | Op::MatMul | Op::Binary(..))
            && scope.graph.node(before).op.activation() == Activation::None
        {
            core = before;
            activation = found;
        }
    }
    let node = scope.graph.node(core);
    if activation == Activation::None {
        activation = node.op.activation();
    }
    let to = Destination::Bytes { params, range: byte_range(activation, params, bounds) };
    let found = match &node.op {
        Op::Conv(_) => convolution(scope, core, to)?,
        Op::Gemm(_) | Op::MatMul => product(scope, core, to)?,
        Op::Binary(BinaryKind::Add, _) => sum(scope, core, to)?,
        Op::Pool(pool) if matches!(pool.kind, PoolKind::Average { .. }) => of_one(scope, core, to)?,
        Op::GlobalPool(PoolKind::Average { .. }, _) => of_one(scope, core, to)?,
        Op::Pool(_)
        | Op::GlobalPool(..)
        | Op::Reshape
        | Op::Flatten { .. }
        | Op::Transpose { .. }
        | Op::Unary(UnaryKind::Identity) => {
            of_one(scope, core, to)?.filter(|pattern| pattern.x.params == params)
        }
        Op::Unary(_)
        | Op::Binary(..)
        | Op::Clip(_)
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
        | Op::Opaque(_) => None,
    };
    Ok(found.filter(|pattern| {
        let same = |operand: &ByteValue| operand.dtype == attributes.dtype;
        same(&pattern.x) && pattern.y.as_ref().is_none_or(same)
    }))
}

/// The range of integers that an activation leaves: quantization is monotone, so that a limit is its own image.
fn byte_range(activation: Activation, params: Params, bounds: [i32; 2]) -> [i32; 2] {
    geometry::range(activation).map(|limit| {
        // The cast saturates, also for the infinite limits.
        let limit = (limit / params.scale).round_ties_even() as i32;
        limit.saturating_add(params.zero_point).clamp(bounds[0], bounds[1])
    })
}

fn convolution(scope: &Scope<'_>, core: NodeId, to: Destination) -> Result<Option<BytePattern>, Error> {
    let node = scope.graph.node(core);
    let Some(x) = operand(scope, node, 0)? else { return Ok(None) };
    let Some(weights) = node.input(1).map_or(Ok(None), |w| weights(scope, w, 0))? else { return Ok(None) };
    with_bias(scope, core, x, weights, 1.0, to, |shape| shape[0])
}

/// A Gemm or MatMul with constant weights.
fn product(scope: &Scope<'_>, core: NodeId, to: Destination) -> Result<Option<BytePattern>, Error> {
    let node = scope.graph.node(core);
    let (alpha, output_axis, plain) = match &node.op {
        Op::Gemm(gemm) => {
            let plain = !gemm.transpose_a && (gemm.beta == 1.0 || node.input(2).is_none());
            (gemm.alpha, usize::from(!gemm.transpose_b), plain)
        }
        Op::MatMul => (1.0, 1, true),
        _ => return Ok(None),
    };
    let Some(x) = operand(scope, node, 0)? else { return Ok(None) };
    let Some(weights) = node.input(1).map_or(Ok(None), |w| weights(scope, w, output_axis))? else {
        return Ok(None);
    };
    if !plain || weights.shape.len() != 2 || scope.shape(x.value).len() < 2 {
        return Ok(None);
    }
    with_bias(scope, core, x, weights, alpha, to, |shape| shape[output_axis])
}

/// Reads the bias of a Conv or Gemm; `alpha` is a factor of the product that the bias does not have.
fn with_bias(
    scope: &Scope<'_>,
    core: NodeId,
    x: ByteValue,
    weights: ByteWeights,
    alpha: f32,
    to: Destination,
    channels: impl Fn(&[usize]) -> usize,
) -> Result<Option<BytePattern>, Error> {
    // ONNX Runtime takes unsigned weights for unsigned activations alone.
    if x.dtype == DType::I8 && weights.dtype != DType::I8 {
        return Ok(None);
    }
    let x = ByteValue { params: Params { scale: alpha * x.params.scale, ..x.params }, ..x };
    let bias = match scope.graph.node(core).input(2) {
        None => None,
        Some(value) => match bias(scope, value, x.params.scale, &weights.scales, channels(&weights.shape))? {
            Some(bias) => Some(bias),
            None => return Ok(None),
        },
    };
    Ok(Some(BytePattern { core, x, y: None, weights: Some(weights), bias, to }))
}

fn sum(scope: &Scope<'_>, core: NodeId, to: Destination) -> Result<Option<BytePattern>, Error> {
    let node = scope.graph.node(core);
    let (Some(x), Some(y)) = (operand(scope, node, 0)?, operand(scope, node, 1)?) else { return Ok(None) };
    if scope.shape(x.value) != scope.shape(y.value) {
        return Ok(None);
    }
    Ok(Some(BytePattern { core, x, y: Some(y), weights: None, bias: None, to }))
}

fn of_one(scope: &Scope<'_>, core: NodeId, to: Destination) -> Result<Option<BytePattern>, Error> {
    let x = operand(scope, scope.graph.node(core), 0)?;
    Ok(x.map(|x| BytePattern { core, x, y: None, weights: None, bias: None, to }))
}

fn operand(scope: &Scope<'_>, node: &Node, index: usize) -> Result<Option<ByteValue>, Error> {
    node.input(index).map_or(Ok(None), |input| dequantized(scope, input))
}
