//! Speed, memory and size.

use std::fmt::Write as _;

use calipers_inspect::escape;
use calipers_inspect::number::{MISSING, fixed, mebibytes as in_mebibytes, percent, ratio, three};

use super::accuracy::variant_marks;
use super::tone_class;
use super::{legend, spread, table_of_rows};
use crate::report::Report;
use crate::report::checks::null_tests;
use crate::report::figures::{STORAGE, bytes, integer_work, latency, throughput};
use crate::report::row::{Estimate, FLOAT_MODEL, Row, plain, rows, untimed};

/// Latency, throughput and start.
pub(super) fn section(report: &Report) -> String {
    let all = rows(report);
    let Some(timing) = &report.timing else {
        return String::from("<p>Nothing was timed.</p>\n");
    };
    let mut out = String::from("<ul class=\"findings\">\n");
    for sentence in null_tests(timing) {
        let _ = writeln!(out, "<li class=\"{}\">{}</li>", tone_class(sentence.tone), escape(&sentence.text));
    }
    out.push_str("</ul>\n");
    out.push_str(&legend(variant_marks()));
    for chart in [latency(report), throughput(report)] {
        if !chart.is_empty() {
            out.push_str(&chart.html(3));
        }
    }
    let columns = [
        ("p50\nms", true),
        ("p90\nms", true),
        ("p99\nms", true),
        ("Time / float\n[95 %]", true),
        ("Samples / s\nin batches", true),
        ("Time / float\nin batches [95 %]", true),
        ("Import\ns", true),
        ("First inference\ns", true),
        ("Cores\nbusy", true),
    ];
    out.push_str(&table_of_rows("Speed", &columns, &all, |row| {
        let of = |get: fn(&crate::report::LatencyMetrics) -> f64| {
            row.latency().map_or_else(|| MISSING.to_owned(), |latency| three(get(latency)))
        };
        let import = row.number(|metrics| metrics.start.map(|start| start.import_seconds));
        let cores = row.number(|metrics| metrics.latency.as_ref().and_then(|latency| latency.cores));
        let cells = vec![
            of(|latency| latency.p50),
            of(|latency| latency.p90),
            of(|latency| latency.p99),
            spread(row.to_float(), ratio),
            plain(row.throughput(), three),
            spread(row.throughput_to_float(), ratio),
            plain(import, three),
            plain(row.first_inference(), three),
            plain(cores, |value| fixed(value, 2)),
        ];
        // The words below the table say whose times stand for cells that are not timed.
        (row.status_name() != "ok" || cells.iter().any(|cell| cell != MISSING)).then_some(cells)
    }));
    let _ = writeln!(
        out,
        "<p class=\"fine\">One inference at batch 1 from float32 input to float32 logits, in shuffled interleaved blocks over {} \
         rounds; batches are of {}. Ratios are to {FLOAT_MODEL}, paired by round, with the bootstrap’s 95 % interval; below 1 is \
         faster.{} Start is from a new process. Cores busy: processor time over wall-clock time while it was timed.</p>",
        timing.rounds,
        timing.batch,
        untimed(&all).map_or_else(String::new, |text| format!(" {}", escape(&text)))
    );
    training(&mut out, &all);
    out
}

fn training(out: &mut String, all: &[Row<'_>]) {
    let columns = [
        ("Training\ns / step", true),
        ("s / epoch", true),
        ("QAT step\n/ float step [95 %]", true),
        ("Prepare\ns", true),
        ("Calibrate\ns", true),
        ("Convert\ns", true),
        ("Samples\nof calibration", true),
        ("Calibration\nsamples / s", true),
    ];
    let table = table_of_rows("Training and calibration", &columns, all, |row| {
        let training = |get: fn(&crate::report::TrainingMetrics) -> f64| {
            row.number(|metrics| metrics.training.as_ref().map(get))
        };
        let calibration = |get: fn(&crate::report::CalibrationMetrics) -> f64| {
            row.number(|metrics| metrics.calibration.as_ref().map(get))
        };
        let step = training(|training| training.seconds_per_step);
        let samples = calibration(|calibration| calibration.samples as f64);
        let convert = calibration(|calibration| calibration.convert_seconds)
            .or_else(|| row.number(|metrics| metrics.convert_seconds));
        let has_any = step.is_some() || samples.is_some() || convert.is_some();
        has_any.then(|| {
            vec![
                plain(step, three),
                plain(row.seconds_per_epoch(), three),
                spread(row.overhead(), ratio),
                plain(calibration(|calibration| calibration.prepare_seconds), three),
                plain(calibration(|calibration| calibration.calibrate_seconds), three),
                plain(convert, three),
                plain(samples, |value| fixed(value, 0)),
                plain(row.calibration_rate(), three),
            ]
        })
    });
    if !table.is_empty() {
        let _ = write!(out, "<h3>Training and calibration</h3>\n{table}");
    }
}

fn bytes_text(estimate: Option<Estimate>) -> String {
    plain(estimate, |bytes| three(in_mebibytes(bytes)))
}

/// Memory above idle.
pub(super) fn memory(report: &Report) -> String {
    let columns =
        [("Training\nMiB", true), ("Quantizing\nMiB", true), ("Running\nMiB", true), ("Idle\nMiB", true)];
    let table = table_of_rows("Memory", &columns, &rows(report), |row| {
        let memory = row.memory();
        let idle = row.number(|metrics| Some(metrics.start?.memory?.idle as f64));
        memory.iter().any(Option::is_some).then(|| memory.into_iter().chain([idle]).map(bytes_text).collect())
    });
    if table.is_empty() {
        return String::new();
    }
    format!(
        "{table}<p class=\"fine\">The most resident memory above that of the idle process (after the framework was imported), \
         in MiB of 1,048,576 bytes. Running: at batch 1, then at the larger batch.</p>\n"
    )
}

/// Files, and how much of each model is in 8 bit.
pub(super) fn size(report: &Report) -> String {
    let all = rows(report);
    let mut out = String::new();
    let chart = bytes(report);
    if !chart.is_empty() {
        out.push_str(&legend(STORAGE));
        out.push_str(&chart.html(3));
    }
    let chart = integer_work(report);
    if !chart.is_empty() {
        out.push_str(&chart.html(3));
    }
    let columns = [
        ("File\nMiB", true),
        ("File\n/ float ONNX", true),
        ("Weights in memory\nMiB", true),
        ("Weights held\nin 8 bit, %", true),
        ("multiplied\nin 8 bit, %", true),
        ("Multiply-accumulates\nin 8 bit, %", true),
    ];
    let whole = report.model.onnx_bytes as f64;
    let table = table_of_rows("Size", &columns, &all, |row| {
        let shares = |get: fn(crate::report::IntegerShares) -> f64| {
            plain(row.number(|metrics| metrics.integer.map(get)), percent)
        };
        let weights = row.number(|metrics| metrics.weight_bytes.map(|bytes| bytes as f64));
        let size = row.file_bytes();
        (size.is_some() || weights.is_some()).then(|| {
            vec![
                bytes_text(size),
                plain(size, |bytes| ratio(bytes / whole)),
                bytes_text(weights),
                shares(|shares| shares.stored_weights),
                shares(|shares| shares.weights),
                shares(|shares| shares.macs),
            ]
        })
    });
    out.push_str(&table);
    if !out.is_empty() {
        out.push_str(
            "<p class=\"fine\">Shares are of what was seen to execute, not of what an interface says. Weights are those that \
             are multiplied or gathered.</p>\n",
        );
    }
    out
}
