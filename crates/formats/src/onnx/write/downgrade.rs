//! Nodes in the form that an older operator set has for them: constant arguments as attributes.

use calipers_ir::{Graph, Image, Node, Normalize, Op, Scanning, Signal};

use super::super::attributes::{int_proto, ints_proto, string_proto};
use super::super::messages::NodeProto;
use super::opset::integers;

/// Brings a node in the newest form to that of an operator set, or says why that is not possible. The set is late
/// enough for all that the node says.
pub(super) fn to_opset(proto: &mut NodeProto, graph: &Graph, node: &Node, opset: i64) -> Result<(), String> {
    match &node.op {
        Op::Reduce(reduce) => {
            let since = if matches!(reduce, calipers_ir::Reduce::Sum { .. }) { 13 } else { 18 };
            if opset < since {
                to_attribute(proto, graph, node, "axes");
            }
        }
        Op::Movement(calipers_ir::Movement::Squeeze | calipers_ir::Movement::Unsqueeze) if opset < 13 => {
            to_attribute(proto, graph, node, "axes");
        }
        Op::Movement(calipers_ir::Movement::Split { .. }) => {
            if opset < 13 {
                to_attribute(proto, graph, node, "split");
            }
            if opset < 18 || node.input(1).is_some() {
                remove(proto, "num_outputs");
            }
        }
        Op::Image(Image::GridSample { mode, .. }) if opset < 20 => {
            remove(proto, "mode");
            let old = match mode.as_str() {
                "linear" => "bilinear",
                "cubic" => "bicubic",
                other => other,
            };
            proto.attribute.push(string_proto("mode", old));
        }
        Op::Image(Image::RoiAlign { .. }) if opset < 16 => remove(proto, "coordinate_transformation_mode"),
        Op::Normalize(Normalize::Group { scale_per_group: true, .. }) if opset >= 21 => {
            return Err(format!(
                "operator set {opset} has no scale and bias for each group; repeat them for each channel"
            ));
        }
        Op::Signal(Signal::Dft { .. }) if opset < 20 => {
            let axis = integers(graph, node, 2).and_then(|axis| axis.first().copied());
            let default = if node.input(2).is_some() { axis.unwrap_or(-2) } else { -2 };
            proto.input.truncate(2);
            proto.attribute.push(int_proto("axis", default));
        }
        _ => {}
    }
    while proto.input.last().is_some_and(String::is_empty) {
        proto.input.pop();
    }
    Ok(())
}

/// The second argument as an attribute.
fn to_attribute(proto: &mut NodeProto, graph: &Graph, node: &Node, name: &str) {
    if let Some(values) = integers(graph, node, 1) {
        proto.input.truncate(1);
        proto.attribute.push(ints_proto(name, values));
    }
}

fn remove(proto: &mut NodeProto, name: &str) {
    proto.attribute.retain(|attribute| attribute.name != name);
}

/// The axis from which on a softmax goes over all others, where the operator set has none of that kind.
pub(super) fn flattened_axis(op: &Op, opset: i64) -> Option<i64> {
    match op {
        Op::Scanning(
            Scanning::Softmax { axis, flatten: true, .. }
            | Scanning::LogSoftmax { axis, flatten: true }
            | Scanning::Hardmax { axis, flatten: true },
        ) if opset >= 13 => Some(*axis),
        _ => None,
    }
}
