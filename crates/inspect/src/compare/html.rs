//! A comparison as a page.

use std::fmt::Write as _;

use crate::number::{MISSING, count, fixed, percent, three};
use crate::page::{Bar, bars, escape, page, table};
use crate::shortened;

use super::text::{decibels, range_used, verdict};
use super::{Comparison, LayerComparison, Permutation};

/// Layers in the chart of contributions.
const CHARTED: usize = 40;

/// The comparison as a self-contained HTML page. Everything that comes from the files is escaped.
pub fn html(comparison: &Comparison) -> String {
    let class = if comparison.diverges_first.is_some() { "headline bad" } else { "headline" };
    let mut body = format!("<p class=\"{class}\">{}</p>\n", escape(&verdict(comparison, 200)));
    body.push_str("<section>\n<h2>At a glance</h2>\n<div class=\"charts\">\n");
    let label = |layer: &LayerComparison| shortened(&layer.name, 44);
    let contributions = comparison.layers.iter().filter(|layer| layer.contribution.is_some());
    let contributions: Vec<Bar> = contributions
        .take(CHARTED)
        .map(|layer| Bar {
            label: label(layer),
            value: layer.contribution.map(|share| 100.0 * share),
            text: layer.contribution.map_or(String::new(), |share| format!("{} %", percent(share))),
            marked: layer.diverges,
        })
        .collect();
    if !contributions.is_empty() {
        body.push_str(&bars(
            "Contribution to the output error",
            "By how much the error of the outputs drops when this layer alone is computed as the first model does. \
             Orange: the layer diverges from its inputs.",
            &contributions,
        ));
    }
    let mut ordered: Vec<&LayerComparison> = comparison.layers.iter().collect();
    ordered.sort_by_key(|layer| layer.place);
    let noise: Vec<Bar> = ordered
        .iter()
        .map(|layer| Bar {
            label: label(layer),
            value: layer.sqnr,
            text: match layer.sqnr {
                Some(sqnr) => format!("{} dB", fixed(sqnr, 1)),
                None => String::from("equal"),
            },
            marked: layer.diverges,
        })
        .collect();
    body.push_str(&bars(
        "Signal to quantization noise, dB",
        "Layers in the order of the second model, with the errors of all layers before them. More is better.",
        &noise,
    ));
    body.push_str("</div>\n</section>\n");
    layers(&mut body, comparison);
    outputs(&mut body, comparison);
    if !comparison.unaligned.is_empty() || !comparison.notes.is_empty() {
        body.push_str("<section>\n<h2>Notes</h2>\n");
        for note in &comparison.notes {
            let _ = writeln!(body, "<p>{}</p>", escape(note));
        }
        if !comparison.unaligned.is_empty() {
            let names = escape(&comparison.unaligned.join(", "));
            let _ = writeln!(body, "<p class=\"fine\">Without counterpart: {names}</p>");
        }
        body.push_str("</section>\n");
    }
    let subject = format!(
        "held against {} · {} samples, layers restored on {} · {} layers aligned of {}",
        comparison.a.display(),
        count(comparison.samples),
        count(comparison.restored),
        count(comparison.layers.iter().filter(|layer| layer.node.is_some()).count()),
        count(comparison.alignment.layers)
    );
    page("Calipers · comparison", &comparison.b.display().to_string(), &subject, &body)
}

fn layers(out: &mut String, comparison: &Comparison) {
    let share = |share: Option<f64>| share.map_or(String::new(), |share| format!("{} %", percent(share)));
    let row = |layer: &LayerComparison| {
        let moved = if layer.permutation == Permutation::Same { "" } else { ", channels moved" };
        let range = |range: Option<(f64, f64)>| {
            range.map_or(String::new(), |(low, high)| format!("{} to {}", three(low), three(high)))
        };
        let wide = |range: Option<(f32, f32)>| range.map(|(low, high)| (f64::from(low), f64::from(high)));
        vec![
            escape(&layer.name),
            escape(&layer.operator),
            escape(&layer.dtype),
            layer.contribution.map_or(MISSING.to_owned(), |share| format!("{} %", percent(share))),
            decibels(layer.sqnr),
            decibels(layer.input_sqnr),
            layer.own_sqnr.map_or(String::new(), decibels),
            fixed(layer.cosine, 4),
            three(layer.largest_difference),
            share(layer.saturated),
            share(layer.dead),
            range(wide(layer.observed)),
            range(layer.representable),
            range(wide(layer.calibrated)),
            share(range_used(layer)),
            escape(&format!("{}{moved}", layer.counterpart)),
        ]
    };
    let rows: Vec<Vec<String>> = comparison.layers.iter().map(row).collect();
    let columns = [
        ("layer", false),
        ("operator", false),
        ("type", false),
        ("contribution", true),
        ("SQNR dB", true),
        ("of inputs", true),
        ("own", true),
        ("cosine", true),
        ("largest difference", true),
        ("saturated", true),
        ("dead", true),
        ("range here", true),
        ("representable", true),
        ("calibrated", true),
        ("used", true),
        ("counterpart", false),
    ];
    let _ = writeln!(out, "<section>\n<h2>Layers</h2>\n{}</section>", table(&columns, &rows));
}

fn outputs(out: &mut String, comparison: &Comparison) {
    let rows: Vec<Vec<String>> = comparison
        .outputs
        .iter()
        .map(|output| {
            vec![escape(&output.name), decibels(output.sqnr), three(output.largest), three(output.mean)]
        })
        .collect();
    let columns =
        [("output", false), ("SQNR dB", true), ("largest difference", true), ("mean difference", true)];
    let _ = writeln!(out, "<section>\n<h2>Outputs</h2>\n{}</section>", table(&columns, &rows));
}
