//! The evidence of every cell as the page's data: each text once, cells refer to it by its index.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use calipers_inspect::number::{percent, significant, three};
use calipers_workers::protocol::{Class, Operator, Role, StoredWeight};
use calipers_workers::worker::signal_title;
use serde::Serialize;

use crate::framework::Framework;
use crate::path::Scheme;
use crate::report::legend::Kind;
use crate::report::plain::{Keep, clipped, one_line};
use crate::report::summary::span;
use crate::report::{Cell, Report};

/// Bytes that the data may have, so that the page can be mailed and opened on a phone.
const BUDGET: usize = 4_500_000;
/// Characters of a log or a traceback, from the most generous to the least, until the budget is kept.
const LIMITS: [usize; 4] = [6000, 2500, 1000, 300];

/// What the page's program reads.
#[derive(Serialize)]
struct Data<'a> {
    strings: Vec<String>,
    operators: Vec<Row>,
    weights: Vec<[usize; 3]>,
    parts: Vec<String>,
    /// Framework to title, and to each package and its version.
    frameworks: BTreeMap<Framework, (&'static str, Vec<[&'a str; 2]>)>,
    cells: Vec<Entry>,
}

/// Indices of name, place, how it computes, its class as a word, types, kernel; and whether it has weights.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
struct Row(usize, usize, usize, usize, usize, usize, bool);

/// The evidence of one cell. All numbers are indices, but for the counts of operators.
#[derive(Serialize)]
struct Entry {
    key: String,
    framework: Framework,
    layer: usize,
    path: usize,
    mark: usize,
    kind: usize,
    gap: bool,
    state: usize,
    verdict: usize,
    reason: usize,
    facts: Vec<[usize; 2]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    error: Vec<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    operators: Vec<(usize, u64)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    weights: Vec<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kernels: Vec<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Vec<usize>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    log: Vec<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    traceback: Vec<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    script: Vec<usize>,
}

/// Values that occur often, each kept once.
struct Once<T> {
    places: HashMap<T, usize>,
    items: Vec<T>,
}

impl<T: Clone + Eq + Hash> Once<T> {
    fn new() -> Once<T> {
        Once { places: HashMap::new(), items: Vec::new() }
    }

    fn place(&mut self, item: T) -> usize {
        if let Some(&place) = self.places.get(&item) {
            return place;
        }
        self.items.push(item.clone());
        self.places.insert(item, self.items.len() - 1);
        self.items.len() - 1
    }
}

impl Once<String> {
    fn text(&mut self, text: &str) -> usize {
        match self.places.get(text) {
            Some(&place) => place,
            None => self.place(text.to_owned()),
        }
    }

    /// A text by its lines, which logs and tracebacks of many cells share.
    fn lines(&mut self, text: &str, most: usize, keep: Keep) -> Vec<usize> {
        clipped(text, most, keep).lines().map(|line| self.text(line)).collect()
    }
}

/// The data as JSON that can stand in a `<script>`: cells in the report's order, then controls.
pub(super) fn data(report: &Report, scripts: &dyn Fn(&Cell) -> Vec<String>) -> String {
    let mut json = String::new();
    for limit in LIMITS {
        json = within(report, scripts, limit);
        if json.len() <= BUDGET {
            break;
        }
    }
    json
}

fn within(report: &Report, scripts: &dyn Fn(&Cell) -> Vec<String>, limit: usize) -> String {
    let mut maker = Maker {
        strings: Once::new(),
        operators: Once::new(),
        weights: Once::new(),
        parts: Once::new(),
        layers: report.layers.iter().map(|it| (it.name.as_str(), it.title.as_str())).collect(),
        paths: report.paths.iter().map(|it| ((it.framework, it.name.as_str()), it)).collect(),
        limit,
    };
    let controls = report.controls.iter().map(|control| &control.cell);
    let cells: Vec<Entry> =
        report.cells.iter().chain(controls).map(|cell| maker.entry(cell, scripts(cell))).collect();
    let versions = |framework: Framework| {
        let packages = report.versions.get(&framework).into_iter().flatten();
        packages.map(|(name, version)| [name.as_str(), version.as_str()]).collect()
    };
    let data = Data {
        strings: maker.strings.items,
        operators: maker.operators.items,
        weights: maker.weights.items,
        parts: maker.parts.items,
        frameworks: Framework::ALL.into_iter().map(|it| (it, (it.title(), versions(it)))).collect(),
        cells,
    };
    // In JSON a `<` stands in texts alone; escaped, none can end the element or open a comment.
    let json = serde_json::to_string(&data).unwrap_or_else(|_| String::from("null"));
    json.replace('<', "\\u003c")
}

struct Maker<'a> {
    strings: Once<String>,
    operators: Once<Row>,
    weights: Once<[usize; 3]>,
    parts: Once<String>,
    layers: HashMap<&'a str, &'a str>,
    paths: HashMap<(Framework, &'a str), &'a crate::report::PathFacts>,
    limit: usize,
}

