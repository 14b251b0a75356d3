//! How good a model is on data: accuracy, and agreement with another model on the same samples.

mod text;

use std::path::PathBuf;

use serde::Serialize;

use crate::layout::{channels_first_shape, channels_last_shape, to_channels_first, to_channels_last};
use crate::outputs::{Rows, Runner, Side};
use crate::statistics::{Interval, paired_difference, wilson};
use crate::{InspectError, OpenedModel};

pub use text::text;

/// How models are run.
#[derive(Clone, Copy, Debug)]
pub struct EvaluationOptions {
    /// Samples in one run, unless the model decides.
    pub batch: usize,
    /// Threads, at least 1.
    pub threads: usize,
}

/// How good a model is.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// Version of this document.
    pub version: u32,
    /// The model.
    pub model: PathBuf,
    /// Samples that it ran on.
    pub samples: usize,
    /// The output whose largest number is the decision; `None` where no output holds scores of several classes.
    pub scores: Option<String>,
    /// The number of classes there.
    pub classes: Option<usize>,
    /// Samples whose class has the largest score, where the data have labels.
    pub top1: Option<Share>,
    /// Samples whose class is among the five largest scores, where there are ten classes or more.
    pub top5: Option<Share>,
    /// The other model on the same samples.
    pub against: Option<Against>,
    /// What the user may want to know.
    pub notes: Vec<String>,
}

/// How often something holds, with Wilson's 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share {
    /// How often.
    pub hits: usize,
    /// Of how many.
    pub of: usize,
    /// From 0 to 1.
    pub share: Interval,
}

impl Share {
    /// Of this many.
    pub fn new(hits: usize, of: usize) -> Share {
        Share { hits, of, share: wilson(hits, of) }
    }
}

/// Another model on the same samples.
#[derive(Clone, Debug, Serialize)]
pub struct Against {
    /// The other model.
    pub model: PathBuf,
    /// Decisions (the largest of each row of scores) in which both agree, where there are any.
    pub agreement: Option<Share>,
    /// Its accuracy.
    pub top1: Option<Share>,
    /// Its top-5 accuracy.
    pub top5: Option<Share>,
    /// Accuracy of the model less that of the other one, on the same samples.
    pub accuracy_difference: Option<Interval>,
    /// Each output against its counterpart.
    pub outputs: Vec<OutputDifference>,
}

/// How much an output differs from the other model's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutputDifference {
    /// The output.
    pub name: String,
    /// The other model's.
    pub other: String,
    /// The largest difference of two numbers.
    pub largest: f64,
    /// The mean difference, without sign.
    pub mean: f64,
    /// Power of the other model's numbers over that of the difference, in decibels; `None` where nothing differs.
    pub sqnr: Option<f64>,
}

