//! The choice of an observer by what it does to those who read a value.

use std::collections::{BTreeMap, HashMap};

use calipers_ir::{DType, Graph, GraphEditor, Node, Op, Tensor, TensorType, ValueId};
use calipers_runtime::{Demand, Probe, Session, SessionOptions};

use crate::decide::{Decision, Structure, decide};
use crate::ranges::squared_error;
use crate::{
    Batch, CalibrationOptions, CalibrationTable, Candidate, ObserverKind, Parameters, QuantError, Recipe,
};

/// Judges the candidates of every value whose observer is chosen automatically, and leaves what it found in the table.
///
/// The graph runs on the samples. For each node that reads such a value (or what only rearranges it) behind its
/// Dequantize node, that node alone runs on the real input and on the input as each candidate would quantize it, all else
/// in float; the squared error of its output, relative to the output's square, is added up over readers and samples.
/// A value that no such node reads is judged by its own error. Where the value's own squared error, by its histogram, is
/// larger over all that was observed than over the samples, the candidate's error is multiplied by that ratio, because a
/// range that cuts extremes costs nothing on samples that lack them. Candidates with the same parameters are judged once.
///
/// # Errors
/// A graph that does not run.
pub fn judge(
    graph: &Graph,
    samples: &[Batch],
    recipe: &Recipe,
    options: &CalibrationOptions,
    table: &mut CalibrationTable,
) -> Result<(), QuantError> {
    let mut session = options.session(graph)?;
    judge_in(&mut session, graph, samples, recipe, options, table)
}

/// [`judge`] with a session that has run the graph before, and so has its weights packed.
pub(crate) fn judge_in(
    session: &mut Session,
    graph: &Graph,
    samples: &[Batch],
    recipe: &Recipe,
    options: &CalibrationOptions,
    table: &mut CalibrationTable,
) -> Result<(), QuantError> {
    let structure = decide(graph, recipe)?;
    let mut jury = Jury::new(graph, &structure, table, options.threads);
    if jury.contests.is_empty() {
        return Ok(());
    }
    for sample in samples {
        let inputs: Vec<(&str, Tensor)> =
            sample.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
        jury.begin();
        session
            .run(&inputs, &mut jury)
            .map_err(|error| QuantError::Run { graph: graph.name().to_owned(), error: Box::new(error) })?;
    }
    for (id, mut contest) in jury.contests {
        contest.weigh();
        if let Some(observer) = table.values.get_mut(&graph.value(id).name) {
            let judged = contest.candidates.into_iter().map(|(_, candidate)| candidate);
            observer.candidates = if contest.judged { judged.collect() } else { Vec::new() };
        }
    }
    Ok(())
}

/// The candidates for one value.
struct Contest {
    candidates: Vec<(Parameters, Candidate)>,
    /// For each candidate, the mean squared error of the value itself over all that was observed.
    observed: Vec<f64>,
    /// The same, summed, over what the candidates were judged on, and how many numbers that were.
    kept: Vec<f64>,
    count: u64,
    judged: bool,
    /// Whether some node can judge; else the value's own error does.
    has_readers: bool,
}

impl Contest {
    /// Counts what the candidates do to the value itself in one tensor.
    fn count(&mut self, x: &Tensor) {
        let Some(real) = x.as_f32() else { return };
        self.count += real.len() as u64;
        for ((parameters, _), kept) in self.candidates.iter().zip(&mut self.kept) {
            if let Ok(quantized) = parameters.fake_quantize("x", x)
                && let Some(quantized) = quantized.as_f32()
            {
                let squares = real.iter().zip(quantized.iter()).map(|(a, b)| f64::from(a - b).powi(2));
                *kept += squares.sum::<f64>();
            }
        }
    }

