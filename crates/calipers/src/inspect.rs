//! `calipers inspect`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use calipers_data::samples::{CifarSplit, batches};
use calipers_inspect::describe::{TextOptions, describe, html, text};
use calipers_inspect::dump::{self, Numbers, write_npy, write_text};
use calipers_inspect::{OpenedModel, named_tensors, open};
use clap::Args;

use crate::Message;
use crate::data_arguments::DataArguments;
use crate::output::{json, print, threads};

/// Arguments of `calipers inspect`.
#[derive(Debug, Args)]
pub struct InspectArguments {
    /// The model, an ONNX or TFLite file.
    pub model: PathBuf,
    /// Write a weight or an activation as a .npy file, in place of the description.
    #[arg(long, value_name = "NAME", requires = "output")]
    pub dump: Option<String>,
    /// Where --dump writes.
    #[arg(short, long, value_name = "FILE", requires = "dump")]
    pub output: Option<PathBuf>,
    /// Dump the real numbers that integers stand for.
    #[arg(long, requires = "dump")]
    pub dequantized: bool,
    /// Most rows of each table.
    #[arg(long, value_name = "N", default_value = "2000")]
    pub rows: usize,
    /// Longest name, in characters.
    #[arg(long, value_name = "N", default_value = "40")]
    pub name_width: usize,
    /// Threads, for activations [default: all cores].
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Print everything as JSON.
    #[arg(long)]
    pub json: bool,
    /// Write a page with histograms and the chart of layers, which needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Data, for activations: they are those of one run on the first sample, or on as many as --limit says.
    #[command(flatten)]
    pub data: DataArguments,
}

/// Describes the model, or dumps a value of it.
pub fn run(arguments: &InspectArguments) -> Result<ExitCode, Message> {
    let opened = open(&arguments.model).map_err(|error| error.to_string())?;
    if let (Some(name), Some(output)) = (&arguments.dump, &arguments.output) {
        return write_value(arguments, &opened, name, output);
    }
    let description = describe(&opened).map_err(|error| error.to_string())?;
    if let Some(path) = &arguments.html {
        write_text(path, &html(&description)).map_err(|error| error.to_string())?;
    }
    if arguments.json {
        print(&json(&description)?);
    } else {
        let options = TextOptions { name_width: arguments.name_width, rows: arguments.rows };
        print(&text(&description, &options));
    }
    Ok(ExitCode::SUCCESS)
}

fn write_value(
    arguments: &InspectArguments,
    opened: &OpenedModel,
    name: &str,
    output: &Path,
) -> Result<ExitCode, Message> {
    let inputs = match &arguments.data.data {
        None => None,
        Some(_) => {
            let limit = arguments.data.limit.or(NonZeroUsize::new(1));
            let flags = DataArguments { limit, ..arguments.data.clone() };
            let kept = opened.data_settings().map_err(|error| error.to_string())?;
            let data = flags.open(opened, kept.as_ref(), CifarSplit::Test, "to compute an activation")?;
            let first = batches(data.opened.samples.as_ref(), &data.chosen, data.chosen.len()).next();
            let batch = first.transpose().map_err(|error| error.to_string())?;
            batch.map(named_tensors).transpose().map_err(|error| error.to_string())?
        }
    };
    let what = if arguments.dequantized { Numbers::Dequantized } else { Numbers::Stored };
    let threads = threads(arguments.threads);
    let tensor =
        dump::tensor(opened, name, inputs.as_deref(), what, threads).map_err(|error| error.to_string())?;
    write_npy(output, &tensor).map_err(|error| error.to_string())?;
    print(&format!("{}: {} as {}\n", output.display(), name, tensor.tensor_type()));
    Ok(ExitCode::SUCCESS)
}
