//! Text files of token ids: one sample a line, whole numbers between spaces or commas, and behind
//! a tab the label where there is one.
//!
//! The model's inputs are filled by their names: what is called a mask has ones for tokens and
//! zeros for padding, segments and token types are zeros, positions count from zero, and the one
//! whole-number input that is left takes the ids. Lines are padded and cut at their end.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::samples::{
    BatchRule, ModelInput, NamedArray, SampleInput, Samples, SamplesError, check_indices, listed,
};

/// Length of a sample where neither the model nor the user says one and lines are longer.
pub const LONGEST_DEFAULT: usize = 512;

/// Longest line that is read, in bytes.
const LONGEST_LINE: u64 = 16 << 20;

/// Lines of token ids, read when they are asked for; their places alone stay in memory.
#[derive(Debug)]
pub struct TokenSamples {
    path: PathBuf,
    file: Mutex<File>,
    lines: Vec<Line>,
    labels: Option<Vec<u32>>,
    inputs: Vec<SampleInput>,
    roles: Vec<Role>,
    rule: BatchRule,
    length: usize,
    pad: i64,
    /// Lines that are longer than a sample and lose their end.
    pub cut: usize,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    offset: u64,
    bytes: u32,
    number: u32,
    tokens: u32,
}

/// What an input is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Ids,
    Mask,
    Zeros,
    Positions,
}

impl TokenSamples {
    /// Goes through the file once, checks every line, and binds it to the model's inputs. `length`
    /// is the number of tokens of a sample where the model leaves it open; without it, the longest
    /// line is, up to [`LONGEST_DEFAULT`]. `pad` is the id behind the end of a shorter line.
    ///
    /// # Errors
    ///
    /// [`SamplesError`] for inputs that cannot be filled from ids, and lines that are not ids, by
    /// line and column.
    pub fn open(
        path: &Path,
        inputs: &[ModelInput],
        length: Option<usize>,
        pad: i64,
    ) -> Result<TokenSamples, SamplesError> {
        let roles = roles(path, inputs)?;
        let ids = inputs.iter().zip(&roles).find(|(_, role)| **role == Role::Ids);
        let (_, greatest) = ids.and_then(|(input, _)| input.element.range()).unwrap_or((0, 0));
        if !(0..=greatest).contains(&pad.into()) {
            return Err(SamplesError::Preprocessing {
                setting: "the id for padding",
                found: pad.to_string(),
                expected: format!("0 to {greatest}, the type of the model's input"),
            });
        }
        let mut file = File::open(path).map_err(SamplesError::io(path, "open the file"))?;
        let scan = scan(path, &mut file, greatest)?;
        let bound = shapes(path, inputs, length)?;
        let length = bound.length.unwrap_or(scan.longest.min(LONGEST_DEFAULT));
        let sample_inputs = inputs
            .iter()
            .zip(&bound.batched)
            .map(|(input, &batched)| SampleInput {
                name: input.name.clone(),
                element: input.element,
                shape: if batched { vec![length] } else { whole_shape(input, length) },
                batched,
            })
            .collect();
        Ok(TokenSamples {
            path: path.to_owned(),
            file: Mutex::new(file),
            cut: scan.lines.iter().filter(|line| line.tokens as usize > length).count(),
            lines: scan.lines,
            labels: scan.labels,
            inputs: sample_inputs,
            roles,
            rule: bound.batch.map_or(BatchRule::Any, BatchRule::Exactly),
            length,
            pad,
        })
    }

    /// Tokens of a sample.
    pub fn length(&self) -> usize {
        self.length
    }

    fn ids(&self, index: usize) -> Result<Vec<i128>, SamplesError> {
        let line = self.lines[index];
        let mut text = vec![0u8; line.bytes as usize];
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(line.offset))
            .and_then(|_| file.read_exact(&mut text))
            .map_err(SamplesError::io(&self.path, "read the file"))?;
        let parsed = parse(&text, i64::MAX.into());
        let (ids, _) = parsed.map_err(|fault| fault.of(&self.path, line.number as usize))?;
        Ok(ids)
    }
}

impl Samples for TokenSamples {
    fn len(&self) -> usize {
        self.lines.len()
    }

    fn inputs(&self) -> &[SampleInput] {
        &self.inputs
    }

    fn batch_rule(&self) -> BatchRule {
        self.rule
    }

