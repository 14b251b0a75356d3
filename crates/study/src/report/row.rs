//! Rows of the comparison: one for each framework, path, tuning, variant and origin of weights, over all seeds.

use calipers_inspect::number::{self, MISSING};
use calipers_inspect::statistics::wilson;

use crate::cell::{Cell, Framework, Origin, Tuning, Variant};
use crate::report::{
    Accuracy, AgainstFloat, CellReport, Gates, LatencyMetrics, Memory, Metrics, Report, Status,
};
use crate::statistics::{Interval, mcnemar};

/// p-value below which a difference is taken for more than chance.
const SIGNIFICANT: f64 = 0.05;

/// A number with what is known of its spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    /// The number, or the mean over seeds.
    pub value: f64,
    /// How far it may be off.
    pub spread: Spread,
}

/// How far a number may be off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Spread {
    /// Not known.
    Unknown,
    /// Ends of the 95 % interval.
    Interval(f64, f64),
    /// Standard deviation over seeds.
    Deviation(f64),
}

impl Estimate {
    /// The spread as it stands behind the number: `[low, high]`, `± deviation`, or nothing.
    pub fn spread_text(&self, write: impl Fn(f64) -> String) -> String {
        match self.spread {
            Spread::Unknown => String::new(),
            Spread::Interval(low, high) => format!("[{}, {}]", write(low), write(high)),
            Spread::Deviation(deviation) => format!("± {}", write(deviation).trim_start_matches('+')),
        }
    }

    /// `value [low, high]`, or `value ± deviation`.
    pub fn text(&self, write: impl Fn(f64) -> String) -> String {
        let spread = self.spread_text(&write);
        let gap = if spread.is_empty() { "" } else { " " };
        format!("{}{gap}{spread}", write(self.value))
    }

    /// The lower and the upper end, where they are known.
    pub fn ends(&self) -> Option<(f64, f64)> {
        match self.spread {
            Spread::Unknown => None,
            Spread::Interval(low, high) => Some((low, high)),
            Spread::Deviation(deviation) => Some((self.value - deviation, self.value + deviation)),
        }
    }

    /// The same in another unit.
    pub fn times(self, factor: f64) -> Estimate {
        let spread = match self.spread {
            Spread::Unknown => Spread::Unknown,
            Spread::Interval(low, high) => Spread::Interval(factor * low, factor * high),
            Spread::Deviation(deviation) => Spread::Deviation(factor * deviation),
        };
        Estimate { value: factor * self.value, spread }
    }
}

/// The text of an estimate, or a dash.
pub(super) fn text(estimate: Option<Estimate>, write: impl Fn(f64) -> String) -> String {
    estimate.map_or_else(|| MISSING.to_owned(), |estimate| estimate.text(write))
}

/// The number of an estimate without its spread, or a dash.
pub(super) fn plain(estimate: Option<Estimate>, write: impl Fn(f64) -> String) -> String {
    estimate.map_or_else(|| MISSING.to_owned(), |estimate| write(estimate.value))
}

/// A difference of shares in points, with its sign.
pub(super) fn points(share: f64) -> String {
    let text = number::fixed(100.0 * share, 2);
    if share > 0.0 { format!("+{text}") } else { text }
}

/// A p-value: four decimals are enough.
pub(super) fn probability(p: f64) -> String {
    if p < 1e-4 { String::from("< 0.0001") } else { number::fixed(p, 4) }
}

/// Bytes in MiB, as people read them.
pub(super) fn mebibytes(bytes: f64) -> String {
    number::three(number::mebibytes(bytes))
}

/// One framework, path, tuning, variant and origin of weights.
#[derive(Clone, Debug)]
pub(super) struct Row<'a> {
    pub framework: Framework,
    pub variant: Variant,
    pub weights: Origin,
    /// Its cells, one for each seed.
    pub cells: Vec<&'a CellReport>,
    /// Whether its numbers are withheld because a gate failed.
    pub withheld: bool,
}

/// The rows of a report, in its order.
pub(super) fn rows(report: &Report) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for cell in &report.cells {
        match rows.iter_mut().find(|row| row.holds(&cell.cell)) {
            Some(row) => row.cells.push(cell),
            None => {
                let Cell { framework, variant, weights, .. } = cell.cell;
                let withheld = is_withheld(&report.gates, &cell.cell);
                rows.push(Row { framework, variant, weights, cells: vec![cell], withheld });
            }
        }
    }
    rows
}

/// The rows that were measured with every seed and may be shown: those that may be called the best of anything.
pub(super) fn complete(report: &Report) -> Vec<Row<'_>> {
    rows(report).into_iter().filter(|row| row.status() == Status::Ok && !row.withheld).collect()
}

