//! Quantization and operators on single elements.

use calipers_ir::{BinaryKind, DType, Tensor, UnaryKind};
use calipers_kernels::quantize::Params;
use calipers_kernels::tflite::binary::{Binary, BinaryOperation, Comparison, Prelu, Relation};
use calipers_kernels::tflite::lookup::{Function, Table8, Table16};
use calipers_kernels::tflite::quantize::{Requantize, dequantize, quantize};
use calipers_kernels::tflite::sigmoid::Sigmoid16;
use calipers_kernels::tflite::unary::{Absolute, Clamp, HardSwish, LeakyRelu, negate};
use calipers_kernels::tflite::{self, Activation};

use super::call::{Call, Stored, with_type};
use crate::error::Error;

pub(super) fn quantization(call: &Call<'_>, params: &[Params], inner: usize) -> Result<Tensor, Error> {
    let shape = call.shape(0)?;
    let tensor =
        |made: Result<Tensor, calipers_ir::TensorError>| made.or_else(|error| call.refuse(error.to_string()));
    if call.dtype(0) == DType::F32 {
        let x = call.elements::<f32>(0)?;
        return match call.unit.dtype {
            DType::I8 => tensor(Tensor::from_vec(shape, quantized::<i8>(&x, params, inner))),
            DType::U8 => tensor(Tensor::from_vec(shape, quantized::<u8>(&x, params, inner))),
            DType::I16 => tensor(Tensor::from_vec(shape, quantized::<i16>(&x, params, inner))),
            found => call.refuse(format!("a result of type {found}")),
        };
    }
    let mut reals = vec![0f32; call.tensor(0)?.len()];
    if call.dtype(0) == DType::I32 {
        dequantize(&call.elements::<i32>(0)?, params, inner, &mut reals);
    } else {
        with_type!(call, T => {
            dequantize(&call.elements::<T>(0)?, params, inner, &mut reals);
            Ok(())
        })?;
    }
    tensor(Tensor::from_vec(shape, reals))
}

fn quantized<T: Stored>(x: &[f32], params: &[Params], inner: usize) -> Vec<T> {
    let mut integers = vec![T::default(); x.len()];
    quantize(x, params, inner, &mut integers);
    integers
}

pub(super) fn requantization(call: &Call<'_>) -> Result<Tensor, Error> {
    if call.dtype(0) == DType::I32 {
        return requantized(call, &call.elements::<i32>(0)?);
    }
    with_type!(call, T => requantized(call, &call.elements::<T>(0)?))
}

fn requantized<T: tflite::Element>(call: &Call<'_>, x: &[T]) -> Result<Tensor, Error> {
    let requantize = call.accept(Requantize::new(call.params(0)?, call.unit.output))?;
    if x.len() != call.unit.shape.iter().product::<usize>() {
        return call.refuse("a result of another size");
    }
    macro_rules! to {
        ($type:ty) => {
            call.fill::<$type>(|y| {
                requantize.run(x, y);
                Ok(())
            })
        };
    }
    match call.unit.dtype {
        DType::I8 => to!(i8),
        DType::U8 => to!(u8),
        DType::I16 => to!(i16),
        DType::I32 => to!(i32),
        found => call.refuse(format!("a result of type {found}")),
    }
}

pub(super) fn clamp(call: &Call<'_>, bounds: [f32; 2]) -> Result<Tensor, Error> {
    with_type!(call, T => {
        let clamp = call.accept(Clamp::new::<T>(bounds, call.params(0)?, call.unit.output))?;
        let x = call.elements::<T>(0)?;
        call.fill::<T>(|y| { clamp.run(&x, y); Ok(()) })
    })
}

/// The arithmetic operator that a kind is.
pub(super) fn operation(kind: &BinaryKind) -> Option<BinaryOperation> {
    Some(match kind {
        BinaryKind::Add => BinaryOperation::Add,
        BinaryKind::Sub => BinaryOperation::Subtract,
        BinaryKind::Mul => BinaryOperation::Multiply,
        BinaryKind::Div => BinaryOperation::Divide,
        BinaryKind::SquaredDifference => BinaryOperation::SquaredDifference,
        _ => return None,
    })
}

/// The comparison that a kind is.
pub(super) fn relation(kind: &BinaryKind) -> Option<Relation> {
    Some(match kind {
        BinaryKind::Equal => Relation::Equal,
        BinaryKind::NotEqual => Relation::NotEqual,
        BinaryKind::Greater => Relation::Greater,
        BinaryKind::GreaterOrEqual => Relation::GreaterEqual,
        BinaryKind::Less => Relation::Less,
        BinaryKind::LessOrEqual => Relation::LessEqual,
        _ => return None,
    })
}

