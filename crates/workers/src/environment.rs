//! Python environments: one for each framework, made by the program itself, or the user's own interpreter.
//!
//! An environment is a virtual environment under `<cache>/environments/`, in a folder whose name holds the Python
//! version and a hash of the pinned requirements, so that a new version of the requirements is a new environment.
//! It counts as installed from the moment that its marker file stands in it, which is written last.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

mod error;
mod find;
mod host;
mod install;
mod output;
mod state;

pub use error::{EnvironmentError, Tried};
pub use host::Host;
pub use install::{Installing, Phase, ensure};
pub use state::{Installed, State, list, remove, state};

#[cfg(test)]
mod tests;

/// A set of pinned Python packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Environment {
    /// PyTorch with torchao, for its worker.
    PyTorch,
    /// TensorFlow with Keras 2 and 3, its model optimization toolkit, LiteRT and the AI Edge Quantizer, for its worker.
    TensorFlow,
    /// ONNX Runtime, for its worker and as an independent reference for tests.
    OnnxRuntime,
    /// OpenVINO with NNCF, for its worker.
    OpenVino,
}

impl Environment {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Environment; 4] =
        [Environment::PyTorch, Environment::TensorFlow, Environment::OnnxRuntime, Environment::OpenVino];

    /// Name in commands and files.
    pub fn name(self) -> &'static str {
        self.specification().name
    }

    /// Name for people.
    pub fn title(self) -> &'static str {
        self.specification().title
    }

    /// The environment variable that names the user's own interpreter.
    pub fn variable(self) -> &'static str {
        self.specification().variable
    }

    /// The environment whose [`name`](Environment::name) is `name`.
    pub fn from_name(name: &str) -> Option<Environment> {
        Environment::ALL.into_iter().find(|environment| environment.name() == name)
    }

    fn specification(self) -> &'static Specification {
        match self {
            Environment::PyTorch => &PYTORCH,
            Environment::TensorFlow => &TENSORFLOW,
            Environment::OnnxRuntime => &ONNXRUNTIME,
            Environment::OpenVino => &OPENVINO,
        }
    }
}

/// A framework that a worker speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Framework {
    /// PyTorch.
    PyTorch,
    /// TensorFlow with Keras 2, its model optimization toolkit, and LiteRT.
    TensorFlow,
    /// ONNX Runtime with its quantization tools.
    OnnxRuntime,
    /// OpenVINO with NNCF, which quantizes for it.
    OpenVino,
}

impl Framework {
    /// The environment that its worker runs in.
    pub fn environment(self) -> Environment {
        match self {
            Framework::PyTorch => Environment::PyTorch,
            Framework::TensorFlow => Environment::TensorFlow,
            Framework::OnnxRuntime => Environment::OnnxRuntime,
            Framework::OpenVino => Environment::OpenVino,
        }
    }

    /// Name in commands and files.
    pub fn name(self) -> &'static str {
        self.environment().name()
    }

    /// Name for people.
    pub fn title(self) -> &'static str {
        self.environment().title()
    }
}

/// A Python interpreter with the packages that an environment needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// The program.
    pub program: PathBuf,
    /// Its version, such as `3.11.7`.
    pub python: String,
    /// Import name to version, of the packages that the worker imports itself.
    pub versions: BTreeMap<String, String>,
    /// True where the user named it, false in an environment that Calipers made.
    pub own: bool,
}

/// What an environment consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Specification {
    name: &'static str,
    title: &'static str,
    variable: &'static str,
    /// A requirements file, fully resolved, each package pinned and with hashes.
    requirements: &'static str,
    /// Import names of the packages that the worker imports itself.
    packages: &'static [&'static str],
}

const PYTORCH: Specification = Specification {
    name: "pytorch",
    title: "PyTorch",
    variable: "CALIPERS_PYTORCH_PYTHON",
    requirements: include_str!("../python/requirements/pytorch.txt"),
    packages: &["torch", "torchao", "numpy", "onnx", "safetensors"],
};

const TENSORFLOW: Specification = Specification {
    name: "tensorflow",
    title: "TensorFlow",
    variable: "CALIPERS_TENSORFLOW_PYTHON",
    requirements: include_str!("../python/requirements/tensorflow.txt"),
    packages: &[
        "tensorflow",
        "tf_keras",
        "tensorflow_model_optimization",
        "ai_edge_litert",
        "ai_edge_quantizer",
        "keras",
        "numpy",
        "onnx",
        "safetensors",
    ],
};

const ONNXRUNTIME: Specification = Specification {
    name: "onnxruntime",
    title: "ONNX Runtime",
    variable: "CALIPERS_ONNXRUNTIME_PYTHON",
    requirements: include_str!("../python/requirements/onnxruntime.txt"),
    packages: &["onnxruntime", "numpy", "onnx", "onnx_ir", "sympy", "safetensors"],
};

const OPENVINO: Specification = Specification {
    name: "openvino",
    title: "OpenVINO",
    variable: "CALIPERS_OPENVINO_PYTHON",
    requirements: include_str!("../python/requirements/openvino.txt"),
    packages: &["openvino", "nncf", "numpy", "onnx", "safetensors"],
};

/// The minor versions of Python 3 that the pinned packages exist for, best first.
const PYTHON_MINORS: [u32; 3] = [13, 12, 11];

impl Specification {
    /// Where the environment for Python 3.`minor` stands.
    fn folder(&self, host: &Host, minor: u32) -> PathBuf {
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("python 3.{minor}\n").as_bytes()).update(self.requirements.as_bytes());
        let hash = hasher.finalize().to_hex();
        host.environments().join(format!("{}-py3.{minor}-{}", self.name, &hash[..12]))
    }

    /// All its folders under the cache, those of earlier requirements and half-installed ones included.
    fn folders(&self, host: &Host) -> Vec<PathBuf> {
        let prefix = format!("{}-py3.", self.name);
        let Ok(entries) = std::fs::read_dir(host.environments()) else { return Vec::new() };
        let mut found: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        found.sort();
        found
    }

    /// The installed environment, the best Python version first.
    fn installed(&self, host: &Host) -> Option<(PathBuf, Marker)> {
        PYTHON_MINORS.into_iter().map(|minor| self.folder(host, minor)).find_map(|folder| {
            let marker = Marker::read(&folder)?;
            interpreter_in(&folder).exists().then_some((folder, marker))
        })
    }
}

/// The file that makes an environment an installed one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Marker {
    python: String,
    versions: BTreeMap<String, String>,
    /// `uv` or `pip`.
    installer: String,
    /// How long the installation took.
    seconds: f64,
}

impl Marker {
    fn path(folder: &Path) -> PathBuf {
        folder.join("installed.json")
    }

    fn read(folder: &Path) -> Option<Marker> {
        serde_json::from_slice(&std::fs::read(Marker::path(folder)).ok()?).ok()
    }
}

/// The interpreter of the virtual environment at `folder`.
fn interpreter_in(folder: &Path) -> PathBuf {
    if cfg!(windows) { folder.join("Scripts").join("python.exe") } else { folder.join("bin").join("python") }
}

/// `path` with `suffix` after its last component.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