    /// Makes up for the extremes that the few samples lack.
    fn weigh(&mut self) {
        let candidates = self.candidates.iter_mut().zip(self.observed.iter().zip(&self.kept));
        for ((_, candidate), (&observed, &kept)) in candidates {
            let kept = kept / self.count.max(1) as f64;
            if kept > 0.0 && observed > kept {
                candidate.error *= observed / kept;
            }
        }
    }
}

/// A probe that judges as values come.
struct Jury<'a> {
    graph: &'a Graph,
    threads: usize,
    names: HashMap<&'a str, ValueId>,
    contests: HashMap<ValueId, Contest>,
    /// For each judging node, in the order of the graph so that sums are the same in every run, its arguments in question and whose candidates they have.
    readers: BTreeMap<usize, Vec<(ValueId, ValueId)>>,
    /// The nodes that need a value.
    needed_by: HashMap<ValueId, Vec<usize>>,
    /// In the sample at hand: values that nodes still wait for, and how many values a node waits for.
    live: HashMap<ValueId, Tensor>,
    waiting: HashMap<usize, usize>,
    left: HashMap<ValueId, usize>,
}

impl<'a> Jury<'a> {
    fn new(graph: &'a Graph, structure: &Structure, table: &CalibrationTable, threads: usize) -> Jury<'a> {
        let mut contests = HashMap::new();
        for (&id, value) in structure.values.iter().filter(|(id, value)| **id == value.root) {
            let Some(observer) = table.values.get(&graph.value(id).name) else { continue };
            if observer.kind != ObserverKind::Auto {
                continue;
            }
            let mut candidates: Vec<(Parameters, Candidate)> = Vec::new();
            for kind in ObserverKind::CANDIDATES {
                let Some(range) = observer.range_by(kind, &value.scheme) else { continue };
                let parameters = Parameters::of_activation(range, &value.scheme);
                if candidates.iter().all(|(known, _)| *known != parameters) {
                    candidates.push((parameters, Candidate { observer: kind, range, error: 0.0 }));
                }
            }
            let bins = match (&observer.histogram, observer.range) {
                (Some(histogram), Some(range)) => histogram.bins(range),
                _ => Vec::new(),
            };
            let elements = observer.elements.max(1) as f64;
            let mean =
                |(parameters, _): &(Parameters, Candidate)| squared_error(&bins, parameters) / elements;
            let observed: Vec<f64> = candidates.iter().map(mean).collect();
            let kept = vec![0.0; candidates.len()];
            let contest = Contest { candidates, observed, kept, count: 0, judged: false, has_readers: false };
            contests.insert(id, contest);
        }
        let mut readers: BTreeMap<usize, Vec<(ValueId, ValueId)>> = BTreeMap::new();
        for (id, node) in graph.node_ids() {
            let decision = &structure.nodes[id.index()];
            let real = node.outputs.first().is_some_and(|&output| graph.value(output).ty.dtype == DType::F32);
            let rearranges = matches!(decision, Decision::Static { same_parameters: true, .. });
            if !real || rearranges || matches!(node.op, Op::Control(_) | Op::Opaque(_)) {
                continue;
            }
            let mut inputs: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
            inputs.sort_unstable();
            inputs.dedup();
            for input in inputs {
                let Some(value) = structure.values.get(&input) else { continue };
                let made_quantized = graph
                    .producer(input)
                    .is_some_and(|node| matches!(structure.nodes[node.index()], Decision::Static { .. }));
                let reads = made_quantized || decision.reads_integers(node, input);
                if let Some(contest) = contests.get_mut(&value.root).filter(|_| reads) {
                    contest.has_readers = true;
                    readers.entry(id.index()).or_default().push((input, value.root));
                }
            }
        }
        let mut needed_by: HashMap<ValueId, Vec<usize>> = HashMap::new();
        for &reader in readers.keys() {
            let mut inputs: Vec<ValueId> = graph.nodes()[reader].inputs.iter().flatten().copied().collect();
            inputs.sort_unstable();
            inputs.dedup();
            for input in inputs.into_iter().filter(|&input| graph.constant(input).is_none()) {
                needed_by.entry(input).or_default().push(reader);
            }
        }
        let names = graph.value_ids().map(|(id, value)| (value.name.as_str(), id)).collect();
        Jury {
            graph,
            threads,
            names,
            contests,
            readers,
            needed_by,
            live: HashMap::new(),
            waiting: HashMap::new(),
            left: HashMap::new(),
        }
    }

    /// Begins another sample.
    fn begin(&mut self) {
        self.live.clear();
        self.waiting.clear();
        self.left = self.needed_by.iter().map(|(&value, nodes)| (value, nodes.len())).collect();
        for node in self.needed_by.values().flatten() {
            *self.waiting.entry(*node).or_default() += 1;
        }
    }

    /// Runs a node whose inputs are all there.
    fn hear(&mut self, reader: usize) {
        let node = &self.graph.nodes()[reader];
        for (value, root) in self.readers.get(&reader).cloned().unwrap_or_default() {
            let Some(x) = self.live.get(&value).cloned() else { continue };
            let Some(mut alone) = Alone::new(self.graph, node, value, &self.live, self.threads) else {
                continue;
            };
            let Some(contest) = self.contests.get_mut(&root) else { continue };
            let Some(real) = alone.run(&x) else { continue };
            contest.judged = true;
            contest.count(&x);
            for (parameters, candidate) in &mut contest.candidates {
                let quantized = parameters.fake_quantize(node.name.as_str(), &x).ok();
                candidate.error += quantized
                    .and_then(|x| alone.run(&x))
                    .map_or(f64::INFINITY, |y| relative_error(&real, &y));
            }
        }
    }
}

impl Probe for Jury<'_> {
    fn demand(&self) -> Demand {
        let unread = self.contests.iter().filter(|(_, contest)| !contest.has_readers).map(|(id, _)| id);
        let mut wanted: Vec<ValueId> = self.needed_by.keys().chain(unread).copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        Demand::Values(wanted.into_iter().map(|id| self.graph.value(id).name.clone()).collect())
    }

