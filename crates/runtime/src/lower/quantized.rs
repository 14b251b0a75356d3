//! Reading quantization off the nodes around a value.

use calipers_ir::{DType, Node, Op, Tensor, ValueId};
use calipers_kernels::quantize::Params;

use super::Scope;
use crate::error::Error;

/// An 8-bit value under one scale, read through a Dequantize node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ByteValue {
    /// The integers.
    pub(crate) value: ValueId,
    pub(crate) params: Params,
    pub(crate) dtype: DType,
}

/// Constant 8-bit weights, as signed bytes in the order of their tensor.
pub(crate) struct ByteWeights {
    pub(crate) data: Vec<i8>,
    pub(crate) shape: Vec<usize>,
    /// One for all output channels or one for each.
    pub(crate) scales: Vec<f32>,
    /// As many as scales, moved with the data to the signed range.
    pub(crate) zero_points: Vec<i32>,
    /// How they were stored.
    pub(crate) dtype: DType,
}

/// The one scale and zero point of a Quantize or Dequantize node, when they are constants.
pub(crate) fn per_tensor(scope: &Scope<'_>, node: &Node) -> Result<Option<Params>, Error> {
    Ok(match params(scope, node)?.as_deref() {
        Some([params]) => Some(*params),
        _ => None,
    })
}

/// The scales and zero points of a Quantize or Dequantize node, when they are constants of use.
///
/// `None` for blocked, computed or not positive scales.
pub(crate) fn params(scope: &Scope<'_>, node: &Node) -> Result<Option<Vec<Params>>, Error> {
    let block_size = match &node.op {
        Op::QuantizeLinear(quantize) => quantize.block_size,
        Op::DequantizeLinear(dequantize) => dequantize.block_size,
        _ => return Ok(None),
    };
    let constant = |index: usize| node.input(index).map_or(Ok(None), |input| scope.constants.get(input));
    let Some(scales) = constant(1)? else { return Ok(None) };
    let Some(scales) = scales.as_f32() else { return Ok(None) };
    let zero_points = match (node.input(2), constant(2)?) {
        (None, _) => vec![0; scales.len()],
        (Some(_), Some(zero_points)) => match zero_points.to_integers() {
            Some(zero_points) => zero_points,
            None => return Ok(None),
        },
        (Some(_), None) => return Ok(None),
    };
    let usable = block_size == 0
        && zero_points.len() == scales.len()
        && scales.iter().all(|scale| scale.is_finite() && *scale > 0.0);
    Ok(usable.then(|| {
        let pairs = scales.iter().zip(zero_points);
        pairs.map(|(scale, zero_point)| Params { scale: *scale, zero_point: zero_point as i32 }).collect()
    }))
}

/// The 8-bit integers behind a value that a Dequantize node computes under one scale.
pub(crate) fn dequantized(scope: &Scope<'_>, value: ValueId) -> Result<Option<ByteValue>, Error> {
    let Some((node, integers)) = dequantize_node(scope, value) else { return Ok(None) };
    let dtype = scope.dtype(integers);
    if !matches!(dtype, DType::U8 | DType::I8) {
        return Ok(None);
    }
    Ok(per_tensor(scope, node)?.map(|params| ByteValue { value: integers, params, dtype }))
}

/// The constant 8-bit weights behind a value that a Dequantize node computes, with one scale or one along `axis`.
pub(crate) fn weights(scope: &Scope<'_>, value: ValueId, axis: usize) -> Result<Option<ByteWeights>, Error> {
    let Some((node, integers)) = dequantize_node(scope, value) else { return Ok(None) };
    let Op::DequantizeLinear(dequantize) = &node.op else { return Ok(None) };
    let dtype = scope.dtype(integers);
    if !scope.constants.is_constant(integers) || !matches!(dtype, DType::U8 | DType::I8) {
        return Ok(None);
    }
    let (Some(params), Some(tensor)) = (params(scope, node)?, scope.constants.get(integers)?) else {
        return Ok(None);
    };
    let rank = tensor.shape().len() as i64;
    let along = if dequantize.axis < 0 { dequantize.axis + rank } else { dequantize.axis };
    if params.len() > 1 && along != axis as i64 {
        return Ok(None);
    }
    let Some((data, moved)) = signed(&tensor) else { return Ok(None) };
    Ok(Some(ByteWeights {
        data,
        shape: tensor.shape().to_vec(),
        scales: params.iter().map(|params| params.scale).collect(),
        zero_points: params.iter().map(|params| params.zero_point - moved).collect(),
        dtype,
    }))
}

/// 8-bit data as signed bytes, and what was subtracted to get there.
fn signed(tensor: &Tensor) -> Option<(Vec<i8>, i32)> {
    match tensor.dtype() {
        DType::I8 => Some((tensor.elements::<i8>().ok()?.into_owned(), 0)),
        DType::U8 => {
            let moved = tensor.elements::<u8>().ok()?.iter().map(|value| (value ^ 0x80) as i8).collect();
            Some((moved, 128))
        }
        _ => None,
    }
}

/// A constant bias in units of `input scale * weight scale` for each channel.
///
/// 32-bit integers stand as they are when their scale is that product (to 1 in 10,000); f32 biases are rounded half
/// to even to it. `None` when the bias is neither.
pub(crate) fn bias(
    scope: &Scope<'_>,
    value: ValueId,
    input_scale: f32,
    weight_scales: &[f32],
    channels: usize,
) -> Result<Option<Vec<i32>>, Error> {
    let units =
        |channel: usize| input_scale * weight_scales[if weight_scales.len() == 1 { 0 } else { channel }];
    if let Some((node, integers)) = dequantize_node(scope, value)
        && scope.dtype(integers) == DType::I32
    {
        let (Some(params), Some(tensor)) = (params(scope, node)?, scope.constants.get(integers)?) else {
            return Ok(None);
        };
        let fits = (0..channels).all(|channel| {
            let Some(params) = params.get(if params.len() == 1 { 0 } else { channel }) else { return false };
            let unit = units(channel);
            params.zero_point == 0 && (params.scale - unit).abs() <= 1e-4 * unit
        });
        let integers = tensor.to_integers().filter(|integers| fits && integers.len() == channels);
        return Ok(integers.map(|integers| integers.into_iter().map(|integer| integer as i32).collect()));
    }
    let Some(tensor) = scope.constants.get(value)? else { return Ok(None) };
    let Some(floats) = tensor.as_f32().filter(|floats| floats.len() == channels) else { return Ok(None) };
    let rounded =
        floats.iter().enumerate().map(|(channel, bias)| (bias / units(channel)).round_ties_even() as i32);
    Ok(Some(rounded.collect()))
}

fn dequantize_node<'a>(scope: &Scope<'a>, value: ValueId) -> Option<(&'a Node, ValueId)> {
    let node = scope.graph.node(scope.graph.producer(value)?);
    matches!(node.op, Op::DequantizeLinear(_)).then_some(())?;
    Some((node, node.input(0)?))
}
