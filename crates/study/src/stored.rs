//! The tensors of a deployed file, whatever its format, and the weights among them as integers and as real numbers.

use std::collections::HashSet;
use std::path::Path;

use bytes::Bytes;
use calipers_inspect::describe::describe;
use calipers_inspect::{InspectError, Role, bare_name, numbers, open};
use calipers_ir::{
    BinaryKind, Graph, Movement, Node, Op, Product, Recurrent, Select, Tensor, UnaryKind, ValueId,
};
use calipers_runtime::evaluate;
use calipers_workers::protocol::StoredTensor;
use safetensors::{SafeTensors, tensor::TensorView};
use thiserror::Error;

use crate::weights::{WeightsError, storage_type};

/// What stands behind the name of integers, for the real numbers that they stand for.
const REAL: &str = "/real";

/// Why the tensors of a file cannot be listed.
#[derive(Debug, Error)]
pub enum StoredError {
    /// The model file cannot be read.
    #[error(transparent)]
    Model(#[from] InspectError),
    /// The file of a worker's answer does not hold what the answer says.
    #[error(transparent)]
    Answer(#[from] WeightsError),
}

/// A tensor of a deployed file.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its name there.
    pub name: String,
    /// The ONNX initializer that it came from, where that is known.
    pub initializer: Option<String>,
    /// Its storage type, such as `i8` or `f32`.
    pub dtype: String,
    /// How many axes it has.
    pub rank: usize,
    /// Its elements.
    pub elements: u64,
    /// Bytes that they take in the file; 0 where another tensor has the same bytes.
    pub bytes: u64,
    /// What it is for, where that is known.
    pub role: Option<Role>,
    /// Why the layer that reads it computes in float, as the assignment beside the file says.
    pub reason: Option<String>,
    /// Its numbers, where it is a weight of rank 2 or more.
    pub weight: Option<StoredWeight>,
}

/// The numbers of a weight, in ONNX's layout: `[outputs, inputs / groups, spatial...]` of a convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredWeight {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// What is stored, where that is integers.
    pub integers: Option<Vec<i32>>,
    /// What that stands for.
    pub real: Vec<f32>,
}

/// The tensors of an ONNX or TFLite file, in its order.
///
/// # Errors
/// A file that cannot be read, or an assignment beside it that cannot.
pub fn of_model_file(path: &Path) -> Result<Vec<Stored>, StoredError> {
    let opened = open(path)?;
    let description = describe(&opened)?;
    let graphs = std::iter::once(&opened.model.graph).chain(opened.model.subgraphs.values());
    let constants = graphs.flat_map(|graph| graph.constants().iter().map(move |constant| (graph, constant)));
    let mut seen = HashSet::new();
    let stored = description.tensors.iter().zip(constants).map(|(facts, (graph, (&id, tensor)))| {
        let slice = tensor.bytes();
        let is_shared = !slice.is_empty() && !seen.insert((slice.as_ptr().addr(), slice.len()));
        let role = role(graph, id, facts.role);
        let is_weight = role == Role::Weight && facts.shape.len() >= 2;
        let reads = |name: &str| {
            let layer = description.layers.iter().find(|layer| layer.name == name);
            layer.and_then(|layer| layer.weight.as_ref()).is_some_and(|weight| weight.name == facts.name)
        };
        let takes = |name: &str| graph.consumers(id).any(|(_, node)| node.name == name);
        let of_layer = |name: &str| reads(name) || takes(name);
        let layer = description.float.iter().find(|layer| layer.reason.is_some() && of_layer(&layer.name));
        Stored {
            name: match &facts.subgraph {
                Some(subgraph) => format!("{subgraph}/{}", facts.name),
                None => facts.name.clone(),
            },
            initializer: is_weight.then(|| bare_name(&facts.name).to_owned()),
            dtype: facts.dtype.clone(),
            rank: facts.shape.len(),
            elements: tensor.len() as u64,
            bytes: if is_shared { 0 } else { facts.bytes },
            role: Some(role),
            reason: layer.and_then(|layer| layer.reason.clone()),
            weight: is_weight.then(|| weight(graph, id, tensor)).flatten(),
        }
    });
    Ok(stored.collect())
}

