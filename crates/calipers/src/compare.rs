//! `calipers compare`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use calipers_data::samples::CifarSplit;
use calipers_inspect::compare::{ComparisonOptions, TextOptions, compare, html, text};
use calipers_inspect::dump::write_text;
use calipers_inspect::{Side, open};
use clap::Args;

use crate::Message;
use crate::data_arguments::DataArguments;
use crate::output::{json, print, progress_bar, threads};

/// Samples that are compared on, unless the user says otherwise.
const SAMPLES: usize = 128;

/// Arguments of `calipers compare`.
#[derive(Debug, Args)]
pub struct CompareArguments {
    /// The model that counts as right, such as the float one: an ONNX or TFLite file.
    pub a: PathBuf,
    /// The model that is held against it.
    pub b: PathBuf,
    /// Samples in one run, unless a model decides. All values of a run of both models are in memory at a time.
    #[arg(long, value_name = "N", default_value = "8")]
    pub batch: NonZeroUsize,
    /// Samples on which layers are restored one at a time.
    #[arg(long, value_name = "N", default_value = "16")]
    pub restored: usize,
    /// Threads [default: all cores].
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Most rows of the table.
    #[arg(long, value_name = "N", default_value = "2000")]
    pub rows: usize,
    /// Longest name, in characters.
    #[arg(long, value_name = "N", default_value = "36")]
    pub name_width: usize,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    /// Write a page with the chart of layers, which needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Data to run on [default of --limit: 128].
    #[command(flatten)]
    pub data: DataArguments,
}

/// Compares the models.
pub fn run(arguments: &CompareArguments) -> Result<ExitCode, Message> {
    let error = |error: calipers_inspect::InspectError| error.to_string();
    let (a, b) = (open(&arguments.a).map_err(error)?, open(&arguments.b).map_err(error)?);
    let kept = match b.data_settings().map_err(error)? {
        Some(kept) => Some(kept),
        None => a.data_settings().map_err(error)?,
    };
    let purpose = "to run both models on";
    let limit = arguments.data.limit.or(NonZeroUsize::new(SAMPLES));
    let flags = DataArguments { limit, ..arguments.data.clone() };
    let data = flags.open(&a, kept.as_ref(), CifarSplit::Test, purpose)?;
    let others = flags.open(&b, Some(&data.settings), CifarSplit::Test, purpose)?;
    let first = Side { model: &a, samples: data.opened.samples.as_ref() };
    let second = Side { model: &b, samples: others.opened.samples.as_ref() };
    let options = ComparisonOptions {
        batch: arguments.batch.get(),
        threads: threads(arguments.threads),
        restored: arguments.restored,
    };
    let bar = progress_bar("comparing", data.chosen.len());
    let mut progress = |done: usize, of: usize| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
        true
    };
    let found = compare(first, second, &data.chosen, &options, &mut progress);
    bar.finish_and_clear();
    let mut found = found.map_err(error)?;
    found.notes.extend(data.opened.notes.iter().cloned());
    if let Some(path) = &arguments.html {
        write_text(path, &html(&found)).map_err(error)?;
    }
    let options = TextOptions { name_width: arguments.name_width, rows: arguments.rows };
    print(&if arguments.json { json(&found)? } else { text(&found, &options) });
    Ok(ExitCode::SUCCESS)
}
