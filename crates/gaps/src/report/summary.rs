//! What a run came to, in the sentences that all renderings share.

use std::collections::{BTreeMap, HashSet};

use calipers_inspect::number::count;

use crate::framework::Framework;
use crate::path::PATHS;
use crate::report::legend::Kind;
use crate::report::plain::{counted, listed, one_line};
use crate::report::{Capability, Cell, Changes, Control, ModelNeeds, Report};
use crate::state::State;

/// How a sentence is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Plain,
    Caution,
    Bad,
}

/// A finding in words.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sentence {
    pub tone: Tone,
    pub text: String,
}

impl Sentence {
    fn new(tone: Tone, text: String) -> Sentence {
        Sentence { tone, text }
    }
}

/// Cells counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tally {
    /// All of them.
    pub cells: usize,
    /// Those that are as their path promises.
    pub kept: usize,
    /// Those that are gaps.
    pub gaps: usize,
    /// Those whose framework is not there.
    pub not_installed: usize,
    /// The kinds that occur, gaps last, with their numbers.
    pub kinds: Vec<(Kind, usize)>,
}

/// Counts cells.
pub(super) fn tally<'a>(cells: impl Iterator<Item = &'a Cell>) -> Tally {
    let mut tally =
        Tally { kinds: Kind::all().into_iter().map(|kind| (kind, 0)).collect(), ..Tally::default() };
    for cell in cells {
        tally.cells += 1;
        match (cell.gap, cell.state) {
            (true, _) => tally.gaps += 1,
            (false, State::NotInstalled) => tally.not_installed += 1,
            (false, _) => tally.kept += 1,
        }
        if let Some((_, count)) = tally.kinds.iter_mut().find(|(kind, _)| kind.is_of(Kind::of(cell))) {
            *count += 1;
        }
    }
    tally.kinds.retain(|(_, count)| *count > 0);
    tally
}

impl Tally {
    /// `120 failing, 88 silently float`, the largest number first.
    pub fn gap_kinds(&self) -> String {
        let mut gaps: Vec<&(Kind, usize)> = self.kinds.iter().filter(|(kind, _)| kind.gap).collect();
        gaps.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let words: Vec<String> = gaps.iter().map(|(kind, count)| kind.counted(*count)).collect();
        words.join(", ")
    }
}

/// The frameworks of a run, in order.
pub(super) fn frameworks(report: &Report) -> Vec<Framework> {
    let has = |framework: &Framework| {
        report.paths.iter().any(|path| path.framework == *framework)
            || report.cells.iter().any(|cell| cell.framework == *framework)
    };
    Framework::ALL.into_iter().filter(has).collect()
}

/// What matters most.
pub(super) fn headline(report: &Report) -> Sentence {
    let failed: Vec<&Control> = report.controls.iter().filter(|control| !control.passed).collect();
    if !failed.is_empty() {
        let mut of: Vec<String> = failed.iter().map(|it| it.cell.framework.title().to_owned()).collect();
        of.dedup();
        let text = format!(
            "{} of {} failed: the verdicts on {} cannot be trusted",
            failed.len(),
            counted(report.controls.len(), "control", "controls"),
            listed(&of)
        );
        return Sentence::new(Tone::Bad, text);
    }
    let Tally { cells, kept, gaps, not_installed, .. } = tally(report.cells.iter());
    if cells == 0 {
        return Sentence::new(Tone::Caution, String::from("No cell was run"));
    }
    let mut text = format!(
        "{} in {} of {}; {} as promised",
        counted(gaps, "gap", "gaps"),
        counted(cells, "cell", "cells"),
        counted(frameworks(report).len(), "framework", "frameworks"),
        if kept == 1 { String::from("1 is") } else { format!("{} are", count(kept)) }
    );
    if not_installed > 0 {
        text.push_str(&format!(", {not_installed} not installed"));
    }
    Sentence::new(Tone::Plain, text)
}

/// The findings per framework, the controls, and what a reader must know of the run.
pub(super) fn sentences(report: &Report) -> Vec<Sentence> {
    let mut out: Vec<Sentence> = frameworks(report).into_iter().map(|it| of_framework(report, it)).collect();
    out.extend(controls(report));
    out.extend(scope(report));
    out
}

