//! Attributes of nodes: untyped ones kept as they are, and those of known operators taken by name and type.

use calipers_ir::Attribute;

use super::messages::{AttributeProto, AttributeType, TensorTypeProto, TypeProto, TypeValue};
use super::tensor::{self, TensorReader};
use super::types::{code_of, dtype_of, tensor_type_of};

/// Which value of an attribute counts. Old files do not say, but then fill only one.
fn kind_of(proto: &AttributeProto) -> Result<AttributeType, String> {
    if proto.r#type != AttributeType::Undefined as i32 {
        return AttributeType::try_from(proto.r#type)
            .map_err(|_| format!("attribute `{}` has the unknown type {}", proto.name, proto.r#type));
    }
    let filled = [
        (proto.f.is_some(), AttributeType::Float),
        (proto.i.is_some(), AttributeType::Int),
        (proto.s.is_some(), AttributeType::String),
        (proto.t.is_some(), AttributeType::Tensor),
        (proto.g.is_some(), AttributeType::Graph),
        (!proto.floats.is_empty(), AttributeType::Floats),
        (!proto.ints.is_empty(), AttributeType::Ints),
        (!proto.strings.is_empty(), AttributeType::Strings),
        (!proto.tensors.is_empty(), AttributeType::Tensors),
        (!proto.graphs.is_empty(), AttributeType::Graphs),
        (proto.sparse_tensor.is_some(), AttributeType::SparseTensor),
        (!proto.sparse_tensors.is_empty(), AttributeType::SparseTensors),
        (proto.tp.is_some(), AttributeType::TypeProto),
        (!proto.type_protos.is_empty(), AttributeType::TypeProtos),
    ];
    let mut kinds = filled.iter().filter(|(filled, _)| *filled).map(|(_, kind)| *kind);
    match (kinds.next(), kinds.next()) {
        (Some(kind), None) => Ok(kind),
        _ => Err(format!("attribute `{}` does not say its type", proto.name)),
    }
}

/// An attribute of an operator that is kept as read, or why it cannot be kept.
pub(super) fn keep(proto: AttributeProto, tensors: &mut TensorReader) -> Result<Attribute, String> {
    let name = &proto.name;
    if !proto.ref_attr_name.is_empty() {
        return Err(format!("attribute `{name}` refers to a function's attribute outside of a function"));
    }
    let in_attribute = |reason: String| format!("attribute `{name}`: {reason}");
    Ok(match kind_of(&proto)? {
        AttributeType::Float => Attribute::Float(proto.f.unwrap_or_default()),
        AttributeType::Int => Attribute::Int(proto.i.unwrap_or_default()),
        AttributeType::String => Attribute::String(proto.s.unwrap_or_default()),
        AttributeType::Tensor => {
            let tensor = proto.t.ok_or_else(|| format!("attribute `{name}` holds no tensor"))?;
            Attribute::Tensor(tensors.decode(*tensor).map_err(in_attribute)?)
        }
        AttributeType::Floats => Attribute::Floats(proto.floats),
        AttributeType::Ints => Attribute::Ints(proto.ints),
        AttributeType::Strings => Attribute::Strings(proto.strings),
        AttributeType::Tensors => {
            let tensors: Result<Vec<_>, _> =
                proto.tensors.into_iter().map(|tensor| tensors.decode(tensor)).collect();
            Attribute::Tensors(tensors.map_err(in_attribute)?)
        }
        AttributeType::TypeProto => {
            let ty = proto.tp.ok_or_else(|| format!("attribute `{name}` holds no type"))?;
            let ty = tensor_type_of(name, &ty).map_err(in_attribute)?;
            if ty.shape.is_some() {
                return Err(in_attribute(String::from("types with a shape are not supported")));
            }
            Attribute::Type(ty.dtype)
        }
        kind @ (AttributeType::Graph
        | AttributeType::Graphs
        | AttributeType::SparseTensor
        | AttributeType::SparseTensors
        | AttributeType::TypeProtos
        | AttributeType::Undefined) => {
            let what = match kind {
                AttributeType::Graph | AttributeType::Graphs => "subgraphs",
                AttributeType::TypeProtos => "lists of types",
                _ => "sparse tensors",
            };
            return Err(format!("attribute `{name}`: {what} are not supported"));
        }
    })
}

/// An attribute to write, or why it cannot be written.
pub(super) fn to_proto(name: &str, attribute: &Attribute) -> Result<AttributeProto, String> {
    let mut proto = AttributeProto { name: name.to_owned(), ..Default::default() };
    let kind = match attribute {
        Attribute::Int(value) => {
            proto.i = Some(*value);
            AttributeType::Int
        }
        Attribute::Float(value) => {
            proto.f = Some(*value);
            AttributeType::Float
        }
        Attribute::String(value) => {
            proto.s = Some(value.clone());
            AttributeType::String
        }
        Attribute::Tensor(value) => {
            proto.t = Some(Box::new(tensor::to_proto("", value)));
            AttributeType::Tensor
        }
        Attribute::Type(dtype) => {
            let ty = TensorTypeProto { elem_type: code_of(*dtype), shape: None };
            proto.tp = Some(Box::new(TypeProto { value: Some(TypeValue::Tensor(ty)), ..Default::default() }));
            AttributeType::TypeProto
        }
        Attribute::Ints(values) => {
            proto.ints = values.clone();
            AttributeType::Ints
        }
        Attribute::Floats(values) => {
            proto.floats = values.clone();
            AttributeType::Floats
        }
        Attribute::Strings(values) => {
            proto.strings = values.clone();
            AttributeType::Strings
        }
        Attribute::Tensors(values) => {
            proto.tensors = values.iter().map(|value| tensor::to_proto("", value)).collect();
            AttributeType::Tensors
        }
        Attribute::Graph(_) | Attribute::Graphs(_) => {
            return Err(format!("attribute `{name}`: subgraphs are not supported"));
        }
    };
    proto.r#type = kind as i32;
    Ok(proto)
}

/// The attributes of a node of a known operator, each of which is taken once.
pub(super) struct NodeAttributes<'a> {
    left: Vec<&'a AttributeProto>,
}

/// Largest number taken for an extent, stride or pad: enough for any window, and sums of it do not overflow.
const LARGEST: i64 = i32::MAX as i64;

impl<'a> NodeAttributes<'a> {
    pub fn new(attributes: &'a [AttributeProto]) -> Self {
        NodeAttributes { left: attributes.iter().collect() }
    }

    fn take(&mut self, name: &str, kind: AttributeType) -> Result<Option<&'a AttributeProto>, String> {
        let Some(index) = self.left.iter().position(|attribute| attribute.name == name) else {
            return Ok(None);
        };
        let attribute = self.left.remove(index);
        let found = kind_of(attribute)?;
        if found != kind {
            return Err(format!("attribute `{name}`: expected {kind:?}, found {found:?}"));
        }
        Ok(Some(attribute))
    }

    pub fn int(&mut self, name: &str) -> Result<Option<i64>, String> {
        Ok(self.take(name, AttributeType::Int)?.map(|attribute| attribute.i()))
    }

    pub fn ints(&mut self, name: &str) -> Result<Option<Vec<i64>>, String> {
        Ok(self.take(name, AttributeType::Ints)?.map(|attribute| attribute.ints.clone()))
    }

    pub fn flag(&mut self, name: &str, default: bool) -> Result<bool, String> {
        match self.int(name)? {
            None => Ok(default),
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            Some(other) => Err(format!("attribute `{name}`: expected 0 or 1, found {other}")),
        }
    }

    pub fn float(&mut self, name: &str, default: f32) -> Result<f32, String> {
        Ok(self.take(name, AttributeType::Float)?.map_or(default, |attribute| attribute.f()))
    }

    pub fn string(&mut self, name: &str) -> Result<Option<&'a [u8]>, String> {
        Ok(self.take(name, AttributeType::String)?.map(|attribute| attribute.s()))
    }

    /// A storage type by its number; 0 stands for none.
    pub fn dtype(&mut self, name: &str) -> Result<Option<calipers_ir::DType>, String> {
        match self.int(name)? {
            None | Some(0) => Ok(None),
            Some(code) => dtype_of(code).map(Some).map_err(|reason| format!("attribute `{name}`: {reason}")),
        }
    }

    /// A number from `least` to 2^31 - 1.
    pub fn size(&mut self, name: &str, least: i64, default: usize) -> Result<usize, String> {
        self.int(name)?.map_or(Ok(default), |value| size(name, least, value))
    }

    /// Numbers from `least` to 2^31 - 1.
    pub fn sizes(&mut self, name: &str, least: i64) -> Result<Option<Vec<usize>>, String> {
        let Some(attribute) = self.take(name, AttributeType::Ints)? else {
            return Ok(None);
        };
        attribute.ints.iter().map(|&value| size(name, least, value)).collect::<Result<_, _>>().map(Some)
    }

    /// That nothing is left.
    pub fn finish(self) -> Result<(), String> {
        match self.left.first() {
            Some(unknown) => Err(format!("the operator has no attribute `{}`", unknown.name)),
            None => Ok(()),
        }
    }
}

fn size(name: &str, least: i64, value: i64) -> Result<usize, String> {
    usize::try_from(value)
        .ok()
        .filter(|_| (least..=LARGEST).contains(&value))
        .ok_or_else(|| format!("attribute `{name}`: expected {least} to {LARGEST}, found {value}"))
}

/// An integer attribute.
pub(super) fn int_proto(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Int as i32,
        i: Some(value),
        ..Default::default()
    }
}

/// A float attribute.
pub(super) fn float_proto(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Float as i32,
        f: Some(value),
        ..Default::default()
    }
}

/// A string attribute.
pub(super) fn string_proto(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::String as i32,
        s: Some(value.as_bytes().to_vec()),
        ..Default::default()
    }
}

/// A list of integers as an attribute.
pub(super) fn ints_proto(name: &str, values: Vec<i64>) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Ints as i32,
        ints: values,
        ..Default::default()
    }
}
