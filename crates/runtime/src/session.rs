//! A graph ready to run: its plans, its memory, its threads.

use std::collections::{HashMap, HashSet};

use calipers_ir::{DType, Dim, Fate, Graph, Renames, Tensor, TensorType, ValueId};
use calipers_kernels::{Execution, Isa, Supported};

use crate::arena::Memory;
use crate::error::Error;
use crate::lower::PackCache;
use crate::plan::{Plan, StepInfo, Watch};
use crate::probe::{Demand, Probe};
use crate::shapes::Constants;

/// Most plans that a session keeps; the one that was used the longest ago goes first.
const MOST_PLANS: usize = 8;

/// How a session runs.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Threads, at least 1; with 1 everything runs on the caller's thread.
    pub threads: usize,
    /// The instruction set; by default the one that the environment variable `CALIPERS_ISA` names, else the best that
    /// the machine has.
    pub isa: Option<Isa>,
    /// What became of values in the passes before, so that a probe's wish for one is answered by its fate.
    pub renames: Renames,
}

impl Default for SessionOptions {
    fn default() -> SessionOptions {
        SessionOptions { threads: 1, isa: None, renames: Renames::default() }
    }
}

impl SessionOptions {
    /// These options with a number of threads.
    pub fn with_threads(self, threads: usize) -> SessionOptions {
        SessionOptions { threads, ..self }
    }
}

/// A graph with everything that changes while it runs.
pub struct Session {
    graph: Graph,
    renames: Renames,
    execution: Execution,
    pool: Option<rayon::ThreadPool>,
    packs: PackCache,
    /// The latest used last.
    plans: Vec<(Key, Plan)>,
    memory: Memory,
}

/// What a plan is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    inputs: Vec<Vec<usize>>,
    wanted: Vec<String>,
}

