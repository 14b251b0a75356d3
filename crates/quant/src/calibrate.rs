//! Runs a float graph on samples and keeps the ranges of the values that will be quantized.

use calipers_ir::{Dim, Graph, Tensor};
use calipers_runtime::{Demand, Probe, Session, SessionOptions};
use indexmap::IndexMap;

use crate::decide::{Decision, decide, values_to_observe};
use crate::judge::judge_in;
use crate::parameters::finite;
use crate::{CalibrationTable, Document, ObserverKind, QuantError, Recipe};

/// A probe that observes the values of a calibration table. Its memory does not grow with the samples.
#[derive(Debug)]
pub struct Calibrator {
    /// What was seen so far.
    pub table: CalibrationTable,
    error: Option<QuantError>,
}

impl Calibrator {
    /// Observes the values of the table, and adds to what it holds.
    pub fn new(table: CalibrationTable) -> Self {
        Calibrator { table, error: None }
    }

    /// The first error since the last time it was asked for: a value that is not finite. What came after it was not
    /// observed.
    ///
    /// # Errors
    /// That error.
    pub fn check(&mut self) -> Result<(), QuantError> {
        self.error.take().map_or(Ok(()), Err)
    }
}

impl Probe for Calibrator {
    fn demand(&self) -> Demand {
        Demand::Values(self.table.values.keys().cloned().collect())
    }

    fn value(&mut self, name: &str, value: &Tensor) {
        if self.error.is_none() {
            self.error = self.table.observe(name, value).err();
        }
    }
}

/// The inputs of one run, by name.
pub type Batch = Vec<(String, Tensor)>;

/// How a float graph is run to be calibrated.
#[derive(Clone, Debug)]
pub struct CalibrationOptions {
    /// Threads, at least 1.
    pub threads: usize,
    /// The graphs that nodes of the graph run, by name: those of a [`calipers_ir::Model`].
    pub subgraphs: IndexMap<String, Graph>,
    /// Samples that are kept for [`crate::judge`], from the first batches.
    pub judged_samples: usize,
}

impl Default for CalibrationOptions {
    /// One thread, no subgraphs, four samples.
    fn default() -> Self {
        CalibrationOptions { threads: 1, subgraphs: IndexMap::new(), judged_samples: 4 }
    }
}

impl CalibrationOptions {
    /// These options with a number of threads.
    pub fn with_threads(self, threads: usize) -> CalibrationOptions {
        CalibrationOptions { threads, ..self }
    }

    /// A session for the graph.
    pub(crate) fn session(&self, graph: &Graph) -> Result<Session, QuantError> {
        let options = SessionOptions::default().with_threads(self.threads);
        Session::with_subgraphs(graph.clone(), self.subgraphs.clone(), options)
            .map_err(|error| QuantError::Run { graph: graph.name().to_owned(), error: Box::new(error) })
    }
}

/// Runs a float graph on batches and returns the statistics of exactly the values that [`crate::assign`] needs with this
/// recipe; none, without running, when the recipe quantizes nothing statically. `progress` is called after each batch.
///
/// One pass over the data, then [`crate::judge`] on the first samples where observers are chosen automatically. Memory does not
/// grow with the number of batches. The statistics are the same for every number of threads and, but for moving averages
/// and what is chosen automatically, for every split into batches.
///
/// # Errors
/// No data; a constant to be quantized, or an observed value, that is not finite; a graph that does not run.
pub fn calibrate(
    graph: &Graph,
    batches: impl IntoIterator<Item = Batch>,
    recipe: &Recipe,
    options: &CalibrationOptions,
    mut progress: impl FnMut(&CalibrationTable),
) -> Result<CalibrationTable, QuantError> {
    recipe.check()?;
    // Otherwise the first value that a broken weight reaches would be blamed.
    check_constants(graph, recipe)?;
    let mut calibrator =
        Calibrator::new(CalibrationTable::new(graph.name(), values_to_observe(graph, recipe)?));
    if calibrator.table.values.is_empty() {
        return Ok(calibrator.table);
    }
    let run_error = |error| QuantError::Run { graph: graph.name().to_owned(), error: Box::new(error) };
    let mut session = options.session(graph)?;
    let automatic = calibrator.table.values.values().any(|observer| observer.kind == ObserverKind::Auto);
    let mut kept: Vec<Batch> = Vec::new();
    for batch in batches {
        let samples = batch.first().map_or(0, |(_, tensor)| tensor.shape().first().map_or(1, |&n| n as u64));
        if batch.iter().any(|(_, tensor)| tensor.is_empty()) {
            continue;
        }
        let inputs: Vec<(&str, Tensor)> =
            batch.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
        session.run(&inputs, &mut calibrator).map_err(run_error)?;
        calibrator.check()?;
        calibrator.table.batches += 1;
        calibrator.table.samples += samples;
        if automatic {
            keep(graph, &batch, options.judged_samples, &mut kept);
        }
        progress(&calibrator.table);
    }
    if calibrator.table.samples == 0 {
        return Err(QuantError::NoData { graph: graph.name().to_owned() });
    }
    let mut table = calibrator.table;
    if automatic {
        judge_in(&mut session, graph, &kept, recipe, options, &mut table)?;
    }
    Ok(table)
}

