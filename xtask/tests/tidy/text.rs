//! What stands in no file: output from libraries, marks of unfinished work, places of one machine.

use crate::sources::Source;
use crate::{Breach, assert_none, found_in, sources};

/// Packages that speak to a person.
const MAY_PRINT: [&str; 2] = ["crates/calipers/", "xtask/"];

fn printing(source: &Source) -> Vec<Breach> {
    // A build script talks to cargo.
    let exempt = source.is_test()
        || source.is("/build.rs")
        || MAY_PRINT.iter().any(|may| source.path.starts_with(may));
    if exempt || !source.is(".rs") {
        return Vec::new();
    }
    let macros = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];
    let lines = source.code().filter(|(_, line)| macros.iter().any(|name| calls(line, name)));
    lines.map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim())).collect()
}

/// Whether the macro stands in the line, not as the end of a longer name.
fn calls(line: &str, name: &str) -> bool {
    line.match_indices(name)
        .any(|(at, _)| !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_'))
}

fn unfinished(source: &Source) -> Vec<Breach> {
    if !(source.is(".rs") || source.is(".py")) {
        return Vec::new();
    }
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("HA", "CK")];
    let lines = source.numbered().filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)));
    lines.map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim())).collect()
}

/// Folders and registries that another machine does not have. Cargo.lock names the registry by its nature.
fn of_one_machine(source: &Source) -> Vec<Breach> {
    if source.path == "Cargo.lock" {
        return Vec::new();
    }
    let places = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/Us", "ers/"),
        concat!("/tm", "p/"),
        concat!("/wo", "rk/"),
        concat!("py", "pi.org"),
        concat!("python", "hosted.org"),
        concat!("crates", ".io/"),
        concat!("index", "-url"),
    ];
    let mut breaches = Vec::new();
    for (number, line) in source.numbered() {
        for place in places.iter().filter(|place| names(line, place)) {
            breaches.push(format!("{}:{number}: names {place}", source.path));
        }
    }
    breaches
}

/// Whether an absolute path begins with the folder, or the host stands there, in whatever address.
fn names(line: &str, place: &str) -> bool {
    let absolute = place.starts_with('/');
    line.match_indices(place).any(|(at, _)| {
        let joined =
            line[..at].ends_with(|before: char| before.is_alphanumeric() || "_-.}~".contains(before));
        !(absolute && joined)
    })
}

#[test]
fn libraries_do_not_print() {
    let breaches = sources::all().iter().flat_map(printing).collect();
    assert_none(breaches, "return it, or hand it to the caller's callback; crates/calipers prints");
}

#[test]
fn nothing_is_marked_as_unfinished() {
    let breaches = sources::all().iter().flat_map(unfinished).collect();
    assert_none(breaches, "finish it, or say in an issue what is missing");
}

#[test]
fn nothing_names_one_machine() {
    let breaches = sources::all().iter().flat_map(of_one_machine).collect();
    assert_none(breaches, "take the path from an argument, a variable or the checkout's own place");
}

#[test]
fn printing_is_found() {
    assert_eq!(found_in(printing, "crates/a/src/b.rs", "fn f() {\n    println!(\"x\");\n    dbg!(1);\n}"), 2);
    assert_eq!(found_in(printing, "crates/a/src/b.rs", "// println!\n/// dbg!(x)\nmy_println!(1);"), 0);
    assert_eq!(found_in(printing, "crates/a/src/b.rs", "#[cfg(test)]\nmod tests {\n    print!(\"\");\n}"), 0);
    for path in ["crates/a/tests/b.rs", "crates/calipers/src/main.rs", "crates/a/build.rs"] {
        assert_eq!(found_in(printing, path, "println!()"), 0, "{path}");
    }
}

#[test]
fn marks_of_unfinished_work_are_found() {
    assert_eq!(found_in(unfinished, "a/b.py", concat!("# TO", "DO: more\n")), 1);
    assert_eq!(found_in(unfinished, "a/b.rs", "// all is done\n"), 0);
}

#[test]
fn places_of_one_machine_are_found() {
    let rule = of_one_machine;
    assert_eq!(found_in(rule, "a.md", concat!("see /ho", "me/me/x and https://py", "pi.org/simple")), 2);
    assert_eq!(found_in(rule, "a.sh", concat!("X=/tm", "p/x")), 1);
    assert_eq!(found_in(rule, "a.rs", concat!("\"/no/such/ho", "me/\", \"shared/tm", "p/x\"")), 0);
}
