//! Operators: a closed set of families with typed attributes.
//!
//! Names and attributes follow the ONNX operator pages (<https://onnx.ai/onnx/operators/>) unless said otherwise.

mod attributes;
mod family;

mod compound;
mod elementwise;
mod movement;
mod reduction;
#[cfg(test)]
mod tests;

use std::fmt;

pub use compound::{Control, Image, Product, Recurrent, Signal};
pub use elementwise::{BinaryKind, Select, UnaryKind, VariadicKind};
pub use family::Subgraph;
pub use movement::{Creation, Indexing, Movement};
pub use reduction::{Normalize, Reduce, Scanning};

use crate::{Attributes, DType};
use family::Family;

/// What a node computes. Inputs and outputs are in the order of the ONNX operator of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Convolution: inputs `x`, `weight`, optional `bias`.
    Conv(Conv),
    /// Transposed convolution: inputs `x`, `weight` `[input channels, output channels / groups, spatial...]`,
    /// optional `bias`.
    ConvTranspose(ConvTranspose),
    /// Convolution of 8-bit integers: inputs `x`, `weight`, optional zero points of both; i32 sums.
    ConvInteger(Conv),
    /// `activation(alpha * op(a) op(b) + beta * c)`: inputs `a` and `b` of rank 2, optional `c`.
    Gemm(Gemm),
    /// Matrix product over the last two axes, broadcast over the rest: inputs `a`, `b`.
    MatMul,
    /// Products with other rules.
    Product(Product),
    /// Elementwise function of one input.
    Unary(UnaryKind),
    /// Elementwise function of two inputs with numpy broadcasting, then an activation.
    Binary(BinaryKind, Activation),
    /// Elementwise function of any number of inputs with numpy broadcasting.
    Variadic(VariadicKind),
    /// Elementwise conversions and choices.
    Select(Select),
    /// Elementwise limit: the bounds are attributes here; ONNX gives them as constant inputs.
    Clip(Clip),
    /// Sliding-window pooling over the spatial axes.
    Pool(Pool),
    /// Pooling over all of every spatial axis, which stay as extents of 1.
    GlobalPool(PoolKind, Layout),
    /// Batch normalization with stored statistics: inputs `x`, `scale`, `bias`, `mean`, `variance`.
    BatchNormalization(BatchNormalization),
    /// Other normalizations.
    Normalize(Normalize),
    /// Reductions over axes.
    Reduce(Reduce),
    /// Softmax, cumulative sums, positions of extremes: along one axis.
    Scanning(Scanning),
    /// Inputs `data` and `shape` (i64): 0 copies an extent, one -1 takes the rest.
    Reshape,
    /// To rank 2: the axes before `axis`, and the rest.
    Flatten {
        /// First axis of the second extent; may be negative.
        axis: i64,
    },
    /// Permutation of axes: output axis `i` is input axis `permutation[i]`.
    Transpose {
        /// Each input axis once.
        permutation: Vec<usize>,
    },
    /// Other movements of elements.
    Movement(Movement),
    /// Reading and writing by position.
    Indexing(Indexing),
    /// Results about shapes, or made from numbers alone.
    Creation(Creation),
    /// Operators on images.
    Image(Image),
    /// Transforms of signals.
    Signal(Signal),
    /// Recurrent layers.
    Recurrent(Recurrent),
    /// Operators that run subgraphs.
    Control(Control),
    /// `saturate(round_half_even(x / scale) + zero_point)`: inputs `x`, `scale`, optional `zero_point`.
    QuantizeLinear(QuantizeLinear),
    /// `scale * (x - zero_point)`: inputs `x`, `scale`, optional `zero_point`.
    DequantizeLinear(DequantizeLinear),
    /// Quantization of a tensor by its own range with 0: outputs u8 data, f32 scale, u8 zero point.
    DynamicQuantizeLinear,
    /// An operator kept as read: it can be written back, and is refused by name when asked to run.
    Opaque(Opaque),
}

/// Where the channel axis of a spatial operator's data stands. Weights always stand as
/// `[output channels, input channels / groups, spatial...]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `[batch, channels, spatial...]`, as in ONNX.
    #[default]
    Nchw,
    /// `[batch, spatial..., channels]`, as in TFLite.
    Nhwc,
}

