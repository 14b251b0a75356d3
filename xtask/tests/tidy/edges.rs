//! Which crate may know which: the table in ARCHITECTURE.md, held against every Cargo.toml.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Breach, assert_none, sources};

/// The packages and those of ours that each may depend on, in the order of the table.
struct Table(Vec<(String, BTreeSet<String>)>);

impl Table {
    /// Reads the block of lines `name -> names` in a page.
    fn read(page: &str) -> Table {
        let block = page.split("```edges\n").nth(1).and_then(|rest| rest.split("```").next());
        let rows = block.expect("the page has a block ```edges").lines().map(|line| {
            let (name, allowed) = line.split_once("->").expect("is `name -> names`");
            let allowed = allowed.split_whitespace().filter(|word| *word != "(nothing)").map(str::to_owned);
            (name.trim().to_owned(), allowed.collect())
        });
        Table(rows.collect())
    }

    fn allowed(&self, name: &str) -> Option<&BTreeSet<String>> {
        self.0.iter().find(|(row, _)| row == name).map(|(_, allowed)| allowed)
    }

    /// Names that do not stand above the line that uses them.
    fn upwards(&self) -> Vec<Breach> {
        let mut above = BTreeSet::new();
        let mut breaches = Vec::new();
        for (name, allowed) in &self.0 {
            breaches
                .extend(allowed.difference(&above).map(|other| format!("{name} -> {other}: not above it")));
            above.insert(name.clone());
        }
        breaches
    }
}

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
fn forbidden(table: &Table, packages: &[Package]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for Package { name, dependencies, lints, .. } in packages {
        let Some(allowed) = table.allowed(name) else {
            breaches.push(format!("{name}: not in the table of allowed edges"));
            continue;
        };
        breaches.extend(
            dependencies
                .difference(allowed)
                .map(|extra| format!("{name} -> {extra}: not in the table of allowed edges")),
        );
        if !lints {
            breaches.push(format!("{name}: lacks `[lints] workspace = true`"));
        }
    }
    breaches
}

/// Test dependencies that point upwards: to a package that, by the table or by test dependencies, comes back.
fn circular(table: &Table, packages: &[Package]) -> Vec<Breach> {
    let rows = table.0.iter();
    let mut edges: BTreeMap<&str, BTreeSet<&str>> =
        rows.map(|(name, allowed)| (name.as_str(), allowed.iter().map(String::as_str).collect())).collect();
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
    let sources = sources::all();
    let page = sources.iter().find(|source| source.path == "ARCHITECTURE.md").expect("is there");
    let table = Table::read(&page.text);
    let packages: Vec<Package> = sources
        .iter()
        .filter(|source| source.is("/Cargo.toml"))
        .map(|source| Package::read(&source.text))
        .collect();
    assert_eq!(packages.len(), table.0.len(), "packages and lines of the table");
    let breaches = [table.upwards(), forbidden(&table, &packages), circular(&table, &packages)].concat();
    assert_none(breaches, "an edge that is wanted belongs in the table of ARCHITECTURE.md");
}

const TABLE: &str = "text\n```edges\nrandom -> (nothing)\nir -> (nothing)\ndata -> random\nmodels -> ir random\npasses -> ir\n```\n";

#[test]
fn an_edge_that_is_not_in_the_table_is_found() {
    let package = |name: &str, rest: &str| {
        Package::read(&format!("[package]\nname = 'calipers-{name}'\n{rest}\n[lints]\nworkspace = true"))
    };
    let breaches = |package: Package| forbidden(&Table::read(TABLE), &[package]);
    let upward = package("ir", "[dependencies]\ncalipers-passes.workspace = true");
    assert_eq!(breaches(upward), ["ir -> passes: not in the table of allowed edges"]);
    assert_eq!(breaches(package("data", "[target.'cfg(unix)'.dependencies]\ncalipers-ir = '1'")).len(), 1);
    assert_eq!(breaches(package("data", "[build-dependencies]\ncalipers-ir = '1'")).len(), 1);
    assert_eq!(breaches(package("stuff", "")).len(), 1);
    assert_eq!(
        breaches(Package::read("[package]\nname = 'calipers-ir'")),
        ["ir: lacks `[lints] workspace = true`"]
    );
    assert!(breaches(package("data", "[dependencies]\ncalipers-random = '1'\nserde = '1'")).is_empty());
}

#[test]
fn a_table_that_points_the_other_way_is_found() {
    assert!(Table::read(TABLE).upwards().is_empty());
    assert_eq!(Table::read("```edges\na -> b\nb -> (nothing)\n```").upwards(), ["a -> b: not above it"]);
}

#[test]
fn a_circle_of_test_dependencies_is_found() {
    let tests_of = |name: &str, dependency: &str| {
        let text =
            format!("[package]\nname = 'calipers-{name}'\n[dev-dependencies]\ncalipers-{dependency} = '1'");
        Package::read(&text)
    };
    let breaches = |packages: &[Package]| circular(&Table::read(TABLE), packages).len();
    assert_eq!(breaches(&[tests_of("ir", "passes")]), 1);
    assert_eq!(breaches(&[tests_of("passes", "models")]), 0);
    assert_eq!(breaches(&[tests_of("passes", "models"), tests_of("models", "passes")]), 2);
}
