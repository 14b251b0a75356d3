//! The cells as CSV (RFC 4180): one line for each, one column for each number, unrounded.

use crate::cell::{Origin, tuning_name, variant_name};
use crate::report::row::is_withheld;
use crate::report::{CellReport, Metrics, Report, Status};
use crate::statistics::Interval;

/// A column: its name, and its value of a cell; empty where there is none.
type Column = (&'static str, fn(&CellReport) -> String);

/// All columns, in their order; `docs/report.md` tells what they are.
pub(super) const COLUMNS: &[Column] = &[
    ("framework", |cell| cell.cell.framework.name().to_owned()),
    ("path", |cell| cell.cell.path.clone()),
    ("tuning", |cell| tuning_name(cell.cell.tuning).to_owned()),
    ("variant", |cell| variant_name(cell.cell.variant).to_owned()),
    ("weights", |cell| if cell.cell.weights == Origin::Own { "own" } else { "shared" }.to_owned()),
    ("seed", |cell| cell.cell.seed.to_string()),
    ("status", |cell| {
        match cell.status {
            Status::Ok => "ok",
            Status::Failed => "failed",
            Status::Skipped => "skipped",
        }
        .to_owned()
    }),
    ("accuracy", |cell| of(cell, |it| Some(it.accuracy?.share.value))),
    ("accuracy_low", |cell| of(cell, |it| Some(it.accuracy?.share.low))),
    ("accuracy_high", |cell| of(cell, |it| Some(it.accuracy?.share.high))),
    ("correct", |cell| of(cell, |it| Some(it.accuracy?.correct as f64))),
    ("test_samples", |cell| of(cell, |it| Some(it.accuracy?.total as f64))),
    ("agreement_with_float", |cell| of(cell, |it| Some(it.against_float?.agreement))),
    ("gained", |cell| of(cell, |it| Some(it.against_float?.gained? as f64))),
    ("lost", |cell| of(cell, |it| Some(it.against_float?.lost? as f64))),
    ("difference", |cell| of(cell, |it| Some(it.against_float?.difference?.value))),
    ("difference_low", |cell| of(cell, |it| Some(it.against_float?.difference?.low))),
    ("difference_high", |cell| of(cell, |it| Some(it.against_float?.difference?.high))),
    ("mcnemar_p", |cell| of(cell, |it| it.against_float?.mcnemar)),
    ("file_bytes", |cell| of(cell, |it| Some(it.file_bytes? as f64))),
    ("weight_bytes", |cell| of(cell, |it| Some(it.weight_bytes? as f64))),
    ("stored_weights_8bit", |cell| of(cell, |it| Some(it.integer?.stored_weights))),
    ("weights_8bit", |cell| of(cell, |it| Some(it.integer?.weights))),
    ("macs_8bit", |cell| of(cell, |it| Some(it.integer?.macs))),
    ("macs", |cell| of(cell, |it| Some(it.integer?.all_macs as f64))),
    ("epochs", |cell| of(cell, |it| Some(it.training.as_ref()?.epochs as f64))),
    ("seconds_per_step", |cell| of(cell, |it| Some(it.training.as_ref()?.seconds_per_step))),
    ("seconds_per_epoch", |cell| of(cell, |it| Some(it.training.as_ref()?.seconds_per_epoch))),
    ("training_seconds", |cell| of(cell, |it| Some(it.training.as_ref()?.seconds))),
    ("final_loss", |cell| of(cell, |it| Some(it.training.as_ref()?.final_loss))),
    ("qat_overhead", |cell| of(cell, |it| Some(it.training.as_ref()?.overhead?.value))),
    ("qat_overhead_low", |cell| of(cell, |it| Some(it.training.as_ref()?.overhead?.low))),
    ("qat_overhead_high", |cell| of(cell, |it| Some(it.training.as_ref()?.overhead?.high))),
    ("training_memory_bytes", |cell| of(cell, |it| Some(it.training.as_ref()?.memory?.above_idle() as f64))),
    ("calibration_samples", |cell| of(cell, |it| Some(it.calibration?.samples as f64))),
    ("prepare_seconds", |cell| of(cell, |it| Some(it.calibration?.prepare_seconds))),
    ("calibrate_seconds", |cell| of(cell, |it| Some(it.calibration?.calibrate_seconds))),
    ("calibration_samples_per_second", |cell| of(cell, |it| it.calibration?.samples_per_second())),
    ("quantize_seconds", |cell| of(cell, |it| Some(it.calibration?.convert_seconds))),
    ("quantizing_memory_bytes", |cell| of(cell, |it| Some(it.calibration?.memory?.above_idle() as f64))),
    ("convert_seconds", |cell| of(cell, |it| it.convert_seconds)),
    ("import_seconds", |cell| of(cell, |it| Some(it.start?.import_seconds))),
    ("first_inference_seconds", |cell| of(cell, |it| Some(it.start?.first_inference_seconds))),
    ("running_memory_bytes", |cell| of(cell, |it| Some(it.start?.memory?.above_idle() as f64))),
    ("latency_p50_ms", |cell| of(cell, |it| Some(it.latency.as_ref()?.p50))),
    ("latency_p90_ms", |cell| of(cell, |it| Some(it.latency.as_ref()?.p90))),
    ("latency_p99_ms", |cell| of(cell, |it| Some(it.latency.as_ref()?.p99))),
    ("inferences", |cell| of(cell, |it| Some(it.latency.as_ref()?.inferences as f64))),
    ("cores_busy", |cell| of(cell, |it| it.latency.as_ref()?.cores)),
    ("latency_to_float", |cell| of(cell, |it| Some(to_float(it)?.value))),
    ("latency_to_float_low", |cell| of(cell, |it| Some(to_float(it)?.low))),
    ("latency_to_float_high", |cell| of(cell, |it| Some(to_float(it)?.high))),
    ("batch", |cell| of(cell, |it| Some(it.throughput?.batch as f64))),
    ("samples_per_second", |cell| of(cell, |it| Some(it.throughput?.samples_per_second))),
    ("batch_to_float", |cell| of(cell, |it| Some(it.throughput?.to_float?.value))),
    ("batch_to_float_low", |cell| of(cell, |it| Some(it.throughput?.to_float?.low))),
    ("batch_to_float_high", |cell| of(cell, |it| Some(it.throughput?.to_float?.high))),
    ("profiled_ms", |cell| of(cell, |it| Some(it.profile.as_ref()?.wall_nanoseconds / 1e6))),
    ("profile_residual_ms", |cell| of(cell, |it| Some(it.profile.as_ref()?.residual_nanoseconds() / 1e6))),
    ("file", |cell| cell.artefact.as_ref().map_or_else(String::new, |artefact| artefact.file.clone())),
    ("error_stage", |cell| cell.error.as_ref().and_then(|error| error.stage.clone()).unwrap_or_default()),
    ("error", |cell| cell.error.as_ref().map_or_else(String::new, |error| error.message.clone())),
];

fn to_float(metrics: &Metrics) -> Option<Interval> {
    metrics.latency.as_ref()?.to_float
}

fn of(cell: &CellReport, get: impl Fn(&Metrics) -> Option<f64>) -> String {
    get(&cell.metrics).filter(|value| value.is_finite()).map_or_else(String::new, |value| value.to_string())
}

/// The cells as CSV with a line of names. Numbers of cells that a gate withholds are left out, and their status is
/// `withheld`.
pub fn csv(report: &Report) -> String {
    let mut out = record(COLUMNS.iter().map(|(name, _)| (*name).to_owned()));
    for cell in &report.cells {
        let withheld = cell.status == Status::Ok && is_withheld(&report.gates, &cell.cell);
        let shown = if withheld {
            &CellReport { metrics: Metrics::default(), artefact: None, ..cell.clone() }
        } else {
            cell
        };
        out.push_str(&record(COLUMNS.iter().map(|(name, get)| match *name {
            "status" if withheld => String::from("withheld"),
            _ => get(shown),
        })));
    }
    out
}

/// A line; a field is quoted where it has to be.
fn record(fields: impl Iterator<Item = String>) -> String {
    let quoted = |field: String| {
        if field.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field
        }
    };
    fields.map(quoted).collect::<Vec<_>>().join(",") + "\r\n"
}
