//! From what was measured to what is said of each layer.

use std::collections::{HashMap, HashSet};

use calipers_ir::{DType, Graph, ValueId};
use calipers_quant::ValueAssignment;

use crate::InspectError;
use crate::evaluate::OutputDifference;

use super::align::{How, Permutation};
use super::logical::Logical;
use super::run::{Outputs, Subject, Tracked};
use super::{Alignment, Comparison, LayerComparison};

/// A value without error counts as one of this many decibels when the next layer is held against it: about what eight bits
/// can say.
const BEST: f64 = 40.0;
/// How far below its inputs a layer is that diverges, in decibels.
const MARGIN: f64 = 10.0;
/// Where a value, or what the layer itself adds, is better than this, nothing diverges.
const GOOD: f64 = 25.0;

/// What is said of both models after `samples` samples, of which layers were restored on `restored`.
pub(super) fn report(
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
        // A layer may amplify what came before without an error of its own.
        let is_its_own = measure.own_sqnr().is_none_or(|own| own.is_some_and(|own| own < GOOD));
        let falls = |own: f64| own < GOOD && own + MARGIN <= input_sqnr.unwrap_or(BEST).min(BEST);
        let diverges = is_its_own && own.is_some_and(falls);
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
    // Shapes, positions and conditions are no values to compare.
    let is_real = |logical: &Logical| {
        let dtype = second.graph.value(logical.raw).ty.dtype;
        let steers = dtype.integer_range().is_some() || matches!(dtype, DType::Bool | DType::String);
        logical.integers.is_some() || !steers
    };
    let layers_of_b = second.logicals.iter().enumerate();
    let all = layers_of_b.filter(|(_, logical)| logical.node.is_some() && is_real(logical));
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
    let mut seen = HashSet::new();
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