    fn batch(&self, indices: &[usize]) -> Result<Vec<NamedArray>, SamplesError> {
        check_indices(self, indices)?;
        let mut arrays: Vec<NamedArray> = self
            .inputs
            .iter()
            .map(|input| {
                let mut shape = input.shape.clone();
                if input.batched {
                    shape.insert(0, indices.len());
                }
                NamedArray { name: input.name.clone(), element: input.element, shape, bytes: Vec::new() }
            })
            .collect();
        for &index in indices {
            let ids = self.ids(index)?;
            for (array, role) in arrays.iter_mut().zip(&self.roles) {
                for position in 0..self.length {
                    let id = ids.get(position);
                    let value = match role {
                        Role::Ids => id.copied().unwrap_or(self.pad.into()),
                        Role::Mask => id.is_some().into(),
                        Role::Zeros => 0,
                        Role::Positions => position as i128,
                    };
                    if array.element.is_float() {
                        array.element.write_float(value as f64, &mut array.bytes);
                    } else {
                        array.element.write_integer(value, &mut array.bytes);
                    }
                }
            }
        }
        Ok(arrays)
    }

    fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }

    fn class_names(&self) -> Option<&[String]> {
        None
    }

    fn sample_name(&self, index: usize) -> String {
        let number = self.lines.get(index).map_or(0, |line| line.number);
        format!("{}, line {number}", self.path.display())
    }
}

/// What each input is for, by its name.
fn roles(path: &Path, inputs: &[ModelInput]) -> Result<Vec<Role>, SamplesError> {
    let refuse = |problem: String, hint: &str| SamplesError::Inputs {
        path: path.to_owned(),
        problem,
        expected: listed(inputs),
        found: "lines of token ids".to_owned(),
        hint: hint.to_owned(),
    };
    let roles: Vec<Role> = inputs
        .iter()
        .map(|input| {
            let name = input.name.to_lowercase();
            let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
            if has(&["mask"]) {
                Role::Mask
            } else if has(&["token_type", "segment"]) {
                Role::Zeros
            } else if has(&["position"]) {
                Role::Positions
            } else {
                Role::Ids
            }
        })
        .collect();
    let hint = "give an .npz file with an array for each input";
    let ids: Vec<&ModelInput> =
        inputs.iter().zip(&roles).filter(|(_, role)| **role == Role::Ids).map(|(input, _)| input).collect();
    match ids[..] {
        [input] if input.element.is_integer() => {}
        [input] => {
            return Err(refuse(
                format!("the input '{}' is not of whole numbers, as ids are", input.name),
                hint,
            ));
        }
        [] => return Err(refuse("no input takes token ids".to_owned(), hint)),
        [first, second, ..] => {
            let problem = format!("both '{}' and '{}' might take the ids", first.name, second.name);
            return Err(refuse(problem, hint));
        }
    }
    Ok(roles)
}

/// What the shapes of the inputs say.
struct Shapes {
    batched: Vec<bool>,
    batch: Option<usize>,
    length: Option<usize>,
}

fn shapes(path: &Path, inputs: &[ModelInput], given: Option<usize>) -> Result<Shapes, SamplesError> {
    let refuse = |problem: String| SamplesError::Inputs {
        path: path.to_owned(),
        problem,
        expected: listed(inputs),
        found: "lines of token ids".to_owned(),
        hint: "expected inputs [N, tokens], or [tokens], of one number of tokens".to_owned(),
    };
    let mut shapes = Shapes { batched: Vec::new(), batch: None, length: given };
    let mut settled = None;
    for input in inputs {
        let (batched, batch, length) = match input.shape.as_deref() {
            None => (true, None, None),
            Some([batch, length]) => (true, batch.known(), length.known()),
            Some([length]) => (false, Some(1), length.known()),
            Some(_) => return Err(refuse(format!("the input '{}' is not of that shape", input.name))),
        };
        shapes.batched.push(batched);
        if let Some(batch) = batch
            && (batch == 0 || shapes.batch.replace(batch).is_some_and(|other| other != batch))
        {
            return Err(refuse(format!("the input '{}' takes a batch of its own", input.name)));
        }
        if let Some(length) = length
            && settled.replace(length).is_some_and(|other| other != length)
        {
            return Err(refuse(format!("the input '{}' takes {length} tokens", input.name)));
        }
    }
    if let (Some(settled), Some(given)) = (settled, given)
        && settled != given
    {
        return Err(refuse(format!("{given} tokens were asked for, and the model takes {settled}")));
    }
    shapes.length = settled.or(given);
    // A sample is written from memory that its length alone determines.
    if shapes.length.is_some_and(|length| length == 0 || length as u64 > LONGEST_LINE) {
        return Err(refuse(format!("a sample of {} tokens", shapes.length.unwrap_or(0))));
    }
    Ok(shapes)
}

fn whole_shape(input: &ModelInput, length: usize) -> Vec<usize> {
    input.shape.iter().flatten().map(|extent| extent.known().unwrap_or(length)).collect()
}

/// What one pass over the file finds.
struct Scan {
    lines: Vec<Line>,
    labels: Option<Vec<u32>>,
    longest: usize,
}

