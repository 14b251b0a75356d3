//! Making an environment.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::find::{self, Found};
use super::output::{Count, hint, refused_package};
use super::{
    Environment, EnvironmentError, Host, Interpreter, Marker, Specification, beside, interpreter_in,
};
use crate::process::{self, End, Event, Tail};

/// Bytes of the installer's output that an error carries.
const OUTPUT_TAIL: usize = 8 << 10;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Another process installs the same environment.
    Wait,
    /// A half-installed environment is removed.
    Clean,
    /// The virtual environment is made.
    Create,
    /// Packages are fetched.
    Fetch,
    /// Packages are put into the environment.
    Install,
    /// The environment is tried out.
    Check,
}

impl Phase {
    /// In words.
    pub fn title(self) -> &'static str {
        match self {
            Phase::Wait => "waiting for another installation",
            Phase::Clean => "removing a half-made environment",
            Phase::Create => "making the environment",
            Phase::Fetch => "fetching packages",
            Phase::Install => "installing packages",
            Phase::Check => "trying it out",
        }
    }
}

/// How far an installation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installing<'a> {
    /// The environment's title.
    pub title: &'static str,
    /// What is being done.
    pub phase: Phase,
    /// Packages that are fetched.
    pub packages_done: usize,
    /// Packages in all.
    pub packages_total: usize,
    /// The installer's last line; may be empty.
    pub line: &'a str,
    /// Since the beginning.
    pub elapsed: Duration,
}

/// An interpreter with everything that `environment` needs: the user's own, or that of the environment under the
/// cache, which is made first where it is missing. A half-made one is removed and begun again.
///
/// While something is being made, `progress` is called with every line of the installer and at least ten times a
/// second; setting `cancelled` ends it, and leaves nothing behind. The installer is `uv` where it is on the search
/// path, else Python's own venv and pip; both install exactly the pinned packages and check their hashes.
///
/// # Errors
/// Any [`EnvironmentError`] but `NoCache` and `Busy`.
pub fn ensure(
    environment: Environment,
    host: &Host,
    progress: &mut dyn FnMut(&Installing<'_>),
    cancelled: &AtomicBool,
) -> Result<Interpreter, EnvironmentError> {
    match find::own_interpreter(environment, host) {
        Some(own) => own,
        None => ensure_made(environment.specification(), host, progress, cancelled),
    }
}

/// [`ensure`] without the user's own interpreter.
pub(super) fn ensure_made(
    specification: &'static Specification,
    host: &Host,
    progress: &mut dyn FnMut(&Installing<'_>),
    cancelled: &AtomicBool,
) -> Result<Interpreter, EnvironmentError> {
    if let Some(interpreter) = made(specification, host) {
        return Ok(interpreter);
    }
    let base = find::base_interpreter(specification, host)?;
    let folder = specification.folder(host, base.version.1);
    fs::create_dir_all(host.environments()).map_err(files(&host.environments()))?;
    let mut installation = Installation {
        specification,
        host,
        base,
        log: beside(&folder, ".log"),
        folder,
        count: Count::new(specification.requirements),
        start: Instant::now(),
        progress,
        cancelled,
    };
    let _lock = installation.lock()?;
    if let Some(interpreter) = made(specification, host) {
        return Ok(interpreter);
    }
    let result = installation.run();
    if result.is_err() {
        let _ = fs::remove_dir_all(&installation.folder);
    }
    result
}

fn made(specification: &Specification, host: &Host) -> Option<Interpreter> {
    let (folder, marker) = specification.installed(host)?;
    Some(Interpreter {
        program: interpreter_in(&folder),
        python: marker.python,
        versions: marker.versions,
        own: false,
    })
}

struct Installation<'a> {
    specification: &'static Specification,
    host: &'a Host,
    base: Found,
    folder: PathBuf,
    log: PathBuf,
    count: Count,
    start: Instant,
    progress: &'a mut dyn FnMut(&Installing<'_>),
    cancelled: &'a AtomicBool,
}

