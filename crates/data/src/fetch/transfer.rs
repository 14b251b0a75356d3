//! The bytes over HTTP: requests for what is missing, answers to them, and further attempts.

use std::io::Read;
use std::ops::ControlFlow;

use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body, ResponseExt};

use super::part::Part;
use super::{Download, FetchError, Progress, Settings};

/// How an attempt ended that did not fail for good.
enum Outcome {
    Complete,
    /// Worth another attempt.
    Cut(String),
}

/// Requests what `part` lacks until it is complete. Gives the number of bytes that came.
pub(super) fn complete(
    download: &Download,
    part: &mut Part,
    settings: &Settings,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<u64, FetchError> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(settings.silence))
        .timeout_recv_response(Some(settings.silence))
        .timeout_per_read(Some(settings.silence))
        .user_agent("calipers")
        .build()
        .into();
    let mut transfer = Transfer { download, part, progress, downloaded: 0 };
    transfer.report()?;
    let mut most = transfer.part.length;
    let mut in_vain = 0;
    loop {
        let reason = match transfer.attempt(&agent)? {
            Outcome::Complete => return Ok(transfer.downloaded),
            Outcome::Cut(reason) => reason,
        };
        // A server that begins anew each time brings nothing new until it gets further than before.
        in_vain = if transfer.part.length > most { 0 } else { in_vain + 1 };
        most = most.max(transfer.part.length);
        if in_vain >= settings.attempts.max(1) {
            return Err(FetchError::Connection {
                url: download.url.clone(),
                reason,
                received: transfer.part.length,
                part: transfer.part.path.clone(),
            });
        }
        std::thread::sleep(settings.pause * in_vain.max(1));
    }
}

struct Transfer<'a> {
    download: &'a Download,
    part: &'a mut Part,
    progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
    downloaded: u64,
}

impl Transfer<'_> {
    fn attempt(&mut self, agent: &Agent) -> Result<Outcome, FetchError> {
        let total = self.download.bytes;
        if self.part.length == total {
            return Ok(Outcome::Complete);
        }
        let mut request = agent.get(&self.download.url).header("Accept-Encoding", "identity");
        if self.part.length > 0 {
            request = request.header("Range", format!("bytes={}-", self.part.length));
            if let Some(version) = &self.part.version {
                request = request.header("If-Range", version);
            }
        }
        let response = match request.call() {
            Ok(response) => response,
            Err(error) => return Ok(Outcome::Cut(reason(&error))),
        };
        match response.status().as_u16() {
            206 if range_start(response.headers(), total) == Some(self.part.length) => {}
            // The whole file: the server knows no ranges, or has another version.
            200 => {
                if let Some(found) = number(response.headers(), "content-length")
                    && found != total
                {
                    return Err(self.wrong_size(found));
                }
                self.part.begin(version(response.headers()))?;
            }
            206 | 416 => {
                self.part.begin(None)?;
                return Ok(Outcome::Cut("the server does not go on where the part ends".to_owned()));
            }
            status @ (408 | 429 | 500..) => {
                return Ok(Outcome::Cut(format!("the server answered {status}")));
            }
            status => {
                return Err(FetchError::Status {
                    url: response.get_uri().to_string(),
                    status,
                    page: self.download.page.clone(),
                });
            }
        }
        self.receive(response)
    }

    fn receive(&mut self, response: Response<Body>) -> Result<Outcome, FetchError> {
        let total = self.download.bytes;
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0u8; 1 << 16];
        loop {
            let read = match body.read(&mut buffer) {
                Ok(0) if self.part.length == total => return Ok(Outcome::Complete),
                Ok(0) => return Ok(Outcome::Cut("the connection ended early".to_owned())),
                Ok(read) => read,
                Err(error) => return Ok(Outcome::Cut(format!("the connection broke: {error}"))),
            };
            if self.part.length + read as u64 > total {
                let found = self.part.length + read as u64;
                self.part.begin(None)?;
                return Err(self.wrong_size(found));
            }
            self.part.append(&buffer[..read])?;
            self.downloaded += read as u64;
            self.report()?;
        }
    }

    fn report(&mut self) -> Result<(), FetchError> {
        let received = self.part.length;
        match (self.progress)(Progress { received, total: self.download.bytes }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(FetchError::Stopped { received, part: self.part.path.clone() }),
        }
    }

    fn wrong_size(&self, found: u64) -> FetchError {
        FetchError::Size {
            url: self.download.url.clone(),
            expected: self.download.bytes,
            found,
            page: self.download.page.clone(),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

/// What a later request can ask to go on with: a strong entity tag or else the date (RFC 9110,
/// section 13.1.5).
fn version(headers: &HeaderMap) -> Option<String> {
    let tag = text(headers, "etag").filter(|tag| tag.starts_with('"'));
    tag.or(text(headers, "last-modified")).map(str::to_owned)
}

/// The first byte of a partial answer, `bytes FIRST-LAST/TOTAL`, if it is one of `total` bytes.
fn range_start(headers: &HeaderMap, total: u64) -> Option<u64> {
    let (range, of) = text(headers, "content-range")?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    (of == "*" || of.parse() == Ok(total)).then(|| first.parse().ok())?
}

fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "the name of the server cannot be resolved".to_owned(),
        ureq::Error::ConnectionFailed => "the server cannot be reached".to_owned(),
        ureq::Error::Timeout(_) => "the server does not answer".to_owned(),
        ureq::Error::Io(error) => format!("the server cannot be reached: {error}"),
        other => other.to_string(),
    }
}
