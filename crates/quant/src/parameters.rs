//! From ranges and weights to scales and zero points, and from numbers to integers.
//!
//! `real = scale * (q - zero_point)`. Scales are computed in f64 and rounded once to f32, zero points from the f64
//! scale, both rounded half to even: the arithmetic of ONNX Runtime's quantizer (`compute_scale_zp` in
//! `onnxruntime/python/tools/quantization/quant_utils.py`). PyTorch's observers compute the same in f32 and bound
//! scales below by 2^-23, so theirs differ in the last bit, and for ranges below 3e-5.

use calipers_ir::{DType, Tensor, TensorError};
use serde::{Deserialize, Serialize};

use crate::{ActivationScheme, QuantError, Range, WeightRange, WeightScheme};

/// Storage types that integers are quantized to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntegerType {
    /// 0 to 15.
    U4,
    /// -8 to 7.
    I4,
    /// 0 to 255.
    U8,
    /// -128 to 127.
    I8,
    /// 0 to 65,535.
    U16,
    /// -32,768 to 32,767.
    I16,
    /// Biases.
    I32,
}

impl IntegerType {
    /// The storage type in a graph.
    pub fn dtype(self) -> DType {
        match self {
            IntegerType::U4 => DType::U4,
            IntegerType::I4 => DType::I4,
            IntegerType::U8 => DType::U8,
            IntegerType::I8 => DType::I8,
            IntegerType::U16 => DType::U16,
            IntegerType::I16 => DType::I16,
            IntegerType::I32 => DType::I32,
        }
    }

    /// Smallest and largest integer.
    pub fn limits(self) -> (i32, i32) {
        match self {
            IntegerType::U4 => (0, 15),
            IntegerType::I4 => (-8, 7),
            IntegerType::U8 => (0, 255),
            IntegerType::I8 => (-128, 127),
            IntegerType::U16 => (0, 65_535),
            IntegerType::I16 => (-32_768, 32_767),
            IntegerType::I32 => (i32::MIN, i32::MAX),
        }
    }

    /// Width in bits.
    pub fn bits(self) -> u32 {
        match self {
            IntegerType::U4 | IntegerType::I4 => 4,
            IntegerType::U8 | IntegerType::I8 => 8,
            IntegerType::U16 | IntegerType::I16 => 16,
            IntegerType::I32 => 32,
        }
    }

    /// A tensor of this type from integers within its limits.
    fn tensor(self, shape: &[usize], integers: Vec<i32>) -> Result<Tensor, TensorError> {
        match self {
            IntegerType::U4 | IntegerType::I4 => {
                let nibble = |q: Option<&i32>| q.map_or(0, |&q| (q & 15) as u8);
                let bytes = integers.chunks(2).map(|pair| nibble(pair.first()) | nibble(pair.get(1)) << 4);
                Tensor::new(self.dtype(), shape, bytes.collect::<Vec<u8>>().into())
            }
            IntegerType::U8 => Tensor::from_vec(shape, integers.into_iter().map(|q| q as u8).collect()),
            IntegerType::I8 => Tensor::from_vec(shape, integers.into_iter().map(|q| q as i8).collect()),
            IntegerType::U16 => Tensor::from_vec(shape, integers.into_iter().map(|q| q as u16).collect()),
            IntegerType::I16 => Tensor::from_vec(shape, integers.into_iter().map(|q| q as i16).collect()),
            IntegerType::I32 => Tensor::from_vec(shape, integers),
        }
    }
}

/// How numbers become integers of one tensor: one scale, one for each slice along an axis, or one for each block of
/// elements along it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Storage type of the integers.
    #[serde(rename = "type")]
    pub dtype: IntegerType,
    /// Positive and finite; of blocks in row-major order of the tensor with its axis divided by the block.
    pub scale: Vec<f32>,
    /// Within the storage type; the integers that stand for 0: one for each scale, or one for all.
    pub zero_point: Vec<i32>,
    /// The axis of the scales; `None` when there is one for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axis: Option<usize>,
    /// Elements of the axis that share a scale; `None` when whole slices do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<usize>,
}

