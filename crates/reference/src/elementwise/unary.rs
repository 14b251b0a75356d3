//! Functions of one input. Floats are computed in f64 and rounded once.

use calipers_ir::{DType, Tensor, UnaryKind};

use super::functions;
use crate::Error;
use crate::inputs::Inputs;
use crate::numbers::Numbers;

/// The function of each element.
pub(crate) fn evaluate(kind: &UnaryKind, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let x = inputs.tensor(0)?;
    if *kind == UnaryKind::Identity {
        return Ok(vec![x.clone()]);
    }
    let numbers = inputs.numbers_of(x)?;
    let refused = || inputs.unsupported_type(x.dtype(), "the types of the operator's page");
    if let UnaryKind::IsNaN | UnaryKind::IsInf { .. } = kind {
        let holds = test_of(kind);
        let truths = match numbers {
            Numbers::F32(_) | Numbers::F64(_) => numbers.into_f64().into_iter().map(holds).collect(),
            Numbers::I64(_) | Numbers::U64(_) | Numbers::Bool(_) => return Err(refused()),
        };
        return Ok(vec![inputs.result(DType::Bool, x.shape(), Numbers::Bool(truths))?]);
    }
    let result = match numbers {
        Numbers::F32(values) => {
            let function = float_function(kind, inputs)?.ok_or_else(refused)?;
            Numbers::F32(values.into_iter().map(|value| function(f64::from(value)) as f32).collect())
        }
        Numbers::F64(values) => {
            let function = float_function(kind, inputs)?.ok_or_else(refused)?;
            Numbers::F64(values.into_iter().map(function).collect())
        }
        Numbers::I64(values) => {
            let function = integer_function(kind).ok_or_else(refused)?;
            Numbers::I64(values.into_iter().map(function).collect())
        }
        Numbers::U64(values) => {
            let function = unsigned_function(kind).ok_or_else(refused)?;
            Numbers::U64(values.into_iter().map(function).collect())
        }
        Numbers::Bool(values) if *kind == UnaryKind::Not => {
            Numbers::Bool(values.into_iter().map(|value| !value).collect())
        }
        Numbers::Bool(_) => return Err(refused()),
    };
    Ok(vec![inputs.result(x.dtype(), x.shape(), result)?])
}

fn test_of(kind: &UnaryKind) -> impl Fn(f64) -> bool + use<> {
    let (nan, negative, positive) = match kind {
        UnaryKind::IsInf { detect_negative, detect_positive } => (false, *detect_negative, *detect_positive),
        _ => (true, false, false),
    };
    move |x| nan && x.is_nan() || negative && x == f64::NEG_INFINITY || positive && x == f64::INFINITY
}

type FloatFunction = Box<dyn Fn(f64) -> f64>;

