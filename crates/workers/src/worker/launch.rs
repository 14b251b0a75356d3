//! What a worker is started with.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::environment::{Framework, Interpreter};

/// A program and its surroundings.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// The worker's name in messages.
    pub title: String,
    /// The program to start.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Environment variables that are set, beside those that the process inherits.
    pub variables: Vec<(OsString, OsString)>,
    /// Environment variables that are not inherited.
    pub removed_variables: Vec<OsString>,
    /// Current folder; `None` inherits.
    pub folder: Option<PathBuf>,
    /// File that standard error is appended to.
    pub log: Option<PathBuf>,
    /// Set to true by anybody, it ends the call that is waiting, with [`Cancelled`](super::WorkerError::Cancelled).
    pub cancelled: Arc<AtomicBool>,
}

impl Launch {
    /// A worker that is any program, such as this one with a hidden subcommand.
    pub fn new(title: impl Into<String>, program: impl Into<PathBuf>) -> Launch {
        Launch { title: title.into(), program: program.into(), ..Launch::default() }
    }

    /// A framework's worker: `python -m calipers_worker`, from the unpacked `sources` (see
    /// [`sources::unpack`](crate::sources::unpack)), held to `threads` threads and to the CPU.
    ///
    /// The current folder is inherited and is no place to import from, so that neither relative paths in requests
    /// change their meaning nor a file of the user's takes a package's name.
    pub fn framework(
        framework: Framework,
        interpreter: &Interpreter,
        sources: &Path,
        threads: usize,
    ) -> Launch {
        let mut search = vec![sources.to_path_buf()];
        if interpreter.own
            && let Some(inherited) = std::env::var_os("PYTHONPATH")
        {
            search.extend(std::env::split_paths(&inherited).filter(|path| !path.as_os_str().is_empty()));
        }
        // Joining fails only for a path that holds the separator itself.
        let search = std::env::join_paths(&search).unwrap_or_else(|_| sources.as_os_str().to_owned());

        let mut launch = Launch::new(framework.title(), &interpreter.program);
        launch.arguments = ["-P", "-m", "calipers_worker", framework.name()].map(OsString::from).to_vec();
        launch.variables =
            vec![("PYTHONPATH".into(), search), ("CUDA_VISIBLE_DEVICES".into(), OsString::new())];
        let threads = threads.to_string();
        for name in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"]
        {
            launch.variables.push((name.into(), OsStr::new(&threads).to_owned()));
        }
        for (name, value) in [
            ("TF_USE_LEGACY_KERAS", "1"),
            ("TF_CPP_MIN_LOG_LEVEL", "2"),
            ("PYTHONUNBUFFERED", "1"),
            ("PYTHONUTF8", "1"),
        ] {
            launch.variables.push((name.into(), value.into()));
        }
        if !interpreter.own {
            launch.removed_variables = ["PYTHONHOME", "VIRTUAL_ENV"].map(OsString::from).to_vec();
            launch.variables.push(("PYTHONNOUSERSITE".into(), "1".into()));
        }
        launch
    }
}
