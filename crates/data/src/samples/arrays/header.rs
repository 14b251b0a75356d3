//! The header of an `.npy` array: magic, version, and a Python dictionary of type, order, shape.

use std::io::Read;
use std::path::Path;

use crate::samples::{Element, SamplesError, count};

/// Longest text of a header that is read; numpy itself reads no more than 10,000 bytes.
const LONGEST: usize = 1 << 16;

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub element: Element,
    pub fortran: bool,
    pub shape: Vec<usize>,
    /// Bytes before the first element.
    pub start: u64,
    /// Bytes of all elements.
    pub bytes: u64,
}

/// Reads the header at the front of `source`. `length` is how long the whole array is, header
/// included, as the file or archive has it.
pub(super) fn read(source: &mut dyn Read, length: u64, file: &Path) -> Result<Header, SamplesError> {
    let refuse = |problem: String| SamplesError::Array {
        file: file.to_owned(),
        problem,
        hint: "write the array with numpy.save, numpy.savez or numpy.savez_compressed",
    };
    let mut prefix = [0u8; 8];
    fill(source, &mut prefix, file, &refuse)?;
    let [magic @ .., major, _minor] = prefix;
    if magic != *b"\x93NUMPY" {
        return Err(refuse("does not begin as an .npy array".to_owned()));
    }
    let (text_length, before) = match major {
        1 => {
            let mut bytes = [0u8; 2];
            fill(source, &mut bytes, file, &refuse)?;
            (u32::from(u16::from_le_bytes(bytes)), 10)
        }
        2 | 3 => {
            let mut bytes = [0u8; 4];
            fill(source, &mut bytes, file, &refuse)?;
            (u32::from_le_bytes(bytes), 12)
        }
        _ => return Err(refuse(format!("version {major} of the .npy format; expected 1, 2 or 3"))),
    };
    let text_length = text_length as usize;
    if text_length > LONGEST {
        return Err(refuse(format!("a header of {text_length} bytes; expected at most {LONGEST}")));
    }
    let mut text = vec![0u8; text_length];
    fill(source, &mut text, file, &refuse)?;
    let text = std::str::from_utf8(&text).map_err(|_| refuse("the header is not text".to_owned()))?;
    let fields = Parser { rest: text }.dictionary().map_err(&refuse)?;

    let element = match element(&fields.descr) {
        Some(element) => element,
        None => return Err(refused_type(&fields.descr, file)),
    };
    if fields.shape.contains(&0) {
        return Err(refuse(format!("an array of shape {:?} holds no element", fields.shape)));
    }
    let start = before + text_length as u64;
    let bytes = count(&fields.shape)
        .and_then(|elements| elements.checked_mul(element.bytes()))
        .and_then(|bytes| u64::try_from(bytes).ok());
    match bytes {
        Some(bytes) if start.checked_add(bytes) == Some(length) => {
            Ok(Header { element, fortran: fields.fortran, shape: fields.shape, start, bytes })
        }
        _ => Err(refuse(format!(
            "an array of {element} {:?} does not take the {} bytes that follow its header",
            fields.shape,
            length.saturating_sub(start)
        ))),
    }
}

fn fill(
    source: &mut dyn Read,
    buffer: &mut [u8],
    file: &Path,
    refuse: &dyn Fn(String) -> SamplesError,
) -> Result<(), SamplesError> {
    source.read_exact(buffer).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => refuse("ends within the header of the array".to_owned()),
        _ => SamplesError::io(file, "read the file")(error),
    })
}

fn element(descr: &str) -> Option<Element> {
    Some(match descr {
        "<f2" => Element::F16,
        "<f4" => Element::F32,
        "<f8" => Element::F64,
        "|i1" | "<i1" => Element::I8,
        "<i2" => Element::I16,
        "<i4" => Element::I32,
        "<i8" => Element::I64,
        "|u1" | "<u1" => Element::U8,
        "<u2" => Element::U16,
        "<u4" => Element::U32,
        "<u8" => Element::U64,
        "|b1" | "<b1" => Element::Bool,
        _ => return None,
    })
}

