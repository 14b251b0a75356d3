//! Schemes against each other: what each costs and gains.

use calipers_inspect::number::{MISSING, percent2, ratio};

use super::best_of;
use crate::cell::Variant;
use crate::report::Report;
use crate::report::row::{FLOAT_MODEL, Row, complete, is_trained, points, rows, shared, timed, untimed};

/// Schemes against what they cost and gain, as far as they are known: scheme, models, highest accuracy, accuracy less that
/// of float, time over float's, file over float's.
pub(in crate::report) fn schemes(report: &Report) -> Vec<[String; 6]> {
    let all = complete(report);
    let of_shared = shared(report, &all);
    let schemes = [
        ("static, 8 bit", Variant::PtqStatic, Some(true)),
        ("static, mostly not in 8 bit", Variant::PtqStatic, Some(false)),
        ("dynamic, 8 bit", Variant::PtqDynamic, Some(true)),
        ("dynamic, mostly not in 8 bit", Variant::PtqDynamic, Some(false)),
        ("weights alone", Variant::WeightOnly, None),
        ("trained in 8 bit (QAT)", Variant::Qat, None),
    ];
    let lines = schemes.into_iter().map(|(title, variant, is_mostly_8_bit)| {
        let from = if variant == Variant::Qat { &all } else { &of_shared };
        let of_it = from.iter().filter(|row| {
            row.variant == variant && is_mostly_8_bit.is_none_or(|it| it == row.is_mostly_8_bit())
        });
        let rows: Vec<Row<'_>> = of_it.cloned().collect();
        let spread = |get: &dyn Fn(&Row<'_>) -> Option<f64>, write: fn(f64) -> String| {
            let found: Vec<f64> = rows.iter().filter_map(get).collect();
            let low = found.iter().copied().fold(f64::INFINITY, f64::min);
            let high = found.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let (least, greatest) = (write(low), write(high));
            match found.len() {
                0 => MISSING.to_owned(),
                _ if least == greatest => least,
                _ => format!("{least} to {greatest}"),
            }
        };
        let best = if is_trained(report) { best_of(rows.clone()) } else { None };
        let named = best.map(|best| format!("{}, {} %", best.row.full_name(), percent2(best.accuracy.value)));
        [
            title.to_owned(),
            rows.len().to_string(),
            named.unwrap_or_else(|| MISSING.to_owned()),
            spread(&|row| Some(row.difference().filter(|_| is_trained(report))?.value), points),
            spread(&|row| Some(timed(&all, row).to_float()?.value), ratio),
            spread(&|row| Some(row.file_bytes()?.value / report.model.onnx_bytes as f64), ratio),
        ]
    });
    lines.filter(|line| line[1] != "0").collect()
}

/// Heads of [`schemes`].
pub(in crate::report) const SCHEMES: [&str; 6] = [
    "Scheme",
    "Models",
    "Highest accuracy",
    "Accuracy less float's, points",
    "Time / float",
    "File / float ONNX",
];

/// What the lines of [`schemes`] are, in a few sentences.
pub(in crate::report) fn what_schemes_are(report: &Report) -> String {
    let untimed = untimed(&rows(report)).map_or_else(String::new, |text| format!(" {text}"));
    format!(
        "From the least to the greatest of the scheme's models on shared weights, QAT on each framework's own. 8 bit: at least \
         half of the multiply-accumulates. Time and accuracy are against {FLOAT_MODEL}.{untimed}"
    )
}
