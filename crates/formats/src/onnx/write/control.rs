//! Nodes that run graphs: the graphs as attributes, what they capture by name.

use calipers_ir::{Control, Graph, Node, Subgraph};

use super::super::WriteError;
use super::super::attributes::{int_proto, ints_proto};
use super::super::messages::{AttributeProto, AttributeType, NodeProto};
use super::graph::{Around, GraphWriter, graph};

impl GraphWriter<'_, '_> {
    /// Completes the message of a node that runs graphs.
    pub fn control(
        &mut self,
        proto: &mut NodeProto,
        node: &Node,
        control: &Control,
    ) -> Result<(), WriteError> {
        let fail = |reason: String| WriteError::Node {
            node: node.name.clone(),
            op: node.op.name().to_owned(),
            reason,
        };
        let (captures, graphs): (i64, Vec<(&str, &Subgraph)>) = match control {
            Control::If { then_branch, else_branch, captures } => {
                (*captures, vec![("then_branch", then_branch), ("else_branch", else_branch)])
            }
            Control::Loop { body, captures } => (*captures, vec![("body", body)]),
            Control::Scan {
                body,
                num_scan_inputs,
                scan_input_axes,
                scan_input_directions,
                scan_output_axes,
                scan_output_directions,
                captures,
            } => {
                proto.attribute.push(int_proto("num_scan_inputs", *num_scan_inputs));
                for (name, values) in [
                    ("scan_input_axes", scan_input_axes),
                    ("scan_input_directions", scan_input_directions),
                    ("scan_output_axes", scan_output_axes),
                    ("scan_output_directions", scan_output_directions),
                ] {
                    if !values.is_empty() {
                        proto.attribute.push(ints_proto(name, values.clone()));
                    }
                }
                (*captures, vec![("body", body)])
            }
            Control::While { .. } => {
                return Err(fail(String::from("ONNX has no such operator; it is one of TFLite")));
            }
        };
        let captured = usize::try_from(captures).ok().filter(|&count| count <= proto.input.len());
        let Some(captured) = captured else {
            let found = proto.input.len();
            return Err(fail(format!("it has {captures} captured inputs of {found} in all")));
        };
        let captured = proto.input.split_off(proto.input.len() - captured);
        for (attribute, key) in graphs {
            let subgraph: &Graph = self.file.model.subgraphs.get(&key.0).ok_or_else(|| {
                fail(format!(
                    "attribute `{attribute}` names the graph `{}`, which the model does not have",
                    key.0
                ))
            })?;
            if subgraph.inputs().len() < captured.len() {
                return Err(fail(format!(
                    "the graph `{}` has {} inputs, {} of them captured",
                    key.0,
                    subgraph.inputs().len(),
                    captured.len()
                )));
            }
            let around = Around {
                captured: captured.clone(),
                taken: self.taken.clone(),
                constants: self.constants.clone(),
                depth: self.depth + 1,
            };
            let (message, read) = graph(self.file, subgraph, around)?;
            self.read.extend(read);
            proto.attribute.push(AttributeProto {
                name: attribute.to_owned(),
                r#type: AttributeType::Graph as i32,
                g: Some(Box::new(message)),
                ..Default::default()
            });
        }
        while proto.input.last().is_some_and(String::is_empty) {
            proto.input.pop();
        }
        Ok(())
    }
}
