//! Text files of token ids: one sample a line, whole numbers between spaces or commas, and behind
//! a tab the label where there is one.
//!
//! The model's inputs are filled by their names: what is called a mask has ones for tokens and
//! zeros for padding, segments and token types are zeros, positions count from zero, and the one
//! whole-number input that is left takes the ids. Lines are padded and cut at their end.

mod inputs;
mod lines;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::samples::{BatchRule, ModelInput, NamedArray, SampleInput, Samples, SamplesError, check_indices};

use inputs::{Role, roles, shapes, whole_shape};
use lines::{Line, parse, scan};

/// Length of a sample where neither the model nor the user says one and lines are longer.
pub const LONGEST_DEFAULT: usize = 512;

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
