//! A graph compiled for what is known of its inputs: a plan, and what has to wait for data.
//!
//! Everything whose shapes follow from the shapes of the inputs is one [`Plan`]. A node whose result has a shape that
//! depends on data, or that runs a subgraph, is run after it by itself; what comes later is a program of its own, made
//! when the shapes are there.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use calipers_ir::{DType, Graph, Node, NodeId, Op, Tensor, ValueId};
use calipers_kernels::Execution;
use calipers_passes::extract;

use crate::arena::Memory;
use crate::control;
use crate::error::Error;
use crate::evaluate::evaluate;
use crate::lower::{PackCache, Scope};
use crate::plan::{Plan, StepInfo, Watch};
use crate::shapes::{Given, Shapes, specialize};

/// Most programs that are kept for a graph; the one that was used the longest ago goes first.
const MOST_PROGRAMS: usize = 8;

/// Largest integer tensor whose elements a later program is made for: it may decide shapes.
const LARGEST_SHAPE: usize = 64;

/// What programs run on.
pub(crate) struct Machine<'a> {
    pub(crate) execution: Execution,
    pub(crate) pool: Option<&'a rayon::ThreadPool>,
    /// The graphs that nodes run, by name.
    pub(crate) subgraphs: &'a mut HashMap<String, Runner>,
}

/// A graph with its programs and their memory.
pub(crate) struct Runner {
    graph: Graph,
    packs: PackCache,
    /// The latest used last.
    programs: Vec<(Key, Program)>,
    memory: Memory,
}

/// What a program is made for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) inputs: Vec<Given>,
    pub(crate) wanted: Vec<String>,
}

/// A graph compiled for a [`Key`].
struct Program {
    plan: Plan,
    /// The values that the plan gives, in order.
    exports: Vec<ValueId>,
    /// Nodes that run by themselves after the plan.
    waiting: Vec<NodeId>,
    rest: Option<Box<Rest>>,
}

/// What comes after the waiting nodes.
struct Rest {
    runner: Runner,
    /// The values that it takes, in the graph around it, with what is known of them before running.
    inputs: Vec<(ValueId, Option<Tensor>)>,
    outputs: Vec<ValueId>,
    wanted: Vec<String>,
}

impl Runner {
    pub(crate) fn new(graph: Graph) -> Runner {
        Runner { graph, packs: PackCache::new(), programs: Vec::new(), memory: Memory::new(0) }
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The plan of the program for a key.
    pub(crate) fn plan(&mut self, execution: Execution, key: Key) -> Result<&Plan, Error> {
        self.prepare(execution, key)?;
        let Some((_, program)) = self.programs.last() else {
            unreachable!("`prepare` left the program here")
        };
        Ok(&program.plan)
    }

    /// Runs the graph on inputs in its order; the key says what is known of them.
    pub(crate) fn run(
        &mut self,
        machine: &mut Machine<'_>,
        key: Key,
        inputs: &[Tensor],
        watch: &mut Watch<'_>,
    ) -> Result<Vec<Tensor>, Error> {
        self.prepare(machine.execution, key)?;
        let Runner { graph, programs, memory, .. } = self;
        let Some((_, program)) = programs.last_mut() else { unreachable!("`prepare` left the program here") };
        program.run(graph, machine, memory, inputs, watch)
    }

    /// Makes the program for a key the last of the programs, and the memory large enough for it.
    fn prepare(&mut self, execution: Execution, key: Key) -> Result<(), Error> {
        if let Some(known) = self.programs.iter().position(|(other, _)| *other == key) {
            let program = self.programs.remove(known);
            self.programs.push(program);
        } else {
            let program = Program::new(&self.graph, execution, &key, &mut self.packs)?;
            if self.programs.len() == MOST_PROGRAMS {
                self.programs.remove(0);
            }
            self.programs.push((key, program));
        }
        let words = self.programs.last().map_or(0, |(_, program)| program.plan.words());
        if self.memory.words() < words {
            self.memory = Memory::new(words);
        }
        Ok(())
    }
}

impl Program {
    fn new(graph: &Graph, execution: Execution, key: &Key, packs: &mut PackCache) -> Result<Program, Error> {
        let wanted: HashSet<ValueId> = key.wanted.iter().filter_map(|name| graph.value_named(name)).collect();
        let (constants, shapes) = specialize(graph, &key.inputs)?;
        let split = Split::of(graph, &shapes, &wanted, |value| constants.is_constant(value));
        let planned: HashSet<ValueId> =
            wanted.iter().copied().filter(|value| split.is_planned(graph, *value)).collect();
        let scope = Scope {
            graph,
            constants: &constants,
            shapes: &shapes,
            outputs: &split.exports,
            wanted: &planned,
            isa: execution.isa,
        };
        let plan = Plan::new(&scope, packs)?;
        let rest = match split.rest_outputs.is_empty() {
            true => None,
            false => {
                let part = extract(graph, &split.rest_inputs, &split.rest_outputs).map_err(|error| {
                    Error::Subgraph { node: graph.name().to_owned(), reason: error.to_string() }
                })?;
                let inputs = split.rest_inputs.iter();
                let inputs = inputs.map(|id| Ok((*id, constants.get(*id)?))).collect::<Result<_, Error>>()?;
                let computed = |name: &&String| {
                    let producer = part.value_named(name).and_then(|id| part.producer(id));
                    let own = graph.value_named(name).is_some_and(|id| !split.is_planned(graph, id));
                    producer.is_some() && own
                };
                let wanted = key.wanted.iter().filter(computed).cloned().collect();
                Some(Box::new(Rest {
                    inputs,
                    outputs: split.rest_outputs,
                    wanted,
                    runner: Runner::new(part),
                }))
            }
        };
        Ok(Program { plan, exports: split.exports, waiting: split.waiting, rest })
    }

