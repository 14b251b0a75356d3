//! ONNX: the operators of files mapped to and from those of the representation, all others kept as they are.
//!
//! Read are operator sets 7 to 28 of the default domain. Nodes of older sets are brought to the newest form: what is an
//! input there becomes a constant. Quantized operators (QLinearConv, and those of ONNX Runtime's `com.microsoft` set)
//! become Dequantize, the operator, Quantize; its fused operators become those they are made of. Calls of the model's
//! functions are replaced by the functions' nodes. Graphs that nodes run become subgraphs of the model, and what these
//! read from outside their last inputs. `Constant` nodes and initializers become constants, sparse ones dense; an
//! initializer that is also listed as an input counts as a constant. What a file says beside the meaning of the model
//! is kept under the metadata keys named here, and written back to its place.
//!
//! Written is the model's own operator set, in the forms that it has, or the first later one that can say all that the
//! model uses.
//!
//! Not kept, because the representation has no room for them: documentation and metadata of single values, tensors and
//! attributes, denotations of types and dimensions, placements on devices, and functions as such. Quantization
//! annotations are kept as text. Refused by name, because dropping them would change the model: training information,
//! sequences, maps and optional values, and kept operators with graphs of their own. A node that is kept as it is needs
//! the types of its outputs in the file.

mod attributes;
mod error;
mod messages;
mod read;
mod tensor;
mod types;
mod versions;
mod wire;
mod write;

pub use error::{ReadError, WriteError};
pub use read::{parse, read};
pub use write::{WriteOptions, to_bytes, write, write_with};

/// The first operator set that is read.
pub const OLDEST_OPSET: i64 = 7;
/// The last operator set that is read.
pub const NEWEST_OPSET: i64 = 28;

/// Keys of [`calipers_ir::Model::metadata`] and [`calipers_ir::Node::metadata`] for fields of the file that are no
/// free properties. Free properties stand under their own keys.
pub mod keys {
    /// Documentation of a model or a node.
    pub const DOC_STRING: &str = "onnx:doc_string";
    /// Documentation of the main graph.
    pub const GRAPH_DOC_STRING: &str = "onnx:graph_doc_string";
    /// Domain of a model, in reverse-DNS notation.
    pub const DOMAIN: &str = "onnx:domain";
    /// Version of a model.
    pub const MODEL_VERSION: &str = "onnx:model_version";
    /// Before the key of a property of the main graph.
    pub const GRAPH_PROPERTY: &str = "onnx:graph:";
    /// Before the name of a tensor whose quantization parameters the file annotates; the text lists the names of the
    /// tensors that hold them. It is kept as a property, not written back as an annotation.
    pub const QUANTIZATION: &str = "onnx:quantization:";
    /// Which overload of a function a node means.
    pub const OVERLOAD: &str = "onnx:overload";
    /// Positions, separated by commas, of the optional outputs that a node leaves out before its last output.
    pub const OUTPUTS_LEFT_OUT: &str = "onnx:outputs_left_out";
}

#[cfg(test)]
mod tests;
