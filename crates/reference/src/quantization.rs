//! Quantization and its inverse, with ONNX Runtime's arithmetic: everything in f32, ties to even, NaN to the lowest.

use calipers_ir::{DType, DequantizeLinear, QuantizeLinear, Tensor};

use crate::Error;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::packing::pack;
use crate::shape::around;

/// `saturate(round_half_even(x / scale) + zero_point)`; for floats `saturate(x / scale)`.
pub(crate) fn quantize(quantize: &QuantizeLinear, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let tensor = inputs.tensor(0)?;
    let places = Places::of(inputs, quantize.axis, quantize.block_size)?;
    let (x, scales) = (inputs.floats(0)?, inputs.floats(1)?);
    let dtype = quantize.dtype;
    let Some((low, high)) = dtype.integer_range() else {
        return floats(quantize, inputs, &places, x, &scales);
    };
    let zero_points = zero_points(inputs, &places, dtype)?;
    let (low, high) = (low as f64, high as f64);
    let quantized = x.into_iter().enumerate().map(|(at, value)| {
        let place = places.at(at);
        let zero_point = zero_points.as_ref().map_or(0, |points| points[place]);
        let steps = f64::from((value / scales[place]).round_ties_even()) + zero_point as f64;
        if steps.is_nan() { low as i64 } else { steps.clamp(low, high) as i64 }
    });
    Ok(vec![inputs.result(dtype, tensor.shape(), Numbers::I64(quantized.collect()))?])
}

/// Quantization to floats of 4 and 8 bits.
fn floats(
    quantize: &QuantizeLinear,
    inputs: &Inputs<'_>,
    places: &Places,
    x: Vec<f32>,
    scales: &[f32],
) -> Result<Vec<Tensor>, Error> {
    let dtype = quantize.dtype;
    let shape = inputs.tensor(0)?.shape();
    if !matches!(
        dtype,
        DType::F4E2M1 | DType::F8E4M3Fn | DType::F8E4M3FnUz | DType::F8E5M2 | DType::F8E5M2FnUz
    ) {
        return Err(inputs.unsupported_type(dtype, "integers, floats of 4 and 8 bits"));
    }
    if inputs.optional(2).is_some() && inputs.floats(2)?.iter().any(|&zero_point| zero_point != 0.0) {
        return Err(inputs.argument(format!("zero points of 0 for type {dtype}"), "others"));
    }
    // A zero point of plus zero makes minus zero plus zero; 8-bit floats leave their zero points out.
    let zero = if inputs.optional(2).is_some() && dtype == DType::F4E2M1 { 0.0 } else { -0.0 };
    let scaled = x.into_iter().enumerate().map(|(at, value)| value / scales[places.at(at)] + zero).collect();
    let codes = Numbers::F32(scaled).into_codes(dtype, quantize.saturate);
    let bytes = if dtype == DType::F4E2M1 { pack(&codes, 4) } else { codes };
    let result = Tensor::new(dtype, shape, bytes.into());
    Ok(vec![result.map_err(|error| inputs.argument("a result that can be stored", error.to_string()))?])
}

/// `scale (x - zero_point)`, of the scale's type.
pub(crate) fn dequantize(dequantize: &DequantizeLinear, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let tensor = inputs.tensor(0)?;
    let places = Places::of(inputs, dequantize.axis, dequantize.block_size)?;
    let scales = inputs.floats(1)?;
    let dtype = match inputs.tensor(1)?.dtype() {
        // An exponent alone cannot hold the result.
        DType::F8E8M0 => DType::F32,
        dtype => dtype,
    };
    let values = match inputs.numbers(0)? {
        Numbers::I64(x) => {
            let zero_points = zero_points(inputs, &places, tensor.dtype())?;
            let value = |(at, value): (usize, i64)| {
                let place = places.at(at);
                let zero_point = zero_points.as_ref().map_or(0, |points| points[place]);
                // The difference wraps in i32.
                (value.wrapping_sub(zero_point) as i32) as f32 * scales[place]
            };
            x.into_iter().enumerate().map(value).collect()
        }
        Numbers::F32(x) => {
            x.into_iter().enumerate().map(|(at, value)| value * scales[places.at(at)]).collect()
        }
        Numbers::F64(_) | Numbers::U64(_) | Numbers::Bool(_) => {
            return Err(inputs.unsupported_type(tensor.dtype(), "quantized types"));
        }
    };
    Ok(vec![inputs.result(dtype, tensor.shape(), Numbers::F32(values))?])
}

