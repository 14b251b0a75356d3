//! Functions of two inputs.

use calipers_ir::{BinaryKind, DType, Tensor};

use super::arithmetic::{
    floored_float_remainder, floored_quotient, floored_remainder, power, quotient, remainder, shifted,
    unsigned_power,
};
use crate::Error;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::shape::Walk;

/// The function of each pair of elements.
pub(crate) fn evaluate(kind: &BinaryKind, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let (a, b) = (inputs.tensor(0)?, inputs.tensor(1)?);
    let shape = inputs.broadcast(&[a.shape(), b.shape()])?;
    if let BinaryKind::Equal | BinaryKind::NotEqual = kind
        && let (Some(left), Some(right)) = (a.strings(), b.strings())
    {
        let equal = *kind == BinaryKind::Equal;
        let pairs = pairs(a, b, &shape).map(|(i, j)| (left[i] == right[j]) == equal);
        return Ok(vec![inputs.result(DType::Bool, &shape, Numbers::Bool(pairs.collect()))?]);
    }
    if a.dtype() != b.dtype() && *kind != BinaryKind::Pow {
        return Err(inputs.argument("two inputs of one type", format!("{} and {}", a.dtype(), b.dtype())));
    }
    let (left, right) = (inputs.numbers_of(a)?, inputs.numbers_of(b)?);
    let pairs = pairs(a, b, &shape);
    if let Some(holds) = comparison(kind) {
        let truths = compare(&left, &right, pairs, holds).ok_or_else(|| refused(a, inputs))?;
        return Ok(vec![inputs.result(DType::Bool, &shape, Numbers::Bool(truths))?]);
    }
    let result = match (left, right) {
        (Numbers::F32(left), Numbers::F32(right)) => {
            let function = float32(kind).ok_or_else(|| refused(a, inputs))?;
            Numbers::F32(pairs.map(|(i, j)| function(left[i], right[j])).collect())
        }
        (Numbers::F64(left), Numbers::F64(right)) => {
            let function = float(kind).ok_or_else(|| refused(a, inputs))?;
            Numbers::F64(pairs.map(|(i, j)| function(left[i], right[j])).collect())
        }
        (Numbers::I64(left), Numbers::I64(right)) => {
            let function = integer(kind, a.dtype(), inputs)?.ok_or_else(|| refused(a, inputs))?;
            Numbers::I64(pairs.map(|(i, j)| function(left[i], right[j])).collect())
        }
        (Numbers::U64(left), Numbers::U64(right)) => {
            let function = unsigned(kind, inputs)?.ok_or_else(|| refused(a, inputs))?;
            Numbers::U64(pairs.map(|(i, j)| function(left[i], right[j])).collect())
        }
        (Numbers::Bool(left), Numbers::Bool(right)) => {
            let function: fn(bool, bool) -> bool = match kind {
                BinaryKind::And => |a, b| a && b,
                BinaryKind::Or => |a, b| a || b,
                BinaryKind::Xor => |a, b| a != b,
                _ => return Err(refused(a, inputs)),
            };
            Numbers::Bool(pairs.map(|(i, j)| function(left[i], right[j])).collect())
        }
        // Only a power has inputs of two types; numpy's promotion of an integer and a float is f64.
        (Numbers::F32(left), Numbers::I64(right)) => {
            Numbers::F64(pairs.map(|(i, j)| libm::pow(left[i].into(), right[j] as f64)).collect())
        }
        (left, right) => {
            let (left, right) = (left.into_f64(), right.into_f64());
            Numbers::F64(pairs.map(|(i, j)| libm::pow(left[i], right[j])).collect())
        }
    };
    Ok(vec![inputs.result(a.dtype(), &shape, result)?])
}

fn refused(tensor: &Tensor, inputs: &Inputs<'_>) -> Error {
    inputs.unsupported_type(tensor.dtype(), "the types of the operator's page")
}

