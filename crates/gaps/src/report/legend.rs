//! How states are written and what they mean, the same in every rendering.

use crate::report::{Cell, Report, Today};
use crate::state::State;
use calipers_workers::protocol::Verdict;

/// Widest mark of a cell, in characters.
pub(super) const MARK_WIDTH: usize = 2;

/// The mark of a state: its symbol, with `!` where a state that keeps some promises does not keep this one.
pub(super) fn mark(state: State, gap: bool) -> String {
    let broken = gap && matches!(state, State::Dynamic | State::WeightOnly);
    format!("{}{}", state.symbol(), if broken { "!" } else { "" })
}

/// A kind of cell as legends, counts and filters tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// One state of the kind.
    pub state: State,
    /// Whether these cells are gaps.
    pub gap: bool,
}

impl Kind {
    /// Every kind: what keeps its promise, then gaps.
    pub fn all() -> Vec<Kind> {
        let mut kinds: Vec<Kind> = State::KINDS
            .into_iter()
            .map(|state| Kind { state, gap: !matches!(state, State::Dynamic | State::WeightOnly) })
            .map(|kind| match kind.state {
                State::Quantized | State::NothingToQuantize | State::NotInstalled => {
                    Kind { gap: false, ..kind }
                }
                _ => kind,
            })
            .collect();
        kinds.push(Kind { state: State::Dynamic, gap: true });
        kinds.push(Kind { state: State::WeightOnly, gap: true });
        // `NotInstalled` is no gap, and keeps no promise.
        kinds.sort_by_key(|kind| match (kind.gap, kind.state) {
            (false, State::NotInstalled) => 3,
            (false, _) => 0,
            (true, State::Dynamic | State::WeightOnly) => 1,
            (true, _) => 2,
        });
        kinds
    }

    /// That of a cell.
    pub fn of(cell: &Cell) -> Kind {
        Kind { state: cell.state, gap: cell.gap }
    }

    /// Whether both are of one kind.
    pub fn is_of(self, other: Kind) -> bool {
        self.state.kind() == other.state.kind() && self.gap == other.gap
    }

    /// How many cells are of that kind.
    pub fn count(self, report: &Report) -> usize {
        report.cells.iter().filter(|cell| self.is_of(Kind::of(cell))).count()
    }

    /// Its symbol.
    pub fn mark(self) -> String {
        mark(self.state, self.gap)
    }

    /// A word for style sheets and filters.
    pub fn word(self) -> String {
        match (self.state, self.gap) {
            (State::Dynamic | State::WeightOnly, true) => format!("{}-gap", self.state.kind()),
            _ => self.state.kind().to_owned(),
        }
    }

    /// Its name for people.
    pub fn title(self) -> &'static str {
        match (self.state, self.gap) {
            (State::Dynamic, true) => "dynamic only",
            (State::WeightOnly, true) => "weights only",
            _ => self.state.kind_title(),
        }
    }

    /// So many of them, in a list of numbers.
    pub fn counted(self, count: usize) -> String {
        let words = match self.state {
            State::FloatWithWarning => "float with a warning",
            State::NumericallyWrong => "numerically wrong",
            State::Fails(_) => "failing",
            State::Killed => "killed by a signal",
            State::TimesOut => "out of time",
            State::NoApi => "without API",
            _ => self.title(),
        };
        format!("{} {words}", calipers_inspect::number::count(count))
    }

    /// What it means, in a sentence.
    pub fn meaning(self) -> &'static str {
        match self.state {
            State::Quantized => "Integer weights and integer arithmetic, seen in what executed.",
            State::Dynamic if self.gap => {
                "The path promises scales that are fixed before, and the layer finds them at run time."
            }
            State::Dynamic => {
                "Integer weights; activations are quantized at run time, and products computed on integers."
            }
            State::WeightOnly if self.gap => {
                "The path promises integer arithmetic, and only the weights are quantized."
            }
            State::WeightOnly => "Weights are stored as integers or in half precision; arithmetic is float.",
            State::Partial { .. } => "Some of the layer's operators are quantized, the others are float.",
            State::NothingToQuantize => "The layer has no weights that this path sets out to quantize.",
            State::SilentlyFloat => "No error, no warning, and nothing of the layer is quantized.",
            State::FloatWithWarning => "Nothing of the layer is quantized, and a warning or the log says so.",
            State::NumericallyWrong => {
                "It runs, but is much further from float than its number formats explain, and the framework's own \
                 reference form, or another engine, is not."
            }
            State::Fails(_) => "An error at one of the stages build, prepare, calibrate, convert and run.",
            State::Killed => "The process was ended by a signal.",
            State::TimesOut => "It did not end within its time limit.",
            State::NoApi => "The framework, or the path, offers no way to ask for it.",
            State::NotInstalled => "The framework is not there; nothing was tried.",
        }
    }
}

/// The sign of an answer, and its word.
pub(super) fn answer(verdict: Option<Verdict>) -> (&'static str, &'static str) {
    match verdict {
        Some(Verdict::Yes) => ("✓", "yes"),
        Some(Verdict::Partly) => ("◐", "partly"),
        Some(Verdict::No) => ("✗", "no"),
        None => ("?", "no answer"),
    }
}

/// The sign of what became of a statement.
pub(super) fn today_sign(today: Today) -> &'static str {
    match today {
        Today::StillTrue => "●",
        Today::NoLonger => "○",
        Today::Changed => "◐",
        Today::NotProbed => "?",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Kind, MARK_WIDTH, mark};
    use crate::path::Scheme;
    use crate::state::State;

    #[test]
    fn every_cell_is_of_one_kind() {
        let kinds = Kind::all();
        for state in State::KINDS {
            for scheme in [Scheme::Static, Scheme::Dynamic, Scheme::WeightOnly] {
                let cell = Kind { state, gap: state.is_gap(scheme) };
                assert_eq!(kinds.iter().filter(|kind| kind.is_of(cell)).count(), 1, "{cell:?}");
            }
        }
        let words: BTreeSet<String> = kinds.iter().map(|kind| kind.word()).collect();
        let marks: BTreeSet<String> = kinds.iter().map(|kind| kind.mark()).collect();
        assert_eq!((words.len(), marks.len()), (kinds.len(), kinds.len()));
        assert!(marks.iter().all(|mark| mark.chars().count() <= MARK_WIDTH));
        assert_eq!(mark(State::Dynamic, true), "D!");
    }
}
