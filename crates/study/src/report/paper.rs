//! The paper's numbers, and its figures with ours beside them, in its order.
//!
//! Source: "Quantization Support Comparison for Tensorflow and Pytorch", a course project at Columbia University, 2023:
//! ResNet18 without BatchNorm on CIFAR-10, baseline, post-training quantization (PTQ) and quantization-aware training
//! (QAT). Its "MB" are MiB: 42.62 of them hold the model's 11.17 million 32-bit weights.

use calipers_inspect::number::{self, MISSING, fixed, three};
use calipers_workers::protocol::Kind;

use crate::cell::{Framework, VARIANTS, Variant};
use crate::report::row::{Estimate, Row, as_in_the_paper, rows, text};
use crate::report::{Profile, Report};
use crate::spec::Source;

/// A number of the paper.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figure {
    /// Where it gives a range, its lower end.
    pub low: f64,
    /// Where it gives a range, its upper end.
    pub high: f64,
    /// Whether it gives it only roughly, in a chart or in words.
    pub about: bool,
}

const fn exactly(value: f64) -> Figure {
    Figure { low: value, high: value, about: false }
}

const fn about(value: f64) -> Figure {
    Figure { low: value, high: value, about: true }
}

const fn between(low: f64, high: f64) -> Figure {
    Figure { low, high, about: false }
}

impl Figure {
    /// Its middle.
    pub fn value(self) -> f64 {
        f64::midpoint(self.low, self.high)
    }

    /// As the paper writes it.
    pub fn text(self) -> String {
        let number = |value: f64| if value >= 1_000.0 { fixed(value, 0) } else { format!("{value}") };
        let about = if self.about { "about " } else { "" };
        if self.low < self.high {
            format!("{} to {}", number(self.low), number(self.high))
        } else {
            format!("{about}{}", number(self.low))
        }
    }
}

/// A line of the paper: framework, what it is called where it is not the framework's usual one, and a number for each
/// variant that it has.
#[derive(Clone, Copy, Debug)]
struct Published {
    framework: Framework,
    of: &'static str,
    numbers: &'static [(Variant, Figure)],
}

const fn published(framework: Framework, numbers: &'static [(Variant, Figure)]) -> Published {
    Published { framework, of: "", numbers }
}

