//! `calipers inspect`.

use std::path::PathBuf;
use std::process::ExitCode;

use calipers_inspect::describe::{TextOptions, describe, text};
use calipers_inspect::open;
use clap::Args;

use crate::Message;
use crate::output::{json, print};

/// Arguments of `calipers inspect`.
#[derive(Debug, Args)]
pub struct InspectArguments {
    /// The model, an ONNX or TFLite file.
    pub model: PathBuf,
    /// Most rows of each table.
    #[arg(long, value_name = "N", default_value = "2000")]
    pub rows: usize,
    /// Longest name, in characters.
    #[arg(long, value_name = "N", default_value = "40")]
    pub name_width: usize,
    /// Print everything as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Describes the model.
pub fn run(arguments: &InspectArguments) -> Result<ExitCode, Message> {
    let opened = open(&arguments.model).map_err(|error| error.to_string())?;
    let description = describe(&opened).map_err(|error| error.to_string())?;
    if arguments.json {
        print(&json(&description)?);
    } else {
        let options = TextOptions { name_width: arguments.name_width, rows: arguments.rows };
        print(&text(&description, &options));
    }
    Ok(ExitCode::SUCCESS)
}
