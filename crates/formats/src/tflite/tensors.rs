//! Tensors of a subgraph: names, types, quantization parameters and constants.

use std::collections::HashSet;

use calipers_ir::{DType, Dim, Tensor, TensorType};

use super::ReadError;
use super::buffers::{self, File};
use super::schema::{self, QuantizationParameters, SubGraph};
use super::types;

/// Parameters with which `real = scale * (q - zero_point)`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Quantization {
    /// f32: one, one for each element of `axis`, or as many as blocks along `axis` leave.
    pub scale: Tensor,
    /// Of the tensor's storage type and the scale's shape; `None` for wide integers, which have none but 0.
    pub zero_point: Option<Tensor>,
    /// Where the parameters run along; 0 when there is one.
    pub axis: usize,
    /// Elements of `axis` that share a scale; 0 when not blocked.
    pub block_size: usize,
}

impl Quantization {
    /// Whether one scale holds for the whole tensor.
    pub fn per_tensor(&self) -> bool {
        self.block_size == 0 && self.scale.shape().is_empty()
    }
}

/// One tensor.
#[derive(Clone, Debug)]
pub(super) struct Described {
    /// Unique in the subgraph.
    pub name: String,
    /// Storage type and declared shape.
    pub ty: TensorType,
    /// How its integers stand for real numbers.
    pub quantization: Option<Quantization>,
    /// Its data, where the file has them.
    pub constant: Option<Tensor>,
    /// Whether it keeps its content from one run to the next.
    pub variable: bool,
}

/// All tensors of a subgraph; `place` stands before messages.
pub(super) fn describe(
    file: &File<'_>,
    subgraph: &SubGraph<'_>,
    place: &str,
) -> Result<Vec<Described>, ReadError> {
    let Some(tensors) = subgraph.tensors() else { return Ok(Vec::new()) };
    // A name that the file gives once stays as it is, also where others have to be made.
    let given: HashSet<&str> = tensors.iter().filter_map(|tensor| tensor.name()).collect();
    let mut taken = HashSet::new();
    let mut described = Vec::with_capacity(tensors.len());
    for (index, tensor) in tensors.iter().enumerate() {
        let name = unique(tensor.name().unwrap_or_default(), index, &given, &mut taken);
        let one = Reader { file, subgraph, tensor, index };
        described.push(one.describe(name.clone()).map_err(|reason| ReadError::Tensor {
            place: place.to_owned(),
            index,
            tensor: name,
            reason,
        })?);
    }
    Ok(described)
}

/// The name of the file, with the tensor's index where that is empty or taken.
fn unique(name: &str, index: usize, given: &HashSet<&str>, taken: &mut HashSet<String>) -> String {
    if !name.is_empty() && taken.insert(name.to_owned()) {
        return name.to_owned();
    }
    let stem = if name.is_empty() { "tensor" } else { name };
    let mut wanted = format!("{stem}_{index}");
    while given.contains(wanted.as_str()) || !taken.insert(wanted.clone()) {
        wanted.push('_');
    }
    wanted
}

struct Reader<'r, 'a> {
    file: &'r File<'a>,
    subgraph: &'r SubGraph<'a>,
    tensor: schema::Tensor<'a>,
    index: usize,
}

