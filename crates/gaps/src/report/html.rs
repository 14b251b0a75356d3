//! The report as one HTML file that loads nothing: its only script is its own, and its policy allows no other.

mod evidence;
mod matrix;
mod tables;
mod facts;

use std::collections::HashSet;
use std::fmt::Write as _;

use calipers_inspect::escape;
use calipers_inspect::number::count;
use sha2::{Digest, Sha256};

use crate::report::plain::one_line;
use crate::report::summary::{
    Sentence, Tone, change_line, day, frameworks, headline, model_line, sentences, tally,
};
use crate::report::{Cell, Report};

const STYLE: &str = include_str!("page.css");
const PROGRAM: &str = include_str!("page.js");

/// The report as a self-contained HTML page; `scripts` gives the parts of a cell's reproducer, which are shown one after
/// the other, or none where there is no script.
///
/// Everything that comes from outside is escaped. Without JavaScript all tables can be read; only the evidence of cells
/// needs it.
pub fn html(report: &Report, scripts: &dyn Fn(&Cell) -> Vec<String>) -> String {
    let links = Links::of(report);
    let mut body = String::new();
    summary(&mut body, report);
    matrix::matrix(&mut body, report);
    facts::model(&mut body, report);
    facts::changes(&mut body, report, &links);
    facts::paths(&mut body, report);
    tables::paper(&mut body, report, &links);
    tables::capabilities(&mut body, report);
    facts::controls(&mut body, report);
    facts::environment(&mut body, report);
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(PROGRAM)
    );
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"generator\" content=\"Calipers {version}\">\n<title>{title} · Calipers</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<header>\n\
         <p class=\"kicker\">Calipers · gap matrix</p>\n<h1>{title}</h1>\n<p class=\"subject\">{subject}</p>\n\
         {nav}</header>\n{body}</main>\n{panel}\
         <script type=\"application/json\" id=\"data\">{data}</script>\n<script>{PROGRAM}</script>\n</body>\n</html>\n",
        version = escape(&one_line(&report.calipers, 80)),
        title = TITLE,
        subject = escape(&subject(report)),
        nav = navigation(&body),
        panel = PANEL,
        data = evidence::data(report, scripts),
    )
}

/// What the page is called.
pub(super) const TITLE: &str = "What each framework cannot quantize";

/// Where the evidence of a cell is shown.
const PANEL: &str = "<dialog id=\"panel\" aria-labelledby=\"panel-title\">\n<div class=\"bar\">\
     <p class=\"kicker\" id=\"panel-place\"></p><span class=\"tools\">\
     <button type=\"button\" class=\"small\" id=\"copy-link\">copy link</button> \
     <button type=\"button\" class=\"small\" id=\"close\" aria-label=\"close\">✕</button></span></div>\n\
     <h2 id=\"panel-title\" tabindex=\"-1\"></h2>\n<div id=\"panel-body\"></div>\n</dialog>\n\
     <p id=\"said\" role=\"status\" class=\"said\"></p>\n";

/// Links to the parts that the page has.
fn navigation(body: &str) -> String {
    let parts = [
        ("matrix", "Matrix"),
        ("model", "Model"),
        ("changes", "Changes"),
        ("paths", "Paths"),
        ("paper", "The table of 2023"),
        ("capabilities", "Capabilities"),
        ("controls", "Controls"),
        ("environment", "Environment"),
    ];
    let mut out = String::from("<nav aria-label=\"Parts of this page\">");
    for (id, title) in parts.iter().filter(|(id, _)| body.contains(&format!("<section id=\"{id}\">"))) {
        let _ = write!(out, "<a href=\"#{id}\">{title}</a>");
    }
    out.push_str("</nav>\n");
    out
}

