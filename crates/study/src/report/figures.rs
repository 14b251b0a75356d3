//! Which charts there are, and what is in them.

use calipers_inspect::number::{fixed, percent, three};
use calipers_workers::protocol::Kind;

use crate::cell::{Framework, Variant, variant_name};
use crate::report::chart::{Chart, Entry, Mark, Panel};
use crate::report::paper::{PROFILES, QUANTITIES, Quantity};
use crate::report::row::{
    Estimate, Row, as_in_the_paper, groups, is_quantized, is_trained, mebibytes, points, rows, shared, timed,
};
use crate::report::{LatencyMetrics, Ledger, Profile, Report, Status};

/// Class of the paper's marks.
const PAPER: &str = "paper";

/// The chart that belongs to a figure of the paper: its numbers and ours of its variants, as the documentation sets the tools.
pub(super) fn of_the_paper(report: &Report, quantity: &Quantity) -> Chart {
    let all = rows(report);
    let ours = as_in_the_paper(report, &all);
    let variants = [Variant::Float, Variant::PtqStatic, Variant::Qat];
    let mut panels = Vec::new();
    for framework in Framework::ALL {
        let mut entries = Vec::new();
        for variant in variants {
            for (_, of, figure) in quantity.published(framework).filter(|(it, ..)| *it == variant) {
                let of = if of.is_empty() { "" } else { &format!(" {of}") };
                entries.push(Entry {
                    label: format!("paper 2023{of} {}", variant_name(variant)),
                    class: PAPER,
                    mark: Mark::Bar(figure.value(), Some((figure.low, figure.high))),
                    text: figure.text(),
                });
            }
            let of = ours
                .iter()
                .filter(|row| row.framework == framework && row.variant == variant && !row.is_tuned());
            entries.extend(of.filter_map(|row| {
                let estimate = (quantity.ours)(row);
                let is_shown = row.status() == Status::Ok && !row.withheld;
                if estimate.is_none() && (is_shown || !(quantity.applies)(row)) {
                    return None;
                }
                let bar = |it: &Estimate| Mark::Bar(it.value, it.ends());
                Some(entry(row, estimate.as_ref(), bar, quantity.write))
            }));
        }
        if entries.iter().any(|entry| !matches!(entry.mark, Mark::Nothing)) {
            panels.push(Panel { title: framework.title().to_owned(), entries });
        }
    }
    Chart {
        id: quantity.id.to_owned(),
        title: quantity.title.to_owned(),
        legend: quantity.legend.to_owned(),
        unit: quantity.unit,
        panels,
    }
}

/// The charts of the paper, in its order.
pub(super) fn all_of_the_paper(report: &Report) -> impl Iterator<Item = (&'static Quantity, Chart)> {
    QUANTITIES.iter().map(|quantity| (quantity, of_the_paper(report, quantity)))
}

/// The mark of a row, or a word where it has none.
fn entry(
    row: &Row<'_>,
    estimate: Option<&Estimate>,
    mark: impl Fn(&Estimate) -> Mark,
    write: fn(f64) -> String,
) -> Entry {
    Entry {
        label: row.name(),
        class: variant_name(row.variant),
        mark: estimate.map_or(Mark::Nothing, mark),
        text: estimate.map_or_else(|| row.status_name().to_owned(), |estimate| write(estimate.value)),
    }
}

/// Panels of rows by framework; rows without an entry are left out, and panels without a mark.
fn panels<'a>(rows: &[Row<'a>], get: impl Fn(&Row<'a>) -> Option<Entry>) -> Vec<Panel> {
    let panel = |(title, rows): (String, Vec<Row<'a>>)| Panel {
        title,
        entries: rows.iter().filter_map(&get).collect(),
    };
    let mut panels: Vec<Panel> = groups(rows).into_iter().map(panel).collect();
    panels.retain(|panel| panel.entries.iter().any(|entry| !matches!(entry.mark, Mark::Nothing)));
    panels
}