/// Runs a model on samples, and another one on the same samples. Accuracy is reported when there are `labels`, one for
/// each sample of the source. `progress` hears how many samples are done, and stops the run by saying `false`.
///
/// # Errors
/// A model that does not run, samples that cannot be read, models whose outputs do not fit each other, labels that are no
/// classes of the model, and a run that was stopped.
pub fn evaluate(
    side: Side<'_>,
    against: Option<Side<'_>>,
    chosen: &[usize],
    labels: Option<&[u32]>,
    options: &EvaluationOptions,
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<Evaluation, InspectError> {
    let mut runner = Runner::new(side, options.threads)?;
    let mut other = against.map(|side| Runner::new(side, options.threads)).transpose()?;
    let mut tally = Tally::default();
    let mut done = 0;
    for chunk in chosen.chunks(options.batch.max(1)) {
        let rows = runner.rows(chunk, options.batch)?;
        let others = other.as_mut().map(|other| other.rows(chunk, options.batch)).transpose()?;
        let of_chunk: Option<Vec<u32>> =
            labels.map(|labels| chunk.iter().filter_map(|&index| labels.get(index).copied()).collect());
        tally.add(side.model, &rows, others.as_deref(), of_chunk.as_deref())?;
        done += chunk.len();
        if !progress(done) {
            return Err(side.model.request("stopped", "give --limit N for fewer samples"));
        }
    }
    Ok(tally.evaluation(side, against, done, labels.is_some()))
}

/// Which output holds scores, and how many classes it has.
fn scores(rows: &[Rows]) -> Option<(usize, usize)> {
    let classes = |rows: &Rows| rows.shape.last().copied().filter(|&classes| rows.is_real && classes > 1);
    // One row of scores for each sample is what labels are about; else any rows of scores.
    let single = rows.iter().position(|rows| classes(rows) == Some(rows.width()) && rows.width() > 1);
    let index = single.or_else(|| rows.iter().position(|rows| classes(rows).is_some()))?;
    Some((index, rows[index].shape.last().copied()?))
}

#[derive(Default)]
struct Sums {
    names: (String, String),
    count: usize,
    largest: f64,
    total: f64,
    signal: f64,
    noise: f64,
}

#[derive(Default)]
struct Tally {
    scores: Option<(String, usize)>,
    labelled: usize,
    right: [(usize, usize); 2],
    gained: usize,
    lost: usize,
    agreed: usize,
    decisions: usize,
    outputs: Vec<Sums>,
    permuted: bool,
    unlabelled: bool,
}

impl Tally {
    fn add(
        &mut self,
        model: &OpenedModel,
        rows: &[Rows],
        others: Option<&[Rows]>,
        labels: Option<&[u32]>,
    ) -> Result<(), InspectError> {
        let found = scores(rows);
        if let Some((index, classes)) = found {
            self.scores = Some((rows[index].name.clone(), classes));
            if let Some(labels) = labels {
                if rows[index].width() == classes {
                    self.label(model, (&rows[index], others.and_then(|others| others.get(index))), labels)?;
                } else {
                    self.unlabelled = true;
                }
            }
        }
        let Some(others) = others else { return Ok(()) };
        if rows.len() != others.len() {
            return Err(model.request(
                format!(
                    "it has {} outputs, and the model that it is held against has {}",
                    rows.len(),
                    others.len()
                ),
                "give two models of the same network",
            ));
        }
        self.outputs.resize_with(rows.len(), Sums::default);
        for (index, (rows, others)) in rows.iter().zip(others).enumerate() {
            let others = self.matched(model, rows, others)?;
            if let Some((_, classes)) = found.filter(|(at, _)| *at == index) {
                for (row, other) in rows.numbers.chunks(classes).zip(others.numbers.chunks(classes)) {
                    self.decisions += 1;
                    self.agreed += usize::from(best(row) == best(other));
                }
            }
            let sums = &mut self.outputs[index];
            sums.names = (rows.name.clone(), others.name.clone());
            for (&x, &y) in rows.numbers.iter().zip(&others.numbers) {
                let (x, y) = (f64::from(x), f64::from(y));
                let difference = if x == y { 0.0 } else { (x - y).abs() };
                sums.count += 1;
                sums.largest = if difference.is_nan() { f64::INFINITY } else { sums.largest.max(difference) };
                sums.total += difference;
                sums.signal += y * y;
                sums.noise += difference * difference;
            }
        }
        Ok(())
    }

    /// The other model's output in the layout of this one's.
    fn matched(&mut self, model: &OpenedModel, rows: &Rows, others: &Rows) -> Result<Rows, InspectError> {
        if rows.shape == others.shape {
            return Ok(others.clone());
        }
        let with_batch = |shape: &[usize]| -> Vec<usize> { [&[1], shape].concat() };
        let (wanted, given) = (with_batch(&rows.shape), with_batch(&others.shape));
        let numbers = match () {
            () if given.len() == wanted.len() && channels_first_shape(&given) == wanted => {
                self.permuted = true;
                to_channels_first(&others.numbers, &given)
            }
            () if given.len() == wanted.len() && channels_last_shape(&given) == wanted => {
                self.permuted = true;
                to_channels_last(&others.numbers, &given)
            }
            () if rows.width() == others.width() => others.numbers.clone(),
            () => {
                return Err(model.request(
                    format!(
                        "output `{}` has the shape {:?} for each sample, and `{}` of the model that it is held against \
                         {:?}",
                        rows.name, rows.shape, others.name, others.shape
                    ),
                    "give two models of the same network",
                ));
            }
        };
        Ok(Rows { name: others.name.clone(), shape: rows.shape.clone(), numbers, is_real: others.is_real })
    }

    fn label(
        &mut self,
        model: &OpenedModel,
        (rows, others): (&Rows, Option<&Rows>),
        labels: &[u32],
    ) -> Result<(), InspectError> {
        let classes = rows.width();
        if let Some(label) = labels.iter().find(|label| **label as usize >= classes) {
            return Err(model.request(
                format!("the data have the class {label}, and output `{}` has {classes} classes", rows.name),
                "count classes from 0, as the model does",
            ));
        }
        for (sample, &label) in labels.iter().enumerate() {
            let row = |rows: &Rows| rank(rows.numbers.get(sample * classes..(sample + 1) * classes), label);
            let ranks = [row(rows), others.filter(|others| others.width() == classes).and_then(row)];
            self.labelled += 1;
            for (right, rank) in self.right.iter_mut().zip(ranks) {
                right.0 += usize::from(rank == Some(0));
                right.1 += usize::from(rank.is_some_and(|rank| rank < 5));
            }
            self.gained += usize::from(ranks[0] == Some(0) && ranks[1] != Some(0));
            self.lost += usize::from(ranks[0] != Some(0) && ranks[1] == Some(0));
        }
        Ok(())
    }

    fn evaluation(
        self,
        side: Side<'_>,
        against: Option<Side<'_>>,
        samples: usize,
        has_labels: bool,
    ) -> Evaluation {
        let classes = self.scores.as_ref().map(|(_, classes)| *classes);
        let top1 = |side: usize| (self.labelled > 0).then(|| Share::new(self.right[side].0, self.labelled));
        let top5 = |side: usize| {
            let shown = self.labelled > 0 && classes.is_some_and(|classes| classes >= 10);
            shown.then(|| Share::new(self.right[side].1, self.labelled))
        };
        let mut notes = Vec::new();
        if !has_labels {
            notes.push(String::from("the data have no labels; accuracy needs them"));
        } else if self.scores.is_none() || self.unlabelled {
            notes.push(String::from(
                "no output gives each sample one row of scores; accuracy is not measured",
            ));
        }
        if self.permuted {
            notes.push(String::from(
                "the models have outputs of different layout; channels were moved to compare them",
            ));
        }
        let difference = |sums: &Sums| OutputDifference {
            name: sums.names.0.clone(),
            other: sums.names.1.clone(),
            largest: sums.largest,
            mean: sums.total / sums.count.max(1) as f64,
            sqnr: (sums.noise > 0.0).then(|| 10.0 * (sums.signal / sums.noise).log10()),
        };
        Evaluation {
            version: 1,
            model: side.model.path.clone(),
            samples,
            top1: top1(0),
            top5: top5(0),
            against: against.map(|against| Against {
                model: against.model.path.clone(),
                agreement: (self.decisions > 0).then(|| Share::new(self.agreed, self.decisions)),
                top1: top1(1),
                top5: top5(1),
                accuracy_difference: (self.labelled > 0)
                    .then(|| paired_difference(self.gained, self.lost, self.labelled)),
                outputs: self.outputs.iter().map(difference).collect(),
            }),
            scores: self.scores.map(|(name, _)| name),
            classes,
            notes,
        }
    }
}

/// Position of the largest number; the first of several. What is no number is never it.
fn best(row: &[f32]) -> usize {
    let mut best = 0;
    for (index, &score) in row.iter().enumerate() {
        if score > row[best] || row[best].is_nan() && !score.is_nan() {
            best = index;
        }
    }
    best
}

/// How many scores come before that of the label: larger ones, and equal ones that stand before it.
fn rank(row: Option<&[f32]>, label: u32) -> Option<usize> {
    let row = row?;
    let own = *row.get(label as usize)?;
    if own.is_nan() {
        return None;
    }
    let before = |(index, &score): (usize, &f32)| score > own || score == own && index < label as usize;
    Some(row.iter().enumerate().filter(|&scored| before(scored)).count())
}

#[cfg(test)]
mod tests {
    use super::{best, rank, scores};
    use crate::outputs::Rows;

    #[test]
    fn decisions_are_those_of_numpy() {
        // np.argmax takes the first of equal numbers.
        assert_eq!(best(&[0.0, 2.0, 2.0]), 1);
        assert_eq!(best(&[f32::NAN, -1.0]), 1);
        assert_eq!(rank(Some(&[0.5, 2.0, 2.0]), 2), Some(1));
        assert_eq!(rank(Some(&[0.5, 2.0]), 0), Some(1));
        assert_eq!(rank(Some(&[0.5, f32::NAN]), 1), None);
        assert_eq!(rank(Some(&[0.5]), 1), None);
    }

    #[test]
    fn scores_are_the_output_with_one_row_for_each_sample() {
        let rows = |shape: &[usize], is_real| Rows {
            name: String::new(),
            shape: shape.to_vec(),
            numbers: Vec::new(),
            is_real,
        };
        let outputs = [rows(&[4, 10], true), rows(&[3], false), rows(&[10], true)];
        assert_eq!(scores(&outputs), Some((2, 10)));
        assert_eq!(scores(&outputs[..2]), Some((0, 10)));
        assert_eq!(scores(&[rows(&[1], true), rows(&[], true)]), None);
    }
}
