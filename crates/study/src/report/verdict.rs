//! What the numbers say, in sentences; a difference is stated as one only where its interval supports it.

use std::fmt::Write as _;

use calipers_inspect::number::{MISSING, count, fixed, ratio, significant, three};

use crate::cell::{Framework, Variant};
use crate::report::row::{Estimate, Row, Spread, rows};
use crate::report::{Gates, Report, Status, Timing};
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

/// The study in one sentence.
pub(super) fn headline(report: &Report) -> Sentence {
    let sentence = |tone, text: String| Sentence { tone, text };
    if !report.gates_pass() {
        return sentence(Tone::Bad, String::from("No parity, no comparison."));
    }
    let Some(timing) = &report.timing else {
        return sentence(Tone::Caution, String::from("Nothing was timed."));
    };
    if !timing.trustworthy {
        return sentence(Tone::Caution, String::from("The machine was too noisy to name a winner."));
    }
    let Some(fastest) = &timing.fastest else {
        return sentence(Tone::Plain, String::from("No winner: the two fastest cells cannot be told apart."));
    };
    let found = rows(report).into_iter().find(|row| {
        (row.framework, row.path, row.variant) == (fastest.framework, fastest.path.as_str(), fastest.variant)
    });
    let Some(((p50, ..), name)) = found.and_then(|row| Some((row.latency()?, row.full_name()))) else {
        return sentence(Tone::Plain, format!("{fastest} is the fastest."));
    };
    sentence(Tone::Plain, format!("{name} is the fastest, with {} ms per inference.", three(p50.value)))
}

/// What there is to say, the checks first.
pub(super) fn sentences(report: &Report) -> Vec<Sentence> {
    let mut all = Vec::new();
    all.extend(parity(&report.gates));
    all.extend(steps(&report.gates));
    all.extend(report.timing.as_ref().map(null_test));
    let rows = rows(report);
    for row in &rows {
        let text = match row.variant {
            Variant::Float | Variant::FloatFinetuned => None,
            Variant::PtqStatic => after_training(report, row, &rows),
            Variant::Qat => aware_training(row, &rows),
        };
        all.extend(text.map(|text| Sentence { tone: Tone::Plain, text }));
    }
    let not_ok = |status| report.cells.iter().filter(|cell| cell.status == status).count();
    if not_ok(Status::Failed) > 0 {
        let text =
            format!("{} of {} cells failed; why is told below.", not_ok(Status::Failed), report.cells.len());
        all.push(Sentence { tone: Tone::Caution, text });
    }
    all
}

/// The parity gate in a line; absent where there was nothing to compare.
pub(super) fn parity(gates: &Gates) -> Option<Sentence> {
    let compared = gates.parity.len();
    let failed = gates.parity.iter().filter(|gate| !gate.passed).count();
    let worst = worst(gates.parity.iter().filter_map(|gate| Some((gate.difference?, gate.allowed))));
    summary(
        "Parity gate",
        "the same float weights give the same logits",
        "of a logit",
        compared,
        failed,
        worst,
    )
}

/// The step gate in a line; absent where there was nothing to compare.
pub(super) fn steps(gates: &Gates) -> Option<Sentence> {
    let compared = gates.steps.len();
    let failed = gates.steps.iter().filter(|gate| !gate.passed).count();
    let largest = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::max);
    let worst = worst(
        gates.steps.iter().filter_map(|gate| Some((largest(gate.weights, gate.statistics)?, gate.allowed))),
    );
    summary(
        "Step gate",
        "the same batches give the same trained weights",
        "relative",
        compared,
        failed,
        worst,
    )
}

/// The null test in a line.
pub(super) fn null_test(timing: &Timing) -> Sentence {
    let Interval { value, low, high } = timing.null_ratio;
    let ratio = format!("{} [{}, {}]", fixed(value, 3), fixed(low, 3), fixed(high, 3));
    let twin = format!("a second process of {} took {ratio} times as long as the first", timing.null_cell);
    if timing.trustworthy {
        let text = format!("Null test: passed; {twin}, over {} rounds.", timing.rounds);
        return Sentence { tone: Tone::Good, text };
    }
    let text = format!(
        "Null test: not passed; {twin}, over {} rounds, where an interval around 1 and at most 3 % wide was asked \
         for. Differences in latency are not to be trusted, and no winner is named.",
        timing.rounds
    );
    Sentence { tone: Tone::Caution, text }
}

