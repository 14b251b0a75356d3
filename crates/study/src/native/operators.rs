//! The steps of a plan in the words that all frameworks share.

use calipers_inspect::source;
use calipers_ir::{
    BinaryKind, DType, Graph, Image, Indexing, Node, Op, Product, Recurrent, Reduce, Scanning, Select,
    Tensor, UnaryKind, ValueId,
};
use calipers_quant::multiply_accumulates;
use calipers_runtime::StepInfo;
use calipers_workers::protocol::{Class, ExecutedOperator, Kind};

/// A step as an operator that executes, with its place in the graph.
pub fn executed(graph: &Graph, step: &StepInfo) -> ExecutedOperator {
    let kernel = Kernel::of(&step.kernel);
    let core = core(graph, step, kernel);
    let product = core.filter(|_| kernel.by_definition || kernel.is_product());
    let weights = product.map(|node| weights(graph, node)).unwrap_or_default();
    let kind = kind_of_step(graph, kernel, core);
    ExecutedOperator {
        name: name(step),
        kind,
        class: class(graph, kernel, core, kind, &weights),
        macs: product.map_or(0, |node| multiply_accumulates(graph, node)),
        weights: weights.iter().map(|weight| weight.stored.len() as u64).sum(),
        weight_bits: weights.iter().map(|weight| weight.bits(kernel)).max().unwrap_or(0),
        activation_bits: ["i16", "u16"].contains(&kernel.dtype).then_some(16),
    }
}

/// What a step is called: its kernel and the node that it ends at.
pub fn name(step: &StepInfo) -> String {
    format!("{} {}", step.kernel, step.node)
}

/// The words of a kernel's name.
#[derive(Clone, Copy)]
struct Kernel<'a> {
    /// What it does; for an operator that runs by its definition, that operator.
    verb: &'a str,
    /// The type that it computes on; empty where it moves elements of any.
    dtype: &'a str,
    by_definition: bool,
}

impl Kernel<'_> {
    fn of(kernel: &str) -> Kernel<'_> {
        let plain = kernel.strip_suffix(" by definition");
        let words = plain.unwrap_or(kernel);
        let (verb, dtype) = words.rsplit_once(' ').unwrap_or((words, ""));
        Kernel { verb, dtype, by_definition: plain.is_some() }
    }

    /// Whether it is a convolution or a matrix product.
    fn is_product(self) -> bool {
        ["convolve", "multiply", "multiply pairs", "multiply to f32"].contains(&self.verb)
    }

    /// Whether it computes on integers of at most 16 bits, which stand for real numbers.
    fn is_on_integers(self) -> bool {
        ["u8", "i8", "u16", "i16", "u4", "i4"].contains(&self.dtype)
    }
}

/// The node that a step computes: the one that it ends at, or the one before the activation and the Quantize node that
/// the step takes in. `None` of a step that only moves a value.
fn core<'g>(graph: &'g Graph, step: &StepInfo, kernel: Kernel<'_>) -> Option<&'g Node> {
    let mut node = graph.node(graph.node_named(&step.node).filter(|_| kernel.verb != "permute")?);
    loop {
        let (quantizes, limits) = (matches!(node.op, Op::QuantizeLinear(_)), is_limit(&node.op));
        let found = match kernel.verb {
            verb if kernel.by_definition => verb == node.op.to_string(),
            "quantize" | "dequantize" => true,
            "clip" => limits,
            _ => !quantizes && !limits,
        };
        if found || !(quantizes || limits) {
            return Some(node);
        }
        node = graph.node(graph.producer(node.input(0)?)?);
    }
}

fn is_limit(op: &Op) -> bool {
    matches!(op, Op::Unary(UnaryKind::Relu) | Op::Clip(_))
}

/// A constant that a node multiplies or gathers.
struct Weight<'g> {
    /// As the graph holds it.
    stored: &'g Tensor,
    /// The type of the argument, into which constants are computed when the model is planned.
    argument: DType,
}

