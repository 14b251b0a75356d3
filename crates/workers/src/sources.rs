//! The worker's Python files, embedded in the program, and where they are unpacked.

use std::io;
use std::path::{Path, PathBuf};
use std::{fs, iter};

use thiserror::Error;

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/python_sources.rs"));
}

/// A file or folder under the cache that could not be written.
#[derive(Debug, Error)]
#[error(
    "the worker's Python files cannot be unpacked: {}: {source}\nhint: make the folder writable, or name another with CALIPERS_CACHE",
    path.display()
)]
pub struct UnpackError {
    /// Where it failed.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

/// Unpacks the package `calipers_worker` under `cache`, and returns the folder that holds it, for `PYTHONPATH`.
///
/// The folder's name holds a hash of the files, so that versions of the program do not disturb each other. It
/// appears whole or not at all; one whose files were changed is replaced.
///
/// # Errors
/// [`UnpackError`] where the cache cannot be read or written.
pub fn unpack(cache: &Path) -> Result<PathBuf, UnpackError> {
    unpack_files(cache, embedded::FILES)
}

/// The worker's Python files: name below the folder that [`unpack`] returns, and text.
pub fn files() -> &'static [(&'static str, &'static str)] {
    embedded::FILES
}

/// Hash of the worker's Python files that `wanted` chooses by name below the folder that [`unpack`] returns: what a
/// result depends on that they had a part in.
pub fn fingerprint(wanted: impl Fn(&str) -> bool) -> String {
    let chosen: Vec<_> = embedded::FILES.iter().filter(|(name, _)| wanted(name)).copied().collect();
    hash(&chosen)
}

fn unpack_files(cache: &Path, files: &[(&str, &str)]) -> Result<PathBuf, UnpackError> {
    let workers = cache.join("workers");
    let target = workers.join(hash(files));
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| UnpackError { path, source }
    };
    if holds(&target, files) {
        return Ok(target);
    }
    fs::create_dir_all(&workers).map_err(failed(&workers))?;
    let temporary =
        tempfile::Builder::new().prefix(".unpack-").tempdir_in(&workers).map_err(failed(&workers))?;
    let fresh = temporary.path().join("new");
    for (name, text) in files {
        let file = fresh.join(name);
        let folder = file.parent().unwrap_or(&fresh);
        fs::create_dir_all(folder).map_err(failed(folder))?;
        fs::write(&file, text).map_err(failed(&file))?;
    }
    // Out of the way first: a folder that is not empty cannot be renamed over. The rest goes with `temporary`.
    let _ = fs::rename(&target, temporary.path().join("old"));
    match fs::rename(&fresh, &target) {
        // Another process can have been faster.
        Err(_) if holds(&target, files) => Ok(target),
        Err(source) => Err(UnpackError { path: target, source }),
        Ok(()) => Ok(target),
    }
}

fn holds(folder: &Path, files: &[(&str, &str)]) -> bool {
    files.iter().all(|(name, text)| fs::read(folder.join(name)).is_ok_and(|found| found == text.as_bytes()))
}

fn hash(files: &[(&str, &str)]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in files.iter().flat_map(|(name, text)| iter::once(name).chain(iter::once(text))) {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &[(&str, &str)] = &[("package/__init__.py", ""), ("package/inner/one.py", "x = 1\n")];

    #[test]
    fn the_package_is_embedded_with_its_entry_point() {
        let names: Vec<&str> = embedded::FILES.iter().map(|(name, _)| *name).collect();
        assert!(names.contains(&"calipers_worker/__main__.py"), "{names:?}");
    }

    #[test]
    fn unpacks_once_and_repairs_what_was_changed() {
        let cache = tempfile::tempdir().expect("temporary folder");
        let folder = unpack_files(cache.path(), FILES).expect("unpacks");
        let file = folder.join("package/inner/one.py");
        assert_eq!(fs::read_to_string(&file).expect("is there"), "x = 1\n");

        fs::write(folder.join("package/extra"), "").expect("writes");
        assert_eq!(unpack_files(cache.path(), FILES).expect("unpacks"), folder);
        assert!(folder.join("package/extra").exists(), "a whole folder is left alone");

        fs::write(&file, "x = 2\n").expect("writes");
        unpack_files(cache.path(), FILES).expect("unpacks");
        assert_eq!(fs::read_to_string(&file).expect("is there"), "x = 1\n");
        assert_eq!(
            fs::read_dir(cache.path().join("workers")).expect("lists").count(),
            1,
            "nothing temporary is left"
        );

        let other = unpack_files(cache.path(), &FILES[..1]).expect("unpacks");
        assert_ne!(other, folder);
    }

    #[test]
    fn an_unwritable_cache_is_named() {
        let cache = tempfile::tempdir().expect("temporary folder");
        let file = cache.path().join("file");
        fs::write(&file, "").expect("writes");
        let error = unpack_files(&file, FILES).expect_err("a file is no folder");
        assert_eq!(error.path, file.join("workers"));
    }
}
