//! The lines of a file of token ids: their places, and what stands in them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::samples::SamplesError;

/// Longest line that is read, in bytes.
pub(super) const LONGEST_LINE: u64 = 16 << 20;

/// Where a sample stands in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub offset: u64,
    pub bytes: u32,
    pub number: u32,
    pub tokens: u32,
}

/// What one pass over the file finds.
pub(super) struct Scan {
    pub lines: Vec<Line>,
    pub labels: Option<Vec<u32>>,
    pub longest: usize,
}

/// Checks all lines and finds their places. `greatest` is the largest id.
pub(super) fn scan(path: &Path, file: &mut File, greatest: i128) -> Result<Scan, SamplesError> {
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
pub(super) struct Fault {
    column: usize,
    problem: String,
}

impl Fault {
    /// The error for that line.
    pub fn of(self, path: &Path, line: usize) -> SamplesError {
        SamplesError::Text { path: path.to_owned(), line, column: self.column, problem: self.problem }
    }
}

/// The ids and the label of a line.
pub(super) fn parse(line: &[u8], greatest: i128) -> Result<(Vec<i128>, Option<u32>), Fault> {
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
