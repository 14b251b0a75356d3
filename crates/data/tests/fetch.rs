//! Downloads from a server of this test: whole, resumed, redirected, and everything that goes wrong.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use calipers_data::fetch::{Download, FetchError, Fetched, Progress, Settings, fetch, find};

const PATIENCE: Settings =
    Settings { attempts: 2, pause: Duration::from_millis(1), silence: Duration::from_secs(5) };

/// One request as the server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Request {
    path: String,
    range: Option<String>,
    if_range: Option<String>,
}

impl Request {
    fn first(&self) -> usize {
        let range = self.range.as_deref().and_then(|range| range.strip_prefix("bytes="));
        range.and_then(|range| range.strip_suffix('-')?.parse().ok()).unwrap_or(0)
    }
}

/// What the server sends: head and body, which may be shorter than the head says.
struct Answer {
    head: String,
    body: Vec<u8>,
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Answer {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n");
    Answer { head, body: body.to_vec() }
}

fn whole(body: &[u8], headers: &str) -> Answer {
    answer("200 OK", &format!("Content-Length: {}\r\n{headers}", body.len()), body)
}

fn rest(body: &[u8], first: usize) -> Answer {
    let (last, total) = (body.len() - 1, body.len());
    let length = total - first;
    let headers = format!("Content-Range: bytes {first}-{last}/{total}\r\nContent-Length: {length}\r\n");
    answer("206 Partial Content", &headers, &body[first..])
}

struct Server {
    address: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers request number `n` with `answers(n, request)`, as long as the test runs.
    fn start(answers: impl Fn(usize, &Request) -> Answer + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let request = read_request(&stream);
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push(request.clone());
                    log.len() - 1
                };
                let answer = answers(number, &request);
                let sent =
                    stream.write_all(answer.head.as_bytes()).and_then(|()| stream.write_all(&answer.body));
                // A client that has had enough closes its end.
                let _ = sent;
            }
        });
        Server { address, seen }
    }

    fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> Request {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = Request { path, range: None, if_range: None };
    for line in lines.take_while(|line| !line.is_empty()) {
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("range") => {
                request.range = Some(value.to_owned())
            }
            Some((name, value)) if name.eq_ignore_ascii_case("if-range") => {
                request.if_range = Some(value.to_owned());
            }
            _ => {}
        }
    }
    request
}

