//! `calipers gaps`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use calipers::gaps::report::{self, Cell, Report};
use calipers::gaps::{self, Options, PATHS, Selection};
use calipers::workers::environment::Host;
use clap::{Args, Subcommand};

use crate::Message;
use crate::progress::Display;
use crate::study::cancel_on_interrupt;

/// Exit status of a run in which a control failed, or that found a gap where that was asked for.
const FAILED: u8 = 1;
/// Probes at the same time, at most, unless the user says otherwise.
const JOBS: usize = 8;

/// Arguments of `calipers gaps`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct GapsArguments {
    /// What else to do.
    #[command(subcommand)]
    action: Option<GapsAction>,
    /// Only these layers, such as lstm,embedding.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    layer: Option<Vec<String>>,
    /// Only these frameworks: pytorch, tensorflow, onnxruntime, calipers.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    framework: Option<Vec<String>>,
    /// Only these paths, such as fx,tensorflow/tflite-int8.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    path: Option<Vec<String>>,
    /// Only what this model (ONNX or TFLite) needs, with the names of the nodes that need it.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// The gaps.json of an older run, as it is or compressed: say what opened and what closed.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// A subset of about five minutes: the most used layers on the most used paths, and some of the questions.
    #[arg(long)]
    quick: bool,
    /// Output folder.
    #[arg(long, value_name = "DIR", default_value = "runs/gaps")]
    out: PathBuf,
    /// Probes at the same time [default: the number of cores, at most 8].
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// Print gaps.json instead of tables.
    #[arg(long)]
    json: bool,
    /// Exit with 1 when a cell is a gap.
    #[arg(long)]
    fail_on_gap: bool,
    /// List the layers, and the paths of each framework, and do nothing.
    #[arg(long)]
    list: bool,
}

