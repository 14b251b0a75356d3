//! The part of a download that is there: a file, and beside it where it came from.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{Download, FetchError, sha256};

/// An open part, held against other processes as long as it lives.
pub(super) struct Part {
    pub path: PathBuf,
    /// Bytes that are there.
    pub length: u64,
    /// What the server called the version that they are of.
    pub version: Option<String>,
    origin: PathBuf,
    url: String,
    file: File,
}

impl Part {
    /// Opens the part of the file that will be `path`, empty when there is none or when it is of
    /// another address.
    pub fn open(path: &Path, download: &Download) -> Result<Part, FetchError> {
        let beside = |ending: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        let (path, origin) = (beside(".part"), beside(".part.origin"));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(FetchError::io(&path, "open the file"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FetchError::Busy { part: path }),
            // File systems without locks: the checksum at the end decides.
            Err(TryLockError::Error(_)) => {}
        }
        let length = file.metadata().map_err(FetchError::io(&path, "look at the file"))?.len();
        let url = download.url.clone();
        let mut part = Part { path, length, version: None, origin, url, file };
        let noted = fs::read_to_string(&part.origin).unwrap_or_default();
        let mut lines = noted.lines();
        let same = lines.next() == Some(download.url.as_str());
        part.version = lines.next().filter(|version| same && !version.is_empty()).map(str::to_owned);
        if length > download.bytes || (length > 0 && !same) {
            part.begin(None)?;
        } else {
            part.file.seek(SeekFrom::End(0)).map_err(FetchError::io(&part.path, "open the file"))?;
        }
        Ok(part)
    }

    /// Empties the part and notes what is going to fill it.
    pub fn begin(&mut self, version: Option<String>) -> Result<(), FetchError> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .map_err(FetchError::io(&self.path, "empty the file"))?;
        self.length = 0;
        let noted = format!("{}\n{}\n", self.url, version.as_deref().unwrap_or_default());
        fs::write(&self.origin, noted).map_err(FetchError::io(&self.origin, "write the file"))?;
        self.version = version;
        Ok(())
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        if let Err(error) = self.file.write_all(bytes) {
            // A piece of `bytes` may have been written.
            self.length = self.file.metadata().map_or(self.length, |metadata| metadata.len());
            return Err(FetchError::io(&self.path, "write the file")(error));
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// SHA-256 of all that is there.
    pub fn checksum(&mut self) -> Result<String, FetchError> {
        self.file
            .rewind()
            .and_then(|()| sha256(&mut self.file))
            .map_err(FetchError::io(&self.path, "read the file"))
    }

    /// Gives the whole file its name.
    pub fn finish(self, path: &Path) -> Result<(), FetchError> {
        self.file.sync_all().map_err(FetchError::io(&self.path, "write the file"))?;
        fs::rename(&self.path, path).map_err(FetchError::io(path, "put the finished file in its place"))?;
        // It only describes a part, of which there is none any more.
        let _ = fs::remove_file(&self.origin);
        Ok(())
    }

    /// Removes what is there.
    pub fn remove(self) -> Result<(), FetchError> {
        let _ = fs::remove_file(&self.origin);
        fs::remove_file(&self.path).map_err(FetchError::io(&self.path, "remove the file"))
    }
}
