//! Why a download did not succeed, and what became of what was received.

use std::path::PathBuf;

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Nothing is known by that name.
    #[error("'{name}' is not known; expected one of: {}", known.join(", "))]
    Unknown {
        /// The name as given.
        name: String,
        /// All that would do.
        known: Vec<String>,
    },

    /// A file that is not the download has its name.
    #[error(
        "{}: is not {name}: it {problem}\nhint: move the file away, or remove it, and fetch again",
        path.display()
    )]
    Occupied {
        /// The file, which is left as it is.
        path: PathBuf,
        /// The download.
        name: String,
        /// How the file differs.
        problem: String,
    },

    /// Another process has the part open.
    #[error("{}: another process is downloading this file\nhint: wait for it, or stop it", part.display())]
    Busy {
        /// The part.
        part: PathBuf,
    },

    /// The server cannot be reached, or fell silent again and again.
    #[error(
        "{url}: {reason}; {received} bytes are in {}, and the next fetch goes on from there\n\
         hint: look at the network and at the proxy variables (HTTPS_PROXY), or download the file with a \
         browser and put it into the folder",
        part.display()
    )]
    Connection {
        /// The address.
        url: String,
        /// What went wrong last.
        reason: String,
        /// Bytes that are there.
        received: u64,
        /// Where they are.
        part: PathBuf,
    },

    /// The server answered that it will not give the file.
    #[error("{url}: the server answered {status}\nhint: {}", status_hint(*status, page))]
    Status {
        /// The address, after redirections.
        url: String,
        /// The status code of HTTP.
        status: u16,
        /// Where people read about the file.
        page: String,
    },

    /// The server has another file.
    #[error(
        "{url}: the server offers {found} bytes; expected {expected}\n\
         hint: the file at this address has changed, or something between answers in its place; see {page}"
    )]
    Size {
        /// The address.
        url: String,
        /// Bytes of the right file.
        expected: u64,
        /// Bytes that the server offers, as it says or as they came.
        found: u64,
        /// Where people read about the file.
        page: String,
    },

    /// All bytes came, and they are not those of the file.
    #[error(
        "{url}: the file has the SHA-256 {found}; expected {expected}; {} was removed\n\
         hint: fetch again; if that does not help, something changes the file on its way",
        part.display()
    )]
    Checksum {
        /// The address.
        url: String,
        /// Checksum of the right file.
        expected: String,
        /// Checksum of what came.
        found: String,
        /// What was removed.
        part: PathBuf,
    },

    /// The caller stopped the download.
    #[error("stopped; {received} bytes are in {}, and the next fetch goes on from there", part.display())]
    Stopped {
        /// Bytes that are there.
        received: u64,
        /// Where they are.
        part: PathBuf,
    },

    /// The operating system refused to read or write.
    #[error("{}: could not {action}: {source}{}", path.display(), io_hint(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The refusal.
        source: std::io::Error,
    },
}

impl FetchError {
    /// For `map_err`: the operating system refused to do `action` to `path`.
    pub(super) fn io(
        path: impl Into<PathBuf>,
        action: &'static str,
    ) -> impl FnOnce(std::io::Error) -> FetchError {
        let path = path.into();
        move |source| FetchError::Io { path, action, source }
    }
}

fn io_hint(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "\nhint: make room on the disk and fetch again; what was received is kept"
        }
        std::io::ErrorKind::PermissionDenied => "\nhint: look at the permissions of the folder",
        _ => "",
    }
}

fn status_hint(status: u16, page: &str) -> String {
    match status {
        404 | 410 => format!("the file is no longer at this address; see {page}"),
        401 | 403 | 407 => format!("access is denied, perhaps by a proxy; see {page}"),
        _ => format!("try again later, or see {page}"),
    }
}
