//! `calipers data`: downloads of published data.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use calipers::workers::environment::Host;
use calipers_data::fetch::{Download, Settings, fetch, find, known};
use clap::{Args, Subcommand};
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};

use crate::Message;
use crate::study::cancel_on_interrupt;

/// Arguments of `calipers data`.
#[derive(Debug, Args)]
pub struct DataCommand {
    /// What to do.
    #[command(subcommand)]
    pub action: DataAction,
}

/// What to do with data sets.
#[derive(Debug, Subcommand)]
pub enum DataAction {
    /// Show what can be fetched, from where, how large it is and whether it is there.
    List,
    /// Download a data set from its official address, go on where an earlier download was cut, and check the result.
    Fetch(FetchArguments),
}

/// Arguments of `calipers data fetch`.
#[derive(Debug, Args)]
pub struct FetchArguments {
    /// The data set; see `calipers data list`.
    pub name: String,
    /// The folder that it is put into, made when it is not there [default: data in Calipers' cache].
    #[arg(long, value_name = "FOLDER")]
    pub to: Option<PathBuf>,
    /// Another address that has the same file, such as a mirror.
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    /// Length of the file, for tests with a file of their own.
    #[arg(long, hide = true, requires = "from")]
    pub bytes: Option<u64>,
    /// SHA-256 of the file, for tests with a file of their own.
    #[arg(long, hide = true, requires = "from")]
    pub sha256: Option<String>,
}

/// Carries the action out.
pub fn run(arguments: &DataCommand) -> Result<ExitCode, Message> {
    match &arguments.action {
        DataAction::List => list(),
        DataAction::Fetch(arguments) => download(arguments),
    }
}

/// Where data sets are put unless the user says otherwise.
fn cache() -> Result<PathBuf, Message> {
    Ok(Host::detect().map_err(|error| error.to_string())?.cache.join("data"))
}

fn list() -> Result<ExitCode, Message> {
    let folder = cache()?;
    for download in known() {
        let path = folder.join(&download.file);
        let state = if path.exists() {
            format!("at {}", path.display())
        } else {
            String::from("not fetched into the cache")
        };
        println!("{:<12} {}, {}, {state}", download.name, DecimalBytes(download.bytes), download.url);
        println!("{:<12} {}", "", download.page);
    }
    Ok(ExitCode::SUCCESS)
}

fn download(arguments: &FetchArguments) -> Result<ExitCode, Message> {
    let known = find(&arguments.name).map_err(|error| error.to_string())?;
    let download = Download {
        url: arguments.from.clone().unwrap_or(known.url),
        bytes: arguments.bytes.unwrap_or(known.bytes),
        sha256: arguments.sha256.clone().unwrap_or(known.sha256),
        ..known
    };
    let folder = match &arguments.to {
        Some(folder) => folder.clone(),
        None => cache()?,
    };
    let cancelled = cancel_on_interrupt()?;
    let bar = ProgressBar::new(download.bytes);
    if let Ok(style) = ProgressStyle::with_template(
        "{prefix} [{bar:30}] {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left",
    ) {
        bar.set_style(style);
    }
    bar.set_prefix(download.name.clone());
    let mut first = true;
    let fetched = fetch(&download, &folder, &Settings::default(), &mut |progress| {
        // What was there before says nothing about the speed of this download.
        if std::mem::take(&mut first) {
            bar.reset_eta();
        }
        bar.set_position(progress.received);
        if cancelled.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.finish_and_clear();
    let fetched = fetched.map_err(|error| error.to_string())?;
    let how = match (fetched.downloaded, fetched.resumed_from) {
        (0, 0) => String::from("was there already"),
        (new, 0) => format!("{} downloaded", DecimalBytes(new)),
        (new, old) => format!("{} downloaded, {} were there", DecimalBytes(new), DecimalBytes(old)),
    };
    println!("{}: {how}, checksum right", download.name);
    println!("use it with --data {}", fetched.path.display());
    Ok(ExitCode::SUCCESS)
}