/// The SHA-256 of a text as a policy has it.
fn hash(text: &str) -> String {
    base64(&Sha256::digest(text.as_bytes()))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

/// Frameworks with their main versions, and the day.
fn subject(report: &Report) -> String {
    let mut parts: Vec<String> = frameworks(report)
        .into_iter()
        .map(|framework| {
            let packages = ["torch", "tensorflow", "onnxruntime", "calipers"];
            let version = packages.iter().find_map(|package| report.versions.get(&framework)?.get(*package));
            match version {
                Some(version) => format!("{} {}", framework.title(), one_line(version, 40)),
                None => framework.title().to_owned(),
            }
        })
        .collect();
    parts.push(day(&report.finished));
    parts.join(" · ")
}

fn summary(out: &mut String, report: &Report) {
    let Sentence { tone, text } = headline(report);
    let _ = writeln!(
        out,
        "<section id=\"summary\" aria-label=\"Summary\">\n<p class=\"headline {}\">{}</p>\n<div class=\"cards\">",
        class(tone),
        escape(&text)
    );
    for framework in frameworks(report) {
        card(out, report, framework);
    }
    out.push_str("</div>\n<ul class=\"findings\">\n");
    let mut findings: Vec<Sentence> = report.model.iter().map(|needs| model_line(report, needs)).collect();
    findings.extend(
        report.changes.iter().map(|changes| Sentence { tone: Tone::Plain, text: change_line(changes) }),
    );
    // The sentences of frameworks stand in the cards.
    findings.extend(sentences(report).into_iter().skip(frameworks(report).len()));
    for Sentence { tone, text } in findings {
        let _ = writeln!(out, "<li class=\"{}\">{}</li>", class(tone), escape(&text));
    }
    out.push_str("</ul>\n</section>\n");
}

/// One framework: how many cells are as promised, and which gaps there are.
fn card(out: &mut String, report: &Report, framework: crate::framework::Framework) {
    let tally = tally(report.cells.iter().filter(|cell| cell.framework == framework));
    let _ = writeln!(out, "<div class=\"card\">\n<h2>{}</h2>", escape(framework.title()));
    if tally.cells == tally.not_installed {
        out.push_str("<p class=\"lead\">not installed: nothing was tried</p>\n</div>\n");
        return;
    }
    let _ = writeln!(
        out,
        "<p class=\"lead\"><strong>{}</strong> of {} cells as promised, <strong>{}</strong> {}</p>\n{}",
        count(tally.kept),
        count(tally.cells),
        count(tally.gaps),
        if tally.gaps == 1 { "gap" } else { "gaps" },
        facts::composition(&tally)
    );
    out.push_str("<ul class=\"kinds\">\n");
    let mut kinds: Vec<_> = tally.kinds.iter().filter(|(kind, _)| kind.gap).collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (kind, number) in kinds {
        let _ = writeln!(out, "<li>{} {}</li>", matrix::swatch(*kind), escape(&kind.counted(*number)));
    }
    out.push_str("</ul>\n</div>\n");
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Plain => "plain",
        Tone::Caution => "caution",
        Tone::Bad => "bad",
    }
}

/// What the page has a place for.
struct Links(HashSet<String>);

impl Links {
    fn of(report: &Report) -> Links {
        let capabilities = report.capabilities.iter().map(|it| format!("{}/{}", it.framework, it.name));
        Links(report.cells.iter().map(Cell::key).chain(capabilities).collect())
    }

    /// The name of a cell or a capability, as a link where it is in the page.
    fn to(&self, key: &str) -> String {
        let name = format!("<code>{}</code>", escape(key));
        if !self.0.contains(key) {
            return name;
        }
        let mut address = String::from("#");
        for byte in key.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                    address.push(char::from(byte));
                }
                _ => {
                    let _ = write!(address, "%{byte:02X}");
                }
            }
        }
        format!("<a href=\"{address}\">{name}</a>")
    }
}

#[cfg(test)]
mod tests {
    use super::{base64, hash};

    #[test]
    fn hashes_are_written_as_policies_have_them() {
        // RFC 4648, section 10.
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
        // The example of CSP Level 2, section 7.17.
        assert_eq!(hash("alert('Hello, world.');"), "qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng=");
    }
}