fn pairs(a: &Tensor, b: &Tensor, shape: &[usize]) -> impl Iterator<Item = (usize, usize)> + use<> {
    Walk::broadcast(a.shape(), shape).zip(Walk::broadcast(b.shape(), shape))
}

/// For a comparison, of which orders it holds; unordered numbers are equal to nothing.
fn comparison(kind: &BinaryKind) -> Option<fn(Option<std::cmp::Ordering>) -> bool> {
    Some(match kind {
        BinaryKind::Equal => |order| order.is_some_and(|order| order.is_eq()),
        BinaryKind::NotEqual => |order| order.is_none_or(|order| order.is_ne()),
        BinaryKind::Greater => |order| order.is_some_and(|order| order.is_gt()),
        BinaryKind::GreaterOrEqual => |order| order.is_some_and(|order| order.is_ge()),
        BinaryKind::Less => |order| order.is_some_and(|order| order.is_lt()),
        BinaryKind::LessOrEqual => |order| order.is_some_and(|order| order.is_le()),
        _ => return None,
    })
}

fn compare(
    left: &Numbers,
    right: &Numbers,
    pairs: impl Iterator<Item = (usize, usize)>,
    holds: fn(Option<std::cmp::Ordering>) -> bool,
) -> Option<Vec<bool>> {
    Some(match (left, right) {
        (Numbers::F32(a), Numbers::F32(b)) => pairs.map(|(i, j)| holds(a[i].partial_cmp(&b[j]))).collect(),
        (Numbers::F64(a), Numbers::F64(b)) => pairs.map(|(i, j)| holds(a[i].partial_cmp(&b[j]))).collect(),
        (Numbers::I64(a), Numbers::I64(b)) => pairs.map(|(i, j)| holds(Some(a[i].cmp(&b[j])))).collect(),
        (Numbers::U64(a), Numbers::U64(b)) => pairs.map(|(i, j)| holds(Some(a[i].cmp(&b[j])))).collect(),
        (Numbers::Bool(a), Numbers::Bool(b)) => pairs.map(|(i, j)| holds(Some(a[i].cmp(&b[j])))).collect(),
        _ => return None,
    })
}

/// The function of floats of at most 32 bits, each with one rounding.
fn float32(kind: &BinaryKind) -> Option<fn(f32, f32) -> f32> {
    Some(match kind {
        BinaryKind::Add => |a, b| a + b,
        BinaryKind::Sub => |a, b| a - b,
        BinaryKind::Mul => |a, b| a * b,
        BinaryKind::Div => |a, b| a / b,
        BinaryKind::SquaredDifference => |a, b| (a - b) * (a - b),
        BinaryKind::PRelu => |x, slope| if x < 0.0 { slope * x } else { x },
        BinaryKind::Pow => |a, b| libm::pow(a.into(), b.into()) as f32,
        BinaryKind::Atan2 => |a, b| libm::atan2(a.into(), b.into()) as f32,
        BinaryKind::FloorDiv => |a, b| (a / b).floor(),
        BinaryKind::Mod { fmod: true } => |a, b| a % b,
        BinaryKind::Mod { fmod: false } | BinaryKind::FloorMod => {
            |a, b| floored_float_remainder(a.into(), b.into()) as f32
        }
        _ => return None,
    })
}

/// The function of floats of 64 bits.
fn float(kind: &BinaryKind) -> Option<fn(f64, f64) -> f64> {
    Some(match kind {
        BinaryKind::Add => |a, b| a + b,
        BinaryKind::Sub => |a, b| a - b,
        BinaryKind::Mul => |a, b| a * b,
        BinaryKind::Div => |a, b| a / b,
        BinaryKind::SquaredDifference => |a, b| (a - b) * (a - b),
        BinaryKind::PRelu => |x, slope| if x < 0.0 { slope * x } else { x },
        BinaryKind::Pow => libm::pow,
        BinaryKind::Atan2 => libm::atan2,
        BinaryKind::FloorDiv => |a, b| (a / b).floor(),
        BinaryKind::Mod { fmod: true } => |a, b| a % b,
        BinaryKind::Mod { fmod: false } | BinaryKind::FloorMod => floored_float_remainder,
        _ => return None,
    })
}

