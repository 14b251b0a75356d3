//! The three files that a report is left as.

use std::path::{Path, PathBuf};

use calipers_study::write_whole;

use crate::error::GapsError;
use crate::report::{Report, html, json, markdown};
use crate::script;

/// Writes `gaps.json`, `gaps.md` and `gaps.html` to a folder that is there, and returns their paths.
///
/// # Errors
/// [`GapsError::Files`].
pub fn write_files(report: &Report, folder: &Path) -> Result<Vec<PathBuf>, GapsError> {
    let mut files = Vec::new();
    for (name, text) in [
        ("gaps.json", json(report)),
        ("gaps.md", markdown(report)),
        ("gaps.html", html(report, &script::parts)),
    ] {
        let path = folder.join(name);
        write_whole(&path, text.as_bytes()).map_err(GapsError::files("write", &path))?;
        files.push(path);
    }
    Ok(files)
}
