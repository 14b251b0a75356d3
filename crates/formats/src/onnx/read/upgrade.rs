//! Nodes of older operator sets in the form of the newest one. What newer sets take as an input becomes a constant.

use calipers_ir::{DType, Tensor, ValueId};

use super::super::attributes::{int_proto, string_proto};
use super::super::messages::{AttributeProto, NodeProto};
use super::super::types::code_of;
use super::graph::GraphReader;

/// A node of the file with its arguments.
#[derive(Clone)]
pub(super) struct Call {
    /// The node; its `input` counts no longer.
    pub proto: NodeProto,
    /// Its unique name.
    pub name: String,
    /// Its arguments.
    pub inputs: Vec<Option<ValueId>>,
}

impl Call {
    pub fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// An attribute, taken out of the node.
    pub fn take(&mut self, name: &str) -> Option<AttributeProto> {
        let index = self.proto.attribute.iter().position(|attribute| attribute.name == name)?;
        Some(self.proto.attribute.remove(index))
    }

    fn has(&self, name: &str) -> bool {
        self.proto.attribute.iter().any(|attribute| attribute.name == name)
    }

    /// Sets an argument, with absent ones before it.
    fn set_input(&mut self, index: usize, value: ValueId) {
        if self.inputs.len() <= index {
            self.inputs.resize(index + 1, None);
        }
        self.inputs[index] = Some(value);
    }

    /// Numbers of an attribute as a constant argument.
    fn ints_to_input(&mut self, graph: &mut GraphReader, name: &str, index: usize) -> Result<(), String> {
        let Some(attribute) = self.take(name) else { return Ok(()) };
        let count = attribute.ints.len();
        let tensor = Tensor::from_vec([count], attribute.ints).map_err(|error| error.to_string())?;
        let constant = graph.constant(&format!("{}/{name}", self.name), tensor)?;
        self.set_input(index, constant);
        Ok(())
    }

    /// A number of an attribute as a constant argument of rank 0 or 1.
    fn int_to_input(
        &mut self,
        graph: &mut GraphReader,
        name: &str,
        index: usize,
        (value, shape): (i64, &[usize]),
    ) -> Result<(), String> {
        let tensor = Tensor::from_vec(shape, vec![value]).map_err(|error| error.to_string())?;
        let constant = graph.constant(&format!("{}/{name}", self.name), tensor)?;
        self.set_input(index, constant);
        Ok(())
    }

    /// A number of an attribute as a constant argument of the type of the first one.
    fn float_to_input(
        &mut self,
        graph: &mut GraphReader,
        name: &str,
        index: usize,
        absent: Option<f32>,
    ) -> Result<(), String> {
        let Some(value) = self.take(name).map(|attribute| attribute.f()).or(absent) else { return Ok(()) };
        let tensor = match self.input(0).map(|id| graph.editor.value(id).ty.dtype) {
            Some(DType::F32) => Tensor::scalar(value),
            Some(DType::F64) => Tensor::scalar(f64::from(value)),
            other => {
                let found = other.map_or_else(|| String::from("no input"), |dtype| dtype.to_string());
                return Err(format!("attribute `{name}` is read for f32 and f64 alone, found {found}"));
            }
        };
        let constant = graph.constant(&format!("{}/{name}", self.name), tensor)?;
        self.set_input(index, constant);
        Ok(())
    }
}

