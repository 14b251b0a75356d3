//! The comparison itself: both models on the same samples, then the rest of the second one for each layer.

use std::collections::HashMap;

use calipers_data::samples::{BatchRule, batches};
use calipers_ir::{Graph, QuantParams, Renames, Tensor, ValueId};
use calipers_passes::Rewritten;
use calipers_runtime::{Recorder, Session};

use crate::distribution::numbers;
use crate::layout::{channels_first_shape, channels_last_shape, to_channels_first, to_channels_last};
use crate::outputs::{output_params, real, run};
use crate::{InspectError, Side, named_tensors};

use super::align::{How, Pair, Permutation, Shaped, by_name, by_order};
use super::logical::{Logical, logicals};
use super::measure::{Measure, finite};
use super::report::report;
use super::restore::{Recorded, Remainder, to_record};
use super::segment::Segment;
use super::{Comparison, ComparisonOptions};

/// The outputs as real numbers, where they are any, and all values of a run.
type Ran = (Vec<Option<Vec<f32>>>, Recorded);

/// A model that is ready to run with everything recorded.
pub(super) struct Subject<'a> {
    pub side: Side<'a>,
    pub graph: Graph,
    renames: Renames,
    pub logicals: Vec<Logical>,
    pub places: HashMap<ValueId, usize>,
    record: Vec<String>,
    session: Session,
    output_params: Vec<Option<QuantParams>>,
}