/// The function of floats; `None` where it has none.
fn float_function(kind: &UnaryKind, inputs: &Inputs<'_>) -> Result<Option<FloatFunction>, Error> {
    fn plain(function: fn(f64) -> f64) -> FloatFunction {
        Box::new(function)
    }
    Ok(Some(match kind {
        UnaryKind::Relu => plain(|x| if x < 0.0 { 0.0 } else { x }),
        UnaryKind::Identity => plain(|x| x),
        UnaryKind::Abs => plain(f64::abs),
        UnaryKind::Acos => plain(libm::acos),
        UnaryKind::Acosh => plain(libm::acosh),
        UnaryKind::Asin => plain(libm::asin),
        UnaryKind::Asinh => plain(libm::asinh),
        UnaryKind::Atan => plain(libm::atan),
        UnaryKind::Atanh => plain(libm::atanh),
        UnaryKind::Ceil => plain(f64::ceil),
        UnaryKind::Cos => plain(libm::cos),
        UnaryKind::Cosh => plain(libm::cosh),
        UnaryKind::Erf => plain(libm::erf),
        UnaryKind::Exp => plain(libm::exp),
        UnaryKind::Floor => plain(f64::floor),
        UnaryKind::Log => plain(libm::log),
        UnaryKind::Mish => plain(|x| x * libm::tanh(functions::softplus(x))),
        UnaryKind::Neg => plain(|x| -x),
        UnaryKind::Reciprocal => plain(|x| 1.0 / x),
        UnaryKind::Round => plain(f64::round_ties_even),
        UnaryKind::Rsqrt => plain(|x| 1.0 / x.sqrt()),
        UnaryKind::Sigmoid => plain(functions::sigmoid),
        UnaryKind::Sign => plain(functions::sign),
        UnaryKind::Sin => plain(libm::sin),
        UnaryKind::Sinh => plain(libm::sinh),
        UnaryKind::Softplus => plain(functions::softplus),
        UnaryKind::Softsign => plain(|x| x / (1.0 + x.abs())),
        UnaryKind::Sqrt => plain(f64::sqrt),
        UnaryKind::Square => plain(|x| x * x),
        UnaryKind::Tan => plain(libm::tan),
        UnaryKind::Tanh => plain(libm::tanh),
        UnaryKind::HardSwish => plain(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        UnaryKind::Gelu { approximate } => match approximate.as_str() {
            "none" => plain(functions::gelu),
            "tanh" => plain(functions::gelu_tanh),
            other => return Err(inputs.argument("approximate = none or tanh", format!("`{other}`"))),
        },
        UnaryKind::Celu { alpha } => {
            let alpha = f64::from(*alpha);
            Box::new(move |x| functions::celu(x, alpha))
        }
        UnaryKind::Elu { alpha } => {
            let alpha = f64::from(*alpha);
            Box::new(move |x| functions::elu(x, alpha))
        }
        UnaryKind::HardSigmoid { alpha, beta } => {
            let (alpha, beta) = (f64::from(*alpha), f64::from(*beta));
            Box::new(move |x| (alpha * x + beta).clamp(0.0, 1.0))
        }
        UnaryKind::LeakyRelu { alpha } => {
            let alpha = f64::from(*alpha);
            Box::new(move |x| if x < 0.0 { alpha * x } else { x })
        }
        UnaryKind::Selu { alpha, gamma } => {
            let (alpha, gamma) = (f64::from(*alpha), f64::from(*gamma));
            Box::new(move |x| gamma * functions::elu(x, alpha))
        }
        UnaryKind::Shrink { bias, lambd } => {
            let (bias, lambd) = (f64::from(*bias), f64::from(*lambd));
            Box::new(move |x| shrink(x, bias, lambd))
        }
        UnaryKind::Swish { alpha } => {
            let alpha = f64::from(*alpha);
            Box::new(move |x| x * functions::sigmoid(alpha * x))
        }
        UnaryKind::ThresholdedRelu { alpha } => {
            let alpha = f64::from(*alpha);
            Box::new(move |x| if x > alpha { x } else { 0.0 })
        }
        UnaryKind::BitwiseNot | UnaryKind::Not | UnaryKind::IsInf { .. } | UnaryKind::IsNaN => {
            return Ok(None);
        }
    }))
}

/// `x + bias` below `-lambd`, `x - bias` above `lambd`, else 0.
fn shrink(x: f64, bias: f64, lambd: f64) -> f64 {
    if x < -lambd {
        x + bias
    } else if x > lambd {
        x - bias
    } else {
        0.0
    }
}

/// The function of integers; `None` where it has none.
fn integer_function(kind: &UnaryKind) -> Option<Box<dyn Fn(i64) -> i64>> {
    Some(match kind {
        UnaryKind::Relu => Box::new(|x| x.max(0)),
        UnaryKind::Abs => Box::new(i64::wrapping_abs),
        UnaryKind::Neg => Box::new(i64::wrapping_neg),
        UnaryKind::Sign => Box::new(i64::signum),
        UnaryKind::BitwiseNot => Box::new(|x| !x),
        UnaryKind::Square => Box::new(|x| x.wrapping_mul(x)),
        UnaryKind::Ceil | UnaryKind::Floor | UnaryKind::Round => Box::new(|x| x),
        UnaryKind::Shrink { bias, lambd } => {
            let (bias, lambd) = (f64::from(*bias), f64::from(*lambd));
            Box::new(move |x| shrink(x as f64, bias, lambd) as i64)
        }
        _ => return None,
    })
}

/// The function of integers of type u64; `None` where it has none.
fn unsigned_function(kind: &UnaryKind) -> Option<fn(u64) -> u64> {
    Some(match kind {
        UnaryKind::Abs | UnaryKind::Relu => |x| x,
        UnaryKind::Sign => |x| x.min(1),
        UnaryKind::BitwiseNot => |x| !x,
        UnaryKind::Square => |x| x.wrapping_mul(x),
        UnaryKind::Neg => u64::wrapping_neg,
        _ => return None,
    })
}