/// 300,000 bytes without a period, and their SHA-256 as Python's hashlib computes it.
fn content() -> Vec<u8> {
    (0..300_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}
const SHA256: &str = "10e5ea249ba15cf9da0925b29f6caca069e088f63eec3521e5560c1a0394058a";

fn download(server: &Server) -> Download {
    Download {
        name: "made".to_owned(),
        url: format!("{}/made.bin", server.address),
        file: "made.bin".to_owned(),
        bytes: 300_000,
        sha256: SHA256.to_owned(),
        page: "https://example.org/made".to_owned(),
    }
}

fn run(download: &Download, folder: &Path) -> Result<Fetched, FetchError> {
    fetch(download, folder, &PATIENCE, &mut |_| ControlFlow::Continue(()))
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[track_caller]
fn assert_says(error: &FetchError, parts: &[&str]) {
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}

#[test]
fn a_whole_download_is_checked_and_put_in_place() {
    let server = Server::start(|_, _| whole(&content(), "ETag: \"one\"\r\n"));
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("cache/data");
    let mut heard = Vec::new();
    let fetched = fetch(&download(&server), &inner, &PATIENCE, &mut |progress| {
        heard.push(progress);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(fetched, Fetched { path: inner.join("made.bin"), downloaded: 300_000, resumed_from: 0 });
    assert_eq!(fs::read(&fetched.path).unwrap(), content());
    assert_eq!(names(&inner), ["made.bin"]);
    assert_eq!(heard.first(), Some(&Progress { received: 0, total: 300_000 }));
    assert_eq!(heard.last(), Some(&Progress { received: 300_000, total: 300_000 }));
    assert!(heard.is_sorted_by_key(|progress| progress.received) && heard.len() > 3);

    // A second call asks no server.
    let again = run(&download(&server), &inner).unwrap();
    assert_eq!((again.downloaded, again.resumed_from), (0, 0));
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_cut_connection_is_taken_up_where_it_broke() {
    let server = Server::start(|number, request| {
        let mut answer = match number {
            0 => whole(&content(), "ETag: \"one\"\r\n"),
            _ => rest(&content(), request.first()),
        };
        // The first two connections break.
        if number < 2 {
            answer.body.truncate(100_000);
        }
        answer
    });
    let folder = tempfile::tempdir().unwrap();
    let fetched = run(&download(&server), folder.path()).unwrap();
    assert_eq!(fs::read(&fetched.path).unwrap(), content());
    assert_eq!(fetched.downloaded, 300_000);
    let asked: Vec<_> = server.seen().into_iter().map(|request| (request.range, request.if_range)).collect();
    let one = Some("\"one\"".to_owned());
    assert_eq!(
        asked,
        [
            (None, None),
            (Some("bytes=100000-".to_owned()), one.clone()),
            (Some("bytes=200000-".to_owned()), one)
        ]
    );
}

#[test]
fn a_stopped_download_goes_on_in_the_next_call() {
    let server = Server::start(|_, request| match request.first() {
        0 => whole(&content(), "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n"),
        first => rest(&content(), first),
    });
    let folder = tempfile::tempdir().unwrap();
    let stopped = fetch(&download(&server), folder.path(), &PATIENCE, &mut |progress| {
        if progress.received > 50_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let Err(error @ FetchError::Stopped { received, .. }) = stopped else { panic!("{stopped:?}") };
    assert_says(&error, &["made.bin.part", "goes on from there"]);
    assert_eq!(names(folder.path()), ["made.bin.part", "made.bin.part.origin"]);

    let fetched = run(&download(&server), folder.path()).unwrap();
    assert_eq!(fetched.resumed_from, received);
    assert_eq!(fetched.downloaded, 300_000 - received);
    assert_eq!(fs::read(&fetched.path).unwrap(), content());
    assert_eq!(server.seen()[1].if_range.as_deref(), Some("Wed, 21 Oct 2015 07:28:00 GMT"));
    assert_eq!(names(folder.path()), ["made.bin"]);
}

#[test]
fn a_server_without_ranges_begins_anew() {
    let server = Server::start(|number, _| {
        let mut answer = whole(&content(), "");
        if number == 0 {
            answer.body.truncate(120_000);
        }
        answer
    });
    let folder = tempfile::tempdir().unwrap();
    let fetched = run(&download(&server), folder.path()).unwrap();
    assert_eq!(fetched.downloaded, 420_000);
    assert_eq!(fs::read(&fetched.path).unwrap(), content());
    assert_eq!(server.seen()[1].range.as_deref(), Some("bytes=120000-"));
}

#[test]
fn a_server_that_always_cuts_is_given_up_and_the_part_is_kept() {
    let server = Server::start(|_, _| {
        let mut answer = whole(&content(), "");
        answer.body.truncate(120_000);
        answer
    });
    let folder = tempfile::tempdir().unwrap();
    let error = run(&download(&server), folder.path()).unwrap_err();
    assert!(matches!(error, FetchError::Connection { received: 120_000, .. }), "{error}");
    assert_says(&error, &["made.bin.part", "goes on from there", "hint: look at the network"]);
}

#[test]
fn a_range_that_is_refused_or_wrong_begins_anew() {
    for status in ["416 Range Not Satisfiable", "206 Partial Content"] {
        let server = Server::start(move |number, request| match (number, request.first()) {
            (0, _) => {
                let mut answer = whole(&content(), "");
                answer.body.truncate(1_000);
                answer
            }
            (_, 0) => whole(&content(), ""),
            // Another place than the one that was asked for.
            _ => answer(status, "Content-Range: bytes 7-9/300000\r\nContent-Length: 3\r\n", b"abc"),
        });
        let folder = tempfile::tempdir().unwrap();
        let fetched = run(&download(&server), folder.path()).unwrap();
        assert_eq!(fs::read(&fetched.path).unwrap(), content(), "{status}");
        assert_eq!(server.seen().len(), 3);
    }
}

#[test]
fn redirections_are_followed() {
    let server = Server::start(|_, request| match request.path.as_str() {
        "/made.bin" => answer("302 Found", "Location: /elsewhere.bin\r\nContent-Length: 0\r\n", b""),
        _ => match request.first() {
            0 => {
                let mut answer = whole(&content(), "ETag: \"one\"\r\n");
                answer.body.truncate(10_000);
                answer
            }
            first => rest(&content(), first),
        },
    });
    let folder = tempfile::tempdir().unwrap();
    let fetched = run(&download(&server), folder.path()).unwrap();
    assert_eq!(fs::read(&fetched.path).unwrap(), content());
    let paths: Vec<_> = server.seen().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/made.bin", "/elsewhere.bin", "/made.bin", "/elsewhere.bin"]);
}

#[test]
fn a_wrong_checksum_is_named_and_the_part_is_removed() {
    let server = Server::start(|_, _| {
        let mut body = content();
        body[77] ^= 1;
        whole(&body, "")
    });
    let folder = tempfile::tempdir().unwrap();
    let error = run(&download(&server), folder.path()).unwrap_err();
    assert!(matches!(error, FetchError::Checksum { .. }), "{error}");
    assert_says(&error, &["SHA-256", SHA256, "made.bin.part was removed"]);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn statuses_and_sizes_that_are_wrong_end_the_download() {
    let server = Server::start(|_, _| answer("404 Not Found", "Content-Length: 4\r\n", b"none"));
    let folder = tempfile::tempdir().unwrap();
    let error = run(&download(&server), folder.path()).unwrap_err();
    assert_says(
        &error,
        &["the server answered 404", "no longer at this address", "https://example.org/made"],
    );
    assert_eq!(server.seen().len(), 1);

    let server = Server::start(|_, _| whole(b"<html>sign in</html>", ""));
    let folder = tempfile::tempdir().unwrap();
    let error = run(&download(&server), folder.path()).unwrap_err();
    assert_says(&error, &["offers 20 bytes; expected 300000"]);

    // Without a length, too many bytes are noticed as they come.
    let server = Server::start(|_, _| answer("200 OK", "", &[0; 400_000]));
    let folder = tempfile::tempdir().unwrap();
    let error = run(&download(&server), folder.path()).unwrap_err();
    assert!(matches!(error, FetchError::Size { .. }), "{error}");

    let server = Server::start(|_, _| answer("503 Service Unavailable", "Content-Length: 0\r\n", b""));
    let folder = tempfile::tempdir().unwrap();
    let error = run(&download(&server), folder.path()).unwrap_err();
    assert_says(&error, &["the server answered 503"]);
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let server = Server { address, seen: Arc::default() };
    let folder = tempfile::tempdir().unwrap();
    let error = run(&download(&server), folder.path()).unwrap_err();
    assert!(matches!(error, FetchError::Connection { received: 0, .. }), "{error}");
    assert_says(&error, &["the server cannot be reached", "hint: look at the network"]);
}

#[test]
fn another_file_of_the_name_is_left_alone() {
    let server = Server::start(|_, _| whole(&content(), ""));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.bin");
    for other in [b"mine".to_vec(), vec![0u8; 300_000]] {
        fs::write(&path, &other).unwrap();
        let error = run(&download(&server), folder.path()).unwrap_err();
        assert_says(&error, &["made.bin: is not made", "hint: move the file away"]);
        assert_eq!(fs::read(&path).unwrap(), other);
    }
    assert!(server.seen().is_empty());
}

#[test]
fn a_part_of_another_address_or_too_long_is_not_gone_on_with() {
    let server = Server::start(|_, _| whole(&content(), ""));
    for (part, origin) in [
        (content()[..5_000].to_vec(), "http://elsewhere/made.bin\n\n".to_owned()),
        (vec![0; 300_001], { format!("{}/made.bin\n\n", server.address) }),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("made.bin.part"), part).unwrap();
        fs::write(folder.path().join("made.bin.part.origin"), origin).unwrap();
        let fetched = run(&download(&server), folder.path()).unwrap();
        assert_eq!((fetched.resumed_from, fetched.downloaded), (0, 300_000));
    }
    assert!(server.seen().iter().all(|request| request.range.is_none()));
}

#[test]
fn two_downloads_of_one_file_do_not_mix() {
    let server = Server::start(|_, _| whole(&content(), ""));
    let folder = tempfile::tempdir().unwrap();
    let part = fs::File::create(folder.path().join("made.bin.part")).unwrap();
    part.lock().unwrap();
    let error = run(&download(&server), folder.path()).unwrap_err();
    assert!(matches!(error, FetchError::Busy { .. }), "{error}");
    assert!(server.seen().is_empty());
}

#[test]
fn names_that_are_not_known_are_refused_with_those_that_are() {
    assert_eq!(find("cifar10").unwrap().bytes, 170_052_171);
    assert_says(&find("cifar11").unwrap_err(), &["'cifar11' is not known; expected one of: cifar10"]);
}
