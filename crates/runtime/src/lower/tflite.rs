//! Which nodes of a graph with TFLite's requantization become one step of its integer arithmetic.
//!
//! | nodes | become |
//! |---|---|
//! | Dequantize -> an operator -> [Relu, Clip] -> Quantize | the operator on integers |
//! | Dequantize -> a comparison | the comparison on integers |
//! | Dequantize -> Quantize | integers under other parameters |
//! | an operator with f32 data and dequantized weights that the reader marked | a product with data quantized at each run |
//! | an LSTM on the tensors of the file | itself |
//! | Quantize, Dequantize alone | themselves, with TFLite's rounding |
//!
//! Nodes that the file itself has as operators (see [`Node::STATED`]) are no part of a group: floats lie between them.
//! What `crate::tflite` has no arithmetic for runs as the graph states it, in f32 between Dequantize and Quantize.

use calipers_ir::{Activation, Node, NodeId, Op, Recurrent, ValueId};
use calipers_kernels::quantize::Params;

use super::Scope;
use super::pattern::{as_activation, sole_producer};
use super::quantized::params;
use crate::error::Error;
use crate::tflite::{Operand, Rule, Unit};

/// A step of TFLite's arithmetic and what it reads.
pub(crate) struct Found {
    pub(crate) unit: Unit,
    pub(crate) inputs: Vec<Option<ValueId>>,
}

/// The values of arguments and what they are.
type Read = (Vec<Option<ValueId>>, Vec<Option<Operand>>);

/// The step that a node ends.
pub(crate) fn find(scope: &Scope<'_>, end: NodeId) -> Result<Option<Found>, Error> {
    let node = scope.graph.node(end);
    if let Some(found) = direct(scope, node)? {
        return Ok(Some(found));
    }
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
        if is_stated(node) && !matches!(core.op, Op::DequantizeLinear(_)) {
            return quantization(scope, node);
        }
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

/// An operator that stands without Dequantize and Quantize around its data: one on floats that the reader marked, or on
/// the tensors of the file.
fn direct(scope: &Scope<'_>, node: &Node) -> Result<Option<Found>, Error> {
    let Some(&result) = node.outputs.first() else { return Ok(None) };
    if let Op::Recurrent(layer @ Recurrent::TfliteLstm { .. }) = &node.op {
        let types: Vec<_> = node.inputs.iter().map(|input| input.map(|value| scope.dtype(value))).collect();
        let unit = Unit::recurrent(layer, &types, scope.dtype(result), scope.shape(result));
        return Ok(unit.map(|unit| Found { unit, inputs: node.inputs.clone() }));
    }
    let Some(rule) = node.metadata.get(Node::HYBRID).and_then(|name| Rule::named(name)) else {
        return Ok(None);
    };
    let Some((inputs, operands)) = operands(scope, node.inputs.iter().copied())? else { return Ok(None) };
    if scope.shape(result).contains(&0) {
        return Ok(None);
    }
    let unit = Unit::hybrid(&node.op, operands, rule, scope.shape(result));
    Ok(unit.map(|unit| Found { unit, inputs }))
}

/// Whether the file has a Quantize or Dequantize node as an operator of its own.
fn is_stated(node: &Node) -> bool {
    node.metadata.contains_key(Node::STATED)
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
    let dequantizes = matches!(core.op, Op::DequantizeLinear(_));
    let arguments: Vec<_> =
        if dequantizes { core.outputs.iter().copied().map(Some).collect() } else { core.inputs.clone() };
    let Some((inputs, operands)) = operands(scope, arguments)? else { return Ok(None) };
    let result = end.map_or(core.outputs[0], |(node, _)| node.outputs[0]);
    if scope.shape(result).contains(&0) {
        return Ok(None);
    }
    let unit = Unit::of(
        &core.op,
        activation,
        operands,
        end.map(|(_, params)| params),
        scope.dtype(result),
        scope.shape(result),
    );
    let unit = match core.metadata.contains_key(Node::POWERS_OF_TWO) {
        true => unit.map(Unit::with_powers_of_two),
        false => unit,
    };
    Ok(unit.map(|unit| Found { unit, inputs }))
}

/// What arguments are read from, the integers before a Dequantize node where there is one; `None` where its parameters
/// are no constants or something is empty.
fn operands(
    scope: &Scope<'_>,
    arguments: impl IntoIterator<Item = Option<ValueId>>,
) -> Result<Option<Read>, Error> {
    let (mut inputs, mut operands) = (Vec::new(), Vec::new());
    for argument in arguments {
        let Some(value) = argument else {
            inputs.push(None);
            operands.push(None);
            continue;
        };
        let producer = scope.graph.producer(value).map(|id| scope.graph.node(id));
        let dequantize =
            producer.filter(|node| matches!(node.op, Op::DequantizeLinear(_)) && !is_stated(node));
        let read = match dequantize {
            Some(node) => match (params(scope, node)?, node.input(0)) {
                (Some(params), Some(integers)) => (integers, params),
                _ => return Ok(None),
            },
            None => (value, Vec::new()),
        };
        if scope.shape(read.0).contains(&0) {
            return Ok(None);
        }
        operands.push(Some(Operand { dtype: scope.dtype(read.0), params: read.1 }));
        inputs.push(Some(read.0));
    }
    Ok(Some((inputs, operands)))
}