impl Maker<'_> {
    fn entry(&mut self, cell: &Cell, script: Vec<String>) -> Entry {
        let evidence = &cell.evidence;
        let kind = Kind::of(cell);
        let facts = self.paths.get(&(cell.framework, cell.path.as_str())).copied();
        let layer = self.layers.get(cell.layer.as_str()).copied().unwrap_or(&cell.layer);
        let path = facts.map_or(cell.path.as_str(), |facts| &facts.title);
        let limit = self.limit;
        Entry {
            key: cell.key(),
            framework: cell.framework,
            layer: self.strings.text(&one_line(layer, 200)),
            path: self.strings.text(&one_line(path, 200)),
            mark: self.strings.text(&kind.mark()),
            kind: self.strings.text(&kind.word()),
            gap: kind.gap,
            state: self.strings.text(&cell.state.to_string()),
            verdict: self.strings.text(&verdict(cell, facts.map(|facts| facts.scheme))),
            reason: self.strings.text(&clipped(&evidence.reason, limit, Keep::Start)),
            facts: numbers(cell)
                .into_iter()
                .map(|(label, value)| [self.strings.text(label), self.strings.text(&value)])
                .collect(),
            error: self.strings.lines(cell.error.as_deref().unwrap_or_default(), limit, Keep::Start),
            operators: evidence.operators.iter().map(|operator| self.operator(operator)).collect(),
            weights: evidence.weights.iter().map(|weight| self.weight(weight)).collect(),
            kernels: self.kernels(cell),
            warnings: evidence
                .warnings
                .iter()
                .map(|warning| self.strings.lines(warning, limit, Keep::Start))
                .collect(),
            log: self.strings.lines(&evidence.log, limit, Keep::End),
            traceback: self.strings.lines(
                evidence.traceback.as_deref().unwrap_or_default(),
                limit,
                Keep::End,
            ),
            script: script.into_iter().map(|part| self.parts.place(part)).collect(),
        }
    }

    fn operator(&mut self, operator: &Operator) -> (usize, u64) {
        let role = match operator.role {
            Role::Before => "before",
            Role::Layer => "layer",
            Role::After => "after",
        };
        let (class, word) = match operator.class {
            Class::Integer => ("integer", "integer"),
            Class::Dynamic => ("dynamic", "integer, dynamic scales"),
            Class::WeightOnly => ("weight-only", "float, stored weights"),
            Class::Float => ("float", "float"),
            Class::Convert => ("convert", "converts"),
            Class::Move => ("move", "moves"),
        };
        let types = format!("{} → {}", operator.inputs.join(", "), operator.outputs.join(", "));
        let row = Row(
            self.strings.text(&one_line(&operator.name, 200)),
            self.strings.text(role),
            self.strings.text(word),
            self.strings.text(class),
            self.strings.text(&one_line(&types, 300)),
            self.strings.text(&one_line(operator.kernel.as_deref().unwrap_or_default(), 200)),
            operator.weighted,
        );
        (self.operators.place(row), operator.count.unwrap_or(1))
    }

    fn weight(&mut self, weight: &StoredWeight) -> usize {
        let extents: Vec<String> = weight.shape.iter().map(u64::to_string).collect();
        let shape = if extents.is_empty() { String::from("scalar") } else { extents.join(" × ") };
        let row = [&weight.name, &weight.dtype, &shape].map(|text| self.strings.text(&one_line(text, 200)));
        self.weights.place(row)
    }

    /// The profiler's names, or why there are none.
    fn kernels(&mut self, cell: &Cell) -> Vec<usize> {
        let note = cell.evidence.kernels_note.iter().filter(|_| cell.evidence.kernels.is_empty());
        cell.evidence.kernels.iter().chain(note).map(|text| self.strings.text(&one_line(text, 300))).collect()
    }
}

/// The state held against the promise.
fn verdict(cell: &Cell, scheme: Option<Scheme>) -> String {
    let promise = match scheme {
        Some(Scheme::Static) => "this path promises integer arithmetic with scales that are fixed before",
        Some(Scheme::Dynamic) => "this path promises integer arithmetic with scales found at run time",
        Some(Scheme::WeightOnly) => "this path promises quantized weights alone",
        None => return String::new(),
    };
    format!("{}: {promise}", if cell.gap { "A gap" } else { "No gap" })
}

/// The numbers of a cell, by what they are.
fn numbers(cell: &Cell) -> Vec<(&'static str, String)> {
    let evidence = &cell.evidence;
    let of_range = |error: f64| match cell.float_range {
        Some(range) if range > 0.0 && (error / range).is_finite() => {
            format!("{} ({} % of the range)", three(error), percent(error / range))
        }
        _ => three(error),
    };
    let mut out = Vec::new();
    let mut push = |label: &'static str, value: Option<String>| {
        out.extend(value.map(|value| (label, value)));
    };
    push("Ended at", cell.stage.as_ref().map(|stage| one_line(stage, 40)));
    push("Signal", evidence.signal.map(signal_title));
    push("Largest error against float", cell.max_error.map(of_range));
    push("Range of the float outputs", cell.float_range.map(three));
    push("Reference form", evidence.reference.as_ref().map(|name| one_line(name, 200)));
    push("On the reference form", evidence.reference_note.as_ref().map(|note| one_line(note, 600)));
    push("Its largest error against float", evidence.reference_error.map(of_range));
    push("Quantized against reference form", evidence.reference_difference.map(of_range));
    push(
        "Native float model against the layer's definition",
        evidence.parity.map(|error| significant(error, 2)),
    );
    push("Time", Some(span(cell.seconds)));
    out
}

#[cfg(test)]
mod tests {
    use super::{BUDGET, data};
    use crate::report::tests::small;

    #[test]
    fn long_logs_do_not_make_a_long_page() {
        let mut report = small();
        let cell = report.cells[0].clone();
        report.cells = (0..3000)
            .map(|index| {
                let mut cell = cell.clone();
                cell.evidence.log = format!("{index} of its own kind ").repeat(800);
                cell
            })
            .collect();
        let json = data(&report, &|_| Vec::new());
        assert!(json.len() <= BUDGET, "{} bytes", json.len());
        assert!(json.contains("characters are left out here"));
    }
}
