//! The description of a model as text for a terminal.

use std::fmt::Write as _;

use crate::number::{MISSING, count, percent, three};
use crate::table::{Align, Table};
use crate::{Format, Role, shortened};

use super::{Description, Layer, Port, ScaleFacts};

/// What is left out of the text.
#[derive(Clone, Copy, Debug)]
pub struct TextOptions {
    /// Longest name, in characters.
    pub name_width: usize,
    /// Most rows of a table; the rest is said as a number.
    pub rows: usize,
}

impl Default for TextOptions {
    fn default() -> Self {
        TextOptions { name_width: 40, rows: 2_000 }
    }
}

/// The description as text.
pub fn text(description: &Description, options: &TextOptions) -> String {
    let mut out = String::new();
    head(&mut out, description);
    operators(&mut out, description);
    layers(&mut out, description, options);
    weights(&mut out, description, options);
    activations(&mut out, description, options);
    ledger(&mut out, description);
    float(&mut out, description, options);
    for note in &description.notes {
        let _ = writeln!(out, "note: {note}");
    }
    out
}

fn head(out: &mut String, description: &Description) {
    let opsets: Vec<String> = description
        .opsets
        .iter()
        .map(
            |(domain, version)| {
                if domain.is_empty() { version.to_string() } else { format!("{domain} {version}") }
            },
        )
        .collect();
    let (producer, version) = &description.producer;
    let _ = writeln!(out, "{}", description.file.display());
    let made = format!("{producer} {version}");
    let opsets = match description.format {
        Format::Onnx => format!(", operator set {}", opsets.join(", ")),
        Format::Tflite => String::new(),
    };
    let _ = writeln!(
        out,
        "  {}{opsets}, made by {}",
        description.format,
        if made.trim().is_empty() { "an unnamed program" } else { made.trim() }
    );
    let _ = writeln!(
        out,
        "  {} layers, {} parameters, {} multiply-accumulates, {}",
        count(description.layers.len()),
        count(description.parameters as usize),
        count(description.macs as usize),
        size(description.ledger.file + description.ledger.beside),
    );
    for (title, ports) in [("input ", &description.inputs), ("output", &description.outputs)] {
        for port in ports {
            let _ = writeln!(out, "  {title} {}", port_text(port));
        }
    }
    for (key, value) in &description.metadata {
        let line: String = value.lines().next().unwrap_or_default().chars().take(100).collect();
        let _ = writeln!(out, "  {key}: {line}");
    }
}

fn port_text(port: &Port) -> String {
    let quantization =
        port.quantization.as_ref().map_or(String::new(), |scale| format!(", {}", scale_text(scale)));
    format!("{}: {}{}{quantization}", port.name, port.dtype, shape(port.shape.as_deref()))
}

/// A shape in brackets.
pub(crate) fn shape(shape: Option<&[String]>) -> String {
    shape.map_or(String::from("[*]"), |shape| format!("[{}]", shape.join(", ")))
}

/// A scale in a few words.
pub(crate) fn scale_text(scale: &ScaleFacts) -> String {
    let zero = match scale.zero_points {
        (0, 0) => String::new(),
        (low, high) if low == high => format!(" zero {low}"),
        (low, high) => format!(" zero {low}..{high}"),
    };
    match scale.scales {
        1 => format!("scale {}{zero}", three(scale.largest.into())),
        scales => {
            let ends = format!("{}..{}", three(scale.smallest.into()), three(scale.largest.into()));
            format!("{scales} scales {ends}{zero}")
        }
    }
}

/// Bytes in the unit that suits them.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{} B", count(bytes as usize)),
        10_000..10_240_000 => format!("{} KiB", three(bytes as f64 / 1_024.0)),
        _ => format!("{} MiB", three(bytes as f64 / 1_048_576.0)),
    }
}

fn operators(out: &mut String, description: &Description) {
    out.push_str("\nOperators\n");
    let mut table =
        Table::new([("operator", Align::Left), ("nodes", Align::Right), ("multiply-acc.", Align::Right)]);
    for operator in &description.operators {
        let macs = if operator.macs == 0 { String::new() } else { count(operator.macs as usize) };
        table.row([operator.operator.clone(), count(operator.nodes), macs]);
    }
    out.push_str(&table.text());
}

fn layers(out: &mut String, description: &Description, options: &TextOptions) {
    out.push_str("\nLayers\n");
    let mut table = Table::new([
        ("node", Align::Left),
        ("operator", Align::Left),
        ("output", Align::Left),
        ("parameters", Align::Right),
        ("multiply-acc.", Align::Right),
        ("weight", Align::Left),
        ("weight scale", Align::Left),
        ("output scale", Align::Left),
        ("bytes", Align::Right),
    ]);
    for layer in description.layers.iter().take(options.rows) {
        table.row(layer_row(layer, options));
    }
    out.push_str(&table.text());
    more(out, description.layers.len(), options);
}

