//! Inside the models: operator profiles and weights.

use std::fmt::Write as _;

use calipers_inspect::escape;
use calipers_inspect::number::{MISSING, percent, three};

use super::{legend, linked, table_of_rows};
use crate::report::chart::histogram::histogram;
use crate::report::figures::{KINDS, RESIDUAL, profiles as chart_of_profiles};
use crate::report::row::{groups, rows};
use crate::report::{Profile, Report};

/// Operator profiles of all cells.
pub(super) fn profiles(report: &Report) -> String {
    let all = rows(report);
    let chart = chart_of_profiles(report);
    if chart.is_empty() {
        return String::new();
    }
    let mut out =
        legend(KINDS.iter().map(|(_, class, _, name)| (*class, *name)).chain([(RESIDUAL.0, RESIDUAL.2)]));
    out.push_str(&chart.html(3));
    let columns = [
        ("Profiled\nms", true),
        ("Operators\nms", true),
        ("Residual\nms", true),
        ("Residual\n%", true),
        ("Not profiled\np50 ms", true),
        ("Profiler", false),
    ];
    out.push_str(&table_of_rows("Profiles", &columns, &all, |row| {
        let profile: &Profile = row.metrics().find_map(|metrics| metrics.profile.as_ref())?;
        let residual = profile.residual_nanoseconds();
        Some(vec![
            three(profile.wall_nanoseconds / 1e6),
            three(profile.sum_nanoseconds() / 1e6),
            three(residual / 1e6),
            percent(residual / profile.wall_nanoseconds),
            row.latency().map_or_else(|| MISSING.to_owned(), |latency| three(latency.p50)),
            escape(&profile.profiler),
        ])
    }));
    out.push_str(
        "<p class=\"fine\">Profiles are taken in runs of their own, since profiling slows a model down. The sum of all operators is \
         held against the whole inference; the residual is what no operator accounts for, and is negative where operators \
         ran side by side. Operators of each cell are listed with it.</p>\n",
    );
    out
}

/// Histograms of the last layer of every cell.
pub(super) fn weights(report: &Report) -> String {
    let mut out = String::new();
    for (title, rows) in groups(&rows(report)) {
        let mut figures = String::new();
        for row in &rows {
            let Some(weights) = row.metrics().find_map(|metrics| metrics.weights.last()) else { continue };
            figures.push_str(&histogram(weights, &linked(row, &row.name()), &row.full_name()));
        }
        if !figures.is_empty() {
            let _ = write!(out, "<h3>{}</h3>\n<div class=\"histograms\">\n{figures}</div>\n", escape(&title));
        }
    }
    if out.is_empty() {
        return out;
    }
    let marks = legend([
        ("filled", "what the artefact stands for"),
        ("outline", "float weights that it was made from"),
        ("integers", "stored integers"),
    ]);
    format!(
        "<p>The last layer of every cell; all layers are shown with each cell. Heights are square roots of counts, so that \
         tails can be seen.</p>\n{marks}{out}"
    )
}
