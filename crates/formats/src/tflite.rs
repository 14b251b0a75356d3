//! TFLite: files of schema version 3, as the TFLite converter, LiteRT's tools and others write them.
//!
//! The first subgraph becomes the graph, the others its subgraphs. Values have the names of the file's tensors, with
//! the tensor's index where a name is empty or used twice; nodes are called as the value that they make. The names that
//! signatures give to inputs and outputs are kept beside the graph: [`signatures`] tells them.
//!
//! Quantized operators become DequantizeLinear -> operator -> QuantizeLinear in a graph whose rule is
//! [`calipers_ir::Requantization::TfLite`]; operators that only move elements stay on integers. New names are those
//! that quantization here gives: nodes `<value>_QuantizeLinear` and `<value>_DequantizeLinear`, values
//! `<value>_QuantizeLinear_Input`, `<value>_DequantizeLinear_Output`, `<value>_scale` and `<value>_zero_point`. Nodes that
//! state a TFLite operator in ONNX's terms are called `<value>_<operator>`.
//!
//! A node with float activations and 8-bit constant weights, which LiteRT computes with activations that it quantizes
//! at each run (dynamic range), reads its weights from a DequantizeLinear and has [`keys::HYBRID`] in its metadata.
//!
//! Operators that cannot be said otherwise are kept as [`calipers_ir::Op::Opaque`] of the domain [`DOMAIN`] (custom ones
//! [`CUSTOM_DOMAIN`]) with the reason in their metadata. Variables, which keep their content from one run to the next,
//! begin at zero at each run here, as after LiteRT's `reset_all_variables`.
//!
//! Refused by name: sparse tensors, tensors of handles (resources, variants), data in files beside the model, parameters of
//! other quantization techniques than per tensor, per axis and in blocks.

mod buffers;
mod error;
mod operators;
mod options;
mod read;
mod schema;
mod signatures;
mod tensors;
mod types;

pub use error::ReadError;
pub use read::{parse, read};
pub use signatures::{Signature, signatures};

/// Domain of operators that are kept as they are, under their builtin names.
pub const DOMAIN: &str = "tflite";
/// Domain of operators that are not part of the format, under the names that the file gives them.
pub const CUSTOM_DOMAIN: &str = "tflite.custom";

/// Keys of [`calipers_ir::Model::metadata`] and [`calipers_ir::Node::metadata`].
pub mod keys {
    /// Description of the model.
    pub const DESCRIPTION: &str = "tflite:description";
    /// Before the name of a metadata buffer that holds text.
    pub const METADATA: &str = "tflite:metadata:";
    /// Before the name of a metadata buffer that holds other bytes, which are written as hexadecimal digits.
    pub const METADATA_BYTES: &str = "tflite:metadata_bytes:";
    /// Before what a signature says: its number, then `:key`, `:subgraph`, `:input:<name>` or `:output:<name>`.
    pub const SIGNATURE: &str = "tflite:signature:";
    /// On a node: LiteRT quantizes its float activations at each run, `symmetric` or `asymmetric` around zero or as a
    /// `depthwise` convolution does, and multiplies integers.
    pub const HYBRID: &str = calipers_ir::Node::HYBRID;
    /// On an opaque node: why it is one.
    pub const KEPT: &str = "tflite:kept";
    /// On an opaque node, before `input:<index>` or `output:<index>`: scales and zero points of a quantized tensor.
    pub const QUANTIZATION: &str = "tflite:quantization:";
}

#[cfg(test)]
mod tests;
