//! What changed between two runs, found by their reports.

mod text;

use std::collections::{BTreeMap, BTreeSet};

use calipers_inspect::statistics::unpaired_difference;
use serde::Serialize;
use serde_json::Value;

use crate::cell::Cell;
use crate::machine::Machine;
use crate::report::row::is_withheld;
use crate::report::{CellReport, Report, Status};
use crate::statistics::Interval;

/// What changed from an older run to a newer one; the order of their dates does not matter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changes {
    /// When the older run's report was written, in UTC.
    pub before: String,
    /// When the newer run's was.
    pub after: String,
    /// What must be known to read the rest.
    pub cautions: Vec<String>,
    /// Cells that only the newer run has.
    pub added: Vec<Cell>,
    /// Cells that only the older run has.
    pub gone: Vec<Cell>,
    /// Cells that both have.
    pub cells_in_both: usize,
    /// Of those, the cells whose numbers are withheld, because a gate of one of the runs failed.
    pub withheld: Vec<Cell>,
    /// Cells that ended otherwise.
    pub statuses: Vec<Moved<Status>>,
    /// Accuracies of all cells that have one in both, and are not withheld.
    pub accuracies: Vec<AccuracyChange>,
    /// Median milliseconds of an inference at batch 1, of all cells that were timed in both, and are not withheld.
    pub latencies: Vec<Ratio<f64>>,
    /// Deployed files that both have, and that are not withheld.
    pub files_in_both: usize,
    /// Bytes of those that differ.
    pub sizes: Vec<Ratio<u64>>,
    /// Packages and programs whose versions differ: framework, package, versions.
    pub versions: Vec<Difference>,
    /// Facts of the machine, the threads and the data that differ.
    pub circumstances: Vec<Difference>,
    /// Keys of the study that differ.
    pub study: Vec<Difference>,
}

/// Something of a cell in both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moved<T> {
    /// The cell.
    pub cell: Cell,
    /// In the older run.
    pub before: T,
    /// In the newer run.
    pub after: T,
}

/// An accuracy in both runs; shares of 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccuracyChange {
    /// The cell.
    pub cell: Cell,
    /// In the older run.
    pub before: f64,
    /// In the newer run.
    pub after: f64,
    /// Newer less older, with Newcombe's 95 % interval for independent shares.
    pub difference: Interval,
}

impl AccuracyChange {
    /// Whether the interval excludes 0.
    pub fn is_told_apart(&self) -> bool {
        !self.difference.contains(0.0)
    }
}

/// A positive number in both runs, and newer over older.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ratio<T> {
    /// The cell.
    pub cell: Cell,
    /// In the older run.
    pub before: T,
    /// In the newer run.
    pub after: T,
    /// Newer over older.
    pub ratio: f64,
}

/// A fact in both runs; absent where one does not have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is.
    pub what: String,
    /// In the older run.
    pub before: Option<String>,
    /// In the newer run.
    pub after: Option<String>,
}

/// What changed from `older` to `newer`.
pub fn changes(older: &Report, newer: &Report) -> Changes {
    let both: Vec<(&CellReport, &CellReport)> =
        newer.cells.iter().filter_map(|cell| Some((older.cell(&cell.cell)?, cell))).collect();
    let is_withheld = |cell: &Cell| [older, newer].iter().any(|report| is_withheld(&report.gates, cell));
    let (withheld, shown): (Vec<_>, Vec<_>) = both.iter().partition(|(_, after)| is_withheld(&after.cell));
    let bytes: Vec<(&Cell, u64, u64)> = shown
        .iter()
        .filter_map(|(old, new)| Some((&new.cell, old.metrics.file_bytes?, new.metrics.file_bytes?)))
        .collect();
    let missing = |from: &Report, other: &Report| {
        from.cells
            .iter()
            .filter(|cell| other.cell(&cell.cell).is_none())
            .map(|cell| cell.cell.clone())
            .collect()
    };
    let ratio = |before: f64, after: f64| (before > 0.0 && after.is_finite()).then(|| after / before);
    Changes {
        before: older.finished.clone(),
        after: newer.finished.clone(),
        cautions: cautions(older, newer),
        added: missing(newer, older),
        gone: missing(older, newer),
        cells_in_both: both.len(),
        withheld: withheld.into_iter().map(|(_, after)| after.cell.clone()).collect(),
        statuses: both
            .iter()
            .filter(|(before, after)| before.status != after.status)
            .map(|(before, after)| Moved {
                cell: after.cell.clone(),
                before: before.status,
                after: after.status,
            })
            .collect(),
        accuracies: shown
            .iter()
            .filter_map(|(before, after)| {
                let (a, b) = (after.metrics.accuracy?.share, before.metrics.accuracy?.share);
                let difference = unpaired_difference(a, b);
                (difference.low.is_finite() && difference.high.is_finite()).then(|| AccuracyChange {
                    cell: after.cell.clone(),
                    before: b.value,
                    after: a.value,
                    difference,
                })
            })
            .collect(),
        latencies: shown
            .iter()
            .filter_map(|(old, new)| {
                let (before, after) = (old.metrics.latency.as_ref()?.p50, new.metrics.latency.as_ref()?.p50);
                Some(Ratio { cell: new.cell.clone(), before, after, ratio: ratio(before, after)? })
            })
            .collect(),
        files_in_both: bytes.len(),
        sizes: bytes
            .into_iter()
            .filter_map(|(cell, before, after)| {
                let ratio = ratio(before as f64, after as f64).filter(|_| before != after)?;
                Some(Ratio { cell: cell.clone(), before, after, ratio })
            })
            .collect(),
        versions: differences(&versions(older), &versions(newer)),
        circumstances: differences(&circumstances(older), &circumstances(newer)),
        study: differences(&keys_of_study(older), &keys_of_study(newer)),
    }
}

