//! Names of operators and fields of options, against LiteRT's own schema.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use calipers_formats::tflite;
use calipers_ir::{Attribute, Attributes, Op};
use serde_json::Value;

/// Every builtin operator is read under its name, and every field of every options table under its own.
pub fn check(python: &OsStr) {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tflite/schema_facts.py");
    let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let facts: Value = serde_json::from_slice(&output.stdout).unwrap();

    let builtins = facts["builtins"].as_array().unwrap();
    assert!(builtins.len() > 200);
    for name in builtins.iter().map(|name| name.as_str().unwrap()) {
        match tflite::read(folder.path().join(format!("{name}.tflite"))) {
            Ok(model) => {
                let kept = model.graph.nodes().first().map(|node| node.op.name().to_owned());
                assert_eq!(kept.as_deref(), Some(name));
            }
            // It has no tensors, which most operators need.
            Err(error) => {
                assert!(error.to_string().contains(&format!("operator 0 ({name}")), "{name}: {error}")
            }
        }
    }
    for (class, fields) in facts["options"].as_object().unwrap() {
        let model = tflite::read(folder.path().join(format!("{class}.tflite"))).unwrap();
        let Op::Opaque(opaque) = &model.graph.nodes()[0].op else { panic!("{class} is not kept") };
        compare(class, fields, &opaque.attributes);
    }
}

fn compare(class: &str, expected: &Value, found: &Attributes) {
    let expected = expected.as_object().unwrap();
    let mut names: Vec<&String> = expected.keys().collect();
    let mut read: Vec<&String> = found.keys().collect();
    names.sort();
    read.sort();
    assert_eq!(names, read, "{class}");
    for (name, value) in expected {
        let same = match &found[name] {
            Attribute::Int(number) => {
                value.as_i64() == Some(*number) || value.as_bool() == Some(*number == 1)
            }
            Attribute::Float(number) => value.as_f64() == Some(f64::from(*number)),
            Attribute::Ints(numbers) => *value == Value::from(numbers.clone()),
            Attribute::Floats(numbers) => *value == Value::from(numbers.clone()),
            Attribute::String(bytes) if value.is_array() => bytes.as_slice() == [1, 2, 3],
            // A word for a number that is not the first one's, or a text.
            Attribute::String(bytes) => {
                value.is_number() || *value == Value::from(String::from_utf8_lossy(bytes))
            }
            // Number 0 or 1 of the types; subgraph 1.
            Attribute::Type(_) => value.is_number(),
            Attribute::Graph(graph) => graph == "other",
            Attribute::Graphs(graphs) => graphs.iter().all(|graph| graph == "other"),
            Attribute::Tensor(_) | Attribute::Strings(_) | Attribute::Tensors(_) => false,
        };
        assert!(same, "{class}.{name}: {value} was written, {:?} read", found[name]);
    }
}
