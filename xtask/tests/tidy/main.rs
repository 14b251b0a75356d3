//! The house rules as tests: what a compiler does not check, each rule shown to fail on what breaks it.

mod sources;

mod edges;
mod files;
mod names;
mod text;
mod unsafety;

use sources::Source;

/// A place that breaks a rule, as `path: what` or `path:line: what`.
type Breach = String;

/// Fails with all breaches, one a line, and the way out.
fn assert_none(breaches: Vec<Breach>, hint: &str) {
    let count = breaches.len();
    assert!(count == 0, "{count} breaches of a house rule:\n{}\nhint: {hint}", breaches.join("\n"));
}

/// The breaches that a rule finds in one file with that content.
#[cfg(test)]
fn found_in(rule: fn(&Source) -> Vec<Breach>, path: &str, text: &str) -> usize {
    rule(&Source { path: path.to_owned(), text: text.to_owned() }).len()
}