fn layer_row(layer: &Layer, options: &TextOptions) -> Vec<String> {
    let or_empty = |number: u64| if number == 0 { String::new() } else { count(number as usize) };
    let name = match &layer.subgraph {
        Some(subgraph) => format!("{subgraph}: {}", layer.name),
        None => layer.name.clone(),
    };
    let weight_scale = layer.weight.as_ref().and_then(|weight| weight.scale.as_ref());
    let (dtype, scale) = match &layer.activation {
        Some(scale) => (&scale.dtype, scale_text(scale)),
        None => (&layer.dtype, String::new()),
    };
    vec![
        shortened(&name, options.name_width),
        shortened(&layer.operator, 28),
        format!("{dtype}{}", shape(layer.shape.as_deref())),
        or_empty(layer.parameters),
        or_empty(layer.macs),
        layer.weight.as_ref().map_or(String::new(), |weight| weight.dtype.clone()),
        weight_scale.map_or(String::new(), scale_text),
        scale,
        or_empty(layer.bytes),
    ]
}

fn more(out: &mut String, rows: usize, options: &TextOptions) {
    if rows > options.rows {
        let _ = writeln!(out, "  … and {} more", count(rows - options.rows));
    }
}

fn weights(out: &mut String, description: &Description, options: &TextOptions) {
    let mut table = Table::new([
        ("tensor", Align::Left),
        ("type", Align::Left),
        ("smallest", Align::Right),
        ("largest", Align::Right),
        ("deviation", Align::Right),
        ("histogram", Align::Left),
        ("at ends", Align::Right),
        ("scales", Align::Left),
        ("histogram of scales", Align::Left),
    ]);
    let described =
        description.tensors.iter().filter(|tensor| tensor.role == Role::Weight && !tensor.shape.is_empty());
    for tensor in described.clone().take(options.rows) {
        let Some(found) = &tensor.distribution else { continue };
        let scales = tensor.scale.as_ref();
        let dims: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
        table.row([
            shortened(&tensor.name, options.name_width),
            format!("{}[{}]", tensor.dtype, dims.join(", ")),
            three(found.min),
            three(found.max),
            three(found.deviation),
            format!("|{}|", found.sparkline()),
            tensor.at_ends.map_or(String::new(), |share| format!("{} %", percent(share))),
            scales.map_or(String::new(), |scale| format!("{}, {}", scale.granularity(), scale_text(scale))),
            scales
                .and_then(|scale| scale.distribution.as_ref())
                .map_or(String::new(), |scales| format!("|{}|", scales.sparkline())),
        ]);
    }
    if !table.is_empty() {
        out.push_str("\nWeights, as stored (heights by square root)\n");
        out.push_str(&table.text());
        more(out, described.count(), options);
    }
}

fn activations(out: &mut String, description: &Description, options: &TextOptions) {
    if description.activations.is_empty() {
        return;
    }
    out.push_str("\nQuantized activations\n");
    let mut table = Table::new([
        ("value", Align::Left),
        ("type", Align::Left),
        ("scale", Align::Right),
        ("zero", Align::Right),
        ("from", Align::Right),
        ("to", Align::Right),
    ]);
    for activation in description.activations.iter().take(options.rows) {
        let scale = &activation.scale;
        let (from, to) = scale
            .range
            .map_or((MISSING.to_owned(), MISSING.to_owned()), |(from, to)| (three(from), three(to)));
        table.row([
            shortened(&activation.name, options.name_width),
            scale.dtype.clone(),
            three(scale.largest.into()),
            scale.zero_points.0.to_string(),
            from,
            to,
        ]);
    }
    out.push_str(&table.text());
    more(out, description.activations.len(), options);
}

fn ledger(out: &mut String, description: &Description) {
    out.push_str("\nBytes\n");
    let ledger = &description.ledger;
    let all = (ledger.file + ledger.beside).max(1);
    let share = |bytes: u64| format!("{} %", percent(bytes as f64 / all as f64));
    let mut table = Table::new([
        ("what", Align::Left),
        ("tensors", Align::Right),
        ("elements", Align::Right),
        ("bytes", Align::Right),
        ("share", Align::Right),
    ]);
    for row in &ledger.rows {
        table.row([
            format!("{}, {}", row.role.name(), row.dtype),
            count(row.tensors),
            count(row.elements as usize),
            count(row.bytes as usize),
            share(row.bytes),
        ]);
    }
    let rest = String::from("graph structure, names and the rest");
    table.row([rest, String::new(), String::new(), count(ledger.rest as usize), share(ledger.rest)]);
    table.row([String::from("all"), String::new(), String::new(), count(all as usize)]);
    out.push_str(&table.text());
    if ledger.beside > 0 {
        let _ = writeln!(out, "  {} of it in files beside the model", size(ledger.beside));
    }
}

fn float(out: &mut String, description: &Description, options: &TextOptions) {
    if description.float.is_empty() {
        return;
    }
    out.push_str("\nIn float\n");
    let mut table = Table::new([
        ("node", Align::Left),
        ("operator", Align::Left),
        ("bytes", Align::Right),
        ("why", Align::Left),
    ]);
    for layer in description.float.iter().take(options.rows) {
        table.row([
            shortened(&layer.name, options.name_width),
            layer.operator.clone(),
            if layer.bytes == 0 { String::new() } else { count(layer.bytes as usize) },
            layer.reason.clone().unwrap_or_default(),
        ]);
    }
    out.push_str(&table.text());
    more(out, description.float.len(), options);
    if description.float.iter().all(|layer| layer.reason.is_none()) {
        out.push_str("  (no assignment stands beside the model that would say why)\n");
    }
}
