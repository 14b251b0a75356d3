//! The files that belong to the project, as text.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A text file.
pub struct Source {
    /// Path below the root, with `/`.
    pub path: String,
    /// Content.
    pub text: String,
}

impl Source {
    /// Whether the name ends so.
    pub fn is(&self, ending: &str) -> bool {
        self.path.ends_with(ending)
    }

    /// Whether all of it is tests.
    pub fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name == "tests.rs" || format!("/{}", self.path).contains("/tests/")
    }

    /// The part before `#[cfg(test)] mod tests { ... }`, which stands last in a file.
    pub fn without_unit_tests(&self) -> &str {
        self.text.find("#[cfg(test)]\nmod tests {").map_or(self.text.as_str(), |end| &self.text[..end])
    }

    /// Lines with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// Lines of code with their numbers: no comments, no unit tests.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.without_unit_tests().lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// Every text file that git knows or would add.
pub fn all() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .expect("git runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).expect("paths are UTF-8");
    let sources: Vec<Source> = names
        .split_terminator('\0')
        // A file that was removed and not committed yet is listed all the same; one that is not text has no rules.
        .filter_map(|path| {
            Some(Source { text: fs::read_to_string(root.join(path)).ok()?, path: path.to_owned() })
        })
        .collect();
    assert!(sources.iter().any(|source| source.path == "Cargo.toml"), "this is no checkout of the project");
    sources
}
