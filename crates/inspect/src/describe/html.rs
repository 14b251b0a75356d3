//! The description of a model as a page.

use std::fmt::Write as _;

use crate::number::{MISSING, count, percent, three};
use crate::page::{Bar, bars, escape, histogram, page, table};
use crate::{Role, shortened};

use super::text::{scale_text, shape, size};
use super::{Description, Layer, Port};

/// Layers in a chart; a chart of more would not be read.
const CHARTED: usize = 60;

/// The description as a self-contained HTML page. Everything that comes from the file is escaped.
pub fn html(description: &Description) -> String {
    let mut body = String::from("<section>\n<h2>Inputs and outputs</h2>\n");
    let port = |kind: &str, port: &Port| {
        let scale = port.quantization.as_ref().map_or(String::new(), scale_text);
        vec![
            escape(&port.name),
            kind.to_owned(),
            escape(&format!("{}{}", port.dtype, shape(port.shape.as_deref()))),
            escape(&scale),
        ]
    };
    let ports: Vec<Vec<String>> = description
        .inputs
        .iter()
        .map(|input| port("input", input))
        .chain(description.outputs.iter().map(|output| port("output", output)))
        .collect();
    body.push_str(&table(&[("name", false), ("", false), ("type", false), ("scale", false)], &ports));
    body.push_str("</section>\n<section>\n<h2>At a glance</h2>\n<div class=\"charts\">\n");
    ledger_chart(&mut body, description);
    layer_chart(
        &mut body,
        description,
        "Multiply-accumulates",
        |layer| layer.macs,
        |macs| count(macs as usize),
    );
    let bytes = |layer: &Layer| if layer.weight.is_some() { layer.bytes } else { 0 };
    layer_chart(&mut body, description, "Bytes of weights", bytes, size);
    body.push_str("</div>\n</section>\n");
    layers(&mut body, description);
    weights(&mut body, description);
    activations(&mut body, description);
    float(&mut body, description);
    if !description.notes.is_empty() || !description.metadata.is_empty() {
        body.push_str("<section>\n<h2>Notes and properties</h2>\n");
        for note in &description.notes {
            let _ = writeln!(body, "<p>{}</p>", escape(note));
        }
        let property = |(key, value): (&String, &String)| {
            vec![escape(key), escape(&value.chars().take(200).collect::<String>())]
        };
        let properties: Vec<Vec<String>> = description.metadata.iter().map(property).collect();
        body.push_str(&table(&[("property", false), ("value", false)], &properties));
        body.push_str("</section>\n");
    }
    let title = description
        .file
        .file_name()
        .map_or_else(|| description.file.display().to_string(), |name| name.to_string_lossy().into_owned());
    let subject = format!(
        "{} · {} layers · {} parameters · {} multiply-accumulates · {}",
        description.format,
        count(description.layers.len()),
        count(description.parameters as usize),
        count(description.macs as usize),
        size(description.ledger.file + description.ledger.beside)
    );
    page("Calipers · model", &title, &subject, &body)
}

fn ledger_chart(out: &mut String, description: &Description) {
    let ledger = &description.ledger;
    let all = (ledger.file + ledger.beside).max(1) as f64;
    let bar = |label: String, bytes: u64| Bar {
        label,
        value: Some(bytes as f64),
        text: format!("{} ({} %)", size(bytes), percent(bytes as f64 / all)),
        marked: false,
    };
    let rows = ledger.rows.iter().map(|row| bar(format!("{}, {}", row.role.name(), row.dtype), row.bytes));
    let rows: Vec<Bar> =
        rows.chain([bar(String::from("graph structure, names and the rest"), ledger.rest)]).collect();
    out.push_str(&bars("Bytes", "Where each byte of the model is.", &rows));
}

fn layer_chart(
    out: &mut String,
    description: &Description,
    title: &str,
    number: impl Fn(&Layer) -> u64,
    write: impl Fn(u64) -> String,
) {
    let mut layers: Vec<&Layer> = description.layers.iter().filter(|layer| number(layer) > 0).collect();
    let left = layers.len().saturating_sub(CHARTED);
    if left > 0 {
        // The largest ones, in their order.
        let mut sizes: Vec<u64> = layers.iter().map(|layer| number(layer)).collect();
        sizes.sort_unstable_by(|x, y| y.cmp(x));
        let least = sizes[CHARTED - 1];
        layers.retain(|layer| number(layer) >= least);
        layers.truncate(CHARTED);
    }
    if layers.is_empty() {
        return;
    }
    let bar = |layer: &&Layer| Bar {
        label: shortened(&layer.name, 44),
        value: Some(number(layer) as f64),
        text: write(number(layer)),
        marked: layer.weight.as_ref().is_some_and(|weight| weight.scale.is_none()),
    };
    let shown: Vec<Bar> = layers.iter().map(bar).collect();
    let more =
        if left > 0 { format!(" The {CHARTED} largest of {}.", CHARTED + left) } else { String::new() };
    let legend = format!("Layers in topological order; orange: weights that are not quantized.{more}");
    out.push_str(&bars(title, &legend, &shown));
}

