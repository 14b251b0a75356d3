//! Environments made offline, from wheels that the tests build.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, fs};

use super::find::{base_interpreter, own_interpreter};
use super::install::{ensure_made, try_lock};
use super::state::{remove_made, state_made};
use super::*;

static NEVER: AtomicBool = AtomicBool::new(false);

/// A cache, and a folder of wheels that is the only source of packages.
struct Setting {
    folder: tempfile::TempDir,
    host: Host,
}

fn setting() -> Setting {
    let folder = tempfile::tempdir().expect("temporary folder");
    let wheels = folder.path().join("wheels");
    fs::create_dir(&wheels).expect("creates");
    // Nothing but Python is on the search path: no `uv`, whatever the machine has.
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).expect("creates");
    let search = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    let mut host =
        Host { cache: folder.path().join("cache"), search, interpreters: BTreeMap::new(), variables: vec![] };
    let base = base_interpreter(&PYTORCH, &host).expect("the tests need Python 3.11 to 3.13");
    write_script(&bin.join("python3"), &format!("exec '{}' \"$@\"", base.executable.display()));
    host.search = vec![bin];
    let variables = [
        ("PIP_NO_INDEX", OsString::from("1")),
        ("PIP_FIND_LINKS", wheels.into()),
        ("PIP_CONFIG_FILE", "/dev/null".into()),
    ];
    host.variables = variables.into_iter().map(|(name, value)| (name.into(), value)).collect();
    Setting { folder, host }
}

impl Setting {
    /// Builds a wheel of the package `tiny_package`, and returns a requirements file that pins it.
    fn wheel(&self) -> String {
        let script = r#"
import hashlib, pathlib, sys, zipfile
name = pathlib.Path(sys.argv[1]) / "wheels" / "tiny_package-1.5-py3-none-any.whl"
info = "tiny_package-1.5.dist-info/"
files = {
    "tiny_package/__init__.py": "answer = 42\n",
    info + "METADATA": "Metadata-Version: 2.1\nName: tiny-package\nVersion: 1.5\n",
    info + "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    info + "top_level.txt": "tiny_package\n",
}
files[info + "RECORD"] = "".join(f"{file},,\n" for file in [*files, info + "RECORD"])
with zipfile.ZipFile(name, "w") as wheel:
    for file, text in files.items():
        wheel.writestr(file, text)
print(hashlib.sha256(name.read_bytes()).hexdigest())
"#;
        let output =
            Command::new("python3").args(["-c", script]).arg(self.folder.path()).output().expect("runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let hash = String::from_utf8(output.stdout).expect("is text");
        format!("tiny-package==1.5 \\\n    --hash=sha256:{}\n", hash.trim())
    }

    fn ensure(&self, specification: &'static Specification) -> Result<Interpreter, EnvironmentError> {
        ensure_made(specification, &self.host, &mut |_| {}, &NEVER)
    }

    /// Puts a program on the search path, in the place of one of the same name.
    fn program(&self, name: &str, script: &str) -> PathBuf {
        let program = self.folder.path().join("bin").join(name);
        write_script(&program, script);
        program
    }
}

/// Stands in for uv, and is quicker than venv and pip: `venv --no-project --python P FOLDER`, and
/// `pip install --python P --no-deps --only-binary :all: --require-hashes -r FILE`, which unpacks the one wheel.
const UV: &str = r#"echo "$@" >> "$(dirname "$0")/../calls"
case "$1" in
  venv) exec "$4" -m venv --without-pip "$5" ;;
  pip)
    echo "Resolved 1 package in 1ms" >&2
    exec "$4" -c "import pathlib, sysconfig, zipfile
for wheel in pathlib.Path('$(dirname "$0")/../wheels').iterdir():
    zipfile.ZipFile(wheel).extractall(sysconfig.get_path('purelib'))" ;;
esac"#;

fn write_script(program: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(program, format!("#!/bin/sh\n{script}\n")).expect("writes");
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).expect("is allowed");
}

/// An environment of one package. It lives as long as the tests' process, as the real ones do.
fn tiny(requirements: String) -> &'static Specification {
    Box::leak(Box::new(Specification {
        name: "tiny",
        title: "Tiny",
        variable: "CALIPERS_TINY_PYTHON",
        requirements: Box::leak(requirements.into_boxed_str()),
        packages: &["tiny_package"],
    }))
}

fn imports_the_package(interpreter: &Interpreter) -> bool {
    let code = "import tiny_package; assert tiny_package.answer == 42";
    Command::new(&interpreter.program).args(["-I", "-c", code]).status().expect("runs").success()
}

