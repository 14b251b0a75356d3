//! Elements of any storage type as numbers of five classes that are computed with, and back with one rounding.

use calipers_ir::{DType, Element, Tensor, TensorError};
use half::{bf16, f16};

use crate::minifloat;
use crate::packing::{pack, unpack};

/// The elements of a tensor in the class that they are computed in. Strings and complex numbers have none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Numbers {
    /// Floats of at most 32 bits.
    F32(Vec<f32>),
    /// Floats of 64 bits.
    F64(Vec<f64>),
    /// Integers that i64 can hold.
    I64(Vec<i64>),
    /// Integers of type u64.
    U64(Vec<u64>),
    /// Truth values.
    Bool(Vec<bool>),
}

/// Does the same with the elements whatever their class is.
macro_rules! each_class {
    ($numbers:expr, $values:ident => $body:expr) => {
        match $numbers {
            Numbers::F32($values) => Numbers::F32($body),
            Numbers::F64($values) => Numbers::F64($body),
            Numbers::I64($values) => Numbers::I64($body),
            Numbers::U64($values) => Numbers::U64($body),
            Numbers::Bool($values) => Numbers::Bool($body),
        }
    };
}

impl Numbers {
    /// The elements of a tensor; `None` for strings and complex numbers.
    pub(crate) fn of(tensor: &Tensor) -> Option<Numbers> {
        fn widen<T: Element + Into<i64>>(tensor: &Tensor) -> Option<Numbers> {
            Some(Numbers::I64(tensor.elements::<T>().ok()?.iter().map(|&value| value.into()).collect()))
        }
        let bytes = tensor.bytes();
        let halves = || bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        Some(match tensor.dtype() {
            DType::Bool => Numbers::Bool(bytes.iter().map(|&byte| byte != 0).collect()),
            DType::I8 => return widen::<i8>(tensor),
            DType::I16 => return widen::<i16>(tensor),
            DType::I32 => return widen::<i32>(tensor),
            DType::I64 => Numbers::I64(tensor.elements().ok()?.into_owned()),
            DType::U8 => return widen::<u8>(tensor),
            DType::U16 => return widen::<u16>(tensor),
            DType::U32 => return widen::<u32>(tensor),
            DType::U64 => Numbers::U64(tensor.elements().ok()?.into_owned()),
            DType::I2 | DType::I4 | DType::U2 | DType::U4 => {
                let bits = tensor.dtype().bits()?;
                let signed = matches!(tensor.dtype(), DType::I2 | DType::I4);
                let beyond = if signed { 1i64 << (bits - 1) } else { i64::MAX };
                let extend = |code: u8| {
                    let code = i64::from(code);
                    if code >= beyond { code - (1 << bits) } else { code }
                };
                Numbers::I64(unpack(&bytes, bits, tensor.len()).into_iter().map(extend).collect())
            }
            DType::F4E2M1 => {
                let codes = unpack(&bytes, 4, tensor.len());
                Numbers::F32(
                    codes.into_iter().filter_map(|code| minifloat::value(DType::F4E2M1, code)).collect(),
                )
            }
            DType::F8E4M3Fn | DType::F8E4M3FnUz | DType::F8E5M2 | DType::F8E5M2FnUz | DType::F8E8M0 => {
                Numbers::F32(
                    bytes.iter().filter_map(|&code| minifloat::value(tensor.dtype(), code)).collect(),
                )
            }
            DType::F16 => Numbers::F32(halves().map(|bits| f16::from_bits(bits).to_f32()).collect()),
            DType::BF16 => Numbers::F32(halves().map(|bits| bf16::from_bits(bits).to_f32()).collect()),
            DType::F32 => Numbers::F32(tensor.elements().ok()?.into_owned()),
            DType::F64 => Numbers::F64(tensor.elements().ok()?.into_owned()),
            DType::Complex64 | DType::Complex128 | DType::String => return None,
        })
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        match self {
            Numbers::F32(values) => values.len(),
            Numbers::F64(values) => values.len(),
            Numbers::I64(values) => values.len(),
            Numbers::U64(values) => values.len(),
            Numbers::Bool(values) => values.len(),
        }
    }

