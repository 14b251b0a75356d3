//! The comparison itself: both models on the same samples, then the rest of the second one for each layer.

use std::collections::HashMap;

use calipers_data::samples::{BatchRule, batches};
use calipers_ir::{Graph, QuantParams, Renames, Tensor, ValueId};
use calipers_passes::Rewritten;
use calipers_quant::ValueAssignment;
use calipers_runtime::{Recorder, Session};

use crate::distribution::numbers;
use crate::evaluate::OutputDifference;
use crate::layout::{channels_first_shape, channels_last_shape, to_channels_first, to_channels_last};
use crate::outputs::{output_params, real, run};
use crate::{InspectError, Side, named_tensors};

use super::align::{How, Pair, Permutation, Shaped, by_name, by_order};
use super::logical::{Logical, logicals};
use super::measure::{Measure, finite};
use super::restore::{Recorded, Remainder, to_record};
use super::segment::Segment;
use super::{Alignment, Comparison, ComparisonOptions, LayerComparison};

/// What both models are, ready to run with everything recorded.
struct Subject<'a> {
    side: Side<'a>,
    graph: Graph,
    renames: Renames,
    logicals: Vec<Logical>,
    places: HashMap<ValueId, usize>,
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
    fn run(
        &mut self,
        inputs: &[(String, Tensor)],
    ) -> Result<(Vec<Option<Vec<f32>>>, Recorded), InspectError> {
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
struct Tracked {
    pair: Pair,
    measure: Measure,
    /// Noise of each output when this layer alone is restored.
    restored: Option<Vec<f64>>,
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

type Ran = (Vec<Option<Vec<f32>>>, Recorded);

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
struct Outputs {
    all: Vec<(Measure, f64)>,
    restored: Vec<(f64, f64)>,
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
    fn error(&self, noise: impl Iterator<Item = f64>) -> f64 {
        let relative = |((signal, _), noise): (&(f64, f64), f64)| {
            if noise == 0.0 { 0.0 } else { noise / signal.max(f64::MIN_POSITIVE) }
        };
        self.restored.iter().zip(noise).map(relative).sum()
    }
}

/// A value without error counts as one of this many decibels when the next layer is held against it: about what eight bits
/// can say.
const BEST: f64 = 40.0;
/// How far below its inputs a layer is that diverges, in decibels.
const MARGIN: f64 = 10.0;
/// Above this, nothing diverges.
const GOOD: f64 = 25.0;

fn report(
    first: &Subject<'_>,
    second: &Subject<'_>,
    tracked: Vec<Tracked>,
    outputs: Outputs,
    (samples, restored): (usize, usize),
) -> Result<Comparison, InspectError> {
    let assignment = second.side.model.assignment()?;
    let sqnr: HashMap<usize, Option<f64>> =
        tracked.iter().map(|tracked| (tracked.pair.b, tracked.measure.sqnr())).collect();
    let error = outputs.error(outputs.restored.iter().map(|(_, noise)| *noise));
    let mut alignment = Alignment::default();
    let mut layers = Vec::new();
    for tracked in &tracked {
        let (a, b) = (&first.logicals[tracked.pair.a], &second.logicals[tracked.pair.b]);
        let measure = &tracked.measure;
        if measure.count == 0 {
            continue;
        }
        match tracked.pair.how {
            How::Name => alignment.name += 1,
            How::Renamed => alignment.renamed += 1,
            How::Order => alignment.order += 1,
        }
        alignment.permuted += usize::from(tracked.pair.permutation != Permutation::Same);
        let input_sqnr = least_of_inputs(second, b, &sqnr);
        let own = measure.sqnr();
        let diverges =
            own.is_some_and(|own| own < GOOD && own + MARGIN <= input_sqnr.unwrap_or(BEST).min(BEST));
        let params = b.integers.as_ref().map(|(_, params)| params);
        let representable = params.and_then(|params| {
            let (low, high) = params.dtype.integer_range()?;
            let (&[scale], &[zero]) = (params.scale.as_slice(), params.zero_point.as_slice()) else {
                return None;
            };
            let real = |integer: i64| f64::from(scale) * (integer - zero) as f64;
            Some((real(low), real(high)))
        });
        let assigned = assignment.as_ref().and_then(|assignment| {
            b.names.iter().find_map(|name| match assignment.values.get(name)? {
                ValueAssignment::Own(chosen) => Some((chosen.seen.min, chosen.seen.max)),
                ValueAssignment::SameAs(_) => None,
            })
        });
        let after = tracked.restored.as_ref().map(|noise| outputs.error(noise.iter().copied()));
        layers.push(LayerComparison {
            name: b.name().to_owned(),
            node: b.node.map(|id| second.graph.node(id).name.clone()),
            operator: b.operator.clone(),
            counterpart: a.name().to_owned(),
            how: tracked.pair.how,
            permutation: tracked.pair.permutation,
            place: tracked.pair.b,
            dtype: params.map_or_else(
                || second.graph.value(b.raw).ty.dtype.to_string(),
                |params| params.dtype.to_string(),
            ),
            sqnr: own,
            input_sqnr,
            own_sqnr: measure.own_sqnr(),
            cosine: measure.cosine(),
            largest_difference: measure.largest,
            saturated: measure.saturated(),
            dead: params.and_then(|params| measure.dead(params)),
            observed: measure.observed,
            representable,
            calibrated: assigned,
            contribution: after.filter(|_| error > 0.0).map(|after| (error - after) / error),
            diverges,
        });
    }
    let aligned: Vec<usize> = layers.iter().map(|layer| layer.place).collect();
    let all = second.logicals.iter().enumerate().filter(|(_, logical)| logical.node.is_some());
    alignment.layers = all.clone().count();
    let unaligned =
        all.filter(|(place, _)| !aligned.contains(place)).map(|(_, logical)| logical.name().to_owned());
    let diverges_first = layers.iter().filter(|layer| layer.diverges).min_by_key(|layer| layer.place);
    let diverges_first = diverges_first.map(|layer| layer.name.clone());
    layers.sort_by(|x, y| {
        let key = |layer: &LayerComparison| layer.contribution.unwrap_or(f64::NEG_INFINITY);
        key(y).total_cmp(&key(x)).then(x.place.cmp(&y.place))
    });
    let outputs_of = |graph: &Graph| -> Vec<String> {
        graph.outputs().iter().map(|&id| graph.value(id).name.clone()).collect()
    };
    let names = outputs_of(&second.graph).into_iter().zip(outputs_of(&first.graph));
    let differences = names.zip(&outputs.all).map(|((name, other), (measure, total))| OutputDifference {
        name,
        other,
        largest: measure.largest,
        mean: total / measure.count.max(1) as f64,
        sqnr: measure.sqnr(),
    });
    let mut notes = Vec::new();
    if alignment.order > 0 {
        notes.push(String::from(
            "names do not agree; layers are aligned by operator, shape and order, and one with a cosine near 0 may be \
             aligned with another",
        ));
    }
    if layers.iter().any(|layer| layer.contribution.is_none()) && error > 0.0 {
        notes.push(String::from("layers without a contribution could not be restored alone"));
    }
    Ok(Comparison {
        version: 1,
        a: first.side.model.path.clone(),
        b: second.side.model.path.clone(),
        samples,
        restored,
        outputs: differences.collect(),
        output_error: error,
        alignment,
        unaligned: unaligned.collect(),
        layers,
        diverges_first,
        notes,
    })
}

/// The least signal to noise of the aligned values that a layer reads; `None` where none of them differs.
fn least_of_inputs(
    second: &Subject<'_>,
    logical: &Logical,
    sqnr: &HashMap<usize, Option<f64>>,
) -> Option<f64> {
    let mut open: Vec<ValueId> = logical
        .node
        .map(|id| second.graph.node(id).inputs.iter().flatten().copied().collect())
        .unwrap_or_default();
    let mut seen = std::collections::HashSet::new();
    let mut least: Option<f64> = None;
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        match second.places.get(&id).and_then(|at| sqnr.get(at)) {
            Some(Some(found)) => least = Some(least.map_or(*found, |least| least.min(*found))),
            Some(None) => {}
            None => {
                if let Some(producer) = second.graph.producer(id) {
                    open.extend(second.graph.node(producer).inputs.iter().flatten());
                }
            }
        }
    }
    least
}