fn of_framework(report: &Report, framework: Framework) -> Sentence {
    let title = framework.title();
    let tally = tally(report.cells.iter().filter(|cell| cell.framework == framework));
    if tally.cells == tally.not_installed {
        let text = format!("{title} is not installed: nothing was tried");
        return Sentence::new(Tone::Caution, text);
    }
    let kept =
        format!("{title}: {} of {} as promised", count(tally.kept), counted(tally.cells, "cell", "cells"));
    if tally.gaps == 0 {
        return Sentence::new(Tone::Good, format!("{kept}, no gap"));
    }
    let text = format!("{kept}, {}: {}", counted(tally.gaps, "gap", "gaps"), tally.gap_kinds());
    Sentence::new(Tone::Plain, text)
}

/// Whether the detector found what it had to find.
pub(super) fn controls(report: &Report) -> Vec<Sentence> {
    if report.controls.is_empty() {
        let text = "No control was run, so nothing shows that the verdicts of this run can be trusted";
        return vec![Sentence::new(Tone::Caution, text.to_owned())];
    }
    let failed = report.controls.iter().filter(|control| !control.passed);
    let mut out: Vec<Sentence> =
        failed.map(|control| Sentence::new(Tone::Bad, control_failed(control))).collect();
    let passed = report.controls.len() - out.len();
    if out.is_empty() {
        let text = format!(
            "{} passed: the detector finds what is known to be quantized, float, wrong or dead",
            match passed {
                1 => String::from("The only control"),
                count => format!("All {count} controls"),
            }
        );
        out.push(Sentence::new(Tone::Good, text));
    }
    out
}

fn control_failed(control: &Control) -> String {
    let Control { cell, expected, .. } = control;
    let reason = one_line(&cell.evidence.reason, 160);
    let reason = if reason.is_empty() { reason } else { format!(" ({reason})") };
    format!(
        "CONTROL FAILED: {} must come out as \"{expected}\" and came out as \"{}\"{reason}",
        cell.key(),
        cell.state
    )
}

/// What of the matrix this run left out.
pub(super) fn scope(report: &Report) -> Vec<Sentence> {
    let mut out = Vec::new();
    let has = |flag: &str| {
        report
            .command
            .iter()
            .any(|word| word.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')))
    };
    if has("--quick") {
        out.push(Sentence::new(
            Tone::Caution,
            String::from(
                "This was a quick run: a documented subset of layers and paths, not the whole matrix",
            ),
        ));
    }
    let asked: Vec<String> = ["--framework", "--path", "--layer", "--model"]
        .into_iter()
        .filter(|flag| has(flag))
        .map(str::to_owned)
        .collect();
    if !asked.is_empty() {
        let text = format!("This run was for a part of the matrix, as {} asked", listed(&asked));
        out.push(Sentence::new(Tone::Plain, text));
    }
    let missing = not_run(report);
    if missing > 0 {
        let text = format!(
            "{} not run: this run was interrupted; the same command goes on with it",
            if missing == 1 { String::from("1 cell was") } else { format!("{missing} cells were") }
        );
        out.push(Sentence::new(Tone::Caution, text));
    }
    out
}

/// Whether the matrix has a cell of that layer on that path.
pub(super) fn belongs(framework: Framework, path: &str, layer: &str) -> bool {
    PATHS
        .iter()
        .find(|known| known.framework == framework && known.name == path)
        .is_none_or(|known| known.takes(layer))
}

/// How many cells of the run's layers and paths are not there.
fn not_run(report: &Report) -> usize {
    let there: HashSet<(Framework, &str, &str)> =
        report.cells.iter().map(|cell| (cell.framework, cell.path.as_str(), cell.layer.as_str())).collect();
    let all = report.paths.iter().flat_map(|path| report.layers.iter().map(move |layer| (path, layer)));
    all.filter(|(path, layer)| {
        belongs(path.framework, &path.name, &layer.name)
            && !there.contains(&(path.framework, path.name.as_str(), layer.name.as_str()))
    })
    .count()
}

/// What changed, in a sentence.
pub(super) fn change_line(changes: &Changes) -> String {
    let versions = match changes.versions.len() {
        0 => String::from("no version is different"),
        1 => String::from("1 version is different"),
        count => format!("{count} versions are different"),
    };
    format!(
        "Against {} of {}: {} closed, {} opened, {} of another state; {versions}",
        one_line(&changes.file.display().to_string(), 200),
        day(&changes.finished),
        counted(changes.closed.len(), "gap", "gaps"),
        changes.opened.len(),
        counted(changes.moved.len(), "cell", "cells"),
    )
}

/// The day of a time.
pub(super) fn day(time: &str) -> String {
    one_line(time.split('T').next().unwrap_or_default(), 40)
}

/// What one path makes of a model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ModelOnPath<'a> {
    /// Whose.
    pub framework: Framework,
    /// The path.
    pub path: &'a str,
    /// Layers of the model that are gaps on it.
    pub gaps: Vec<&'a Cell>,
    /// Layers of the model that were not tried on it.
    pub unknown: usize,
}