/// u8 data, f32 scale and u8 zero point: `scale = (max - min) / 255` over the range with 0, or 1 when that is empty.
pub(crate) fn dynamic(inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let tensor = inputs.tensor(0)?;
    let x = inputs.floats(0)?;
    let low = x.iter().copied().fold(0.0, f32::min);
    let high = x.iter().copied().fold(0.0, f32::max);
    let scale = if high == low { 1.0 } else { (high - low) / 255.0 };
    let zero_point = (0.0 - low / scale).clamp(0.0, 255.0).round_ties_even();
    let quantized = x.into_iter().map(|value| {
        let steps = (value / scale).round_ties_even() + zero_point;
        if steps.is_nan() { 0 } else { steps.clamp(0.0, 255.0) as i64 }
    });
    Ok(vec![
        inputs.result(DType::U8, tensor.shape(), Numbers::I64(quantized.collect()))?,
        Tensor::scalar(scale),
        Tensor::scalar(zero_point as u8),
    ])
}

/// The zero points, as many as scales, or none.
fn zero_points(inputs: &Inputs<'_>, places: &Places, dtype: DType) -> Result<Option<Vec<i64>>, Error> {
    let Some(zero_point) = inputs.optional(2) else { return Ok(None) };
    if zero_point.dtype() != dtype || zero_point.len() != places.scales {
        return Err(inputs.argument(
            format!("{} zero points of type {dtype}", places.scales),
            format!("{} of type {}", zero_point.len(), zero_point.dtype()),
        ));
    }
    inputs.integers(2).map(Some)
}

/// Which scale belongs to which element: `extent` places along an axis, `block` of which share a scale.
struct Places {
    scales: usize,
    extent: usize,
    inner: usize,
    block: usize,
    blocks: usize,
    /// Whether the axes before the quantized one, and those after it, have scales of their own.
    blocked: bool,
}

impl Places {
    fn of(inputs: &Inputs<'_>, axis: i64, block: usize) -> Result<Places, Error> {
        let (shape, scale) = (inputs.tensor(0)?.shape(), inputs.tensor(1)?);
        let scales = scale.len();
        if block == 0 && scales == 1 && scale.shape().len() <= 1 {
            return Ok(Places { scales, extent: 1, inner: 1, block: 1, blocks: 1, blocked: false });
        }
        let axis = inputs.axis(axis, shape.len())?;
        let (_, extent, inner) = around(shape, axis);
        let blocks = if block == 0 { extent } else { extent.div_ceil(block) };
        let mut blocked_shape = shape.to_vec();
        blocked_shape[axis] = blocks;
        let expected = if block == 0 { vec![extent] } else { blocked_shape };
        if scale.shape() != expected {
            return Err(inputs.argument(
                format!("a scale of shape {expected:?}, or one for all"),
                format!("shape {:?}", scale.shape()),
            ));
        }
        Ok(Places { scales, extent, inner, block: block.max(1), blocks, blocked: block != 0 })
    }

    fn at(&self, element: usize) -> usize {
        if self.scales == 1 {
            return 0;
        }
        let along = element / self.inner % self.extent / self.block;
        match self.blocked {
            false => along,
            true => {
                (element / (self.inner * self.extent) * self.blocks + along) * self.inner
                    + element % self.inner
            }
        }
    }
}