/// Accuracy less that of float, with intervals; `of` are rows of one table.
pub(super) fn differences(report: &Report, of: &[Row<'_>], id: &str, title: &str) -> Chart {
    let panels = panels(of, |row| {
        let difference = row.difference().filter(|_| is_trained(report) && row.variant != Variant::Float)?;
        let mark = |it: &Estimate| {
            let it = it.times(100.0);
            Mark::Dot(it.value, it.ends())
        };
        Some(entry(row, Some(&difference), mark, points))
    });
    Chart {
        id: id.to_owned(),
        title: title.to_owned(),
        legend: String::from(
            "Difference to the float model that runs as it does, of the same framework and weights, on the same samples. \
             Whiskers: the bootstrap's 95 % interval, or the standard deviation over seeds. Left of zero, quantization costs \
             accuracy.",
        ),
        unit: "points",
        panels,
    }
}

/// Box plots of latency at batch 1.
pub(super) fn latency(report: &Report) -> Chart {
    let boxed = |row: &Row<'_>, latency: &LatencyMetrics| Entry {
        label: row.name(),
        class: variant_name(row.variant),
        mark: Mark::Box(latency.of_blocks),
        text: three(latency.p50),
    };
    Chart {
        id: String::from("latency"),
        title: String::from("Latency at batch 1"),
        legend: String::from(
            "Medians of the blocks of each cell: the box holds the middle half of them, its line is their median, the \
             whiskers reach the least and the greatest. The number is the median of all inferences.",
        ),
        unit: "ms",
        panels: panels(&rows(report), |row| Some(boxed(row, row.latency()?))),
    }
}

/// Samples a second at the larger batch.
pub(super) fn throughput(report: &Report) -> Chart {
    let batch = report.timing.as_ref().map_or(0, |timing| timing.batch);
    Chart {
        id: String::from("throughput"),
        title: String::from("Throughput"),
        legend: format!("Samples a second by the median inference, {batch} samples at a time."),
        unit: "samples/s",
        panels: panels(&rows(report), |row| {
            let found = row.throughput()?;
            Some(entry(row, Some(&found), |it| Mark::Bar(it.value, it.ends()), three))
        }),
    }
}

/// Bytes of each file by storage type, in shares.
pub(super) fn bytes(report: &Report) -> Chart {
    Chart {
        id: String::from("bytes"),
        title: String::from("Where the bytes of each file are"),
        legend: String::from(
            "Share of the file by the type that its tensors are stored in; the rest is structure, names and padding. \
             Each number is the size of the file in MiB; each tensor is listed with its cell.",
        ),
        unit: "MiB",
        panels: panels(&rows(report), |row| {
            let parts = ledger_parts(row.metrics().find_map(|metrics| metrics.ledger.as_ref())?);
            let size = row.file_bytes()?;
            let mark = |_: &Estimate| Mark::Stack(parts.clone());
            Some(entry(row, Some(&size), mark, mebibytes))
        }),
    }
}

/// Families of storage types, as class and label.
pub(super) const STORAGE: [(&str, &str); 6] = [
    ("stored-small", "8 bit or fewer"),
    ("stored-16", "16-bit integers"),
    ("stored-32", "32- and 64-bit integers"),
    ("stored-half", "half precision"),
    ("stored-float", "float"),
    ("stored-rest", "rest"),
];

fn family(dtype: &str) -> usize {
    let name = dtype.to_ascii_lowercase();
    let bits: String = name.chars().filter(char::is_ascii_digit).collect();
    let is_float = name.contains("float") || name.starts_with('f') || name.starts_with("bf");
    match (is_float, bits.parse::<u32>()) {
        (true, Ok(16)) => 3,
        (true, Ok(bits)) if bits <= 8 => 0,
        (true, _) => 4,
        (false, Ok(bits)) if bits <= 8 => 0,
        (false, Ok(16)) => 1,
        (false, Ok(_)) => 2,
        (false, Err(_)) if name == "bool" => 0,
        (false, Err(_)) => 5,
    }
}

fn ledger_parts(ledger: &Ledger) -> Vec<(&'static str, &'static str, f64)> {
    let mut sizes = [0.0; STORAGE.len()];
    for entry in &ledger.entries {
        sizes[family(&entry.dtype)] += entry.bytes as f64;
    }
    sizes[STORAGE.len() - 1] += ledger.rest.max(0) as f64;
    STORAGE.iter().zip(sizes).map(|((class, label), size)| (*class, *label, size)).collect()
}

/// Kinds of operators as class, label in a bar, and name.
pub(super) const KINDS: [(Kind, &str, &str, &str); 11] = [
    (Kind::Convolution, "kind-convolution", "conv", "convolution"),
    (Kind::MatrixProduct, "kind-matrix", "matmul", "matrix product"),
    (Kind::Recurrent, "kind-recurrent", "rnn", "recurrent"),
    (Kind::Embedding, "kind-embedding", "embed", "embedding"),
    (Kind::Pooling, "kind-pooling", "pool", "pooling"),
    (Kind::Elementwise, "kind-elementwise", "elem", "elementwise"),
    (Kind::Activation, "kind-activation", "act", "activation"),
    (Kind::Normalization, "kind-normalization", "norm", "normalization"),
    (Kind::Conversion, "kind-conversion", "quant", "quantize, dequantize, cast"),
    (Kind::Movement, "kind-movement", "move", "movement"),
    (Kind::Other, "kind-other", "other", "other"),
];