impl Layout {
    /// Index of the channel axis in a shape of the given rank (at least 2).
    pub fn channel_axis(self, rank: usize) -> usize {
        match self {
            Layout::Nchw => 1,
            Layout::Nhwc => rank - 1,
        }
    }

    /// Index of the first spatial axis; the others follow it.
    pub fn first_spatial_axis(self) -> usize {
        match self {
            Layout::Nchw => 2,
            Layout::Nhwc => 1,
        }
    }
}

/// An activation fused into the operator before it, as TFLite stores it. ONNX files get it as a node of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// The identity.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, min), max)`.
    Clip(Clip),
}

/// Bounds of a limit, both included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    /// Lower bound; `-inf` for none.
    pub min: f32,
    /// Upper bound; `inf` for none.
    pub max: f32,
}

/// The sliding window of a convolution or pooling over the spatial axes, in axis order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Step of the window along each axis, at least 1.
    pub strides: Vec<usize>,
    /// Distance of neighbouring taps along each axis, at least 1.
    pub dilations: Vec<usize>,
    /// Padding before the first element of each axis.
    pub pads_begin: Vec<usize>,
    /// Padding after the last element of each axis.
    pub pads_end: Vec<usize>,
}

impl Window {
    /// The same stride and padding along each of `axes` axes, no dilation.
    pub fn uniform(axes: usize, stride: usize, pad: usize) -> Self {
        Window {
            strides: vec![stride; axes],
            dilations: vec![1; axes],
            pads_begin: vec![pad; axes],
            pads_end: vec![pad; axes],
        }
    }

    /// Number of spatial axes.
    pub fn axes(&self) -> usize {
        self.strides.len()
    }

    /// Positions of a window of `kernel` taps along `axis` over `extent` elements:
    /// `(extent + pads - dilation * (kernel - 1) - 1) / stride + 1`, rounded down, or up with `ceil`, where a
    /// last window that would begin in the padding after the data does not count.
    /// `None` when the window is larger than the padded axis.
    pub fn output_extent(&self, axis: usize, extent: usize, kernel: usize, ceil: bool) -> Option<usize> {
        let padded = extent.checked_add(self.pads_begin[axis])?.checked_add(self.pads_end[axis])?;
        let reach = self.dilations[axis].checked_mul(kernel.checked_sub(1)?)?.checked_add(1)?;
        let room = padded.checked_sub(reach)?;
        let stride = self.strides[axis];
        let mut extent_out = if ceil { room.div_ceil(stride) } else { room / stride } + 1;
        if ceil && (extent_out - 1) * stride >= extent + self.pads_begin[axis] {
            extent_out -= 1;
        }
        Some(extent_out)
    }
}

/// Attributes of a convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Number of groups; both channel counts are multiples of it.
    pub groups: usize,
    /// Strides, dilations and pads.
    pub window: Window,
    /// Where the channels of data stand.
    pub layout: Layout,
    /// What is applied to the sum.
    pub activation: Activation,
}

/// Attributes of a transposed convolution. An output extent is
/// `stride * (extent - 1) + output_padding + dilation * (kernel - 1) + 1 - pads`.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvTranspose {
    /// Number of groups; both channel counts are multiples of it.
    pub groups: usize,
    /// Strides, dilations and pads (which are cut off the result).
    pub window: Window,
    /// Elements added at the end of each spatial axis.
    pub output_padding: Vec<usize>,
    /// Where the channels of data stand.
    pub layout: Layout,
    /// What is applied to the sum.
    pub activation: Activation,
}

impl ConvTranspose {
    /// Extent of a spatial axis of the result, from the input's and the number of taps; `None` when nothing is left.
    pub fn output_extent(&self, axis: usize, extent: usize, kernel: usize) -> Option<usize> {
        let window = &self.window;
        let steps = extent.checked_sub(1)?.checked_mul(window.strides[axis])?;
        let reach = window.dilations[axis].checked_mul(kernel.checked_sub(1)?)?.checked_add(1)?;
        let whole = steps.checked_add(self.output_padding[axis])?.checked_add(reach)?;
        whole.checked_sub(window.pads_begin[axis].checked_add(window.pads_end[axis])?)
    }
}

