//! Readers of files: what they accept can be printed, written and read again.

use bytes::Bytes;
use calipers_formats::{onnx as onnx_files, tflite as tflite_files};
use calipers_ir::text::{Constants, parse, to_text};
use calipers_ir::{Graph, Model};

/// Reads the bytes as an ONNX file, without files beside it.
///
/// # Panics
/// When a model that was read does not print to a text that parses to the same, or what is written of it reads
/// differently.
pub fn onnx(bytes: &[u8]) {
    if let Ok(model) = onnx_files::parse(Bytes::copy_from_slice(bytes)) {
        prints(&model);
        writes(&model);
    }
}

/// Reads the bytes as a TFLite file.
///
/// # Panics
/// When a model that was read does not print to a text that parses to the same, or what is written of it as ONNX is
/// refused by the reader.
pub fn tflite(bytes: &[u8]) {
    if let Ok(model) = tflite_files::parse(Bytes::copy_from_slice(bytes)) {
        prints(&model);
        if let Ok(written) = onnx_files::to_bytes(&model) {
            onnx_files::parse(written.into()).expect("what is written can be read");
        }
    }
}

/// Parses the bytes as the text form of a graph.
///
/// # Panics
/// When a graph that was parsed does not print to a text that parses to the same.
pub fn text(bytes: &[u8]) {
    if let Some(graph) = std::str::from_utf8(bytes).ok().and_then(|text| parse(text).ok()) {
        print(&graph);
    }
}

fn prints(model: &Model) {
    print(&model.graph);
    model.subgraphs.values().for_each(print);
}

// Texts are compared, not graphs: a NaN differs from itself.
fn print(graph: &Graph) {
    let text = to_text(graph, Constants::Whole);
    let again =
        parse(&text).unwrap_or_else(|error| panic!("what is printed does not parse: {error}\n{text}"));
    assert_eq!(to_text(&again, Constants::Whole), text, "what is printed parses to something else");
}

fn writes(model: &Model) {
    let Ok(written) = onnx_files::to_bytes(model) else { return };
    let again = onnx_files::parse(written.into()).expect("what is written can be read");
    let text = |graph| to_text(graph, Constants::Whole);
    assert_eq!(text(&again.graph), text(&model.graph), "what is written reads as something else");
    assert_eq!(again.subgraphs.len(), model.subgraphs.len(), "subgraphs are lost");
}
