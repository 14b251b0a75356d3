//! Text to graphs.

use std::collections::BTreeMap;

use bytes::Bytes;
use thiserror::Error;

use super::lexer::{Placed, Token, tokens};
use crate::{
    Attribute, Attributes, DType, Dim, Graph, GraphEditor, Op, Requantization, Tensor, TensorType, ValueId,
};

/// Where a text stops being a graph.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}, column {column}: expected {expected}, found {found}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1.
    pub column: usize,
    /// What could stand there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

type Result<T> = std::result::Result<T, ParseError>;

/// The graph of a text form, verified.
///
/// # Errors
/// The first place where the text is no graph, or where the graph breaks an invariant.
pub fn parse(text: &str) -> Result<Graph> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0 };
    let graph = parser.graph()?;
    match parser.next() {
        Token::End => Ok(graph),
        _ => {
            parser.at -= 1;
            parser.fail("the end after the graph")
        }
    }
}

struct Parser {
    tokens: Vec<Placed>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)].token
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn fail<T>(&self, expected: &str) -> Result<T> {
        let found = match self.peek() {
            Token::Word(word) => format!("`{word}`"),
            Token::Quoted(string) => format!("\"{}\"", String::from_utf8_lossy(string)),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::Elided => String::from("`...`"),
            Token::End => String::from("the end of the text"),
        };
        self.fail_with(expected, &found)
    }

    fn fail_with<T>(&self, expected: &str, found: &str) -> Result<T> {
        let place = &self.tokens[self.at.min(self.tokens.len() - 1)];
        Err(ParseError {
            line: place.line,
            column: place.column,
            expected: expected.to_owned(),
            found: found.to_owned(),
        })
    }

    fn at_sign(&mut self, sign: char) -> bool {
        let found = *self.peek() == Token::Sign(sign);
        self.at += usize::from(found);
        found
    }

    fn sign(&mut self, sign: char) -> Result<()> {
        if self.at_sign(sign) { Ok(()) } else { self.fail(&format!("`{sign}`")) }
    }

    fn word(&mut self, expected: &str) -> Result<String> {
        let Token::Word(word) = self.peek().clone() else {
            return self.fail(expected);
        };
        self.at += 1;
        Ok(word)
    }

    fn quoted(&mut self) -> Result<Vec<u8>> {
        let Token::Quoted(string) = self.peek().clone() else {
            return self.fail("a string in double quotes");
        };
        self.at += 1;
        Ok(string)
    }

    fn quoted_utf8(&mut self) -> Result<String> {
        match String::from_utf8(self.quoted()?) {
            Ok(string) => Ok(string),
            Err(_) => self.fail_with("a string in UTF-8", "other bytes"),
        }
    }

    fn name(&mut self) -> Result<String> {
        match self.peek() {
            Token::Quoted(_) => self.quoted_utf8(),
            _ => self.word("a name"),
        }
    }

    fn list<T>(&mut self, open: char, close: char, item: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.sign(open)?;
        let mut items = Vec::new();
        while !self.at_sign(close) {
            if !items.is_empty() {
                self.sign(',')?;
            }
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn number<T: std::str::FromStr>(&mut self, expected: &str) -> Result<T> {
        let word = self.word(expected)?;
        word.parse().or_else(|_| {
            self.at -= 1;
            self.fail(expected)
        })
    }

    fn graph(&mut self) -> Result<Graph> {
        if self.word("`graph`")? != "graph" {
            self.at -= 1;
            return self.fail("`graph`");
        }
        let mut editor = GraphEditor::new(self.name()?);
        self.sign('{')?;
        while !self.at_sign('}') {
            let expected = "`requantize`, `input`, `const`, `node`, `output` or `}`";
            match self.word(expected)?.as_str() {
                "requantize" => match self.word("`tflite`")?.as_str() {
                    "tflite" => editor.set_requantization(Requantization::TfLite),
                    _ => {
                        self.at -= 1;
                        return self.fail("`tflite`");
                    }
                },
                "input" => {
                    let (name, ty) = self.typed_name()?;
                    let added = editor.add_input(name, ty).map(drop);
                    self.edited(added)?;
                }
                "const" => {
                    let (name, ty) = self.typed_name()?;
                    self.sign('=')?;
                    let tensor = self.elements(&ty)?;
                    let added = editor.add_constant(name, tensor).map(drop);
                    self.edited(added)?;
                }
                "node" => self.node(&mut editor)?,
                "output" => {
                    let id = self.reference(&editor)?;
                    editor.add_output(id);
                }
                _ => {
                    self.at -= 1;
                    return self.fail(expected);
                }
            }
        }
        let built = editor.build();
        self.edited(built)
    }

    fn edited<T, E: std::fmt::Display>(&self, result: std::result::Result<T, E>) -> Result<T> {
        result.or_else(|error| self.fail_with("a valid graph", &error.to_string()))
    }

    fn reference(&mut self, editor: &GraphEditor) -> Result<ValueId> {
        self.sign('%')?;
        let name = self.name()?;
        match editor.value_named(&name) {
            Some(id) => Ok(id),
            None => {
                self.at -= 1;
                self.fail("a value defined above")
            }
        }
    }

    fn typed_name(&mut self) -> Result<(String, TensorType)> {
        self.sign('%')?;
        let name = self.name()?;
        self.sign(':')?;
        Ok((name, self.tensor_type()?))
    }

    fn dtype(&mut self) -> Result<DType> {
        self.number("a storage type such as f32 or i8")
    }

    fn tensor_type(&mut self) -> Result<TensorType> {
        let dtype = self.dtype()?;
        if self.tokens.get(self.at + 1).is_some_and(|placed| placed.token == Token::Sign('*')) {
            self.list('[', ']', |parser| parser.sign('*'))?;
            return Ok(TensorType::unranked(dtype));
        }
        let shape = self.list('[', ']', |parser| {
            if let Token::Word(word) = parser.peek()
                && let Ok(extent) = word.parse()
            {
                parser.at += 1;
                return Ok(Dim::Known(extent));
            }
            Ok(Dim::symbolic(parser.name()?))
        })?;
        Ok(TensorType::new(dtype, shape))
    }

    fn elements(&mut self, ty: &TensorType) -> Result<Tensor> {
        let Some(shape) = ty.known_shape() else {
            return self.fail_with("a constant of known shape", &ty.to_string());
        };
        if *self.peek() == Token::Elided {
            return self.fail("the elements; a text with left-out constants is for reading only");
        }
        if let Token::Word(word) = self.peek()
            && let Some(digits) = word.strip_prefix("0x")
        {
            let bytes: Option<Vec<u8>> = (0..digits.len())
                .step_by(2)
                .map(|at| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
                .collect();
            let Some(bytes) = bytes else {
                return self.fail("pairs of hexadecimal digits");
            };
            self.at += 1;
            return self.edited(Tensor::new(ty.dtype, shape, Bytes::from(bytes)));
        }
        macro_rules! numbers {
            ($element:ty) => {{
                let numbers =
                    self.list('[', ']', |parser| parser.number::<$element>("a number of the type"))?;
                self.edited(Tensor::from_vec(shape, numbers))
            }};
        }
        match ty.dtype {
            DType::I8 => numbers!(i8),
            DType::I16 => numbers!(i16),
            DType::I32 => numbers!(i32),
            DType::I64 => numbers!(i64),
            DType::U8 => numbers!(u8),
            DType::U16 => numbers!(u16),
            DType::U32 => numbers!(u32),
            DType::U64 => numbers!(u64),
            DType::F32 => numbers!(f32),
            DType::String => {
                let strings = self.list('[', ']', Self::quoted)?;
                self.edited(Tensor::from_strings(shape, strings))
            }
            _ => self.fail("`0x` and the bytes in hexadecimal"),
        }
    }

    fn tensor(&mut self) -> Result<Tensor> {
        let ty = self.tensor_type()?;
        self.sign('=')?;
        self.elements(&ty)
    }

    fn node(&mut self, editor: &mut GraphEditor) -> Result<()> {
        let name = self.name()?;
        let mut outputs = Vec::new();
        while !self.at_sign('=') {
            if !outputs.is_empty() {
                self.sign(',')?;
            }
            outputs.push(self.typed_name()?);
        }
        let op_name = self.name()?;
        let inputs = self.list('(', ')', |parser| {
            if matches!(parser.peek(), Token::Word(word) if word == "_") {
                parser.at += 1;
                return Ok(None);
            }
            parser.reference(editor).map(Some)
        })?;
        let mut attributes = Attributes::new();
        let mut metadata = BTreeMap::new();
        if self.at_sign('{') {
            while !self.at_sign('}') {
                if !attributes.is_empty() || !metadata.is_empty() {
                    self.sign(',')?;
                }
                if self.at_sign('@') {
                    let key = self.quoted_utf8()?;
                    self.sign('=')?;
                    metadata.insert(key, self.quoted_utf8()?);
                } else {
                    let key = self.name()?;
                    self.sign('=')?;
                    attributes.insert(key, self.attribute()?);
                }
            }
        }
        let op = match Op::from_attributes(&op_name, attributes) {
            Ok(op) => op,
            Err(reason) => return self.fail_with(&format!("a known operator for node `{name}`"), &reason),
        };
        let added = editor.add_typed_node(name.clone(), op, &inputs, outputs);
        self.edited(added)?;
        editor.set_metadata(&name, metadata);
        Ok(())
    }

    fn attribute(&mut self) -> Result<Attribute> {
        match self.peek().clone() {
            Token::Quoted(_) => Ok(Attribute::String(self.quoted()?)),
            Token::Sign('[') => {
                Ok(Attribute::Ints(self.list('[', ']', |parser| parser.number("an integer"))?))
            }
            Token::Word(word) => {
                if let Ok(value) = word.parse() {
                    self.at += 1;
                    return Ok(Attribute::Int(value));
                }
                if let Ok(dtype) = word.parse() {
                    self.at += 1;
                    return Ok(Attribute::Type(dtype));
                }
                if let Ok(value) = word.parse() {
                    self.at += 1;
                    return Ok(Attribute::Float(value));
                }
                self.at += 1;
                match word.as_str() {
                    "floats" => {
                        Ok(Attribute::Floats(self.list('[', ']', |parser| parser.number("a float"))?))
                    }
                    "strings" => Ok(Attribute::Strings(self.list('[', ']', Self::quoted)?)),
                    "graphs" => Ok(Attribute::Graphs(self.list('[', ']', Self::quoted_utf8)?)),
                    "tensors" => Ok(Attribute::Tensors(self.list('(', ')', Self::tensor)?)),
                    "graph" | "tensor" => {
                        self.sign('(')?;
                        let attribute = if word == "graph" {
                            Attribute::Graph(self.quoted_utf8()?)
                        } else {
                            Attribute::Tensor(self.tensor()?)
                        };
                        self.sign(')')?;
                        Ok(attribute)
                    }
                    _ => {
                        self.at -= 1;
                        self.fail("the value of an attribute")
                    }
                }
            }
            _ => self.fail("the value of an attribute"),
        }
    }
}
