//! From a worker's answer to a cell: the verdict with its evidence, kept short and without paths of this machine.

use std::collections::BTreeMap;
use std::path::Path as FilePath;

use calipers_workers::protocol::{Asked, Operator, Outcome, Probed, Verdict};

use crate::artefact;
use crate::bench::Anonymous;
use crate::capability::Question;
use crate::framework::Framework;
use crate::layers::layer;
use crate::native::comparable;
use crate::path::Path;
use crate::report::{Capability, Cell, Evidence};
use crate::state::State;
use crate::verdict::{error_line, judge};

/// Characters of logs, tracebacks and errors that are kept, and of a warning.
const LOG: usize = 2_000;
const TRACEBACK: usize = 3_000;
const ERROR: usize = 20_000;
const WARNING: usize = 8_000;

/// Makes findings of answers.
pub struct Finder {
    /// What is done about the paths of this machine.
    pub anonymous: Anonymous,
}

impl Finder {
    /// The cell of a layer or control called `name`, which takes the tensors of the layer `material`.
    pub fn cell(
        &self,
        path: &Path,
        [name, material]: [&str; 2],
        own_constants: &[usize],
        probed: Result<Probed, String>,
        folder: &FilePath,
    ) -> Cell {
        let mut cell = Cell {
            framework: path.framework,
            path: path.name.to_owned(),
            layer: name.to_owned(),
            state: State::NotInstalled,
            gap: false,
            max_error: None,
            float_range: None,
            stage: None,
            error: None,
            evidence: Evidence::default(),
            seconds: 0.0,
        };
        let Probed { ending, mut found } = match probed {
            Ok(probed) => probed,
            Err(reason) => {
                cell.error = Some(self.cut(&reason, ERROR));
                cell.evidence.reason = format!("{} could not be used", path.framework.title());
                return cell;
            }
        };
        let comparable = || layer(material).and_then(|layer| comparable(layer, path.scheme));
        let mut judged = judge(path, own_constants, &ending, &found, &comparable);
        if let Some(file) = found.files.iter().find(|file| is_model(file)) {
            match artefact::weights(&folder.join(file)) {
                Ok(weights) => found.weights = weights,
                Err(refusal) => judged.reason += &format!("; our reader refuses the file: {refusal}"),
            }
        }
        let went_well = matches!(
            judged.state,
            State::Quantized | State::Dynamic | State::WeightOnly | State::NothingToQuantize
        );
        cell.state = judged.state;
        cell.gap = path.falls_short(name, judged.state);
        cell.max_error = found.max_error;
        cell.float_range = found.float_range;
        cell.stage = (ending.outcome != Outcome::Ran).then(|| ending.stage.clone());
        cell.error = error_line(&ending).map(|error| self.cut(&error, ERROR));
        cell.evidence = Evidence {
            reason: self.cut(&judged.reason, ERROR),
            operators: merged(found.operators),
            weights: found.weights,
            kernels: found.kernels,
            kernels_note: found.kernels_note.map(|note| self.cut(&note, WARNING)),
            reference: found.reference,
            reference_error: found.reference_error,
            reference_difference: found.reference_difference,
            reference_note: found.reference_note.map(|note| self.cut(&note, WARNING)),
            parity: found.parity,
            warnings: ending.warnings.iter().map(|one| self.cut(one, WARNING)).collect(),
            log: if went_well { String::new() } else { self.cut_front(&ending.log, LOG) },
            traceback: ending.traceback.map(|trace| self.cut_front(&trace, TRACEBACK)),
            signal: ending.signal,
        };
        cell
    }

    /// The answer to a question.
    pub fn capability(
        &self,
        framework: Framework,
        question: &Question,
        asked: Result<Asked, String>,
    ) -> Capability {
        let mut capability = Capability {
            framework,
            name: question.name.to_owned(),
            title: question.title.to_owned(),
            answer: None,
            summary: String::new(),
            evidence: Vec::new(),
            numbers: BTreeMap::new(),
            seconds: 0.0,
        };
        match asked {
            Ok(asked) => {
                capability.answer = asked.answer;
                capability.numbers = asked.numbers;
                capability.evidence = asked.evidence.iter().map(|line| self.cut(line, ERROR)).collect();
                capability.summary = match asked.ending.outcome {
                    Outcome::Ran => self.cut(&asked.summary, ERROR),
                    Outcome::NoApi => {
                        capability.answer = Some(Verdict::No);
                        self.cut(asked.ending.message.as_deref().unwrap_or_default(), ERROR)
                    }
                    Outcome::Failed | Outcome::Killed | Outcome::TimedOut => {
                        capability.evidence.push(self.cut_front(&asked.ending.log, LOG));
                        let error = error_line(&asked.ending);
                        self.cut(
                            &error.unwrap_or_else(|| String::from("the attempt did not end well")),
                            ERROR,
                        )
                    }
                };
            }
            Err(reason) => capability.summary = self.cut(&reason, ERROR),
        }
        capability
    }

    /// The text without paths of this machine, and without its end where it is long.
    fn cut(&self, text: &str, characters: usize) -> String {
        let text = self.anonymous.text(text);
        match text.char_indices().nth(characters) {
            Some((end, _)) => format!("{} ...", &text[..end]),
            None => text,
        }
    }

    /// The same, without its beginning where it is long.
    fn cut_front(&self, text: &str, characters: usize) -> String {
        let text = self.anonymous.text(text.trim());
        let count = text.chars().count();
        match count.checked_sub(characters) {
            Some(surplus @ 1..) => format!("... {}", text.chars().skip(surplus).collect::<String>()),
            Some(0) | None => text,
        }
    }
}

/// The operators with equal ones in a row counted as one.
fn merged(operators: Vec<Operator>) -> Vec<Operator> {
    let mut merged: Vec<Operator> = Vec::new();
    for operator in operators {
        match merged.last_mut() {
            Some(last)
                if (Operator { count: None, ..last.clone() })
                    == (Operator { count: None, ..operator.clone() }) =>
            {
                last.count = Some(last.count.unwrap_or(1) + operator.count.unwrap_or(1));
            }
            Some(_) | None => merged.push(operator),
        }
    }
    merged
}

/// Whether a file is what a path made, and not what it made it from.
fn is_model(file: &FilePath) -> bool {
    ["model.tflite", "model.onnx"].iter().any(|name| file == FilePath::new(name))
}
