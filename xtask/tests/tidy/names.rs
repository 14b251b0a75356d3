//! Names that say nothing, of files, modules and types.

use crate::sources::Source;
use crate::{Breach, assert_none, found_in, sources};

/// Words that no file and no module is called by.
const OF_FILES: [&str; 10] =
    ["util", "utils", "common", "helper", "helpers", "manager", "base", "misc", "prelude", "impl"];

/// Words that stand in no type's name.
const OF_TYPES: [&str; 10] =
    ["Util", "Utils", "Common", "Helper", "Helpers", "Manager", "Base", "Misc", "Prelude", "Impl"];

fn empty_names(source: &Source) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for part in source.path.split('/').map(|part| part.split('.').next().unwrap_or_default()) {
        if part.split(['_', '-']).any(|word| OF_FILES.contains(&word)) {
            breaches.push(format!("{}: `{part}` says nothing", source.path));
        }
    }
    if !(source.is(".rs") || source.is(".py")) {
        return breaches;
    }
    for (number, line) in source.numbered() {
        let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
        let (keyword, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let name: &str =
            name.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default();
        let empty = match keyword {
            "mod" => name.split('_').any(|word| OF_FILES.contains(&word)),
            "struct" | "enum" | "trait" | "type" | "union" | "class" => {
                camel_words(name).any(|word| OF_TYPES.contains(&word))
            }
            _ => false,
        };
        if empty {
            breaches.push(format!("{}:{number}: `{name}` says nothing", source.path));
        }
    }
    breaches
}

/// `Tensor`, `File` of `TensorFile`.
fn camel_words(name: &str) -> impl Iterator<Item = &str> {
    let starts = name.char_indices().filter(|(_, letter)| letter.is_uppercase()).map(|(at, _)| at);
    let bounds: Vec<usize> = starts.chain([name.len()]).collect();
    (1..bounds.len()).map(move |end| &name[bounds[end - 1]..bounds[end]])
}

#[test]
fn names_say_something() {
    let breaches = sources::all().iter().flat_map(empty_names).collect();
    assert_none(breaches, "name it after what it is, in the words of the field");
}

#[test]
fn an_empty_name_is_found() {
    for path in ["crates/a/src/utils.rs", "crates/common/src/a.rs", "a/test_helpers.py", "a/prelude/mod.rs"] {
        assert_eq!(found_in(empty_names, path, ""), 1, "{path}");
    }
    let text = "pub(crate) struct SessionImpl;\nmod helpers;\nenum A {}\nclass WorkerBase(Worker):\n    class Manager:\n";
    assert_eq!(found_in(empty_names, "crates/a/src/b.rs", text), 4);
    let fine = "struct Baseline;\nfn base_interpreter() {}\nimpl Based for A {}\nmod commonality;";
    assert_eq!(found_in(empty_names, "crates/a/src/database.rs", fine), 0);
}