/// The tensors of a worker's answer to `read_weights`, with the numbers in the file that it wrote.
///
/// # Errors
/// A file that cannot be read or lacks a tensor of rank 2 or more.
pub fn of_answer(answer: &[StoredTensor], path: &Path) -> Result<Vec<Stored>, StoredError> {
    let bytes = std::fs::read(path).map_err(|source| WeightsError::Files {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|source| WeightsError::Format { path: path.to_owned(), source })?;
    let stored = answer.iter().map(|tensor| {
        let dtype = short_type(&tensor.dtype);
        let role = role_by_name(tensor);
        let weight = if tensor.shape.len() >= 2 && role != Some(Role::Scale) {
            let wrong = |found: String| WeightsError::Tensor {
                path: path.to_owned(),
                name: tensor.name.clone(),
                expected: String::from("a tensor of numbers"),
                found,
            };
            answered(&file, &tensor.name).map_err(wrong)?
        } else {
            None
        };
        Ok(Stored {
            name: tensor.name.clone(),
            initializer: tensor.initializer.clone(),
            dtype,
            rank: tensor.shape.len(),
            elements: tensor.shape.iter().product(),
            bytes: tensor.bytes,
            role,
            reason: None,
            weight,
        })
    });
    stored.collect()
}

/// A tensor of a worker's file, or `None` for integers that stand for nothing but themselves; what is wrong with it, else.
fn answered(file: &SafeTensors<'_>, name: &str) -> Result<Option<StoredWeight>, String> {
    let tensor = |view: TensorView<'_>| {
        let dtype = storage_type(view.dtype()).ok_or_else(|| format!("{:?}", view.dtype()))?;
        Tensor::new(dtype, view.shape(), Bytes::copy_from_slice(view.data()))
            .map_err(|error| error.to_string())
    };
    let stored = tensor(file.tensor(name).map_err(|_| String::from("nothing"))?)?;
    let integers = integers(&stored);
    let real = match file.tensor(&format!("{name}{REAL}")) {
        Ok(real) => tensor(real)?,
        Err(_) if integers.is_none() => stored.clone(),
        Err(_) => return Ok(None),
    };
    let numbers = numbers(&real).ok_or_else(|| real.tensor_type().to_string())?;
    if numbers.len() != stored.len() {
        return Err(format!("{} that stand for {}", stored.tensor_type(), real.tensor_type()));
    }
    Ok(Some(StoredWeight { shape: stored.shape().to_vec(), integers, real: numbers.into_owned() }))
}

/// A type as numpy calls it in the words of this program: `int8` is `i8`.
fn short_type(name: &str) -> String {
    for (long, short) in [("uint", "u"), ("int", "i"), ("bfloat", "bf"), ("float", "f"), ("complex", "c")] {
        if let Some(bits) = name.strip_prefix(long) {
            return format!("{short}{bits}");
        }
    }
    name.to_owned()
}

/// What a tensor is for, where its name says so. One that was a weight is one, whatever its layer is called.
fn role_by_name(tensor: &StoredTensor) -> Option<Role> {
    let name = tensor.name.to_lowercase();
    match () {
        () if tensor.initializer.is_some() && tensor.shape.len() >= 2 => None,
        () if name.contains("scale") || name.contains("zero_point") => Some(Role::Scale),
        () if name.ends_with("bias") => Some(Role::Bias),
        () => None,
    }
}

/// What a constant is for: as its description says, but that a vector is the scale or the bias of what it is multiplied
/// by or added to, in whatever rank it broadcasts.
fn role(graph: &Graph, constant: ValueId, described: Role) -> Role {
    let shape = graph.value(constant).ty.known_shape().unwrap_or_default();
    let is_vector = shape.iter().filter(|&&extent| extent > 1).count() < 2;
    match graph.consumers(constant).next().map(|(_, node)| &node.op) {
        Some(Op::Binary(BinaryKind::Mul | BinaryKind::Div, _)) if is_vector => Role::Scale,
        Some(Op::Binary(BinaryKind::Add | BinaryKind::Sub, _)) if is_vector => Role::Bias,
        _ => described,
    }
}

/// The elements of a tensor of integers, which fit into 32 bits in every weight.
fn integers(tensor: &Tensor) -> Option<Vec<i32>> {
    tensor.dtype().integer_range()?;
    match tensor.to_integers() {
        Some(integers) => integers.into_iter().map(|integer| i32::try_from(integer).ok()).collect(),
        // Several to a byte.
        None => Some(numbers(tensor)?.iter().map(|&integer| integer as i32).collect()),
    }
}

