//! What must hold before numbers mean anything, in sentences: gates, null tests, and what could not be measured.

use std::fmt::Write as _;

use calipers_inspect::number::{MISSING, fixed, significant, three};

use crate::report::{CellReport, Gates, NullTest, Report, Status, Timing};
use crate::statistics::Interval;

/// A sentence and how it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sentence {
    pub tone: Tone,
    pub text: String,
}

/// How a sentence is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// A check that passed.
    Good,
    /// A finding.
    Plain,
    /// Something that weakens the findings.
    Caution,
    /// Something that forbids them.
    Bad,
}

/// Every check, the notes last.
pub(super) fn checks(report: &Report) -> Vec<Sentence> {
    let mut all = Vec::new();
    all.extend(parity(&report.gates));
    all.extend(steps(&report.gates));
    all.extend(report.timing.iter().flat_map(null_tests));
    all.extend(unmeasured(report));
    all.extend(notes(report));
    all
}

/// What a reader must know.
pub(super) fn notes(report: &Report) -> impl Iterator<Item = Sentence> {
    report.notes.iter().map(|note| Sentence { tone: Tone::Plain, text: note.clone() })
}

/// The parity gate in a line; absent where there was nothing to compare.
pub(super) fn parity(gates: &Gates) -> Option<Sentence> {
    let compared = gates.parity.len();
    let failed = gates.parity.iter().filter(|gate| !gate.passed).count();
    let worst = worst(gates.parity.iter().filter_map(|gate| Some((gate.difference?, gate.allowed))));
    let meaning = "the same float weights give the same logits";
    gate_summary("Parity gate", meaning, "of a logit", compared, failed, worst)
}

/// The step gate in a line; absent where there was nothing to compare.
pub(super) fn steps(gates: &Gates) -> Option<Sentence> {
    let compared = gates.steps.len();
    let failed = gates.steps.iter().filter(|gate| !gate.passed).count();
    let largest = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::max);
    let worst = worst(
        gates.steps.iter().filter_map(|gate| Some((largest(gate.weights, gate.statistics)?, gate.allowed))),
    );
    let meaning = "the same batches give the same trained weights";
    gate_summary("Step gate", meaning, "relative", compared, failed, worst)
}

/// The null tests in a line, or one for each that failed.
pub(super) fn null_tests(timing: &Timing) -> Vec<Sentence> {
    let ratio = |Interval { value, low, high }: Interval| {
        format!("{} [{}, {}]", fixed(value, 3), fixed(low, 3), fixed(high, 3))
    };
    let failed: Vec<&NullTest> = timing.null_tests.iter().filter(|test| !test.passed).collect();
    let all = timing.null_tests.len();
    if timing.trustworthy && failed.is_empty() {
        let found: Vec<String> = timing
            .null_tests
            .iter()
            .map(|test| format!("{} {}", test.cell.framework.title(), ratio(test.ratio)))
            .collect();
        let text = format!(
            "Null test: passed; a second process of one and the same cell took as long as the first, over {} rounds \
             ({}).",
            timing.rounds,
            found.join("; ")
        );
        return vec![Sentence { tone: Tone::Good, text }];
    }
    let mut sentences: Vec<Sentence> = failed
        .iter()
        .map(|test| Sentence {
            tone: Tone::Caution,
            text: format!(
                "Null test: not passed; a second process of {} took {} times as long as the first, over {} rounds, where \
                 an interval around 1 and at most 3 % wide was asked for.",
                test.cell,
                ratio(test.ratio),
                timing.rounds
            ),
        })
        .collect();
    let reach = if failed.is_empty() {
        String::from(
            "Not every framework has a null test: differences in latency are not to be trusted, and no winner is named.",
        )
    } else if failed.len() == all {
        String::from("Differences in latency are not to be trusted, and no winner is named.")
    } else {
        format!(
            "{} of {all} null tests did not pass: differences in latency are not to be trusted, and no winner is named.",
            failed.len()
        )
    };
    sentences.push(Sentence { tone: Tone::Caution, text: reach });
    sentences
}

