//! Comparison of tensors of every type to a tolerance.

use calipers_ir::{DType, Tensor};

/// As numpy's `allclose`: `|found - expected| <= absolute + relative * |expected|`.
pub struct Tolerance {
    pub relative: f64,
    pub absolute: f64,
    /// By how much 8-bit integers may differ.
    pub steps: u8,
}

/// What differs between a tensor and the expected one.
pub fn close(found: &Tensor, expected: &Tensor, tolerance: &Tolerance) -> Result<(), String> {
    if found.dtype() != expected.dtype() || found.shape() != expected.shape() {
        return Err(format!("{}, expected {}", found.tensor_type(), expected.tensor_type()));
    }
    let (Some(left), Some(right)) = (reals(found), reals(expected)) else {
        let step = |a: u8, b: u8| match found.dtype() {
            DType::U8 => a.abs_diff(b),
            DType::I8 => (a as i8).abs_diff(b as i8),
            _ => {
                if a == b {
                    0
                } else {
                    u8::MAX
                }
            }
        };
        let (left, right) = (found.bytes(), expected.bytes());
        let within = left.iter().zip(&right).all(|(&a, &b)| step(a, b) <= tolerance.steps);
        return if within && left.len() == right.len() && found.strings() == expected.strings() {
            Ok(())
        } else {
            Err(format!("{:?}, expected {:?}", &found.bytes(), &expected.bytes()))
        };
    };
    let differs = |a: f64, b: f64| {
        !(a == b
            || a.is_nan() && b.is_nan()
            || (a - b).abs() <= tolerance.absolute + tolerance.relative * b.abs())
    };
    let pairs = || left.iter().zip(&right);
    let different = pairs().filter(|&(&a, &b)| differs(a, b)).count();
    match pairs().position(|(&a, &b)| differs(a, b)) {
        None => Ok(()),
        Some(first) => Err(format!(
            "{different} of {} {} differ, the first at {first}: {}, expected {}",
            left.len(),
            found.dtype(),
            left[first],
            right[first]
        )),
    }
}

/// The numbers of a tensor of floats; of complex ones, real and imaginary parts. `None` for integers and packed types,
/// which must be equal.
fn reals(tensor: &Tensor) -> Option<Vec<f64>> {
    let bytes = tensor.bytes();
    let halves = |real: fn(u16) -> f64| {
        bytes.chunks_exact(2).map(|pair| real(u16::from_le_bytes([pair[0], pair[1]]))).collect()
    };
    match tensor.dtype() {
        DType::F32 | DType::Complex64 => Some(
            bytes
                .chunks_exact(4)
                .map(|part| f64::from(f32::from_le_bytes([part[0], part[1], part[2], part[3]])))
                .collect(),
        ),
        DType::F64 | DType::Complex128 => Some(
            bytes
                .chunks_exact(8)
                .map(|part| f64::from_le_bytes(part.try_into().expect("eight bytes")))
                .collect(),
        ),
        DType::F16 => Some(halves(half)),
        DType::BF16 => Some(halves(|bits| f64::from(f32::from_bits(u32::from(bits) << 16)))),
        _ => None,
    }
}

fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let fraction = f64::from(bits & 0x3ff) / 1024.0;
    sign * match (bits >> 10) & 0x1f {
        0 => fraction * 2f64.powi(-14),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        exponent => (1.0 + fraction) * 2f64.powi(i32::from(exponent) - 15),
    }
}
