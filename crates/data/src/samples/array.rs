//! Arrays as plain bytes: element types, named arrays, and the conversions between their numbers.

use half::f16;
use serde::{Deserialize, Serialize};

/// Type of the elements of an array. Little endian, `bool` as one byte of 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Element {
    /// IEEE 754 half precision.
    F16,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
    /// Signed, 8 bits.
    I8,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// Truth value.
    Bool,
}

impl Element {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Element::I8 | Element::U8 | Element::Bool => 1,
            Element::F16 | Element::I16 | Element::U16 => 2,
            Element::F32 | Element::I32 | Element::U32 => 4,
            Element::F64 | Element::I64 | Element::U64 => 8,
        }
    }

    /// Whether elements are floating-point numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Element::F16 | Element::F32 | Element::F64)
    }

    /// Whether elements are whole numbers; truth values are not.
    pub fn is_integer(self) -> bool {
        !self.is_float() && self != Element::Bool
    }

    /// Least and greatest value of an integer type; 0 and 1 of truth values; `None` of floats.
    pub fn range(self) -> Option<(i128, i128)> {
        Some(match self {
            Element::I8 => (i8::MIN.into(), i8::MAX.into()),
            Element::I16 => (i16::MIN.into(), i16::MAX.into()),
            Element::I32 => (i32::MIN.into(), i32::MAX.into()),
            Element::I64 => (i64::MIN.into(), i64::MAX.into()),
            Element::U8 => (0, u8::MAX.into()),
            Element::U16 => (0, u16::MAX.into()),
            Element::U32 => (0, u32::MAX.into()),
            Element::U64 => (0, u64::MAX.into()),
            Element::Bool => (0, 1),
            Element::F16 | Element::F32 | Element::F64 => return None,
        })
    }

    /// Whether arrays of this type are converted for an input of type `wanted`: floats to floats
    /// (rounded to nearest), whole numbers to whole numbers (each must fit), and equal types.
    pub fn converts_to(self, wanted: Element) -> bool {
        self == wanted || (self.is_float() && wanted.is_float()) || (self.is_integer() && wanted.is_integer())
    }

    /// The number in `bytes`, which are those of one element of a float type.
    pub(crate) fn read_float(self, bytes: &[u8]) -> f64 {
        match (self, bytes) {
            (Element::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f64(),
            (Element::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]).into(),
            (Element::F64, bytes) => bytes.try_into().map_or(f64::NAN, f64::from_le_bytes),
            _ => f64::NAN,
        }
    }

    /// Appends `value` as an element of a float type, rounded to nearest, ties to even.
    pub(crate) fn write_float(self, value: f64, output: &mut Vec<u8>) {
        match self {
            Element::F16 => output.extend(f16::from_f64(value).to_le_bytes()),
            Element::F32 => output.extend((value as f32).to_le_bytes()),
            _ => output.extend(value.to_le_bytes()),
        }
    }

    /// The number in `bytes`, which are those of one element of an integer type or truth value.
    pub(crate) fn read_integer(self, bytes: &[u8]) -> i128 {
        let mut wide = [0u8; 8];
        for (to, from) in wide.iter_mut().zip(bytes) {
            *to = *from;
        }
        let value = u64::from_le_bytes(wide);
        match self {
            Element::I8 => (value as i8).into(),
            Element::I16 => (value as i16).into(),
            Element::I32 => (value as i32).into(),
            Element::I64 => (value as i64).into(),
            _ => value.into(),
        }
    }

    /// Appends `value`, which is within [`Element::range`], as an element of an integer type.
    pub(crate) fn write_integer(self, value: i128, output: &mut Vec<u8>) {
        output.extend_from_slice(&value.to_le_bytes()[..self.bytes()]);
    }
}

impl std::fmt::Display for Element {
    /// The name that ONNX's text form and numpy's abbreviations share: `f32`, `i64`, `bool`.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Element::F16 => "f16",
            Element::F32 => "f32",
            Element::F64 => "f64",
            Element::I8 => "i8",
            Element::I16 => "i16",
            Element::I32 => "i32",
            Element::I64 => "i64",
            Element::U8 => "u8",
            Element::U16 => "u16",
            Element::U32 => "u32",
            Element::U64 => "u64",
            Element::Bool => "bool",
        })
    }
}

/// An array by the name of the model input that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedArray {
    /// The model's input.
    pub name: String,
    /// Type of the elements.
    pub element: Element,
    /// Extents, outermost first; the batch axis is among them where the input has one.
    pub shape: Vec<usize>,
    /// Elements in C order (last axis fastest), little endian.
    pub bytes: Vec<u8>,
}

impl NamedArray {
    /// The elements as `f32`, rounded; an aid for tests and displays.
    pub fn to_f32(&self) -> Vec<f32> {
        let elements = self.bytes.chunks_exact(self.element.bytes());
        if self.element.is_float() {
            elements.map(|bytes| self.element.read_float(bytes) as f32).collect()
        } else {
            elements.map(|bytes| self.element.read_integer(bytes) as f32).collect()
        }
    }
}

/// Elements of an array of that shape; `None` when the number does not fit.
pub(crate) fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_rounded_as_numpy_rounds_them() {
        // numpy: np.array([...], 'f4').astype('f2').view('u2')
        for (value, bits) in [
            (0.1f64, 0x2e66_u16),
            (65_504.0, 0x7bff),
            (65_520.0, 0x7c00),
            (5.96e-8, 0x0001),
            (-1.000_976_562_5, 0xbc01),
            (1.000_488_281_25, 0x3c00),
        ] {
            let mut bytes = Vec::new();
            Element::F16.write_float(value, &mut bytes);
            assert_eq!(bytes, bits.to_le_bytes(), "{value}");
        }
    }

    #[test]
    fn integers_of_every_width_come_back() {
        for element in [
            Element::I8,
            Element::I16,
            Element::I32,
            Element::I64,
            Element::U8,
            Element::U16,
            Element::U32,
            Element::U64,
        ] {
            let (least, greatest) = element.range().unwrap();
            for value in [least, 0, 1, greatest] {
                let mut bytes = Vec::new();
                element.write_integer(value, &mut bytes);
                assert_eq!(bytes.len(), element.bytes());
                assert_eq!(element.read_integer(&bytes), value, "{element}");
            }
        }
    }

    #[test]
    fn only_numbers_of_one_kind_are_converted() {
        assert!(Element::F64.converts_to(Element::F32));
        assert!(Element::I64.converts_to(Element::I32));
        assert!(!Element::U8.converts_to(Element::F32));
        assert!(!Element::F32.converts_to(Element::I8));
        assert!(!Element::Bool.converts_to(Element::I64));
        assert!(Element::Bool.converts_to(Element::Bool));
    }
}
