//! The states of a cell.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::path::Scheme;

/// What came of a layer on a path. Written as the words of its `Display`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Integer weights and integer arithmetic, at the widths that the path is for.
    Quantized,
    /// Integer weights; activations are quantized at run time, and the products computed on integers.
    Dynamic,
    /// Integer or half-precision weights, float arithmetic.
    WeightOnly,
    /// Some of the layer's operators compute on integers, or have integer weights.
    Partial {
        /// Those.
        done: u32,
        /// All of them.
        all: u32,
    },
    /// The path quantizes weights, and the layer has none, or none of the size that the path quantizes.
    NothingToQuantize,
    /// Nothing of the layer is quantized, and nobody said so.
    SilentlyFloat,
    /// Nothing of the layer is quantized, and a warning or the log says so.
    FloatWithWarning,
    /// It runs, but its error is far beyond what the path's number formats explain, and the framework's own reference
    /// form does not have it.
    NumericallyWrong,
    /// An error at a stage.
    Fails(Stage),
    /// A signal ended the process.
    Killed,
    /// It exceeded its time limit.
    TimesOut,
    /// The framework, or the path, offers no way to ask.
    NoApi,
    /// The framework is not there.
    NotInstalled,
}

/// The stages of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Making the native model and running it in float.
    Build,
    /// Putting observers or fake quantization in.
    Prepare,
    /// Calibration or training.
    Calibrate,
    /// Making the quantized model.
    Convert,
    /// Running it.
    Run,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Stage; 5] = [Stage::Build, Stage::Prepare, Stage::Calibrate, Stage::Convert, Stage::Run];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Build => "build",
            Stage::Prepare => "prepare",
            Stage::Calibrate => "calibrate",
            Stage::Convert => "convert",
            Stage::Run => "run",
        }
    }

    /// The stage of that name.
    pub fn from_name(name: &str) -> Option<Stage> {
        Stage::ALL.into_iter().find(|stage| stage.name() == name)
    }
}

impl State {
    /// One of each kind, in the order in which legends show them.
    pub const KINDS: [State; 13] = [
        State::Quantized,
        State::Dynamic,
        State::WeightOnly,
        State::Partial { done: 1, all: 2 },
        State::NothingToQuantize,
        State::SilentlyFloat,
        State::FloatWithWarning,
        State::NumericallyWrong,
        State::Fails(Stage::Build),
        State::Killed,
        State::TimesOut,
        State::NoApi,
        State::NotInstalled,
    ];

    /// The kind alone, as a word for style sheets and filters.
    pub fn kind(self) -> &'static str {
        match self {
            State::Quantized => "quantized",
            State::Dynamic => "dynamic",
            State::WeightOnly => "weight-only",
            State::Partial { .. } => "partial",
            State::NothingToQuantize => "nothing",
            State::SilentlyFloat => "silently-float",
            State::FloatWithWarning => "float-with-warning",
            State::NumericallyWrong => "wrong",
            State::Fails(_) => "fails",
            State::Killed => "killed",
            State::TimesOut => "times-out",
            State::NoApi => "no-api",
            State::NotInstalled => "not-installed",
        }
    }

    /// The kind in words: as the state itself, without numbers and stages.
    pub fn kind_title(self) -> &'static str {
        match self {
            State::Quantized => "quantized",
            State::Dynamic => "dynamic",
            State::WeightOnly => "weight-only",
            State::Partial { .. } => "partial",
            State::NothingToQuantize => "nothing to quantize",
            State::SilentlyFloat => "silently float",
            State::FloatWithWarning => "float, with a warning",
            State::NumericallyWrong => "runs, numerically wrong",
            State::Fails(_) => "fails",
            State::Killed => "process killed by signal",
            State::TimesOut => "times out",
            State::NoApi => "no API",
            State::NotInstalled => "not installed",
        }
    }

    /// A symbol of one or two characters, so that a table can be read without colours.
    pub fn symbol(self) -> &'static str {
        match self {
            State::Quantized => "✓",
            State::Dynamic => "D",
            State::WeightOnly => "W",
            State::Partial { .. } => "◐",
            State::NothingToQuantize => "–",
            State::SilentlyFloat => "F",
            State::FloatWithWarning => "f",
            State::NumericallyWrong => "≠",
            State::Fails(_) => "✗",
            State::Killed => "☠",
            State::TimesOut => "∞",
            State::NoApi => "∅",
            State::NotInstalled => "?",
        }
    }

    /// Whether it falls short of what a path of that scheme promises.
    pub fn is_gap(self, scheme: Scheme) -> bool {
        match self {
            State::Quantized | State::NothingToQuantize | State::NotInstalled => false,
            State::Dynamic => scheme == Scheme::Static,
            State::WeightOnly => scheme != Scheme::WeightOnly,
            State::Partial { .. }
            | State::SilentlyFloat
            | State::FloatWithWarning
            | State::NumericallyWrong
            | State::Fails(_)
            | State::Killed
            | State::TimesOut
            | State::NoApi => true,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Partial { done, all } => write!(formatter, "partial {done} of {all}"),
            State::Fails(stage) => write!(formatter, "fails at {}", stage.name()),
            other => formatter.write_str(other.kind_title()),
        }
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<State, String> {
        let unknown = || format!("`{text}` is no state of a cell");
        if let Some(share) = text.strip_prefix("partial ") {
            let (done, all) = share.split_once(" of ").ok_or_else(unknown)?;
            let number = |text: &str| text.parse().map_err(|_| unknown());
            return Ok(State::Partial { done: number(done)?, all: number(all)? });
        }
        if let Some(stage) = text.strip_prefix("fails at ") {
            return Stage::from_name(stage).map(State::Fails).ok_or_else(unknown);
        }
        let plain = |state: &State| !matches!(state, State::Partial { .. } | State::Fails(_));
        State::KINDS.into_iter().filter(plain).find(|state| state.kind_title() == text).ok_or_else(unknown)
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<State, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Stage, State};
    use crate::path::Scheme;

    #[test]
    fn what_is_written_is_read() {
        let more = [State::Partial { done: 3, all: 14 }, State::Fails(Stage::Convert)];
        for state in State::KINDS.into_iter().chain(more) {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        assert_eq!(State::Fails(Stage::Run).to_string(), "fails at run");
        for wrong in ["partial", "partial 1", "fails at lunch", "fails", "", "Quantized"] {
            assert!(wrong.parse::<State>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_gap_is_what_a_path_does_not_keep() {
        assert!(State::Dynamic.is_gap(Scheme::Static) && !State::Dynamic.is_gap(Scheme::Dynamic));
        assert!(State::WeightOnly.is_gap(Scheme::Dynamic) && !State::WeightOnly.is_gap(Scheme::WeightOnly));
        assert!(State::SilentlyFloat.is_gap(Scheme::WeightOnly) && !State::Quantized.is_gap(Scheme::Dynamic));
    }
}
