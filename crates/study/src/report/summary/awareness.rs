//! What quantization-aware training is worth: against the same epochs in float, and against the paper's way.

use std::cmp::Ordering;

use calipers_inspect::number::percent2;
use calipers_inspect::statistics::unpaired_difference;

use super::{Answer, of_seeds};
use crate::cell::Variant;
use crate::report::Report;
use crate::report::checks::Tone;
use crate::report::row::{Row, is_trained, points};
use crate::statistics::Interval;

/// Quantization-aware training against the same epochs in float.
pub(super) fn against_control(report: &Report, all: &[Row<'_>]) -> Option<Answer> {
    if !is_trained(report) {
        return None;
    }
    let mut found: Vec<(String, Interval)> = Vec::new();
    for row in all.iter().filter(|row| row.variant == Variant::Qat && row.path() != NOTEBOOK) {
        let control = all.iter().find(|other| {
            (other.framework, other.weights, other.variant)
                == (row.framework, row.weights, Variant::FloatFinetuned)
        });
        let Some((ours, theirs)) = row.mean_accuracy().zip(control.and_then(Row::mean_accuracy)) else {
            continue;
        };
        found.push((row.full_name(), unpaired_difference(ours, theirs)));
    }
    let of = |direction| found.iter().filter(move |(_, difference)| order(*difference) == direction);
    let named =
        |direction| of(direction).map(|(name, it)| format!("{name} ({})", range(*it))).collect::<Vec<_>>();
    let (above, below) = (named(Ordering::Greater), named(Ordering::Less));
    let mut parts: Vec<String> = Vec::new();
    if !above.is_empty() {
        parts.push(format!("above it: {}", above.join(", ")));
    }
    if !below.is_empty() {
        parts.push(format!("below it: {}", below.join(", ")));
    }
    let level: Vec<f64> = of(Ordering::Equal).map(|(_, difference)| difference.value).collect();
    let (least, greatest) =
        level.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, greatest), &value| {
            (least.min(value), greatest.max(value))
        });
    match level.len() {
        0 => {}
        1 => {
            parts.push(format!("level with it, as far as was measured: {}", named(Ordering::Equal).join("")))
        }
        count => {
            let which = if count == found.len() { "none" } else { "of the rest, none" };
            parts.push(format!(
                "{which} of {count} can be told from it ({} to {} points)",
                points(least),
                points(greatest)
            ));
        }
    }
    if parts.is_empty() {
        return None;
    }
    Some(Answer {
        tone: Tone::Plain,
        question: "Quantization-aware training against the same epochs in float",
        answer: parts.join("; "),
        sure: format!(
            "Newcombe's 95 % interval for independent shares, which is wider than a paired one: small differences may \
             be real and not be seen.{}",
            of_seeds(report)
        ),
    })
}

/// The path that trains as the paper's notebook did.
const NOTEBOOK: &str = "eager-2023";

/// The way of the documentation against that of the notebook.
pub(super) fn against_notebook(report: &Report, all: &[Row<'_>]) -> Option<Answer> {
    if !is_trained(report) {
        return None;
    }
    let theirs = all.iter().find(|row| row.path() == NOTEBOOK)?;
    let ours = all.iter().find(|row| {
        (row.framework, row.path(), row.variant, row.is_tuned())
            == (theirs.framework, "eager", Variant::Qat, false)
    })?;
    let (a, b) = (ours.mean_accuracy()?, theirs.mean_accuracy()?);
    let found = unpaired_difference(a, b);
    let meaning = match order(found) {
        Ordering::Greater => "fake quantization while training is worth it",
        Ordering::Equal => "cannot be told apart",
        Ordering::Less => "the paper's way ends higher",
    };
    Some(Answer {
        tone: Tone::Plain,
        question: "QAT as its documentation says, against the paper's notebook",
        answer: format!(
            "{} % against {} % ({}): {meaning}",
            percent2(a.value),
            percent2(b.value),
            range(found)
        ),
        sure: format!(
            "The notebook prepared QAT with the configuration of post-training quantization, so nothing was quantized \
             while it trained. Newcombe's 95 % interval for independent shares.{}",
            of_seeds(report)
        ),
    })
}

fn order(found: Interval) -> Ordering {
    if found.low > 0.0 {
        Ordering::Greater
    } else if found.high < 0.0 {
        Ordering::Less
    } else {
        Ordering::Equal
    }
}

fn range(found: Interval) -> String {
    format!("{} [{}, {}]", points(found.value), points(found.low), points(found.high))
}
