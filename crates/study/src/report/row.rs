//! Rows of the comparison: one for each framework, path and variant, over all seeds.

use calipers_inspect::number::{self, MISSING};

use crate::cell::{Framework, Variant, variant_name};
use crate::report::{CellReport, Gates, Metrics, Report, Status};
use crate::statistics::Interval;

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
    /// `value [low, high]`, or `value ± deviation`.
    pub fn text(&self, write: impl Fn(f64) -> String) -> String {
        match self.spread {
            Spread::Unknown => write(self.value),
            Spread::Interval(low, high) => format!("{} [{}, {}]", write(self.value), write(low), write(high)),
            Spread::Deviation(deviation) => format!("{} ± {}", write(self.value), write(deviation)),
        }
    }

    /// The lower and the upper end, where they are known.
    pub fn ends(&self) -> Option<(f64, f64)> {
        match self.spread {
            Spread::Unknown => None,
            Spread::Interval(low, high) => Some((low, high)),
            Spread::Deviation(deviation) => Some((self.value - deviation, self.value + deviation)),
        }
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

/// One framework, path and variant.
#[derive(Clone, Debug)]
pub(super) struct Row<'a> {
    pub framework: Framework,
    pub path: &'a str,
    pub variant: Variant,
    /// Its cells, one for each seed.
    pub cells: Vec<&'a CellReport>,
    /// Whether its numbers are withheld because a gate failed.
    pub withheld: bool,
}

/// The rows of a report, in its order.
pub(super) fn rows(report: &Report) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for cell in &report.cells {
        let (framework, path, variant) = (cell.cell.framework, cell.cell.path.as_str(), cell.cell.variant);
        let same = |row: &&mut Row<'_>| (row.framework, row.path, row.variant) == (framework, path, variant);
        match rows.iter_mut().find(same) {
            Some(row) => row.cells.push(cell),
            None => {
                let withheld = is_quantized(variant) && withholds(&report.gates, framework);
                rows.push(Row { framework, path, variant, cells: vec![cell], withheld });
            }
        }
    }
    rows
}

/// Whether a variant runs in 8 bit.
pub(super) fn is_quantized(variant: Variant) -> bool {
    match variant {
        Variant::Float | Variant::FloatFinetuned => false,
        Variant::PtqStatic | Variant::Qat => true,
    }
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
    /// Path and variant, such as `fx ptq-static`.
    pub fn name(&self) -> String {
        format!("{} {}", self.path, variant_name(self.variant))
    }

    /// Framework, path and variant, such as `PyTorch fx ptq-static`.
    pub fn full_name(&self) -> String {
        format!("{} {}", self.framework.title(), self.name())
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

    /// Share of equal decisions with float.
    pub fn agreement(&self) -> Option<Estimate> {
        self.number(|metrics| metrics.agreement_with_float)
    }

    /// Deployed file in MiB.
    pub fn mebibytes(&self) -> Option<Estimate> {
        self.number(|metrics| metrics.file_bytes.map(|bytes| number::mebibytes(bytes as f64)))
    }

    /// Seconds of a training step.
    pub fn seconds_per_step(&self) -> Option<Estimate> {
        self.number(|metrics| metrics.training.as_ref().map(|training| training.seconds_per_step))
    }

    /// Seconds of a training epoch.
    pub fn seconds_per_epoch(&self) -> Option<Estimate> {
        self.number(|metrics| metrics.training.as_ref().map(|training| training.seconds_per_epoch))
    }

    /// Time of a QAT step over that of a float step.
    pub fn overhead(&self) -> Option<Estimate> {
        self.interval(|metrics| metrics.training.as_ref().and_then(|training| training.overhead))
    }

    /// Seconds of post-training quantization: prepare, calibrate and convert.
    pub fn calibration(&self) -> Option<Estimate> {
        self.number(|metrics| {
            let parts = metrics.calibration?;
            Some(parts.prepare_seconds + parts.calibrate_seconds + parts.convert_seconds)
        })
    }

    /// Median, 90th and 99th percentile of an inference in milliseconds.
    pub fn latency(&self) -> Option<(Estimate, Estimate, Estimate)> {
        let p50 = self.number(|metrics| metrics.latency.map(|latency| latency.p50))?;
        let p90 = self.number(|metrics| metrics.latency.map(|latency| latency.p90))?;
        let p99 = self.number(|metrics| metrics.latency.map(|latency| latency.p99))?;
        Some((p50, p90, p99))
    }

    /// Time over that of the framework's float cell.
    pub fn to_float(&self) -> Option<Estimate> {
        self.interval(|metrics| metrics.latency.and_then(|latency| latency.to_float))
    }

    /// The metrics that may be shown.
    pub fn metrics(&self) -> impl Iterator<Item = &'a Metrics> {
        let shown = if self.withheld { &[][..] } else { &self.cells[..] };
        shown.iter().filter(|cell| cell.status == Status::Ok).map(|cell| &cell.metrics)
    }

    fn number(&self, get: impl Fn(&Metrics) -> Option<f64>) -> Option<Estimate> {
        over_seeds(self.metrics().filter_map(get).filter(|value| value.is_finite()).collect())
    }

    fn interval(&self, get: impl Fn(&Metrics) -> Option<Interval>) -> Option<Estimate> {
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
