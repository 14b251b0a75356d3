//! Which layers of the matrix a model needs, by its nodes.

use std::collections::BTreeMap;
use std::path::Path as FilePath;

use calipers_inspect::open;
use calipers_ir::{
    BinaryKind, Conv, Dim, Graph, Image, Indexing, Node, Normalize, Op, PoolKind, Product, Recurrent, Reduce,
    Scanning, UnaryKind, ValueId,
};

use crate::error::GapsError;
use crate::report::ModelNeeds;

/// What a model needs. An operator that only moves or converts numbers needs nothing.
///
/// # Errors
/// [`GapsError::Model`] where the file cannot be read.
pub fn needs(file: &FilePath) -> Result<ModelNeeds, GapsError> {
    let opened = open(file).map_err(|error| GapsError::Model { reason: error.to_string() })?;
    let mut found =
        ModelNeeds { file: file.to_owned(), layers: BTreeMap::new(), not_probed: BTreeMap::new() };
    let graphs = std::iter::once(&opened.model.graph).chain(opened.model.subgraphs.values());
    for graph in graphs {
        for node in graph.nodes() {
            match need(graph, node) {
                Need::Nothing => {}
                Need::Layers(layers) => {
                    for layer in layers {
                        found.layers.entry(layer.to_owned()).or_default().push(node.name.clone());
                    }
                }
                Need::Unknown => {
                    found.not_probed.entry(node.op.to_string()).or_default().push(node.name.clone());
                }
            }
        }
    }
    let graph = &opened.model.graph;
    let types: Vec<_> = graph.inputs().iter().map(|&input| graph.value(input).ty.dtype).collect();
    if types.iter().any(|dtype| *dtype != types[0]) {
        let names = graph.inputs().iter().map(|&input| graph.value(input).name.clone()).collect();
        found.layers.insert(String::from("several_inputs"), names);
    }
    Ok(found)
}

/// What a node needs.
enum Need {
    Nothing,
    Layers(Vec<&'static str>),
    Unknown,
}

fn one(layer: &'static str) -> Need {
    Need::Layers(vec![layer])
}

fn need(graph: &Graph, node: &Node) -> Need {
    match &node.op {
        Op::Conv(conv) => Need::Layers(convolution(graph, node, conv)),
        Op::ConvTranspose(_) => {
            let shape = shape(graph, node.input(1));
            one(if shape.first() == shape.get(1) { "conv_transpose2d" } else { "conv_transpose2d_channels" })
        }
        Op::Gemm(_) => one("linear_rows"),
        Op::MatMul => one(match constant(graph, node, 1).or_else(|| constant(graph, node, 0)) {
            Some(weight) if gathered(graph, weight) => "embedding_tied",
            Some(_) => "linear",
            None => "matmul",
        }),
        Op::Product(Product::Attention { .. }) => one("scaled_dot_product_attention"),
        Op::Unary(kind) => unary(graph, node, kind),
        Op::Binary(kind, _) => binary(graph, node, kind),
        Op::Clip(clip) if clip.min == 0.0 && clip.max == 6.0 => one("relu6"),
        Op::Pool(pool) => match pool.kind {
            PoolKind::Max => one("max_pool2d"),
            PoolKind::Average { .. } => one("avg_pool2d"),
            PoolKind::Lp { .. } => Need::Unknown,
        },
        Op::GlobalPool(PoolKind::Average { .. }, _) => one("global_avg_pool2d"),
        Op::BatchNormalization(_) => one(match producer(graph, node.input(0)) {
            Some(Op::Conv(_)) => "batch_norm_folded",
            Some(_) => "batch_norm_unfoldable",
            None => "batch_norm_alone",
        }),
        Op::Normalize(kind) => match kind {
            Normalize::Layer { .. } => one("layer_norm"),
            Normalize::Rms { .. } => one("rms_norm"),
            Normalize::Group { .. } => one("group_norm"),
            Normalize::Instance { .. } => one("instance_norm"),
            Normalize::Lp { .. } | Normalize::MeanVariance { .. } | Normalize::LocalResponse { .. } => {
                Need::Unknown
            }
        },
        Op::Scanning(Scanning::Softmax { .. }) => {
            let mixes = readers(graph, node).any(|reader| matches!(reader.op, Op::MatMul));
            Need::Layers(if mixes {
                vec!["softmax", "scaled_dot_product_attention"]
            } else {
                vec!["softmax"]
            })
        }
        Op::Reduce(Reduce::Mean { .. }) if shape(graph, node.input(0)).len() == 4 => one("global_avg_pool2d"),
        Op::Movement(calipers_ir::Movement::Concat { .. }) => {
            // What exporters put together of a shape is no layer.
            if shape(graph, node.outputs.first().copied()).len() > 1 { one("concat") } else { Need::Nothing }
        }
        Op::Indexing(Indexing::Gather { .. }) => match constant(graph, node, 0) {
            Some(table) if shape(graph, Some(table)).len() == 2 => one("embedding"),
            Some(_) | None => Need::Nothing,
        },
        Op::Image(Image::Resize { mode, .. }) => {
            one(if mode == "nearest" { "upsample_nearest" } else { "upsample_bilinear" })
        }
        Op::Recurrent(Recurrent::Lstm { .. } | Recurrent::TfliteLstm { .. }) => one("lstm"),
        Op::Recurrent(Recurrent::Gru { .. }) => one("gru"),
        Op::Control(_) => one("data_dependent_branch"),
        Op::Reshape
        | Op::Flatten { .. }
        | Op::Transpose { .. }
        | Op::Movement(_)
        | Op::Creation(_)
        | Op::Select(_)
        | Op::QuantizeLinear(_)
        | Op::DequantizeLinear(_)
        | Op::DynamicQuantizeLinear => Need::Nothing,
        Op::Indexing(_)
        | Op::ConvInteger(_)
        | Op::Product(_)
        | Op::Variadic(_)
        | Op::Clip(_)
        | Op::GlobalPool(..)
        | Op::Reduce(_)
        | Op::Scanning(_)
        | Op::Image(_)
        | Op::Signal(_)
        | Op::Recurrent(_)
        | Op::Opaque(_) => Need::Unknown,
    }
}

fn convolution(graph: &Graph, node: &Node, conv: &Conv) -> Vec<&'static str> {
    let shape = shape(graph, node.input(1));
    match shape.len() {
        3 => return vec!["conv1d"],
        5 => return vec!["conv3d"],
        _ => {}
    }
    let mut layers = Vec::new();
    if conv.groups > 1 {
        let one_each = shape.get(1) == Some(&Some(1));
        layers.push(if one_each { "conv2d_depthwise" } else { "conv2d_grouped" });
    }
    if conv.window.dilations.iter().any(|&dilation| dilation > 1) {
        layers.push("conv2d_dilated");
    }
    if conv.window.strides.iter().any(|&stride| stride > 1) {
        layers.push("conv2d_strided");
    }
    if layers.is_empty() {
        layers.push("conv2d");
    }
    layers
}

