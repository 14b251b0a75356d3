//! The integer forms of operators.
//!
//! What ONNX Runtime computes on 8-bit integers, or moves without looking, is quantized; what it would compute in float
//! between a Dequantize and a Quantize node stays in float, because that costs accuracy and saves nothing. Float
//! operators read real values, and what they make is quantized where a quantized node reads it.
//!
//! | operators | static quantization |
//! |---|---|
//! | Conv, ConvTranspose, Gemm, MatMul | i8 weights, activations, i32 bias; or two activations |
//! | Add, Mul, Concat, Relu, Clip, LeakyRelu, Sigmoid, AveragePool, GlobalAveragePool, ReduceMean | activations |
//! | MaxPool, GlobalMaxPool, Reshape, Flatten, Transpose, Squeeze, Unsqueeze, Slice, Split, Gather, Expand, Tile, Pad, DepthToSpace, SpaceToDepth, Resize, ReduceMax, ReduceMin, Identity | the parameters of what they read |
//! | Gather from a table, LSTM, GRU, RNN | weights alone |
//! | all others | float |

use calipers_ir::{
    BinaryKind, DType, Graph, Image, Indexing, Movement, Node, Op, PoolKind, Reduce, Scanning, UnaryKind,
};

use super::weights::{Slicing, constant, weights};
use super::{ConstantRole, is_activation};
use crate::{Granularity, Scheme};

/// How an operator is quantized.
pub(super) struct Form {
    pub constants: Vec<(usize, ConstantRole)>,
    /// Arguments that are read as integers.
    pub activations: Vec<usize>,
    /// Whether its outputs are selections or rearrangements of its input's elements.
    pub same_parameters: bool,
    /// Whether it may give real numbers although it reads integers.
    pub float_output: bool,
    /// Whether it is cheap enough to stay in float where float operators alone read it.
    pub light: bool,
}

/// Why an operator stays in float.
pub(super) struct Refusal {
    pub reason: String,
    /// Whether that is so wherever it stands.
    pub natural: bool,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Refusal {
        Refusal { reason, natural: false }
    }
}

/// An operator that computes in float by its nature.
fn float(op: &Op) -> Result<Form, Refusal> {
    Err(Refusal {
        reason: format!("{op} has no integer form; it reads and makes real numbers"),
        natural: true,
    })
}

