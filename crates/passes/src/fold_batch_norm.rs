//! Folds batch normalization into the operator before it.

use calipers_ir::{
    Activation, BatchNormalization, Gemm, Graph, GraphEditor, Node, NodeId, Op, Tensor, ValueId,
};

use crate::{Note, PassError, Rewritten};

const PASS: &str = "fold_batch_norm";

/// Multiplies BatchNormalization into the weight and bias of the Conv or Gemm before it.
///
/// With `factor = scale / sqrt(variance + epsilon)` per output channel:
///
/// `weight' = factor * weight`, `bias' = factor * (bias - mean) + shift`
///
/// computed in f64 and rounded to f32 once: each folded parameter is off by half a unit in the last place. (PyTorch's
/// `fuse_conv_bn_eval` computes in f32, and differs in the last bits.)
///
/// Legal when all parameters are f32 constants, nothing else reads the operator's result, it has no activation, both
/// agree on the channel axis, and the folded parameters are finite. The operator keeps its name and makes
/// the value of the BatchNormalization; its own value is recorded as fused into that. A missing bias is created as
/// `<operator>.bias`. Constants that others read are left to them. A Gemm's `beta` becomes 1; its `alpha` stays.
///
/// ```text
/// node conv %conv: f32[N, 8, 4, 4] = Conv(%x, %weight) {strides = [1, 1]}
/// node norm %norm: f32[N, 8, 4, 4] = BatchNormalization(%conv, %scale, %shift, %mean, %variance)
/// ```
/// becomes
/// ```text
/// node conv %norm: f32[N, 8, 4, 4] = Conv(%x, %weight, %conv.bias) {strides = [1, 1]}
/// ```
///
/// # Errors
/// A graph that was broken before.
pub fn fold_batch_norm(graph: &Graph) -> Result<Rewritten, PassError> {
    // A BatchNormalization after another becomes foldable when the first has gone.
    Rewritten::until_unchanged(graph, once)
}

fn once(graph: &Graph) -> Result<Rewritten, PassError> {
    let mut editor = GraphEditor::edit(graph);
    let mut rewrites = 0;
    let mut notes = Vec::new();
    for (id, node) in graph.node_ids() {
        let Op::BatchNormalization(norm) = &node.op else { continue };
        match folded(graph, node, norm) {
            Ok(folded) => {
                apply(graph, &mut editor, id, folded)?;
                rewrites += 1;
            }
            Err(reason) => notes.push(Note { pass: PASS, node: node.name.clone(), reason }),
        }
    }
    Rewritten::finish(PASS, editor, rewrites, notes)
}

/// The operator that takes the normalization in, and its new parameters.
struct Folded {
    operator: NodeId,
    op: Op,
    weight: Tensor,
    bias: Tensor,
}

/// Per output channel, `x -> factor * (x - mean) + shift`.
struct Affine {
    factor: Vec<f64>,
    mean: Vec<f64>,
    shift: Vec<f64>,
}

fn folded(graph: &Graph, node: &Node, norm: &BatchNormalization) -> Result<Folded, String> {
    let input = node.input(0).ok_or("it has no input")?;
    let name = &graph.value(input).name;
    let id = graph.producer(input).ok_or_else(|| format!("no Conv or Gemm makes `{name}`"))?;
    let operator = graph.node(id);
    // Axis of the output channels in the weight, factor of the bias, and the operator afterwards.
    let (axis, beta, op) = if let Op::Conv(conv) = &operator.op {
        if conv.layout != norm.layout {
            return Err(format!("`{}` has its channels on another axis", operator.name));
        }
        (0, 1.0, operator.op.clone())
    } else if let Op::Gemm(gemm) = &operator.op {
        let axis = if gemm.transpose_b { 0 } else { 1 };
        (axis, f64::from(gemm.beta), Op::Gemm(Gemm { beta: 1.0, ..*gemm }))
    } else {
        return Err(format!("`{name}` is made by {}, not by Conv or Gemm", operator.op));
    };
    if graph.only_consumer(input).is_none() {
        return Err(format!("`{name}` is read elsewhere too"));
    }
    if operator.op.activation() != Activation::None {
        return Err(format!("`{}` has an activation", operator.name));
    }

    let weight_tensor = constant(graph, operator, 1)?;
    let weight = reals(graph, operator, 1)?;
    let channels = weight_tensor.shape()[axis];
    let bias = match operator.input(2) {
        None => vec![0.0; channels],
        Some(_) => {
            let tensor = constant(graph, operator, 2)?;
            let bias = reals(graph, operator, 2)?;
            match (bias.len(), tensor.shape().last()) {
                (1, _) => vec![bias[0]; channels],
                (count, Some(&last)) if count == channels && last == channels => bias,
                _ => return Err(format!("the bias of `{}` is not one number per channel", operator.name)),
            }
        }
    };
    let affine = affine(graph, node, norm, channels)?;

    let inner: usize = weight_tensor.shape()[axis + 1..].iter().product();
    let weight: Vec<f32> = weight
        .iter()
        .enumerate()
        .map(|(index, weight)| (affine.factor[index / inner % channels] * weight) as f32)
        .collect();
    let bias: Vec<f32> = (0..channels)
        .map(|channel| {
            let centred = beta * bias[channel] - affine.mean[channel];
            (affine.factor[channel] * centred + affine.shift[channel]) as f32
        })
        .collect();
    if !weight.iter().chain(&bias).all(|parameter| parameter.is_finite()) {
        return Err(String::from("folded parameters would not be finite"));
    }
    let tensor =
        |shape: &[usize], elements| Tensor::from_vec(shape, elements).map_err(|error| error.to_string());
    Ok(Folded {
        operator: id,
        op,
        weight: tensor(weight_tensor.shape(), weight)?,
        bias: tensor(&[channels], bias)?,
    })
}

