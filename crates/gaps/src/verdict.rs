//! From what was seen to a state: the verdict is never the framework's word.
//!
//! `crates/workers/python/calipers_worker/gaps/judge.py` states the same rules for stand-alone scripts; both are tested on
//! `tests/verdicts.json`.

use calipers_workers::protocol::{Class, Ending, Found, Operator, Outcome, Role};
use calipers_workers::worker::signal_title;

use crate::path::{Path, Scheme};
use crate::state::{Stage, State};

/// A state and why, in a sentence or two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The state.
    pub state: State,
    /// Why.
    pub reason: String,
}

/// Largest difference between the framework's float model and the graph that counts as rounding, as a share of the
/// outputs' range and at least as an absolute number.
const PARITY: f64 = 1e-4;
/// What a warning says when it is about something that is left in float.
const LEFT: [&str; 7] = [
    "not quantized",
    "not be quantized",
    "unquantized",
    "skip to quantize",
    "skipping quantiz",
    "not support quantiz",
    "cannot be quantized",
];

/// Judges a probe of a layer, whose own weights of rank 2 and more have these numbers of elements, on a path.
/// `comparable` gives the error that another engine shows with the same number formats, as a share of the range.
pub fn judge(
    path: &Path,
    own_constants: &[usize],
    ending: &Ending,
    found: &Found,
    comparable: &dyn Fn() -> Option<f64>,
) -> Judged {
    let judged = |state, reason: String| Judged { state, reason };
    match ending.outcome {
        Outcome::NoApi => {
            return judged(State::NoApi, ending.message.clone().unwrap_or_default());
        }
        Outcome::Killed => {
            let how = match (ending.signal, ending.status) {
                (Some(signal), _) => format!("ended by signal {}", signal_title(signal)),
                (None, Some(status)) => format!("ended by itself with status {status}"),
                (None, None) => String::from("ended without an answer"),
            };
            return judged(State::Killed, format!("the process {how}, at {}", ending.stage));
        }
        Outcome::TimedOut => {
            return judged(
                State::TimesOut,
                format!("no end after {:.0} s, at {}", ending.seconds, ending.stage),
            );
        }
        Outcome::Failed => {
            let stage = Stage::from_name(&ending.stage).unwrap_or(Stage::Build);
            return judged(State::Fails(stage), error_line(ending).unwrap_or_default());
        }
        Outcome::Ran => {}
    }
    if let (Some(parity), Some(range)) = (found.parity, found.float_range)
        && parity > PARITY * range.max(1.0)
    {
        return judged(
            State::Fails(Stage::Build),
            format!(
                "the native float model differs from the graph by {parity:.2e}: the probe itself is wrong"
            ),
        );
    }
    let judged = by_operators(path, own_constants, ending, &found.operators);
    match wrong(path, found, comparable) {
        Some(reason) => Judged { state: State::NumericallyWrong, reason },
        None => judged,
    }
}

/// The first line of an error: its type and its words.
pub fn error_line(ending: &Ending) -> Option<String> {
    let kind = ending.kind.as_deref()?;
    Some(format!("{kind}: {}", ending.message.as_deref().unwrap_or_default()))
}

