//! The networks that PyTorch and TensorFlow export for the tests (`testdata/exports`), made once and kept in the cache.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use calipers_workers::{Environment, Host};

use crate::checkout::{exports as scripts, worker_sources};
use crate::interpreters::Interpreters;
use crate::process::{self, answers};
use crate::tally::{LEFT_OUT, Tally};

/// Names the folder of the exports to the tests that read them.
pub const EXPORTS: &str = "CALIPERS_EXPORTS";

/// What the PyTorch script needs beyond what the worker needs, so that a user's own interpreter may lack it.
const PYTORCH_IMPORTS: &str = "import onnxruntime, onnxscript, torchvision";

/// `cargo xtask exports`. Returns whether there is a folder.
pub fn run() -> io::Result<bool> {
    let (folder, tally) = ensure(&Interpreters::ensure().map_err(io::Error::other)?)?;
    for reason in tally.left_out {
        eprintln!("{LEFT_OUT}{reason}");
    }
    if let Some(folder) = &folder {
        println!("{}", folder.display());
    }
    Ok(folder.is_some())
}

/// The folder that `CALIPERS_EXPORTS` names, else the one under the cache, which is made where it is missing.
pub fn ensure(interpreters: &Interpreters) -> io::Result<(Option<OsString>, Tally)> {
    if let Some(folder) = std::env::var_os(EXPORTS) {
        return Ok((Some(folder), Tally::default()));
    }
    let folder = folder(interpreters)?;
    if folder.is_dir() {
        eprintln!("exported networks: {}", folder.display());
        return Ok((Some(folder.into()), Tally::default()));
    }
    if !answers(Command::new(interpreters.of(Environment::PyTorch)).args(["-c", PYTORCH_IMPORTS])) {
        let why = "PyTorch's interpreter lacks torchvision, onnxscript or onnxruntime";
        return Ok((None, Tally::left_out(format!("exported networks ({why})"))));
    }
    let unfinished = folder.with_extension(format!("part-{}", std::process::id()));
    fs::create_dir_all(&unfinished)?;
    let made = make(interpreters, &unfinished);
    if matches!(made, Ok(true)) && !folder.is_dir() {
        fs::rename(&unfinished, &folder)?;
    } else {
        fs::remove_dir_all(&unfinished)?;
    }
    let made = made?;
    Ok((made.then(|| folder.into()), Tally { failed: usize::from(!made), ..Tally::default() }))
}

/// Runs both scripts, at the same time. Returns whether both succeeded.
fn make(interpreters: &Interpreters, folder: &Path) -> io::Result<bool> {
    let script = |environment, name: &str| {
        let mut command = Command::new(interpreters.of(environment));
        command.arg(scripts().join(name)).arg(folder).env("PYTHONDONTWRITEBYTECODE", "1");
        process::run(&mut command).map(|finished| finished.success)
    };
    let (pytorch, keras) = thread::scope(|scope| {
        let pytorch = scope.spawn(|| script(Environment::PyTorch, "export_pytorch.py"));
        let keras = script(Environment::TensorFlow, "export_keras.py");
        (pytorch.join(), keras)
    });
    let pytorch = pytorch.map_err(|_| io::Error::other("the thread of export_pytorch.py panicked"))?;
    Ok(pytorch? & keras?)
}

/// The folder under the cache: its name holds a hash of the scripts, the requirements and the interpreters.
fn folder(interpreters: &Interpreters) -> io::Result<PathBuf> {
    let host = Host::detect().map_err(io::Error::other)?;
    let requirements = worker_sources().join("requirements");
    let mut files = vec![requirements.join("pytorch.txt"), requirements.join("tensorflow.txt")];
    for entry in fs::read_dir(scripts())? {
        let path = entry?.path();
        let is_export = path.extension().is_some_and(|extension| extension == "py")
            && path.file_name().is_some_and(|name| name != "train_cifar10.py");
        files.extend(is_export.then_some(path));
    }
    files.sort();
    let mut hasher = blake3::Hasher::new();
    for file in files {
        hasher.update(&fs::read(file)?).update(&[0]);
    }
    for environment in [Environment::PyTorch, Environment::TensorFlow] {
        hasher.update(interpreters.of(environment).to_string_lossy().as_bytes()).update(&[0]);
    }
    Ok(host.cache.join(format!("exports-{}", &hasher.finalize().to_hex()[..12])))
}
