//! From ranges and weights to scales and zero points, and from numbers to integers.
//!
//! `real = scale * (q - zero_point)`. Scales are computed in f64 and rounded once to f32, zero points from the f64
//! scale, both rounded half to even: the arithmetic of ONNX Runtime's quantizer (`compute_scale_zp` in
//! `onnxruntime/python/tools/quantization/quant_utils.py`). PyTorch's observers compute the same in f32 and bound
//! scales below by 2^-23, so theirs differ in the last bit, and for ranges below 3e-5.

use calipers_ir::{DType, Tensor, TensorError};
use serde::{Deserialize, Serialize};

use crate::{ActivationScheme, ActivationType, QuantError, Range};

/// Storage types that integers are quantized to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntegerType {
    /// 0 to 255.
    U8,
    /// -128 to 127.
    I8,
    /// Biases.
    I32,
}

impl IntegerType {
    /// The storage type in a graph.
    pub fn dtype(self) -> DType {
        match self {
            IntegerType::U8 => DType::U8,
            IntegerType::I8 => DType::I8,
            IntegerType::I32 => DType::I32,
        }
    }

    /// Smallest and largest integer.
    pub fn limits(self) -> (i32, i32) {
        match self {
            IntegerType::U8 => (0, 255),
            IntegerType::I8 => (-128, 127),
            IntegerType::I32 => (i32::MIN, i32::MAX),
        }
    }

    /// A tensor of this type from integers within its limits.
    fn tensor(self, shape: &[usize], integers: Vec<i32>) -> Result<Tensor, TensorError> {
        match self {
            IntegerType::U8 => Tensor::from_vec(shape, integers.into_iter().map(|q| q as u8).collect()),
            IntegerType::I8 => Tensor::from_vec(shape, integers.into_iter().map(|q| q as i8).collect()),
            IntegerType::I32 => Tensor::from_vec(shape, integers),
        }
    }
}

/// How numbers become integers of one value: one scale, or one for each slice along an axis, and one zero point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Storage type of the integers.
    #[serde(rename = "type")]
    pub dtype: IntegerType,
    /// Positive and finite.
    pub scale: Vec<f32>,
    /// Within the storage type; the integer that stands for 0.
    pub zero_point: i32,
    /// The axis of the scales; `None` when there is one for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axis: Option<usize>,
}

impl Parameters {
    /// The parameters of an activation of that range.
    ///
    /// The range is first widened to hold 0, and to `[-m, m]` when symmetric. `scale = (max - min) / (qmax - qmin)`,
    /// `zero_point = round(qmin - min / scale)`, or the middle of the integers when symmetric. The integers are 0 to
    /// 255 for u8, -128 to 127 for i8, and -127 to 127 for symmetric i8. A range whose scale would be no normal f32
    /// (all zeros) gets a scale of 1 and a zero point of 0.
    pub fn of_activation(range: Range, scheme: &ActivationScheme) -> Parameters {
        let (dtype, limits) = match (scheme.dtype, scheme.symmetric) {
            (ActivationType::U8, _) => (IntegerType::U8, (0.0, 255.0)),
            (ActivationType::I8, false) => (IntegerType::I8, (-128.0, 127.0)),
            (ActivationType::I8, true) => (IntegerType::I8, (-127.0, 127.0)),
        };
        let (mut min, mut max) = (f64::from(range.min).min(0.0), f64::from(range.max).max(0.0));
        if scheme.symmetric {
            max = max.max(-min);
            min = -max;
        }
        let scale = (max - min) / (limits.1 - limits.0);
        let Some(stored) = normal(scale) else {
            return Parameters { dtype, scale: vec![1.0], zero_point: 0, axis: None };
        };
        let zero_point: f64 =
            if scheme.symmetric { (limits.0 + limits.1) / 2.0 } else { limits.0 - min / scale };
        let zero_point = zero_point.round_ties_even().clamp(limits.0, limits.1) as i32;
        Parameters { dtype, scale: vec![stored], zero_point, axis: None }
    }

