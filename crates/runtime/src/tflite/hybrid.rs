//! Dynamic range: products of f32 data, which are quantized at each call, and `i8` weights.

use calipers_ir::{Op, Tensor};
use calipers_kernels::tflite::Activation;
use calipers_kernels::tflite::hybrid::Hybrid;

use super::call::Call;
use super::products::{channels_last, geometry, matrix_shapes};
use crate::error::Error;

/// How activations are quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Around zero.
    Symmetric,
    /// With a zero point.
    Asymmetric,
    /// As a depthwise convolution does.
    Depthwise,
}

impl Rule {
    /// The rule that a node's metadata name.
    pub(crate) fn named(name: &str) -> Option<Rule> {
        match name {
            "symmetric" => Some(Rule::Symmetric),
            "asymmetric" => Some(Rule::Asymmetric),
            "depthwise" => Some(Rule::Depthwise),
            _ => None,
        }
    }
}

pub(super) fn run(call: &Call<'_>, op: &Op, activation: Activation, rule: Rule) -> Result<Tensor, Error> {
    let scales: Vec<f32> = call.all_params(1).iter().map(|params| params.scale).collect();
    let x = call.elements::<f32>(0)?;
    let weights = call.narrow(1)?;
    let weight_shape = call.shape(1)?;
    let bias = if call.has(2) { Some(call.elements::<f32>(2)?) } else { None };
    let fits = |channels: usize| {
        [1, channels].contains(&scales.len()) && bias.as_ref().is_none_or(|bias| bias.len() == channels)
    };
    let hybrid = Hybrid { weight_scales: scales.clone(), asymmetric: rule == Rule::Asymmetric, activation };
    match op {
        Op::Conv(conv) => {
            let geometry = geometry(call, &conv.window, conv.groups, 0)?;
            let weights = channels_last(weight_shape, &[0, 2, 3, 1], &weights);
            if weights.len() != geometry.weight_len() || !fits(geometry.output_channels) {
                return call.refuse("weights, scales or bias of another size");
            }
            let bias = bias.unwrap_or_else(|| vec![0.0; geometry.output_channels]);
            call.fill::<f32>(|y| {
                if rule == Rule::Depthwise {
                    hybrid.convolve_depthwise(&geometry, &x, &weights, &bias, y);
                    return Ok(());
                }
                call.accept(hybrid.convolve(&geometry, &x, &weights, &bias, y))
            })
        }
        Op::ConvTranspose(conv) => {
            let geometry = geometry(call, &conv.window, conv.groups, 1)?;
            let weights = channels_last(weight_shape, &[1, 2, 3, 0], &weights);
            if weights.len() != geometry.weight_len() || !fits(geometry.output_channels) {
                return call.refuse("weights, scales or bias of another size");
            }
            call.fill::<f32>(|y| {
                hybrid.transposed(&geometry, &x, &weights, bias.as_deref(), y);
                Ok(())
            })
        }
        Op::Gemm(_) => {
            let &[units, depth] = weight_shape else { return call.refuse("weights of another rank than 2") };
            let results = call.unit.shape.iter().product::<usize>();
            if units == 0
                || depth == 0
                || x.len().checked_mul(units) != results.checked_mul(depth)
                || !fits(units)
            {
                return call.refuse("data, scales or bias of another size");
            }
            call.fill::<f32>(|y| {
                hybrid.fully_connected([units, depth], &x, &weights, bias.as_deref(), y);
                Ok(())
            })
        }
        Op::MatMul => {
            let shapes = matrix_shapes(call)?;
            if !fits(shapes.columns) {
                return call.refuse("scales of another number than the columns");
            }
            call.fill::<f32>(|y| {
                hybrid.batch_matmul(&shapes, &x, &weights, y);
                Ok(())
            })
        }
        other => call.refuse(other.to_string()),
    }
}
