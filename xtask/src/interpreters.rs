//! The Python environments that the tests need, made where they are missing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use calipers_workers::environment::{Installing, Phase, ensure};
use calipers_workers::{Environment, EnvironmentError, Host};

/// While something is being installed, a line at least this often.
const PATIENCE: Duration = Duration::from_secs(15);

/// One interpreter for each environment.
pub struct Interpreters(BTreeMap<Environment, PathBuf>);

impl Interpreters {
    /// Finds or makes all of them.
    pub fn ensure() -> Result<Interpreters, EnvironmentError> {
        let host = Host::detect()?;
        let mut programs = BTreeMap::new();
        for environment in Environment::ALL {
            let mut lines = Lines { phase: None, last: Instant::now() };
            let found = ensure(environment, &host, &mut |step| lines.show(step), &AtomicBool::new(false))?;
            let whose = if found.own { "your own" } else { "made by Calipers" };
            let path = found.program.display();
            eprintln!("{}: Python {}, {whose}, {path}", environment.title(), found.python);
            programs.insert(environment, found.program);
        }
        Ok(Interpreters(programs))
    }

    /// The interpreter of one environment.
    pub fn of(&self, environment: Environment) -> &Path {
        &self.0[&environment]
    }

    /// The variables that hand the interpreters to the tests.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.0.iter().map(|(environment, program)| (environment.variable(), program.as_path()))
    }
}

/// Progress as lines, few enough for a log.
struct Lines {
    phase: Option<Phase>,
    last: Instant,
}

impl Lines {
    fn show(&mut self, step: &Installing<'_>) {
        if self.phase == Some(step.phase) && self.last.elapsed() < PATIENCE {
            return;
        }
        (self.phase, self.last) = (Some(step.phase), Instant::now());
        let Installing { title, phase, packages_done, packages_total, elapsed, .. } = step;
        let seconds = elapsed.as_secs();
        eprintln!("{title}: {phase:?}, {packages_done} of {packages_total} packages, {seconds} s");
    }
}
