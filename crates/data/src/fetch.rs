//! Downloads of published data: resumed where they were cut, checked, and put in place when whole.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use calipers_data::fetch::{Settings, fetch, find};
//!
//! # fn main() -> Result<(), calipers_data::fetch::FetchError> {
//! let download = find("cifar10")?;
//! let fetched = fetch(&download, "cache/data".as_ref(), &Settings::default(), &mut |progress| {
//!     eprint!("\r{} of {} bytes", progress.received, progress.total);
//!     ControlFlow::Continue(())
//! })?;
//! println!("{}", fetched.path.display());
//! # Ok(())
//! # }
//! ```

mod error;
mod part;
mod transfer;

use std::fs::{self, File};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

pub use error::FetchError;

use part::Part;

/// A file that others publish, and how it is known to be the right one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// What users call it.
    pub name: String,
    /// Its official address.
    pub url: String,
    /// What it is called in the folder.
    pub file: String,
    /// Its exact length.
    pub bytes: u64,
    /// SHA-256 of it, in lower-case hexadecimal.
    pub sha256: String,
    /// Where people read about it and its terms.
    pub page: String,
}

/// All that can be fetched by name.
pub fn known() -> Vec<Download> {
    vec![Download {
        name: "cifar10".to_owned(),
        url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz".to_owned(),
        file: "cifar-10-binary.tar.gz".to_owned(),
        bytes: 170_052_171,
        sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd".to_owned(),
        page: "https://www.cs.toronto.edu/~kriz/cifar.html".to_owned(),
    }]
}

/// The download that users call `name`.
///
/// # Errors
///
/// [`FetchError::Unknown`], which lists the known ones.
pub fn find(name: &str) -> Result<Download, FetchError> {
    let all = known();
    let names = all.iter().map(|download| download.name.clone()).collect();
    all.into_iter()
        .find(|download| download.name == name)
        .ok_or_else(|| FetchError::Unknown { name: name.to_owned(), known: names })
}

/// How patient a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Attempts in a row that bring nothing new before it is given up; at least one.
    pub attempts: u32,
    /// Pause before another attempt; after the second in vain, twice as long, and so on.
    pub pause: Duration,
    /// Longest wait for a connection, and for the next bytes.
    pub silence: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { attempts: 4, pause: Duration::from_secs(1), silence: Duration::from_secs(30) }
    }
}

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are there, those of earlier runs included. Falls back when the server starts over.
    pub received: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

/// A file that is there and has the right checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The file.
    pub path: PathBuf,
    /// Bytes that this call received; none when the file was there already.
    pub downloaded: u64,
    /// Bytes that an earlier call had left.
    pub resumed_from: u64,
}

/// Makes sure that `download` is in `folder` (made when absent), and downloads what is missing.
///
/// Until it is whole and checked, it is called `FILE.part`, and a later call goes on behind its
/// end. `progress` hears of every piece; when it breaks, the download stops.
///
/// # Errors
///
/// [`FetchError`]; it says what became of the part that was received.
pub fn fetch(
    download: &Download,
    folder: &Path,
    settings: &Settings,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Fetched, FetchError> {
    fs::create_dir_all(folder).map_err(FetchError::io(folder, "make the folder"))?;
    let path = folder.join(&download.file);
    let finished = |downloaded, resumed_from| Fetched { path: path.clone(), downloaded, resumed_from };
    if is_there(download, &path)? {
        return Ok(finished(0, 0));
    }
    let mut part = Part::open(&path, download)?;
    // Another process may have finished before this one got hold of the part.
    if is_there(download, &path)? {
        return Ok(finished(0, 0));
    }
    let resumed_from = part.length;
    let downloaded = transfer::complete(download, &mut part, settings, progress)?;
    let found = part.checksum()?;
    if found != download.sha256 {
        let part_path = part.path.clone();
        part.remove()?;
        return Err(FetchError::Checksum {
            url: download.url.clone(),
            expected: download.sha256.clone(),
            found,
            part: part_path,
        });
    }
    part.finish(&path)?;
    Ok(finished(downloaded, resumed_from))
}

/// Whether the finished file is there; an error when another file has its name.
fn is_there(download: &Download, path: &Path) -> Result<bool, FetchError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(FetchError::io(path, "open the file")(error)),
    };
    let length = file.metadata().map_err(FetchError::io(path, "look at the file"))?.len();
    let problem = if length != download.bytes {
        format!("has {length} bytes; expected {}", download.bytes)
    } else {
        let found = sha256(&mut file).map_err(FetchError::io(path, "read the file"))?;
        if found == download.sha256 {
            return Ok(true);
        }
        format!("has the SHA-256 {found}; expected {}", download.sha256)
    };
    Err(FetchError::Occupied { path: path.to_owned(), name: download.name.clone(), problem })
}

/// SHA-256 of what is left to read, in lower-case hexadecimal.
fn sha256(source: &mut dyn Read) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        match source.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
