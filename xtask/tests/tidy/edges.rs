//! Which crate may know which: the table that ARCHITECTURE.md explains, held against every Cargo.toml.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Breach, assert_none, sources};

/// Every package and those of ours that it may depend on, lowest first.
const ALLOWED: [(&str, &[&str]); 13] = [
    ("random", &[]),
    ("ir", &[]),
    ("kernels", &[]),
    ("data", &["random"]),
    ("models", &["ir", "random"]),
    ("formats", &["ir"]),
    ("passes", &["ir"]),
    ("runtime", &["ir", "kernels", "passes"]),
    ("quant", &["ir", "passes", "runtime"]),
    ("workers", &[]),
    ("study", &["random", "ir", "data", "models", "formats", "passes", "runtime", "quant", "workers"]),
    ("calipers", &["study", "workers"]),
    ("xtask", &["workers"]),
];

/// What a Cargo.toml says.
#[derive(Debug)]
struct Package {
    name: String,
    /// Ours among its dependencies, for building and for running.
    dependencies: BTreeSet<String>,
    /// Ours among those of its tests.
    test_dependencies: BTreeSet<String>,
    /// Whether it takes the workspace's lints.
    lints: bool,
}

impl Package {
    fn read(manifest: &str) -> Package {
        let manifest: toml::Table = manifest.parse().expect("is TOML");
        let ours = |kinds: [&str; 2]| {
            let targets = manifest.get("target").and_then(toml::Value::as_table).into_iter().flatten();
            let tables = targets.filter_map(|(_, table)| table.as_table()).chain([&manifest]);
            tables
                .flat_map(|table| kinds.into_iter().filter_map(|kind| table.get(kind)?.as_table()))
                .flat_map(|dependencies| dependencies.keys())
                .filter_map(|name| short(name))
                .collect()
        };
        let name = manifest["package"]["name"].as_str().expect("has a name");
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        Package {
            name: short(name).unwrap_or_else(|| name.to_owned()),
            dependencies: ours(["dependencies", "build-dependencies"]),
            test_dependencies: ours(["dev-dependencies", "dev_dependencies"]),
            lints: lints.and_then(toml::Value::as_bool) == Some(true),
        }
    }
}

/// `ir` of `calipers-ir`; nothing of what is not ours.
fn short(name: &str) -> Option<String> {
    match name {
        "calipers" | "xtask" => Some(name.to_owned()),
        _ => name.strip_prefix("calipers-").map(str::to_owned),
    }
}

/// Packages that are not in the table, and dependencies that it does not allow.
fn forbidden(packages: &[Package]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for Package { name, dependencies, lints, .. } in packages {
        let Some((_, allowed)) = ALLOWED.iter().find(|(allowed, _)| allowed == name) else {
            breaches.push(format!("{name}: not in the table of xtask/tests/tidy/edges.rs"));
            continue;
        };
        let extra = dependencies.iter().filter(|dependency| !allowed.contains(&dependency.as_str()));
        breaches.extend(extra.map(|extra| format!("{name} -> {extra}: not in the table of allowed edges")));
        if !lints {
            breaches.push(format!("{name}: lacks `[lints] workspace = true`"));
        }
    }
    breaches
}

/// Test dependencies that point upwards: to a package that, by the table or by test dependencies, comes back.
fn circular(packages: &[Package]) -> Vec<Breach> {
    let mut edges: BTreeMap<&str, BTreeSet<&str>> =
        ALLOWED.iter().map(|(name, allowed)| (*name, allowed.iter().copied().collect())).collect();
    for Package { name, test_dependencies, .. } in packages {
        edges.entry(name).or_default().extend(test_dependencies.iter().map(String::as_str));
    }
    let reaches = |from: &str, to: &str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(name) = next.pop() {
            if name == to {
                return true;
            }
            if seen.insert(name) {
                next.extend(edges.get(name).into_iter().flatten());
            }
        }
        false
    };
    let mut breaches = Vec::new();
    for Package { name, test_dependencies, .. } in packages {
        let upwards = test_dependencies.iter().filter(|dependency| reaches(dependency, name));
        breaches.extend(upwards.map(|upward| format!("{name} -> {upward}: a circle of test dependencies")));
    }
    breaches
}

#[test]
fn crates_know_only_those_that_the_table_allows() {
    let packages: Vec<Package> = sources::all()
        .iter()
        .filter(|source| source.path != "Cargo.toml" && source.is("/Cargo.toml"))
        .map(|source| Package::read(&source.text))
        .collect();
    assert!(packages.len() > 10, "{packages:?}");
    let breaches = [forbidden(&packages), circular(&packages)].concat();
    assert_none(
        breaches,
        "an edge that is wanted belongs in the table, and in ARCHITECTURE.md with its reason",
    );
}

#[test]
fn an_edge_that_is_not_in_the_table_is_found() {
    let package = |text: &str| Package::read(&format!("{text}\n[lints]\nworkspace = true"));
    let upward = package("[package]\nname = 'calipers-ir'\n[dependencies]\ncalipers-passes.workspace = true");
    assert_eq!(forbidden(&[upward]), ["ir -> passes: not in the table of allowed edges"]);

    let hidden =
        package("[package]\nname = 'calipers-data'\n[target.'cfg(unix)'.dependencies]\ncalipers-ir = '1'");
    assert_eq!(forbidden(&[hidden]).len(), 1);
    let built = package("[package]\nname = 'calipers-data'\n[build-dependencies]\ncalipers-ir = '1'");
    assert_eq!(forbidden(&[built]).len(), 1);
    let unknown = package("[package]\nname = 'calipers-stuff'");
    assert_eq!(forbidden(&[unknown]).len(), 1);
    let unlinted = Package::read("[package]\nname = 'calipers-ir'");
    assert_eq!(forbidden(&[unlinted]).len(), 1);
    let fine =
        package("[package]\nname = 'calipers-data'\n[dependencies]\ncalipers-random = '1'\nserde = '1'");
    assert!(forbidden(&[fine]).is_empty());
}

#[test]
fn a_circle_of_test_dependencies_is_found() {
    let tests_of = |name: &str, dependency: &str| {
        let text =
            format!("[package]\nname = 'calipers-{name}'\n[dev-dependencies]\ncalipers-{dependency} = '1'");
        Package::read(&text)
    };
    assert_eq!(circular(&[tests_of("ir", "passes")]).len(), 1);
    assert!(circular(&[tests_of("passes", "models")]).is_empty());
    assert_eq!(circular(&[tests_of("passes", "models"), tests_of("models", "passes")]).len(), 2);
}