    fn value(&mut self, name: &str, value: &Tensor) {
        let Some(&id) = self.names.get(name) else { return };
        if let Some(contest) = self.contests.get_mut(&id).filter(|contest| !contest.has_readers)
            && let Some(real) = value.as_f32()
        {
            contest.judged = true;
            contest.count(value);
            for (parameters, candidate) in &mut contest.candidates {
                let quantized = parameters.fake_quantize(name, value).ok();
                let error = quantized.and_then(|x| Some(relative_error(&real, x.as_f32()?.as_ref())));
                candidate.error += error.unwrap_or(f64::INFINITY);
            }
        }
        let Some(nodes) = self.needed_by.get(&id).cloned() else { return };
        self.live.insert(id, value.clone());
        for node in nodes {
            let Some(waiting) = self.waiting.get_mut(&node) else { continue };
            *waiting = waiting.saturating_sub(1);
            if *waiting > 0 {
                continue;
            }
            self.hear(node);
            let mut inputs: Vec<ValueId> =
                self.graph.nodes()[node].inputs.iter().flatten().copied().collect();
            inputs.sort_unstable();
            inputs.dedup();
            for input in &inputs {
                let Some(left) = self.left.get_mut(input) else { continue };
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.live.remove(input);
                }
            }
        }
    }
}

/// One node by itself, with one argument left open.
struct Alone {
    session: Session,
}