impl<'a> Reader<'_, 'a> {
    fn describe(&self, name: String) -> Result<Described, String> {
        let tensor = &self.tensor;
        let refuse = |what: &str| Err(format!("{what}, which is not supported"));
        if tensor.sparsity().is_some() {
            return refuse("it is stored as a sparse tensor");
        }
        if tensor.external_buffer() != 0 {
            return refuse("its data are in a file beside the model (an external buffer)");
        }
        let code = tensor.type_().0;
        let dtype = types::dtype_of(code).ok_or_else(|| types::untyped(code))?;
        let shape = shape(tensor)?;
        let constant = match self.file.buffer(tensor.buffer())? {
            Some(bytes) => Some(buffers::constant(dtype, &shape, bytes)?),
            None => None,
        };
        let ty = match constant {
            Some(_) => TensorType::new(dtype, shape.iter().copied()),
            None => self.declared(dtype, &shape, &name)?,
        };
        let quantization = match tensor.quantization() {
            Some(parameters) => self.quantization(&parameters, dtype, &shape)?,
            None => None,
        };
        Ok(Described { name, ty, quantization, constant, variable: tensor.is_variable() })
    }

    /// The type of what is computed or given. The signature has -1 where the shape has only an example.
    fn declared(&self, dtype: DType, shape: &[usize], name: &str) -> Result<TensorType, String> {
        let signature: Vec<i32> =
            self.tensor.shape_signature().map(|list| list.iter().collect()).unwrap_or_default();
        let input =
            self.subgraph.inputs().is_some_and(|inputs| inputs.iter().any(|id| id as usize == self.index));
        if shape.is_empty() && !self.tensor.has_rank() && signature.is_empty() && !input {
            return Ok(TensorType::unranked(dtype));
        }
        if !signature.is_empty() && signature.len() != shape.len() {
            return Err(format!("its shape {shape:?} and its signature {signature:?} differ in rank"));
        }
        let dims = shape.iter().enumerate().map(|(axis, &extent)| match signature.get(axis) {
            Some(..0) => Dim::symbolic(format!("{name}_{axis}")),
            _ => Dim::Known(extent),
        });
        Ok(TensorType::new(dtype, dims))
    }

    fn quantization(
        &self,
        parameters: &QuantizationParameters<'a>,
        dtype: DType,
        shape: &[usize],
    ) -> Result<Option<Quantization>, String> {
        if let Some(blocks) = parameters.details_as_blockwise_quantization() {
            let block_size = usize::try_from(blocks.block_size()).unwrap_or_default();
            let Some(axis) = shape.len().checked_sub(1).filter(|_| block_size > 0) else {
                return Err(format!("it is quantized in blocks of {block_size} of a shape {shape:?}"));
            };
            let scale = self.parameter(blocks.scales())?;
            let expected = [&shape[..axis], &[shape[axis].div_ceil(block_size)]].concat();
            let scale = floats(&scale)
                .and_then(|scales| Tensor::from_vec(expected.as_slice(), scales).ok())
                .ok_or_else(|| format!("its scales are {}, expected f32{expected:?}", scale.tensor_type()))?;
            let zero_point = match blocks.zero_points() {
                ..=0 => None,
                index => Some(self.parameter(index)?.to_integers().ok_or("its zero points are no integers")?),
            };
            let points = zero_point.unwrap_or_else(|| vec![0; scale.len()]);
            let zero_point = zero_points(dtype, &points, scale.shape())?;
            return Ok(Some(Quantization { scale, zero_point, axis, block_size }));
        }
        if parameters.details().is_some() {
            let kind = parameters.details_type();
            let kind = kind.variant_name().unwrap_or("an unknown technique");
            return Err(format!("it is quantized by {kind}, which is not supported"));
        }
        let scales: Vec<f32> = parameters.scale().map(|list| list.iter().collect()).unwrap_or_default();
        let integer = dtype.integer_range().is_some();
        if scales.is_empty() || !integer {
            return Ok(None);
        }
        if let Some(scale) = scales.iter().find(|scale| !(scale.is_finite() && **scale >= 0.0)) {
            return Err(format!("it has the scale {scale}; scales are positive"));
        }
        let mut points: Vec<i64> =
            parameters.zero_point().map(|list| list.iter().collect()).unwrap_or_default();
        if points.is_empty() {
            points = vec![0; scales.len()];
        }
        if points.len() != scales.len() {
            return Err(format!("it has {} scales and {} zero points", scales.len(), points.len()));
        }
        let axis = usize::try_from(parameters.quantized_dimension()).unwrap_or(usize::MAX);
        let extents: &[usize] = if scales.len() == 1 { &[] } else { &[scales.len()] };
        if scales.len() > 1 && shape.get(axis) != Some(&scales.len()) {
            let dimension = parameters.quantized_dimension();
            return Err(format!("it has {} scales along dimension {dimension} of {shape:?}", scales.len()));
        }
        let zero_point = zero_points(dtype, &points, extents)?;
        let scale = Tensor::from_vec(extents, scales).map_err(|error| error.to_string())?;
        Ok(Some(Quantization {
            scale,
            zero_point,
            axis: if extents.is_empty() { 0 } else { axis },
            block_size: 0,
        }))
    }

    /// A tensor of the same subgraph that holds parameters of this one.
    fn parameter(&self, index: i32) -> Result<Tensor, String> {
        let tensors = self.subgraph.tensors();
        let found = usize::try_from(index).ok().and_then(|index| {
            tensors.filter(|tensors| index < tensors.len()).map(|tensors| tensors.get(index))
        });
        let tensor =
            found.ok_or_else(|| format!("its parameters are in tensor {index}, which is not there"))?;
        let dtype = types::dtype_of(tensor.type_().0).ok_or_else(|| types::untyped(tensor.type_().0))?;
        let bytes = self.file.buffer(tensor.buffer())?.ok_or("its parameters are no constant")?;
        buffers::constant(dtype, &shape(&tensor)?, bytes)
    }
}

