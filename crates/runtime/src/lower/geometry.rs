//! Extents of spatial operators as the kernels want them.

use calipers_ir::{Activation, Layout, Node, Window};
use calipers_kernels::{convolution, pool};

use super::Scope;
use crate::error::Error;

/// In which order a value's elements lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Order {
    /// As the graph states its axes.
    Logical,
    /// With axis 1 last.
    ChannelsLast,
}

impl Order {
    /// The order that spatial kernels read and write for data of a layout.
    pub(crate) fn of(layout: Layout) -> Order {
        match layout {
            Layout::Nchw => Order::ChannelsLast,
            Layout::Nhwc => Order::Logical,
        }
    }

    /// The axes of the graph, outermost first in memory.
    pub(crate) fn axes(self, rank: usize) -> Vec<usize> {
        match self {
            Order::ChannelsLast if rank > 2 => std::iter::once(0).chain(2..rank).chain([1]).collect(),
            Order::Logical | Order::ChannelsLast => (0..rank).collect(),
        }
    }

    /// Extents in memory order.
    pub(crate) fn physical(self, shape: &[usize]) -> Vec<usize> {
        self.axes(shape.len()).into_iter().map(|axis| shape[axis]).collect()
    }
}

/// Whether both orders are the same memory.
pub(crate) fn orders_agree(shape: &[usize]) -> bool {
    shape.len() < 3 || shape[1] == 1 || shape[2..].iter().all(|extent| *extent == 1)
}

/// An image batch: its extents as height and width, one-dimensional data having height 1.
pub(crate) struct Images {
    pub(crate) batch: usize,
    pub(crate) extent: [usize; 2],
    pub(crate) channels: usize,
}

/// Reads a spatial operand's shape.
pub(crate) fn images(
    scope: &Scope<'_>,
    node: &Node,
    shape: &[usize],
    layout: Layout,
) -> Result<Images, Error> {
    let first = layout.first_spatial_axis();
    let spatial = &shape[first.min(shape.len())..(first + shape.len().saturating_sub(2)).min(shape.len())];
    let extent = match *spatial {
        [width] => [1, width],
        [height, width] => [height, width],
        _ => {
            let found = format!("{} spatial axes", shape.len().saturating_sub(2));
            return Err(scope.unsupported(node, found, "1 or 2 spatial axes"));
        }
    };
    Ok(Images { batch: shape[0], extent, channels: shape[layout.channel_axis(shape.len())] })
}

/// Per-axis numbers as height, width.
fn pair(values: &[usize], missing: usize) -> [usize; 2] {
    match *values {
        [width] => [missing, width],
        [height, width, ..] => [height, width],
        [] => [missing; 2],
    }
}

/// The extents of a convolution with weights of the given logical shape.
pub(crate) fn convolution(
    scope: &Scope<'_>,
    node: &Node,
    input: &[usize],
    weights: &[usize],
    output: &[usize],
    conv: &calipers_ir::Conv,
) -> Result<convolution::Geometry, Error> {
    let from = images(scope, node, input, conv.layout)?;
    let to = images(scope, node, output, conv.layout)?;
    Ok(convolution::Geometry {
        batch: from.batch,
        input: from.extent,
        input_channels: from.channels,
        output: to.extent,
        output_channels: to.channels,
        kernel: pair(&weights[2..], 1),
        stride: pair(&conv.window.strides, 1),
        dilation: pair(&conv.window.dilations, 1),
        pad_begin: pair(&conv.window.pads_begin, 0),
        groups: conv.groups,
    })
}

/// The extents of a pooling.
pub(crate) fn pooling(
    scope: &Scope<'_>,
    node: &Node,
    input: &[usize],
    output: &[usize],
    attributes: &calipers_ir::Pool,
) -> Result<pool::Window, Error> {
    let from = images(scope, node, input, attributes.layout)?;
    let to = images(scope, node, output, attributes.layout)?;
    let window: &Window = &attributes.window;
    Ok(pool::Window {
        batch: from.batch,
        input: from.extent,
        channels: from.channels,
        output: to.extent,
        kernel: pair(&attributes.kernel, 1),
        stride: pair(&window.strides, 1),
        dilation: pair(&window.dilations, 1),
        pad_begin: pair(&window.pads_begin, 0),
        pad_end: pair(&window.pads_end, 0),
    })
}

/// The clamp that an activation is.
pub(crate) fn range(activation: Activation) -> [f32; 2] {
    match activation {
        Activation::None => [f32::NEG_INFINITY, f32::INFINITY],
        Activation::Relu => [0.0, f32::INFINITY],
        Activation::Clip(clip) => [clip.min, clip.max],
    }
}