/// An activation by its own operator, or by the one that exporters write it with.
fn unary(graph: &Graph, node: &Node, kind: &UnaryKind) -> Need {
    one(match kind {
        UnaryKind::Relu => "relu",
        UnaryKind::LeakyRelu { .. } => "leaky_relu",
        UnaryKind::Swish { .. } => "silu",
        UnaryKind::Gelu { approximate } if approximate == "tanh" => "gelu_tanh",
        UnaryKind::Gelu { .. } | UnaryKind::Erf => "gelu",
        UnaryKind::HardSwish => "hardswish",
        UnaryKind::HardSigmoid { .. } => "hardsigmoid",
        UnaryKind::Tanh => "tanh",
        UnaryKind::Sigmoid => {
            let input = node.input(0);
            let times_input = readers(graph, node).any(|reader| {
                matches!(reader.op, Op::Binary(BinaryKind::Mul, _)) && reader.inputs.contains(&input)
            });
            if times_input { "silu" } else { "sigmoid" }
        }
        UnaryKind::Identity => return Need::Nothing,
        _ => return Need::Unknown,
    })
}

/// A sum or product of two activations. With a constant it is a bias or a scale, which belongs to its neighbour.
fn binary(graph: &Graph, node: &Node, kind: &BinaryKind) -> Need {
    let with_constant = constant(graph, node, 0).or_else(|| constant(graph, node, 1)).is_some();
    match kind {
        BinaryKind::PRelu => one("prelu"),
        BinaryKind::Add | BinaryKind::Mul if with_constant => Need::Nothing,
        BinaryKind::Add | BinaryKind::Sub => one("add"),
        BinaryKind::Mul | BinaryKind::Div => one("mul"),
        _ => Need::Unknown,
    }
}

fn readers<'g>(graph: &'g Graph, node: &'g Node) -> impl Iterator<Item = &'g Node> {
    graph
        .nodes()
        .iter()
        .filter(|reader| reader.inputs.iter().flatten().any(|input| node.outputs.contains(input)))
}

fn producer(graph: &Graph, value: Option<ValueId>) -> Option<&Op> {
    Some(&graph.node(graph.producer(value?)?).op)
}

/// The constant behind an input, directly or through nodes that only convert or turn it.
fn constant(graph: &Graph, node: &Node, input: usize) -> Option<ValueId> {
    let mut value = node.input(input)?;
    while graph.constant(value).is_none() {
        let node = graph.node(graph.producer(value)?);
        match node.op {
            Op::DequantizeLinear(_) | Op::Transpose { .. } | Op::Reshape | Op::Unary(UnaryKind::Identity) => {
                value = node.input(0)?;
            }
            _ => return None,
        }
    }
    Some(value)
}

/// Whether rows of a constant are gathered somewhere.
fn gathered(graph: &Graph, weight: ValueId) -> bool {
    graph.nodes().iter().any(|node| {
        matches!(node.op, Op::Indexing(Indexing::Gather { .. })) && constant(graph, node, 0) == Some(weight)
    })
}

/// The extents of a value; empty where not even the rank is known.
fn shape(graph: &Graph, value: Option<ValueId>) -> Vec<Option<usize>> {
    let dims = value.and_then(|value| graph.value(value).ty.shape.as_deref());
    dims.unwrap_or_default().iter().map(Dim::known).collect()
}