#[test]
fn an_environment_is_made_once_listed_and_removed() {
    let setting = setting();
    let specification = tiny(setting.wheel());
    assert_eq!(state_made(specification, &setting.host), State::Missing);

    let mut phases: Vec<Phase> = Vec::new();
    let made = ensure_made(
        specification,
        &setting.host,
        &mut |step| {
            if phases.last() != Some(&step.phase) {
                phases.push(step.phase);
            }
        },
        &NEVER,
    )
    .expect("installs");
    assert_eq!(phases, [Phase::Create, Phase::Fetch, Phase::Install, Phase::Check]);
    assert!(imports_the_package(&made) && !made.own);
    assert_eq!(made.versions["tiny_package"], "1.5");

    let State::Installed(installed) = state_made(specification, &setting.host) else {
        panic!("is not installed")
    };
    assert_eq!((installed.installer.as_str(), installed.python.as_str()), ("pip", made.python.as_str()));
    assert!(installed.bytes > 1000 && installed.seconds > 0.0, "{installed:?}");

    let again = ensure_made(specification, &setting.host, &mut |step| panic!("{step:?}"), &NEVER);
    assert_eq!(again.expect("is there"), made);

    assert_eq!(remove_made(specification, &setting.host).expect("removes"), installed.bytes);
    assert_eq!(state_made(specification, &setting.host), State::Missing);
    assert_eq!(remove_made(specification, &setting.host).expect("has nothing to do"), 0);
}

#[test]
fn a_half_installed_folder_is_begun_again() {
    let setting = setting();
    setting.program("uv", UV);
    let specification = tiny(setting.wheel());
    let base = base_interpreter(specification, &setting.host).expect("the tests need Python 3.11 to 3.13");
    let folder = specification.folder(&setting.host, base.version.1);
    fs::create_dir_all(folder.join("lib")).expect("creates");
    fs::write(folder.join("lib/left over"), "").expect("writes");
    assert_eq!(state_made(specification, &setting.host), State::Partial { folder: folder.clone() });

    let mut cleaned = false;
    ensure_made(specification, &setting.host, &mut |step| cleaned |= step.phase == Phase::Clean, &NEVER)
        .expect("installs");
    assert!(cleaned && !folder.join("lib/left over").exists());
}

#[test]
fn a_wrong_hash_is_refused_and_leaves_nothing() {
    let setting = setting();
    setting.wheel();
    let specification = tiny(format!("tiny-package==1.5 \\\n    --hash=sha256:{}\n", "0".repeat(64)));
    let error = setting.ensure(specification).expect_err("is refused");
    let EnvironmentError::HashMismatch { package, log, .. } = &error else { panic!("{error}") };
    assert!(package.starts_with("tiny-package"), "{package}");
    assert!(fs::read_to_string(log).expect("is kept").contains(&"0".repeat(64)));
    assert_eq!(state_made(specification, &setting.host), State::Missing);
}

#[test]
fn a_package_that_no_index_has_is_an_installation_error() {
    let setting = setting();
    let specification = tiny(format!("tiny-package==1.5 \\\n    --hash=sha256:{}\n", "0".repeat(64)));
    let error = setting.ensure(specification).expect_err("there is no wheel");
    let EnvironmentError::Install { end, hint, .. } = &error else { panic!("{error}") };
    assert_eq!(*end, crate::process::End::Exit(1));
    assert!(hint.contains("no wheel"), "{error}");
}

#[test]
fn a_package_that_does_not_arrive_is_noticed() {
    let setting = setting();
    setting.program("uv", UV);
    let requirements = setting.wheel();
    let mut specification = tiny(requirements).clone();
    specification.packages = &["tiny_package", "another_package"];
    let error = setting.ensure(Box::leak(Box::new(specification))).expect_err("is incomplete");
    assert!(
        matches!(&error, EnvironmentError::Broken { problem, .. } if problem.contains("another_package")),
        "{error}"
    );
}

#[test]
fn cancelling_leaves_nothing() {
    let setting = setting();
    setting.program("uv", UV);
    let specification = tiny(setting.wheel());
    let cancelled = AtomicBool::new(false);
    // Once set it stays set, as Ctrl-C does.
    let cancel = &mut |step: &Installing<'_>| {
        if step.phase == Phase::Create {
            cancelled.store(true, Ordering::Relaxed);
        }
    };
    let error = ensure_made(specification, &setting.host, cancel, &cancelled).expect_err("is cancelled");
    assert!(matches!(error, EnvironmentError::Cancelled { .. }), "{error}");
    assert_eq!(state_made(specification, &setting.host), State::Missing);
}

#[test]
fn two_processes_do_not_install_at_once() {
    let setting = setting();
    setting.program("uv", UV);
    let specification = tiny(setting.wheel());
    let base = base_interpreter(specification, &setting.host).expect("the tests need Python 3.11 to 3.13");
    let folder = specification.folder(&setting.host, base.version.1);
    fs::create_dir_all(&folder).expect("creates");
    let mut lock = try_lock(&folder).expect("opens");
    assert!(lock.is_some());

    let error = remove_made(specification, &setting.host).expect_err("is held");
    assert!(matches!(error, EnvironmentError::Busy { .. }), "{error}");

    let mut waited = false;
    ensure_made(
        specification,
        &setting.host,
        &mut |step| {
            if step.phase == Phase::Wait {
                waited = true;
                lock = None;
            }
        },
        &NEVER,
    )
    .expect("installs once the lock is free");
    assert!(waited);
}