/// Brings a node of the default operator set in that version to the newest form. `Some` says why there is none.
pub(super) fn to_newest(
    call: &mut Call,
    version: i64,
    graph: &mut GraphReader,
) -> Result<Option<&'static str>, String> {
    match call.proto.op_type.as_str() {
        "Squeeze" | "Unsqueeze" | "ReduceSum" if version < 13 => call.ints_to_input(graph, "axes", 1)?,
        name if name.starts_with("Reduce") && version < 18 && name != "ReduceSum" => {
            call.ints_to_input(graph, "axes", 1)?;
        }
        "Split" => {
            if version < 13 {
                call.ints_to_input(graph, "split", 1)?;
            }
            // Without it the number of parts of computed extents would be unknown.
            if !call.has("num_outputs") && call.input(1).is_none_or(|id| graph.editor.constant(id).is_none())
            {
                let parts = call.proto.output.len() as i64;
                call.proto.attribute.push(int_proto("num_outputs", parts));
            }
        }
        "Softmax" | "LogSoftmax" | "Hardmax" if version < 13 => flatten(call, graph),
        "Clip" if version < 11 => {
            call.float_to_input(graph, "min", 1, None)?;
            call.float_to_input(graph, "max", 2, None)?;
        }
        "Pad" if version < 11 => {
            call.ints_to_input(graph, "pads", 1)?;
            call.float_to_input(graph, "value", 2, Some(0.0))?;
        }
        "Slice" if version < 10 => {
            for (index, name) in ["starts", "ends", "axes"].into_iter().enumerate() {
                call.ints_to_input(graph, name, index + 1)?;
            }
        }
        "TopK" if version < 10 => {
            let k = call.take("k").ok_or("attribute `k` is missing")?.i();
            call.int_to_input(graph, "k", 1, (k, &[1]))?;
        }
        "Upsample" => upsample(call, version, graph)?,
        "Resize" => resize(call, version, graph),
        "Scatter" => call.proto.op_type = String::from("ScatterElements"),
        "GridSample" if version < 20 => {
            let mode = call.take("mode").map_or_else(|| b"bilinear".to_vec(), |mode| mode.s().to_vec());
            let newest = match mode.as_slice() {
                b"bilinear" => "linear",
                b"bicubic" => "cubic",
                _ => "nearest",
            };
            call.proto.attribute.push(string_proto("mode", newest));
        }
        "GroupNormalization" if version < 21 => {
            call.proto.attribute.push(int_proto("scale_per_group", 1));
        }
        "DFT" if version < 20 => {
            let axis = call.take("axis").map_or(1, |axis| axis.i());
            call.int_to_input(graph, "axis", 2, (axis, &[]))?;
        }
        "RoiAlign" if version < 16 && !call.has("coordinate_transformation_mode") => {
            call.proto.attribute.push(string_proto("coordinate_transformation_mode", "output_half_pixel"));
        }
        "BatchNormalization" if version < 9 => {
            let spatial = call.take("spatial");
            if spatial.is_some_and(|spatial| spatial.i() != 1) {
                return Ok(Some("statistics of each element (`spatial` of 0) are not supported"));
            }
        }
        "SpaceToDepth" => {
            let mode = call.take("mode");
            if mode.is_some_and(|mode| mode.s() != b"DCR") {
                return Ok(Some("of the modes of SpaceToDepth only DCR is supported"));
            }
        }
        "Attention" => {
            for name in ["left_window_size", "right_window_size"] {
                if call.take(name).is_some_and(|size| size.i() != -1) {
                    return Ok(Some("attention over a sliding window is not supported"));
                }
            }
        }
        // It chooses the type of intermediate sums, which definitions choose for themselves.
        "Range" => drop(call.take("stash_type")),
        "CastLike" => {
            let like = call.input(1).ok_or("expected 2 inputs, found 1")?;
            let to = code_of(graph.editor.value(like).ty.dtype);
            call.proto.op_type = String::from("Cast");
            call.proto.attribute.push(int_proto("to", to.into()));
            call.inputs.truncate(1);
        }
        _ => {}
    }
    Ok(None)
}

/// Softmax over all axes from `axis` on, 1 unless given; over the last axis alone it is that of newer sets.
fn flatten(call: &mut Call, graph: &GraphReader) {
    let axis = call.take("axis").map_or(1, |axis| axis.i());
    let rank = call.input(0).and_then(|id| graph.editor.value(id).ty.rank());
    let last = axis == -1 || rank.is_some_and(|rank| axis + 1 == rank as i64);
    call.proto.attribute.push(int_proto("axis", axis));
    call.proto.attribute.push(int_proto("flatten", i64::from(!last)));
}

/// Upsample was Resize with sampling at `floor(x / scale)`.
fn upsample(call: &mut Call, version: i64, graph: &mut GraphReader) -> Result<(), String> {
    let scales = if version < 9 {
        let scales = call.take("scales").ok_or("attribute `scales` is missing")?.floats;
        let tensor = Tensor::from_vec([scales.len()], scales).map_err(|error| error.to_string())?;
        Some(graph.constant(&format!("{}/scales", call.name), tensor)?)
    } else {
        call.input(1)
    };
    call.proto.op_type = String::from("Resize");
    floor_sampling(call, scales);
    Ok(())
}

fn floor_sampling(call: &mut Call, scales: Option<ValueId>) {
    call.inputs = vec![call.input(0), None, scales];
    call.proto.attribute.push(string_proto("coordinate_transformation_mode", "asymmetric"));
    call.proto.attribute.push(string_proto("nearest_mode", "floor"));
}

fn resize(call: &mut Call, version: i64, graph: &GraphReader) {
    if version < 11 {
        let scales = call.input(1);
        return floor_sampling(call, scales);
    }
    // Empty tensors stand for absent ones.
    for input in call.inputs.iter_mut().skip(1) {
        if input.and_then(|id| graph.editor.constant(id)).is_some_and(Tensor::is_empty) {
            *input = None;
        }
    }
    while call.inputs.last().is_some_and(Option::is_none) {
        call.inputs.pop();
    }
}
