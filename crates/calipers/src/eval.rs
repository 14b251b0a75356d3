//! `calipers eval`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use calipers_data::samples::CifarSplit;
use calipers_inspect::evaluate::{EvaluationOptions, evaluate, text};
use calipers_inspect::{Side, open};
use clap::Args;

use crate::Message;
use crate::data_arguments::DataArguments;
use crate::output::{json, print, progress_bar, threads};

/// Arguments of `calipers eval`.
#[derive(Debug, Args)]
pub struct EvalArguments {
    /// The model, an ONNX or TFLite file.
    pub model: PathBuf,
    /// Another model of the same network, such as the float one: how far do both agree?
    #[arg(long, value_name = "MODEL")]
    pub against: Option<PathBuf>,
    /// Samples in one run, unless the model decides.
    #[arg(long, value_name = "N", default_value = "32")]
    pub batch: NonZeroUsize,
    /// Threads [default: all cores].
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    /// Data to run on; labels where accuracy is asked for.
    #[command(flatten)]
    pub data: DataArguments,
}

/// Runs the model on the data.
pub fn run(arguments: &EvalArguments) -> Result<ExitCode, Message> {
    let error = |error: calipers_inspect::InspectError| error.to_string();
    let model = open(&arguments.model).map_err(error)?;
    let against = arguments.against.as_ref().map(open).transpose().map_err(error)?;
    // Whichever was quantized here says how its data were prepared.
    let mut kept = model.data_settings().map_err(error)?;
    if let (None, Some(against)) = (&kept, &against) {
        kept = against.data_settings().map_err(error)?;
    }
    let purpose = "to run the model on";
    let data = arguments.data.open(&model, kept.as_ref(), CifarSplit::Test, purpose)?;
    let other = match &against {
        Some(against) => {
            Some(arguments.data.open(against, Some(&data.settings), CifarSplit::Test, purpose)?)
        }
        None => None,
    };
    let side = Side { model: &model, samples: data.opened.samples.as_ref() };
    let other = against
        .as_ref()
        .zip(other.as_ref())
        .map(|(model, data)| Side { model, samples: data.opened.samples.as_ref() });
    let options = EvaluationOptions { batch: arguments.batch.get(), threads: threads(arguments.threads) };
    let bar = progress_bar("evaluating", data.chosen.len());
    let mut progress = |done: usize| {
        bar.set_position(done as u64);
        true
    };
    let labels = data.opened.samples.labels();
    let found = evaluate(side, other, &data.chosen, labels, &options, &mut progress);
    bar.finish_and_clear();
    let mut found = found.map_err(error)?;
    found.notes.extend(data.opened.notes.iter().cloned());
    print(&if arguments.json { json(&found)? } else { text(&found) });
    Ok(ExitCode::SUCCESS)
}
