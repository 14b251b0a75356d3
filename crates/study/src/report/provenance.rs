//! Where the numbers come from: machine, versions, data, command and study.

use calipers_inspect::number::three;

use crate::report::Report;

/// How a number is traced.
pub(super) const TRACE: &str = "Every number can be traced: records.jsonl beside this report has a line for \
     everything that was measured, with the raw time of each inference, and report.json has these numbers unrounded; \
     the files that were evaluated and timed are in artefacts/.";

/// Machine, versions and data as name and value.
pub(super) fn facts(report: &Report) -> Vec<[String; 2]> {
    let machine = &report.machine;
    let gibibytes = |bytes: u64| format!("{} GiB", three(bytes as f64 / f64::from(1 << 30)));
    let unknown = || String::from("unknown");
    let data = &report.data;
    let mut facts = vec![
        ["Calipers".to_owned(), report.calipers.clone()],
        ["Time".to_owned(), format!("{} to {}", report.started, report.finished)],
        ["Processor".to_owned(), format!("{}, {} cores", machine.processor, machine.cores)],
        ["Instruction sets".to_owned(), machine.features.join(", ")],
        ["Frequency governor".to_owned(), machine.governor.clone().unwrap_or_else(unknown)],
        ["Memory".to_owned(), machine.memory_bytes.map_or_else(unknown, gibibytes)],
        ["System".to_owned(), machine.system.clone()],
        ["Threads asked for".to_owned(), report.threads.to_string()],
    ];
    for framework in &report.frameworks {
        let python = framework.python.iter().map(|version| format!("Python {version}"));
        let packages = framework.versions.iter().map(|(name, version)| format!("{name} {version}"));
        let threads = framework.threads.iter().map(|threads| format!("{threads} threads"));
        let value: Vec<String> = python.chain(packages).chain(threads).collect();
        let value = if value.is_empty() { String::from("could not be started") } else { value.join(", ") };
        facts.push([framework.framework.title().to_owned(), value]);
    }
    facts.push(["Training split".to_owned(), format!("{} samples, hash {}", data.train, data.train_hash)]);
    facts.push(["Test split".to_owned(), format!("{} samples, hash {}", data.test, data.test_hash)]);
    facts
}

/// The command as it may be typed again.
pub(super) fn command(report: &Report) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    let words = report.command.iter().map(|word| {
        if !word.is_empty() && word.chars().all(is_plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The study as TOML.
pub(super) fn spec(report: &Report) -> String {
    toml::to_string(&report.study).unwrap_or_else(|error| format!("# cannot be written: {error}\n"))
}
