//! Reading the installers' output: how far they are, and why they failed.

/// How many packages are done, told from the lines of `uv pip install` or `pip install`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Count {
    /// Packages that are fetched.
    pub(super) done: usize,
    /// Packages to install.
    pub(super) total: usize,
    /// Everything is fetched, and being put into the environment.
    pub(super) installing: bool,
}

impl Count {
    /// Before the first line: `requirements` is the requirements file.
    pub(super) fn new(requirements: &str) -> Count {
        let total =
            requirements.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_alphanumeric())).count();
        Count { done: 0, total, installing: false }
    }

    /// Takes one line into account.
    pub(super) fn see(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            // pip: a requirement for another system or version.
            (Some("Ignoring"), Some(_)) => self.total = self.total.saturating_sub(1).max(1),
            // pip: `Collecting` opens a package, and thereby closes the one before.
            (Some("Collecting"), Some(_)) => self.done = (self.done + 1).min(self.total),
            (Some("Installing"), Some("collected")) => self.finish_fetching(),
            // uv names the large packages one by one, and counts the rest.
            (Some("Resolved"), Some(count)) => self.total = count.parse().unwrap_or(self.total),
            (Some("Downloaded"), Some(_)) => self.done = (self.done + 1).min(self.total),
            (Some("Prepared"), Some(_)) => self.finish_fetching(),
            _ => {}
        }
    }

    fn finish_fetching(&mut self) {
        self.done = self.total;
        self.installing = true;
    }
}

/// The package that was refused for its hash, if that is why the installer failed.
pub(super) fn refused_package(output: &str) -> Option<String> {
    // uv: Hash mismatch for `name==version`
    if let Some((_, after)) = output.split_once("Hash mismatch for `") {
        return after.split_once('`').map(|(name, _)| name.to_owned());
    }
    // pip: a heading, then for each package a line `    name==version from URL (from -r FILE (line N)):`
    let (_, after) = output.split_once("DO NOT MATCH THE HASHES")?;
    let line = after.lines().skip(1).find(|line| line.trim_end().ends_with(':') && line.contains(" from "));
    let name = line.and_then(|line| line.split_whitespace().next()).unwrap_or("a package");
    Some(name.to_owned())
}

/// What to do about a failed installer.
pub(super) fn hint(output: &str) -> &'static str {
    let output = output.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| output.contains(word));
    if says(&["no space left", "disk quota"]) {
        "the disk is full; PyTorch takes about 6 GB and TensorFlow 3 GB; make room, or name another folder with CALIPERS_CACHE"
    } else if says(&["ensurepip"]) {
        "this Python lacks its venv module; install it (for example `apt install python3-venv`), or install uv"
    } else if says(&[
        "connection",
        "dns error",
        "name resolution",
        "error sending request",
        "timed out",
        "proxy",
        "ssl",
        "failed to fetch",
    ]) {
        "check the network and the proxy settings, then run again"
    } else if says(&["no matching distribution", "no solution found", "no usable wheels", "no wheels"]) {
        "the package index that is configured has no wheel of a pinned package for this system and Python version; another Python version, or your own interpreter, may help"
    } else {
        "the lines above say why"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(requirements: &str, lines: &[&str]) -> Count {
        let mut count = Count::new(requirements);
        lines.iter().for_each(|line| count.see(line));
        count
    }

    const REQUIREMENTS: &str = "a==1 \\\n    --hash=sha256:0\n    # via b\nb==2 ; python_full_version < '3.12' \\\n    --hash=sha256:1\nc==3 \\\n    --hash=sha256:2\n";

    #[test]
    fn pip_is_followed_package_by_package() {
        let mut lines = vec![
            "Ignoring b: markers 'python_full_version < \"3.12\"' don't match your environment",
            "Collecting a==1 (from -r requirements.txt (line 1))",
            "  Downloading a-1-py3-none-any.whl (12 kB)",
        ];
        assert_eq!(count(REQUIREMENTS, &lines), Count { done: 1, total: 2, installing: false });
        lines.push("Installing collected packages: a, c");
        assert_eq!(count(REQUIREMENTS, &lines), Count { done: 2, total: 2, installing: true });
    }

    #[test]
    fn uv_is_followed_by_its_counts() {
        let mut lines = vec!["Resolved 2 packages in 12ms", "Downloading a (506.1MiB)", " Downloaded a"];
        assert_eq!(count(REQUIREMENTS, &lines), Count { done: 1, total: 2, installing: false });
        lines.push("Prepared 2 packages in 3.41s");
        assert_eq!(count(REQUIREMENTS, &lines), Count { done: 2, total: 2, installing: true });
    }

    #[test]
    fn the_embedded_lists_name_their_packages() {
        for environment in super::super::Environment::ALL {
            let specification = environment.specification();
            assert!(
                Count::new(specification.requirements).total >= specification.packages.len(),
                "{environment:?}"
            );
            assert!(specification.requirements.contains("--hash=sha256:"), "{environment:?}");
        }
    }
}