/// The rows whose weights their framework trained, and those of no other.
pub(super) fn own<'a>(rows: &[Row<'a>]) -> Vec<Row<'a>> {
    rows.iter().filter(|row| row.weights == Origin::Own).cloned().collect()
}

/// The rows of one set of weights, which the lender's own are too; what was trained on from there, in float or in 8 bit,
/// is another set, and not among them.
pub(super) fn shared<'a>(report: &Report, rows: &[Row<'a>]) -> Vec<Row<'a>> {
    let lender = report.study.lender();
    let is_of_it = |row: &&Row<'_>| match row.variant {
        Variant::FloatFinetuned => false,
        Variant::Qat => row.weights == Origin::Shared,
        Variant::Float | Variant::PtqStatic | Variant::PtqDynamic | Variant::WeightOnly => {
            row.weights == Origin::Shared || Some(row.framework) == lender
        }
    };
    rows.iter().filter(is_of_it).cloned().collect()
}

/// The row whose times a row has: its own; where a framework's cells on borrowed weights are not timed, those of the same
/// cells on its own weights, which run the same operators on other numbers.
pub(super) fn timed<'r, 'a>(all: &'r [Row<'a>], row: &'r Row<'a>) -> &'r Row<'a> {
    let what = |row: &Row<'a>| (row.framework, row.path(), row.is_tuned(), row.variant);
    let is_twin = |other: &&Row<'a>| other.weights == Origin::Own && what(other) == what(row);
    if row.latency().is_some() { row } else { all.iter().find(is_twin).unwrap_or(row) }
}

/// Which rows have the times of others by [`timed`], in a sentence.
pub(super) fn untimed(all: &[Row<'_>]) -> Option<String> {
    let has_others = |row: &Row<'_>| timed(all, row).weights != row.weights;
    let names: Vec<&str> = Framework::ALL
        .into_iter()
        .filter(|framework| all.iter().any(|row| row.framework == *framework && has_others(row)))
        .map(Framework::title)
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "The cells of {} on shared weights are not timed: the times of the same cells on its own weights, which run the same \
             operators on other numbers, stand for them.",
            names.join(" and ")
        )
    })
}

/// The rows that the paper had: of the frameworks that train their own weights, and of all others.
pub(super) fn as_in_the_paper<'a>(report: &Report, rows: &[Row<'a>]) -> Vec<Row<'a>> {
    let trains = |framework: Framework| report.study.lender().is_some() && framework.trains();
    rows.iter().filter(|row| row.weights == Origin::Own || !trains(row.framework)).cloned().collect()
}

/// Rows by framework, those of borrowed weights apart where a framework has both, each with a title.
pub(super) fn groups<'a>(rows: &[Row<'a>]) -> Vec<(String, Vec<Row<'a>>)> {
    let mut groups = Vec::new();
    for framework in Framework::ALL {
        let of = |weights| -> Vec<Row<'a>> {
            let mine = rows.iter().filter(|row| row.framework == framework && row.weights == weights);
            mine.cloned().collect()
        };
        let (own, shared) = (of(Origin::Own), of(Origin::Shared));
        let apart = if own.is_empty() { "" } else { ", shared weights" };
        for (rows, apart) in [(own, ""), (shared, apart)] {
            if !rows.is_empty() {
                groups.push((format!("{}{apart}", framework.title()), rows));
            }
        }
    }
    groups
}

/// Whether accuracies mean something: untrained weights decide by chance.
pub(super) fn is_trained(report: &Report) -> bool {
    report.data.has_labels && (report.study.lender().is_some() || report.study.model.is_file())
}

/// Whether a variant changes what numbers are stored in.
pub(super) fn is_quantized(variant: Variant) -> bool {
    match variant {
        Variant::Float | Variant::FloatFinetuned => false,
        Variant::PtqStatic | Variant::PtqDynamic | Variant::WeightOnly | Variant::Qat => true,
    }
}

/// The float model that numbers are held against, which [`Cell::float_cells`] chooses.
pub(super) const FLOAT_MODEL: &str = "the float model of the same framework and weights that runs as it does (LiteRT's beside \
     what LiteRT runs, Inductor's beside pt2e; where there is none, that of the framework's first path)";

/// Whether a failed gate forbids to show a cell's numbers.
pub(super) fn is_withheld(gates: &Gates, cell: &Cell) -> bool {
    is_quantized(cell.variant) && withholds(gates, cell.framework)
}

/// Whether the gates forbid to show the quantized rows of a framework: all do when any difference is too large, and
/// its own when it has nothing to compare.
fn withholds(gates: &Gates, framework: Framework) -> bool {
    let parity =
        gates.parity.iter().filter(|gate| !gate.passed).map(|gate| (gate.framework, gate.error.is_some()));
    let steps =
        gates.steps.iter().filter(|gate| !gate.passed).map(|gate| (gate.framework, gate.error.is_some()));
    parity.chain(steps).any(|(of, nothing_to_compare)| !nothing_to_compare || of == framework)
}