impl Session {
    /// A session for a graph. Nothing is planned before the first run.
    ///
    /// # Errors
    /// When the instruction set is not there or the threads cannot be started.
    pub fn new(graph: Graph, options: SessionOptions) -> Result<Session, Error> {
        let isa = choose_isa(options.isa)?;
        let threads = options.threads.max(1);
        let pool = match threads {
            1 => None,
            _ => Some(
                rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .thread_name(|index| format!("calipers-{index}"))
                    .build()
                    .map_err(|error| Error::Threads { threads, reason: error.to_string() })?,
            ),
        };
        Ok(Session {
            graph,
            renames: options.renames,
            execution: Execution { isa, threads },
            pool,
            packs: PackCache::new(),
            plans: Vec::new(),
            memory: Memory::new(0),
        })
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The instruction set that kernels run on.
    pub fn isa(&self) -> Isa {
        self.execution.isa.isa()
    }

    /// The number of threads that kernels run on.
    pub fn threads(&self) -> usize {
        self.execution.threads
    }

    /// Runs the graph and returns its outputs in order, in the graph's own layout.
    ///
    /// Inputs are given by name, in any order. The probe gets what it demands.
    ///
    /// # Errors
    /// When an input is missing, unknown or of another type, when a wanted value is unknown, or when the graph cannot
    /// be planned for these shapes.
    pub fn run(&mut self, inputs: &[(&str, Tensor)], probe: &mut dyn Probe) -> Result<Vec<Tensor>, Error> {
        let ordered = self.order_inputs(inputs)?;
        let demand = probe.demand();
        let wanted = match &demand {
            Demand::Values(names) => names.clone(),
            Demand::Nothing | Demand::Times => Vec::new(),
        };
        let shapes = ordered.iter().map(|tensor| tensor.shape().to_vec()).collect();
        self.prepare(Key { inputs: shapes, wanted })?;

        let bytes: Vec<_> = ordered.iter().map(|tensor| tensor.bytes()).collect();
        // The bytes of a file need not be aligned for their elements; such inputs are copied.
        let copies: Vec<Option<Memory>> = bytes
            .iter()
            .map(|bytes| (bytes.as_ptr().addr() % 8 != 0).then(|| Memory::copy_of(bytes)))
            .collect();
        let slices: Vec<&[u8]> = bytes
            .iter()
            .zip(&copies)
            .map(|(bytes, copy)| {
                copy.as_ref().map_or(&bytes[..], |copy| copy.bytes(0..copy.words(), bytes.len()))
            })
            .collect();

        let Session { plans, memory, execution, pool, .. } = self;
        let Some((_, plan)) = plans.last() else { unreachable!("`prepare` left the plan here") };
        let execution = *execution;
        // A run that is looked at stays on this thread, since a probe need not be `Send`, and gives single steps to the
        // pool; any other run enters the pool once, which costs less.
        let outputs = match (demand, pool.as_ref()) {
            (Demand::Values(_), pool) => {
                let mut value = |name: &str, tensor: &Tensor| probe.value(name, tensor);
                plan.run(execution, pool, memory, &slices, Watch::Values(&mut value))
            }
            (Demand::Times, None) => {
                let mut time = |step: &StepInfo, duration| probe.step(step, duration);
                plan.run(execution, None, memory, &slices, Watch::Times(&mut time))
            }
            (Demand::Times, Some(pool)) => {
                let mut times = Vec::new();
                let mut time = |step: &StepInfo, duration| times.push((step.clone(), duration));
                let outputs =
                    pool.install(|| plan.run(execution, None, memory, &slices, Watch::Times(&mut time)));
                times.iter().for_each(|(step, duration)| probe.step(step, *duration));
                outputs
            }
            (Demand::Nothing, None) => plan.run(execution, None, memory, &slices, Watch::Nothing),
            (Demand::Nothing, Some(pool)) => {
                pool.install(|| plan.run(execution, None, memory, &slices, Watch::Nothing))
            }
        };
        Ok(outputs)
    }

    /// The plan for inputs of these shapes, in the graph's order, with nothing wanted but the outputs.
    ///
    /// # Errors
    /// When the graph cannot be planned for these shapes.
    pub fn plan(&mut self, inputs: &[Vec<usize>]) -> Result<&Plan, Error> {
        self.prepare(Key { inputs: inputs.to_vec(), wanted: Vec::new() })?;
        let Some((_, plan)) = self.plans.last() else { unreachable!("`prepare` left the plan here") };
        Ok(plan)
    }

    /// Makes the plan for a key the last of the plans, and the memory large enough for it.
    fn prepare(&mut self, key: Key) -> Result<(), Error> {
        if let Some(known) = self.plans.iter().position(|(other, _)| *other == key) {
            let plan = self.plans.remove(known);
            self.plans.push(plan);
        } else {
            let wanted = key.wanted.iter().map(|name| self.find(name)).collect::<Result<HashSet<_>, _>>()?;
            let constants = Constants::new(&self.graph);
            let isa = self.execution.isa;
            let plan = Plan::new(&self.graph, &constants, &key.inputs, &wanted, isa, &mut self.packs)?;
            if self.plans.len() == MOST_PLANS {
                self.plans.remove(0);
            }
            self.plans.push((key, plan));
        }
        let words = self.plans.last().map_or(0, |(_, plan)| plan.words());
        if self.memory.words() < words {
            self.memory = Memory::new(words);
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Result<ValueId, Error> {
        self.graph.value_named(name).ok_or_else(|| {
            let fate = match self.renames.0.get(name) {
                Some(Fate::Renamed(now)) => format!(": it is called `{now}` now"),
                Some(Fate::Fused(into)) => format!(": it was fused into the node that computes `{into}`"),
                None => String::new(),
            };
            Error::UnknownValue { name: name.to_owned(), fate }
        })
    }

    fn order_inputs(&self, given: &[(&str, Tensor)]) -> Result<Vec<Tensor>, Error> {
        let all = || {
            let names: Vec<String> =
                self.graph.inputs().iter().map(|id| format!("`{}`", self.graph.value(*id).name)).collect();
            names.join(", ")
        };
        for (name, _) in given {
            if !self.graph.inputs().iter().any(|id| self.graph.value(*id).name == *name) {
                return Err(Error::UnknownInput { name: (*name).to_owned(), all: all() });
            }
        }
        let mut symbols: HashMap<&str, usize> = HashMap::new();
        let mut ordered = Vec::with_capacity(given.len());
        for id in self.graph.inputs() {
            let value = self.graph.value(*id);
            let Some((_, tensor)) = given.iter().find(|(name, _)| *name == value.name) else {
                return Err(Error::MissingInput { name: value.name.clone(), all: all() });
            };
            if !fits(&value.ty, tensor, &mut symbols) {
                return Err(Error::InputType {
                    name: value.name.clone(),
                    expected: value.ty.to_string(),
                    found: tensor.tensor_type().to_string(),
                });
            }
            ordered.push(tensor.clone());
        }
        Ok(ordered)
    }
}

/// Whether a tensor is of a type whose symbols mean one number each.
fn fits<'a>(ty: &'a TensorType, tensor: &Tensor, symbols: &mut HashMap<&'a str, usize>) -> bool {
    if ty.dtype != tensor.dtype() || tensor.dtype() == DType::String {
        return false;
    }
    let Some(shape) = &ty.shape else { return true };
    shape.len() == tensor.shape().len()
        && shape.iter().zip(tensor.shape()).all(|(dim, extent)| match dim {
            Dim::Known(known) => known == extent,
            Dim::Symbolic(symbol) => symbols.entry(symbol).or_insert(*extent) == extent,
        })
}

fn choose_isa(wanted: Option<Isa>) -> Result<Supported, Error> {
    let wanted = match (wanted, std::env::var("CALIPERS_ISA")) {
        (Some(isa), _) => isa,
        (None, Ok(name)) if !name.trim().is_empty() => {
            name.parse().map_err(|error: calipers_kernels::isa::UnknownIsa| Error::Isa {
                isa: name.clone(),
                reason: format!("the environment variable CALIPERS_ISA is wrong: {error}"),
            })?
        }
        (None, _) => return Ok(Supported::detect()),
    };
    wanted.supported().ok_or_else(|| {
        let all: Vec<String> = Supported::all().iter().map(|isa| isa.isa().to_string()).collect();
        Error::Isa {
            isa: wanted.to_string(),
            reason: format!("this machine and these kernels have {}", all.join(", ")),
        }
    })
}
