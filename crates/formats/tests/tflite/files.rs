//! Files that the TFLite converter wrote, in `testdata/tflite`: what they become, and that no change of their bytes does
//! more than give an error.

use std::fmt::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use calipers_formats::tflite;
use calipers_ir::{Graph, Model};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tflite").join(format!("{name}.tflite"))
}

const NAMES: [&str; 8] =
    ["batch", "buffers_outside", "dynamic_range", "float16", "int8", "int16x8", "lstm", "two_signatures"];

/// Inputs, nodes and outputs, without names of nodes and without constants.
fn structure(model: &Model) -> String {
    let mut text = String::new();
    for graph in std::iter::once(&model.graph).chain(model.subgraphs.values()) {
        let _ = writeln!(text, "graph {}", graph.name());
        for &input in graph.inputs() {
            let _ = writeln!(text, "  input {}", stated(graph, input));
        }
        for node in graph.nodes() {
            let inputs: Vec<String> =
                node.inputs.iter().map(|input| input.map_or("_".into(), |id| short(graph, id))).collect();
            let outputs: Vec<String> = node.outputs.iter().map(|&id| stated(graph, id)).collect();
            let attributes: Vec<String> =
                node.op.attributes().iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            let _ = write!(text, "  {} = {}({})", outputs.join(", "), node.op, inputs.join(", "));
            let _ = writeln!(text, " {} {:?}", attributes.join(" "), node.metadata);
        }
        let outputs: Vec<String> = graph.outputs().iter().map(|&id| short(graph, id)).collect();
        let _ = writeln!(text, "  output {}", outputs.join(", "));
    }
    for signature in tflite::signatures(model) {
        let _ = writeln!(text, "{signature:?}");
    }
    text
}

/// Values by number, constants by type.
fn short(graph: &Graph, id: calipers_ir::ValueId) -> String {
    match graph.constant(id) {
        Some(constant) => constant.tensor_type().to_string(),
        None => format!("%{}", id.index()),
    }
}

fn stated(graph: &Graph, id: calipers_ir::ValueId) -> String {
    format!("%{} {:?} {}", id.index(), graph.value(id).name, graph.value(id).ty)
}

#[test]
fn converted_networks_have_this_structure() {
    for name in NAMES {
        let model = tflite::read(path(name)).unwrap();
        insta::assert_snapshot!(name, structure(&model));
    }
}

#[test]
fn buffers_after_the_flatbuffer_hold_the_same_constants() {
    let [inside, outside] =
        ["dynamic_range", "buffers_outside"].map(|name| tflite::read(path(name)).unwrap());
    let constant =
        |model: &Model, name: &str| Some(model.graph.constant(model.graph.value_named(name)?)?.clone());
    // What is too small to be quantized is in both files.
    let floats = inside.graph.constants().iter().filter(|(_, tensor)| tensor.as_f32().is_some());
    let names =
        floats.map(|(&id, _)| inside.graph.value(id).name.as_str()).filter(|name| name.starts_with("model"));
    let shared: Vec<&str> = names.filter(|name| constant(&outside, name).is_some()).collect();
    assert!(shared.len() >= 2, "{shared:?}");
    for name in shared {
        assert_eq!(constant(&inside, name), constant(&outside, name), "{name}");
    }
}

#[test]
fn a_file_that_is_cut_short_is_an_error() {
    for name in NAMES {
        let bytes = Bytes::from(std::fs::read(path(name)).unwrap());
        for end in (0..bytes.len()).step_by(7) {
            // What stands at the end may be padding, or metadata that nothing reads.
            let _ = tflite::parse(bytes.slice(..end));
        }
        assert!(tflite::parse(bytes.slice(..bytes.len() / 2)).is_err(), "{name}");
        assert!(tflite::parse(bytes.slice(..8)).is_err(), "{name}");
    }
}

#[test]
fn no_changed_byte_makes_the_reader_panic() {
    for name in NAMES {
        let bytes = std::fs::read(path(name)).unwrap();
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[position] ^= [0x01, 0x80, 0xff][position % 3];
            let _ = tflite::parse(Bytes::from(changed));
        }
    }
}

#[test]
fn no_changed_number_makes_the_reader_panic() {
    for name in NAMES {
        let bytes = std::fs::read(path(name)).unwrap();
        for position in (0..bytes.len().saturating_sub(4)).step_by(4) {
            let numbers = [0, u32::MAX, i32::MAX as u32, i32::MIN as u32, bytes.len() as u32, 1 << 16, 1];
            let mut changed = bytes.clone();
            changed[position..position + 4].copy_from_slice(&numbers[position / 4 % 7].to_le_bytes());
            let _ = tflite::parse(Bytes::from(changed));
        }
    }
}