impl Installation<'_> {
    /// Waits until no other process works on the folder.
    fn lock(&mut self) -> Result<File, EnvironmentError> {
        loop {
            if let Some(lock) = try_lock(&self.folder)? {
                return Ok(lock);
            }
            if self.is_cancelled() {
                return Err(EnvironmentError::Cancelled { title: self.specification.title });
            }
            self.tell(Phase::Wait, "");
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn run(&mut self) -> Result<Interpreter, EnvironmentError> {
        File::create(&self.log).map_err(files(&self.log))?;
        if self.folder.exists() {
            self.tell(Phase::Clean, "");
            fs::remove_dir_all(&self.folder).map_err(files(&self.folder))?;
        }
        let uv = self.host.programs("uv").next();
        self.create(uv.as_deref())?;
        self.install(uv.as_deref())?;
        self.check(if uv.is_some() { "uv" } else { "pip" })
    }

    fn create(&mut self, uv: Option<&Path>) -> Result<(), EnvironmentError> {
        let mut command = match uv {
            Some(uv) => {
                let mut command = Command::new(uv);
                command.args(["venv", "--no-project", "--python"]).arg(&self.base.executable);
                command
            }
            None => {
                let mut command = Command::new(&self.base.executable);
                command.args(["-I", "-u", "-m", "venv"]);
                command
            }
        };
        command.arg(&self.folder);
        self.execute(Phase::Create, "making the virtual environment", command)
    }

    fn install(&mut self, uv: Option<&Path>) -> Result<(), EnvironmentError> {
        let requirements = self.folder.join("requirements.txt");
        fs::write(&requirements, self.specification.requirements).map_err(files(&requirements))?;
        let python = interpreter_in(&self.folder);
        let mut command = match uv {
            Some(uv) => {
                let mut command = Command::new(uv);
                command.args(["pip", "install", "--python"]).arg(&python);
                command
            }
            None => {
                let mut command = Command::new(&python);
                command.args([
                    "-I",
                    "-u",
                    "-m",
                    "pip",
                    "install",
                    "--no-input",
                    "--disable-pip-version-check",
                ]);
                command
            }
        };
        // The list is resolved in full, and a package that must be compiled would not be the one that was tested.
        command.args(["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r"]).arg(&requirements);
        self.execute(Phase::Fetch, "installing the packages", command)
    }

    fn check(&mut self, installer: &str) -> Result<Interpreter, EnvironmentError> {
        self.tell(Phase::Check, "");
        let program = interpreter_in(&self.folder);
        let broken = |problem: String| EnvironmentError::Broken {
            title: self.specification.title,
            problem,
            log: self.log.clone(),
        };
        let found = find::ask(&program, self.specification.packages, true).map_err(&broken)?;
        let versions =
            found.versions().map_err(|missing| broken(format!("it lacks {}", missing.join(", "))))?;
        let marker = Marker {
            python: found.python(),
            versions: versions.clone(),
            installer: installer.to_owned(),
            seconds: self.start.elapsed().as_secs_f64(),
        };
        let path = Marker::path(&self.folder);
        let temporary = beside(&path, ".new");
        serde_json::to_vec_pretty(&marker)
            .map_err(io::Error::from)
            .and_then(|text| fs::write(&temporary, text))
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(files(&path))?;
        Ok(Interpreter { program, python: marker.python, versions, own: false })
    }

    /// Runs one step of the installer, with its output in the log. The step is announced before it begins.
    fn execute(
        &mut self,
        phase: Phase,
        step: &'static str,
        mut command: Command,
    ) -> Result<(), EnvironmentError> {
        self.tell(phase, "");
        if self.is_cancelled() {
            return Err(EnvironmentError::Cancelled { title: self.specification.title });
        }
        // A project's settings in the current folder must not reach the installer.
        command.current_dir(self.host.environments()).stdin(Stdio::null());
        for variable in ["PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"] {
            command.env_remove(variable);
        }
        command.env("NO_COLOR", "1").envs(self.host.child_variables());
        let program = PathBuf::from(command.get_program());
        let mut log = File::options().append(true).open(&self.log).map_err(files(&self.log))?;
        writeln!(log, "{command:?}").map_err(files(&self.log))?;

        let output = Tail::new(OUTPUT_TAIL);
        let mut last = String::new();
        let status = process::run(&mut command, &mut |event| {
            if let Event::Out(line) | Event::Err(line) = event {
                // A full disk shows in the installer's own failure.
                let _ = writeln!(log, "{line}");
                output.push(line.as_bytes());
                output.push(b"\n");
                self.count.see(line);
                line.clone_into(&mut last);
            }
            self.tell(phase, &last);
            !self.is_cancelled()
        })
        .map_err(|source| EnvironmentError::Start { program, source })?;

        let (title, log, output) = (self.specification.title, self.log.clone(), output.text());
        match status {
            None => Err(EnvironmentError::Cancelled { title }),
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(match refused_package(&output) {
                Some(package) => EnvironmentError::HashMismatch { title, package, output, log },
                None => EnvironmentError::Install {
                    title,
                    step,
                    end: End::from(status),
                    hint: hint(&output),
                    output,
                    log,
                },
            }),
        }
    }

    fn tell(&mut self, phase: Phase, line: &str) {
        let phase = if phase == Phase::Fetch && self.count.installing { Phase::Install } else { phase };
        (self.progress)(&Installing {
            title: self.specification.title,
            phase,
            packages_done: self.count.done,
            packages_total: self.count.total,
            line: line.trim(),
            elapsed: self.start.elapsed(),
        });
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// The lock of an environment's folder, for as long as the file is open; `None` while another process has it.
pub(super) fn try_lock(folder: &Path) -> Result<Option<File>, EnvironmentError> {
    let path = beside(folder, ".lock");
    let file = File::create(&path).map_err(files(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        // Some network file systems have no locks; one process at a time is then up to the user.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(Some(file)),
        Err(TryLockError::Error(source)) => Err(EnvironmentError::Files { path, source }),
    }
}

/// For `map_err`: the error of a file operation on `path`.
pub(super) fn files(path: &Path) -> impl Fn(io::Error) -> EnvironmentError + use<> {
    let path = path.to_path_buf();
    move |source| EnvironmentError::Files { path: path.clone(), source }
}
