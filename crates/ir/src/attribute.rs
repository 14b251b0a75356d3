//! Untyped attributes: what an opaque operator carries, and what the text form is made of.

use indexmap::IndexMap;

use crate::{DType, Tensor};

/// Attributes by name, in file order.
pub type Attributes = IndexMap<String, Attribute>;

/// The value of one attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A signed integer.
    Int(i64),
    /// A 32-bit float.
    Float(f32),
    /// A string of any bytes.
    String(Vec<u8>),
    /// A constant.
    Tensor(Tensor),
    /// The name of a subgraph of the model.
    Graph(String),
    /// A storage type.
    Type(DType),
    /// A list of integers.
    Ints(Vec<i64>),
    /// A list of floats.
    Floats(Vec<f32>),
    /// A list of strings.
    Strings(Vec<Vec<u8>>),
    /// A list of constants.
    Tensors(Vec<Tensor>),
    /// A list of names of subgraphs of the model.
    Graphs(Vec<String>),
}