impl Weight<'_> {
    /// Bits of an element while it runs: kernels on bytes pack bytes, everything else reads the argument.
    fn bits(&self, kernel: Kernel<'_>) -> u32 {
        let bits =
            if kernel.is_on_integers() && !kernel.by_definition { Some(8) } else { self.argument.bits() };
        bits.and_then(|bits| u32::try_from(bits).ok()).unwrap_or(0)
    }

    /// Whether it is stored in fewer bits than it is computed with.
    fn is_compact(&self) -> bool {
        let whole = self.stored.dtype().integer_range().is_some();
        whole || matches!(self.stored.dtype(), DType::F16 | DType::BF16)
    }
}

/// The constants that a node multiplies or gathers; biases and scales are none.
fn weights<'g>(graph: &'g Graph, node: &Node) -> Vec<Weight<'g>> {
    let positions: &[usize] = match &node.op {
        Op::Conv(_) | Op::ConvTranspose(_) | Op::ConvInteger(_) => &[1],
        Op::Gemm(_) | Op::MatMul | Op::Product(Product::MatMulInteger | Product::Einsum { .. }) => &[0, 1],
        Op::Recurrent(Recurrent::Lstm { .. } | Recurrent::Gru { .. } | Recurrent::Rnn { .. }) => &[1, 2],
        Op::Indexing(Indexing::Gather { .. }) => &[0],
        _ => &[],
    };
    let weight = |argument: ValueId| {
        let stored = graph.constant(source(graph, argument)?)?;
        let dtype = graph.value(argument).ty.dtype;
        // A gather from a vector, or of positions, looks nothing up that was learned.
        let gathers = matches!(node.op, Op::Indexing(_));
        let is_table = stored.shape().len() >= 2 && !matches!(dtype, DType::I32 | DType::I64 | DType::Bool);
        (!gathers || is_table).then_some(Weight { stored, argument: dtype })
    };
    positions.iter().filter_map(|&position| weight(node.input(position)?)).collect()
}

fn kind_of_step(graph: &Graph, kernel: Kernel<'_>, core: Option<&Node>) -> Kind {
    let Some(node) = core else { return Kind::Movement };
    match kernel.verb {
        "quantize" | "dequantize" => return Kind::Conversion,
        // The addend of a product that is a matrix.
        "add" if !kernel.by_definition => return Kind::Elementwise,
        _ => {}
    }
    if is_rescaling(graph, node) || gathers_scales(graph, node) {
        return Kind::Conversion;
    }
    if matches!(node.op, Op::Indexing(Indexing::Gather { .. })) && !weights(graph, node).is_empty() {
        return Kind::Embedding;
    }
    if averages_images(graph, node) {
        return Kind::Pooling;
    }
    kind(&node.op)
}

/// Whether a node takes the mean over the height and width of images.
fn averages_images(graph: &Graph, node: &Node) -> bool {
    let Op::Reduce(Reduce::Mean { .. }) = node.op else { return false };
    let rank = node.input(0).and_then(|input| graph.value(input).ty.shape.as_ref().map(Vec::len));
    let axes = node.input(1).and_then(|axes| graph.constant(axes)?.to_integers()).unwrap_or_default();
    let mut axes: Vec<i64> = axes.iter().map(|axis| axis.rem_euclid(4)).collect();
    axes.sort_unstable();
    rank == Some(4) && axes == [2, 3]
}

