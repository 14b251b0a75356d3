//! `calipers quantize`: calibrates, decides, writes, and checks what it wrote before it says that it is done.

mod arguments;
mod destination;
mod recipe;
mod report;
mod verify;

use std::cell::RefCell;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use calipers_data::samples::{CifarSplit, Kind, SampleBatch, Samples, SamplesError, batches, subset};
use calipers_formats::onnx;
use calipers_inspect::{DataSettings, Format, OpenedModel, named_tensors, open};
use calipers_ir::{Graph, Model, Op};
use calipers_quant::{
    Batch, CalibrationOptions, CalibrationTable, Document, QuantAssignment, QuantError, Quantized, Recipe,
};
use indexmap::IndexMap;
use indicatif::{ProgressBar, ProgressStyle};

pub use arguments::QuantizeArguments;

use crate::Message;
use crate::data_arguments::Data;
use crate::study::cancel_on_interrupt;
use destination::{Destination, Staging};
use report::{Calibration, Report};
use verify::{Trouble, Verification};

/// Exit status when the written model did not pass its check.
const FAILED: u8 = 1;

/// Samples that both models are compared on, unless the user says otherwise.
const COMPARED: usize = 512;

/// Bytes of input that one run of the float model takes, about: enough to keep it busy, and little beside a model.
const BATCH_BYTES: usize = 1 << 20;

