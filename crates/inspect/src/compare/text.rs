//! A comparison as text for a terminal.

use std::fmt::Write as _;

use crate::number::{MISSING, count, fixed, percent, three};
use crate::shortened;
use crate::table::{Align, Table};

use super::{Comparison, LayerComparison, Permutation};

/// What is left out of the text.
#[derive(Clone, Copy, Debug)]
pub struct TextOptions {
    /// Longest name, in characters.
    pub name_width: usize,
    /// Most rows of the table of layers.
    pub rows: usize,
}

impl Default for TextOptions {
    fn default() -> Self {
        TextOptions { name_width: 36, rows: 2_000 }
    }
}

/// The comparison as text.
pub fn text(comparison: &Comparison, options: &TextOptions) -> String {
    let mut out = format!("{}\n  held against {}\n", comparison.b.display(), comparison.a.display());
    let _ = writeln!(
        out,
        "  {} samples, layers restored one at a time on {}",
        count(comparison.samples),
        count(comparison.restored)
    );
    for output in &comparison.outputs {
        let _ = writeln!(
            out,
            "  output {}: SQNR {} dB, largest difference {}, mean {}",
            output.name,
            decibels(output.sqnr),
            three(output.largest),
            three(output.mean)
        );
    }
    let alignment = &comparison.alignment;
    let kinds = [
        (alignment.name, "by name"),
        (alignment.renamed, "by the records of the passes"),
        (alignment.order, "by operator, shape and order"),
        (alignment.permuted, "with channels moved"),
    ];
    let kinds: Vec<String> =
        kinds.iter().filter(|(n, _)| *n > 0).map(|(n, how)| format!("{} {how}", count(*n))).collect();
    let aligned = comparison.layers.iter().filter(|layer| layer.node.is_some()).count();
    let _ = writeln!(
        out,
        "  {} of {} layers aligned: {}",
        count(aligned),
        count(alignment.layers),
        kinds.join(", ")
    );
    let _ = writeln!(out, "{}", verdict(comparison, options.name_width));
    table(&mut out, comparison, options);
    for note in &comparison.notes {
        let _ = writeln!(out, "note: {note}");
    }
    out
}

/// Which layer is to blame, in a sentence or two.
pub(super) fn verdict(comparison: &Comparison, name_width: usize) -> String {
    if comparison.output_error == 0.0 {
        return String::from("The outputs are equal.");
    }
    let first = match &comparison.diverges_first {
        Some(name) => format!("`{}` is the first layer that diverges", shortened(name, name_width)),
        None => String::from("No layer diverges from its inputs"),
    };
    let worst = comparison.layers.first().and_then(|layer| Some((layer, layer.contribution?)));
    match worst {
        Some((layer, contribution)) => format!(
            "{first}. `{}` contributes most: computed as the first model does, {} % of the output error goes away.",
            shortened(&layer.name, name_width),
            percent(contribution)
        ),
        None => format!("{first}."),
    }
}

/// Decibels with one decimal.
pub(super) fn decibels(sqnr: Option<f64>) -> String {
    sqnr.map_or(String::from("equal"), |sqnr| fixed(sqnr, 1))
}

/// How much of what can be said is used: the float model's range over the representable one.
pub(super) fn range_used(layer: &LayerComparison) -> Option<f64> {
    let ((low, high), (least, most)) = (layer.observed?, layer.representable?);
    Some((f64::from(high) - f64::from(low)) / (most - least))
}

fn table(out: &mut String, comparison: &Comparison, options: &TextOptions) {
    let mut table = Table::new([
        ("layer", Align::Left),
        ("operator", Align::Left),
        ("type", Align::Left),
        ("contribution", Align::Right),
        ("SQNR dB", Align::Right),
        ("of inputs", Align::Right),
        ("own", Align::Right),
        ("cosine", Align::Right),
        ("largest diff.", Align::Right),
        ("saturated", Align::Right),
        ("dead", Align::Right),
        ("range used", Align::Right),
        ("", Align::Left),
    ]);
    let share = |share: Option<f64>| share.map_or(String::new(), |share| format!("{} %", percent(share)));
    for layer in comparison.layers.iter().take(options.rows) {
        let mut marks = Vec::new();
        if layer.diverges {
            marks.push("diverges".to_owned());
        }
        if layer.permutation != Permutation::Same {
            marks.push("channels moved".to_owned());
        }
        if layer.counterpart != layer.name {
            marks.push(format!("= {}", shortened(&layer.counterpart, options.name_width)));
        }
        table.row([
            shortened(&layer.name, options.name_width),
            shortened(&layer.operator, 24),
            layer.dtype.clone(),
            layer.contribution.map_or(MISSING.to_owned(), |share| format!("{} %", percent(share))),
            decibels(layer.sqnr),
            decibels(layer.input_sqnr),
            layer.own_sqnr.map_or(String::new(), decibels),
            fixed(layer.cosine, 4),
            three(layer.largest_difference),
            share(layer.saturated),
            share(layer.dead),
            share(range_used(layer)),
            marks.join(", "),
        ]);
    }
    out.push_str(&table.text());
    if comparison.layers.len() > options.rows {
        let _ = writeln!(out, "  … and {} more", count(comparison.layers.len() - options.rows));
    }
    if !comparison.unaligned.is_empty() {
        let shown: Vec<&str> = comparison.unaligned.iter().take(8).map(String::as_str).collect();
        let more = comparison.unaligned.len() - shown.len();
        let more = if more == 0 { String::new() } else { format!(" and {} more", count(more)) };
        let _ = writeln!(out, "  without counterpart: {}{more}", shown.join(", "));
    }
}