/// The difference that comes closest to what is allowed, or exceeds it most.
fn worst(differences: impl Iterator<Item = (f64, f64)>) -> Option<(f64, f64)> {
    differences
        .filter(|(difference, allowed)| difference.is_finite() && *allowed > 0.0)
        .max_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)))
}

fn summary(
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

/// Accuracy of post-training quantization against float, with the 95 % interval of the paired difference.
///
/// The samples on which only one of the two is right are among those on which they decide differently, so their number
/// is at most `n (1 - agreement)`: the interval is never too narrow. Formula: Agresti and Min, "Simple improved
/// confidence intervals for comparing matched proportions", 2005. Samples of all seeds are pooled.
pub(super) fn cost(row: &Row<'_>, rows: &[Row<'_>]) -> Option<Interval> {
    let float = float_of(row.framework, rows)?;
    let (mut samples, mut gained, mut different) = (0.0, 0.0, 0.0);
    for cell in &row.cells {
        let Some(base) = float.cells.iter().find(|base| base.cell.seed == cell.cell.seed) else { continue };
        let (Some(ours), Some(theirs)) = (cell.metrics.accuracy, base.metrics.accuracy) else { continue };
        let agreement = cell.metrics.agreement_with_float?;
        samples += ours.total as f64;
        gained += ours.correct as f64 - theirs.correct as f64;
        different += (1.0 - agreement) * ours.total as f64;
    }
    if row.withheld || samples == 0.0 || !different.is_finite() {
        return None;
    }
    let value = gained / (samples + 2.0);
    let half =
        1.96 * ((different + 1.0) / (samples + 2.0) - value * value).max(0.0).sqrt() / (samples + 2.0).sqrt();
    Some(Interval { value: gained / samples, low: value - half, high: value + half })
}

/// Whether accuracies mean something: untrained weights decide by chance.
pub(super) fn is_trained(report: &Report) -> bool {
    report.study.chosen().any(|framework| framework.python().is_some())
}

fn float_of<'a, 'r>(framework: Framework, rows: &'r [Row<'a>]) -> Option<&'r Row<'a>> {
    rows.iter().find(|row| row.framework == framework && row.variant == Variant::Float)
}

/// `Post-training quantization costs PyTorch fx 0.4 points ..., makes it 2.1x faster ...`.
fn after_training(report: &Report, row: &Row<'_>, rows: &[Row<'_>]) -> Option<String> {
    let who = format!("{} {}", row.framework.title(), row.path);
    let accuracy = cost(row, rows).filter(|_| is_trained(report)).map(|Interval { value, low, high }| {
        let points = fixed(100.0 * value.abs(), 2);
        if high < 0.0 {
            format!("costs {who} {points} points of accuracy [{}, {}]", points_of(-high), points_of(-low))
        } else if low > 0.0 {
            format!("gains {who} {points} points of accuracy [{}, {}]", points_of(low), points_of(high))
        } else {
            format!(
                "costs {who} no measurable accuracy ({} points [{}, {}])",
                signed(value),
                signed(low),
                signed(high)
            )
        }
    });
    let trusted = report.timing.as_ref().is_some_and(|timing| timing.trustworthy);
    // TensorFlow's float cell runs in Keras and its quantized one in LiteRT, so the speed is not quantization's alone.
    let change = match row.framework {
        Framework::TensorFlow if trusted => ", with the change from Keras to LiteRT,",
        _ => "",
    };
    let it = if accuracy.is_some() { "it" } else { who.as_str() };
    let speed = row.to_float().filter(|_| trusted).and_then(|estimate| speed(it, &estimate));
    let float_size = float_of(row.framework, rows).and_then(Row::mebibytes);
    let subject = if accuracy.is_some() || speed.is_some() { "its file" } else { who.as_str() };
    let size = row.mebibytes().zip(float_size).map(|(ours, theirs)| {
        let (small, large) = (three(ours.value), three(theirs.value));
        format!("takes {subject} from {large} to {small} MiB")
    });
    let parts: Vec<String> = accuracy.into_iter().chain(speed).chain(size).collect();
    let (last, others) = parts.split_last()?;
    let first = if others.is_empty() { String::new() } else { format!("{} and ", others.join(", ")) };
    Some(format!("Post-training quantization{change} {first}{last}."))
}

