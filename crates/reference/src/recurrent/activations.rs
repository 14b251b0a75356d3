//! The activations of recurrent cells, and how their parameters are handed out.

use super::Attributes;
use crate::Error;
use crate::inputs::Inputs;

/// An activation with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Activation {
    function: Function,
    alpha: f64,
    beta: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Function {
    Affine,
    Elu,
    HardSigmoid,
    LeakyRelu,
    Relu,
    ScaledTanh,
    Sigmoid,
    Softplus,
    Softsign,
    Tanh,
    ThresholdedRelu,
}

impl Function {
    fn named(name: &str) -> Option<Function> {
        Some(match name.to_ascii_lowercase().as_str() {
            "affine" => Function::Affine,
            "elu" => Function::Elu,
            "hardsigmoid" => Function::HardSigmoid,
            "leakyrelu" => Function::LeakyRelu,
            "relu" => Function::Relu,
            "scaledtanh" => Function::ScaledTanh,
            "sigmoid" => Function::Sigmoid,
            "softplus" => Function::Softplus,
            "softsign" => Function::Softsign,
            "tanh" => Function::Tanh,
            "thresholdedrelu" => Function::ThresholdedRelu,
            _ => return None,
        })
    }

    /// The defaults of alpha and beta, where it has them.
    fn defaults(self) -> (Option<f32>, Option<f32>) {
        match self {
            Function::Affine | Function::ScaledTanh => {
                (Some(1.0), Some(if self == Function::Affine { 0.0 } else { 1.0 }))
            }
            Function::HardSigmoid => (Some(0.2), Some(0.5)),
            Function::LeakyRelu => (Some(0.01), None),
            Function::Elu | Function::ThresholdedRelu => (Some(1.0), None),
            Function::Relu | Function::Sigmoid | Function::Softplus | Function::Softsign | Function::Tanh => {
                (None, None)
            }
        }
    }
}

impl Activation {
    pub(super) fn apply(self, x: f64) -> f64 {
        let Activation { function, alpha, beta } = self;
        match function {
            Function::Affine => alpha * x + beta,
            Function::Elu => {
                if x >= 0.0 {
                    x
                } else {
                    alpha * libm::expm1(x)
                }
            }
            Function::HardSigmoid => (alpha * x + beta).clamp(0.0, 1.0),
            Function::LeakyRelu => {
                if x >= 0.0 {
                    x
                } else {
                    alpha * x
                }
            }
            Function::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Function::ScaledTanh => alpha * libm::tanh(beta * x),
            Function::Sigmoid => 1.0 / (1.0 + libm::exp(-x)),
            // Without overflow of the exponential.
            Function::Softplus => x.max(0.0) + libm::log1p(libm::exp(-x.abs())),
            Function::Softsign => x / (1.0 + x.abs()),
            Function::Tanh => libm::tanh(x),
            Function::ThresholdedRelu => {
                if x >= alpha {
                    x
                } else {
                    0.0
                }
            }
        }
    }
}

/// The activations of every direction.
pub(super) struct Activations {
    each: usize,
    all: Vec<Activation>,
}

impl Activations {
    /// Those named by the attributes, or `defaults` in each direction. Functions with an alpha take the next of the
    /// list of alphas, those with a beta the next of the betas, and their ONNX operators' defaults past their ends.
    pub(super) fn new(
        defaults: &[&str],
        directions: usize,
        attributes: &Attributes<'_>,
        inputs: &Inputs<'_>,
    ) -> Result<Activations, Error> {
        let names: Vec<&str> = match attributes.activations {
            [] => defaults.repeat(directions),
            names => names.iter().map(String::as_str).collect(),
        };
        let each = defaults.len();
        if names.len() != each * directions {
            return Err(inputs.argument(format!("{} activations", each * directions), format!("{names:?}")));
        }
        let (mut alphas, mut betas) = (attributes.alpha.iter(), attributes.beta.iter());
        let activation = |name: &&str| {
            let function = Function::named(name)
                .ok_or_else(|| inputs.unsupported(format!("activation {name}"), "those of the ONNX page"))?;
            let (alpha, beta) = function.defaults();
            let next = |default: Option<f32>, given: &mut std::slice::Iter<'_, f32>| {
                default.map_or(0.0, |default| f64::from(given.next().copied().unwrap_or(default)))
            };
            Ok(Activation { function, alpha: next(alpha, &mut alphas), beta: next(beta, &mut betas) })
        };
        let all = names.iter().map(activation).collect::<Result<_, Error>>()?;
        Ok(Activations { each, all })
    }

    /// Those of a direction.
    pub(super) fn of(&self, direction: usize) -> &[Activation] {
        &self.all[direction * self.each..][..self.each]
    }
}