impl<'a> Row<'a> {
    fn cell(&self) -> &'a Cell {
        &self.cells[0].cell
    }

    /// Whether a cell is one of its own, of whatever seed.
    pub fn holds(&self, cell: &Cell) -> bool {
        *self.cell() == Cell { seed: self.cell().seed, ..cell.clone() }
    }

    pub fn path(&self) -> &'a str {
        &self.cell().path
    }

    pub fn is_tuned(&self) -> bool {
        self.cell().tuning == Tuning::Tuned
    }

    pub fn is_on_gpu(&self) -> bool {
        self.cell().is_on_gpu()
    }

    /// Path, variant and tuning, such as `fx ptq-static tuned`.
    pub fn name(&self) -> String {
        self.cell().name()
    }

    /// Framework, path, variant and tuning, such as `PyTorch fx ptq-static tuned`.
    pub fn full_name(&self) -> String {
        format!("{} {}", self.framework.title(), self.name())
    }

    /// The full name, and whose weights where that is not clear without it.
    pub fn distinct_name(&self, report: &Report) -> String {
        let borrows = self.framework.trains() && self.weights == Origin::Shared;
        let shared = if borrows && report.study.lender().is_some() { " on shared weights" } else { "" };
        format!("{}{shared}", self.full_name())
    }

    /// Place of its details in the page.
    pub fn anchor(&self) -> String {
        let folder = self.cell().folder();
        let (name, _) = folder.rsplit_once('/').unwrap_or((&folder, ""));
        format!("cell-{}", name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"))
    }

    /// Failed when a seed failed, skipped when one was skipped.
    pub fn status(&self) -> Status {
        let any = |status| self.cells.iter().any(|cell| cell.status == status);
        if any(Status::Failed) {
            Status::Failed
        } else if any(Status::Skipped) {
            Status::Skipped
        } else {
            Status::Ok
        }
    }

    /// The status in a word.
    pub fn status_name(&self) -> &'static str {
        match (self.status(), self.withheld) {
            (Status::Failed, _) => "failed",
            (Status::Skipped, _) => "skipped",
            (Status::Ok, true) => "withheld",
            (Status::Ok, false) => "ok",
        }
    }

    /// Top-1 accuracy, a share of 1.
    pub fn accuracy(&self) -> Option<Estimate> {
        self.interval(|metrics| metrics.accuracy.map(|accuracy| accuracy.share))
    }

    /// Top-1 accuracy, the mean over seeds, with Wilson's interval of as many samples as one seed has: all seeds decide on
    /// the same test split.
    pub fn mean_accuracy(&self) -> Option<Interval> {
        let found: Vec<Accuracy> = self.metrics().filter_map(|metrics| metrics.accuracy).collect();
        let seeds = found.len();
        let correct: usize = found.iter().map(|accuracy| accuracy.correct).sum();
        let total: usize = found.iter().map(|accuracy| accuracy.total).sum();
        (total > 0).then(|| Interval {
            value: correct as f64 / total as f64,
            ..wilson((correct + seeds / 2) / seeds, total / seeds)
        })
    }

    /// Decisions against float, of each seed.
    pub fn against_float(&self) -> impl Iterator<Item = AgainstFloat> {
        self.metrics().filter_map(|metrics| metrics.against_float)
    }

    /// Share of equal decisions with float.
    pub fn agreement(&self) -> Option<Estimate> {
        self.number(|metrics| metrics.against_float.map(|against| against.agreement))
    }

    /// Accuracy less that of float.
    pub fn difference(&self) -> Option<Estimate> {
        self.interval(|metrics| metrics.against_float.and_then(|against| against.difference))
    }

    /// p-value of McNemar's exact test on the samples that all seeds together gained and lost; `None` without labels.
    pub fn probability_of_chance(&self) -> Option<f64> {
        self.moved().map(|(gained, lost)| mcnemar(gained, lost))
    }

    /// Which way accuracy goes from float to here, where chance alone would take it as far in fewer than one of twenty.
    pub fn direction(&self) -> Option<std::cmp::Ordering> {
        let (gained, lost) = self.moved()?;
        (mcnemar(gained, lost) < SIGNIFICANT).then(|| gained.cmp(&lost))
    }

    /// Samples gained and lost against float, of all seeds together.
    fn moved(&self) -> Option<(usize, usize)> {
        self.against_float()
            .filter_map(|against| Some((against.gained?, against.lost?)))
            .reduce(|a, b| (a.0 + b.0, a.1 + b.1))
    }

    /// p-values of McNemar's test, of each seed.
    pub fn mcnemar(&self) -> String {
        let found: Vec<String> =
            self.against_float().filter_map(|against| against.mcnemar).map(probability).collect();
        if found.is_empty() { MISSING.to_owned() } else { found.join(", ") }
    }

    /// Bytes of the deployed file.
    pub fn file_bytes(&self) -> Option<Estimate> {
        self.number(|metrics| metrics.file_bytes.map(|bytes| bytes as f64))
    }

    /// Seconds of a training epoch.
    pub fn seconds_per_epoch(&self) -> Option<Estimate> {
        self.number(|metrics| metrics.training.as_ref().map(|training| training.seconds_per_epoch))
    }

    /// Time of a QAT step over that of a float step.
    pub fn overhead(&self) -> Option<Estimate> {
        self.interval(|metrics| metrics.training.as_ref().and_then(|training| training.overhead))
    }

    /// Samples a second while calibrating.
    pub fn calibration_rate(&self) -> Option<Estimate> {
        self.number(|metrics| metrics.calibration?.samples_per_second())
    }

    /// Seconds of post-training quantization: prepare, calibrate and convert.
    pub fn calibration(&self) -> Option<Estimate> {
        self.number(|metrics| Some(metrics.calibration?.seconds()))
    }

    /// Latency of the seed that was timed.
    pub fn latency(&self) -> Option<&'a LatencyMetrics> {
        self.metrics().find_map(|metrics| metrics.latency.as_ref()).filter(|latency| latency.p50.is_finite())
    }

    /// Median milliseconds of an inference at batch 1.
    pub fn milliseconds(&self) -> Option<Estimate> {
        let latency = self.latency()?;
        Some(Estimate { value: latency.p50, spread: Spread::Unknown })
    }

    /// Time over that of its float cell, at batch 1.
    pub fn to_float(&self) -> Option<Estimate> {
        self.interval(|metrics| metrics.latency.as_ref().and_then(|latency| latency.to_float))
    }

    /// Samples a second at the larger batch.
    pub fn throughput(&self) -> Option<Estimate> {
        self.number(|metrics| metrics.throughput.map(|throughput| throughput.samples_per_second))
    }

    /// Time over that of its float cell, at the larger batch.
    pub fn throughput_to_float(&self) -> Option<Estimate> {
        self.interval(|metrics| metrics.throughput.and_then(|throughput| throughput.to_float))
    }

    /// Seconds from a new process to its first inference.
    pub fn first_inference(&self) -> Option<Estimate> {
        self.number(|metrics| metrics.start.map(|start| start.first_inference_seconds))
    }

    /// Most bytes above idle: while it trained, while it was quantized, while it ran.
    pub fn memory(&self) -> [Option<Estimate>; 3] {
        let above = |memory: Option<Memory>| memory.map(|memory| memory.above_idle() as f64);
        [
            self.number(|metrics| above(metrics.training.as_ref()?.memory)),
            self.number(|metrics| above(metrics.calibration?.memory)),
            self.number(|metrics| above(metrics.start?.memory)),
        ]
    }

    /// Share of multiply-accumulates that are done in 8 bit.
    pub fn integer_macs(&self) -> Option<Estimate> {
        self.number(|metrics| metrics.integer.map(|shares| shares.macs))
    }

    /// Whether at least half of its multiply-accumulates are done in 8 bit.
    pub fn is_mostly_8_bit(&self) -> bool {
        self.integer_macs().is_some_and(|share| share.value >= 0.5)
    }

    /// The metrics that may be shown.
    pub fn metrics(&self) -> impl Iterator<Item = &'a Metrics> {
        let shown: Vec<&'a CellReport> = if self.withheld { Vec::new() } else { self.cells.clone() };
        shown.into_iter().filter(|cell| cell.status == Status::Ok).map(|cell| &cell.metrics)
    }

    /// A number of each seed as one.
    pub fn number(&self, get: impl Fn(&Metrics) -> Option<f64>) -> Option<Estimate> {
        over_seeds(self.metrics().filter_map(get).filter(|value| value.is_finite()).collect())
    }

    /// An interval of each seed as one.
    pub fn interval(&self, get: impl Fn(&Metrics) -> Option<Interval>) -> Option<Estimate> {
        let finite =
            |found: &Interval| found.value.is_finite() && found.low.is_finite() && found.high.is_finite();
        let found: Vec<Interval> = self.metrics().filter_map(get).filter(finite).collect();
        if let [only] = found[..] {
            return Some(Estimate { value: only.value, spread: Spread::Interval(only.low, only.high) });
        }
        over_seeds(found.iter().map(|interval| interval.value).collect())
    }
}

fn over_seeds(values: Vec<f64>) -> Option<Estimate> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    match values.len() {
        0 => None,
        1 => Some(Estimate { value: mean, spread: Spread::Unknown }),
        _ => {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            Some(Estimate { value: mean, spread: Spread::Deviation((squares / (n - 1.0)).sqrt()) })
        }
    }
}
