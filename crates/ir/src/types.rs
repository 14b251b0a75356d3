//! Types of values: storage type and shape, whose extents may be symbolic.

use std::fmt;
use std::sync::Arc;

use crate::DType;

/// One extent of a shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A number known before running.
    Known(usize),
    /// A number known only when running; equal names are equal numbers.
    Symbolic(Arc<str>),
}

impl Dim {
    /// A symbolic extent.
    pub fn symbolic(name: impl Into<Arc<str>>) -> Self {
        Dim::Symbolic(name.into())
    }

    /// The number, when it is known.
    pub fn known(&self) -> Option<usize> {
        match self {
            Dim::Known(extent) => Some(*extent),
            Dim::Symbolic(_) => None,
        }
    }

    /// Whether both can be the same number: unequal only when both are known and differ.
    pub fn compatible(&self, other: &Dim) -> bool {
        match (self, other) {
            (Dim::Known(a), Dim::Known(b)) => a == b,
            _ => true,
        }
    }
}

impl From<usize> for Dim {
    fn from(extent: usize) -> Self {
        Dim::Known(extent)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Known(extent) => write!(f, "{extent}"),
            Dim::Symbolic(name) => f.write_str(name),
        }
    }
}

/// Storage type and shape of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// How an element is stored.
    pub dtype: DType,
    /// Extents, outermost first; `None` when not even the rank is known.
    pub shape: Option<Vec<Dim>>,
}

impl TensorType {
    /// A type of known rank.
    pub fn new(dtype: DType, shape: impl IntoIterator<Item = impl Into<Dim>>) -> Self {
        TensorType { dtype, shape: Some(shape.into_iter().map(Into::into).collect()) }
    }

    /// A type of unknown rank.
    pub fn unranked(dtype: DType) -> Self {
        TensorType { dtype, shape: None }
    }

    /// Number of extents, when known.
    pub fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(Vec::len)
    }

    /// The whole shape as numbers, when all of them are known.
    pub fn known_shape(&self) -> Option<Vec<usize>> {
        self.shape.as_ref()?.iter().map(Dim::known).collect()
    }

    /// Whether a value of one type can stand where the other is declared: same storage type, no known
    /// extents that differ.
    pub fn compatible(&self, other: &TensorType) -> bool {
        self.dtype == other.dtype
            && match (&self.shape, &other.shape) {
                (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.compatible(b)),
                _ => true,
            }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(shape) = &self.shape else {
            return write!(f, "{}[*]", self.dtype);
        };
        write!(f, "{}[", self.dtype)?;
        for (index, dim) in shape.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{dim}")?;
        }
        f.write_str("]")
    }
}