/// The static form of a node, or the reason why it has none.
pub(super) fn form(graph: &Graph, node: &Node, scheme: &Scheme) -> Result<Form, Refusal> {
    for &output in &node.outputs {
        let dtype = graph.value(output).ty.dtype;
        if dtype != DType::F32 {
            return Err(Refusal {
                reason: format!("it computes in {dtype}, and only f32 is quantized"),
                natural: true,
            });
        }
    }
    let activations: Vec<usize> = (0..node.inputs.len())
        .filter(|&input| node.input(input).is_some_and(|id| is_activation(graph, id)))
        .collect();
    let first: Vec<usize> = activations.iter().copied().filter(|&input| input == 0).collect();
    let computing =
        Form { constants: Vec::new(), activations, same_parameters: false, float_output: false, light: true };
    let rearranging = || Form {
        constants: Vec::new(),
        activations: first,
        same_parameters: true,
        float_output: false,
        light: true,
    };
    let form = match &node.op {
        Op::Conv(_) | Op::ConvTranspose(_) => with_weight(graph, node, scheme, computing)?,
        Op::Gemm(gemm) => {
            if gemm.alpha != 1.0 || gemm.beta != 1.0 || gemm.transpose_a {
                return Err(Refusal::from(format!(
                    "a Gemm with alpha {}, beta {} and transpose_a {} has no integer form; fold the factors into its \
                     constants",
                    gemm.alpha, gemm.beta, gemm.transpose_a
                )));
            }
            with_weight(graph, node, scheme, computing)?
        }
        Op::MatMul => {
            let form = if constant(graph, node, 1).is_some() {
                with_weight(graph, node, scheme, computing)?
            } else {
                operands(graph, node, computing)?
            };
            Form { float_output: true, light: false, ..form }
        }
        Op::Binary(BinaryKind::Add | BinaryKind::Mul, _) => operands(graph, node, computing)?,
        Op::Movement(Movement::Concat { .. }) => operands(graph, node, computing)?,
        Op::Unary(UnaryKind::Relu | UnaryKind::LeakyRelu { .. } | UnaryKind::Sigmoid) | Op::Clip(_) => {
            computing
        }
        Op::Unary(UnaryKind::Identity) => rearranging(),
        Op::Pool(pool) => match pool.kind {
            PoolKind::Max => rearranging(),
            PoolKind::Average { .. } => computing,
            PoolKind::Lp { .. } => return float(&node.op),
        },
        Op::GlobalPool(kind, _) => match kind {
            PoolKind::Max => rearranging(),
            PoolKind::Average { .. } => computing,
            PoolKind::Lp { .. } => return float(&node.op),
        },
        Op::Reduce(Reduce::Mean { .. }) => computing,
        Op::Reduce(Reduce::Max { .. } | Reduce::Min { .. }) => rearranging(),
        Op::Reshape | Op::Flatten { .. } | Op::Transpose { .. } => rearranging(),
        Op::Movement(
            Movement::Squeeze
            | Movement::Unsqueeze
            | Movement::Slice
            | Movement::Split { .. }
            | Movement::Expand
            | Movement::Tile
            | Movement::DepthToSpace { .. }
            | Movement::SpaceToDepth { .. },
        ) => rearranging(),
        Op::Movement(Movement::Pad { .. }) => {
            let zero = match node.input(2) {
                None => true,
                Some(id) => {
                    graph.constant(id).and_then(|value| value.as_f32()?.first().copied()) == Some(0.0)
                }
            };
            if !zero {
                return Err(Refusal::from(String::from(
                    "it pads with another number than 0, which its input's integers may not hold",
                )));
            }
            rearranging()
        }
        Op::Indexing(Indexing::Gather { .. }) if constant(graph, node, 0).is_none() => rearranging(),
        Op::Image(Image::Resize { mode, antialias: false, extrapolation_value, .. })
            if mode != "cubic" && *extrapolation_value == 0.0 =>
        {
            rearranging()
        }
        Op::Indexing(Indexing::Gather { .. }) => {
            return Err(Refusal {
                reason: String::from(
                    "a table is read and not computed with: its numbers alone are quantized",
                ),
                natural: true,
            });
        }
        Op::BatchNormalization(_) => {
            return Err(Refusal {
                reason: String::from(
                    "a BatchNormalization has no integer form; fold it into the node before it",
                ),
                natural: true,
            });
        }
        Op::Recurrent(_) => {
            return Err(Refusal {
                reason: format!("{} keeps its state in float; its weights alone are quantized", node.op),
                natural: true,
            });
        }
        Op::Control(_) => {
            return Err(Refusal {
                reason: format!("the graphs that {} runs stay in float", node.op),
                natural: true,
            });
        }
        Op::Scanning(Scanning::Softmax { .. }) => {
            return Err(Refusal {
                reason: String::from("Softmax is computed in float; 8 bits of its input would be too few"),
                natural: true,
            });
        }
        Op::Opaque(opaque) => {
            return Err(Refusal {
                reason: format!("{} is kept as read and has no integer form here", opaque.op_type),
                natural: true,
            });
        }
        Op::QuantizeLinear(_) | Op::DequantizeLinear(_) => {
            return Err(Refusal::from(String::from("it is part of a quantized graph already")));
        }
        Op::Unary(_)
        | Op::Binary(..)
        | Op::ConvInteger(_)
        | Op::Product(_)
        | Op::Variadic(_)
        | Op::Select(_)
        | Op::Normalize(_)
        | Op::Reduce(_)
        | Op::Scanning(_)
        | Op::Movement(_)
        | Op::Indexing(_)
        | Op::Creation(_)
        | Op::Image(_)
        | Op::Signal(_)
        | Op::DynamicQuantizeLinear => return float(&node.op),
    };
    if form.activations.is_empty() {
        let what = if node.inputs.iter().flatten().all(|&id| graph.constant(id).is_some()) {
            "it computes on constants alone; fold it"
        } else {
            "its data input is a constant"
        };
        return Err(Refusal::from(String::from(what)));
    }
    if form.same_parameters && form.activations != [0] {
        return Err(Refusal::from(String::from("its data input is a constant")));
    }
    Ok(form)
}

