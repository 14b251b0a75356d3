//! Calipers' own engine behind the worker protocol, so that it is measured exactly as the frameworks are.

mod data;
mod operators;
mod runner;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use calipers_formats::onnx;
use calipers_ir::Model;
use calipers_passes::canonicalize;
use calipers_quant::{CalibrationOptions, CalibrationTable, Document, QuantAssignment, Recipe};
use calipers_runtime::{Profiler, StepTime, evaluate};
use calipers_workers::Command;
use calipers_workers::protocol::{
    Evaluate, Evaluated, Failure, Greeting, Hello, Load, Loaded, Logits, Nothing, Operators, Profile,
    Profiled, ProfiledOperator, Quantize, Quantized, ReadOperators, Reply, Request, SaveFloat, Saved, Stage,
    Time, Timed, Unload, Variant,
};
use calipers_workers::serve::{Reporter, serve_standard_streams};

use crate::material::deployed_bytes;
use crate::weights;
use data::DataFile;
use runner::{Inputs, Runner, borrowed, input_names, run_all, takes_one};

/// The deployed file of an artefact.
const MODEL: &str = "model.onnx";
/// How the float artefact comes about.
const FLOAT_RECIPE: &str = "# The float32 graph in canonical form (BatchNormalization and activations fused), as ONNX.\n\
                            calipers eval model.onnx --data DATA\n";

/// Answers the requests of the study that started this process, until its input ends.
///
/// # Errors
/// Those of writing to standard output.
pub fn serve() -> std::io::Result<()> {
    let mut engine = Engine { threads: 1, loaded: BTreeMap::new(), next: 1 };
    serve_standard_streams(&mut |request, reporter| engine.answer(request, reporter))
}

struct Engine {
    threads: usize,
    loaded: BTreeMap<u64, Runner>,
    next: u64,
}

/// A failure at a stage, from any error.
fn at<E: std::fmt::Display>(stage: Stage) -> impl Fn(E) -> Failure {
    move |error| Failure::new(stage, "Error", error)
}

fn unsupported(stage: Stage, message: impl std::fmt::Display) -> Failure {
    Failure::new(stage, "Unsupported", message)
}

impl Engine {
    fn answer(&mut self, request: Request, reporter: &mut Reporter<'_>) -> Result<Reply, Failure> {
        match request {
            Request::Hello(hello) => hello.answer(&self.hello(&hello)),
            Request::Logits(logits) => logits.answer(&self.logits(&logits, reporter)?),
            Request::SaveFloat(save) => save.answer(&save_float(&save)?),
            Request::Quantize(quantize) => quantize.answer(&self.quantize(&quantize, reporter)?),
            Request::Load(load) => load.answer(&self.load(&load)?),
            Request::ReadOperators(read) => read.answer(&self.read_operators(&read)?),
            Request::Evaluate(evaluate) => evaluate.answer(&self.evaluate(&evaluate, reporter)?),
            Request::Time(time) => time.answer(&self.time(&time)?),
            Request::Profile(profile) => profile.answer(&self.profile(&profile)?),
            Request::Unload(unload) => {
                let Unload { handle } = unload;
                self.loaded.remove(&handle);
                unload.answer(&Nothing {})
            }
            Request::ReadWeights(_) => Err(unsupported(
                Stage::Load,
                "the artefacts of Calipers are ONNX files, which the study reads itself",
            )),
            Request::TrainBegin(_)
            | Request::TrainEpoch(_)
            | Request::TrainState(_)
            | Request::TrainSave(_)
            | Request::TrainRestore(_)
            | Request::TrainFinish(_)
            | Request::TrainDrop(_) => Err(unsupported(Stage::Train, "Calipers does not train yet")),
            Request::Probe(_) | Request::AskCapability(_) => {
                Err(unsupported(Stage::Start, "this worker does not answer gap probes"))
            }
            // The serving loop answers it.
            Request::Shutdown(shutdown) => shutdown.answer(&Nothing {}),
        }
    }

    fn hello(&mut self, hello: &Hello) -> Greeting {
        self.threads = hello.threads.max(1);
        Greeting {
            framework: String::from("calipers"),
            versions: BTreeMap::from([(String::from("calipers"), env!("CARGO_PKG_VERSION").to_owned())]),
            python: None,
            threads: self.threads,
            pid: std::process::id(),
            devices: Vec::new(),
        }
    }

    fn logits(&self, command: &Logits, reporter: &mut Reporter<'_>) -> Result<Nothing, Failure> {
        let model = float_model(&command.model, command.weights.as_deref())?;
        let mut runner = Runner::new(canonical(&model)?, self.threads)?;
        let data = DataFile::read(&command.data)?;
        run_all(&mut runner, &data, command.batch, &command.output, reporter)?;
        Ok(Nothing {})
    }