/// What no operator accounts for: class, label in a bar, and name.
pub(super) const RESIDUAL: (&str, &str, &str) =
    ("kind-residual", "–", "residual: no operator accounts for it");

/// Time of each operator kind as shares of an inference.
pub(super) fn profiles(report: &Report) -> Chart {
    let mut panels = panels(&rows(report), |row| {
        let profile = row.metrics().find_map(|metrics| metrics.profile.as_ref())?;
        Some(Entry {
            label: row.name(),
            class: variant_name(row.variant),
            mark: Mark::Stack(profile_parts(profile)),
            text: three(profile.wall_nanoseconds / 1e6),
        })
    });
    let paper = PROFILES.map(|(name, time, convolution, conversion)| {
        let rest = 1.0 - convolution - conversion.unwrap_or_default();
        let parts = vec![
            ("kind-convolution", "conv", convolution),
            ("kind-conversion", "quant", conversion.unwrap_or_default()),
            ("kind-other", "other", rest),
        ];
        Entry {
            label: format!("paper 2023 {name}"),
            class: PAPER,
            mark: Mark::Stack(parts),
            text: three(time),
        }
    });
    if let Some(panel) = panels.iter_mut().find(|panel| panel.title == Framework::PyTorch.title()) {
        panel.entries.splice(0..0, paper);
    }
    Chart {
        id: String::from("operator-profiles"),
        title: String::from("Where the time of an inference goes"),
        legend: String::from(
            "Share of one inference at batch 1, by kind of operator, while it was profiled. The number is the time of one \
             profiled inference, which is longer than one that is not profiled.",
        ),
        unit: "ms",
        panels,
    }
}

fn profile_parts(profile: &Profile) -> Vec<(&'static str, &'static str, f64)> {
    let time = |kind: Kind| -> f64 {
        profile.kinds.iter().filter(|of| of.kind == kind).map(|of| of.nanoseconds).sum()
    };
    let mut parts: Vec<_> = KINDS.iter().map(|&(kind, class, label, _)| (class, label, time(kind))).collect();
    let (class, label, _) = RESIDUAL;
    parts.push((class, label, profile.residual_nanoseconds().max(0.0)));
    parts
}

/// How much of the work of the shared weights' cells is done in 8 bit.
pub(super) fn integer_work(report: &Report) -> Chart {
    let all = rows(report);
    Chart {
        id: String::from("integer-work"),
        title: String::from("How much computes in 8 bit"),
        legend: String::from(
            "Share of the multiply-accumulates of one inference that were seen to be done on integers of 8 bits.",
        ),
        unit: "%",
        panels: panels(&shared(report, &all), |row| {
            if !is_quantized(row.variant) {
                return None;
            }
            let found = row.integer_macs()?.times(100.0);
            Some(entry(row, Some(&found), |it| Mark::Bar(it.value, it.ends()), |value| fixed(value, 1)))
        }),
    }
}

/// Shares of a profile as text: kind, calls, time, share of the inference.
pub(super) fn kind_lines(profile: &Profile) -> Vec<[String; 4]> {
    let whole = profile.wall_nanoseconds.max(profile.sum_nanoseconds());
    let name = |kind| KINDS.iter().find(|(of, ..)| *of == kind).map_or("other", |(.., name)| name);
    profile
        .kinds
        .iter()
        .map(|of| {
            [
                name(of.kind).to_owned(),
                of.calls.to_string(),
                three(of.nanoseconds / 1e3),
                percent(of.nanoseconds / whole),
            ]
        })
        .collect()
}

/// Cost against gain: a point for each row of the shared weights that has accuracy and, by [`timed`], latency.
pub(super) fn trade(report: &Report) -> Vec<(String, String, &'static str, f64, f64)> {
    if !is_trained(report) {
        return Vec::new();
    }
    let all = rows(report);
    let point = |row: Row<'_>| {
        let (accuracy, time) = (row.accuracy()?.value, timed(&all, &row).milliseconds()?.value);
        Some((row.full_name(), row.anchor(), variant_name(row.variant), time, accuracy))
    };
    shared(report, &all).into_iter().filter_map(point).collect()
}
