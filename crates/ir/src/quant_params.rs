//! Quantization parameters of a value, read off the nodes around it.

use crate::{DType, Graph, Op, Tensor, ValueId};

/// How the integers of a value stand for real numbers: `real = scale * (q - zero_point)`.
///
/// Derived from Quantize and Dequantize nodes whose scale and zero point are constants; nothing stores it.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantParams {
    /// One scale, or one for each slice along `axis` (or for each block, in row-major order).
    pub scale: Vec<f32>,
    /// As many zero points as scales.
    pub zero_point: Vec<i64>,
    /// The axis of several scales, counted from the front; `None` when there is one scale for all.
    pub axis: Option<usize>,
    /// Elements of `axis` that share a scale; `None` when not blocked.
    pub block: Option<usize>,
    /// Storage type of the integers.
    pub dtype: DType,
}

impl Graph {
    /// The parameters of a quantized value (the output of a QuantizeLinear or the input of a DequantizeLinear), or
    /// those that a float value is about to get or has just lost (the input of a QuantizeLinear, the output of a
    /// DequantizeLinear). `None` when there are no such nodes or their parameters are no constants.
    pub fn quant_params(&self, id: ValueId) -> Option<QuantParams> {
        let produced = self.producer(id).into_iter().map(|node| (node, self.node(node)));
        produced.chain(self.consumers(id)).find_map(|(_, node)| {
            let (axis, block_size, dtype) = match &node.op {
                Op::QuantizeLinear(quantize) => (quantize.axis, quantize.block_size, quantize.dtype),
                Op::DequantizeLinear(dequantize) => {
                    (dequantize.axis, dequantize.block_size, self.value(node.input(0)?).ty.dtype)
                }
                _ => return None,
            };
            if node.input(0) != Some(id) && node.outputs.first() != Some(&id) {
                return None;
            }
            let scale = self.constant(node.input(1)?)?;
            let scales = scale.as_f32()?.into_owned();
            let zero_point = match node.input(2) {
                Some(zero_point) => self.constant(zero_point).and_then(Tensor::to_integers)?,
                None => vec![0; scales.len()],
            };
            let rank = self.value(id).ty.rank()? as i64;
            let axis = if axis < 0 { axis + rank } else { axis };
            Some(QuantParams {
                axis: (scales.len() > 1).then_some(axis as usize),
                block: (block_size > 0).then_some(block_size),
                scale: scales,
                zero_point,
                dtype,
            })
        })
    }
}