/// What the two reports cannot say.
fn cautions(older: &Report, newer: &Report) -> Vec<String> {
    let mut cautions = vec![String::from(if older.data.test_hash == newer.data.test_hash {
        "Accuracies are of the same test samples, but a report does not hold the decisions on each: differences have \
         Newcombe's 95 % interval for independent shares, which is wider than a paired one."
    } else {
        "Accuracies are of different test samples: differences have Newcombe's 95 % interval for independent shares."
    })];
    if older.timing.is_some() && newer.timing.is_some() {
        let noisy = [older, newer]
            .iter()
            .filter(|report| report.timing.as_ref().is_some_and(|timing| !timing.trustworthy))
            .count();
        let noise = match noisy {
            0 => "",
            1 => " One of the two did not pass its own null test.",
            _ => " Neither of the two passed its own null test.",
        };
        cautions.push(format!(
            "Latencies of two runs are not paired: they were measured at different times, so a ratio holds the machine's \
             change as well as the software's, and no winner is named.{noise}"
        ));
    }
    for (report, which) in [(older, "older"), (newer, "newer")] {
        if !report.gates_pass() {
            cautions.push(format!(
                "A gate failed in the {which} run: what differs may be no effect of quantization."
            ));
        }
    }
    cautions
}

/// Facts by name.
type Facts = BTreeMap<String, String>;

fn differences(older: &Facts, newer: &Facts) -> Vec<Difference> {
    let names: BTreeSet<&String> = older.keys().chain(newer.keys()).collect();
    names
        .into_iter()
        .filter(|name| older.get(*name) != newer.get(*name))
        .map(|name| Difference {
            what: name.clone(),
            before: older.get(name).cloned(),
            after: newer.get(name).cloned(),
        })
        .collect()
}

fn versions(report: &Report) -> Facts {
    let mut facts = Facts::from([(String::from("calipers"), report.calipers.clone())]);
    for framework in &report.frameworks {
        let name = framework.framework.name();
        for (package, version) in &framework.versions {
            facts.insert(format!("{name} {package}"), version.clone());
        }
        if let Some(python) = &framework.python {
            facts.insert(format!("{name} Python"), python.clone());
        }
    }
    facts
}

fn circumstances(report: &Report) -> Facts {
    let Machine { processor, features, cores, governor, memory_bytes, system } = &report.machine;
    let mut facts = Facts::from([
        (String::from("processor"), processor.clone()),
        (String::from("instruction sets"), features.join(" ")),
        (String::from("cores"), cores.to_string()),
        (String::from("system"), system.clone()),
        (String::from("threads"), report.threads.to_string()),
        (String::from("model parameters"), report.model.parameters.to_string()),
        (String::from("training split"), report.data.train_hash.clone()),
        (String::from("test split"), report.data.test_hash.clone()),
    ]);
    facts.extend(governor.iter().map(|governor| (String::from("governor"), governor.clone())));
    facts.extend(memory_bytes.iter().map(|bytes| (String::from("memory, bytes"), bytes.to_string())));
    facts
}

/// Every key of the study, dotted.
fn keys_of_study(report: &Report) -> Facts {
    let mut facts = Facts::new();
    if let Ok(study) = serde_json::to_value(&report.study) {
        flatten(&study, String::new(), &mut facts);
    }
    facts
}

