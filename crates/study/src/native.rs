//! Calipers' own engine behind the worker protocol, so that it is measured exactly as the frameworks are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use calipers_formats::onnx;
use calipers_ir::{Graph, Model, Tensor};
use calipers_passes::canonicalize;
use calipers_quant::{CalibrationOptions, CalibrationTable, Document, ObserverKind, QuantAssignment, Recipe};
use calipers_runtime::{Session, SessionOptions, evaluate};
use calipers_workers::Command;
use calipers_workers::protocol::{
    Evaluate, Evaluated, Failure, Greeting, Hello, Load, Loaded, Logits, Nothing, Quantize, Quantized,
    Request, SaveFloat, Saved, Stage, Time, Timed, Unload,
};
use calipers_workers::serve::{Reporter, serve_standard_streams};
use safetensors::SafeTensors;

use crate::weights;

/// Inferences before the timed ones of a block, which fill the caches and wake the threads.
const UNTIMED: usize = 3;
/// The deployed file of an artefact.
const MODEL: &str = "model.onnx";

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
    loaded: BTreeMap<u64, Session>,
    next: u64,
}

/// A failure at a stage, from any error.
fn at<E: std::fmt::Display>(stage: Stage) -> impl Fn(E) -> Failure {
    move |error| Failure::new(stage, "Error", error)
}

