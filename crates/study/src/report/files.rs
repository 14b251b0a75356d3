//! The files that a report is left as, and how one is read again.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use crate::error::StudyError;
use crate::material::write_whole;
use crate::report::{Report, VERSION, csv, html, markdown};

/// Why a report cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The folder has none.
    #[error(
        "{}: there is no report.json\nhint: give the folder that `calipers study` wrote to, such as runs/quick; a study that \
         was stopped has none until the same command has gone on to its end",
        path.display()
    )]
    Absent {
        /// The folder.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is of another version of the format.
    #[error(
        "{}: is a report of version {found}, expected {VERSION}\nhint: {}",
        path.display(),
        version_hint(*found)
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// It does not follow the format.
    #[error(
        "{}: is no report: {reason}\nhint: `calipers study` makes it again from records.jsonl in the same folder",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        reason: String,
    },
}

fn version_hint(found: u64) -> &'static str {
    if found > u64::from(VERSION) {
        "it was made by a newer Calipers, which can read it"
    } else {
        "it was made by an older Calipers; run the study again into the same folder, or read it with that version"
    }
}

/// Writes `report.html`, `report.md`, `report.csv` and `report.json` to a folder that is there, and returns their paths.
///
/// # Errors
/// [`StudyError::Files`], and [`StudyError::Unexpected`] for a report that JSON cannot say.
pub fn write(folder: &Path, report: &Report) -> Result<Vec<PathBuf>, StudyError> {
    let json = serde_json::to_string(report)
        .map_err(|error| StudyError::Unexpected { reason: error.to_string() })?;
    let mut files = render(folder, report)?;
    files.push(replace(folder, "report.json", &(json + "\n"))?);
    Ok(files)
}

/// Writes all of them but `report.json`.
///
/// # Errors
/// [`StudyError::Files`].
pub fn render(folder: &Path, report: &Report) -> Result<Vec<PathBuf>, StudyError> {
    let texts = [("report.html", html(report)), ("report.md", markdown(report)), ("report.csv", csv(report))];
    texts.iter().map(|(name, text)| replace(folder, name, text)).collect()
}

fn replace(folder: &Path, name: &str, text: &str) -> Result<PathBuf, StudyError> {
    let path = folder.join(name);
    write_whole(&path, text.as_bytes()).map_err(|source| StudyError::Files {
        action: "write",
        path: path.clone(),
        source,
    })?;
    Ok(path)
}

/// The report of a folder.
///
/// # Errors
/// [`ReadError`].
pub fn read(folder: &Path) -> Result<Report, ReadError> {
    let path = folder.join("report.json");
    let text = fs::read_to_string(&path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => ReadError::Absent { path: folder.to_owned() },
        _ => ReadError::Io { path: path.clone(), source },
    })?;
    let format = |reason: String| ReadError::Format { path: path.clone(), reason };
    let value: Value = serde_json::from_str(&text).map_err(|error| format(error.to_string()))?;
    let found = value.get("version").and_then(Value::as_u64);
    let found = found.ok_or_else(|| format(String::from("it has no field `version` with a number")))?;
    if found != u64::from(VERSION) {
        return Err(ReadError::Version { path: path.clone(), found });
    }
    // From the text, not from the value, so that the place of an error is known.
    serde_json::from_str(&text).map_err(|error| format(error.to_string()))
}