    /// The elements at `positions`, each below the length.
    pub(crate) fn gather(&self, positions: impl Iterator<Item = usize>) -> Numbers {
        each_class!(self, values => positions.map(|position| values[position]).collect())
    }

    /// Rounded to f32.
    pub(crate) fn into_f32(self) -> Vec<f32> {
        match self {
            Numbers::F32(values) => values,
            Numbers::F64(values) => values.into_iter().map(|value| value as f32).collect(),
            Numbers::I64(values) => values.into_iter().map(|value| value as f32).collect(),
            Numbers::U64(values) => values.into_iter().map(|value| value as f32).collect(),
            Numbers::Bool(values) => values.into_iter().map(|value| f32::from(u8::from(value))).collect(),
        }
    }

    /// Rounded to f64.
    pub(crate) fn into_f64(self) -> Vec<f64> {
        match self {
            Numbers::F32(values) => values.into_iter().map(f64::from).collect(),
            Numbers::F64(values) => values,
            Numbers::I64(values) => values.into_iter().map(|value| value as f64).collect(),
            Numbers::U64(values) => values.into_iter().map(|value| value as f64).collect(),
            Numbers::Bool(values) => values.into_iter().map(|value| f64::from(u8::from(value))).collect(),
        }
    }

    /// Floats towards zero, limited to the range; u64 wraps.
    pub(crate) fn into_i64(self) -> Vec<i64> {
        match self {
            Numbers::F32(values) => values.into_iter().map(|value| value as i64).collect(),
            Numbers::F64(values) => values.into_iter().map(|value| value as i64).collect(),
            Numbers::I64(values) => values,
            Numbers::U64(values) => values.into_iter().map(|value| value as i64).collect(),
            Numbers::Bool(values) => values.into_iter().map(i64::from).collect(),
        }
    }

    /// Floats towards zero; negative numbers wrap.
    pub(crate) fn into_u64(self) -> Vec<u64> {
        match self {
            Numbers::F64(values) => values
                .into_iter()
                .map(|value| if value < 0.0 { value as i64 as u64 } else { value as u64 })
                .collect(),
            Numbers::F32(values) => Numbers::F64(values.into_iter().map(f64::from).collect()).into_u64(),
            Numbers::U64(values) => values,
            numbers => numbers.into_i64().into_iter().map(|value| value as u64).collect(),
        }
    }

    /// What is not zero is true, NaN too.
    pub(crate) fn into_bool(self) -> Vec<bool> {
        match self {
            Numbers::F32(values) => values.into_iter().map(|value| value != 0.0).collect(),
            Numbers::F64(values) => values.into_iter().map(|value| value != 0.0).collect(),
            Numbers::I64(values) => values.into_iter().map(|value| value != 0).collect(),
            Numbers::U64(values) => values.into_iter().map(|value| value != 0).collect(),
            Numbers::Bool(values) => values,
        }
    }

