//! Accuracy: of each framework's own training, and of one set of weights in all frameworks.

use std::fmt::Write as _;

use calipers_inspect::escape;
use calipers_inspect::number::{MISSING, percent2};

use super::{spread, table_of_rows};
use crate::cell::variant_name;
use crate::report::chart::scatter;
use crate::report::figures::{differences, trade};
use crate::report::row::{FLOAT_MODEL, Row, is_trained, own, plain, points, rows, shared, untimed};
use crate::report::{Report, Status};

const COLUMNS: [(&str, bool); 5] = [
    ("Top-1\n% [95 %]", true),
    ("Less float’s\npoints [95 %]", true),
    ("Gained, lost\nsamples", true),
    ("McNemar’s\np", true),
    ("Agreement\nwith float, %", true),
];

/// The whole part.
pub(super) fn section(report: &Report) -> String {
    let all = rows(report);
    let mut out = String::new();
    if !is_trained(report) {
        out.push_str(
            "<p class=\"note\">Nothing was trained, or there are no labels: accuracy means nothing here, and only the \
             agreement with float does.</p>\n",
        );
    }
    let lender = report.study.lender().map_or("the model itself", |framework| framework.title());
    let (own, shared) = (own(&all), shared(report, &all));
    if !shared.is_empty() {
        let _ = writeln!(
            out,
            "<h3>One set of weights in all frameworks</h3>\n<p>The weights of {} in every framework: what differs here was \
             done by quantization, not by training.</p>",
            escape(lender)
        );
        if let Some(scatter) = scatter::scatter(&trade(report), untimed(&all).as_deref()) {
            out.push_str(&scatter);
        }
        part(&mut out, report, &shared, "difference-shared", "Accuracy less float’s, shared weights");
    }
    if !own.is_empty() {
        out.push_str(
            "<h3>Each framework’s own training</h3>\n<p>Same initial weights, same batches in the same order, same update rule; \
             each framework trained for itself, then quantized what it trained.</p>\n",
        );
        part(&mut out, report, &own, "difference-own", "Accuracy less float’s, own training");
    }
    let _ = writeln!(
        out,
        "<p class=\"fine\">Top-1 on the test split with Wilson’s 95 % interval. The difference is to {FLOAT_MODEL}, on the same \
         samples, with the bootstrap’s 95 % interval; gained are samples that float gets wrong and it gets right, lost the \
         reverse. p is of McNemar’s exact test that both are right equally often. Of several seeds the mean is given, with ± \
         the standard deviation, and each seed’s p; the summary has Wilson’s interval at the mean, with the size of the test \
         split, which all seeds share, and tests the gained and lost samples of all seeds together.</p>"
    );
    if report.study.seeds.len() > 1 {
        out.push_str(&seeds(&all));
    }
    out
}

fn part(out: &mut String, report: &Report, rows: &[Row<'_>], id: &str, title: &str) {
    let chart = differences(report, rows, id, title);
    if !chart.is_empty() {
        out.push_str(&chart.html(4));
    }
    out.push_str(&table_of_rows(title, &COLUMNS, rows, |row| {
        let moved: Vec<String> = row
            .against_float()
            .filter_map(|against| Some(format!("+{} −{}", against.gained?, against.lost?)))
            .collect();
        Some(vec![
            spread(row.accuracy(), percent2),
            spread(row.difference(), points),
            if moved.is_empty() { MISSING.to_owned() } else { moved.join("<br>") },
            escape(&row.mcnemar()),
            plain(row.agreement(), percent2),
        ])
    }));
}

/// Accuracy of each seed.
fn seeds(all: &[Row<'_>]) -> String {
    let mut columns: Vec<String> = Vec::new();
    for row in all {
        for cell in &row.cells {
            let name = format!("Seed {}\n%", cell.cell.seed);
            if !columns.contains(&name) {
                columns.push(name);
            }
        }
    }
    let heads: Vec<(&str, bool)> = columns.iter().map(|name| (name.as_str(), true)).collect();
    let table = table_of_rows("Accuracy of each seed", &heads, all, |row| {
        let of = |name: &String| {
            let cell = row.cells.iter().find(|cell| format!("Seed {}\n%", cell.cell.seed) == *name);
            let shown = cell.filter(|cell| cell.status == Status::Ok && !row.withheld);
            shown
                .and_then(|cell| cell.metrics.accuracy)
                .map_or_else(|| MISSING.to_owned(), |accuracy| percent2(accuracy.share.value))
        };
        Some(columns.iter().map(of).collect())
    });
    format!("<details><summary>Accuracy of each seed</summary>\n{table}</details>\n")
}

/// The mark of a variant, for legends.
pub(super) fn variant_marks() -> [(&'static str, &'static str); 6] {
    crate::cell::VARIANTS.map(|variant| (variant_name(variant), variant_name(variant)))
}
