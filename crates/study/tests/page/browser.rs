//! A browser without a screen: opens a page in which a harness of the test runs, and says what that found.
//!
//! The harness leaves its findings as JSON in an element `findings`, or sends them to the page around it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Browser time after which the page has answered or will not, in milliseconds.
const PATIENCE: u32 = 60_000;
/// The narrowest window of a browser without a screen; a narrower page stands in a frame.
const NARROWEST: u32 = 500;

/// A browser that can be started without a screen.
pub fn chromium() -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let mut places = env::split_paths(&folders).flat_map(|folder| names.map(|name| folder.join(name)));
    places
        .find(|place| place.is_file())
        .or_else(|| Some(PathBuf::from("/usr/bin/chromium")).filter(|it| it.is_file()))
}

/// What the harness in a page found at a width, opened at a place of it.
pub fn findings(browser: &Path, page: &str, width: u32, place: &str, flags: &[&str]) -> Value {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("page.html");
    fs::write(&path, page).expect("the page is written");
    let around = folder.path().join("around.html");
    let frame = format!(
        "<!DOCTYPE html><meta charset=\"utf-8\"><pre id=\"findings\"></pre>\n<script>\naddEventListener('message', \
         (event) => {{ document.getElementById('findings').textContent = event.data; }});\n</script>\n\
         <iframe src=\"page.html#{place}\" style=\"width:{width}px;height:844px;border:0\"></iframe>\n"
    );
    fs::write(&around, frame).expect("the page around it is written");
    let address = match width < NARROWEST {
        true => format!("file://{}", around.display()),
        false => format!("file://{}#{place}", path.display()),
    };
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(flags)
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("--virtual-time-budget={PATIENCE}"))
        .arg(format!("--window-size={},1000", width.max(NARROWEST)))
        .args(["--dump-dom", &address])
        .output()
        .expect("the browser starts");
    let dom = String::from_utf8_lossy(&output.stdout);
    let (_, findings) = dom.split_once("<pre id=\"findings\">").unwrap_or_else(|| {
        panic!("no page came back: {}", String::from_utf8_lossy(&output.stderr));
    });
    let (findings, _) = findings.split_once("</pre>").expect("the end of the findings");
    let plain =
        findings.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", "\u{a0}").replace("&amp;", "&");
    serde_json::from_str(&plain).expect("findings are JSON")
}