/// Keeps samples of a batch until there are enough: single ones where the first axis of every input is the batch, else
/// the batch as a whole.
fn keep(graph: &Graph, batch: &Batch, wanted: usize, kept: &mut Vec<Batch>) {
    let mut symbols = graph.inputs().iter().map(|&id| match graph.value(id).ty.shape.as_deref() {
        Some([Dim::Symbolic(symbol), ..]) => Some(symbol),
        _ => None,
    });
    let first = symbols.next().flatten();
    let divisible = first.is_some() && symbols.all(|symbol| symbol == first);
    let extents: Vec<Option<usize>> =
        batch.iter().map(|(_, tensor)| tensor.shape().first().copied()).collect();
    let samples = match extents.as_slice() {
        [Some(samples), rest @ ..] if divisible && rest.iter().all(|other| *other == Some(*samples)) => {
            *samples
        }
        _ => 1,
    };
    for index in 0..samples {
        if kept.len() >= wanted {
            return;
        }
        let one = batch.iter().map(|(name, tensor)| Some((name.clone(), row(tensor, index, samples)?)));
        if let Some(one) = one.collect() {
            kept.push(one);
        }
    }
}

/// One of `count` equal parts of a tensor along its first axis, in memory of its own.
fn row(tensor: &Tensor, index: usize, count: usize) -> Option<Tensor> {
    if count == 1 {
        return Some(tensor.clone());
    }
    let bytes = tensor.bytes();
    let size = bytes.len() / count;
    let mut shape = tensor.shape().to_vec();
    *shape.first_mut()? = 1;
    Tensor::new(tensor.dtype(), shape, bytes.get(index * size..(index + 1) * size)?.to_vec().into()).ok()
}