    /// A tensor of that type and shape. Floats become integers towards zero, integers wrap to the type's width, floats
    /// round half to even; a float beyond the range of an 8-bit type is infinity or NaN, of a 4-bit type the largest
    /// value. An error when the counts differ, or the type holds no numbers.
    pub(crate) fn into_tensor(self, dtype: DType, shape: &[usize]) -> Result<Tensor, TensorError> {
        fn wrapped<T: Element>(
            shape: &[usize],
            numbers: Numbers,
            wrap: impl Fn(i64) -> T,
        ) -> Result<Tensor, TensorError> {
            Tensor::from_vec(shape, numbers.into_i64().into_iter().map(wrap).collect())
        }
        let bytes = |bytes: Vec<u8>| Tensor::new(dtype, shape, bytes.into());
        match dtype {
            DType::Bool => bytes(self.into_bool().into_iter().map(u8::from).collect()),
            DType::I8 => wrapped(shape, self, |value| value as i8),
            DType::I16 => wrapped(shape, self, |value| value as i16),
            DType::I32 => wrapped(shape, self, |value| value as i32),
            DType::I64 => Tensor::from_vec(shape, self.into_i64()),
            DType::U8 => wrapped(shape, self, |value| value as u8),
            DType::U16 => wrapped(shape, self, |value| value as u16),
            DType::U32 => wrapped(shape, self, |value| value as u32),
            DType::U64 => Tensor::from_vec(shape, self.into_u64()),
            DType::I2 | DType::U2 | DType::I4 | DType::U4 => {
                let codes: Vec<u8> = self.into_i64().into_iter().map(|value| value as u8).collect();
                let bits = if matches!(dtype, DType::I2 | DType::U2) { 2 } else { 4 };
                checked(dtype, shape, codes.len())?;
                bytes(pack(&codes, bits))
            }
            DType::F4E2M1 => {
                let codes: Vec<u8> = self.into_codes(dtype, true);
                checked(dtype, shape, codes.len())?;
                bytes(pack(&codes, 4))
            }
            DType::F8E4M3Fn | DType::F8E4M3FnUz | DType::F8E5M2 | DType::F8E5M2FnUz => {
                bytes(self.into_codes(dtype, false))
            }
            DType::F8E8M0 => {
                let code = |value| minifloat::exponent(value, true, minifloat::Rounding::Up);
                bytes(self.into_f32().into_iter().map(code).collect())
            }
            DType::F16 => {
                let values = match self {
                    Numbers::F32(values) => values.into_iter().map(f16::from_f32).collect::<Vec<f16>>(),
                    numbers => numbers.into_f64().into_iter().map(f16::from_f64).collect(),
                };
                bytes(values.into_iter().flat_map(f16::to_le_bytes).collect())
            }
            DType::BF16 => bytes(
                self.into_f32().into_iter().flat_map(|value| bf16::from_f32(value).to_le_bytes()).collect(),
            ),
            DType::F32 => Tensor::from_vec(shape, self.into_f32()),
            DType::F64 => Tensor::from_vec(shape, self.into_f64()),
            DType::Complex64 | DType::Complex128 | DType::String => {
                Err(TensorError::Unsized { dtype, shape: shape.to_vec() })
            }
        }
    }

    /// The codes of a float type of 4 or 8 bits with a sign.
    pub(crate) fn into_codes(self, dtype: DType, saturate: bool) -> Vec<u8> {
        self.into_f32().into_iter().filter_map(|value| minifloat::code(dtype, value, saturate)).collect()
    }
}

/// An error unless there are as many elements as the shape has; packed bytes alone do not tell.
fn checked(dtype: DType, shape: &[usize], found: usize) -> Result<(), TensorError> {
    match crate::shape::count(shape) {
        Some(expected) if expected == found => Ok(()),
        Some(expected) => Err(TensorError::Size { dtype, shape: shape.to_vec(), expected, found }),
        None => Err(TensorError::Unsized { dtype, shape: shape.to_vec() }),
    }
}

#[cfg(test)]
mod tests {
    use super::Numbers;
    use calipers_ir::{DType, Tensor};

    // onnx.helper.make_tensor of these values; int4 of the ONNX pages, lowest bits first.
    #[test]
    fn narrow_integers_are_packed_and_extended() {
        let tensor = Numbers::I64(vec![-8, 7, -1]).into_tensor(DType::I4, &[3]).unwrap();
        assert_eq!(tensor.bytes().as_ref(), [0x78, 0x0f]);
        assert_eq!(Numbers::of(&tensor), Some(Numbers::I64(vec![-8, 7, -1])));
        let tensor = Tensor::new(DType::U2, [3], vec![0b01_11_10].into()).unwrap();
        assert_eq!(Numbers::of(&tensor), Some(Numbers::I64(vec![2, 3, 1])));
        assert!(Numbers::I64(vec![1]).into_tensor(DType::U4, &[2]).is_err());
    }

    // numpy: numpy.array([300.5, -1.0]).astype(numpy.uint8), numpy.array([2049.0]).astype(numpy.float16).
    #[test]
    fn conversions_are_those_of_numpy() {
        let floats = Numbers::F32(vec![300.5, -1.0]);
        let bytes = floats.clone().into_tensor(DType::U8, &[2]).unwrap();
        assert_eq!(bytes.bytes().as_ref(), [44, 255]);
        assert_eq!(floats.into_u64(), [300, u64::MAX]);
        let half = Numbers::F32(vec![2049.0]).into_tensor(DType::F16, &[1]).unwrap();
        assert_eq!(Numbers::of(&half), Some(Numbers::F32(vec![2048.0])));
    }
}
