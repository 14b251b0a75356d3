//! The written model against the float model on the same samples: does it run, and how much do its results differ.

use std::sync::atomic::{AtomicBool, Ordering};

use calipers_data::samples::{Opened, batches};
use calipers_inspect::{OpenedModel, named_tensors};
use calipers_ir::{Dim, Tensor};
use calipers_runtime::Session;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::Message;

/// What the two models say of the same samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verification {
    /// Samples that both ran on.
    pub samples: usize,
    /// Whether no sample was used for calibration.
    pub held_out: bool,
    /// Accuracy of the float model, where the data have labels.
    pub accuracy_before: Option<Share>,
    /// Accuracy of the written model.
    pub accuracy_after: Option<Share>,
    /// Decisions (the largest of each row of scores) in which both agree, where an output holds scores.
    pub agreement: Option<Share>,
    /// Every output of real numbers.
    pub outputs: Vec<OutputError>,
}

/// How often something holds, with Wilson's 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share {
    /// How often.
    pub hits: usize,
    /// Of how many.
    pub of: usize,
    /// From 0 to 1.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Share {
    /// The share with its interval; `None` of nothing.
    fn new(hits: usize, of: usize) -> Option<Share> {
        if of == 0 {
            return None;
        }
        const Z: f64 = 1.959_963_984_540_054;
        let (n, value) = (of as f64, hits as f64 / of as f64);
        let shrink = 1.0 + Z * Z / n;
        let centre = (value + Z * Z / (2.0 * n)) / shrink;
        let half = Z / shrink * (value * (1.0 - value) / n + Z * Z / (4.0 * n * n)).sqrt();
        Some(Share { hits, of, value, low: (centre - half).max(0.0), high: (centre + half).min(1.0) })
    }
}

/// How much an output differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutputError {
    /// The output.
    pub name: String,
    /// Power of the float result over that of the difference, in decibels; `None` where nothing differs.
    pub sqnr: Option<f64>,
    /// The largest difference of an element.
    pub largest_difference: f64,
}

/// Why there is no verification.
#[derive(Debug)]
pub enum Trouble {
    /// The written model is at fault.
    Model(Message),
    /// Something else is.
    Other(Message),
}

/// Runs both models on the chosen samples.
pub fn verify(
    float: &OpenedModel,
    written: &OpenedModel,
    threads: usize,
    samples: (&Opened, &[usize], usize),
    cancelled: &AtomicBool,
    bar: &ProgressBar,
) -> Result<Verification, Trouble> {
    let (opened, chosen, batch) = samples;
    let other = |error: &dyn std::fmt::Display| Trouble::Other(error.to_string());
    let mut before = float.session(threads).map_err(|error| other(&error))?;
    let mut after = written.session(threads).map_err(|error| Trouble::Model(error.to_string()))?;
    let names: Vec<String> =
        float.graph().outputs().iter().map(|&id| float.graph().value(id).name.clone()).collect();
    let mut tally = Tally { outputs: vec![Sums::default(); names.len()], ..Tally::default() };
    for batch in batches(opened.samples.as_ref(), chosen, batch) {
        if cancelled.load(Ordering::Relaxed) {
            return Err(Trouble::Other(String::from("stopped; nothing was written")));
        }
        let batch = batch.map_err(|error| other(&error))?;
        let (indices, rows) = (batch.indices.clone(), batch.indices.len() + batch.padded);
        let inputs = named_tensors(batch).map_err(|error| other(&error))?;
        let expected = run(&mut before, &inputs).map_err(|error| other(&error))?;
        let found = run(&mut after, &inputs).map_err(|error| Trouble::Model(error.to_string()))?;
        let labels: Option<Vec<u32>> = opened
            .samples
            .labels()
            .map(|labels| indices.iter().filter_map(|&index| labels.get(index).copied()).collect());
        tally
            .add(&names, (&expected, &found), (indices.len(), rows), labels.as_deref())
            .map_err(Trouble::Model)?;
        bar.inc(indices.len() as u64);
    }
    Ok(tally.verification(&names, chosen.len()))
}

