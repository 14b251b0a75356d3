//! Reads an older document and finds what is different since.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::Value;

use crate::report::{Cell, Change, Changes, Report, SCHEMA};
use crate::state::State;

/// How many times longer than itself a compressed document may be.
const LARGEST_RATIO: u64 = 200;

/// Why a document of an older run cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is cut off.
    #[error(
        "{}: ends in the middle of the document, at line {line}, column {column}\n\
         hint: copy the file again, or make it again with `calipers gaps`",
        path.display()
    )]
    CutOff {
        /// The file.
        path: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// It is no JSON object.
    #[error(
        "{}: expected a JSON object, found {found}\n\
         hint: name the `gaps.json` that `calipers gaps` left in the folder of `--out`",
        path.display()
    )]
    NoObject {
        /// The file.
        path: PathBuf,
        /// What it is, or what JSON's reader says.
        found: String,
    },
    /// It does not say its version.
    #[error(
        "{}: expected a field `schema` with the version of the document, found none\n\
         hint: name the `gaps.json` that `calipers gaps` left in the folder of `--out`",
        path.display()
    )]
    NoSchema {
        /// The file.
        path: PathBuf,
    },
    /// It is of another version.
    #[error(
        "{}: schema {found}, this version of Calipers reads {SCHEMA}\n\
         hint: make the document again with this version, or compare with the Calipers that made it{}",
        path.display(),
        maker(calipers)
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its version, as it is written there.
        found: String,
        /// The version of Calipers that made it, where it says so.
        calipers: Option<String>,
    },
    /// A field is not what its version says.
    #[error(
        "{}: is not what schema {SCHEMA} says: {message}\n\
         hint: docs/gaps.md describes every field; the file may have been edited",
        path.display()
    )]
    Field {
        /// The file.
        path: PathBuf,
        /// The field, what was expected and what was found, and where.
        message: String,
    },
}

fn maker(calipers: &Option<String>) -> String {
    calipers.as_ref().map_or_else(String::new, |version| format!(" (version {version})"))
}

/// What decides how the rest is read.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    schema: Option<Value>,
    #[serde(default)]
    calipers: Option<Value>,
}

/// The content of a file that may be compressed by gzip.
fn uncompressed(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    // Cells repeat each other, but no document by more than this.
    let limit = (bytes.len() as u64).saturating_mul(LARGEST_RATIO);
    let mut content = Vec::new();
    let length = GzDecoder::new(bytes.as_slice()).take(limit + 1).read_to_end(&mut content)?;
    if length as u64 > limit {
        return Err(io::Error::other(format!("it unpacks to more than {LARGEST_RATIO} times its length")));
    }
    Ok(content)
}

/// Reads the `gaps.json` of an older run, as it is or compressed by gzip.
///
/// # Errors
/// Where the file cannot be read, is cut off, is no JSON object, is of another version than [`SCHEMA`], or breaks its rules.
pub fn read(path: &Path) -> Result<Report, ReadError> {
    let path = path.to_owned();
    let bytes = match fs::read(&path).and_then(uncompressed) {
        Ok(bytes) => bytes,
        Err(source) => return Err(ReadError::Io { path, source }),
    };
    // A list would be read as the fields of the object in their order.
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => {}
        Some(b'[') => return Err(ReadError::NoObject { path, found: String::from("a list") }),
        Some(_) => return Err(ReadError::NoObject { path, found: String::from("something else") }),
        None => return Err(ReadError::NoObject { path, found: String::from("an empty file") }),
    }
    let head: Head = match serde_json::from_slice(&bytes) {
        Ok(head) => head,
        Err(error) if error.is_eof() => {
            return Err(ReadError::CutOff { path, line: error.line(), column: error.column() });
        }
        Err(error) => return Err(ReadError::NoObject { path, found: error.to_string() }),
    };
    let Some(schema) = head.schema.filter(|schema| !schema.is_null()) else {
        return Err(ReadError::NoSchema { path });
    };
    if schema.as_u64() != Some(u64::from(SCHEMA)) {
        let found = super::plain::one_line(&schema.to_string(), 40);
        let calipers = head.calipers.as_ref().and_then(Value::as_str);
        let calipers = calipers.map(|version| super::plain::one_line(version, 40));
        return Err(ReadError::Schema { path, found, calipers });
    }
    serde_json::from_slice(&bytes).map_err(|error| ReadError::Field { path, message: error.to_string() })
}

/// What is different in `now` from `older`, which was read from `file`.
///
/// Opened, closed and moved are of cells that both runs have, and in which the framework was there both times; a cell
/// whose framework came or went has moved.
pub fn changes(now: &Report, older: &Report, file: PathBuf) -> Changes {
    let then: HashMap<String, &Cell> = older.cells.iter().map(|cell| (cell.key(), cell)).collect();
    let mut changes = Changes {
        file,
        finished: older.finished.clone(),
        versions: versions(now, older),
        closed: Vec::new(),
        opened: Vec::new(),
        moved: Vec::new(),
        gone: Vec::new(),
        added: 0,
    };
    let mut both = BTreeSet::new();
    for cell in &now.cells {
        let key = cell.key();
        let Some(before) = then.get(&key) else {
            changes.added += 1;
            continue;
        };
        let change = Change { cell: key.clone(), then: before.state, now: cell.state };
        both.insert(key);
        let tried = before.state != State::NotInstalled && cell.state != State::NotInstalled;
        match (before.gap, cell.gap) {
            (true, false) if tried => changes.closed.push(change),
            (false, true) if tried => changes.opened.push(change),
            _ if before.state != cell.state => changes.moved.push(change),
            _ => {}
        }
    }
    changes.gone = older.cells.iter().map(Cell::key).filter(|key| !both.contains(key)).collect();
    changes
}