/// What was not measured, one sentence for each reason.
fn unmeasured(report: &Report) -> Vec<Sentence> {
    let mut groups: Vec<(String, Vec<&CellReport>)> = Vec::new();
    for cell in report.cells.iter().filter(|cell| cell.status != Status::Ok) {
        let why = why(cell);
        match groups.iter_mut().find(|(reason, _)| *reason == why) {
            Some((_, cells)) => cells.push(cell),
            None => groups.push((why, vec![cell])),
        }
    }
    groups.sort_by_key(|(_, cells)| cells[0].status != Status::Failed);
    let sentence = |(why, cells): (String, Vec<&CellReport>)| {
        let names: Vec<String> = cells.iter().map(|cell| cell.cell.to_string()).collect();
        let tone = if cells[0].status == Status::Failed { Tone::Caution } else { Tone::Plain };
        let count = if cells.len() > 1 { format!("{} cells ", cells.len()) } else { String::new() };
        Sentence { tone, text: format!("Not measured: {count}{}: {why}", names.join(", ")) }
    };
    groups.into_iter().map(sentence).collect()
}

/// Why a cell has no numbers, with its name, in a line or a few.
pub(super) fn reason(cell: &CellReport) -> String {
    format!("{}: {}", cell.cell, why(cell))
}

/// The longest message in a summary, hints left out; the whole one stands in the cell's details.
const LONGEST: usize = 400;

fn why(cell: &CellReport) -> String {
    let status = if cell.status == Status::Failed { "failed" } else { "skipped" };
    let Some(error) = &cell.error else { return status.to_owned() };
    let stage = error.stage.as_ref().map_or_else(String::new, |stage| format!(" at {stage}"));
    let text = error.message.split("\nhint:").next().unwrap_or_default();
    let mut message: String = text.chars().take(LONGEST).collect();
    if message.len() < text.len() {
        message.push('…');
    }
    format!("{status}{stage}: {message}")
}

/// The difference that comes closest to what is allowed, or exceeds it most.
fn worst(differences: impl Iterator<Item = (f64, f64)>) -> Option<(f64, f64)> {
    differences
        .filter(|(difference, allowed)| difference.is_finite() && *allowed > 0.0)
        .max_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)))
}

fn gate_summary(
    name: &str,
    meaning: &str,
    of_what: &str,
    compared: usize,
    failed: usize,
    worst: Option<(f64, f64)>,
) -> Option<Sentence> {
    if compared == 0 {
        return None;
    }
    let largest = worst.map_or_else(String::new, |(difference, allowed)| {
        format!(
            "; largest difference {} {of_what}, {} allowed",
            significant(difference, 3),
            significant(allowed, 3)
        )
    });
    let noun = if compared == 1 { "comparison" } else { "comparisons" };
    Some(if failed == 0 {
        Sentence {
            tone: Tone::Good,
            text: format!("{name}: passed; {meaning} ({compared} {noun}{largest})."),
        }
    } else {
        let text =
            format!("{name}: FAILED in {failed} of {compared} {noun}: not shown that {meaning}{largest}.");
        Sentence { tone: Tone::Bad, text }
    })
}

/// A line for each gate: gate, seed, framework, against, on what, difference, allowed, passed.
pub(super) fn gate_lines(report: &Report) -> Vec<[String; 8]> {
    let passed = |passed: bool| if passed { "yes" } else { "NO" }.to_owned();
    let found = |difference: Option<f64>, error: &Option<String>| match (difference, error) {
        (Some(difference), _) => three(difference),
        (None, Some(error)) => error.clone(),
        (None, None) => MISSING.to_owned(),
    };
    let parity = report.gates.parity.iter().map(|gate| {
        [
            String::from("parity"),
            gate.seed.to_string(),
            gate.framework.title().to_owned(),
            gate.reference.title().to_owned(),
            format!("{} samples, {} weights", gate.samples, gate.weights),
            found(gate.difference, &gate.error),
            three(gate.allowed),
            passed(gate.passed),
        ]
    });
    let steps = report.gates.steps.iter().map(|gate| {
        let mut difference = found(gate.weights, &gate.error);
        if let Some(statistics) = gate.statistics {
            let _ = write!(difference, "; statistics {}", three(statistics));
        }
        if let Some(worst) = &gate.worst {
            let _ = write!(difference, " (most: {worst})");
        }
        [
            String::from("steps"),
            gate.seed.to_string(),
            gate.framework.title().to_owned(),
            gate.reference.title().to_owned(),
            format!("{} steps", gate.steps),
            difference,
            three(gate.allowed),
            passed(gate.passed),
        ]
    });
    parity.chain(steps).collect()
}
