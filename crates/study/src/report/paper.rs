//! The paper's numbers, and its tables with ours beside them.
//!
//! Source: "Quantization Support Comparison for Tensorflow and Pytorch", a course project at Columbia University, 2023:
//! ResNet18 without BatchNorm on CIFAR-10, baseline, post-training quantization (PTQ) and quantization-aware training
//! (QAT). Its "MB" are MiB: 42.62 of them hold the model's 11.17 million 32-bit weights.

use calipers_inspect::number::{self, MISSING, three};

use crate::cell::{Framework, VARIANTS, Variant};
use crate::report::Report;
use crate::report::row::{Row, rows, text};
use crate::spec::Source;

/// A number of the paper.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figure {
    pub value: f64,
    /// Whether the paper gives it only roughly, in a chart or in words.
    pub about: bool,
}

/// What the paper says of one framework.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Findings {
    pub framework: Framework,
    /// Baseline, PTQ, QAT.
    pub accuracy_percent: [Figure; 3],
    /// Baseline, PTQ, QAT; on its CPU.
    pub latency_milliseconds: [Figure; 3],
    /// Baseline, 8 bit.
    pub size_mebibytes: [Figure; 2],
    /// Baseline, QAT.
    pub epoch_seconds: [Figure; 2],
    pub calibration_seconds: Figure,
}

const fn exactly(value: f64) -> Figure {
    Figure { value, about: false }
}

const fn about(value: f64) -> Figure {
    Figure { value, about: true }
}

/// PyTorch 2.0 in the paper.
pub(super) const PYTORCH: Findings = Findings {
    framework: Framework::PyTorch,
    accuracy_percent: [exactly(57.2), exactly(53.3), exactly(65.1)],
    latency_milliseconds: [exactly(7.27), exactly(3.01), exactly(2.96)],
    size_mebibytes: [exactly(42.62), exactly(10.76)],
    epoch_seconds: [exactly(16.80), exactly(32.82)],
    calibration_seconds: about(40.0),
};

/// TensorFlow in the paper.
pub(super) const TENSORFLOW: Findings = Findings {
    framework: Framework::TensorFlow,
    accuracy_percent: [about(76.0), about(75.0), about(81.0)],
    latency_milliseconds: [about(90.0), exactly(18.7), exactly(18.6)],
    size_mebibytes: [exactly(42.61), exactly(11.31)],
    epoch_seconds: [exactly(18.04), exactly(57.34)],
    calibration_seconds: about(1_900.0),
};

/// One of the paper's tables: a column for each variant.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PaperTable {
    pub title: &'static str,
    pub lines: Vec<Line>,
}

/// A line of such a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub label: String,
    /// Whether the numbers are the paper's.
    pub is_paper: bool,
    /// In the order of [`COLUMNS`].
    pub cells: [String; 4],
}

/// Heads of the columns, in the order of the variants.
pub(super) const COLUMNS: [&str; 4] = ["float", "float-finetuned", "ptq-static", "qat"];

/// Why the paper's numbers and ours differ even where nothing is wrong.
pub(super) fn caveat(report: &Report) -> &'static str {
    let study = &report.study;
    if study.model.name == "resnet18" && !study.model.batch_norm && study.data.source == Source::Cifar10 {
        "The paper's numbers were measured in 2023 on another machine, with other versions, and with different initial \
         weights in each framework."
    } else {
        "The paper's numbers were measured in 2023 with another model (ResNet18 without BatchNorm) on other data \
         (CIFAR-10), on another machine and with other versions: only ratios within a line bear comparison."
    }
}

/// The paper's tables with this study's numbers beside them.
pub(super) fn tables(report: &Report) -> Vec<PaperTable> {
    let rows = rows(report);
    let table = |title, theirs: fn(&Findings, Variant) -> Option<Figure>, ours: fn(&Row<'_>) -> String| {
        let mut lines = Vec::new();
        for framework in Framework::ALL {
            let of: Vec<&Row<'_>> = rows.iter().filter(|row| row.framework == framework).collect();
            if let Some(findings) =
                [PYTORCH, TENSORFLOW].iter().find(|findings| findings.framework == framework)
            {
                let cells = VARIANTS.map(|variant| theirs(findings, variant).map_or_else(missing, written));
                lines.push(Line {
                    label: format!("{}, paper 2023", framework.title()),
                    is_paper: true,
                    cells,
                });
            }
            lines.extend(our_lines(framework, &of, ours));
        }
        PaperTable { title, lines }
    };
    vec![
        table(
            "Top-1 accuracy on the test split, %",
            |paper, variant| match variant {
                Variant::Float => Some(paper.accuracy_percent[0]),
                Variant::FloatFinetuned => None,
                Variant::PtqStatic => Some(paper.accuracy_percent[1]),
                Variant::Qat => Some(paper.accuracy_percent[2]),
            },
            |row| text(row.accuracy(), number::percent),
        ),
        table(
            "Latency of one inference on the CPU (median), ms",
            |paper, variant| match variant {
                Variant::Float => Some(paper.latency_milliseconds[0]),
                Variant::FloatFinetuned => None,
                Variant::PtqStatic => Some(paper.latency_milliseconds[1]),
                Variant::Qat => Some(paper.latency_milliseconds[2]),
            },
            |row| text(row.latency().map(|(p50, _, _)| p50), three),
        ),
        table(
            "Size of the deployed file, MiB",
            |paper, variant| match variant {
                Variant::Float => Some(paper.size_mebibytes[0]),
                Variant::FloatFinetuned | Variant::Qat => None,
                Variant::PtqStatic => Some(paper.size_mebibytes[1]),
            },
            |row| text(row.mebibytes(), three),
        ),
        table(
            "Training time of an epoch, s",
            |paper, variant| match variant {
                Variant::Float => Some(paper.epoch_seconds[0]),
                Variant::FloatFinetuned | Variant::PtqStatic => None,
                Variant::Qat => Some(paper.epoch_seconds[1]),
            },
            |row| text(row.seconds_per_epoch(), three),
        ),
        table(
            "Time of post-training quantization with calibration, s",
            |paper, variant| match variant {
                Variant::PtqStatic => Some(paper.calibration_seconds),
                Variant::Float | Variant::FloatFinetuned | Variant::Qat => None,
            },
            |row| text(row.calibration(), three),
        ),
    ]
}

/// A framework's first line has each variant's first path, its second line the second ones, and so on.
fn our_lines(framework: Framework, rows: &[&Row<'_>], write: fn(&Row<'_>) -> String) -> Vec<Line> {
    let mut lines = Vec::new();
    for place in 0.. {
        let found = VARIANTS.map(|variant| rows.iter().filter(|row| row.variant == variant).nth(place));
        let mut paths: Vec<&str> = Vec::new();
        for row in found.iter().flatten() {
            if !paths.contains(&row.path) {
                paths.push(row.path);
            }
        }
        if paths.is_empty() {
            break;
        }
        let cells = found.map(|row| row.map_or_else(missing, |row| write(row)));
        lines.push(Line {
            label: format!("{} {}", framework.title(), paths.join(", ")),
            is_paper: false,
            cells,
        });
    }
    lines
}

fn missing() -> String {
    MISSING.to_owned()
}

fn written(figure: Figure) -> String {
    let Figure { value, about } = figure;
    let number = if value >= 1_000.0 { number::fixed(value, 0) } else { format!("{value}") };
    if about { format!("about {number}") } else { number }
}