    fn run(
        &mut self,
        graph: &Graph,
        machine: &mut Machine<'_>,
        memory: &mut Memory,
        inputs: &[Tensor],
        watch: &mut Watch<'_>,
    ) -> Result<Vec<Tensor>, Error> {
        let planned = run_plan(&self.plan, machine, memory, inputs, watch)?;
        if self.waiting.is_empty() {
            return Ok(planned);
        }
        let mut values: HashMap<ValueId, Tensor> =
            graph.inputs().iter().copied().zip(inputs.to_vec()).collect();
        values.extend(self.exports.iter().copied().zip(planned));
        for id in &self.waiting {
            let node = graph.node(*id);
            let arguments: Vec<Option<&Tensor>> =
                node.inputs.iter().map(|input| input.and_then(|id| values.get(&id))).collect();
            let begin = Instant::now();
            let results = run_node(machine, node, &arguments)?;
            if let Watch::Times(time) = watch {
                time(&step_of(node, &results), begin.elapsed());
            }
            for (id, result) in node.outputs.iter().zip(results) {
                if let Watch::Values(value) = watch {
                    value(&graph.value(*id).name, &result);
                }
                values.insert(*id, result);
            }
        }
        if let Some(rest) = &mut self.rest {
            let mut taken = Vec::with_capacity(rest.inputs.len());
            let mut given = Vec::with_capacity(rest.inputs.len());
            for (id, known) in &rest.inputs {
                let tensor = known.as_ref().or_else(|| values.get(id)).cloned().ok_or_else(|| {
                    Error::UnknownValue { name: graph.value(*id).name.clone(), fate: String::new() }
                })?;
                given.push(Given {
                    shape: tensor.shape().to_vec(),
                    data: what_decides_shapes(&tensor, known),
                });
                taken.push(tensor);
            }
            let key = Key { inputs: given, wanted: rest.wanted.clone() };
            let results = rest.runner.run(machine, key, &taken, watch)?;
            values.extend(rest.outputs.iter().copied().zip(results));
        }
        graph
            .outputs()
            .iter()
            .map(|id| {
                values.get(id).cloned().ok_or_else(|| Error::UnknownValue {
                    name: graph.value(*id).name.clone(),
                    fate: String::from(": nothing computes it"),
                })
            })
            .collect()
    }
}

/// The data of an input that a later program is made for.
fn what_decides_shapes(tensor: &Tensor, known: &Option<Tensor>) -> Option<Tensor> {
    let integers = matches!(tensor.dtype(), DType::I32 | DType::I64) && tensor.len() <= LARGEST_SHAPE;
    known.clone().or_else(|| integers.then(|| tensor.clone()))
}

/// Which nodes of a graph are planned, which wait for data, and what comes after those.
struct Split {
    /// By [`calipers_ir::NodeId::index`].
    planned: Vec<bool>,
    waiting: Vec<NodeId>,
    exports: Vec<ValueId>,
    rest_inputs: Vec<ValueId>,
    rest_outputs: Vec<ValueId>,
}

impl Split {
    fn of(
        graph: &Graph,
        shapes: &Shapes,
        wanted: &HashSet<ValueId>,
        is_constant: impl Fn(ValueId) -> bool,
    ) -> Split {
        let mut needed = vec![false; graph.values().len()];
        for id in graph.outputs().iter().chain(wanted) {
            needed[id.index()] = true;
        }
        for (_, node) in graph.node_ids().rev() {
            if node.outputs.iter().any(|output| needed[output.index()]) {
                node.inputs.iter().flatten().for_each(|input| needed[input.index()] = true);
            }
        }
        let mut ready: Vec<bool> = graph.value_ids().map(|(id, _)| graph.producer(id).is_none()).collect();
        let mut split = Split {
            planned: vec![false; graph.nodes().len()],
            waiting: Vec::new(),
            exports: Vec::new(),
            rest_inputs: Vec::new(),
            rest_outputs: Vec::new(),
        };
        let mut later: Vec<NodeId> = Vec::new();
        for (id, node) in graph.node_ids() {
            if !node.outputs.iter().any(|output| needed[output.index()]) {
                continue;
            }
            let known = |id: &ValueId| shapes[id.index()].is_some();
            if !node.inputs.iter().flatten().all(|input| ready[input.index()] && known(input)) {
                later.push(id);
            } else if node.outputs.iter().all(|output| known(output) || is_constant(*output))
                && !matches!(node.op, Op::Control(_))
            {
                split.planned[id.index()] = true;
                node.outputs.iter().for_each(|output| ready[output.index()] = true);
            } else {
                split.waiting.push(id);
            }
        }
        if split.waiting.is_empty() {
            split.exports = graph.outputs().to_vec();
            return split;
        }
        // A Dequantize node belongs to what reads it, so that no integer pattern is cut.
        let mut inside: HashSet<ValueId> =
            later.iter().flat_map(|id| graph.node(*id).outputs.iter().copied()).collect();
        let mut reads: Vec<ValueId> =
            later.iter().flat_map(|id| graph.node(*id).inputs.iter().flatten().copied()).collect();
        let dequantized: Vec<&Node> = reads
            .iter()
            .filter_map(|id| graph.producer(*id).map(|producer| graph.node(producer)))
            .filter(|node| matches!(node.op, Op::DequantizeLinear(_)))
            .collect();
        for node in dequantized {
            inside.extend(&node.outputs);
            reads.extend(node.inputs.iter().flatten());
        }
        let mut seen = HashSet::new();
        split.rest_inputs = reads
            .into_iter()
            .filter(|id| !inside.contains(id) && graph.constant(*id).is_none() && seen.insert(*id))
            .collect();
        let is_later = |id: &ValueId| graph.producer(*id).is_some_and(|node| later.contains(&node));
        let mut seen = HashSet::new();
        split.rest_outputs = graph
            .outputs()
            .iter()
            .chain(wanted)
            .copied()
            .filter(|id| is_later(id) && seen.insert(*id))
            .collect();
        let of_waiting = split.waiting.iter().flat_map(|id| graph.node(*id).inputs.iter().flatten().copied());
        let waited: HashSet<ValueId> =
            split.waiting.iter().flat_map(|id| graph.node(*id).outputs.iter().copied()).collect();
        let mut seen = HashSet::new();
        split.exports = of_waiting
            .chain(split.rest_inputs.iter().copied())
            .chain(graph.outputs().iter().copied())
            .filter(|id| !waited.contains(id) && !is_later(id) && !graph.inputs().contains(id))
            .filter(|id| seen.insert(*id))
            .collect();
        split
    }

