//! What a model is: graphs of typed values and operators, their verification, shape inference and text form.
//!
//! A float model, a model in training and a quantized model are all the same [`Graph`], with or without
//! [`Op::QuantizeLinear`] and [`Op::DequantizeLinear`] nodes. This crate does no I/O, starts no threads and
//! knows no file format.
#![forbid(unsafe_code)]

mod attribute;
mod dtype;
mod edit;
mod graph;
mod infer;
mod op;
mod quant_params;
mod tensor;
pub mod text;
mod types;
mod verify;

pub use attribute::{Attribute, Attributes};
pub use dtype::DType;
pub use edit::{EditError, Fate, GraphEditor, Renames};
pub use graph::{Graph, Model, Node, NodeId, Requantization, Value, ValueId};
pub use infer::{InferError, infer};
pub use op::{
    Activation, BatchNormalization, BinaryKind, Clip, Control, Conv, ConvTranspose, Creation,
    DequantizeLinear, Gemm, Image, Indexing, Layout, Movement, Normalize, Op, Opaque, Pool, PoolKind,
    Product, QuantizeLinear, Recurrent, Reduce, Scanning, Select, Signal, Subgraph, UnaryKind, VariadicKind,
    Window,
};
pub use quant_params::QuantParams;
pub use tensor::{Element, Tensor, TensorError};
pub use types::{Dim, TensorType};
pub use verify::{VerifyError, verify};
