//! What a model wants: its inputs by name, element type and shape.

use crate::samples::Element;

/// One extent of an input's shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// Always this many.
    Known(usize),
    /// Any number, the same wherever the name occurs; an empty name binds nothing.
    Symbolic(String),
}

impl Extent {
    /// The number when it is known.
    pub fn known(&self) -> Option<usize> {
        match self {
            Extent::Known(extent) => Some(*extent),
            Extent::Symbolic(_) => None,
        }
    }
}

impl From<usize> for Extent {
    fn from(extent: usize) -> Self {
        Extent::Known(extent)
    }
}

impl From<&str> for Extent {
    fn from(name: &str) -> Self {
        Extent::Symbolic(name.to_owned())
    }
}

impl std::fmt::Display for Extent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Extent::Known(extent) => write!(formatter, "{extent}"),
            Extent::Symbolic(name) if name.is_empty() => formatter.write_str("?"),
            Extent::Symbolic(name) => formatter.write_str(name),
        }
    }
}

/// How an integer input stands for real numbers: `real = scale * (stored - zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InputQuantization {
    /// Positive and finite.
    pub scale: f32,
    /// The stored number that stands for zero.
    pub zero_point: i64,
}

/// An input of a model, without those that have a default value of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInput {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub element: Element,
    /// Its shape, outermost first, batch axis included; `None` when not even the rank is known.
    pub shape: Option<Vec<Extent>>,
    /// For a quantized input (of a TFLite model), how images are brought to it. `None` otherwise:
    /// an integer input then takes pixels as they are.
    pub quantization: Option<InputQuantization>,
}

impl ModelInput {
    /// An input of known rank that is not quantized.
    pub fn new(name: impl Into<String>, element: Element, shape: Vec<Extent>) -> Self {
        ModelInput { name: name.into(), element, shape: Some(shape), quantization: None }
    }
}

impl std::fmt::Display for ModelInput {
    /// `x: f32 [N, 3, 224, 224]`.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {} ", self.name, self.element)?;
        match &self.shape {
            None => formatter.write_str("of unknown rank"),
            Some(shape) => {
                let extents: Vec<String> = shape.iter().map(Extent::to_string).collect();
                write!(formatter, "[{}]", extents.join(", "))
            }
        }
    }
}

/// Several inputs in one line, for messages.
pub(crate) fn listed<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "none".to_owned() } else { items.join("; ") }
}