fn by_operators(path: &Path, own_constants: &[usize], ending: &Ending, operators: &[Operator]) -> Judged {
    let judged = |state, reason: String| Judged { state, reason };
    let computes = |operator: &&Operator| !matches!(operator.class, Class::Convert | Class::Move);
    // Schemes that quantize weights are judged by what reads weights.
    let fixed = path.scheme == Scheme::Static;
    let judged_by: Vec<&Operator> =
        operators.iter().filter(computes).filter(|operator| fixed || operator.weighted).collect();
    let mut counted: Vec<&Operator> =
        judged_by.iter().copied().filter(|operator| operator.role == Role::Layer).collect();
    let mut folded = "";
    if counted.is_empty() {
        if !fixed && own_constants.is_empty() {
            let reason = "the path quantizes weights, and the layer has none of rank 2 or more";
            return judged(State::NothingToQuantize, String::from(reason));
        }
        counted = judged_by;
        folded = "; the layer computes nothing of its own, it is part of its neighbours";
    }
    let is_float = |operator: &&&Operator| operator.class == Class::Float;
    let all: u64 = counted.iter().map(|operator| operator.count.unwrap_or(1)).sum();
    let float: u64 = counted.iter().filter(is_float).map(|operator| operator.count.unwrap_or(1)).sum();
    let names = |float: bool| {
        let mut names: Vec<&str> = Vec::new();
        for operator in counted.iter().filter(|operator| (operator.class == Class::Float) == float) {
            if !names.contains(&operator.name.as_str()) {
                names.push(&operator.name);
            }
        }
        names.join(", ")
    };
    if all == 0 {
        return judged(State::SilentlyFloat, String::from("nothing that computes was executed"));
    }
    if float == 0 {
        let has = |class| counted.iter().any(|operator| operator.class == class);
        let (state, what) = if has(Class::WeightOnly) {
            (State::WeightOnly, "in float on stored integer or half-precision weights")
        } else if has(Class::Dynamic) {
            (State::Dynamic, "on integers, with activations quantized at run time")
        } else {
            (State::Quantized, "on integers")
        };
        return judged(state, format!("{what}: {}{folded}", names(false)));
    }
    if float < all {
        let (done, all) =
            (u32::try_from(all - float).unwrap_or(u32::MAX), u32::try_from(all).unwrap_or(u32::MAX));
        let reason = format!("quantized: {}; in float: {}{folded}", names(false), names(true));
        return judged(State::Partial { done, all }, reason);
    }
    let bound = path.smallest_constant;
    if bound > 0 && !own_constants.is_empty() && own_constants.iter().all(|&count| count < bound) {
        let reason =
            format!("the layer's weights have fewer than {bound} elements, which the converter leaves alone");
        return judged(State::NothingToQuantize, reason);
    }
    let said = ending
        .warnings
        .iter()
        .map(String::as_str)
        .chain(ending.log.lines())
        .find(|line| LEFT.iter().any(|words| line.to_lowercase().contains(words)));
    match said {
        Some(line) => judged(State::FloatWithWarning, format!("in float: {}; said: {line}", names(true))),
        None => judged(
            State::SilentlyFloat,
            format!("in float, without an error or a warning that says so: {}{folded}", names(true)),
        ),
    }
}

/// Why the results are wrong: the error is far beyond what the path's number formats explain, and either the reference
/// form does not have it, or another engine does not with the same formats.
fn wrong(path: &Path, found: &Found, comparable: &dyn Fn() -> Option<f64>) -> Option<String> {
    let range = found.float_range.filter(|range| *range > 0.0)?;
    let share = |error: Option<f64>| error.map(|error| error / range);
    let error = if found.finite == Some(false) { f64::INFINITY } else { share(found.max_error)? };
    if error <= path.explained {
        return None;
    }
    let seen = match found.finite {
        Some(false) => String::from("there are outputs that are not finite"),
        Some(true) | None => format!(
            "the error is {} of the range of the float outputs, where {} would be much",
            percent(error),
            percent(path.explained)
        ),
    };
    let reference = found.reference.as_deref().unwrap_or("the reference form");
    let reference_holds = match found.finite {
        Some(false) => share(found.reference_error).is_some_and(|error| error <= path.explained),
        Some(true) | None => {
            share(found.reference_difference).is_some_and(|difference| difference > path.explained / 2.0)
        }
    };
    if reference_holds {
        let error = share(found.reference_error)
            .map_or_else(String::new, |error| format!(", which is off by {}", percent(error)));
        return Some(format!("{seen}; so much is not in {reference}{error}"));
    }
    let comparable = comparable().filter(|_| !path.trains)?;
    (comparable < path.explained / 3.0).then(|| {
        format!(
            "{seen}; another engine is off by {} with the same number formats, so that the cause is how this path chooses \
             scales or places conversions",
            percent(comparable)
        )
    })
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests;