/// Packages of frameworks that both runs have, whose versions differ.
fn versions(
    now: &Report,
    older: &Report,
) -> Vec<(crate::framework::Framework, String, Option<String>, Option<String>)> {
    let mut out = Vec::new();
    for (framework, packages) in &now.versions {
        let Some(before) = older.versions.get(framework) else { continue };
        let names: BTreeSet<&String> = packages.keys().chain(before.keys()).collect();
        for name in names {
            let (then, now) = (before.get(name), packages.get(name));
            if then != now {
                out.push((*framework, name.clone(), then.cloned(), now.cloned()));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::{ReadError, changes, read};
    use crate::framework::Framework;
    use crate::report::tests::{SMALL, small};
    use crate::state::{Stage, State};

    fn refused(text: &str) -> ReadError {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("gaps.json");
        fs::write(&path, text).expect("a file for the test");
        let error = read(&path).expect_err("it is refused");
        let message = error.to_string();
        assert!(message.starts_with(&path.display().to_string()), "{message}");
        assert!(message.contains("\nhint: "), "{message}");
        error
    }

    #[test]
    fn an_older_document_is_read() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("gaps.json");
        fs::write(&path, SMALL).expect("a file for the test");
        assert_eq!(read(&path).expect("it is read"), small());
        let missing = folder.path().join("none.json");
        assert!(matches!(read(&missing), Err(ReadError::Io { .. })));
    }

    #[test]
    fn another_version_is_refused_by_its_number() {
        let seven = r#"{"schema": 7, "calipers": "9.0.0", "table": [1, 2]}"#;
        let message = refused(seven).to_string();
        assert!(message.contains("schema 7, this version of Calipers reads 1"), "{message}");
        assert!(message.contains("(version 9.0.0)"), "{message}");
        for other in [r#""1""#, "1.5", "-1", "[1]", "18446744073709551615"] {
            let error = refused(&format!("{{\"schema\": {other}}}"));
            assert!(matches!(error, ReadError::Schema { .. }), "{error}");
        }
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for (text, found) in
            [("", "an empty file"), (" [1]", "a list"), ("\"x\"", "something else"), ("{1}", "key must")]
        {
            let error = refused(text);
            assert!(matches!(error, ReadError::NoObject { .. }), "{error}");
            assert!(error.to_string().contains(found), "{error}");
        }
        assert!(matches!(refused("{\"cells\": []}"), ReadError::NoSchema { .. }));
        assert!(matches!(refused("{\"schema\": null}"), ReadError::NoSchema { .. }));
        for length in (1..SMALL.trim_end().len()).step_by(211) {
            let error = refused(&SMALL[..length]);
            assert!(matches!(error, ReadError::CutOff { .. }), "{length}: {error}");
        }
        let error = refused(&SMALL.replace("\"silently float\"", "\"lunch\""));
        assert!(matches!(error, ReadError::Field { .. }) && error.to_string().contains("lunch"), "{error}");
        assert!(matches!(refused("{\"schema\": 1}"), ReadError::Field { .. }));
        let deep = format!("{{\"schema\": {}", "[".repeat(100_000));
        assert!(matches!(refused(&deep), ReadError::NoObject { .. }));
    }

    #[test]
    fn cells_of_both_runs_are_compared() {
        let older = small();
        let mut now = small();
        let mut set = |cell: &str, state: State, gap: bool| {
            let cell = now.cells.iter_mut().find(|it| it.key() == cell).expect("a cell of the fixture");
            (cell.state, cell.gap) = (state, gap);
        };
        set("pytorch/fx/lstm", State::Quantized, false);
        set("pytorch/fx/linear", State::Fails(Stage::Run), true);
        set("pytorch/fx/residual", State::Partial { done: 2, all: 3 }, true);
        set("tensorflow/tflite-int8/lstm", State::SilentlyFloat, true);
        set("onnxruntime/qdq/linear", State::Quantized, false);
        now.cells.retain(|cell| cell.key() != "calipers/w8a8/linear");
        now.versions.entry(Framework::PyTorch).or_default().insert("torch".into(), "3.0".into());
        now.versions.remove(&Framework::TensorFlow);
        let found = changes(&now, &older, PathBuf::from("older.json"));
        let keys = |list: &[crate::report::Change]| {
            list.iter().map(|change| change.cell.clone()).collect::<Vec<_>>()
        };
        assert_eq!(keys(&found.closed), ["pytorch/fx/lstm"]);
        assert_eq!(keys(&found.opened), ["pytorch/fx/linear"]);
        let moved = ["onnxruntime/qdq/linear", "tensorflow/tflite-int8/lstm", "pytorch/fx/residual"];
        assert_eq!(keys(&found.moved), moved);
        assert_eq!(found.gone, ["calipers/w8a8/linear"]);
        assert_eq!(found.added, 0);
        assert_eq!(found.versions.len(), 1);
        assert_eq!(found.versions[0].3.as_deref(), Some("3.0"));
        let back = changes(&older, &now, PathBuf::from("now.json"));
        assert_eq!((keys(&back.closed), back.added), (vec!["pytorch/fx/linear".to_owned()], 1));
        let none = changes(&older, &older, PathBuf::new());
        assert!(none.closed.is_empty() && none.opened.is_empty() && none.moved.is_empty());
    }
}
