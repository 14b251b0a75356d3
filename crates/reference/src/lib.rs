//! What every operator means: plain scalar definitions on tensors of every type.
//!
//! [`evaluate`] is what runs an operator that has no fast kernel, and what fast kernels are held against. Floats
//! narrower than f32 are computed in f32 and rounded once at the end.
#![forbid(unsafe_code)]

mod error;

use calipers_ir::{Op, Tensor};

pub use error::Error;

/// The results of an operator; `outputs` is how many of them the node has, the rest need not be computed.
///
/// Operators that run subgraphs and those that are kept as read are refused: the runtime runs the former.
///
/// # Errors
/// An operator, type or form that is not supported, arguments that break a rule which depends on their values, and
/// results that are too large.
pub fn evaluate(op: &Op, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Tensor>, Error> {
    let _ = (inputs, outputs);
    match op {
        Op::Conv(_)
        | Op::ConvTranspose(_)
        | Op::ConvInteger(_)
        | Op::Gemm(_)
        | Op::MatMul
        | Op::Product(_)
        | Op::Unary(_)
        | Op::Binary(..)
        | Op::Variadic(_)
        | Op::Select(_)
        | Op::Clip(_)
        | Op::Pool(_)
        | Op::GlobalPool(..)
        | Op::BatchNormalization(_)
        | Op::Normalize(_)
        | Op::Reduce(_)
        | Op::Scanning(_)
        | Op::Reshape
        | Op::Flatten { .. }
        | Op::Transpose { .. }
        | Op::Movement(_)
        | Op::Indexing(_)
        | Op::Creation(_)
        | Op::Image(_)
        | Op::Signal(_)
        | Op::Recurrent(_)
        | Op::QuantizeLinear(_)
        | Op::DequantizeLinear(_)
        | Op::DynamicQuantizeLinear
        | Op::Control(_)
        | Op::Opaque(_) => Err(Error::unsupported(op, "this operator", "another one")),
    }
}