/// What each path makes of a model, the fewest gaps first.
pub(super) fn model_on_paths<'a>(report: &'a Report, needs: &ModelNeeds) -> Vec<ModelOnPath<'a>> {
    let mut by_path: BTreeMap<(Framework, &str), Vec<&Cell>> = BTreeMap::new();
    for cell in report.cells.iter().filter(|cell| needs.layers.contains_key(&cell.layer)) {
        by_path.entry((cell.framework, cell.path.as_str())).or_default().push(cell);
    }
    let mut out: Vec<ModelOnPath<'_>> = report
        .paths
        .iter()
        .map(|path| {
            let cells = by_path.remove(&(path.framework, path.name.as_str())).unwrap_or_default();
            let tried = cells.iter().filter(|cell| cell.state != State::NotInstalled).count();
            ModelOnPath {
                framework: path.framework,
                path: &path.name,
                gaps: cells.into_iter().filter(|cell| cell.gap).collect(),
                unknown: needs.layers.len() - tried.min(needs.layers.len()),
            }
        })
        .collect();
    out.sort_by_key(|path| path.gaps.len() + path.unknown);
    out
}

/// What a model comes to, in a sentence.
pub(super) fn model_line(report: &Report, needs: &ModelNeeds) -> Sentence {
    let file = one_line(&needs.file.display().to_string(), 200);
    let layers = counted(needs.layers.len(), "kind of layer", "kinds of layers");
    let whole: Vec<String> = model_on_paths(report, needs)
        .iter()
        .filter(|path| path.gaps.is_empty() && path.unknown == 0)
        .map(|path| format!("{}/{}", path.framework, path.path))
        .collect();
    let mut text = format!("{file} needs {layers}");
    let tone = if whole.is_empty() {
        text.push_str("; no path of this run takes all of them as it promises");
        Tone::Caution
    } else {
        text.push_str(&format!("; all of them go through on {}", listed(&whole)));
        Tone::Good
    };
    if needs.not_probed.is_empty() {
        return Sentence::new(tone, text);
    }
    let operators: Vec<String> = needs.not_probed.keys().map(|name| one_line(name, 60)).collect();
    text.push_str(&format!(". No layer of the matrix stands for {}", listed(&operators)));
    Sentence::new(Tone::Caution, text)
}

/// The command line, as a shell takes it.
pub(super) fn command(report: &Report) -> String {
    let word = |word: &String| {
        let plain =
            !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=,:@%+".contains(c));
        if plain { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    let words: Vec<String> = report.command.iter().map(word).collect();
    one_line(&words.join(" "), 4000)
}

/// Framework to its versions in a line each.
pub(super) fn versions(report: &Report) -> Vec<(Framework, String)> {
    let line = |packages: &BTreeMap<String, String>| {
        let words: Vec<String> = packages
            .iter()
            .map(|(name, version)| format!("{} {}", one_line(name, 80), one_line(version, 120)))
            .collect();
        words.join(", ")
    };
    report.versions.iter().map(|(framework, packages)| (*framework, line(packages))).collect()
}

/// A span of time, `1 h 4 min`, `3 min 20 s`, `4.2 s`.
pub(super) fn span(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return calipers_inspect::number::MISSING.to_owned();
    }
    let whole = seconds.round() as u64;
    match whole {
        3600.. => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        60.. => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{seconds:.1} s"),
    }
}

/// The questions of a run, each with the answers of those frameworks, in their order.
pub(super) fn questions<'r>(
    report: &'r Report,
    frameworks: &[Framework],
) -> Vec<(&'r Capability, Vec<Option<&'r Capability>>)> {
    let mut questions: Vec<(&Capability, Vec<Option<&Capability>>)> = Vec::new();
    for capability in &report.capabilities {
        if questions.iter().any(|(asked, _)| asked.name == capability.name) {
            continue;
        }
        let same = |framework: &Framework| {
            let mut all = report.capabilities.iter();
            all.find(|it| it.framework == *framework && it.name == capability.name)
        };
        questions.push((capability, frameworks.iter().map(same).collect()));
    }
    questions
}