/// A node whose constant arguments stand in the place of activations.
fn operands(graph: &Graph, node: &Node, form: Form) -> Result<Form, Refusal> {
    let mut constants = Vec::new();
    for input in 0..node.inputs.len() {
        let Some((id, tensor)) = constant(graph, node, input) else { continue };
        let largest =
            tensor.as_f32().map_or(0.0, |data| data.iter().fold(0f32, |largest, x| largest.max(x.abs())));
        let finite = tensor.as_f32().is_some_and(|data| data.iter().all(|x| x.is_finite()));
        if !finite || largest > MASK {
            return Err(Refusal {
                reason: format!(
                    "its constant `{}` reaches {largest:e} as masks do, beside which integers hold nothing else",
                    graph.value(id).name
                ),
                natural: true,
            });
        }
        constants.push((input, ConstantRole::Operand));
    }
    Ok(Form { constants, ..form })
}

/// From here on a constant counts as a mask.
const MASK: f32 = 1e4;

/// A node with a weight at 1 and perhaps a bias at 2.
fn with_weight(graph: &Graph, node: &Node, scheme: &Scheme, form: Form) -> Result<Form, Refusal> {
    let Some((_, weight)) = constant(graph, node, 1) else {
        return Err(Refusal::from(String::from(
            "its weight is computed, and only constant weights are quantized",
        )));
    };
    if form.activations != [0] {
        let what = if constant(graph, node, 0).is_some() {
            "its data input is a constant"
        } else {
            "its bias is computed, and only constant biases are quantized"
        };
        return Err(Refusal::from(String::from(what)));
    }
    let whole = Slicing { axis: None, block: None };
    let slicing =
        weights(graph, node).first().map_or(whole, |found| found.slicing(weight.shape(), &scheme.weight));
    // Integer products have one scale for each column of one matrix, not of several.
    let several = matches!(node.op, Op::MatMul) && weight.shape().len() != 2;
    let per_tensor = several && !matches!(scheme.weight.granularity, Granularity::PerGroup(_));
    let slicing = if per_tensor { whole } else { slicing };
    let mut constants = vec![(1, ConstantRole::Weight(slicing))];
    let groups = match &node.op {
        Op::ConvTranspose(conv) => conv.groups,
        _ => 1,
    };
    if matches!(&node.op, Op::MatMul) {
        return Ok(Form { constants, light: false, ..form });
    }
    if let Some((_, bias)) = constant(graph, node, 2) {
        let channel_axis = match &node.op {
            Op::Gemm(gemm) if !gemm.transpose_b => 1,
            Op::ConvTranspose(_) => 1,
            _ => 0,
        };
        let channels = weight.shape().get(channel_axis).copied().unwrap_or_default() * groups;
        if bias.shape() != [channels] {
            return Err(Refusal::from(format!(
                "its bias has the shape {:?}, and only one number for each of the {channels} output channels is \
                 quantized",
                bias.shape()
            )));
        }
        // Sums have the scale of input times weight only where that is one for each channel.
        let shared = slicing.block.is_some() || (groups > 1 && slicing.axis.is_some());
        if !shared {
            constants.push((2, ConstantRole::Bias));
        }
    }
    let float_output = matches!(&node.op, Op::Gemm(gemm) if gemm.activation == calipers_ir::Activation::None);
    Ok(Form { constants, light: false, float_output, ..form })
}