type Function<T> = Box<dyn Fn(T, T) -> T>;

/// The function of integers of `dtype`; what exceeds its range wraps when it is stored.
fn integer(kind: &BinaryKind, dtype: DType, inputs: &Inputs<'_>) -> Result<Option<Function<i64>>, Error> {
    Ok(Some(match kind {
        BinaryKind::Add => Box::new(i64::wrapping_add),
        BinaryKind::Sub => Box::new(i64::wrapping_sub),
        BinaryKind::Mul => Box::new(i64::wrapping_mul),
        BinaryKind::Div => Box::new(quotient),
        BinaryKind::FloorDiv => Box::new(floored_quotient),
        BinaryKind::Mod { fmod: true } => Box::new(remainder),
        BinaryKind::Mod { fmod: false } | BinaryKind::FloorMod => Box::new(floored_remainder),
        BinaryKind::Pow => Box::new(power),
        BinaryKind::SquaredDifference => {
            Box::new(|a: i64, b: i64| a.wrapping_sub(b).wrapping_mul(a.wrapping_sub(b)))
        }
        BinaryKind::PRelu => Box::new(|x: i64, slope| if x < 0 { slope.wrapping_mul(x) } else { x }),
        BinaryKind::BitwiseAnd => Box::new(|a, b| a & b),
        BinaryKind::BitwiseOr => Box::new(|a, b| a | b),
        BinaryKind::BitwiseXor => Box::new(|a, b| a ^ b),
        BinaryKind::BitShift { direction } => {
            let left = goes_left(direction, inputs)?;
            let bits = dtype.bits().unwrap_or(64) as u64;
            // A right shift of a negative number repeats its sign.
            Box::new(move |a, b| match (b as u64 >= bits, left) {
                (true, false) if a < 0 => -1,
                (true, _) => 0,
                (false, true) => a.wrapping_shl(b as u32),
                (false, false) => a.wrapping_shr(b as u32),
            })
        }
        _ => return Ok(None),
    }))
}

/// The function of integers of type u64.
fn unsigned(kind: &BinaryKind, inputs: &Inputs<'_>) -> Result<Option<Function<u64>>, Error> {
    Ok(Some(match kind {
        BinaryKind::Add => Box::new(u64::wrapping_add),
        BinaryKind::Sub => Box::new(u64::wrapping_sub),
        BinaryKind::Mul => Box::new(u64::wrapping_mul),
        BinaryKind::Div | BinaryKind::FloorDiv => Box::new(|a, b| a.checked_div(b).unwrap_or(0)),
        BinaryKind::Mod { .. } | BinaryKind::FloorMod => Box::new(|a, b| a.checked_rem(b).unwrap_or(0)),
        BinaryKind::Pow => Box::new(unsigned_power),
        BinaryKind::SquaredDifference => {
            Box::new(|a: u64, b: u64| a.wrapping_sub(b).wrapping_mul(a.wrapping_sub(b)))
        }
        BinaryKind::PRelu => Box::new(|x, _| x),
        BinaryKind::BitwiseAnd => Box::new(|a, b| a & b),
        BinaryKind::BitwiseOr => Box::new(|a, b| a | b),
        BinaryKind::BitwiseXor => Box::new(|a, b| a ^ b),
        BinaryKind::BitShift { direction } => {
            let left = goes_left(direction, inputs)?;
            Box::new(move |a, b| shifted(a, b, left))
        }
        _ => return Ok(None),
    }))
}

fn goes_left(direction: &str, inputs: &Inputs<'_>) -> Result<bool, Error> {
    match direction {
        "LEFT" => Ok(true),
        "RIGHT" => Ok(false),
        other => Err(inputs.argument("direction = LEFT or RIGHT", format!("`{other}`"))),
    }
}