fn flatten(value: &Value, name: String, facts: &mut Facts) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let dot = if name.is_empty() { "" } else { "." };
                flatten(value, format!("{name}{dot}{key}"), facts);
            }
        }
        Value::Null => {}
        Value::String(text) => {
            facts.insert(name, text.clone());
        }
        other => {
            facts.insert(name, other.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Difference, changes};
    use crate::report::Status;
    use crate::report::row::is_quantized;
    use crate::report::tests::fixture::{accuracy, report};

    #[test]
    fn a_run_has_not_changed_from_itself() {
        let report = report(1);
        let found = changes(&report, &report);
        assert!(found.added.is_empty() && found.gone.is_empty() && found.statuses.is_empty());
        assert!(found.versions.is_empty() && found.circumstances.is_empty() && found.study.is_empty());
        assert!(found.sizes.is_empty() && found.accuracies.iter().all(|change| !change.is_told_apart()));
        assert!(found.latencies.len() > 40 && found.latencies.iter().all(|change| change.ratio == 1.0));
    }

    #[test]
    fn every_kind_of_change_is_found() {
        let older = report(1);
        let mut newer = report(1);
        let removed = newer.cells.remove(0).cell;
        newer.cells[3].metrics.accuracy = Some(accuracy(1_500));
        newer.cells[4].status = Status::Failed;
        newer.cells[5].metrics.file_bytes = older.cells[6].metrics.file_bytes.map(|bytes| 2 * bytes);
        newer.frameworks[0].versions.insert(String::from("torch"), String::from("3.0"));
        newer.machine.cores = 4;
        newer.study.calibration.samples = 64;
        newer.data.test_hash = "b2".repeat(32);
        let found = changes(&older, &newer);
        assert_eq!((found.gone, found.added.len()), (vec![removed], 0));
        assert_eq!(found.statuses.len(), 1);
        assert_eq!((found.statuses[0].before, found.statuses[0].after), (Status::Ok, Status::Failed));
        let told: Vec<_> = found.accuracies.iter().filter(|change| change.is_told_apart()).collect();
        assert_eq!((told.len(), told[0].after), (1, 0.75));
        assert!(told[0].difference.high < 0.0);
        assert_eq!((found.sizes.len(), found.sizes[0].ratio), (1, 2.0));
        let difference = |what: &str, before: &str, after: &str| Difference {
            what: what.to_owned(),
            before: Some(before.to_owned()),
            after: Some(after.to_owned()),
        };
        assert_eq!(found.versions, [difference("pytorch torch", "2.15.0", "3.0")]);
        assert!(found.circumstances.contains(&difference("cores", "2", "4")));
        assert_eq!(found.study, [difference("calibration.samples", "512", "64")]);
        assert!(found.cautions[0].contains("different test samples"), "{:?}", found.cautions);
        assert!(found.cautions[1].contains("no winner is named"));
    }

    #[test]
    fn what_a_gate_withholds_is_withheld_here_too() {
        let older = report(1);
        let mut newer = report(1);
        (newer.gates.steps[0].passed, newer.gates.steps[0].weights) = (false, Some(0.2));
        for cell in &mut newer.cells {
            cell.metrics.accuracy = cell.metrics.accuracy.map(|_| accuracy(1_500));
        }
        let found = changes(&older, &newer);
        assert!(!found.accuracies.is_empty() && !found.latencies.is_empty() && found.files_in_both > 0);
        assert!(found.accuracies.iter().all(|change| !is_quantized(change.cell.variant)));
        assert!(found.latencies.iter().all(|change| !is_quantized(change.cell.variant)));
        assert_eq!(found.cells_in_both, older.cells.len());
        assert!(found.withheld.len() > 30 && found.withheld.iter().all(|cell| is_quantized(cell.variant)));
        let text = found.text();
        assert!(
            text.contains("cells are withheld because a gate failed") && !text.contains(" qat (seed 1)  ")
        );
    }

    #[test]
    fn nothing_to_compare_is_not_called_unchanged() {
        let older = report(1);
        let mut newer = report(1);
        newer.cells.iter_mut().for_each(|cell| cell.cell.seed = 2);
        let text = changes(&older, &newer).text();
        for title in ["Status", "Accuracy", "Size"] {
            assert!(text.contains(&format!("{title}: nothing to compare\n")), "{text}");
        }
        assert!(text.contains("of other times on the machine: nothing to compare\n"), "{text}");
    }
}