    /// The parameters of an i8 weight with a zero point of 0: `scale = max|w| / 127` for each slice along `axis`, or
    /// for all of it.
    ///
    /// A slice of zeros (more exactly, one whose scale would be no normal f32) takes the largest scale of the other
    /// slices, so that the bias that shares it keeps its resolution; 1 when all slices are zeros.
    ///
    /// # Errors
    /// The first element that is not finite, by name and index.
    pub fn of_weight(name: &str, weight: &Tensor, axis: Option<usize>) -> Result<Parameters, QuantError> {
        let data = finite(name, weight)?;
        let slices = Slices::new(weight.shape(), axis);
        let mut largest = vec![0f32; slices.count];
        for (run, chunk) in data.chunks(slices.inner).enumerate() {
            let slot = &mut largest[run % slices.count];
            *slot = chunk.iter().fold(*slot, |largest, w| largest.max(w.abs()));
        }
        let scales: Vec<Option<f32>> = largest.iter().map(|&w| normal(f64::from(w) / 127.0)).collect();
        let fallback = scales.iter().flatten().copied().reduce(f32::max).unwrap_or(1.0);
        let scale = scales.into_iter().map(|scale| scale.unwrap_or(fallback)).collect();
        Ok(Parameters { dtype: IntegerType::I8, scale, zero_point: 0, axis })
    }

    /// The parameters of an i32 bias: `scale = input scale * weight scale` in f32, zero point 0.
    ///
    /// Where a bias would not fit, the weight's scale is widened first, as ONNX Runtime's quantizer does, to
    /// `1.0001 max|bias| / (2^31 - 1) / input scale`; likewise where the product is no normal f32. The channels
    /// widened are counted.
    ///
    /// # Errors
    /// A bias that is not finite, or a product beyond f32.
    pub fn of_bias(
        node: &str,
        name: &str,
        bias: &Tensor,
        input_scale: f32,
        weight: &mut Parameters,
    ) -> Result<(Parameters, usize), QuantError> {
        let data = finite(name, bias)?;
        let mut widened = 0;
        let channels = weight.scale.len();
        for (channel, scale) in weight.scale.iter_mut().enumerate() {
            let largest = if channels == 1 {
                data.iter().fold(0f32, |largest, b| largest.max(b.abs()))
            } else {
                data.get(channel).map_or(0.0, |b| b.abs())
            };
            let least = (f64::from(largest) / f64::from(i32::MAX)).max(f64::from(f32::MIN_POSITIVE));
            if f64::from(input_scale) * f64::from(*scale) < least {
                *scale = (1.0001 * least / f64::from(input_scale)) as f32;
                widened += 1;
            }
            if !(input_scale * *scale).is_finite() {
                return Err(QuantError::BiasScale {
                    node: node.to_owned(),
                    input_scale,
                    weight_scale: *scale,
                });
            }
        }
        let scale = weight.scale.iter().map(|scale| input_scale * scale).collect();
        let axis = weight.axis.map(|_| 0);
        Ok((Parameters { dtype: IntegerType::I32, scale, zero_point: 0, axis }, widened))
    }

    /// `saturate(round_half_even(x / scale) + zero_point)`, the definition of ONNX's QuantizeLinear: the quotient in
    /// f32, for biases in f64, because theirs has more digits than an f32.
    ///
    /// # Errors
    /// An element that is not finite, or a scale count that is not that of the axis.
    pub fn quantize(&self, name: &str, tensor: &Tensor) -> Result<Tensor, QuantError> {
        self.check(name, tensor.shape())?;
        let data = finite(name, tensor)?;
        let slices = Slices::new(tensor.shape(), self.axis);
        let (low, high) = self.dtype.limits();
        let mut integers = Vec::with_capacity(data.len());
        for (run, chunk) in data.chunks(slices.inner).enumerate() {
            let scale = self.scale[run % slices.count];
            integers.extend(chunk.iter().map(|&x| {
                let quotient = match self.dtype {
                    IntegerType::U8 | IntegerType::I8 => f64::from(x / scale),
                    IntegerType::I32 => f64::from(x) / f64::from(scale),
                };
                let q = quotient.round_ties_even() + f64::from(self.zero_point);
                q.clamp(f64::from(low), f64::from(high)) as i32
            }));
        }
        self.dtype.tensor(tensor.shape(), integers).map_err(|error| QuantError::Assignment {
            place: format!("constant `{name}`"),
            expected: String::from("a tensor of integers"),
            found: error.to_string(),
        })
    }

