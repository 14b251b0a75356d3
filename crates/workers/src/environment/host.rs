//! What this module takes from the machine: the cache folder, the search path, and the user's variables.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::{Environment, EnvironmentError};

/// The surroundings of all functions of this module; nothing else is read from the process's own environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Folder for everything that can be made again.
    pub cache: PathBuf,
    /// Folders in which programs are looked for.
    pub search: Vec<PathBuf>,
    /// The user's own interpreters.
    pub interpreters: BTreeMap<Environment, PathBuf>,
    /// Variables that are set for the installer, beside those that it inherits.
    pub variables: Vec<(OsString, OsString)>,
}

impl Host {
    /// Reads `CALIPERS_CACHE` (else the user's cache folder), `PATH`, and the interpreters' variables.
    ///
    /// # Errors
    /// [`EnvironmentError::NoCache`] where the system has no cache folder for this user.
    pub fn detect() -> Result<Host, EnvironmentError> {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let cache = match set("CALIPERS_CACHE") {
            // Virtual environments and module search paths need an absolute one.
            Some(folder) => std::path::absolute(&folder)
                .map_err(|source| EnvironmentError::Files { path: PathBuf::from(&folder), source })?,
            None => dirs::cache_dir().ok_or(EnvironmentError::NoCache)?.join("calipers"),
        };
        Ok(Host {
            cache,
            search: set("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default(),
            interpreters: Environment::ALL
                .into_iter()
                .filter_map(|environment| Some((environment, PathBuf::from(set(environment.variable())?))))
                .collect(),
            variables: Vec::new(),
        })
    }

    /// The folder that holds the environments.
    pub(super) fn environments(&self) -> PathBuf {
        self.cache.join("environments")
    }

    /// All programs called `name`, in the order of the search path.
    pub(super) fn programs<'a>(&'a self, name: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
        let name = format!("{name}{}", env::consts::EXE_SUFFIX);
        self.search.iter().map(move |folder| folder.join(&name)).filter(|path| is_executable(path))
    }

    /// `name` as the user wrote it in a variable: a path, or a program on the search path.
    pub(super) fn program(&self, name: &Path) -> PathBuf {
        let is_bare = name.components().count() == 1 && name.parent() == Some(Path::new(""));
        let found = name.to_str().filter(|_| is_bare).and_then(|text| self.programs(text).next());
        found.or_else(|| std::path::absolute(name).ok()).unwrap_or_else(|| name.to_path_buf())
    }

    /// `variables`, for a child process.
    pub(super) fn child_variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}
