//! Which environments there are, how large they are, and removing them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::install::{files, try_lock};
use super::{Environment, EnvironmentError, Host, Marker, PYTHON_MINORS, Specification};

/// Whether an environment can be used.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// The user's own interpreter is used; it has not been looked at.
    Own {
        /// As the variable names it.
        program: PathBuf,
    },
    /// It is there.
    Installed(Installed),
    /// An installation was interrupted, or the Python that it was made from is gone; the next one begins again.
    Partial {
        /// Its folder.
        folder: PathBuf,
    },
    /// It is made on first use.
    Missing,
}

/// An environment under the cache.
#[derive(Debug, Clone, PartialEq)]
pub struct Installed {
    /// Its folder.
    pub folder: PathBuf,
    /// Version of its Python.
    pub python: String,
    /// Import name to version, of the packages that the worker imports itself.
    pub versions: BTreeMap<String, String>,
    /// `uv` or `pip`.
    pub installer: String,
    /// How long the installation took.
    pub seconds: f64,
    /// Bytes of its files.
    pub bytes: u64,
}

/// The state of one environment. Counting its bytes walks over all its files.
pub fn state(environment: Environment, host: &Host) -> State {
    match host.interpreters.get(&environment) {
        Some(program) => State::Own { program: program.clone() },
        None => state_made(environment.specification(), host),
    }
}

pub(super) fn state_made(specification: &Specification, host: &Host) -> State {
    if let Some((folder, marker)) = specification.installed(host) {
        let Marker { python, versions, installer, seconds } = marker;
        return State::Installed(Installed {
            bytes: bytes(&folder),
            folder,
            python,
            versions,
            installer,
            seconds,
        });
    }
    let mut folders = PYTHON_MINORS.into_iter().map(|minor| specification.folder(host, minor));
    match folders.find(|folder| folder.exists()) {
        Some(folder) => State::Partial { folder },
        None => State::Missing,
    }
}

/// The states of all environments.
pub fn list(host: &Host) -> Vec<(Environment, State)> {
    Environment::ALL.into_iter().map(|environment| (environment, state(environment, host))).collect()
}

/// Removes an environment from the cache, with those of earlier requirements and half-installed ones. The user's own
/// interpreter is not touched. Returns the bytes that were freed, 0 where there was nothing.
///
/// # Errors
/// [`EnvironmentError::Busy`] while another process installs it, [`EnvironmentError::Files`] where the files cannot
/// be removed.
pub fn remove(environment: Environment, host: &Host) -> Result<u64, EnvironmentError> {
    remove_made(environment.specification(), host)
}

pub(super) fn remove_made(specification: &Specification, host: &Host) -> Result<u64, EnvironmentError> {
    let mut freed = 0;
    for folder in specification.folders(host) {
        let Some(_lock) = try_lock(&folder)? else {
            return Err(EnvironmentError::Busy { title: specification.title });
        };
        let size = bytes(&folder);
        // The marker goes first, so that an interrupted removal leaves no environment that looks whole.
        let marker = Marker::path(&folder);
        if marker.exists() {
            fs::remove_file(&marker).map_err(files(&marker))?;
        }
        fs::remove_dir_all(&folder).map_err(files(&folder))?;
        freed += size;
    }
    Ok(freed)
}

/// Bytes of all files under `folder`; links are not followed, and what cannot be read counts nothing.
fn bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