fn speed(it: &str, estimate: &Estimate) -> Option<String> {
    let Spread::Interval(low, high) = estimate.spread else { return None };
    Some(if high < 1.0 {
        let (fast, least, most) = (ratio(1.0 / estimate.value), ratio(1.0 / high), ratio(1.0 / low));
        format!("makes {it} {fast}× as fast [{least}, {most}]")
    } else if low > 1.0 {
        let (slow, least, most) = (ratio(estimate.value), ratio(low), ratio(high));
        format!("makes {it} take {slow}× as long [{least}, {most}]")
    } else {
        format!("leaves {it} as fast as before, as far as was measured")
    })
}

/// Quantization-aware training against the same epochs in float: the samples are the same, but only the two intervals
/// are known, so they are combined as those of independent proportions (Newcombe, "Interval estimation for the
/// difference between independent proportions", 1998, method 10), which is wider.
fn aware_training(row: &Row<'_>, rows: &[Row<'_>]) -> Option<String> {
    let who = format!("{} {}", row.framework.title(), row.path);
    let control = rows
        .iter()
        .find(|other| other.framework == row.framework && other.variant == Variant::FloatFinetuned);
    let accuracy = row.accuracy().zip(control.and_then(Row::accuracy)).and_then(|(ours, theirs)| {
        let (Spread::Interval(l1, u1), Spread::Interval(l2, u2)) = (ours.spread, theirs.spread) else {
            return None;
        };
        let difference = ours.value - theirs.value;
        let low = difference - (ours.value - l1).hypot(u2 - theirs.value);
        let high = difference + (u1 - ours.value).hypot(theirs.value - l2);
        let range = format!("{} points [{}, {}]", signed(difference), signed(low), signed(high));
        Some(if high < 0.0 {
            format!("ends below the same epochs in float, by {range}")
        } else if low > 0.0 {
            format!("ends above the same epochs in float, by {range}")
        } else {
            format!("ends where the same epochs in float do ({range})")
        })
    });
    let overhead = row.overhead().and_then(|estimate| match estimate.spread {
        Spread::Interval(low, high) if low > 1.0 || high < 1.0 => {
            let (value, low, high) = (ratio(estimate.value), ratio(low), ratio(high));
            Some(format!("its training step takes {value}× as long as a float one [{low}, {high}]"))
        }
        _ => None,
    });
    match (accuracy, overhead) {
        (Some(accuracy), Some(overhead)) => {
            Some(format!("Quantization-aware training with {who} {accuracy}; {overhead}."))
        }
        (Some(accuracy), None) => Some(format!("Quantization-aware training with {who} {accuracy}.")),
        (None, Some(overhead)) => Some(format!("Quantization-aware training with {who}: {overhead}.")),
        (None, None) => None,
    }
}

fn points_of(share: f64) -> String {
    fixed(100.0 * share, 2)
}

fn signed(share: f64) -> String {
    let text = points_of(share);
    if text.starts_with('-') || share == 0.0 { text } else { format!("+{text}") }
}

/// Counts of the study's size, such as `resnet8 (78,666 parameters) on shapes10 (8,000 training, 2,000 test images)`.
pub(super) fn subject(report: &Report) -> String {
    format!(
        "{} ({} parameters) on {} ({} training, {} test and {} calibration images)",
        report.model.name,
        count(report.model.parameters),
        report.data.name,
        count(report.data.train),
        count(report.data.test),
        count(report.data.calibration),
    )
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
