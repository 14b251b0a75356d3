//! Which nodes of a graph with TFLite's requantization become one step of its integer arithmetic.
//!
//! | nodes | become |
//! |---|---|
//! | Dequantize -> an operator -> [Relu, Clip] -> Quantize | the operator on integers |
//! | Dequantize -> a comparison | the comparison on integers |
//! | Dequantize -> Quantize | integers under other parameters |
//! | Quantize, Dequantize alone | themselves, with TFLite's rounding |
//!
//! What `crate::tflite` has no arithmetic for runs as the graph states it, in f32 between Dequantize and Quantize.

use calipers_ir::{Activation, Node, NodeId, Op, ValueId};
use calipers_kernels::quantize::Params;

use super::Scope;
use super::pattern::{as_activation, sole_producer};
use super::quantized::params;
use crate::error::Error;
use crate::tflite::{Operand, Unit};

/// A step of TFLite's arithmetic and what it reads.
pub(crate) struct Found {
    pub(crate) unit: Unit,
    pub(crate) inputs: Vec<Option<ValueId>>,
}

/// The step that a node ends.
pub(crate) fn find(scope: &Scope<'_>, end: NodeId) -> Result<Option<Found>, Error> {
    let node = scope.graph.node(end);
    let Op::QuantizeLinear(_) = &node.op else {
        return match &node.op {
            Op::DequantizeLinear(_) => quantization(scope, node),
            Op::Binary(..) => unit(scope, node, Activation::None, None),
            _ => Ok(None),
        };
    };
    let Some(output) = params(scope, node)? else { return Ok(None) };
    if let ([output], Some(core)) = (output.as_slice(), node.input(0).and_then(|x| sole_producer(scope, x))) {
        let mut core = scope.graph.node(core);
        let mut activation = core.op.activation();
        if let Some(found) = as_activation(core)
            && let Some(before) = core.input(0).and_then(|x| sole_producer(scope, x))
            && fuses(&scope.graph.node(before).op)
        {
            core = scope.graph.node(before);
            activation = found;
        }
        if let Some(found) = unit(scope, core, activation, Some((node, *output)))? {
            return Ok(Some(found));
        }
    }
    quantization(scope, node)
}

/// Whether TFLite fuses an activation into the operator, of those whose nodes have no place for it.
fn fuses(op: &Op) -> bool {
    matches!(op, Op::Pool(_)) && op.activation() == Activation::None
}

/// A Quantize or Dequantize node by itself.
fn quantization(scope: &Scope<'_>, node: &Node) -> Result<Option<Found>, Error> {
    let (Some(params), Some(x)) = (params(scope, node)?, node.input(0)) else { return Ok(None) };
    let axis = match &node.op {
        Op::QuantizeLinear(quantize) => quantize.axis,
        Op::DequantizeLinear(dequantize) => dequantize.axis,
        _ => return Ok(None),
    };
    let shape = scope.shape(x);
    let rank = shape.len() as i64;
    let axis = usize::try_from(if axis < 0 { axis + rank } else { axis }).unwrap_or(usize::MAX);
    let fits = params.len() == 1 || shape.get(axis) == Some(&params.len());
    let inner =
        if params.len() == 1 { 1 } else { shape.get(axis + 1..).map_or(1, |rest| rest.iter().product()) };
    let to = scope.dtype(node.outputs[0]);
    let unit = Unit::quantization(scope.dtype(x), to, params, inner).filter(|_| fits);
    Ok(unit.map(|unit| Found { unit, inputs: vec![Some(x)] }))
}

/// An operator whose real arguments come from Dequantize nodes. `end` is the Quantize node after it.
fn unit(
    scope: &Scope<'_>,
    core: &Node,
    activation: Activation,
    end: Option<(&Node, Params)>,
) -> Result<Option<Found>, Error> {
    let mut inputs = Vec::with_capacity(core.inputs.len());
    let mut operands = Vec::with_capacity(core.inputs.len());
    let dequantizes = matches!(core.op, Op::DequantizeLinear(_));
    let arguments =
        if dequantizes { core.outputs.iter().copied().map(Some).collect() } else { core.inputs.clone() };
    for argument in arguments {
        let Some(value) = argument else {
            inputs.push(None);
            operands.push(None);
            continue;
        };
        let producer = scope.graph.producer(value).map(|id| scope.graph.node(id));
        let dequantize = producer.filter(|node| matches!(node.op, Op::DequantizeLinear(_)));
        let read = match dequantize {
            Some(node) => match (params(scope, node)?, node.input(0)) {
                (Some(params), Some(integers)) => (integers, params),
                _ => return Ok(None),
            },
            None => (value, Vec::new()),
        };
        operands.push(Some(Operand { dtype: scope.dtype(read.0), params: read.1 }));
        inputs.push(Some(read.0));
    }
    let result = end.map_or(core.outputs[0], |(node, _)| node.outputs[0]);
    let unit = Unit::of(
        &core.op,
        activation,
        operands,
        end.map(|(_, params)| params),
        scope.dtype(result),
        scope.shape(result),
    );
    Ok(unit.map(|unit| Found { unit, inputs }))
}