    fn quantize(&self, command: &Quantize, reporter: &mut Reporter<'_>) -> Result<Quantized, Failure> {
        let (flags, recipe) = recipe(command.variant)?;
        let model = float_model(&command.model, command.weights.as_deref())?;
        let start = Instant::now();
        let prepared = canonical(&model)?;
        let prepare_seconds = start.elapsed().as_secs_f64();

        let start = Instant::now();
        let table = self.calibrate(&prepared, &recipe, command, reporter)?;
        let calibrate_seconds = if recipe.needs_data() { start.elapsed().as_secs_f64() } else { 0.0 };

        let start = Instant::now();
        let graph = &prepared.graph;
        let assignment = calipers_quant::assign(graph, &table, &recipe).map_err(at(Stage::Convert))?;
        let quantized = calipers_quant::insert_qdq(graph, &assignment).map_err(at(Stage::Convert))?;
        let convert_seconds = start.elapsed().as_secs_f64();

        let (file, file_bytes) = save(&command.artefact, &prepared.with_graph(quantized))?;
        recipe.save(&Recipe::path_beside(&file)).map_err(at(Stage::Save))?;
        assignment.save(&QuantAssignment::path_beside(&file)).map_err(at(Stage::Save))?;
        if recipe.needs_data() {
            table.save(&CalibrationTable::path_beside(&file)).map_err(at(Stage::Save))?;
        }
        let data = if recipe.needs_data() {
            format!(" --data DATA --samples {}", table.samples)
        } else {
            String::new()
        };
        let document = recipe.to_json().map_err(at(Stage::Save))?;
        Ok(Quantized {
            file,
            file_bytes,
            prepare_seconds,
            calibrate_seconds,
            convert_seconds,
            samples: table.samples,
            recipe: format!("# calipers quantize model.onnx{flags}{data}\n{document}"),
        })
    }

    /// What calibration finds; nothing, without reading data, for a recipe that needs none.
    fn calibrate(
        &self,
        model: &Model,
        recipe: &Recipe,
        command: &Quantize,
        reporter: &mut Reporter<'_>,
    ) -> Result<CalibrationTable, Failure> {
        let options = CalibrationOptions {
            subgraphs: model.subgraphs.clone(),
            ..CalibrationOptions::default().with_threads(self.threads)
        };
        if !recipe.needs_data() {
            return calipers_quant::calibrate(&model.graph, [], recipe, &options, |_| {})
                .map_err(at(Stage::Calibrate));
        }
        let data = DataFile::read(&command.data)?;
        let names = input_names(&model.graph);
        let size = if takes_one(&model.graph)? { 1 } else { command.batch.max(1) };
        let total = data.samples();
        let mut unread = None;
        let batches = (0..total).step_by(size).map_while(|from| {
            data.feed(from..(from + size).min(total), &names).map_err(|error| unread = Some(error)).ok()
        });
        let table = calipers_quant::calibrate(&model.graph, batches, recipe, &options, |table| {
            reporter.report(Stage::Calibrate, table.samples, Some(total as u64), None);
        });
        match unread {
            Some(error) => Err(error),
            None => table.map_err(at(Stage::Calibrate)),
        }
    }

    fn load(&mut self, command: &Load) -> Result<Loaded, Failure> {
        let model = onnx::read(command.artefact.join(MODEL)).map_err(at(Stage::Load))?;
        let runner = Runner::new(canonical(&model)?, self.threads)?;
        let handle = self.next;
        self.next += 1;
        self.loaded.insert(handle, runner);
        Ok(Loaded { handle })
    }

    fn read_operators(&mut self, command: &ReadOperators) -> Result<Operators, Failure> {
        let operators = self.loaded(command.handle, Stage::Load)?.operators()?;
        Ok(Operators { operators })
    }

    fn loaded(&mut self, handle: u64, stage: Stage) -> Result<&mut Runner, Failure> {
        self.loaded
            .get_mut(&handle)
            .ok_or_else(|| Failure::new(stage, "UnknownHandle", format!("no model is loaded as {handle}")))
    }

    fn evaluate(&mut self, command: &Evaluate, reporter: &mut Reporter<'_>) -> Result<Evaluated, Failure> {
        let runner = self.loaded(command.handle, Stage::Evaluate)?;
        let data = DataFile::read(&command.data)?;
        let seconds = run_all(runner, &data, command.batch, &command.output, reporter)?;
        Ok(Evaluated { seconds })
    }