/// Something that the paper shows a figure of, and this study measures too.
#[derive(Clone, Copy)]
pub(super) struct Quantity {
    /// For links, and for the names of charts.
    pub id: &'static str,
    pub title: &'static str,
    pub unit: &'static str,
    /// What is compared, in a sentence.
    pub legend: &'static str,
    published: &'static [Published],
    /// Whether a row would have it, had it not failed.
    pub applies: fn(&Row<'_>) -> bool,
    /// What this study measured, in that unit.
    pub ours: fn(&Row<'_>) -> Option<Estimate>,
    /// How a number is written.
    pub write: fn(f64) -> String,
}

use Framework::{PyTorch, TensorFlow};
use Variant::{Float, PtqStatic, Qat};

/// The paper's figures, in its order.
pub(super) const QUANTITIES: [Quantity; 6] = [
    Quantity {
        id: "paper-accuracy",
        title: "Top-1 accuracy on the test split",
        unit: "%",
        legend: "Each framework trained its own weights; those that do not train were given the shared ones. Whiskers: 95 % \
                 interval, or the standard deviation over seeds.",
        published: &[
            published(PyTorch, &[(Float, exactly(57.2)), (PtqStatic, exactly(53.3)), (Qat, exactly(65.1))]),
            published(TensorFlow, &[(Float, about(76.0)), (PtqStatic, about(75.0)), (Qat, about(81.0))]),
        ],
        applies: |_| true,
        ours: |row| Some(row.accuracy()?.times(100.0)),
        write: |value| fixed(value, 1),
    },
    Quantity {
        id: "paper-latency-gpu",
        title: "Latency of one inference on a GPU",
        unit: "ms",
        legend: "Float alone: no framework of the study quantizes for this GPU.",
        published: &[
            published(PyTorch, &[(Float, between(1.7, 2.1))]),
            published(TensorFlow, &[(Float, about(9.0))]),
        ],
        applies: |row| row.is_on_gpu(),
        ours: |row| row.milliseconds().filter(|_| row.is_on_gpu()),
        write: three,
    },
    Quantity {
        id: "paper-latency",
        title: "Latency of one inference on the CPU",
        unit: "ms",
        legend: "Median, at batch 1.",
        published: &[
            published(PyTorch, &[(Float, exactly(7.27)), (PtqStatic, exactly(3.01)), (Qat, exactly(2.96))]),
            Published { framework: PyTorch, of: "TorchScript", numbers: &[(PtqStatic, between(1.44, 1.54))] },
            published(TensorFlow, &[(Float, about(90.0)), (PtqStatic, exactly(18.7)), (Qat, exactly(18.6))]),
        ],
        applies: |row| !row.is_on_gpu(),
        ours: |row| row.milliseconds().filter(|_| !row.is_on_gpu()),
        write: three,
    },
    Quantity {
        id: "paper-size",
        title: "Size of the deployed file",
        unit: "MiB",
        legend: "The file as it is on the disk.",
        published: &[
            published(PyTorch, &[(Float, exactly(42.62)), (PtqStatic, exactly(10.76))]),
            published(TensorFlow, &[(Float, exactly(42.61)), (PtqStatic, exactly(11.31))]),
        ],
        applies: |row| !row.is_on_gpu(),
        ours: |row| Some(row.file_bytes()?.times(number::mebibytes(1.0))),
        write: three,
    },
    Quantity {
        id: "paper-training",
        title: "Training time of an epoch",
        unit: "s",
        legend: "Median over the epochs of the variant.",
        published: &[
            published(PyTorch, &[(Float, exactly(16.80)), (Qat, exactly(32.82))]),
            published(TensorFlow, &[(Float, exactly(18.04)), (Qat, exactly(57.34))]),
        ],
        applies: |row| row.framework.trains() && row.variant != PtqStatic && !row.is_on_gpu(),
        ours: |row| row.seconds_per_epoch(),
        write: three,
    },
    Quantity {
        id: "paper-calibration",
        title: "Time of post-training quantization with calibration",
        unit: "s",
        legend: "Preparing, calibrating and converting.",
        published: &[
            published(PyTorch, &[(PtqStatic, about(40.0))]),
            published(TensorFlow, &[(PtqStatic, about(1_900.0))]),
        ],
        applies: |row| row.variant == PtqStatic,
        ours: |row| row.calibration().filter(|_| row.variant == PtqStatic),
        write: three,
    },
];

impl Quantity {
    /// What the paper has of a framework: variant, what it is of, number.
    pub fn published(&self, framework: Framework) -> impl Iterator<Item = (Variant, &'static str, Figure)> {
        let lines = self.published.iter().filter(move |line| line.framework == framework);
        lines.flat_map(|line| line.numbers.iter().map(|&(variant, figure)| (variant, line.of, figure)))
    }

    /// Title and unit.
    pub fn heading(&self) -> String {
        format!("{}, {}", self.title, self.unit)
    }
}

/// A line of such a figure as a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub label: String,
    /// Whether the numbers are the paper's.
    pub is_paper: bool,
    /// In the order of the variants.
    pub cells: [String; VARIANTS.len()],
}

/// A figure as a table: the paper's line of each framework, then ours of each of its paths.
pub(super) fn table(report: &Report, quantity: &Quantity) -> Vec<(Framework, Vec<Line>)> {
    let all = rows(report);
    let ours = as_in_the_paper(report, &all);
    let mut groups = Vec::new();
    for framework in Framework::ALL {
        let mut lines = Vec::new();
        for published in quantity.published.iter().filter(|line| line.framework == framework) {
            let number = |variant| published.numbers.iter().find(|(of, _)| *of == variant);
            let of = if published.of.is_empty() { "" } else { &format!("{}, ", published.of) };
            lines.push(Line {
                label: format!("{of}paper 2023"),
                is_paper: true,
                cells: VARIANTS.map(|it| number(it).map_or_else(missing, |(_, figure)| figure.text())),
            });
        }
        let mut paths: Vec<(&str, bool)> = Vec::new();
        for row in ours.iter().filter(|row| row.framework == framework && (quantity.ours)(row).is_some()) {
            if !paths.contains(&(row.path(), row.is_tuned())) {
                paths.push((row.path(), row.is_tuned()));
            }
        }
        for (path, tuned) in paths {
            let cell = |variant| {
                let row = ours.iter().find(|row| {
                    (row.framework, row.path(), row.is_tuned(), row.variant)
                        == (framework, path, tuned, variant)
                });
                row.map_or_else(missing, |row| text((quantity.ours)(row), quantity.write))
            };
            let tuned = if tuned { " tuned" } else { "" };
            lines.push(Line { label: format!("{path}{tuned}"), is_paper: false, cells: VARIANTS.map(cell) });
        }
        if !lines.is_empty() {
            groups.push((framework, lines));
        }
    }
    groups
}

/// A line of the paper's profile: whose, milliseconds of an inference, and shares of it in convolutions and in quantizing
/// and dequantizing.
pub(super) type ProfileLine = (String, bool, [String; 3]);

/// Time of one of the paper's five profiled samples, and the shares that it tells; in float it quantizes nothing.
pub(super) const PROFILES: [(&str, f64, f64, Option<f64>); 2] =
    [("float", 33.0 / 5.0, 0.70, None), ("ptq-static", 13.0 / 5.0, 0.27, Some(0.34))];

/// The paper's operator profile with ours beside it.
pub(super) fn profile_table(report: &Report) -> Vec<(Framework, Vec<ProfileLine>)> {
    let all = rows(report);
    let ours = as_in_the_paper(report, &all);
    let mut groups = Vec::new();
    for framework in Framework::ALL {
        let mut lines: Vec<ProfileLine> = Vec::new();
        if framework == PyTorch {
            lines.extend(PROFILES.iter().map(|(name, time, convolution, conversion)| {
                let conversion = conversion.map_or_else(missing, number::percent);
                (
                    format!("{name}, paper 2023"),
                    true,
                    [three(*time), number::percent(*convolution), conversion],
                )
            }));
        }
        for row in
            ours.iter().filter(|row| row.framework == framework && matches!(row.variant, Float | PtqStatic))
        {
            let Some(profile) = row.metrics().find_map(|metrics| metrics.profile.as_ref()) else { continue };
            let share = |kind| number::percent(kind_share(profile, kind));
            let numbers =
                [three(profile.wall_nanoseconds / 1e6), share(Kind::Convolution), share(Kind::Conversion)];
            lines.push((row.name(), false, numbers));
        }
        if !lines.is_empty() {
            groups.push((framework, lines));
        }
    }
    groups
}

/// Share of an inference that operators of a kind take.
fn kind_share(profile: &Profile, kind: Kind) -> f64 {
    let time: f64 = profile.kinds.iter().filter(|of| of.kind == kind).map(|of| of.nanoseconds).sum();
    time / profile.wall_nanoseconds.max(profile.sum_nanoseconds())
}

/// Why the paper's numbers and ours differ even where nothing is wrong.
pub(super) fn caveat(report: &Report) -> String {
    let study = &report.study;
    let model = if study.model.name == "resnet18" && !study.model.batch_norm {
        ""
    } else {
        " with another model (ResNet18 without BatchNorm)"
    };
    let data = if study.data.source == Source::Cifar10 { "" } else { " on other data (CIFAR-10)" };
    if model.is_empty() && data.is_empty() {
        return String::from(
            "The paper's numbers were measured in 2023 on another machine, with other versions, and with different initial \
             weights in each framework.",
        );
    }
    format!(
        "The paper's numbers were measured in 2023{model}{data}, on another machine and with other versions: only ratios within a \
         framework bear comparison."
    )
}

/// Where the paper's table of issues is made again.
pub(super) const ISSUES: &str = "The paper ends with a table of what each framework cannot do. `calipers gaps` makes it \
     again by running every kind of layer on every path, and says what is still so.";

fn missing() -> String {
    MISSING.to_owned()
}
