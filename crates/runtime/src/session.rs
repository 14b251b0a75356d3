//! A graph ready to run: its plans, its memory, its threads.

use std::collections::HashMap;

use calipers_ir::{DType, Dim, Fate, Graph, Renames, Tensor, TensorType};
use calipers_kernels::{Execution, Isa, Supported};

use crate::error::Error;
use crate::plan::{Plan, StepInfo, Watch};
use crate::probe::{Demand, Probe};
use crate::program::{Key, Machine, Runner};
use crate::shapes::Given;

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
    renames: Renames,
    execution: Execution,
    pool: Option<rayon::ThreadPool>,
    runner: Runner,
    subgraphs: HashMap<String, Runner>,
}

impl Session {
    /// A session for a graph without subgraphs. Nothing is planned before the first run.
    ///
    /// # Errors
    /// When the instruction set is not there or the threads cannot be started.
    pub fn new(graph: Graph, options: SessionOptions) -> Result<Session, Error> {
        Session::with_subgraphs(graph, [], options)
    }

    /// A session for a graph and the graphs that its nodes run, by name: those of a [`calipers_ir::Model`].
    ///
    /// # Errors
    /// When the instruction set is not there or the threads cannot be started.
    pub fn with_subgraphs(
        graph: Graph,
        subgraphs: impl IntoIterator<Item = (String, Graph)>,
        options: SessionOptions,
    ) -> Result<Session, Error> {
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
            renames: options.renames,
            execution: Execution { isa, threads },
            pool,
            runner: Runner::new(graph),
            subgraphs: subgraphs.into_iter().map(|(name, graph)| (name, Runner::new(graph))).collect(),
        })
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        self.runner.graph()
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
    /// When an input is missing, unknown or of another type, when a wanted value is unknown, when the graph cannot be
    /// planned for these shapes, or when data break a rule of an operator.
    pub fn run(&mut self, inputs: &[(&str, Tensor)], probe: &mut dyn Probe) -> Result<Vec<Tensor>, Error> {
        let ordered = self.order_inputs(inputs)?;
        let demand = probe.demand();
        let wanted = match &demand {
            Demand::Values(names) => names.clone(),
            Demand::Nothing | Demand::Times => Vec::new(),
        };
        wanted.iter().try_for_each(|name| self.find(name))?;
        let shapes = ordered.iter().map(|tensor| Given::shape(tensor.shape())).collect();
        let key = Key { inputs: shapes, wanted };
        let mut machine =
            Machine { execution: self.execution, pool: self.pool.as_ref(), subgraphs: &mut self.subgraphs };
        let runner = &mut self.runner;
        match demand {
            Demand::Nothing => runner.run(&mut machine, key, &ordered, &mut Watch::Nothing),
            Demand::Values(_) => {
                let mut value = |name: &str, tensor: &Tensor| probe.value(name, tensor);
                runner.run(&mut machine, key, &ordered, &mut Watch::Values(&mut value))
            }
            Demand::Times => {
                let mut index = 0;
                let mut time = |step: &StepInfo, duration| {
                    probe.step(&StepInfo { index, ..step.clone() }, duration);
                    index += 1;
                };
                runner.run(&mut machine, key, &ordered, &mut Watch::Times(&mut time))
            }
        }
    }

    /// The plan for inputs of these shapes, in the graph's order, with nothing wanted but the outputs: all steps whose
    /// shapes follow from those of the inputs.
    ///
    /// # Errors
    /// When the graph cannot be planned for these shapes.
    pub fn plan(&mut self, inputs: &[Vec<usize>]) -> Result<&Plan, Error> {
        let inputs = inputs.iter().map(|shape| Given::shape(shape)).collect();
        self.runner.plan(self.execution, Key { inputs, wanted: Vec::new() })
    }

    /// That a value is there, or what became of it.
    fn find(&self, name: &str) -> Result<(), Error> {
        if self.graph().value_named(name).is_some() {
            return Ok(());
        }
        let fate = match self.renames.0.get(name) {
            Some(Fate::Renamed(now)) => format!(": it is called `{now}` now"),
            Some(Fate::Fused(into)) => format!(": it was fused into the node that computes `{into}`"),
            None => String::new(),
        };
        Err(Error::UnknownValue { name: name.to_owned(), fate })
    }

    fn order_inputs(&self, given: &[(&str, Tensor)]) -> Result<Vec<Tensor>, Error> {
        let all = || {
            let names: Vec<String> = self
                .graph()
                .inputs()
                .iter()
                .map(|id| format!("`{}`", self.graph().value(*id).name))
                .collect();
            names.join(", ")
        };
        for (name, _) in given {
            if !self.graph().inputs().iter().any(|id| self.graph().value(*id).name == *name) {
                return Err(Error::UnknownInput { name: (*name).to_owned(), all: all() });
            }
        }
        let mut symbols: HashMap<&str, usize> = HashMap::new();
        let mut ordered = Vec::with_capacity(given.len());
        for id in self.graph().inputs() {
            let value = self.graph().value(*id);
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
