//! `calipers report`.

use std::path::PathBuf;
use std::process::ExitCode;

use calipers::study::Report;
use calipers::study::report::{self, changes};
use clap::Args;

use crate::Message;
use crate::output::{json, print};

/// Arguments of `calipers report`.
#[derive(Debug, Args)]
pub struct ReportArguments {
    /// The folder that a study wrote to.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Say what changed since the study of this folder.
    #[arg(long, value_name = "OTHER_DIR")]
    pub against: Option<PathBuf>,
    /// Print the report, or what changed, as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Renders a report again and prints its table, or what changed between two.
pub fn run(arguments: &ReportArguments) -> Result<ExitCode, Message> {
    let read = |folder: &PathBuf| -> Result<Report, Message> {
        report::read(folder).map_err(|error| error.to_string())
    };
    let report = read(&arguments.folder)?;
    // Both are read before anything is written.
    let older = arguments.against.as_ref().map(read).transpose()?;
    let files = report::render(&arguments.folder, &report).map_err(|error| error.to_string())?;
    let files: String = files.iter().map(|file| format!("wrote {}\n", file.display())).collect();
    print(&match (older, arguments.json) {
        (None, false) => format!("{}\n{files}", report::table(&report)),
        (None, true) => json(&report)?,
        (Some(older), false) => format!("{}\n{files}", changes(&older, &report).text()),
        (Some(older), true) => json(&changes(&older, &report))?,
    });
    Ok(ExitCode::SUCCESS)
}
