//! Graphs to text.

use std::fmt::{self, Write as _};

use crate::{Attribute, DType, Dim, Graph, Requantization, Tensor, TensorType, ValueId};

/// How much of the constants is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constants {
    /// All of them; the text parses back to the same graph.
    Whole,
    /// Those of more than 16 elements as `...`, for reading.
    Elided,
}

const ELIDED_FROM: usize = 17;

/// The text form of a graph.
pub fn to_text(graph: &Graph, constants: Constants) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write(&mut text, graph, constants);
    text
}

/// Writes the text form of a graph.
///
/// # Errors
/// Those of the writer.
pub fn write(out: &mut dyn fmt::Write, graph: &Graph, constants: Constants) -> fmt::Result {
    writeln!(out, "graph {} {{", Name(graph.name()))?;
    if graph.requantization() == Requantization::TfLite {
        out.write_str("  requantize tflite\n")?;
    }
    for &id in graph.inputs() {
        writeln!(out, "  input {}", typed(graph, id))?;
    }
    for (&id, tensor) in graph.constants() {
        write!(out, "  const {} = ", typed(graph, id))?;
        if constants == Constants::Elided && tensor.len() >= ELIDED_FROM {
            out.write_str("...")?;
        } else {
            write_elements(out, tensor)?;
        }
        out.write_char('\n')?;
    }
    for node in graph.nodes() {
        write!(out, "  node {}", Name(&node.name))?;
        for (index, &output) in node.outputs.iter().enumerate() {
            write!(out, "{}{}", if index == 0 { " " } else { ", " }, typed(graph, output))?;
        }
        write!(out, " = {}(", Name(node.op.name()))?;
        for (index, input) in node.inputs.iter().enumerate() {
            out.write_str(if index == 0 { "" } else { ", " })?;
            match input {
                Some(id) => write!(out, "%{}", Name(&graph.value(*id).name))?,
                None => out.write_char('_')?,
            }
        }
        out.write_char(')')?;
        let attributes = node.op.attributes();
        let mut separator = " {";
        for (name, attribute) in &attributes {
            write!(out, "{separator}{} = ", Name(name))?;
            write_attribute(out, attribute)?;
            separator = ", ";
        }
        for (key, value) in &node.metadata {
            write!(out, "{separator}@{} = {}", Quoted(key.as_bytes()), Quoted(value.as_bytes()))?;
            separator = ", ";
        }
        out.write_str(if separator == ", " { "}\n" } else { "\n" })?;
    }
    for &id in graph.outputs() {
        writeln!(out, "  output %{}", Name(&graph.value(id).name))?;
    }
    out.write_str("}\n")
}

fn typed(graph: &Graph, id: ValueId) -> String {
    let value = graph.value(id);
    format!("%{}: {}", Name(&value.name), Type(&value.ty))
}

struct Type<'a>(&'a TensorType);

impl fmt::Display for Type<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(shape) = &self.0.shape else {
            return write!(f, "{}[*]", self.0.dtype);
        };
        write!(f, "{}[", self.0.dtype)?;
        for (index, dim) in shape.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            match dim {
                Dim::Known(extent) => write!(f, "{extent}")?,
                // A name made of digits must not read as a number.
                Dim::Symbolic(name) if name.starts_with(|first: char| first.is_ascii_digit()) => {
                    write!(f, "{}", Quoted(name.as_bytes()))?;
                }
                Dim::Symbolic(name) => write!(f, "{}", Name(name))?,
            }
        }
        f.write_char(']')
    }
}

/// A name, quoted where it needs to be.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = !self.0.is_empty()
            && self.0 != "_"
            && !self.0.starts_with([':', '.'])
            && !self.0.ends_with(':')
            && self.0.bytes().all(super::lexer::is_name_byte);
        if plain { f.write_str(self.0) } else { write!(f, "{}", Quoted(self.0.as_bytes())) }
    }
}

/// Bytes in double quotes; what is no printable ASCII as `\xNN`.
struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for &byte in self.0 {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", byte as char)?,
                b' '..=b'~' => f.write_char(byte as char)?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        f.write_char('"')
    }
}

fn write_list<T: fmt::Display>(out: &mut dyn fmt::Write, items: impl IntoIterator<Item = T>) -> fmt::Result {
    out.write_char('[')?;
    for (index, item) in items.into_iter().enumerate() {
        write!(out, "{}{item}", if index == 0 { "" } else { ", " })?;
    }
    out.write_char(']')
}

/// Shortest digits that parse back to the same bits.
struct Exact<T>(T);

impl<T: fmt::Debug> fmt::Display for Exact<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

fn write_elements(out: &mut dyn fmt::Write, tensor: &Tensor) -> fmt::Result {
    if let Some(strings) = tensor.strings() {
        return write_list(out, strings.iter().map(|string| Quoted(string)));
    }
    if let Some(integers) = tensor.to_integers() {
        return write_list(out, integers);
    }
    if tensor.dtype() == DType::F32
        && let Some(floats) = tensor.as_f32()
        && !floats.iter().any(|float| float.is_nan())
    {
        return write_list(out, floats.iter().map(Exact));
    }
    out.write_str("0x")?;
    tensor.bytes().iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

fn write_tensor(out: &mut dyn fmt::Write, tensor: &Tensor) -> fmt::Result {
    write!(out, "{} = ", Type(&tensor.tensor_type()))?;
    write_elements(out, tensor)
}

fn write_attribute(out: &mut dyn fmt::Write, attribute: &Attribute) -> fmt::Result {
    match attribute {
        Attribute::Int(value) => write!(out, "{value}"),
        Attribute::Float(value) => write!(out, "{value:?}"),
        Attribute::String(value) => write!(out, "{}", Quoted(value)),
        Attribute::Type(dtype) => write!(out, "{dtype}"),
        Attribute::Graph(name) => write!(out, "graph({})", Quoted(name.as_bytes())),
        Attribute::Ints(values) => write_list(out, values),
        Attribute::Floats(values) => {
            out.write_str("floats")?;
            write_list(out, values.iter().map(Exact))
        }
        Attribute::Strings(values) => {
            out.write_str("strings")?;
            write_list(out, values.iter().map(|value| Quoted(value)))
        }
        Attribute::Graphs(names) => {
            out.write_str("graphs")?;
            write_list(out, names.iter().map(|name| Quoted(name.as_bytes())))
        }
        Attribute::Tensor(tensor) => {
            out.write_str("tensor(")?;
            write_tensor(out, tensor)?;
            out.write_char(')')
        }
        Attribute::Tensors(tensors) => {
            out.write_str("tensors(")?;
            for (index, tensor) in tensors.iter().enumerate() {
                out.write_str(if index == 0 { "" } else { ", " })?;
                write_tensor(out, tensor)?;
            }
            out.write_char(')')
        }
    }
}