impl Parameters {
    /// One scale and zero point.
    pub fn one(dtype: IntegerType, scale: f32, zero_point: i32) -> Parameters {
        Parameters { dtype, scale: vec![scale], zero_point: vec![zero_point], axis: None, block: None }
    }

    /// The parameters of an activation of that range.
    ///
    /// The range is first widened to hold 0, and to `[-m, m]` when symmetric. `scale = (max - min) / (qmax - qmin)`,
    /// `zero_point = round(qmin - min / scale)`, or the middle of the integers when symmetric. The integers are 0 to
    /// 255 for u8, -128 to 127 for i8, and -127 to 127 for symmetric i8; likewise for 16 bits. A range whose scale
    /// would be no normal f32 (all zeros) gets a scale of 1 and a zero point of 0.
    pub fn of_activation(range: Range, scheme: &ActivationScheme) -> Parameters {
        let dtype = scheme.dtype.integer();
        let (low, high) = dtype.limits();
        let signed = low < 0;
        let limits = (f64::from(if scheme.symmetric && signed { low + 1 } else { low }), f64::from(high));
        let (mut min, mut max) = (f64::from(range.min).min(0.0), f64::from(range.max).max(0.0));
        if scheme.symmetric {
            max = max.max(-min);
            min = -max;
        }
        let scale = (max - min) / (limits.1 - limits.0);
        let Some(stored) = normal(scale) else {
            return Parameters::one(dtype, 1.0, 0);
        };
        let zero_point: f64 =
            if scheme.symmetric { (limits.0 + limits.1) / 2.0 } else { limits.0 - min / scale };
        let zero_point = zero_point.round_ties_even().clamp(limits.0, limits.1) as i32;
        Parameters::one(dtype, stored, zero_point)
    }

    /// The parameters of a weight: one scale for all (`axis` is `None`), for each slice along the axis, or for each
    /// `block` of elements along it.
    ///
    /// When symmetric, `scale = max|w| / (2^(bits - 1) - 1)` and the zero point is 0, or the middle of unsigned integers;
    /// else as for an activation of the range of the weights. With [`WeightRange::Mse`], that scale is then shrunk by
    /// the factor of 1.1, 1.05, 1, ... 0.5 that has the least squared error.
    ///
    /// A slice of zeros (more exactly, one whose scale would be no normal f32) takes the largest scale of the other
    /// slices, so that the bias that shares it keeps its resolution; 1 when all slices are zeros.
    ///
    /// # Errors
    /// The first element that is not finite, by name and index; an axis that is not there.
    pub fn of_weight(
        name: &str,
        weight: &Tensor,
        scheme: &WeightScheme,
        axis: Option<usize>,
        block: Option<usize>,
    ) -> Result<Parameters, QuantError> {
        let data = finite(name, weight)?;
        let dtype = scheme.dtype.integer();
        let slices = Slices::new(name, weight.shape(), axis, block)?;
        let mut extremes = vec![(0f32, 0f32); slices.count];
        slices.each(&data, |slice, w| {
            let (low, high) = &mut extremes[slice];
            (*low, *high) = (low.min(w), high.max(w));
        });
        let (low, high) = dtype.limits();
        let found = extremes.iter().map(|&(min, max)| {
            let (min, max) = (f64::from(min), f64::from(max));
            if scheme.symmetric {
                let middle = if low < 0 { 0 } else { (high + 1) / 2 };
                let scale = normal(max.max(-min) / f64::from((high - low) / 2))?;
                Some((scale, middle))
            } else {
                let scale = (max - min) / f64::from(high - low);
                let zero_point = (f64::from(low) - min / scale).round_ties_even();
                Some((normal(scale)?, zero_point.clamp(f64::from(low), f64::from(high)) as i32))
            }
        });
        let found: Vec<Option<(f32, i32)>> = found.collect();
        let largest = found.iter().flatten().map(|(scale, _)| *scale).reduce(f32::max).unwrap_or(1.0);
        let middle = if scheme.symmetric && low == 0 { (high + 1) / 2 } else { 0 };
        let (mut scale, mut zero_point) = (Vec::new(), Vec::new());
        for found in found {
            let (s, z) = found.unwrap_or((largest, middle.clamp(low, high)));
            scale.push(s);
            zero_point.push(z);
        }
        if scheme.range == WeightRange::Mse {
            shrink(&data, &slices, dtype, &mut scale, &zero_point);
        }
        if zero_point.iter().all(|z| Some(z) == zero_point.first()) {
            zero_point.truncate(1);
        }
        if zero_point.is_empty() {
            zero_point.push(middle);
        }
        Ok(Parameters { dtype, scale, zero_point, axis, block })
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
        Ok((Parameters { dtype: IntegerType::I32, scale, zero_point: vec![0], axis, block: None }, widened))
    }

