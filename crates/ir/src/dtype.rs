//! The storage types of tensors: every one that ONNX and TFLite can store.

use std::fmt;
use std::str::FromStr;

/// How one element of a tensor is stored. Which of these can be computed with is a separate question,
/// answered by the runtime.
///
/// Elements narrower than a byte are packed as in the files: lowest bits first, no row padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // The names are the documentation.
pub enum DType {
    Bool,
    I2,
    I4,
    I8,
    I16,
    I32,
    I64,
    U2,
    U4,
    U8,
    U16,
    U32,
    U64,
    F4E2M1,
    F8E4M3Fn,
    F8E4M3FnUz,
    F8E5M2,
    F8E5M2FnUz,
    F8E8M0,
    F16,
    BF16,
    F32,
    F64,
    Complex64,
    Complex128,
    String,
}

impl DType {
    /// Every storage type, once.
    pub const ALL: [DType; 26] = [
        DType::Bool,
        DType::I2,
        DType::I4,
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::U2,
        DType::U4,
        DType::U8,
        DType::U16,
        DType::U32,
        DType::U64,
        DType::F4E2M1,
        DType::F8E4M3Fn,
        DType::F8E4M3FnUz,
        DType::F8E5M2,
        DType::F8E5M2FnUz,
        DType::F8E8M0,
        DType::F16,
        DType::BF16,
        DType::F32,
        DType::F64,
        DType::Complex64,
        DType::Complex128,
        DType::String,
    ];

    /// Width of one element in bits; `None` for strings, whose elements differ in length.
    pub fn bits(self) -> Option<usize> {
        Some(match self {
            DType::I2 | DType::U2 => 2,
            DType::I4 | DType::U4 | DType::F4E2M1 => 4,
            DType::Bool
            | DType::I8
            | DType::U8
            | DType::F8E4M3Fn
            | DType::F8E4M3FnUz
            | DType::F8E5M2
            | DType::F8E5M2FnUz
            | DType::F8E8M0 => 8,
            DType::I16 | DType::U16 | DType::F16 | DType::BF16 => 16,
            DType::I32 | DType::U32 | DType::F32 => 32,
            DType::I64 | DType::U64 | DType::F64 | DType::Complex64 => 64,
            DType::Complex128 => 128,
            DType::String => return None,
        })
    }

    /// Bytes that `elements` elements take when packed; `None` for strings and where the count overflows.
    pub fn packed_bytes(self, elements: usize) -> Option<usize> {
        Some(elements.checked_mul(self.bits()?)?.div_ceil(8))
    }

    /// Smallest and largest value of an integer type; `None` for every other type.
    pub fn integer_range(self) -> Option<(i64, i64)> {
        Some(match self {
            DType::I2 => (-2, 1),
            DType::I4 => (-8, 7),
            DType::I8 => (i8::MIN.into(), i8::MAX.into()),
            DType::I16 => (i16::MIN.into(), i16::MAX.into()),
            DType::I32 => (i32::MIN.into(), i32::MAX.into()),
            DType::I64 => (i64::MIN, i64::MAX),
            DType::U2 => (0, 3),
            DType::U4 => (0, 15),
            DType::U8 => (0, u8::MAX.into()),
            DType::U16 => (0, u16::MAX.into()),
            DType::U32 => (0, u32::MAX.into()),
            _ => return None,
        })
    }

    /// The short name used in the text form, e.g. `f32`.
    pub fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::I2 => "i2",
            DType::I4 => "i4",
            DType::I8 => "i8",
            DType::I16 => "i16",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::U2 => "u2",
            DType::U4 => "u4",
            DType::U8 => "u8",
            DType::U16 => "u16",
            DType::U32 => "u32",
            DType::U64 => "u64",
            DType::F4E2M1 => "f4e2m1",
            DType::F8E4M3Fn => "f8e4m3fn",
            DType::F8E4M3FnUz => "f8e4m3fnuz",
            DType::F8E5M2 => "f8e5m2",
            DType::F8E5M2FnUz => "f8e5m2fnuz",
            DType::F8E8M0 => "f8e8m0",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::Complex64 => "complex64",
            DType::Complex128 => "complex128",
            DType::String => "string",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        DType::ALL
            .into_iter()
            .find(|dtype| dtype.name() == text)
            .ok_or_else(|| format!("`{text}` is not a storage type; expected one such as f32, i8, u8 or i64"))
    }
}

#[cfg(test)]
mod tests {
    use super::DType;

    #[test]
    fn names_parse_back() {
        for dtype in DType::ALL {
            assert_eq!(dtype.name().parse::<DType>(), Ok(dtype));
        }
    }

    #[test]
    fn narrow_types_are_packed() {
        assert_eq!(DType::U4.packed_bytes(3), Some(2));
        assert_eq!(DType::I2.packed_bytes(5), Some(2));
        assert_eq!(DType::F32.packed_bytes(3), Some(12));
        assert_eq!(DType::F64.packed_bytes(usize::MAX), None);
        assert_eq!(DType::String.packed_bytes(3), None);
    }
}
