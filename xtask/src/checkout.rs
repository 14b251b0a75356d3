//! Where things are in the checkout.

use std::path::{Path, PathBuf};

/// The workspace's folder.
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}

/// The folder of the workers' Python sources and their tests.
pub fn worker_sources() -> PathBuf {
    root().join("crates/workers/python")
}

/// The folder of the scripts that export networks.
pub fn exports() -> PathBuf {
    root().join("testdata/exports")
}

/// The folder of CIFAR-10's binary version, where a `shared` folder beside the checkout has it.
pub fn shared_cifar10() -> Option<PathBuf> {
    let folder = root().parent()?.join("shared/data/cifar10/cifar-10-batches-bin");
    folder.is_dir().then_some(folder)
}
