//! Files as bytes: mapped into memory when read, replaced as a whole when written.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use memmap2::Mmap;

/// The bytes of a regular file, mapped into memory for as long as a slice of them is alive.
///
/// The file must not be changed in place meanwhile; replacing it, as [`replace`] does, leaves the map as it was.
pub(crate) fn map(path: &Path) -> io::Result<Bytes> {
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    map_open(&file).map(Bytes::from_owner)
}

#[allow(unsafe_code)]
fn map_open(file: &File) -> io::Result<Mmap> {
    // SAFETY: the map is private and read-only, and this program never changes a model file in place: `replace` renames
    // a new file over it. That nothing else changes or shortens the file while the model is in use is asked of the user
    // in the documentation of every public function that maps.
    unsafe { Mmap::map(file) }
}

/// Writes the pieces of a file under a temporary name in the same folder, then renames it: the name holds the old or the new
/// content, never a part.
pub(crate) fn replace(path: &Path, content: &[Bytes]) -> io::Result<()> {
    let temporary = temporary_name(path)?;
    let written = OpenOptions::new().write(true).create_new(true).open(&temporary).and_then(|mut file| {
        content.iter().try_for_each(|piece| file.write_all(piece))?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    if renamed.is_err() {
        // The first error is the one to report; there may be nothing to remove.
        let _ = fs::remove_file(&temporary);
    }
    renamed
}

fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    Ok(path.with_file_name(temporary))
}

#[cfg(test)]
mod tests {
    use super::{map, replace};
    use bytes::Bytes;

    #[test]
    fn a_map_outlives_the_replacement_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        replace(&path, &[Bytes::from_static(b"old")]).unwrap();
        let old = map(&path).unwrap();
        replace(&path, &[Bytes::from_static(b"a longer one")]).unwrap();
        assert_eq!(old.as_ref(), b"old");
        assert_eq!(map(&path).unwrap().as_ref(), b"a longer one");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn nothing_is_left_of_a_write_that_fails() {
        let folder = tempfile::tempdir().unwrap();
        assert!(replace(&folder.path().join("missing").join("model"), &[Bytes::from_static(b"x")]).is_err());
        let taken = folder.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        assert!(replace(&taken, &[Bytes::from_static(b"x")]).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn empty_files_and_folders_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty");
        replace(&path, &[Bytes::from_static(b"")]).unwrap();
        assert!(map(&path).unwrap().is_empty());
        assert_eq!(map(folder.path()).unwrap_err().to_string(), "it is not a regular file");
    }
}