/// The numbers of a constant as the first layer that reads it gets them: rearranged and dequantized.
fn weight(graph: &Graph, constant: ValueId, tensor: &Tensor) -> Option<StoredWeight> {
    let mut value = constant;
    let mut stored = tensor.clone();
    let mut real: Option<Tensor> = None;
    while let Some(node) = graph.consumers(value).map(|(_, node)| node).next() {
        let applied = |to: &Tensor| -> Option<Tensor> {
            let mut inputs = vec![Some(to)];
            for input in node.inputs.iter().skip(1) {
                inputs.push(match input {
                    Some(input) => Some(graph.constant(*input)?),
                    None => None,
                });
            }
            evaluate(&node.name, &node.op, &inputs, 1).ok()?.into_iter().next()
        };
        if node.input(0) != Some(value) {
            break;
        }
        if rearranges(&node.op) {
            let Some(moved) = applied(&stored) else { break };
            stored = moved;
            real = real.and_then(|real| applied(&real));
        } else if converts(&node.op) {
            let Some(converted) = applied(real.as_ref().unwrap_or(&stored)) else { break };
            real = Some(converted);
        } else {
            break;
        }
        value = *node.outputs.first()?;
    }
    let integers = integers(&stored);
    let real = match real {
        Some(real) => numbers(&real)?.into_owned(),
        None if integers.is_none() => numbers(&stored)?.into_owned(),
        None => scaled(graph, value, constant, &stored)?,
    };
    Some(StoredWeight { shape: stored.shape().to_vec(), integers, real })
}

fn rearranges(op: &Op) -> bool {
    matches!(
        op,
        Op::Reshape
            | Op::Flatten { .. }
            | Op::Transpose { .. }
            | Op::Unary(UnaryKind::Identity)
            | Op::Movement(Movement::Squeeze | Movement::Unsqueeze)
    )
}

fn converts(op: &Op) -> bool {
    matches!(op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_) | Op::Select(Select::Cast { .. }))
}

/// What integers stand for that an operator reads as they are. Their scales stand elsewhere: in the operator for an LSTM
/// of TFLite, in `NAME_scale` and `NAME_zero_point` for integer products and lookups, as ONNX Runtime's tools and ours
/// write them.
fn scaled(graph: &Graph, value: ValueId, constant: ValueId, stored: &Tensor) -> Option<Vec<f32>> {
    let (_, node) = graph.consumers(value).next()?;
    let rank = stored.shape().len();
    if let Op::Recurrent(Recurrent::TfliteLstm { input_scales, input_zero_points, .. }) = &node.op {
        let position = node.inputs.iter().position(|input| *input == Some(value))?;
        let (scale, zero) = (*input_scales.get(position)?, *input_zero_points.get(position)?);
        return real_of(stored, &[scale], &[i32::try_from(zero).ok()?], 0, rank);
    }
    let (axis, by_channel) = (output_axis(node, rank)?, graph.value(constant).name.as_str());
    let beside = |what: &str| {
        graph.value_named(&format!("{}_{what}", bare_name(by_channel))).and_then(|id| graph.constant(id))
    };
    let scale = beside("scale")?;
    let zeros = beside("zero_point").and_then(integers).unwrap_or_else(|| vec![0]);
    // Scales of groups have the rank of the table; they divide its last axis.
    let axis = if scale.shape().len() == 2 && scale.len() > stored.shape()[0] { rank } else { axis };
    real_of(stored, &numbers(scale)?, &zeros, axis, rank)
}

/// The axis of a weight along which scales differ, for an operator that reads integers.
fn output_axis(node: &Node, rank: usize) -> Option<usize> {
    match &node.op {
        Op::ConvInteger(_) | Op::Indexing(_) => Some(0),
        Op::Product(Product::MatMulInteger) => rank.checked_sub(1),
        _ => None,
    }
}

/// Integers by scales of one element, of each place along `axis`, or, with `axis` the rank, of equal groups in order.
fn real_of(stored: &Tensor, scale: &[f32], zeros: &[i32], axis: usize, rank: usize) -> Option<Vec<f32>> {
    let integers = integers(stored)?;
    let inner: usize = match axis {
        axis if axis == rank => stored.len() / scale.len().max(1),
        axis => stored.shape()[axis + 1..].iter().product(),
    };
    let extent = if axis == rank { scale.len() } else { stored.shape()[axis] };
    if scale.len() != 1 && scale.len() != extent || !stored.len().is_multiple_of(scale.len().max(1)) {
        return None;
    }
    let at = |index: usize, count: usize| if count == 1 { 0 } else { index / inner.max(1) % extent };
    let real = integers.iter().enumerate().map(|(index, &integer)| {
        let zero = zeros.get(at(index, zeros.len())).copied()?;
        Some(scale.get(at(index, scale.len()))? * (integer - zero) as f32)
    });
    real.collect()
}

#[cfg(test)]
mod tests;
