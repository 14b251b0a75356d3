//! What every operator means: plain scalar definitions on tensors of every type.
//!
//! [`evaluate`] is what runs an operator that has no fast kernel, and what fast kernels are held against. Floats
//! narrower than f32 are computed in f32 and rounded once at the end.
#![forbid(unsafe_code)]

mod error;

mod accumulate;
mod cells;
mod inputs;
mod minifloat;
mod numbers;
mod packing;
mod shape;
mod spatial;

mod activation;
mod creation;
mod elementwise;
mod indexing;
mod movement;
mod reduction;
mod scanning;

mod convolution;
mod image;
mod normalization;
mod pooling;
mod products;
mod quantization;
mod recurrent;
mod signal;

use calipers_ir::{Activation, Op, Tensor};

pub use error::Error;
use inputs::Inputs;

/// The results of an operator; `outputs` is how many of them the node has, the rest need not be computed.
///
/// Operators that run subgraphs and those that are kept as read are refused: the runtime runs the former.
///
/// # Errors
/// An operator, type or form that is not supported, arguments that break a rule which depends on their values, and
/// results that are too large.
pub fn evaluate(op: &Op, inputs: &[Option<&Tensor>], outputs: usize) -> Result<Vec<Tensor>, Error> {
    let inputs = Inputs::new(op, inputs)?;
    let mut results = match op {
        Op::Conv(conv) => convolution::evaluate(conv, &inputs),
        Op::ConvTranspose(conv) => convolution::transposed(conv, &inputs),
        Op::ConvInteger(conv) => convolution::integer(conv, &inputs),
        Op::Gemm(gemm) => products::gemm(gemm, &inputs),
        Op::MatMul => products::matrix_product(&inputs),
        Op::Product(product) => products::evaluate(product, &inputs, outputs),
        Op::Unary(kind) => elementwise::unary(kind, &inputs),
        Op::Binary(kind, _) => elementwise::binary(kind, &inputs),
        Op::Variadic(kind) => elementwise::variadic(kind, &inputs),
        Op::Select(select) => elementwise::select(select, &inputs),
        Op::Clip(clip) => activation::clip(*clip, &inputs),
        Op::Pool(pool) => pooling::evaluate(pool, &inputs, outputs),
        Op::GlobalPool(kind, layout) => pooling::global(*kind, *layout, &inputs),
        Op::BatchNormalization(norm) => normalization::batch(norm, &inputs),
        Op::Normalize(normalize) => normalization::evaluate(normalize, &inputs, outputs),
        Op::Reduce(reduce) => reduction::evaluate(reduce, &inputs),
        Op::Scanning(scanning) => scanning::evaluate(scanning, &inputs),
        Op::Reshape => movement::reshape(&inputs),
        Op::Flatten { axis } => movement::flatten(*axis, &inputs),
        Op::Transpose { permutation } => movement::transpose(permutation, &inputs),
        Op::Movement(movement) => movement::evaluate(movement, &inputs, outputs),
        Op::Indexing(indexing) => indexing::evaluate(indexing, &inputs),
        Op::Creation(creation) => creation::evaluate(creation, &inputs),
        Op::Image(image) => image::evaluate(image, &inputs),
        Op::Signal(signal) => signal::evaluate(signal, &inputs),
        Op::Recurrent(recurrent) => recurrent::evaluate(recurrent, &inputs, outputs),
        Op::QuantizeLinear(quantize) => quantization::quantize(quantize, &inputs),
        Op::DequantizeLinear(dequantize) => quantization::dequantize(dequantize, &inputs),
        Op::DynamicQuantizeLinear => quantization::dynamic(&inputs),
        Op::Control(_) => {
            Err(inputs.unsupported("an operator that runs subgraphs", "operators without subgraphs"))
        }
        Op::Opaque(opaque) => {
            let domain = if opaque.domain.is_empty() { "ai.onnx" } else { &opaque.domain };
            Err(inputs
                .unsupported(format!("an operator of {domain} without a definition"), "defined operators"))
        }
    }?;
    if op.activation() != Activation::None {
        for result in &mut results {
            *result = activation::apply(op.activation(), result, &inputs)?;
        }
    }
    Ok(results)
}