/// Quantizes the model and prints what became of it.
pub fn run(arguments: &QuantizeArguments) -> Result<ExitCode, Message> {
    let started = Instant::now();
    let label = recipe::label(arguments);
    let output = match &arguments.output {
        Some(output) => output.clone(),
        None => arguments.model.with_extension(format!("{label}.onnx")),
    };
    let destination = Destination::new(&arguments.model, &output)?;
    let mut recipe = recipe::recipe(arguments)?;
    let opened = open(&arguments.model).map_err(|error| error.to_string())?;
    if opened.format == Format::Tflite {
        return Err(format!(
            "{}: is a TFLite model; those are read, inspected and run, and not yet written\n\
             hint: export the network to ONNX and quantize that, or quantize with TFLite's own converter and look at \
             the result with `calipers inspect` and `calipers compare`",
            arguments.model.display()
        ));
    }
    let cancelled = cancel_on_interrupt()?;
    let threads = match arguments.threads {
        Some(threads) => threads.get(),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let mut notes = Vec::new();
    let data = data(arguments, &opened, &mut recipe, &mut notes)?;

    let calibrating = Instant::now();
    // The float graph is given away, so that weights are not in memory more often than needed, and read again to compare.
    let bytes_before = bytes_with_weights(&opened);
    let OpenedModel { model, .. } = opened;
    let Model { graph, subgraphs, opsets, producer, metadata } = model;
    let quantized = quantize(graph, &subgraphs, &recipe, data.as_ref(), threads, &cancelled)?;
    let calibration = (!quantized.table.values.is_empty()).then(|| Calibration {
        samples: quantized.table.samples,
        values: quantized.table.values.len(),
        seconds: calibrating.elapsed().as_secs_f64(),
        peak_memory_bytes: peak_memory(),
    });
    let summary = quantized.summary.clone();
    if summary.quantized == 0 && summary.dynamic == 0 && summary.weight_only.is_empty() {
        return Err(nothing_quantized(&arguments.model, &summary.float));
    }
    notes.extend(quantized.assignment.notes.iter().cloned());
    notes.extend(quantized.notes.iter().map(ToString::to_string));

    let staging = destination.stage()?;
    write(&staging, quantized, &recipe, |graph| Model { graph, subgraphs, opsets, producer, metadata })?;
    let written = match open(staging.model()) {
        Ok(written) => written,
        Err(error) => return refused(&destination, &error.to_string()),
    };
    let float = open(&arguments.model).map_err(|error| error.to_string())?;
    let verification = match check(&float, &written, data.as_ref(), threads, &cancelled) {
        Ok(verification) => verification,
        Err(Trouble::Model(reason)) => return refused(&destination, &reason),
        Err(Trouble::Other(message)) => return Err(message),
    };
    let (verification, ran) = match verification {
        Checked::Compared(verification) => (Some(verification), true),
        Checked::Ran(ran) => (None, ran),
    };
    notes.extend(verification.as_ref().and_then(report::doubts));
    if cancelled.load(Ordering::Relaxed) {
        return Err(stopped());
    }
    let (bytes_after, opset) = (written.bytes, written.model.opsets.get("").copied());
    // It is mapped, and some systems do not rename what is.
    drop(written);
    let report = Report {
        model: arguments.model.clone(),
        output: destination.path().to_owned(),
        files: staging.commit()?,
        precision: label.to_owned(),
        opset,
        bytes_before,
        bytes_after,
        share_of_weights: summary.share_of_weights(),
        share_of_macs: summary.share_of_macs(),
        summary,
        calibration,
        verification,
        ran,
        notes,
        seconds: started.elapsed().as_secs_f64(),
    };
    let shown = if arguments.json {
        serde_json::to_string_pretty(&report).map_err(|error| error.to_string())? + "\n"
    } else {
        report.text()
    };
    // Whoever closes the pipe has read enough; the files are written.
    let _ = std::io::stdout().lock().write_all(shown.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// The samples to calibrate on and those to compare on.
struct Chosen {
    calibration: Data,
    calibrate_on: Vec<usize>,
    /// Other data to compare on, where they are not a part of those for calibration.
    comparison: Option<Data>,
    compare_on: Vec<usize>,
    held_out: bool,
}

/// Opens the data, when they are needed or given, and leaves in the recipe how they are prepared.
fn data(
    arguments: &QuantizeArguments,
    opened: &OpenedModel,
    recipe: &mut Recipe,
    notes: &mut Vec<String>,
) -> Result<Option<Chosen>, Message> {
    const PURPOSE: &str = "for static quantization, which measures the ranges of activations on real samples";
    let needed = recipe::needs_data(recipe);
    if !needed && arguments.data.data.is_none() {
        return Ok(None);
    }
    if needed && arguments.data.data.is_none() {
        return Err(format!(
            "data are needed {PURPOSE}\nhint: give --data PATH (images, .npz or .npy arrays, CIFAR-10, a text file of \
             token ids), or quantize without data: --mode dynamic or --mode weight-only"
        ));
    }
    let kept = match recipe.data.take() {
        None => None,
        Some(data) => Some(DataSettings::from_recipe(data).map_err(|error| {
            let path = arguments.recipe.as_deref().unwrap_or(Path::new("recipe"));
            format!("{}: `data`: {error}\nhint: take it out of the recipe", path.display())
        })?),
    };
    let calibration = arguments.data.open(opened, kept.as_ref(), CifarSplit::Train, PURPOSE)?;
    recipe.data = Some(calibration.settings.to_recipe().map_err(|error| error.to_string())?);
    notes.extend(calibration.opened.notes.iter().cloned());
    let problem = |error: SamplesError| error.to_string();
    let samples = arguments.samples.get();
    let limit = arguments.data.limit.map_or(COMPARED, |limit| limit.get());
    let all = calibration.opened.samples.as_ref();
    let other_part = calibration.opened.kind == Kind::Cifar10 && arguments.data.split.is_none();
    let mut order = subset(all, samples.saturating_add(limit), 0).map_err(problem)?;
    let mut rest = if order.len() > samples { order.split_off(samples) } else { Vec::new() };
    let mut comparison = None;
    if other_part {
        let test = arguments.data.open(opened, Some(&calibration.settings), CifarSplit::Test, PURPOSE)?;
        rest = subset(test.opened.samples.as_ref(), limit, 0).map_err(problem)?;
        comparison = Some(test);
    }
    if order.len() < samples {
        notes.push(format!("{samples} samples were to calibrate on; the data have {}", order.len()));
    }
    let held_out = !rest.is_empty();
    let compare_on = if held_out { rest } else { order.iter().copied().take(limit).collect() };
    Ok(Some(Chosen { calibration, calibrate_on: order, comparison, compare_on, held_out }))
}

/// Calibration, decision and edit.
fn quantize(
    graph: Graph,
    subgraphs: &IndexMap<String, Graph>,
    recipe: &Recipe,
    data: Option<&Chosen>,
    threads: usize,
    cancelled: &AtomicBool,
) -> Result<Quantized, Message> {
    let failure: RefCell<Option<Message>> = RefCell::new(None);
    let bar = bar("calibrating", data.map_or(0, |data| data.calibrate_on.len()));
    let samples = data.map(|data| (data.calibration.opened.samples.as_ref(), data.calibrate_on.as_slice()));
    let feed =
        samples.into_iter().flat_map(|(samples, chosen)| batches(samples, chosen, batch_size(samples)));
    // The first that cannot be used ends the calibration.
    let feed = feed.map_while(|batch| match tensors(batch, cancelled) {
        Ok(tensors) => Some(tensors),
        Err(message) => {
            failure.replace(Some(message));
            None
        }
    });
    let unknown = unknown_operators(&graph);
    let options = CalibrationOptions {
        subgraphs: subgraphs.clone(),
        ..CalibrationOptions::default().with_threads(threads)
    };
    let quantized = calipers_quant::quantize(graph, feed, recipe, &options, |table| {
        bar.set_position(table.samples);
        if bar.length() == Some(table.samples) {
            bar.set_message("choosing ranges");
        }
    });
    bar.finish_and_clear();
    // Without it, what was observed is not what was asked for.
    if let Some(message) = failure.into_inner() {
        return Err(message);
    }
    quantized.map_err(|error| match (&error, unknown.len()) {
        (QuantError::Run { .. }, 2..) => {
            format!("{error}\nall operators that are not known: {}", unknown.join(", "))
        }
        _ => error.to_string(),
    })
}

/// A batch as the model takes it, when its numbers are finite and nobody wants to stop.
fn tensors(batch: Result<SampleBatch, SamplesError>, cancelled: &AtomicBool) -> Result<Batch, Message> {
    if cancelled.load(Ordering::Relaxed) {
        return Err(stopped());
    }
    let batch = batch.map_err(|error| error.to_string())?;
    batch.require_finite().map_err(|error| error.to_string())?;
    named_tensors(batch).map_err(|error| error.to_string())
}

/// The operators of a graph that nothing here runs, with their nodes.
fn unknown_operators(graph: &Graph) -> Vec<String> {
    let unknown = graph.nodes().iter().filter_map(|node| match &node.op {
        Op::Opaque(opaque) => Some(format!("{} (node `{}`)", opaque.op_type, node.name)),
        _ => None,
    });
    unknown.collect()
}

/// Writes the model and its documents.
fn write(
    staging: &Staging<'_>,
    quantized: Quantized,
    recipe: &Recipe,
    model: impl FnOnce(Graph) -> Model,
) -> Result<(), Message> {
    let path = staging.model();
    let Quantized { graph, table, assignment, .. } = quantized;
    let full_disk = |error: &dyn std::fmt::Display| {
        format!("the quantized model could not be written; nothing of it is left: {error}")
    };
    onnx::write(&model(graph), &path).map_err(|error| full_disk(&error))?;
    recipe.save(&Recipe::path_beside(&path)).map_err(|error| full_disk(&error))?;
    assignment.save(&QuantAssignment::path_beside(&path)).map_err(|error| full_disk(&error))?;
    if !table.values.is_empty() {
        table.save(&CalibrationTable::path_beside(&path)).map_err(|error| full_disk(&error))?;
    }
    Ok(())
}

enum Checked {
    Compared(Verification),
    /// Without data; whether it could be run.
    Ran(bool),
}

fn check(
    opened: &OpenedModel,
    written: &OpenedModel,
    data: Option<&Chosen>,
    threads: usize,
    cancelled: &AtomicBool,
) -> Result<Checked, Trouble> {
    let Some(data) = data else { return verify::try_zeros(opened, written, threads).map(Checked::Ran) };
    let source = &data.comparison.as_ref().unwrap_or(&data.calibration).opened;
    let bar = bar("comparing", data.compare_on.len());
    let samples = (source, data.compare_on.as_slice(), batch_size(source.samples.as_ref()));
    let verification = verify::verify(opened, written, threads, samples, cancelled, &bar);
    bar.finish_and_clear();
    verification
        .map(|verification| Checked::Compared(Verification { held_out: data.held_out, ..verification }))
}

/// Samples of one run.
fn batch_size(samples: &dyn Samples) -> usize {
    let bytes = samples
        .inputs()
        .iter()
        .map(|input| input.shape.iter().product::<usize>().saturating_mul(input.element.bytes()))
        .fold(0usize, usize::saturating_add);
    (BATCH_BYTES / bytes.max(1)).clamp(1, 8)
}

fn refused(destination: &Destination, reason: &str) -> Result<ExitCode, Message> {
    eprintln!(
        "error: the quantized model did not pass its check, and {} was not written: {reason}\n\
         hint: this is a defect of Calipers; leave the node in float with --exclude, and report it",
        destination.path().display()
    );
    Ok(ExitCode::from(FAILED))
}

fn nothing_quantized(model: &Path, float: &[calipers_quant::FloatNode]) -> Message {
    let first = float.first().map_or_else(
        || String::from("it has no nodes"),
        |node| format!("node `{}` ({}): {}", node.name, node.operator, node.reason),
    );
    format!(
        "{}: nothing in this model is quantized by this recipe; the first of {} nodes: {first}\n\
         hint: look at --exclude and --recipe, or choose another --precision",
        model.display(),
        float.len()
    )
}

fn stopped() -> Message {
    String::from("stopped; nothing was written")
}

/// Length of a model's file, with its weights where they are in files beside it: then they have more bytes than the file.
fn bytes_with_weights(opened: &OpenedModel) -> u64 {
    let constants = opened.graph().constants().values();
    let weights = constants.map(|tensor| tensor.bytes().len() as u64).fold(0u64, u64::saturating_add);
    if weights > opened.bytes { opened.bytes + weights } else { opened.bytes }
}

/// The most memory that this process had in use so far, in bytes, where the system says so.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn bar(title: &'static str, samples: usize) -> ProgressBar {
    let bar = ProgressBar::new(samples as u64);
    if let Ok(style) =
        ProgressStyle::with_template("{prefix} [{bar:30}] {pos} of {len} samples, {eta} left {wide_msg}")
    {
        bar.set_style(style);
    }
    bar.set_prefix(title);
    bar
}