    /// `saturate(round_half_even(x / scale) + zero_point)`, the definition of ONNX's QuantizeLinear: the quotient in
    /// f32, for biases in f64, because theirs has more digits than an f32.
    ///
    /// # Errors
    /// An element that is not finite, or a scale count that is not that of the axis.
    pub fn quantize(&self, name: &str, tensor: &Tensor) -> Result<Tensor, QuantError> {
        self.check(name, tensor.shape())?;
        let data = finite(name, tensor)?;
        let slices = Slices::new(name, tensor.shape(), self.axis, self.block)?;
        let mut integers = Vec::with_capacity(data.len());
        slices.each(&data, |slice, x| integers.push(self.integer(slice, x)));
        self.dtype.tensor(tensor.shape(), integers).map_err(|error| QuantError::Assignment {
            place: format!("constant `{name}`"),
            expected: String::from("a tensor of integers"),
            found: error.to_string(),
        })
    }

    /// `scale * (q - zero_point)` of what [`Parameters::quantize`] makes, in f32.
    ///
    /// # Errors
    /// As [`Parameters::quantize`].
    pub fn fake_quantize(&self, name: &str, tensor: &Tensor) -> Result<Tensor, QuantError> {
        self.check(name, tensor.shape())?;
        let data = finite(name, tensor)?;
        let slices = Slices::new(name, tensor.shape(), self.axis, self.block)?;
        let mut real = Vec::with_capacity(data.len());
        slices.each(&data, |slice, x| {
            real.push(self.scale[slice] * (self.integer(slice, x) - self.zero_point_of(slice)) as f32);
        });
        Tensor::from_vec(tensor.shape(), real).map_err(|error| QuantError::Assignment {
            place: format!("`{name}`"),
            expected: String::from("a tensor of numbers"),
            found: error.to_string(),
        })
    }

    fn integer(&self, slice: usize, x: f32) -> i32 {
        let scale = self.scale[slice];
        let quotient = match self.dtype {
            IntegerType::I32 => f64::from(x) / f64::from(scale),
            IntegerType::U4
            | IntegerType::I4
            | IntegerType::U8
            | IntegerType::I8
            | IntegerType::U16
            | IntegerType::I16 => f64::from(x / scale),
        };
        let (low, high) = self.dtype.limits();
        let q = quotient.round_ties_even() + f64::from(self.zero_point_of(slice));
        q.clamp(f64::from(low), f64::from(high)) as i32
    }

    /// The zero point of a slice.
    fn zero_point_of(&self, slice: usize) -> i32 {
        self.zero_point.get(slice).or(self.zero_point.first()).copied().unwrap_or_default()
    }

    /// The scale as a graph holds it for something of that shape: a scalar, a vector along the axis, or blocks.
    pub(crate) fn scale_tensor(&self, shape: &[usize]) -> Result<Tensor, TensorError> {
        Tensor::from_vec(self.shape(shape), self.scale.clone())
    }

    /// The zero point as a graph holds it, of the scale's shape.
    pub(crate) fn zero_point_tensor(&self, shape: &[usize]) -> Result<Tensor, TensorError> {
        let zero_points = (0..self.scale.len()).map(|slice| self.zero_point_of(slice)).collect();
        self.dtype.tensor(&self.shape(shape), zero_points)
    }

    fn shape(&self, shape: &[usize]) -> Vec<usize> {
        match (self.axis, self.block) {
            (None, _) => Vec::new(),
            (Some(_), None) => vec![self.scale.len()],
            (Some(axis), Some(block)) => {
                let mut shape = shape.to_vec();
                if let Some(extent) = shape.get_mut(axis) {
                    *extent = extent.div_ceil(block.max(1));
                }
                shape
            }
        }
    }