pub(super) fn binary(
    call: &Call<'_>,
    kind: &BinaryKind,
    activation: Activation,
    powers_of_two: bool,
) -> Result<Tensor, Error> {
    let (left, right) = (call.params(0)?, call.params(1)?);
    let shapes = (call.shape(0)?, call.shape(1)?);
    if let Some(relation) = relation(kind) {
        let comparison = call.accept(Comparison::new(relation, left, right))?;
        let mut holds = vec![false; call.unit.shape.iter().product()];
        with_type!(call, T => {
            let (x, y) = (call.elements::<T>(0)?, call.elements::<T>(1)?);
            comparison.run((&x, shapes.0), (&y, shapes.1), &mut holds);
            Ok(())
        })?;
        let bytes: Vec<u8> = holds.into_iter().map(u8::from).collect();
        return Tensor::new(DType::Bool, call.unit.shape.as_slice(), bytes.into())
            .or_else(|error| call.refuse(error.to_string()));
    }
    with_type!(call, T => {
        let x = call.elements::<T>(0)?;
        if *kind == BinaryKind::PRelu {
            let prelu = call.accept(Prelu::new(left, right, call.unit.output))?;
            return call.fill::<T>(|result| {
                if call.dtype(1) == call.dtype(0) {
                    prelu.run((&x, shapes.0), (&call.elements::<T>(1)?, shapes.1), result);
                } else {
                    prelu.run((&x, shapes.0), (&call.narrow(1)?, shapes.1), result);
                }
                Ok(())
            });
        }
        let Some(operation) = operation(kind) else { return call.refuse(format!("{kind:?}")) };
        let binary = Binary::new::<T>(operation, left, right, call.unit.output, activation, powers_of_two);
        let binary = call.accept(binary)?;
        let y = call.elements::<T>(1)?;
        call.fill::<T>(|result| { binary.run((&x, shapes.0), (&y, shapes.1), result); Ok(()) })
    })
}

/// The tabulated function that a kind is.
fn function(kind: &UnaryKind) -> Option<Function> {
    Some(match kind {
        UnaryKind::Tanh => Function::Tanh,
        UnaryKind::Sigmoid => Function::Logistic,
        UnaryKind::Exp => Function::Exp,
        UnaryKind::Log => Function::Log,
        UnaryKind::Elu { alpha: 1.0 } => Function::Elu,
        UnaryKind::Gelu { approximate } if approximate == "tanh" => Function::GeluTanh,
        UnaryKind::Gelu { .. } => Function::Gelu,
        UnaryKind::Sqrt => Function::Sqrt,
        UnaryKind::Rsqrt => Function::Rsqrt,
        _ => return None,
    })
}

/// Whether TFLite computes a function on integers of a type.
pub(super) fn has_form(kind: &UnaryKind, dtype: DType) -> bool {
    let signed = dtype != DType::U8;
    match (kind, function(kind)) {
        (_, Some(Function::Tanh | Function::Logistic | Function::Gelu | Function::GeluTanh)) => true,
        (_, Some(Function::Elu)) => dtype == DType::I8,
        (_, Some(Function::Exp | Function::Log | Function::Sqrt | Function::Rsqrt)) => signed,
        (UnaryKind::LeakyRelu { .. }, None) => true,
        (UnaryKind::HardSwish, None) => dtype != DType::I16,
        (UnaryKind::Abs | UnaryKind::Neg, None) => signed,
        _ => false,
    }
}

pub(super) fn unary(call: &Call<'_>, kind: &UnaryKind) -> Result<Tensor, Error> {
    let (from, to) = (call.params(0)?, call.unit.output);
    match (function(kind), call.dtype(0)) {
        (Some(function @ (Function::Tanh | Function::Logistic)), DType::I16) => {
            let sigmoid = match function {
                Function::Tanh => call.accept(Sigmoid16::tanh(from, to))?,
                _ => call.accept(Sigmoid16::logistic(from, to))?,
            };
            let x = call.elements::<i16>(0)?;
            call.fill::<i16>(|y| {
                sigmoid.run(&x, y);
                Ok(())
            })
        }
        (Some(function), DType::I16) => {
            let table = call.accept(Table16::new(function, from, to))?;
            let x = call.elements::<i16>(0)?;
            call.fill::<i16>(|y| call.accept(table.run(&x, y)))
        }
        (Some(function), DType::I8) => tabulated::<i8>(call, function),
        (Some(function), _) => tabulated::<u8>(call, function),
        (None, _) => with_type!(call, T => {
            let x = call.elements::<T>(0)?;
            match kind {
                UnaryKind::LeakyRelu { alpha } => {
                    let leaky = call.accept(LeakyRelu::new(*alpha, from, to))?;
                    call.fill::<T>(|y| { leaky.run(&x, y); Ok(()) })
                }
                UnaryKind::HardSwish => {
                    let swish = call.accept(HardSwish::new(from, to))?;
                    call.fill::<T>(|y| { swish.run(&x, y); Ok(()) })
                }
                UnaryKind::Abs => {
                    let absolute = call.accept(Absolute::new(from, to))?;
                    call.fill::<T>(|y| { absolute.run(&x, y); Ok(()) })
                }
                UnaryKind::Neg => call.fill::<T>(|y| { negate(&x, y); Ok(()) }),
                other => call.refuse(format!("{other:?}")),
            }
        }),
    }
}

fn tabulated<T: Stored>(call: &Call<'_>, function: Function) -> Result<Tensor, Error> {
    let table = call.accept(Table8::<T>::new(function, call.params(0)?, call.unit.output))?;
    let x = call.elements::<T>(0)?;
    call.fill::<T>(|y| call.accept(table.run(&x, y)))
}