/// Attributes of a general matrix product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gemm {
    /// Factor of the product.
    pub alpha: f32,
    /// Factor of `c`.
    pub beta: f32,
    /// Whether `a` is transposed first.
    pub transpose_a: bool,
    /// Whether `b` is transposed first.
    pub transpose_b: bool,
    /// What is applied to the sum.
    pub activation: Activation,
}

/// How a window is reduced to one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// The largest element; padding never wins.
    Max,
    /// The mean of the elements.
    Average {
        /// Whether padding counts as zeros.
        count_include_pad: bool,
    },
    /// The `p`-norm of the elements.
    Lp {
        /// At least 1.
        p: usize,
    },
}

/// Attributes of sliding-window pooling.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// How a window is reduced.
    pub kind: PoolKind,
    /// Taps along each spatial axis.
    pub kernel: Vec<usize>,
    /// Strides, dilations and pads.
    pub window: Window,
    /// Whether the output extent is rounded up.
    pub ceil: bool,
    /// Whether positions of maxima, the optional second output of max pooling, count with the last spatial axis
    /// outermost.
    pub column_major: bool,
    /// Where the channels of data stand.
    pub layout: Layout,
}

/// Attributes of batch normalization: `scale * (x - mean) / sqrt(variance + epsilon) + bias` per channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormalization {
    /// Added to the variance.
    pub epsilon: f32,
    /// Share of the old running statistics that a training step keeps.
    pub momentum: f32,
    /// Where the channels of data stand.
    pub layout: Layout,
}

/// Attributes of quantization. Scale and zero point are scalars (per tensor), vectors along `axis` (per axis)
/// or of the input's rank (blocked along `axis`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuantizeLinear {
    /// Axis of a vector scale; may be negative.
    pub axis: i64,
    /// Elements of `axis` that share a scale; 0 when not blocked.
    pub block_size: usize,
    /// Whether an 8-bit float output saturates.
    pub saturate: bool,
    /// Storage type of the output; must equal the zero point's where there is one.
    pub dtype: DType,
}

/// Attributes of dequantization; scale and zero point as in [`QuantizeLinear`]. The output has the scale's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DequantizeLinear {
    /// Axis of a vector scale; may be negative.
    pub axis: i64,
    /// Elements of `axis` that share a scale; 0 when not blocked.
    pub block_size: usize,
}

/// An operator that no family covers, with everything needed to write it back.
#[derive(Clone, Debug, PartialEq)]
pub struct Opaque {
    /// Operator set, empty for the default one of ONNX.
    pub domain: String,
    /// Name in that operator set.
    pub op_type: String,
    /// Its attributes as read.
    pub attributes: Attributes,
}

impl Op {
    /// The name of the operator, as ONNX spells it.
    pub fn name(&self) -> &str {
        match self {
            Op::Conv(_) => "Conv",
            Op::ConvTranspose(_) => "ConvTranspose",
            Op::ConvInteger(_) => "ConvInteger",
            Op::Gemm(_) => "Gemm",
            Op::MatMul => "MatMul",
            Op::Product(product) => product.name(),
            Op::Unary(kind) => kind.name(),
            Op::Binary(kind, _) => kind.name(),
            Op::Variadic(kind) => kind.name(),
            Op::Select(select) => select.name(),
            Op::Clip(_) => "Clip",
            Op::Pool(Pool { kind: PoolKind::Max, .. }) => "MaxPool",
            Op::Pool(Pool { kind: PoolKind::Average { .. }, .. }) => "AveragePool",
            Op::Pool(Pool { kind: PoolKind::Lp { .. }, .. }) => "LpPool",
            Op::GlobalPool(PoolKind::Lp { .. }, _) => "GlobalLpPool",
            Op::GlobalPool(PoolKind::Max, _) => "GlobalMaxPool",
            Op::GlobalPool(PoolKind::Average { .. }, _) => "GlobalAveragePool",
            Op::BatchNormalization(_) => "BatchNormalization",
            Op::Normalize(normalize) => normalize.name(),
            Op::Reduce(reduce) => reduce.name(),
            Op::Scanning(scanning) => scanning.name(),
            Op::Reshape => "Reshape",
            Op::Flatten { .. } => "Flatten",
            Op::Transpose { .. } => "Transpose",
            Op::Movement(movement) => movement.name(),
            Op::Indexing(indexing) => indexing.name(),
            Op::Creation(creation) => creation.name(),
            Op::Image(image) => image.name(),
            Op::Signal(signal) => signal.name(),
            Op::Recurrent(recurrent) => recurrent.name(),
            Op::Control(control) => control.name(),
            Op::QuantizeLinear(_) => "QuantizeLinear",
            Op::DequantizeLinear(_) => "DequantizeLinear",
            Op::DynamicQuantizeLinear => "DynamicQuantizeLinear",
            Op::Opaque(opaque) => &opaque.op_type,
        }
    }

