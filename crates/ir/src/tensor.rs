//! Dense constant data: a storage type, a shape and shared bytes.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use crate::{DType, Dim, TensorType};

#[cfg(target_endian = "big")]
compile_error!("tensor bytes are little-endian as in the files; this host is big-endian");

/// What is wrong with the bytes or the use of a tensor.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TensorError {
    /// The byte count does not match type and shape.
    #[error("a tensor of type {dtype} and shape {shape:?} takes {expected} bytes, found {found}")]
    Size {
        /// Storage type of the tensor.
        dtype: DType,
        /// Shape of the tensor.
        shape: Vec<usize>,
        /// Bytes that type and shape ask for.
        expected: usize,
        /// Bytes that were given.
        found: usize,
    },
    /// The number of elements overflows, or the type has no fixed width.
    #[error("a tensor of type {dtype} and shape {shape:?} has no byte size")]
    Unsized {
        /// Storage type of the tensor.
        dtype: DType,
        /// Shape of the tensor.
        shape: Vec<usize>,
    },
    /// Elements were asked for as another type.
    #[error("the tensor holds {found}, but {expected} was expected")]
    Type {
        /// The type asked for.
        expected: DType,
        /// The type stored.
        found: DType,
    },
}

/// A Rust type whose memory is that of a storage type.
pub trait Element: bytemuck::Pod + Send + Sync {
    /// The storage type.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($rust:ty => $dtype:ident),*) => { $(impl Element for $rust { const DTYPE: DType = DType::$dtype; })* };
}
elements!(i8 => I8, i16 => I16, i32 => I32, i64 => I64, u8 => U8, u16 => U16, u32 => U32, u64 => U64, f32 => F32, f64 => F64);

#[derive(Clone, Debug, PartialEq)]
enum Storage {
    Packed(Bytes),
    Strings(Arc<[Vec<u8>]>),
}

/// A dense tensor in row-major order. Cloning shares the data. Equality is equality of bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    storage: Storage,
}

/// Keeps a vector alive as the owner of [`Bytes`], so that the bytes keep its alignment.
struct VecOwner<T>(Vec<T>);

impl<T: bytemuck::Pod> AsRef<[u8]> for VecOwner<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

impl Tensor {
    /// A tensor over packed little-endian bytes.
    pub fn new(dtype: DType, shape: impl Into<Vec<usize>>, bytes: Bytes) -> Result<Self, TensorError> {
        let shape = shape.into();
        let expected = element_count(&shape).and_then(|count| dtype.packed_bytes(count));
        let Some(expected) = expected else {
            return Err(TensorError::Unsized { dtype, shape });
        };
        if expected != bytes.len() {
            return Err(TensorError::Size { dtype, shape, expected, found: bytes.len() });
        }
        Ok(Tensor { dtype, shape, storage: Storage::Packed(bytes) })
    }

    /// A tensor that takes over a vector of elements in row-major order.
    pub fn from_vec<T: Element>(shape: impl Into<Vec<usize>>, elements: Vec<T>) -> Result<Self, TensorError> {
        Tensor::new(T::DTYPE, shape, Bytes::from_owner(VecOwner(elements)))
    }

    /// A tensor of rank 0.
    pub fn scalar<T: Element>(value: T) -> Self {
        Tensor {
            dtype: T::DTYPE,
            shape: Vec::new(),
            storage: Storage::Packed(Bytes::copy_from_slice(bytemuck::bytes_of(&value))),
        }
    }

    /// A tensor of strings, each any bytes.
    pub fn from_strings(shape: impl Into<Vec<usize>>, strings: Vec<Vec<u8>>) -> Result<Self, TensorError> {
        let shape = shape.into();
        match element_count(&shape) {
            Some(expected) if expected == strings.len() => {
                Ok(Tensor { dtype: DType::String, shape, storage: Storage::Strings(strings.into()) })
            }
            Some(expected) => {
                Err(TensorError::Size { dtype: DType::String, shape, expected, found: strings.len() })
            }
            None => Err(TensorError::Unsized { dtype: DType::String, shape }),
        }
    }