/// The kind of an operator.
fn kind(op: &Op) -> Kind {
    match op {
        Op::Conv(_) | Op::ConvTranspose(_) | Op::ConvInteger(_) | Op::Image(Image::DeformConv { .. }) => {
            Kind::Convolution
        }
        Op::Gemm(_)
        | Op::MatMul
        | Op::Product(Product::MatMulInteger | Product::Einsum { .. } | Product::Attention { .. }) => {
            Kind::MatrixProduct
        }
        Op::Recurrent(_) => Kind::Recurrent,
        Op::Pool(_) | Op::GlobalPool(..) | Op::Image(Image::MaxRoiPool { .. } | Image::RoiAlign { .. }) => {
            Kind::Pooling
        }
        Op::Binary(..)
        | Op::Variadic(_)
        | Op::Select(Select::Where | Select::Limit)
        | Op::Product(Product::RotaryEmbedding { .. }) => Kind::Elementwise,
        Op::Unary(UnaryKind::Identity)
        | Op::Reshape
        | Op::Flatten { .. }
        | Op::Transpose { .. }
        | Op::Movement(_)
        | Op::Indexing(_)
        | Op::Creation(_)
        | Op::Image(Image::Resize { .. } | Image::Col2Im { .. } | Image::MaxUnpool { .. }) => Kind::Movement,
        Op::Unary(_) | Op::Clip(_) => Kind::Activation,
        Op::BatchNormalization(_)
        | Op::Normalize(_)
        | Op::Scanning(Scanning::Softmax { .. } | Scanning::LogSoftmax { .. } | Scanning::Hardmax { .. }) => {
            Kind::Normalization
        }
        Op::Select(Select::Cast { .. } | Select::BitCast { .. })
        | Op::QuantizeLinear(_)
        | Op::DequantizeLinear(_)
        | Op::DynamicQuantizeLinear => Kind::Conversion,
        Op::Reduce(_)
        | Op::Scanning(
            Scanning::ArgMax { .. }
            | Scanning::ArgMin { .. }
            | Scanning::CumSum { .. }
            | Scanning::CumProd { .. }
            | Scanning::TopK { .. },
        )
        | Op::Product(Product::Det)
        | Op::Image(Image::GridSample { .. } | Image::AffineGrid { .. })
        | Op::Signal(_)
        | Op::Control(_)
        | Op::Opaque(_) => Kind::Other,
    }
}

fn class(
    graph: &Graph,
    kernel: Kernel<'_>,
    core: Option<&Node>,
    kind: Kind,
    weights: &[Weight<'_>],
) -> Class {
    match (kind, core.map(|node| &node.op)) {
        (Kind::Conversion, _) => return Class::Convert,
        (Kind::Movement, _) => return Class::Move,
        (_, Some(Op::ConvInteger(_) | Op::Product(Product::MatMulInteger))) => {
            let input = core.and_then(|node| node.input(0));
            return if is_quantized_while_running(graph, input) { Class::Dynamic } else { Class::Integer };
        }
        _ => {}
    }
    // Rows of a table of integers are dequantized before anything computes on them.
    if weights.iter().any(Weight::is_compact) && (kind == Kind::Embedding || !kernel.is_on_integers()) {
        return Class::WeightOnly;
    }
    match kernel.dtype {
        _ if kernel.is_on_integers() => Class::Integer,
        // Shapes and positions stand for no real numbers.
        "i64" | "i32" | "u64" | "u32" | "bool" if weights.is_empty() => Class::Move,
        _ => Class::Float,
    }
}

fn made_by(graph: &Graph, value: Option<ValueId>, is: impl Fn(&Node) -> bool) -> bool {
    value.and_then(|value| graph.producer(value)).is_some_and(|id| is(graph.node(id)))
}

fn is_quantized_while_running(graph: &Graph, value: Option<ValueId>) -> bool {
    made_by(graph, value, |node| matches!(node.op, Op::DynamicQuantizeLinear))
}

/// Whether a node makes real numbers of the sums of an integer product, or the scale for that.
fn is_rescaling(graph: &Graph, node: &Node) -> bool {
    let is_sum = |node: &Node| matches!(node.op, Op::ConvInteger(_) | Op::Product(Product::MatMulInteger));
    let is_cast_sum = |node: &Node| {
        matches!(node.op, Op::Select(Select::Cast { .. })) && made_by(graph, node.input(0), is_sum)
    };
    let from_sums = |input: &Option<ValueId>| {
        made_by(graph, *input, is_cast_sum) || is_quantized_while_running(graph, *input)
    };
    matches!(node.op, Op::Binary(BinaryKind::Mul, _)) && node.inputs.iter().any(from_sums)
}

/// Whether a node takes scales or zero points out of a table of them.
fn gathers_scales(graph: &Graph, node: &Node) -> bool {
    let scales = |output: &ValueId| {
        graph.consumers(*output).any(|(_, reader)| {
            matches!(reader.op, Op::DequantizeLinear(_)) && reader.input(0) != Some(*output)
        })
    };
    matches!(node.op, Op::Indexing(Indexing::Gather { .. })) && node.outputs.iter().any(scales)
}