/// What else `calipers gaps` does.
#[derive(Debug, Subcommand)]
enum GapsAction {
    /// Show one cell: its evidence, or the script that shows it without Calipers.
    Show {
        /// FRAMEWORK/PATH/LAYER, such as pytorch/fx/multihead_attention.
        cell: String,
        /// Print the stand-alone script instead; it exits with 1 while the gap exists, and with 0 when it is closed.
        #[arg(long)]
        script: bool,
        /// Print the cell as JSON.
        #[arg(long, conflicts_with = "script")]
        json: bool,
        /// The folder of the run that found it.
        #[arg(long, value_name = "DIR", default_value = "runs/gaps")]
        out: PathBuf,
    },
    /// Make gaps.html and gaps.md of a gaps.json once more, without a run.
    Render {
        /// The gaps.json, as it is or compressed (gaps.json.gz).
        file: PathBuf,
        /// Output folder.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// Runs the probes and prints what was found.
pub fn run(arguments: &GapsArguments) -> Result<ExitCode, Message> {
    match &arguments.action {
        Some(GapsAction::Show { cell, script, json, out }) => return show(cell, *script, *json, out),
        Some(GapsAction::Render { file, out }) => return render(file, out),
        None => {}
    }
    if arguments.list {
        print(&list());
        return Ok(ExitCode::SUCCESS);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let options = Options {
        selection: Selection {
            layers: arguments.layer.clone(),
            frameworks: arguments.framework.clone(),
            paths: arguments.path.clone(),
            quick: arguments.quick,
        },
        model: arguments.model.clone(),
        against: arguments.against.clone(),
        out: arguments.out.clone(),
        jobs: arguments.jobs.map_or(cores.min(JOBS), usize::from),
        command: command_line(),
        program: std::env::current_exe()
            .map_err(|error| format!("cannot find this program itself: {error}"))?,
        host: Host::detect().map_err(|error| error.to_string())?,
        cancelled: cancel_on_interrupt()?,
    };
    let mut display = Display::new();
    let done = gaps::run(&options, &mut display);
    display.finish();
    let done = done.map_err(|error| error.to_string())?;
    if arguments.json {
        print(&(serde_json::to_string_pretty(&done.report).map_err(|error| error.to_string())? + "\n"));
    } else {
        print(&report::terminal(&done.report));
        print_written(&done.files);
    }
    let broken = done.report.controls.iter().any(|control| !control.passed);
    let gap = arguments.fail_on_gap && done.report.cells.iter().any(|cell| cell.gap);
    Ok(if broken || gap { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// The command line with the program's name alone.
fn command_line() -> Vec<String> {
    let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(String::from("calipers")).chain(arguments).collect()
}

fn render(file: &Path, out: &Path) -> Result<ExitCode, Message> {
    let report = report::read(file).map_err(|error| error.to_string())?;
    std::fs::create_dir_all(out).map_err(|error| format!("cannot make {}: {error}", out.display()))?;
    print_written(&report::write_files(&report, out).map_err(|error| error.to_string())?);
    Ok(ExitCode::SUCCESS)
}

fn print_written(files: &[PathBuf]) {
    print(&files.iter().map(|file| format!("wrote {}\n", file.display())).collect::<String>());
}

fn show(name: &str, script: bool, json: bool, out: &Path) -> Result<ExitCode, Message> {
    let (path, layer) = gaps::cell(name).map_err(|error| error.to_string())?;
    let file = out.join("gaps.json");
    let found = if file.exists() {
        let report: Report = report::read(&file).map_err(|error| error.to_string())?;
        report.cells.into_iter().find(|cell| cell.key() == name)
    } else {
        None
    };
    if script {
        let words = found.as_ref().map_or_else(
            || String::from("Not probed yet."),
            |cell| format!("Found: {}. {}", cell.state, cell.evidence.reason),
        );
        let parts = gaps::script(path, layer, &words).map_err(|error| error.to_string())?;
        print(&parts.concat());
        return Ok(ExitCode::SUCCESS);
    }
    let Some(cell) = found else {
        return Err(format!(
            "{} has no cell {name}\nhint: `calipers gaps --path {}/{} --layer {} --out {}` probes it",
            file.display(),
            path.framework,
            path.name,
            layer.name,
            out.display()
        ));
    };
    if json {
        print(&(serde_json::to_string_pretty(&cell).map_err(|error| error.to_string())? + "\n"));
    } else {
        print(&evidence(&cell));
    }
    Ok(ExitCode::SUCCESS)
}

/// One cell in words.
fn evidence(cell: &Cell) -> String {
    let found = &cell.evidence;
    let mut out = format!("{}: {}\n  {}\n", cell.key(), cell.state, found.reason.replace('\n', "\n  "));
    if let (Some(error), Some(range)) = (cell.max_error, cell.float_range) {
        out += &format!("  largest error {error:.4}, range of the float outputs {range:.4}\n");
    }
    if let Some(error) = &cell.error {
        let stage = cell.stage.as_deref().unwrap_or("run");
        out += &format!("  at {stage}: {}\n", error.replace('\n', "\n    "));
    }
    let section = |title: &str, lines: Vec<String>| {
        if lines.is_empty() { String::new() } else { format!("\n{title}\n  {}\n", lines.join("\n  ")) }
    };
    let operators = found.operators.iter().map(|operator| {
        let kernel = operator.kernel.as_deref().map_or_else(String::new, |kernel| format!("  [{kernel}]"));
        let role = format!("{:?}", operator.role).to_lowercase();
        let class = format!("{:?}", operator.class).to_lowercase();
        format!("{role:<7} {class:<11} {}({}){kernel}", operator.name, operator.inputs.join(", "))
    });
    out += &section("executed", operators.collect());
    let weights =
        found.weights.iter().map(|weight| format!("{} {} {:?}", weight.name, weight.dtype, weight.shape));
    out += &section("weights in the artefact", weights.collect());
    out += &section("kernels", found.kernels.clone());
    out += &section("warnings", found.warnings.clone());
    out += &section("log", found.log.lines().map(String::from).collect());
    out += &section(
        "traceback",
        found.traceback.iter().flat_map(|trace| trace.lines().map(String::from)).collect(),
    );
    out
}

fn list() -> String {
    let mut out = String::from("layers\n");
    for layer in gaps::LAYERS {
        out += &format!("  {:<36} {}\n", layer.name, layer.title);
    }
    for framework in gaps::Framework::ALL {
        out += &format!("\n{framework}\n");
        for path in PATHS.iter().filter(|path| path.framework == framework) {
            out += &format!("  {:<36} {} ({})\n", path.name, path.title, path.scheme.title());
        }
    }
    out
}

/// Whoever closes the pipe has read enough; the files are written.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