impl Engine {
    fn answer(
        &mut self,
        request: Request,
        reporter: &mut Reporter<'_>,
    ) -> Result<calipers_workers::protocol::Reply, Failure> {
        match request {
            Request::Hello(hello) => hello.answer(&self.hello(&hello)),
            Request::Logits(logits) => logits.answer(&self.logits(&logits, reporter)?),
            Request::SaveFloat(save) => save.answer(&save_float(&save)?),
            Request::Quantize(quantize) => quantize.answer(&self.quantize(&quantize, reporter)?),
            Request::Load(load) => load.answer(&self.load(&load)?),
            Request::Evaluate(evaluate) => evaluate.answer(&self.evaluate(&evaluate, reporter)?),
            Request::Time(time) => time.answer(&self.time(&time)?),
            Request::Unload(unload) => {
                let Unload { handle } = unload;
                self.loaded.remove(&handle);
                unload.answer(&Nothing {})
            }
            Request::TrainBegin(_)
            | Request::TrainEpoch(_)
            | Request::TrainState(_)
            | Request::TrainFinish(_)
            | Request::TrainDrop(_) => {
                Err(Failure::new(Stage::Train, "Unsupported", "Calipers does not train yet"))
            }
            Request::Probe(_) | Request::AskCapability(_) => {
                Err(Failure::new(Stage::Start, "Unsupported", "this worker does not answer gap probes"))
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
        }
    }

    fn session(&self, graph: Graph) -> Result<Session, Failure> {
        let options = SessionOptions::default().with_threads(self.threads);
        Session::new(graph, options).map_err(at(Stage::Load))
    }

    fn logits(&self, command: &Logits, reporter: &mut Reporter<'_>) -> Result<Nothing, Failure> {
        let graph = float_graph(&command.model, command.weights.as_deref())?;
        let mut session = self.session(prepared(&graph)?)?;
        let data = DataFile::read(&command.data)?;
        run_all(&mut session, &data, command.batch, &command.output, reporter)?;
        Ok(Nothing {})
    }

    fn quantize(&self, command: &Quantize, reporter: &mut Reporter<'_>) -> Result<Quantized, Failure> {
        let graph = float_graph(&command.model, Some(&command.weights))?;
        let data = DataFile::read(&command.data)?;
        // As the other frameworks' default paths do.
        let recipe = Recipe::default().with_observer(ObserverKind::MinMax);
        let start = Instant::now();
        let prepared = prepared(&graph)?;
        let prepare_seconds = start.elapsed().as_secs_f64();

        let start = Instant::now();
        let mut unread = None;
        let input = input_name(&prepared)?;
        let batches = data.batches(command.batch).map_while(|batch| {
            let batch = batch.map_err(|error| unread = Some(error)).ok()?;
            Some(vec![(input.clone(), batch)])
        });
        let options = CalibrationOptions::default().with_threads(self.threads);
        let total = data.samples as u64;
        let mut done = 0;
        let table = calipers_quant::calibrate(&prepared, batches, &recipe, &options, |_| {
            done = total.min(done + command.batch as u64);
            reporter.report(Stage::Calibrate, done, Some(total), None);
        })
        .map_err(at(Stage::Calibrate))?;
        if let Some(error) = unread {
            return Err(error);
        }
        let calibrate_seconds = start.elapsed().as_secs_f64();

        let start = Instant::now();
        let assignment = calipers_quant::assign(&prepared, &table, &recipe).map_err(at(Stage::Convert))?;
        let quantized = calipers_quant::insert_qdq(&prepared, &assignment).map_err(at(Stage::Convert))?;
        let convert_seconds = start.elapsed().as_secs_f64();

        let saved = save(&command.artefact, quantized)?;
        recipe.save(&Recipe::path_beside(&saved.file)).map_err(at(Stage::Save))?;
        table.save(&CalibrationTable::path_beside(&saved.file)).map_err(at(Stage::Save))?;
        assignment.save(&QuantAssignment::path_beside(&saved.file)).map_err(at(Stage::Save))?;
        Ok(Quantized {
            file: saved.file,
            file_bytes: saved.file_bytes,
            prepare_seconds,
            calibrate_seconds,
            convert_seconds,
            samples: total,
        })
    }

    fn load(&mut self, command: &Load) -> Result<Loaded, Failure> {
        let graph = onnx::read(command.artefact.join(MODEL)).map_err(at(Stage::Load))?.graph;
        let mut session = self.session(prepared(&graph)?)?;
        let (quantized, float) = operators(&mut session)?;
        let handle = self.next;
        self.next += 1;
        self.loaded.insert(handle, session);
        Ok(Loaded { handle, quantized, float })
    }

    fn loaded(&mut self, handle: u64, stage: Stage) -> Result<&mut Session, Failure> {
        self.loaded
            .get_mut(&handle)
            .ok_or_else(|| Failure::new(stage, "UnknownHandle", format!("no model is loaded as {handle}")))
    }

    fn evaluate(&mut self, command: &Evaluate, reporter: &mut Reporter<'_>) -> Result<Evaluated, Failure> {
        let session = self.loaded(command.handle, Stage::Evaluate)?;
        let data = DataFile::read(&command.data)?;
        let seconds = run_all(session, &data, command.batch, &command.output, reporter)?;
        Ok(Evaluated { seconds })
    }

    fn time(&mut self, command: &Time) -> Result<Timed, Failure> {
        let session = self.loaded(command.handle, Stage::Time)?;
        let data = DataFile::read(&command.data)?;
        let samples = command.samples.clamp(1, data.samples);
        let inputs =
            (0..samples).map(|sample| data.floats(sample..sample + 1)).collect::<Result<Vec<_>, _>>()?;
        let name = input_name(session.graph())?;
        for input in inputs.iter().cycle().take(UNTIMED) {
            session.run(&[(&name, input.clone())], &mut ()).map_err(at(Stage::Time))?;
        }
        let mut nanoseconds = Vec::with_capacity(command.count);
        for index in 0..command.count {
            let input = inputs[index % samples].clone();
            let start = Instant::now();
            let logits = session.run(&[(&name, input)], &mut ()).map_err(at(Stage::Time))?;
            nanoseconds.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
            std::hint::black_box(logits);
        }
        Ok(Timed { nanoseconds })
    }
}

/// The float model of an ONNX file, with the weights of a file where one is given.
fn float_graph(model: &Path, weights: Option<&Path>) -> Result<Graph, Failure> {
    let graph = onnx::read(model).map_err(at(Stage::Build))?.graph;
    match weights {
        None => Ok(graph),
        Some(path) => weights::apply(&graph, path).map_err(at(Stage::Build)),
    }
}

/// The graph in the form that runs.
fn prepared(graph: &Graph) -> Result<Graph, Failure> {
    canonicalize(graph, &|node, inputs| evaluate(&node.name, &node.op, inputs, node.outputs.len()).ok())
        .map(|rewritten| rewritten.graph)
        .map_err(at(Stage::Build))
}

fn save_float(command: &SaveFloat) -> Result<Saved, Failure> {
    let graph = float_graph(&command.model, Some(&command.weights))?;
    save(&command.artefact, prepared(&graph)?)
}

fn save(folder: &Path, graph: Graph) -> Result<Saved, Failure> {
    fs::create_dir_all(folder).map_err(at(Stage::Save))?;
    let file = folder.join(MODEL);
    onnx::write(&Model::new(graph), &file).map_err(at(Stage::Save))?;
    let file_bytes = fs::metadata(&file).map_err(at(Stage::Save))?.len();
    Ok(Saved { file, file_bytes })
}

fn input_name(graph: &Graph) -> Result<String, Failure> {
    match graph.inputs() {
        [only] => Ok(graph.value(*only).name.clone()),
        inputs => Err(Failure::new(
            Stage::Load,
            "Error",
            format!("the model has {} inputs, expected one", inputs.len()),
        )),
    }
}

type Counts = BTreeMap<String, u64>;

/// The steps that a session runs for one sample: those in 8 bit and those in float, by kernel. Steps that only move,
/// quantize or dequantize a value count as neither.
fn operators(session: &mut Session) -> Result<(Counts, Counts), Failure> {
    let graph = session.graph();
    let shapes = graph
        .inputs()
        .iter()
        .map(|&input| {
            let shape = graph.value(input).ty.shape.clone().unwrap_or_default();
            shape.iter().map(|dim| dim.known().unwrap_or(1)).collect()
        })
        .collect::<Vec<Vec<usize>>>();
    let (mut quantized, mut float) = (Counts::new(), Counts::new());
    for step in session.plan(&shapes).map_err(at(Stage::Load))?.steps() {
        let (kernel, ty) = step.kernel.rsplit_once(' ').unwrap_or((&step.kernel, ""));
        let counts = match (kernel, ty) {
            ("quantize" | "dequantize", _) => continue,
            (_, "u8" | "i8") => &mut quantized,
            (_, "f32") => &mut float,
            _ => continue,
        };
        *counts.entry(kernel.to_owned()).or_default() += 1;
    }
    Ok((quantized, float))
}

/// Runs all samples in batches and writes the logits; the seconds of all inferences.
fn run_all(
    session: &mut Session,
    data: &DataFile,
    batch: usize,
    output: &Path,
    reporter: &mut Reporter<'_>,
) -> Result<f64, Failure> {
    let name = input_name(session.graph())?;
    let mut logits: Vec<f32> = Vec::new();
    let mut seconds = 0.0;
    let mut done = 0;
    for input in data.batches(batch) {
        let input = input?;
        let samples = input.shape()[0];
        let start = Instant::now();
        let outputs = session.run(&[(&name, input)], &mut ()).map_err(at(Stage::Evaluate))?;
        seconds += start.elapsed().as_secs_f64();
        let result = outputs
            .first()
            .and_then(Tensor::as_f32)
            .ok_or_else(|| Failure::new(Stage::Evaluate, "Error", "the model's first output is not f32"))?;
        logits.extend_from_slice(&result);
        done += samples;
        reporter.report(Stage::Evaluate, done as u64, Some(data.samples as u64), None);
    }
    weights::write_logits(output, data.samples, logits).map_err(at(Stage::Save))?;
    Ok(seconds)
}

/// A data file: pixels, and the table that they stand for values in.
struct DataFile {
    samples: usize,
    shape: [usize; 3],
    images: Vec<u8>,
    table: Vec<f32>,
}

impl DataFile {
    fn read(path: &Path) -> Result<DataFile, Failure> {
        let wrong = |what: &str| Failure::new(Stage::Load, "Error", format!("{}: {what}", path.display()));
        let bytes = fs::read(path).map_err(|error| wrong(&error.to_string()))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| wrong(&error.to_string()))?;
        let images = file.tensor("images").map_err(|error| wrong(&error.to_string()))?;
        let table = file.tensor("table").map_err(|error| wrong(&error.to_string()))?;
        let &[samples, channels, height, width] = images.shape() else {
            return Err(wrong("`images` is not of rank 4"));
        };
        if table.shape() != [channels, 256] {
            return Err(wrong("`table` does not have 256 values for each channel"));
        }
        Ok(DataFile {
            samples,
            shape: [channels, height, width],
            images: images.data().to_vec(),
            table: table.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
        })
    }

    /// Samples as f32 `[N, C, H, W]`.
    fn floats(&self, samples: std::ops::Range<usize>) -> Result<Tensor, Failure> {
        let [channels, height, width] = self.shape;
        let (plane, image) = (height * width, channels * height * width);
        let pixels = &self.images[samples.start * image..samples.end * image];
        let floats: Vec<f32> = pixels
            .chunks_exact(plane.max(1))
            .enumerate()
            .flat_map(|(index, plane)| {
                let table = &self.table[index % channels * 256..][..256];
                plane.iter().map(|&pixel| table[usize::from(pixel)])
            })
            .collect();
        Tensor::from_vec([samples.len(), channels, height, width], floats).map_err(at(Stage::Load))
    }

    /// All samples in order, the last batch with what is left.
    fn batches(&self, size: usize) -> impl Iterator<Item = Result<Tensor, Failure>> + '_ {
        let size = size.max(1);
        (0..self.samples).step_by(size).map(move |from| self.floats(from..(from + size).min(self.samples)))
    }
}
