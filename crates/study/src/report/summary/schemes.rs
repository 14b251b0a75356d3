//! Schemes against each other: what each costs and gains.

use calipers_inspect::number::{MISSING, percent2, ratio};

use super::best_of;
use crate::cell::Variant;
use crate::report::row::{Row, is_trained, points, rows, shared};
use crate::report::{Report, Status};

/// Schemes against what they cost and gain, as far as they are known: scheme, models, most accurate, accuracy less that of
/// float, time over float's, file over float's.
pub(in crate::report) fn schemes(report: &Report) -> Vec<[String; 6]> {
    let all = rows(report);
    let of_shared = shared(report, &all);
    let schemes = [
        ("static, 8 bit", Variant::PtqStatic),
        ("dynamic, 8 bit", Variant::PtqDynamic),
        ("weights alone", Variant::WeightOnly),
        ("trained in 8 bit (QAT)", Variant::Qat),
    ];
    let lines = schemes.into_iter().map(|(title, variant)| {
        let from = if variant == Variant::Qat { &all } else { &of_shared };
        let rows: Vec<Row<'_>> =
            from.iter().filter(|row| row.variant == variant && row.status() == Status::Ok).cloned().collect();
        let spread = |get: &dyn Fn(&Row<'_>) -> Option<f64>, write: fn(f64) -> String| {
            let found: Vec<f64> = rows.iter().filter_map(get).collect();
            let low = found.iter().copied().fold(f64::INFINITY, f64::min);
            let high = found.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            match found.len() {
                0 => MISSING.to_owned(),
                1 => write(low),
                _ => format!("{} to {}", write(low), write(high)),
            }
        };
        let best = if is_trained(report) { best_of(rows.clone()) } else { None };
        let named = best.map(|best| format!("{}, {} %", best.row.full_name(), percent2(best.accuracy.value)));
        [
            title.to_owned(),
            rows.len().to_string(),
            named.unwrap_or_else(|| MISSING.to_owned()),
            spread(&|row| Some(row.difference().filter(|_| is_trained(report))?.value), points),
            spread(&|row| Some(row.to_float()?.value), ratio),
            spread(&|row| Some(row.file_bytes()?.value / report.model.onnx_bytes as f64), ratio),
        ]
    });
    lines.filter(|line| line[1] != "0").collect()
}

/// Heads of [`schemes`].
pub(in crate::report) const SCHEMES: [&str; 6] = [
    "Scheme",
    "Models",
    "Most accurate",
    "Accuracy less float's, points",
    "Time / float",
    "File / float ONNX",
];