/// Runs both models on zeros, with every extent that is not known as 1. Whether the written one ran: not where the float
/// model does not run on such inputs either.
pub fn try_zeros(float: &OpenedModel, written: &OpenedModel, threads: usize) -> Result<bool, Trouble> {
    let graph = float.graph();
    let mut inputs = Vec::new();
    for &id in graph.inputs() {
        let value = graph.value(id);
        let Some(shape) = &value.ty.shape else { return Ok(false) };
        let shape: Vec<usize> = shape.iter().map(|dim| Dim::known(dim).unwrap_or(1)).collect();
        let bytes = shape
            .iter()
            .try_fold(1usize, |product, &extent| product.checked_mul(extent))
            .and_then(|count| value.ty.dtype.packed_bytes(count))
            .filter(|&bytes| bytes <= 1 << 30);
        let Some(bytes) = bytes else { return Ok(false) };
        let Ok(tensor) = Tensor::new(value.ty.dtype, shape, vec![0; bytes].into()) else { return Ok(false) };
        inputs.push((value.name.clone(), tensor));
    }
    let other = |error: &dyn std::fmt::Display| Trouble::Other(error.to_string());
    let mut before = float.session(threads).map_err(|error| other(&error))?;
    if run(&mut before, &inputs).is_err() {
        return Ok(false);
    }
    let mut after = written.session(threads).map_err(|error| Trouble::Model(error.to_string()))?;
    run(&mut after, &inputs).map_err(|error| Trouble::Model(error.to_string()))?;
    Ok(true)
}

fn run(session: &mut Session, inputs: &[(String, Tensor)]) -> Result<Vec<Tensor>, calipers_runtime::Error> {
    let inputs: Vec<(&str, Tensor)> =
        inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
    session.run(&inputs, &mut ())
}

#[derive(Clone, Debug, Default)]
struct Sums {
    is_real: bool,
    signal: f64,
    noise: f64,
    largest: f64,
}

#[derive(Debug, Default)]
struct Tally {
    outputs: Vec<Sums>,
    agreed: usize,
    decisions: usize,
    labelled: usize,
    right: (usize, usize),
}

impl Tally {
    /// Takes in the results of one batch, of whose rows the first `valid` count. An error says what is wrong with those
    /// of the written model.
    fn add(
        &mut self,
        names: &[String],
        (expected, found): (&[Tensor], &[Tensor]),
        (valid, rows): (usize, usize),
        labels: Option<&[u32]>,
    ) -> Result<(), Message> {
        let mut decided = false;
        for (index, ((name, expected), found)) in names.iter().zip(expected).zip(found).enumerate() {
            if expected.shape() != found.shape() || expected.dtype() != found.dtype() {
                return Err(format!(
                    "output `{name}` is {}, and {} in the float model",
                    found.tensor_type(),
                    expected.tensor_type()
                ));
            }
            let (Some(x), Some(y)) = (expected.as_f32(), found.as_f32()) else { continue };
            let mut shape = expected.shape().to_vec();
            // Repeated samples behind the last one.
            if let Some(first) = shape.first_mut().filter(|first| **first == rows && valid < rows) {
                *first = valid;
            }
            let count = shape.iter().product::<usize>().min(x.len());
            let (x, y) = (&x[..count], &y[..count]);
            if let Some(at) = x.iter().zip(y).position(|(x, y)| x.is_finite() && !y.is_finite()) {
                return Err(format!(
                    "output `{name}`: element {at} is {}, and {} in the float model",
                    y[at], x[at]
                ));
            }
            if let Some(sums) = self.outputs.get_mut(index) {
                sums.add(x, y);
            }
            if let Some((outer, classes, inner)) = scores(&shape)
                && !decided
            {
                decided = true;
                let (before, after) = (largest(x, outer, classes, inner), largest(y, outer, classes, inner));
                self.decisions += before.len();
                self.agreed += before.iter().zip(&after).filter(|(a, b)| a == b).count();
                if let Some(labels) = labels.filter(|labels| inner == 1 && labels.len() == before.len()) {
                    let right = |decisions: &[usize]| {
                        decisions.iter().zip(labels).filter(|(a, b)| **a == **b as usize).count()
                    };
                    self.labelled += labels.len();
                    self.right.0 += right(&before);
                    self.right.1 += right(&after);
                }
            }
        }
        Ok(())
    }

    fn verification(self, names: &[String], samples: usize) -> Verification {
        let outputs = names.iter().zip(&self.outputs).filter(|(_, sums)| sums.is_real);
        Verification {
            samples,
            held_out: false,
            accuracy_before: Share::new(self.right.0, self.labelled),
            accuracy_after: Share::new(self.right.1, self.labelled),
            agreement: Share::new(self.agreed, self.decisions),
            outputs: outputs
                .map(|(name, sums)| OutputError {
                    name: name.clone(),
                    sqnr: (sums.noise > 0.0).then(|| 10.0 * (sums.signal / sums.noise).log10()),
                    largest_difference: sums.largest,
                })
                .collect(),
        }
    }
}