#[test]
fn an_unsuitable_interpreter_is_listed_with_its_version() {
    let setting = setting();
    let old = r#"echo '{"version": [3, 9, 2], "executable": "/old", "packages": {}}'"#;
    let program = setting.program("python3", old);
    write_script(&program.with_file_name("python3.12"), "echo 'no such version' >&2; exit 127");
    let error = setting.ensure(tiny(String::new())).expect_err("nothing suits");
    let EnvironmentError::NoInterpreter { tried, .. } = &error else { panic!("{error}") };
    let problems: Vec<&str> = tried.iter().map(|one| one.problem.as_str()).collect();
    assert_eq!(problems, ["it fails with exit status 127: no such version", "it is Python 3.9.2"]);
    assert!(error.to_string().contains("CALIPERS_TINY_PYTHON"), "{error}");
}

#[test]
fn no_interpreter_at_all_is_an_error_with_a_way_out() {
    let mut setting = setting();
    setting.host.search = Vec::new();
    let error = setting.ensure(tiny(String::new())).expect_err("there is none");
    assert!(matches!(&error, EnvironmentError::NoInterpreter { tried, .. } if tried.is_empty()), "{error}");
    assert!(error.to_string().contains("hint: install"), "{error}");
}

#[test]
fn uv_is_used_where_it_is_on_the_path() {
    let setting = setting();
    setting.program("uv", UV);
    let specification = tiny(setting.wheel());
    assert!(imports_the_package(&setting.ensure(specification).expect("installs")));
    let State::Installed(installed) = state_made(specification, &setting.host) else {
        panic!("is not installed")
    };
    assert_eq!(installed.installer, "uv");
    let calls = fs::read_to_string(setting.folder.path().join("calls")).expect("was called");
    assert!(calls.starts_with("venv --no-project --python /"), "{calls}");
    assert!(calls.contains("--no-deps --only-binary :all: --require-hashes -r /"), "{calls}");
}

#[test]
fn the_users_own_interpreter_is_checked() {
    let mut setting = setting();
    setting.program("uv", UV);
    let own = |host: &Host| own_interpreter(Environment::OnnxRuntime, host).expect("is named");
    let name = |host: &mut Host, program: &Path| {
        host.interpreters.insert(Environment::OnnxRuntime, program.to_path_buf());
    };
    assert!(own_interpreter(Environment::OnnxRuntime, &setting.host).is_none());

    name(&mut setting.host, Path::new("/no/such/python"));
    let error = own(&setting.host).expect_err("is not there");
    assert!(
        matches!(&error, EnvironmentError::OwnInterpreter { problem, .. } if problem.contains("no such file"))
    );
    assert!(error.to_string().contains("CALIPERS_ONNXRUNTIME_PYTHON"), "{error}");

    let specification = tiny(setting.wheel());
    let made = setting.ensure(specification).expect("installs");
    name(&mut setting.host, &made.program);
    let error = own(&setting.host).expect_err("has only the tiny package");
    let EnvironmentError::MissingPackage { missing, .. } = &error else { panic!("{error}") };
    assert_eq!(missing, &["numpy", "onnx", "onnx_ir", "onnxruntime", "safetensors", "sympy"]);

    let answer = |version: &str| {
        format!(
            r#"echo '{{"version": {version}, "executable": "/x", "packages": {{"onnxruntime": "1.0", "numpy": "2.0"}}}}'"#
        )
    };
    let program = setting.program("mypython", &answer("[3, 10, 1]"));
    name(&mut setting.host, &program);
    let error = own(&setting.host).expect_err("is too old");
    assert!(
        matches!(&error, EnvironmentError::OwnInterpreter { problem, .. } if problem == "it is Python 3.10.1")
    );

    write_script(&program, &answer("[3, 12, 0]"));
    name(&mut setting.host, Path::new("mypython"));
    let found = own(&setting.host).expect("is found on the search path, and has everything");
    assert_eq!(
        (found.program, found.versions["onnxruntime"].as_str(), found.own),
        (program.clone(), "1.0", true)
    );
    assert!(matches!(state(Environment::OnnxRuntime, &setting.host), State::Own { .. }));

    write_script(&program, "echo hello");
    let error = own(&setting.host).expect_err("is no Python");
    assert!(
        matches!(&error, EnvironmentError::OwnInterpreter { problem, .. } if problem.contains("not that of"))
    );
}

#[test]
fn other_requirements_or_versions_are_other_environments() {
    let setting = setting();
    let (one, two) = (tiny("a==1\n".to_owned()), tiny("a==2\n".to_owned()));
    assert_ne!(one.folder(&setting.host, 11), two.folder(&setting.host, 11));
    assert_ne!(one.folder(&setting.host, 11), one.folder(&setting.host, 12));
    assert_eq!(one.folder(&setting.host, 11), one.folder(&setting.host, 11));
}