fn check_constants(graph: &Graph, recipe: &Recipe) -> Result<(), QuantError> {
    let structure = decide(graph, recipe)?;
    for (node, decision) in graph.nodes().iter().zip(&structure.nodes) {
        let inputs: Vec<usize> = match decision {
            Decision::Float { .. } => continue,
            Decision::Static { constants, .. } => constants.iter().map(|(input, _)| *input).collect(),
            Decision::Dynamic { constants, .. } | Decision::WeightOnly { constants, .. } => {
                constants.iter().map(|(input, _)| *input).collect()
            }
        };
        for id in inputs.into_iter().filter_map(|input| node.input(input)) {
            if let Some(tensor) = graph.constant(id) {
                finite(&graph.value(id).name, tensor)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use calipers_ir::{GraphEditor, Tensor};

    use super::{Batch, CalibrationOptions, calibrate};
    use crate::residual::residual;
    use crate::{ActivationScheme, ObserverKind, QuantError, Range, Recipe, Scheme, Treatment};

    /// Batches of the residual network's input: `[samples, 2, 4, 4]`.
    fn batches(sizes: &[usize]) -> Vec<Batch> {
        let mut number = 0u32;
        let mut next = || {
            number += 1;
            number.wrapping_mul(2_654_435_761) as f32 / u32::MAX as f32 * 4.0 - 1.0
        };
        let batch = |&samples: &usize| {
            let data = (0..samples * 32).map(|_| next()).collect();
            vec![(String::from("x"), Tensor::from_vec([samples, 2, 4, 4], data).unwrap())]
        };
        sizes.iter().map(batch).collect()
    }

    fn threads(threads: usize) -> CalibrationOptions {
        CalibrationOptions::default().with_threads(threads)
    }

    fn min_max() -> Recipe {
        Recipe::default().with_observer(ObserverKind::MinMax)
    }

    fn ignore(_: &crate::CalibrationTable) {}

    #[test]
    fn only_what_will_be_quantized_is_observed() {
        let mut seen = Vec::new();
        let data = batches(&[3, 2]);
        let table = calibrate(&residual(), data.clone(), &min_max(), &threads(1), |table| {
            seen.push((table.batches, table.samples));
        });
        let table = table.unwrap();
        assert_eq!(seen, [(1, 3), (2, 5)]);
        let names: Vec<&str> = table.values.keys().map(String::as_str).collect();
        assert_eq!(names, ["x", "stem", "conv1", "conv2", "add", "mean", "logits"]);
        let all: Vec<f32> = data.iter().flat_map(|batch| batch[0].1.as_f32().unwrap().into_owned()).collect();
        assert_eq!(table.values["x"].range, Range::of(&all).unwrap());
        assert_eq!((table.values["x"].tensors, table.values["x"].elements), (2, 160));
        // A fused activation is part of what is observed.
        assert!(table.values["stem"].range.unwrap().min >= 0.0);
        assert!(table.values["conv2"].range.unwrap().min < 0.0);
    }

    #[test]
    fn batch_size_and_threads_change_nothing() {
        let graph = residual();
        let one = calibrate(&graph, batches(&[6]), &min_max(), &threads(1), ignore).unwrap();
        let many = calibrate(&graph, batches(&[1, 3, 2]), &min_max(), &threads(2), ignore).unwrap();
        for (name, observer) in &one.values {
            assert_eq!(observer.range, many.values[name].range, "{name}");
        }
    }

    #[test]
    fn no_data_is_an_error() {
        for data in [vec![], batches(&[0])] {
            let error = calibrate(&residual(), data, &min_max(), &threads(1), ignore).unwrap_err();
            assert!(error.to_string().starts_with("graph `residual`: no calibration batch"), "{error}");
        }
        let float = Recipe { default: Treatment::Float, ..min_max() };
        assert!(calibrate(&residual(), vec![], &float, &threads(1), ignore).unwrap().values.is_empty());
    }

    #[test]
    fn what_is_not_finite_is_named() {
        let mut data = vec![0f32; 32];
        data[5] = f32::INFINITY;
        let bad = Tensor::from_vec([1, 2, 4, 4], data).unwrap();
        let error = calibrate(&residual(), [vec![(String::from("x"), bad)]], &min_max(), &threads(1), ignore)
            .unwrap_err();
        assert!(
            error.to_string().starts_with("value `x`: element 5 of calibration tensor 0 is inf"),
            "{error}"
        );

        let graph = residual();
        let mut editor = GraphEditor::edit(&graph);
        let weight = graph.value_named("fc.weight").unwrap();
        editor
            .set_constant(weight, Tensor::from_vec([2, 3], vec![0.0, 0.0, 0.0, 0.0, f32::NAN, 0.0]).unwrap());
        let broken = editor.build().unwrap();
        let error = calibrate(&broken, batches(&[1]), &min_max(), &threads(1), ignore).unwrap_err();
        assert!(
            matches!(&error, QuantError::InitializerNotFinite { initializer, index, .. }
                if initializer == "fc.weight" && *index == [1, 1]),
            "{error}"
        );
    }

    #[test]
    fn a_batch_of_another_shape_is_an_error() {
        let bad = Tensor::from_vec([1, 3], vec![0f32; 3]).unwrap();
        let error = calibrate(&residual(), [vec![(String::from("x"), bad)]], &min_max(), &threads(1), ignore)
            .unwrap_err();
        assert!(matches!(error, QuantError::Run { .. }), "{error}");
    }

    #[test]
    fn the_recipe_chooses_the_observer() {
        let observer = ObserverKind::MovingAverage { constant: 0.5 };
        let scheme = Scheme {
            activation: ActivationScheme { observer, ..ActivationScheme::default() },
            ..Scheme::default()
        };
        let recipe = Recipe { default: Treatment::Static(scheme), ..min_max() };
        let data = batches(&[1, 1]);
        let ends: Vec<Range> =
            data.iter().map(|batch| Range::of(&batch[0].1.as_f32().unwrap()).unwrap().unwrap()).collect();
        let table = calibrate(&residual(), data, &recipe, &threads(1), ignore).unwrap();
        let expected = Range {
            min: ends[0].min + 0.5 * (ends[1].min - ends[0].min),
            max: ends[0].max + 0.5 * (ends[1].max - ends[0].max),
        };
        let x = &table.values["x"];
        assert_eq!(x.range_by(x.kind, &ActivationScheme::default()), Some(expected));
    }
}