fn scan(path: &Path, file: &mut File, greatest: i128) -> Result<Scan, SamplesError> {
    let refuse = |line: usize, column: usize, problem: String| SamplesError::Text {
        path: path.to_owned(),
        line,
        column,
        problem,
    };
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut scan = Scan { lines: Vec::new(), labels: None, longest: 0 };
    let mut text = Vec::new();
    let (mut offset, mut number, mut blank) = (0u64, 0usize, None);
    loop {
        text.clear();
        let read = (&mut reader)
            .take(LONGEST_LINE + 1)
            .read_until(b'\n', &mut text)
            .map_err(SamplesError::io(path, "read the file"))?;
        if read == 0 {
            break;
        }
        number += 1;
        if read as u64 > LONGEST_LINE {
            return Err(refuse(number, 1, format!("more than {LONGEST_LINE} bytes in one line")));
        }
        let mut start = offset;
        offset += read as u64;
        let mut line = text.strip_suffix(b"\n").unwrap_or(&text);
        line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(rest) = line.strip_prefix(b"\xef\xbb\xbf").filter(|_| number == 1) {
            start += 3;
            line = rest;
        }
        if line.iter().all(|byte| byte.is_ascii_whitespace()) {
            blank.get_or_insert(number);
            continue;
        }
        // Blank lines may end a file and stand nowhere else.
        if let Some(blank) = blank {
            return Err(refuse(blank, 1, "the line is empty; expected the ids of a sample".to_owned()));
        }
        let (ids, label) = parse(line, greatest).map_err(|fault| fault.of(path, number))?;
        match (&mut scan.labels, label) {
            (None, Some(label)) if scan.lines.is_empty() => scan.labels = Some(vec![label]),
            (Some(labels), Some(label)) => labels.push(label),
            (None, None) => {}
            (Some(_), None) => {
                let problem = "no label, but the lines before have one; expected a tab and a class";
                return Err(refuse(number, line.len() + 1, problem.to_owned()));
            }
            (None, Some(_)) => {
                let column = line.iter().position(|&byte| byte == b'\t').unwrap_or(0) + 1;
                return Err(refuse(number, column, "a label, but the lines before have none".to_owned()));
            }
        }
        scan.longest = scan.longest.max(ids.len());
        let number = u32::try_from(number).map_err(|_| refuse(number, 1, "too many lines".to_owned()))?;
        let (bytes, tokens) = (line.len() as u32, ids.len() as u32);
        scan.lines.push(Line { offset: start, bytes, number, tokens });
    }
    if scan.lines.is_empty() {
        return Err(refuse(1, 1, "the file has no sample; expected one a line".to_owned()));
    }
    Ok(scan)
}

/// What is wrong with a line, and where in it.
struct Fault {
    column: usize,
    problem: String,
}

impl Fault {
    fn of(self, path: &Path, line: usize) -> SamplesError {
        SamplesError::Text { path: path.to_owned(), line, column: self.column, problem: self.problem }
    }
}

/// The ids and the label of a line.
fn parse(line: &[u8], greatest: i128) -> Result<(Vec<i128>, Option<u32>), Fault> {
    let tab = line.iter().position(|&byte| byte == b'\t');
    let (ids, label) = match tab {
        Some(tab) => (&line[..tab], Some(&line[tab + 1..])),
        None => (line, None),
    };
    let mut found = Vec::new();
    for (start, word) in words(ids) {
        found.push(number(word, start, "a token id", greatest)?);
    }
    if found.is_empty() {
        return Err(Fault { column: 1, problem: "no token id".to_owned() });
    }
    let Some(label) = label else { return Ok((found, None)) };
    let start = ids.len() + 1;
    let mut labels = words(label);
    match (labels.next(), labels.next()) {
        (Some((at, word)), None) => {
            let label = number(word, start + at, "a label", u32::MAX.into())?;
            Ok((found, u32::try_from(label).ok()))
        }
        _ => Err(Fault { column: start + 1, problem: "expected one label behind the tab".to_owned() }),
    }
}

/// The words between spaces and commas, with their places.
fn words(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    text.split(|byte| matches!(byte, b' ' | b',')).filter_map(move |word| {
        let start = at;
        at += word.len() + 1;
        (!word.is_empty()).then_some((start, word))
    })
}

fn number(word: &[u8], start: usize, what: &str, greatest: i128) -> Result<i128, Fault> {
    let shown = String::from_utf8_lossy(&word[..word.len().min(24)]).into_owned();
    let value = std::str::from_utf8(word).ok().and_then(|word| word.parse::<i128>().ok());
    match value {
        Some(value) if (0..=greatest).contains(&value) => Ok(value),
        _ => Err(Fault {
            column: start + 1,
            problem: format!("'{shown}' is not {what}; expected a whole number from 0 to {greatest}"),
        }),
    }
}