fn layers(out: &mut String, description: &Description) {
    let number = |number: u64| if number == 0 { String::new() } else { count(number as usize) };
    let row = |layer: &Layer| {
        let weight_scale = layer.weight.as_ref().and_then(|weight| weight.scale.as_ref());
        vec![
            escape(&layer.name),
            escape(&layer.operator),
            escape(&format!("{}{}", layer.dtype, shape(layer.shape.as_deref()))),
            number(layer.parameters),
            number(layer.macs),
            layer.weight.as_ref().map_or(String::new(), |weight| escape(&weight.dtype)),
            weight_scale.map_or(String::new(), |scale| escape(&scale_text(scale))),
            layer.activation.as_ref().map_or(String::new(), |scale| escape(&scale_text(scale))),
            number(layer.bytes),
        ]
    };
    let rows: Vec<Vec<String>> = description.layers.iter().map(row).collect();
    let columns = [
        ("node", false),
        ("operator", false),
        ("output", false),
        ("parameters", true),
        ("multiply-acc.", true),
        ("weight", false),
        ("weight scale", false),
        ("output scale", false),
        ("bytes", true),
    ];
    let _ = writeln!(out, "<section>\n<h2>Layers</h2>\n{}</section>", table(&columns, &rows));
}

fn weights(out: &mut String, description: &Description) {
    let mut rows = Vec::new();
    let described = description.tensors.iter().filter(|tensor| tensor.role == Role::Weight);
    for tensor in described {
        let Some(found) = &tensor.distribution else { continue };
        let dims: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
        let scales = tensor.scale.as_ref();
        rows.push(vec![
            escape(&tensor.name),
            format!("{}[{}]", tensor.dtype, dims.join(", ")),
            three(found.min),
            three(found.max),
            three(found.deviation),
            histogram(&found.bins, "histogram of the numbers as stored"),
            tensor.at_ends.map_or(String::new(), |share| format!("{} %", percent(share))),
            scales.map_or(String::new(), |scale| escape(&scale_text(scale))),
            scales
                .and_then(|scale| scale.distribution.as_ref())
                .map_or(String::new(), |scales| histogram(&scales.bins, "histogram of the scales")),
        ]);
    }
    if rows.is_empty() {
        return;
    }
    let columns = [
        ("tensor", false),
        ("type", false),
        ("smallest", true),
        ("largest", true),
        ("deviation", true),
        ("histogram", false),
        ("at ends", true),
        ("scales", false),
        ("their histogram", false),
    ];
    let _ = writeln!(
        out,
        "<section>\n<h2>Weights</h2>\n<p class=\"fine\">Numbers as stored; heights by square root.</p>\n{}</section>",
        table(&columns, &rows)
    );
}

fn activations(out: &mut String, description: &Description) {
    if description.activations.is_empty() {
        return;
    }
    let rows: Vec<Vec<String>> = description
        .activations
        .iter()
        .map(|activation| {
            let scale = &activation.scale;
            let end = |end: Option<f64>| end.map_or(MISSING.to_owned(), three);
            vec![
                escape(&activation.name),
                scale.dtype.clone(),
                three(scale.largest.into()),
                scale.zero_points.0.to_string(),
                end(scale.range.map(|range| range.0)),
                end(scale.range.map(|range| range.1)),
            ]
        })
        .collect();
    let columns =
        [("value", false), ("type", false), ("scale", true), ("zero", true), ("from", true), ("to", true)];
    let _ = writeln!(out, "<section>\n<h2>Quantized activations</h2>\n{}</section>", table(&columns, &rows));
}

fn float(out: &mut String, description: &Description) {
    if description.float.is_empty() {
        return;
    }
    let row = |layer: &super::FloatLayer| {
        vec![
            escape(&layer.name),
            escape(&layer.operator),
            if layer.bytes == 0 { String::new() } else { count(layer.bytes as usize) },
            escape(layer.reason.as_deref().unwrap_or_default()),
        ]
    };
    let rows: Vec<Vec<String>> = description.float.iter().map(row).collect();
    let columns = [("node", false), ("operator", false), ("bytes", true), ("why", false)];
    let _ = writeln!(out, "<section>\n<h2>In float</h2>\n{}</section>", table(&columns, &rows));
}
