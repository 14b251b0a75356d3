//! `calipers data` against a server of its own: cut off and resumed, checked, refused.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};

/// What the server has: 2,048 bytes, and their SHA-256 by coreutils' `sha256sum`.
const SHA256: &str = "b2a8170614e23194ae2951423d601987f518ce2f11205d7b0b708080103b9f76";

fn content() -> Vec<u8> {
    (0..2048u32).map(|index| (index % 251) as u8).collect()
}

/// Answers requests: the first with half of the content, the others with the range that they ask for.
fn answer(mut stream: TcpStream, cut: bool) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
        request.push(byte[0]);
    }
    let request = String::from_utf8_lossy(&request).to_lowercase();
    let from: usize = request
        .lines()
        .find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok())
        .unwrap_or(0);
    let content = content();
    let status = if from == 0 {
        String::from("200 OK")
    } else {
        format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{}", content.len() - 1, content.len())
    };
    let length = content.len() - from;
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: \"1\"\r\nConnection: close\r\n\r\n");
    let body = if cut { &content[from..content.len() / 2] } else { &content[from..] };
    // The client may have gone; then its own message says why.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// Address of a server that lives as long as the test.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for (index, stream) in listener.incoming().enumerate() {
            answer(stream.expect("a connection"), index == 0);
        }
    });
    format!("http://{address}/file")
}

fn fetch(folder: &Path, url: &str, sha256: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_calipers"))
        .args(["data", "fetch", "cifar10", "--from", url, "--bytes", "2048", "--sha256", sha256, "--to"])
        .arg(folder)
        .env_remove("http_proxy")
        .env_remove("HTTP_PROXY")
        .env_remove("ALL_PROXY")
        .env_remove("all_proxy")
        .output()
        .expect("the command starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_download_goes_on_where_it_was_cut_and_is_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = server();
    let output = fetch(folder.path(), &url, SHA256);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let path = folder.path().join("cifar-10-binary.tar.gz");
    assert_eq!(std::fs::read(&path).expect("the file"), content());
    assert!(text(&output.stdout).contains(&format!("--data {}", path.display())), "{}", text(&output.stdout));
    let again = fetch(folder.path(), &url, SHA256);
    assert!(text(&again.stdout).contains("was there already"), "{}", text(&again.stdout));
}

#[test]
fn another_file_and_another_name_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = fetch(folder.path(), &server(), &"0".repeat(64));
    assert_eq!(output.status.code(), Some(2));
    let message = text(&output.stderr);
    assert!(message.contains(SHA256) && message.contains("hint:"), "{message}");
    assert!(!folder.path().join("cifar-10-binary.tar.gz").exists());
    let output = Command::new(env!("CARGO_BIN_EXE_calipers"))
        .args(["data", "fetch", "cifar"])
        .output()
        .expect("starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cifar10"), "{}", text(&output.stderr));
}

#[test]
fn the_list_says_where_data_come_from() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_calipers")).args(["data", "list"]).output().expect("starts");
    let shown = text(&output.stdout);
    assert!(output.status.success() && shown.contains("cifar10") && shown.contains("170.05 MB"), "{shown}");
}