fn shape(tensor: &schema::Tensor<'_>) -> Result<Vec<usize>, String> {
    let extents = tensor.shape().map(|list| list.iter().collect::<Vec<i32>>()).unwrap_or_default();
    let negative = |_| format!("its shape {extents:?} has a negative extent");
    extents.iter().map(|&extent| usize::try_from(extent).map_err(negative)).collect()
}

/// Scales, which some writers store in 16 bits.
fn floats(tensor: &Tensor) -> Option<Vec<f32>> {
    match tensor.dtype() {
        DType::F32 => tensor.as_f32().map(|scales| scales.into_owned()),
        DType::F16 => {
            Some(tensor.bytes().as_chunks().0.iter().map(|&bits| half(u16::from_le_bytes(bits))).collect())
        }
        _ => None,
    }
}

/// A float of 16 bits (1 sign, 5 exponent, 10 fraction) as one of 32, which has all of its values.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff) / 1024.0);
    sign * match exponent {
        0 => fraction * 2f32.powi(-14),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction) * 2f32.powi(exponent - 15),
    }
}

/// Zero points in the tensor's storage type; `None` for types wider than 16 bits, which must have 0.
fn zero_points(dtype: DType, points: &[i64], extents: &[usize]) -> Result<Option<Tensor>, String> {
    let Some((smallest, largest)) = dtype.integer_range() else {
        return Err(format!("its type {dtype} has no zero point"));
    };
    if let Some(point) = points.iter().find(|point| !(smallest..=largest).contains(*point)) {
        return Err(format!("its zero point {point} is outside {dtype}"));
    }
    let bits = dtype.bits().unwrap_or_default();
    let bytes: Vec<u8> = match bits {
        ..8 => pack(points, bits),
        8 => points.iter().map(|&point| point as u8).collect(),
        16 => points.iter().flat_map(|&point| (point as u16).to_le_bytes()).collect(),
        _ if points.iter().all(|&point| point == 0) => return Ok(None),
        _ => return Err(format!("it is of type {dtype} and has a zero point other than 0")),
    };
    Tensor::new(dtype, extents, bytes.into()).map(Some).map_err(|error| error.to_string())
}

/// Integers narrower than a byte, lowest bits first.
fn pack(numbers: &[i64], bits: usize) -> Vec<u8> {
    let mask = (1u8 << bits) - 1;
    let byte = |group: &[i64]| {
        let shifted =
            group.iter().enumerate().map(|(place, &number)| (number as u8 & mask) << (place * bits));
        shifted.fold(0, |byte, part| byte | part)
    };
    numbers.chunks(8 / bits).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::{half, pack, unique};
    use std::collections::HashSet;

    #[test]
    fn names_are_made_unique() {
        let given = HashSet::from(["a", "a_1"]);
        let mut taken = HashSet::new();
        let names: Vec<_> =
            ["a", "a", "", "a_1"].iter().enumerate().map(|(i, n)| unique(n, i, &given, &mut taken)).collect();
        assert_eq!(names, ["a", "a_1_", "tensor_2", "a_1"]);
    }

    // Table of IEEE 754 binary16.
    #[test]
    fn halves() {
        let values = [0x3c00, 0xc000, 0x3555, 0x0001, 0x7bff, 0x7c00].map(half);
        assert_eq!(values, [1.0, -2.0, 0.333_251_95, 5.960_464_5e-8, 65504.0, f32::INFINITY]);
    }

    #[test]
    fn narrow_integers_are_packed_from_the_lowest_bits() {
        assert_eq!(pack(&[1, -1, 7], 4), [0xf1, 0x07]);
        assert_eq!(pack(&[1, -2, 0, -1, 1], 2), [0b1100_1001, 1]);
    }
}