impl Alone {
    /// `None` when the node does not run.
    fn new(
        graph: &Graph,
        node: &Node,
        open: ValueId,
        live: &HashMap<ValueId, Tensor>,
        threads: usize,
    ) -> Option<Alone> {
        let mut editor = GraphEditor::new(node.name.as_str());
        editor.set_requantization(graph.requantization());
        let x = editor.add_input("x", live.get(&open)?.tensor_type()).ok()?;
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for (index, input) in node.inputs.iter().enumerate() {
            inputs.push(match input {
                None => None,
                Some(id) if *id == open => Some(x),
                Some(id) => {
                    let tensor = graph.constant(*id).or_else(|| live.get(id))?;
                    Some(editor.add_constant(format!("input {index}"), tensor.clone()).ok()?)
                }
            });
        }
        let outputs = node.outputs.iter().enumerate();
        let outputs = outputs.map(|(index, &output)| {
            (format!("output {index}"), TensorType::unranked(graph.value(output).ty.dtype))
        });
        let outputs = editor.add_typed_node("node", node.op.clone(), &inputs, outputs.collect()).ok()?;
        editor.add_output(*outputs.first()?);
        let options = SessionOptions::default().with_threads(threads);
        Some(Alone { session: Session::new(editor.build().ok()?, options).ok()? })
    }

    fn run(&mut self, x: &Tensor) -> Option<Vec<f32>> {
        let outputs = self.session.run(&[("x", x.clone())], &mut ()).ok()?;
        outputs.first()?.as_f32().map(std::borrow::Cow::into_owned)
    }
}

/// `sum (y - x)^2 / sum x^2`; 0 where both are 0.
fn relative_error(real: &[f32], other: &[f32]) -> f64 {
    let (mut power, mut error) = (0f64, 0f64);
    for (&x, &y) in real.iter().zip(other) {
        power += f64::from(x) * f64::from(x);
        error += (f64::from(x) - f64::from(y)) * (f64::from(x) - f64::from(y));
    }
    if error == 0.0 { 0.0 } else { error / power.max(f64::MIN_POSITIVE) }
}

#[cfg(test)]
mod tests {
    use calipers_ir::{DType, Dim, Graph, GraphEditor, Op, Tensor, TensorType};

    use crate::{CalibrationOptions, Candidate, ObserverKind, Recipe, calibrate};

    const WIDTH: usize = 4000;

    /// `x -> MatMul(w)`, where the last number of every row is a hundred times larger than the others.
    fn graph(last_weight: f32) -> Graph {
        let mut editor = GraphEditor::new("outlier");
        let ty = TensorType::new(DType::F32, [Dim::symbolic("N"), Dim::Known(WIDTH)]);
        let x = editor.add_input("x", ty).unwrap();
        let mut weights: Vec<f32> = (0..WIDTH).map(|index| ((index * 7) % 11) as f32 / 5.0 - 1.0).collect();
        weights[WIDTH - 1] = last_weight;
        let w = editor.add_constant("w", Tensor::from_vec([WIDTH, 1], weights).unwrap()).unwrap();
        let y = editor.add("y", Op::MatMul, &[x, w]).unwrap();
        editor.add_output(y);
        editor.build().unwrap()
    }

    fn winner(graph: &Graph) -> Candidate {
        let batches = (0..3).map(|batch| {
            let mut row: Vec<f32> =
                (0..WIDTH).map(|index| ((index * 37 + batch * 11) % 101) as f32 / 50.0 - 1.0).collect();
            row[WIDTH - 1] = 100.0;
            vec![(String::from("x"), Tensor::from_vec([1, WIDTH], row).unwrap())]
        });
        let options = CalibrationOptions::default();
        let table = calibrate(graph, batches, &Recipe::default(), &options, |_| {}).unwrap();
        let x = &table.values["x"];
        assert_eq!(x.kind, ObserverKind::Auto);
        assert!(x.candidates.len() > 1, "{:?}", x.candidates);
        x.winner().unwrap().clone()
    }

    #[test]
    fn an_outlier_counts_for_what_its_readers_make_of_it() {
        let ignored = winner(&graph(0.0));
        assert!(ignored.range.max < 10.0, "{ignored:?}");
        let read = winner(&graph(1.0));
        assert!(read.range.max > 90.0, "{read:?}");
    }
}