    /// Whether the parameters can be those of something of that shape.
    pub(crate) fn check(&self, place: &str, shape: &[usize]) -> Result<(), QuantError> {
        let wrong = |expected: String, found: String| {
            Err(QuantError::Assignment { place: format!("`{place}`"), expected, found })
        };
        let expected = Slices::new(place, shape, self.axis, self.block)?.count;
        if self.scale.len() != expected {
            return wrong(format!("{expected} scales"), format!("{}", self.scale.len()));
        }
        if let Some(scale) = self.scale.iter().find(|&&scale| !(scale > 0.0 && scale.is_finite())) {
            return wrong(String::from("positive finite scales"), format!("{scale}"));
        }
        if self.zero_point.len() != 1 && self.zero_point.len() != expected {
            return wrong(format!("1 or {expected} zero points"), format!("{}", self.zero_point.len()));
        }
        let (low, high) = self.dtype.limits();
        if let Some(found) = self.zero_point.iter().find(|zero_point| !(low..=high).contains(*zero_point)) {
            return wrong(format!("a zero point within {low}..={high}"), format!("{found}"));
        }
        Ok(())
    }
}

/// Shrinks each scale by the factor that has the least squared error.
fn shrink(data: &[f32], slices: &Slices, dtype: IntegerType, scale: &mut [f32], zero_point: &[i32]) {
    let (low, high) = dtype.limits();
    let mut best = vec![(f64::INFINITY, 1f32); slices.count];
    for step in 0..13 {
        let factor = 1.1 - 0.05 * step as f32;
        let mut error = vec![0f64; slices.count];
        slices.each(data, |slice, w| {
            let (scale, zero_point) = (scale[slice] * factor, zero_point[slice] as f32);
            let q = ((w / scale).round_ties_even() + zero_point).clamp(low as f32, high as f32);
            let distance = f64::from(w - scale * (q - zero_point));
            error[slice] += distance * distance;
        });
        for (best, error) in best.iter_mut().zip(error) {
            if error < best.0 {
                *best = (error, factor);
            }
        }
    }
    for (scale, (_, factor)) in scale.iter_mut().zip(best) {
        if let Some(shrunk) = normal(f64::from(*scale * factor)) {
            *scale = shrunk;
        }
    }
}

/// Which scale each element of a tensor in row-major order has.
struct Slices {
    count: usize,
    /// Extent of the axis.
    extent: usize,
    /// Elements after the axis.
    inner: usize,
    block: Option<usize>,
}

impl Slices {
    fn new(
        place: &str,
        shape: &[usize],
        axis: Option<usize>,
        block: Option<usize>,
    ) -> Result<Slices, QuantError> {
        let Some(axis) = axis else {
            return Ok(Slices {
                count: 1,
                extent: 1,
                inner: shape.iter().product::<usize>().max(1),
                block: None,
            });
        };
        let wrong = |expected: String, found: String| QuantError::Assignment {
            place: format!("`{place}`"),
            expected,
            found,
        };
        let Some(&extent) = shape.get(axis) else {
            return Err(wrong(format!("an axis of {} axes", shape.len()), format!("axis {axis}")));
        };
        let inner: usize = shape[axis + 1..].iter().product();
        let count = match block {
            None => extent,
            Some(0) => return Err(wrong(String::from("a block of at least one element"), String::from("0"))),
            Some(block) => shape[..axis].iter().product::<usize>() * extent.div_ceil(block) * inner,
        };
        Ok(Slices { count, extent: extent.max(1), inner: inner.max(1), block })
    }

    /// Calls `take` with the slice of each element, in order.
    fn each(&self, data: &[f32], mut take: impl FnMut(usize, f32)) {
        for (run, chunk) in data.chunks(self.inner).enumerate() {
            let (outer, at) = (run / self.extent, run % self.extent);
            match self.block {
                None => chunk.iter().for_each(|&x| take(at, x)),
                Some(block) => {
                    let first = (outer * self.extent.div_ceil(block) + at / block) * self.inner;
                    chunk.iter().enumerate().for_each(|(index, &x)| take(first + index, x));
                }
            }
        }
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