fn affine(graph: &Graph, node: &Node, norm: &BatchNormalization, channels: usize) -> Result<Affine, String> {
    let [scale, shift, mean, variance] = [1, 2, 3, 4].map(|index| reals(graph, node, index));
    let (scale, shift, mean, variance) = (scale?, shift?, mean?, variance?);
    for parameters in [&scale, &shift, &mean, &variance] {
        if parameters.len() != channels {
            return Err(format!("it has {} channels, the weight has {channels}", parameters.len()));
        }
    }
    let epsilon = f64::from(norm.epsilon);
    let factor =
        scale.iter().zip(&variance).map(|(scale, variance)| scale / (variance + epsilon).sqrt()).collect();
    Ok(Affine { factor, mean, shift })
}

fn constant<'a>(graph: &'a Graph, node: &Node, index: usize) -> Result<&'a Tensor, String> {
    let id = node.input(index).ok_or_else(|| format!("input {index} of `{}` is missing", node.name))?;
    graph.constant(id).ok_or_else(|| format!("`{}` is no constant", graph.value(id).name))
}

fn reals(graph: &Graph, node: &Node, index: usize) -> Result<Vec<f64>, String> {
    let tensor = constant(graph, node, index)?;
    let elements = tensor.as_f32().ok_or_else(|| {
        format!("input {index} of `{}` is {}, and only f32 is folded", node.name, tensor.dtype())
    })?;
    Ok(elements.iter().map(|&element| f64::from(element)).collect())
}

fn apply(graph: &Graph, editor: &mut GraphEditor, norm: NodeId, folded: Folded) -> Result<(), PassError> {
    let (inner, outer) = (graph.node(folded.operator).outputs[0], graph.node(norm).outputs[0]);
    let name = &graph.node(folded.operator).name;
    let weight = put(graph, editor, folded.operator, 1, &format!("{name}.weight"), folded.weight)?;
    let bias = put(graph, editor, folded.operator, 2, &format!("{name}.bias"), folded.bias)?;
    editor.remove_node(norm);
    let operator = editor.node_mut(folded.operator);
    operator.op = folded.op;
    operator.inputs = vec![operator.inputs[0], Some(weight), Some(bias)];
    operator.outputs[0] = outer;
    editor.record_fused(inner, outer);
    Ok(())
}

/// The constant that holds `tensor` as an input of a node: the one that is there, where nothing else reads it, else a
/// new one.
fn put(
    graph: &Graph,
    editor: &mut GraphEditor,
    node: NodeId,
    index: usize,
    name: &str,
    tensor: Tensor,
) -> Result<ValueId, PassError> {
    if let Some(id) = graph.node(node).input(index)
        && uses(graph, id) == 1
    {
        editor.set_constant(id, tensor);
        return Ok(id);
    }
    let name = editor.fresh_name(name);
    editor.add_constant(name, tensor).map_err(|error| PassError::Edit { pass: PASS, error: Box::new(error) })
}

/// How often a value is an argument or an output of the graph.
fn uses(graph: &Graph, id: ValueId) -> usize {
    let arguments = graph.nodes().iter().flat_map(|node| node.inputs.iter().flatten());
    arguments.chain(graph.outputs()).filter(|&&used| used == id).count()
}

#[cfg(test)]
mod tests;