    /// Storage type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Extents, outermost first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Type and shape as a graph states them.
    pub fn tensor_type(&self) -> TensorType {
        TensorType::new(self.dtype, self.shape.iter().map(|&extent| Dim::Known(extent)))
    }

    /// The packed little-endian bytes; empty for strings.
    pub fn bytes(&self) -> Bytes {
        match &self.storage {
            Storage::Packed(bytes) => bytes.clone(),
            Storage::Strings(_) => Bytes::new(),
        }
    }

    /// The strings of a string tensor.
    pub fn strings(&self) -> Option<&[Vec<u8>]> {
        match &self.storage {
            Storage::Packed(_) => None,
            Storage::Strings(strings) => Some(strings),
        }
    }

    /// The elements as `T`, borrowed where the bytes are aligned for it.
    pub fn elements<T: Element>(&self) -> Result<Cow<'_, [T]>, TensorError> {
        let Storage::Packed(bytes) = &self.storage else {
            return Err(TensorError::Type { expected: T::DTYPE, found: self.dtype });
        };
        if self.dtype != T::DTYPE {
            return Err(TensorError::Type { expected: T::DTYPE, found: self.dtype });
        }
        Ok(match bytemuck::try_cast_slice(bytes) {
            Ok(elements) => Cow::Borrowed(elements),
            Err(_) => Cow::Owned(bytemuck::allocation::pod_collect_to_vec(bytes)),
        })
    }

    /// The elements as `f32`; `None` unless they are stored as that.
    pub fn as_f32(&self) -> Option<Cow<'_, [f32]>> {
        self.elements().ok()
    }

    /// The elements of any integer type of 8 to 64 bits, widened; `None` for other types.
    pub fn to_integers(&self) -> Option<Vec<i64>> {
        fn widen<T: Element + TryInto<i64>>(tensor: &Tensor) -> Option<Vec<i64>> {
            tensor.elements::<T>().ok()?.iter().map(|&element| element.try_into().ok()).collect()
        }
        match self.dtype {
            DType::I8 => widen::<i8>(self),
            DType::I16 => widen::<i16>(self),
            DType::I32 => widen::<i32>(self),
            DType::I64 => widen::<i64>(self),
            DType::U8 => widen::<u8>(self),
            DType::U16 => widen::<u16>(self),
            DType::U32 => widen::<u32>(self),
            DType::U64 => widen::<u64>(self),
            _ => None,
        }
    }

    /// The same elements under another shape of equal element count.
    pub fn reshaped(&self, shape: impl Into<Vec<usize>>) -> Result<Self, TensorError> {
        match &self.storage {
            Storage::Packed(bytes) => Tensor::new(self.dtype, shape, bytes.clone()),
            Storage::Strings(strings) => Tensor::from_strings(shape, strings.to_vec()),
        }
    }
}

fn element_count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent))
}

#[cfg(test)]
mod tests {
    use super::{Tensor, TensorError};
    use crate::DType;
    use bytes::Bytes;

    #[test]
    fn size_is_checked() {
        let error = Tensor::new(DType::F32, [2, 2], Bytes::from_static(&[0; 15])).unwrap_err();
        assert_eq!(error.to_string(), "a tensor of type f32 and shape [2, 2] takes 16 bytes, found 15");
        assert!(matches!(
            Tensor::new(DType::F32, [usize::MAX, 2], Bytes::new()),
            Err(TensorError::Unsized { .. })
        ));
    }

    #[test]
    fn unaligned_bytes_are_read() {
        let bytes = Bytes::copy_from_slice(&[0, 0, 0, 128, 63, 0, 0, 0, 64]).slice(1..);
        let tensor = Tensor::new(DType::F32, [2], bytes).unwrap();
        assert_eq!(tensor.as_f32().unwrap().as_ref(), [1.0, 2.0]);
        assert_eq!(
            tensor.elements::<i32>().unwrap_err(),
            TensorError::Type { expected: DType::I32, found: DType::F32 }
        );
    }

    #[test]
    fn integers_widen() {
        let tensor = Tensor::from_vec([3], vec![-128i8, 0, 127]).unwrap();
        assert_eq!(tensor.to_integers(), Some(vec![-128, 0, 127]));
        assert_eq!(Tensor::scalar(1.0f32).to_integers(), None);
    }
}