impl<'a> Subject<'a> {
    fn new(side: Side<'a>, threads: usize) -> Result<Subject<'a>, InspectError> {
        let Rewritten { graph, renames, .. } = side.model.canonical()?;
        let (logicals, places) = logicals(&graph);
        let record = to_record(&logicals).into_iter().map(|id| graph.value(id).name.clone()).collect();
        let session = side.model.session_of(graph.clone(), threads)?;
        let output_params = output_params(&graph);
        Ok(Subject { side, graph, renames, logicals, places, record, session, output_params })
    }

    /// The outputs as real numbers, and all values.
    fn run(&mut self, inputs: &[(String, Tensor)]) -> Result<Ran, InspectError> {
        let mut recorder = Recorder::new(self.record.iter().map(String::as_str));
        let outputs = run(self.side.model, &mut self.session, inputs, &mut recorder)?;
        let mut values = recorder.values;
        // Inputs are given, not computed.
        values.extend(inputs.iter().cloned());
        Ok((self.real_outputs(&outputs), values))
    }

    fn real_outputs(&self, outputs: &[Tensor]) -> Vec<Option<Vec<f32>>> {
        let params = self.output_params.iter().map(Option::as_ref);
        outputs.iter().zip(params).map(|(tensor, params)| real(tensor, params)).collect()
    }

    /// A value as real numbers, with its shape.
    fn value(&self, at: usize, recorded: &Recorded) -> Option<(Vec<f32>, Vec<usize>)> {
        let logical = &self.logicals[at];
        let tensor = recorded.get(&self.graph.value(logical.recorded()).name)?;
        let params = logical.integers.as_ref().map(|(_, params)| params);
        let is_index = params.is_none() && tensor.dtype().integer_range().is_some();
        if is_index || tensor.is_empty() {
            return None;
        }
        Some((real(tensor, params)?, tensor.shape().to_vec()))
    }

    fn shapes(&self, recorded: &Recorded) -> Vec<Option<Vec<usize>>> {
        (0..self.logicals.len()).map(|at| self.value(at, recorded).map(|(_, shape)| shape)).collect()
    }
}

/// One aligned layer while it is measured.
pub(super) struct Tracked {
    pub pair: Pair,
    pub measure: Measure,
    /// Noise of each output when this layer alone is restored.
    pub restored: Option<Vec<f64>>,
}

/// Compares two models on the same samples; the first one counts as right. `progress` hears how many steps of how many are
/// done, and stops the comparison by saying `false`.
///
/// For each layer, the first model's layer is run on the second model's inputs of that layer, and what it makes is put in
/// the place of what the second model made; the rest of the second model then runs from there, all else coming from its own
/// run. The drop of the output error is what the layer contributes.
///
/// # Errors
/// Models that do not run or take different batches, samples that cannot be read, models without a layer in common, and a
/// comparison that was stopped.
pub fn compare(
    a: Side<'_>,
    b: Side<'_>,
    chosen: &[usize],
    options: &ComparisonOptions,
    progress: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Comparison, InspectError> {
    let batch = batch_size(a, b, options.batch)?;
    let (mut first, mut second) = (Subject::new(a, options.threads)?, Subject::new(b, options.threads)?);
    let mut tracked: Vec<Tracked> = Vec::new();
    let mut outputs = Outputs::default();
    let (mut done, mut restored) = (0, 0);
    let runs = chosen.len().div_ceil(batch.max(1));
    for (index, chunk) in chosen.chunks(batch.max(1)).enumerate() {
        let x = first.run(&inputs(a, chunk, batch)?)?;
        let y = second.run(&inputs(b, chunk, batch)?)?;
        if index == 0 {
            let pairs = align(&first, &second, &x.1, &y.1);
            let track = |pair| Tracked { pair, measure: Measure::default(), restored: None };
            tracked = pairs.into_iter().map(track).collect();
            if tracked.iter().all(|tracked| second.logicals[tracked.pair.b].node.is_none()) {
                return Err(b.model.request(
                    format!("no layer is the same as one of {}", a.model.path.display()),
                    "give two models of one network: names, or operators and shapes in their order, must agree",
                ));
            }
        }
        let is_restored = restored < options.restored;
        outputs.add(&first, &second, &x.0, &y.0, is_restored)?;
        for tracked in &mut tracked {
            measure(&first, &second, tracked, &x.1, &y.1);
        }
        done += chunk.len();
        let steps = tracked.len() + 1;
        if !progress(index * steps + 1, runs * steps) {
            return Err(b.model.request("stopped", "give --limit N for fewer samples"));
        }
        if is_restored {
            restored += chunk.len();
            let pairs = pairs_of(&first, &tracked);
            for at in 0..tracked.len() {
                restore(&first, &second, &mut tracked, at, &pairs, (&x, &y), options.threads)?;
                if !progress(index * steps + at + 2, runs * steps) {
                    return Err(b.model.request("stopped", "give --limit N for fewer samples"));
                }
            }
        }
    }
    report(&first, &second, tracked, outputs, (done, restored))
}

/// How many samples both models take in one run.
fn batch_size(a: Side<'_>, b: Side<'_>, wanted: usize) -> Result<usize, InspectError> {
    match (a.samples.batch_rule(), b.samples.batch_rule()) {
        (BatchRule::Any, BatchRule::Any) => Ok(wanted.max(1)),
        (BatchRule::Exactly(size), BatchRule::Any) | (BatchRule::Any, BatchRule::Exactly(size)) => {
            Ok(size.max(1))
        }
        (BatchRule::Exactly(one), BatchRule::Exactly(other)) if one == other => Ok(one.max(1)),
        (BatchRule::Exactly(one), BatchRule::Exactly(other)) => Err(b.model.request(
            format!("it takes {other} samples at a time, and {} takes {one}", a.model.path.display()),
            "export both with the same or with an open batch",
        )),
    }
}

fn inputs(side: Side<'_>, chunk: &[usize], batch: usize) -> Result<Vec<(String, Tensor)>, InspectError> {
    let mut found = batches(side.samples, chunk, batch);
    match found.next() {
        Some(batch) => named_tensors(batch?),
        None => Ok(Vec::new()),
    }
}

fn align(first: &Subject<'_>, second: &Subject<'_>, x: &Recorded, y: &Recorded) -> Vec<Pair> {
    let (a_shapes, b_shapes) = (first.shapes(x), second.shapes(y));
    let a: Vec<Shaped<'_>> = zip(&first.logicals, &a_shapes);
    let b: Vec<Shaped<'_>> = zip(&second.logicals, &b_shapes);
    let named = by_name(&a, &b, &[&first.renames, &second.renames]);
    let layers = |pairs: &[Pair]| pairs.iter().filter(|pair| second.logicals[pair.b].node.is_some()).count();
    let all = b.iter().filter(|value| value.logical.node.is_some() && value.shape.is_some()).count();
    let mut pairs = named;
    if 2 * layers(&pairs) < all {
        let ordered = by_order(&a, &b, &[]);
        if layers(&ordered) > layers(&pairs) {
            pairs = ordered;
        }
    }
    // Between layers that are aligned, the order says more than it does for the whole.
    let between = by_order(&a, &b, &pairs);
    pairs.extend(between);
    pairs.sort_by_key(|pair| pair.b);
    // Where a shape reads both ways, what the values say decides.
    for pair in &mut pairs {
        let (Some((x, x_shape)), Some((y, y_shape))) = (first.value(pair.a, x), second.value(pair.b, y))
        else {
            continue;
        };
        let ambiguous = pair.permutation == Permutation::Same
            && x_shape == y_shape
            && x_shape.len() > 2
            && pair.how == How::Order
            && channels_first_shape(&y_shape) == x_shape;
        if ambiguous {
            let cosine = |permutation| {
                let mut measure = Measure::default();
                measure.add(&x, &in_layout_of_a(&y, &y_shape, permutation));
                measure.cosine()
            };
            if cosine(Permutation::ChannelsLast) > cosine(Permutation::Same) {
                pair.permutation = Permutation::ChannelsLast;
            }
        }
    }
    pairs
}

fn zip<'a>(logicals: &'a [Logical], shapes: &'a [Option<Vec<usize>>]) -> Vec<Shaped<'a>> {
    let shaped =
        |(logical, shape): (&'a Logical, &'a Option<Vec<usize>>)| Shaped { logical, shape: shape.as_deref() };
    logicals.iter().zip(shapes).map(shaped).collect()
}

/// Numbers of the second model in the first one's order of axes.
fn in_layout_of_a(numbers: &[f32], shape: &[usize], permutation: Permutation) -> Vec<f32> {
    match permutation {
        Permutation::Same => numbers.to_vec(),
        Permutation::ChannelsLast => to_channels_first(numbers, shape),
        Permutation::ChannelsFirst => to_channels_last(numbers, shape),
    }
}

/// The way back.
fn in_layout_of_b(numbers: &[f32], a_shape: &[usize], permutation: Permutation) -> Vec<f32> {
    match permutation {
        Permutation::Same => numbers.to_vec(),
        Permutation::ChannelsLast => to_channels_last(numbers, a_shape),
        Permutation::ChannelsFirst => to_channels_first(numbers, a_shape),
    }
}

fn shape_of_a(b_shape: &[usize], permutation: Permutation) -> Vec<usize> {
    match permutation {
        Permutation::Same => b_shape.to_vec(),
        Permutation::ChannelsLast => channels_first_shape(b_shape),
        Permutation::ChannelsFirst => channels_last_shape(b_shape),
    }
}

fn measure(first: &Subject<'_>, second: &Subject<'_>, tracked: &mut Tracked, x: &Recorded, y: &Recorded) {
    let pair = tracked.pair;
    let (Some((a, _)), Some((b, shape))) = (first.value(pair.a, x), second.value(pair.b, y)) else { return };
    tracked.measure.add(&a, &in_layout_of_a(&b, &shape, pair.permutation));
    let logical = &second.logicals[pair.b];
    if let Some((id, params)) = &logical.integers
        && let Some(stored) = y.get(&second.graph.value(*id).name).and_then(numbers)
    {
        tracked.measure.add_integers(&stored, params);
    }
}

/// Values of the first graph that both models have, with the place of their pair.
fn pairs_of(first: &Subject<'_>, tracked: &[Tracked]) -> HashMap<ValueId, usize> {
    let places: HashMap<usize, usize> =
        tracked.iter().enumerate().map(|(place, tracked)| (tracked.pair.a, place)).collect();
    let of = |(&id, at): (&ValueId, &usize)| places.get(at).map(|&place| (id, place));
    first.places.iter().filter_map(of).collect()
}

fn restore(
    first: &Subject<'_>,
    second: &Subject<'_>,
    tracked: &mut [Tracked],
    at: usize,
    pairs: &HashMap<ValueId, usize>,
    (x, y): (&Ran, &Ran),
    threads: usize,
) -> Result<(), InspectError> {
    let pair = tracked[at].pair;
    let (a, b) = (&first.logicals[pair.a], &second.logicals[pair.b]);
    let Some((found, b_shape)) = second.value(pair.b, &y.1) else { return Ok(()) };
    // What the first model's layer makes of the second model's inputs; of an input, the input itself.
    let right = match Segment::new(first.side.model, &first.graph, a, at, pairs, threads)? {
        None if a.node.is_none() => first.value(pair.a, &x.1).map(|(numbers, _)| numbers),
        None => None,
        Some(mut segment) => {
            let value = |id: ValueId, place: Option<usize>| match place {
                None => x.1.get(&first.graph.value(id).name).cloned(),
                Some(place) => {
                    let pair = tracked[place].pair;
                    let (numbers, shape) = second.value(pair.b, &y.1)?;
                    let numbers = in_layout_of_a(&numbers, &shape, pair.permutation);
                    // The first model's own shape, which may have more extents of one.
                    let own = first.value(pair.a, &x.1).map(|(_, shape)| shape);
                    Tensor::from_vec(own.unwrap_or_else(|| shape_of_a(&shape, pair.permutation)), numbers)
                        .ok()
                }
            };
            segment.run(first.side.model, &first.graph, value)?.and_then(|tensor| real(&tensor, None))
        }
    };
    let Some(right) = right.filter(|right| right.len() == found.len()) else { return Ok(()) };
    tracked[at].measure.add_own(&right, &in_layout_of_a(&found, &b_shape, pair.permutation));
    let Some(mut remainder) = Remainder::new(second.side.model, &second.graph, b, threads)? else {
        return Ok(());
    };
    let a_shape = shape_of_a(&b_shape, pair.permutation);
    let right = in_layout_of_b(&right, &a_shape, pair.permutation);
    let Ok(right) = Tensor::from_vec(b_shape, right) else { return Ok(()) };
    let params = b.integers.as_ref().map(|(_, params)| params);
    let Some(results) = remainder.run(second.side.model, &second.graph, &right, params, &y.1)? else {
        return Ok(());
    };
    // Outputs that do not follow from the layer keep their error.
    let mut now: Vec<Option<Vec<f32>>> = y.0.clone();
    for (&position, tensor) in remainder.outputs.iter().zip(&results) {
        let params = second.output_params.get(position).and_then(Option::as_ref);
        if let Some(slot) = now.get_mut(position) {
            *slot = real(tensor, params);
        }
    }
    let noise: Vec<f64> = x.0.iter().zip(&now).map(|(x, y)| noise(x.as_deref(), y.as_deref())).collect();
    let sums = tracked[at].restored.get_or_insert_with(|| vec![0.0; noise.len()]);
    for (sum, noise) in sums.iter_mut().zip(noise) {
        *sum += noise;
    }
    Ok(())
}

fn noise(x: Option<&[f32]>, y: Option<&[f32]>) -> f64 {
    let (Some(x), Some(y)) = (x, y) else { return 0.0 };
    let squared = |(&x, &y): (&f32, &f32)| {
        let difference = finite(x) - finite(y);
        difference * difference
    };
    x.iter().zip(y).map(squared).sum()
}

/// The outputs of both, over all samples and over those on which layers are restored.
#[derive(Default)]
pub(super) struct Outputs {
    pub all: Vec<(Measure, f64)>,
    pub restored: Vec<(f64, f64)>,
}

impl Outputs {
    fn add(
        &mut self,
        first: &Subject<'_>,
        second: &Subject<'_>,
        x: &[Option<Vec<f32>>],
        y: &[Option<Vec<f32>>],
        is_restored: bool,
    ) -> Result<(), InspectError> {
        let lengths = |outputs: &[Option<Vec<f32>>]| -> Vec<Option<usize>> {
            outputs.iter().map(|output| output.as_ref().map(Vec::len)).collect()
        };
        if lengths(x) != lengths(y) {
            return Err(second.side.model.request(
                format!("its outputs are not those of {}", first.side.model.path.display()),
                "give two models of one network",
            ));
        }
        self.all.resize_with(x.len(), Default::default);
        self.restored.resize(x.len(), (0.0, 0.0));
        for (index, (x, y)) in x.iter().zip(y).enumerate() {
            let (Some(x), Some(y)) = (x, y) else { continue };
            let (measure, total) = &mut self.all[index];
            measure.add(x, y);
            *total += x.iter().zip(y).map(|(&x, &y)| (finite(x) - finite(y)).abs()).sum::<f64>();
            if is_restored {
                let (signal, sum) = &mut self.restored[index];
                *signal += x.iter().map(|&x| finite(x) * finite(x)).sum::<f64>();
                *sum += noise(Some(x), Some(y));
            }
        }
        Ok(())
    }

    /// Noise over signal, summed over outputs.
    pub fn error(&self, noise: impl Iterator<Item = f64>) -> f64 {
        let relative = |((signal, _), noise): (&(f64, f64), f64)| {
            if noise == 0.0 { 0.0 } else { noise / signal.max(f64::MIN_POSITIVE) }
        };
        self.restored.iter().zip(noise).map(relative).sum()
    }
}