    /// Smallest and largest number of inputs; those past the smallest may be absent.
    pub fn input_arity(&self) -> (usize, usize) {
        match self {
            Op::Clip(_)
            | Op::Pool(_)
            | Op::GlobalPool(..)
            | Op::Flatten { .. }
            | Op::Transpose { .. }
            | Op::DynamicQuantizeLinear => (1, 1),
            Op::MatMul | Op::Reshape => (2, 2),
            Op::Conv(_)
            | Op::ConvTranspose(_)
            | Op::Gemm(_)
            | Op::QuantizeLinear(_)
            | Op::DequantizeLinear(_) => (2, 3),
            Op::ConvInteger(_) => (2, 4),
            Op::BatchNormalization(_) => (5, 5),
            Op::Product(product) => product.input_arity(),
            Op::Unary(kind) => kind.input_arity(),
            Op::Binary(kind, _) => kind.input_arity(),
            Op::Variadic(kind) => kind.input_arity(),
            Op::Select(select) => select.input_arity(),
            Op::Normalize(normalize) => normalize.input_arity(),
            Op::Reduce(reduce) => reduce.input_arity(),
            Op::Scanning(scanning) => scanning.input_arity(),
            Op::Movement(movement) => movement.input_arity(),
            Op::Indexing(indexing) => indexing.input_arity(),
            Op::Creation(creation) => creation.input_arity(),
            Op::Image(image) => image.input_arity(),
            Op::Signal(signal) => signal.input_arity(),
            Op::Recurrent(recurrent) => recurrent.input_arity(),
            Op::Control(control) => control.input_arity(),
            Op::Opaque(_) => (0, usize::MAX),
        }
    }

    /// The activation fused into this operator.
    pub fn activation(&self) -> Activation {
        match self {
            Op::Conv(conv) => conv.activation,
            Op::ConvTranspose(conv) => conv.activation,
            Op::Gemm(gemm) => gemm.activation,
            Op::Binary(_, activation) => *activation,
            Op::ConvInteger(_)
            | Op::MatMul
            | Op::Product(_)
            | Op::Unary(_)
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
            | Op::Control(_)
            | Op::QuantizeLinear(_)
            | Op::DequantizeLinear(_)
            | Op::DynamicQuantizeLinear
            | Op::Opaque(_) => Activation::None,
        }
    }

    /// This operator with another fused activation; `None` for operators that cannot carry one.
    pub fn with_activation(&self, activation: Activation) -> Option<Op> {
        match self {
            Op::Conv(conv) => Some(Op::Conv(Conv { activation, ..conv.clone() })),
            Op::ConvTranspose(conv) => Some(Op::ConvTranspose(ConvTranspose { activation, ..conv.clone() })),
            Op::Gemm(gemm) => Some(Op::Gemm(Gemm { activation, ..*gemm })),
            Op::Binary(kind, _) => Some(Op::Binary(kind.clone(), activation)),
            Op::ConvInteger(_)
            | Op::MatMul
            | Op::Product(_)
            | Op::Unary(_)
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
            | Op::Control(_)
            | Op::QuantizeLinear(_)
            | Op::DequantizeLinear(_)
            | Op::DynamicQuantizeLinear
            | Op::Opaque(_) => None,
        }
    }

    /// The attributes by name, as the text form prints them; those at their defaults are left out.
    pub fn attributes(&self) -> Attributes {
        attributes::of(self)
    }

    /// The operator of that name with those attributes, the inverse of [`Op::name`] and [`Op::attributes`].
    ///
    /// # Errors
    /// A sentence naming the attribute that is missing, unknown or of the wrong kind.
    pub fn from_attributes(name: &str, attributes: Attributes) -> Result<Op, String> {
        attributes::parse(name, attributes)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