    /// The scale as a graph holds it: a scalar, or a vector along the axis.
    pub(crate) fn scale_tensor(&self) -> Result<Tensor, TensorError> {
        match self.axis {
            None => Ok(Tensor::scalar(self.scale[0])),
            Some(_) => Tensor::from_vec([self.scale.len()], self.scale.clone()),
        }
    }

    /// The zero point as a graph holds it, of the scale's shape.
    pub(crate) fn zero_point_tensor(&self) -> Result<Tensor, TensorError> {
        match self.axis {
            None => self.dtype.tensor(&[], vec![self.zero_point]),
            Some(_) => self.dtype.tensor(&[self.scale.len()], vec![self.zero_point; self.scale.len()]),
        }
    }

    /// Whether the parameters can be those of something of that shape.
    pub(crate) fn check(&self, place: &str, shape: &[usize]) -> Result<(), QuantError> {
        let wrong = |expected: String, found: String| {
            Err(QuantError::Assignment { place: format!("`{place}`"), expected, found })
        };
        let expected = match self.axis {
            None => 1,
            Some(axis) => match shape.get(axis) {
                Some(&extent) => extent,
                None => return wrong(format!("an axis of {} axes", shape.len()), format!("axis {axis}")),
            },
        };
        if self.scale.len() != expected {
            return wrong(format!("{expected} scales"), format!("{}", self.scale.len()));
        }
        if let Some(scale) = self.scale.iter().find(|&&scale| !(scale > 0.0 && scale.is_finite())) {
            return wrong(String::from("positive finite scales"), format!("{scale}"));
        }
        let (low, high) = self.dtype.limits();
        if !(low..=high).contains(&self.zero_point) {
            return wrong(format!("a zero point within {low}..={high}"), format!("{}", self.zero_point));
        }
        Ok(())
    }
}

/// A tensor in row-major order as runs of `inner` elements, of which every `count`-th belongs to the same slice.
struct Slices {
    count: usize,
    inner: usize,
}

impl Slices {
    fn new(shape: &[usize], axis: Option<usize>) -> Slices {
        let (count, inner) = match axis {
            Some(axis) => (shape[axis], shape[axis + 1..].iter().product()),
            None => (1, shape.iter().product()),
        };
        Slices { count, inner: usize::max(inner, 1) }
    }
}

/// The scale as f32; `None` when it is below the smallest normal one.
fn normal(scale: f64) -> Option<f32> {
    (scale >= f64::from(f32::MIN_POSITIVE)).then_some(scale as f32)
}

pub(crate) fn finite<'a>(name: &str, tensor: &'a Tensor) -> Result<std::borrow::Cow<'a, [f32]>, QuantError> {
    let data = tensor.elements::<f32>().map_err(|error| QuantError::Assignment {
        place: format!("constant `{name}`"),
        expected: String::from("f32"),
        found: error.to_string(),
    })?;
    match Range::of(&data) {
        Ok(_) => Ok(data),
        Err(at) => {
            let mut rest = at.index;
            let mut index: Vec<usize> = Vec::with_capacity(tensor.shape().len());
            for &extent in tensor.shape().iter().rev() {
                index.push(rest % extent);
                rest /= extent;
            }
            index.reverse();
            Err(QuantError::InitializerNotFinite { initializer: name.to_owned(), index, found: at.found })
        }
    }
}

#[cfg(test)]
mod tests;
