//! Finding a Python interpreter, and asking one what it is and what it has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Environment, EnvironmentError, Host, Interpreter, PYTHON_MINORS, Specification, Tried};
use crate::process::{self, Event};

/// Prints what the interpreter is, as JSON; runs on any Python that knows JSON. The packages are not imported.
const QUESTION: &str = include_str!("../../python/question.py");

/// The longest that an interpreter may take to answer.
const LIMIT: Duration = Duration::from_secs(120);

/// What an interpreter says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Found {
    pub(super) version: (u32, u32, u32),
    /// The interpreter itself, where what was asked is a shim or belongs to a virtual environment.
    pub(super) executable: PathBuf,
    /// Version of each package that was asked for; `None` where it is missing.
    #[serde(default)]
    packages: BTreeMap<String, Option<String>>,
}

impl Found {
    pub(super) fn python(&self) -> String {
        let (major, minor, patch) = self.version;
        format!("{major}.{minor}.{patch}")
    }

    /// The versions of the packages, or the names of those that are missing.
    pub(super) fn versions(&self) -> Result<BTreeMap<String, String>, Vec<String>> {
        let missing: Vec<String> = self
            .packages
            .iter()
            .filter(|(_, version)| version.is_none())
            .map(|(name, _)| name.clone())
            .collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        Ok(self
            .packages
            .iter()
            .filter_map(|(name, version)| Some((name.clone(), version.clone()?)))
            .collect())
    }
}

/// Asks `program` for its version and for `packages`; the error says in a few words what is wrong with it.
pub(super) fn ask(program: &Path, packages: &[&str], isolated: bool) -> Result<Found, String> {
    let mut command = Command::new(program);
    if isolated {
        command.arg("-I");
    }
    command.args(["-c", QUESTION]).args(packages).env("PYTHONSAFEPATH", "1").stdin(Stdio::null());
    // The last line of each output.
    let (mut out, mut err) = (String::new(), String::new());
    let start = Instant::now();
    let status = process::run(&mut command, &mut |event| {
        match event {
            Event::Out(line) => out = line.to_owned(),
            Event::Err(line) if line.trim().is_empty() => {}
            Event::Err(line) => err = line.trim().to_owned(),
            Event::Tick => {}
        }
        start.elapsed() < LIMIT
    })
    .map_err(|error| format!("it does not start: {error}"))?
    .ok_or_else(|| format!("it did not answer in {} s", LIMIT.as_secs()))?;
    if !status.success() {
        let words = if err.is_empty() { "no message" } else { &err };
        return Err(format!("it fails with {}: {words}", process::End::from(status)));
    }
    serde_json::from_str(&out).map_err(|_| "its answer is not that of a Python interpreter".to_owned())
}

/// The first interpreter on the search path that the pinned packages exist for.
pub(super) fn base_interpreter(
    specification: &Specification,
    host: &Host,
) -> Result<Found, EnvironmentError> {
    let mut names: Vec<String> = PYTHON_MINORS.iter().map(|minor| format!("python3.{minor}")).collect();
    names.extend(["python3".to_owned(), "python".to_owned()]);
    let mut tried = Vec::new();
    let mut seen = BTreeSet::new();
    for name in &names {
        for program in host.programs(name) {
            if !seen.insert(program.canonicalize().unwrap_or_else(|_| program.clone()).join(name)) {
                continue;
            }
            match ask(&program, &[], true) {
                Ok(found) if is_supported(found.version) => return Ok(found),
                Ok(found) => {
                    tried.push(Tried { program, problem: format!("it is Python {}", found.python()) })
                }
                Err(problem) => tried.push(Tried { program, problem }),
            }
        }
    }
    Err(EnvironmentError::NoInterpreter {
        title: specification.title,
        names,
        tried,
        variable: specification.variable,
    })
}

fn is_supported((major, minor, _): (u32, u32, u32)) -> bool {
    major == 3 && PYTHON_MINORS.contains(&minor)
}

/// The interpreter that the user named for `environment`, if any: it must run, be Python 3.11 or later, and have the
/// packages, in whatever version.
pub(super) fn own_interpreter(
    environment: Environment,
    host: &Host,
) -> Option<Result<Interpreter, EnvironmentError>> {
    let named = host.interpreters.get(&environment)?;
    Some(check_own(environment.specification(), &host.program(named)))
}

fn check_own(specification: &Specification, program: &Path) -> Result<Interpreter, EnvironmentError> {
    let wrong = |problem: String| EnvironmentError::OwnInterpreter {
        title: specification.title,
        variable: specification.variable,
        program: program.to_path_buf(),
        problem,
    };
    if !program.exists() {
        return Err(wrong("there is no such file".to_owned()));
    }
    let found = ask(program, specification.packages, false).map_err(wrong)?;
    if found.version < (3, 11, 0) {
        return Err(wrong(format!("it is Python {}", found.python())));
    }
    let versions = found.versions().map_err(|missing| EnvironmentError::MissingPackage {
        title: specification.title,
        variable: specification.variable,
        program: program.to_path_buf(),
        missing,
    })?;
    // Not its `executable`, which has none of a virtual environment's packages.
    Ok(Interpreter { program: program.to_path_buf(), python: found.python(), versions, own: true })
}