    fn time(&mut self, command: &Time) -> Result<Timed, Failure> {
        let runner = self.loaded(command.handle, Stage::Time)?;
        let windows = runner.windows(&command.data, command.samples, command.batch)?;
        let windows: Vec<Vec<Inputs<'_>>> =
            windows.iter().map(|parts| parts.iter().map(|feed| borrowed(feed)).collect()).collect();
        let mut nanoseconds = Vec::with_capacity(command.count);
        for (index, window) in windows.iter().cycle().take(command.warm_up + command.count).enumerate() {
            let start = Instant::now();
            for part in window {
                let outputs = runner.session.run(part, &mut ()).map_err(at(Stage::Time))?;
                std::hint::black_box(outputs);
            }
            if index >= command.warm_up {
                nanoseconds.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
            }
        }
        Ok(Timed { nanoseconds })
    }

    fn profile(&mut self, command: &Profile) -> Result<Profiled, Failure> {
        let runner = self.loaded(command.handle, Stage::Profile)?;
        let windows = runner.windows(&command.data, command.samples, 1)?;
        let windows: Vec<Inputs<'_>> = windows.iter().flatten().map(|feed| borrowed(feed)).collect();
        for window in windows.iter().cycle().take(command.count) {
            runner.session.run(window, &mut ()).map_err(at(Stage::Profile))?;
        }
        let mut profiler = Profiler::new();
        let start = Instant::now();
        for window in windows.iter().cycle().take(command.count) {
            runner.session.run(window, &mut profiler).map_err(at(Stage::Profile))?;
        }
        let wall = start.elapsed().as_nanos() as f64;
        let graph = runner.session.graph();
        let operator = |time: &StepTime| {
            let operator = operators::executed(graph, &time.step);
            let sum: f64 = time.durations.iter().map(|duration| duration.as_nanos() as f64).sum();
            ProfiledOperator {
                name: operator.name,
                kind: operator.kind,
                calls: 1,
                nanoseconds: sum / time.durations.len().max(1) as f64,
                bytes: Some(time.step.bytes as u64),
            }
        };
        Ok(Profiled {
            profiler: String::from("Calipers' own, a clock around each step"),
            resolution_nanoseconds: clock_resolution(),
            wall_nanoseconds: wall / command.count.max(1) as f64,
            bytes_are: String::from("what each step writes"),
            operators: profiler.steps.iter().map(operator).collect(),
        })
    }
}

/// The treatment of `calipers quantize` for a variant, with the flags that ask for it.
fn recipe(variant: Variant) -> Result<(&'static str, Recipe), Failure> {
    let named = |precision| Recipe::of_precision(precision).map_err(at(Stage::Prepare));
    match variant {
        Variant::PtqStatic => Ok(("", Recipe::default())),
        Variant::PtqDynamic => Ok((" --mode dynamic", named("w8a8-dynamic")?)),
        Variant::WeightOnly => Ok((" --precision w8", named("w8")?)),
        Variant::Float | Variant::FloatFinetuned | Variant::Qat => {
            Err(unsupported(Stage::Prepare, format!("Calipers does not quantize to the variant {variant:?}")))
        }
    }
}

/// The float model of an ONNX file, with the weights of a file where one is given.
fn float_model(model: &Path, weights: Option<&Path>) -> Result<Model, Failure> {
    let model = onnx::read(model).map_err(at(Stage::Build))?;
    match weights {
        None => Ok(model),
        Some(path) => {
            let graph = weights::apply(&model.graph, path).map_err(at(Stage::Build))?;
            Ok(model.with_graph(graph))
        }
    }
}

/// The model in the form that runs.
fn canonical(model: &Model) -> Result<Model, Failure> {
    canonicalize(&model.graph, &|node, inputs| {
        evaluate(&node.name, &node.op, inputs, node.outputs.len()).ok()
    })
    .map(|rewritten| model.with_graph(rewritten.graph))
    .map_err(at(Stage::Build))
}

fn save_float(command: &SaveFloat) -> Result<Saved, Failure> {
    let model = float_model(&command.model, command.weights.as_deref())?;
    let (file, file_bytes) = save(&command.artefact, &canonical(&model)?)?;
    Ok(Saved { file, file_bytes, recipe: FLOAT_RECIPE.to_owned() })
}

/// Writes the deployed file into a folder, and gives its size.
fn save(folder: &Path, model: &Model) -> Result<(PathBuf, u64), Failure> {
    fs::create_dir_all(folder).map_err(at(Stage::Save))?;
    let file = folder.join(MODEL);
    onnx::write(model, &file).map_err(at(Stage::Save))?;
    let file_bytes = deployed_bytes(&file).map_err(at(Stage::Save))?;
    Ok((file, file_bytes))
}

/// The smallest difference of two readings of the clock that was seen, in nanoseconds.
fn clock_resolution() -> u64 {
    let differences = (0..1000).map(|_| {
        let start = Instant::now();
        u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    });
    differences.filter(|&difference| difference > 0).min().unwrap_or(1)
}

#[cfg(test)]
mod tests;