    /// Whether the plan computes a value, or it is there before.
    fn is_planned(&self, graph: &Graph, value: ValueId) -> bool {
        graph.producer(value).is_none_or(|node| self.planned[node.index()])
    }
}

/// Runs a node that waited for data.
fn run_node(
    machine: &mut Machine<'_>,
    node: &Node,
    arguments: &[Option<&Tensor>],
) -> Result<Vec<Tensor>, Error> {
    match &node.op {
        Op::Control(kind) => control::run(machine, node, kind, arguments),
        op => evaluate(&node.name, op, arguments, node.outputs.len()),
    }
}

/// A node that waited for data as a step.
fn step_of(node: &Node, results: &[Tensor]) -> StepInfo {
    let shape = results.first().map_or_else(Vec::new, |result| result.shape().to_vec());
    StepInfo {
        index: usize::MAX,
        node: node.name.clone(),
        kernel: format!("{} by definition", node.op),
        shape,
        bytes: results.iter().map(|result| result.bytes().len()).sum(),
    }
}

/// Runs a plan on tensors of the planned shapes.
fn run_plan(
    plan: &Plan,
    machine: &Machine<'_>,
    memory: &mut Memory,
    inputs: &[Tensor],
    watch: &mut Watch<'_>,
) -> Result<Vec<Tensor>, Error> {
    let bytes: Vec<_> = inputs.iter().map(Tensor::bytes).collect();
    // The bytes of a file need not be aligned for their elements; such inputs are copied.
    let copies: Vec<Option<Memory>> =
        bytes.iter().map(|bytes| (bytes.as_ptr().addr() % 8 != 0).then(|| Memory::copy_of(bytes))).collect();
    let slices: Vec<&[u8]> = bytes
        .iter()
        .zip(&copies)
        .map(|(bytes, copy)| {
            copy.as_ref().map_or(&bytes[..], |copy| copy.bytes(0..copy.words(), bytes.len()))
        })
        .collect();
    let execution = machine.execution;
    // A run that is looked at stays on this thread, since a probe need not be `Send`, and gives single steps to the
    // pool; any other run enters the pool once, which costs less.
    match (watch, machine.pool) {
        (watch @ Watch::Values(_), pool) => plan.run(execution, pool, memory, &slices, watch),
        (watch, None) => plan.run(execution, None, memory, &slices, watch),
        (Watch::Nothing, Some(pool)) => {
            pool.install(|| plan.run(execution, None, memory, &slices, &mut Watch::Nothing))
        }
        (Watch::Times(time), Some(pool)) => {
            let mut times: Vec<(StepInfo, Duration)> = Vec::new();
            let mut keep = |step: &StepInfo, duration| times.push((step.clone(), duration));
            let outputs =
                pool.install(|| plan.run(execution, None, memory, &slices, &mut Watch::Times(&mut keep)));
            times.iter().for_each(|(step, duration)| time(step, *duration));
            outputs
        }
    }
}