impl Sums {
    fn add(&mut self, x: &[f32], y: &[f32]) {
        self.is_real = true;
        for (&x, &y) in x.iter().zip(y) {
            if !x.is_finite() || x == y {
                continue;
            }
            let difference = f64::from(y) - f64::from(x);
            self.noise += difference * difference;
            self.largest = self.largest.max(difference.abs());
        }
        self.signal += x.iter().filter(|x| x.is_finite()).map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    }
}

/// Whether a shape is one of scores of classes: the extents before, along and behind the axis of the classes. That is the
/// last one, and of images (rank 4) the one of the channels.
fn scores(shape: &[usize]) -> Option<(usize, usize, usize)> {
    let axis = match shape.len() {
        0 | 1 => return None,
        4 => 1,
        rank => rank - 1,
    };
    let classes = shape[axis];
    (classes > 1).then(|| (shape[..axis].iter().product(), classes, shape[axis + 1..].iter().product()))
}

/// Position of the largest of each row of scores; the first of several.
fn largest(data: &[f32], outer: usize, classes: usize, inner: usize) -> Vec<usize> {
    let place = |row: usize, class: usize, column: usize| (row * classes + class) * inner + column;
    let mut positions = Vec::with_capacity(outer * inner);
    for row in 0..outer {
        for column in 0..inner {
            let mut best = 0;
            for class in 1..classes {
                if data[place(row, class, column)] > data[place(row, best, column)] {
                    best = class;
                }
            }
            positions.push(best);
        }
    }
    positions
}

#[cfg(test)]
mod tests {
    use calipers_ir::Tensor;

    use super::{Share, Sums, Tally, largest, scores};

    fn tally(valid: usize, x: &[f32], y: &[f32], labels: Option<&[u32]>) -> Result<Tally, String> {
        let tensor = |data: &[f32]| vec![Tensor::from_vec([x.len() / 2, 2], data.to_vec()).unwrap()];
        let mut tally = Tally { outputs: vec![Sums::default()], ..Tally::default() };
        let rows = x.len() / 2;
        tally.add(&[String::from("y")], (&tensor(x), &tensor(y)), (valid, rows), labels).map(|()| tally)
    }

    #[test]
    fn rows_that_are_repetitions_do_not_count() {
        let found = tally(1, &[0.0, 3.0, 9.0, 0.0], &[4.0, 3.0, 0.0, 9.0], Some(&[1])).unwrap();
        let found = found.verification(&[String::from("y")], 1);
        assert_eq!((found.agreement.unwrap().hits, found.agreement.unwrap().of), (0, 1));
        assert_eq!((found.accuracy_before.unwrap().hits, found.accuracy_after.unwrap().hits), (1, 0));
        assert_eq!(found.outputs[0].largest_difference, 4.0);
        // 10 log10(9 / 16)
        assert!((found.outputs[0].sqnr.unwrap() + 2.498_774_7).abs() < 1e-6);
    }

    #[test]
    fn a_result_that_is_no_number_is_the_fault_of_the_written_model() {
        let error = tally(1, &[0.0, 3.0], &[0.0, f32::NAN], None).unwrap_err();
        assert_eq!(error, "output `y`: element 1 is NaN, and 3 in the float model");
        assert!(tally(1, &[0.0, f32::INFINITY], &[0.0, f32::INFINITY], None).is_ok());
    }

    #[test]
    fn classes_stand_along_the_last_axis_or_the_channels() {
        assert_eq!(scores(&[5, 10]), Some((5, 10, 1)));
        assert_eq!(scores(&[5, 7, 10]), Some((35, 10, 1)));
        assert_eq!(scores(&[5, 3, 2, 2]), Some((5, 3, 4)));
        assert_eq!((scores(&[5]), scores(&[5, 1])), (None, None));
        assert_eq!(largest(&[1.0, 5.0, 2.0, 4.0, 1.0, 5.0], 1, 3, 2), [1, 0]);
    }

    #[test]
    fn the_interval_is_wilsons() {
        // prop.test(8, 10, correct = FALSE) of R: 0.4901625, 0.9433178
        let share = Share::new(8, 10).unwrap();
        assert!(
            (share.low - 0.490_162_5).abs() < 1e-6 && (share.high - 0.943_317_8).abs() < 1e-6,
            "{share:?}"
        );
        assert_eq!(Share::new(0, 0), None);
    }
}