fn refused_type(descr: &str, file: &Path) -> SamplesError {
    let file = file.to_owned();
    let kind = descr.trim_start_matches(['|', '<', '>', '=']);
    let (problem, hint) = match kind.chars().next() {
        Some('O') => (
            "an array of Python objects (pickled); reading it would run code of the file".to_owned(),
            "write plain numbers: numpy.asarray(values, dtype=numpy.float32), all samples of one shape",
        ),
        _ if descr.starts_with('>') => (
            format!("type '{descr}' is big endian; expected little endian"),
            "convert it: array.astype(array.dtype.newbyteorder('<'))",
        ),
        _ if descr.starts_with('[') => (
            format!("type {descr} has fields; expected plain numbers"),
            "write each field as an array of its own",
        ),
        _ => (
            format!(
                "type '{descr}' is not read; expected f2, f4, f8, i1, i2, i4, i8, u1, u2, u4, u8 or b1 \
                 in numpy's notation"
            ),
            "convert it, as in array.astype(numpy.float32)",
        ),
    };
    SamplesError::Array { file, problem, hint }
}

struct Fields {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

/// Reads the subset of Python's literals that a header consists of.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn dictionary(mut self) -> Result<Fields, String> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.expect('{')?;
        while !self.accept('}') {
            let key = self.string()?;
            self.expect(':')?;
            let repeated = match key {
                "descr" => descr.replace(self.descr()?).is_some(),
                "fortran_order" => fortran.replace(self.truth()?).is_some(),
                "shape" => shape.replace(self.tuple()?).is_some(),
                _ => return Err(format!("the header has the unknown key '{}'", shortened(key))),
            };
            if repeated {
                return Err(format!("the header has the key '{key}' twice"));
            }
            if !self.accept(',') {
                self.expect('}')?;
                break;
            }
        }
        if !self.rest.trim().is_empty() {
            return Err("the header goes on behind its dictionary".to_owned());
        }
        match (descr, fortran, shape) {
            (Some(descr), Some(fortran), Some(shape)) => Ok(Fields { descr, fortran, shape }),
            _ => Err("the header lacks one of the keys 'descr', 'fortran_order', 'shape'".to_owned()),
        }
    }

    /// Whether the next mark is `wanted`, which is then passed.
    fn accept(&mut self, wanted: char) -> bool {
        let trimmed = self.rest.trim_start();
        let found = trimmed.strip_prefix(wanted);
        self.rest = found.unwrap_or(trimmed);
        found.is_some()
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.accept(wanted) {
            return Ok(());
        }
        Err(format!("the header has '{}' where '{wanted}' was expected", shortened(self.rest)))
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let quote = if self.accept('"') { '"' } else { '\'' };
        if quote == '\'' {
            self.expect(quote)?;
        }
        let (text, rest) =
            self.rest.split_once(quote).ok_or_else(|| "the header has a text without end".to_owned())?;
        self.rest = rest;
        Ok(text)
    }

    /// A type: a text, or a list of fields, which is kept for the message about it.
    fn descr(&mut self) -> Result<String, String> {
        let trimmed = self.rest.trim_start();
        if !trimmed.starts_with('[') {
            return self.string().map(str::to_owned);
        }
        let list = shortened(trimmed);
        let end = trimmed.rfind(']').ok_or_else(|| "the header has a list without end".to_owned())?;
        self.rest = &trimmed[end + 1..];
        Ok(list)
    }

    fn truth(&mut self) -> Result<bool, String> {
        let trimmed = self.rest.trim_start();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = trimmed.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err(format!("the header has '{}' where True or False was expected", shortened(trimmed)))
    }

    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        let mut shape = Vec::new();
        self.expect('(')?;
        while !self.accept(')') {
            let digits = self.rest.trim_start();
            let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
            let (number, rest) = digits.split_at(end);
            let extent = number.parse().map_err(|_| {
                format!("the header has '{}' where an extent was expected", shortened(digits))
            })?;
            shape.push(extent);
            // Python 2 wrote long integers with an L.
            self.rest = rest.strip_prefix('L').unwrap_or(rest);
            if !self.accept(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(shape)
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}
