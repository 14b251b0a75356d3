//! The macro behind the families of operators: one table gives the enum, its names, arities and attributes.

use super::attributes::{Reader, Writer};
use crate::{Attribute, DType, Tensor};

/// A Rust type that an attribute can have.
pub(super) trait Field: Clone + PartialEq {
    /// The attribute; `None` where an optional one is absent.
    fn to_attribute(&self) -> Option<Attribute>;

    /// The value, or what the attribute must be.
    fn of_attribute(attribute: Attribute) -> Result<Self, &'static str>;
}

macro_rules! fields {
    ($($rust:ty, $expected:literal: $value:ident => $to:expr, $($from:pat => $back:expr),+;)*) => { $(
        impl Field for $rust {
            fn to_attribute(&self) -> Option<Attribute> {
                let $value = self;
                $to
            }

            fn of_attribute(attribute: Attribute) -> Result<Self, &'static str> {
                match attribute {
                    $($from => Ok($back),)+
                    _ => Err($expected),
                }
            }
        }
    )* };
}

fields! {
    i64, "an integer": value => Some(Attribute::Int(*value)), Attribute::Int(value) => value;
    f32, "a float": value => Some(Attribute::Float(*value)), Attribute::Float(value) => value;
    bool, "0 or 1": value => Some(Attribute::Int((*value).into())),
        Attribute::Int(0) => false, Attribute::Int(1) => true;
    DType, "a storage type": value => Some(Attribute::Type(*value)), Attribute::Type(value) => value;
    String, "a string of UTF-8": value => Some(Attribute::String(value.clone().into_bytes())),
        Attribute::String(value) => String::from_utf8(value).map_err(|_| "a string of UTF-8")?;
    Vec<i64>, "a list of integers": value => Some(Attribute::Ints(value.clone())),
        Attribute::Ints(value) => value;
    Vec<f32>, "a list of floats": value => Some(Attribute::Floats(value.clone())),
        Attribute::Floats(value) => value;
    Vec<String>, "a list of strings of UTF-8":
        value => Some(Attribute::Strings(value.iter().map(|word| word.clone().into_bytes()).collect())),
        Attribute::Strings(value) => value
            .into_iter()
            .map(|word| String::from_utf8(word).map_err(|_| "a list of strings of UTF-8"))
            .collect::<Result<_, _>>()?;
    Tensor, "a tensor": value => Some(Attribute::Tensor(value.clone())), Attribute::Tensor(value) => value;
    Subgraph, "a graph": value => Some(Attribute::Graph(value.0.clone())),
        Attribute::Graph(value) => Subgraph(value);
}

impl<T: Field> Field for Option<T> {
    fn to_attribute(&self) -> Option<Attribute> {
        self.as_ref().and_then(Field::to_attribute)
    }

    fn of_attribute(attribute: Attribute) -> Result<Self, &'static str> {
        T::of_attribute(attribute).map(Some)
    }
}

/// The name of a subgraph of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Subgraph(pub String);

/// An enum of operators that differ in name and attributes alone.
pub(super) trait Family: Sized {
    /// The name of the operator.
    fn name(&self) -> &'static str;

    /// Smallest and largest number of inputs.
    fn input_arity(&self) -> (usize, usize);

    /// Writes the attributes that differ from their defaults.
    fn write(&self, out: &mut Writer);

    /// The operator of that name; `None` when it is none of the family.
    fn read(name: &str, attributes: &mut Reader<'_>) -> Option<Result<Self, String>>;
}

/// Calls a function whose errors `?` hands on.
pub(super) fn attempt<T>(make: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    make()
}

/// Declares a [`Family`]: each line is a variant, its name in the text form and in ONNX, its smallest and largest
/// number of inputs, and its attributes (named as in ONNX) with their defaults.
macro_rules! family {
    (
        $(#[$meta:meta])*
        $family:ident {
            $(
                $(#[$doc:meta])*
                $variant:ident = $name:literal, $least:literal..=$most:tt
                $({ $( $(#[$field_doc:meta])* $field:ident : $ty:ty = $default:expr ),+ $(,)? })?
            ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)] // Attributes without a line are those of the ONNX page.
        pub enum $family {
            $( $(#[$doc])* $variant $({ $( $(#[$field_doc])* $field: $ty ),+ })? ),+
        }

        impl $crate::op::family::Family for $family {
            fn name(&self) -> &'static str {
                match self {
                    $( Self::$variant $({ $($field: _),+ })? => $name ),+
                }
            }

            fn input_arity(&self) -> (usize, usize) {
                match self {
                    $( Self::$variant $({ $($field: _),+ })? => ($least, $crate::op::family::most!($most)) ),+
                }
            }

            fn write(&self, out: &mut $crate::op::attributes::Writer) {
                match self {
                    $( Self::$variant $({ $($field),+ })? => {
                        $($( out.field(stringify!($field), $field, &$default); )+)?
                    } ),+
                }
                let _ = out;
            }

            fn read(
                name: &str,
                attributes: &mut $crate::op::attributes::Reader<'_>,
            ) -> Option<Result<Self, String>> {
                let _ = &attributes;
                match name {
                    $( $name => Some($crate::op::family::attempt(|| Ok(Self::$variant $({
                        $( $field: attributes.field(stringify!($field), $default)? ),+
                    })?))), )+
                    _ => None,
                }
            }
        }
    };
}

macro_rules! most {
    (any) => {
        usize::MAX
    };
    ($most:literal) => {
        $most
    };
}

pub(super) use {family, most};
