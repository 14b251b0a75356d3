//! How making or finding an environment can fail.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::process::{End, last_lines};

/// An interpreter that was looked at and not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The program.
    pub program: PathBuf,
    /// Why it was not taken.
    pub problem: String,
}

/// An environment that cannot be made, found or removed.
#[derive(Debug, Error)]
pub enum EnvironmentError {
    /// The system names no cache folder.
    #[error("this user has no cache folder\nhint: set HOME, or name a folder with CALIPERS_CACHE")]
    NoCache,

    /// No interpreter on the search path will do.
    #[error(
        "{title} needs Python 3.11, 3.12 or 3.13, and none was found; looked on the PATH for {}{}\nhint: install one of them (for example `apt install python3 python3-venv`, `brew install python@3.12` or `uv python install 3.12`) and put it on the PATH, or name an interpreter that has {title} with {variable}",
        names.join(", "),
        tried.iter().map(|one| format!("\n  | {}: {}", one.program.display(), one.problem)).collect::<String>()
    )]
    NoInterpreter {
        /// The environment's title.
        title: &'static str,
        /// The names that were looked for.
        names: Vec<String>,
        /// What was found under them.
        tried: Vec<Tried>,
        /// The variable that names another.
        variable: &'static str,
    },

    /// The interpreter that the user named will not do.
    #[error(
        "{variable} names {}, which cannot be used for {title}: {problem}\nhint: name a Python interpreter of version 3.11 or later that has {title}, or unset {variable} so that Calipers makes its own environment",
        program.display()
    )]
    OwnInterpreter {
        /// The environment's title.
        title: &'static str,
        /// The variable that names it.
        variable: &'static str,
        /// The program.
        program: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// The interpreter that the user named lacks packages.
    #[error(
        "{variable} names {}, which lacks {}\nhint: `{} -m pip install {}`, or unset {variable} so that Calipers makes its own environment",
        program.display(), missing.join(", "), program.display(), missing.join(" ")
    )]
    MissingPackage {
        /// The environment's title.
        title: &'static str,
        /// The variable that names it.
        variable: &'static str,
        /// The program.
        program: PathBuf,
        /// Import names of what is missing.
        missing: Vec<String>,
    },

    /// A package's bytes are not those that the program was built for.
    #[error(
        "{package} was refused while installing {title}: its bytes do not match the pinned hashes{}\nhint: a mirror or proxy may hand out another file; try without it. The whole log: {}",
        last_lines(output, 8), log.display()
    )]
    HashMismatch {
        /// The environment's title.
        title: &'static str,
        /// The package, as the installer names it.
        package: String,
        /// The installer's last words.
        output: String,
        /// The whole log.
        log: PathBuf,
    },

    /// The installer failed.
    #[error(
        "{title} cannot be installed: {step} failed with {end}{}\nhint: {hint}. The whole log: {}",
        last_lines(output, 8), log.display()
    )]
    Install {
        /// The environment's title.
        title: &'static str,
        /// What was being done.
        step: &'static str,
        /// How the installer ended.
        end: End,
        /// Its last words.
        output: String,
        /// What to do next.
        hint: &'static str,
        /// The whole log.
        log: PathBuf,
    },

    /// The installer succeeded, and yet the environment does not work.
    #[error(
        "{title} was installed, but its environment does not work: {problem}\nhint: install it again; the whole log: {}",
        log.display()
    )]
    Broken {
        /// The environment's title.
        title: &'static str,
        /// What is wrong with it.
        problem: String,
        /// The whole log.
        log: PathBuf,
    },

    /// The installer is not there any more, or cannot be started.
    #[error("{} cannot be started: {source}\nhint: check that this user may run it", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },

    /// The cancellation flag was set; nothing half-installed is left.
    #[error("the installation of {title} was cancelled")]
    Cancelled {
        /// The environment's title.
        title: &'static str,
    },

    /// Another process is installing or removing the environment at this moment.
    #[error("{title} is being installed or removed by another process\nhint: wait until it has finished")]
    Busy {
        /// The environment's title.
        title: &'static str,
    },

    /// A file or folder under the cache cannot be read or written.
    #[error(
        "{}: {source}\nhint: make the folder writable and see that the disk has room, or name another with CALIPERS_CACHE",
        path.display()
    )]
    Files {
        /// Where it failed.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}
