//! Bar charts as inline SVG; colours come from the page's style sheet.

use std::fmt::Write as _;

use calipers_inspect::escape;
use calipers_inspect::number::{fixed, three};

use crate::cell::{Framework, Variant, variant_name};
use crate::report::row::{Estimate, Row, Spread, is_quantized, rows};
use crate::report::verdict::{cost, is_trained};
use crate::report::{Report, Status};

/// A chart: bars from zero, grouped by framework.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    /// For the page's links and the SVG's labels.
    id: &'static str,
    pub title: &'static str,
    /// What the whiskers are, in a sentence.
    pub legend: &'static str,
    unit: &'static str,
    /// Dots with whiskers around zero in place of bars.
    dots: bool,
    bars: Vec<Bar>,
}

#[derive(Clone, Debug)]
struct Bar {
    framework: Framework,
    label: String,
    variant: Variant,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Value { value: f64, whisker: Option<(f64, f64)>, text: String },
    Word(&'static str),
}

impl Content {
    fn of(estimate: Estimate, write: fn(f64) -> String) -> Content {
        Content::Value { value: estimate.value, whisker: estimate.ends(), text: write(estimate.value) }
    }
}

/// The charts that there are numbers for.
pub(super) fn charts(report: &Report) -> Vec<Chart> {
    let rows = rows(report);
    let chart = |id, title, unit, legend, get: &dyn Fn(&Row<'_>) -> Option<Content>, applies: &[Variant]| {
        let of = rows.iter().filter(|row| applies.contains(&row.variant));
        let bars = of.filter_map(|row| {
            let content = match (get(row), row.status()) {
                (Some(content), _) => content,
                (None, Status::Ok) if !row.withheld => return None,
                (None, _) => Content::Word(row.status_name()),
            };
            let label = row.name();
            Some(Bar { framework: row.framework, label, variant: row.variant, content })
        });
        Chart { id, title, legend, unit, dots: false, bars: bars.collect() }
    };
    let all = crate::cell::VARIANTS;
    let quantized: Vec<Variant> = all.into_iter().filter(|&variant| is_quantized(variant)).collect();
    let accuracy = |row: &Row<'_>| {
        let share = row.accuracy()?;
        let spread = match share.spread {
            Spread::Unknown => Spread::Unknown,
            Spread::Interval(low, high) => Spread::Interval(100.0 * low, 100.0 * high),
            Spread::Deviation(deviation) => Spread::Deviation(100.0 * deviation),
        };
        Some(Content::of(Estimate { value: 100.0 * share.value, spread }, |value| fixed(value, 1)))
    };
    let against_float = |row: &Row<'_>| {
        let cost = cost(row, &rows).filter(|_| is_trained(report))?;
        let sign = if cost.value > 0.0 { "+" } else { "" };
        let text = format!("{sign}{}", fixed(100.0 * cost.value, 2));
        Some(Content::Value {
            value: 100.0 * cost.value,
            whisker: Some((100.0 * cost.low, 100.0 * cost.high)),
            text,
        })
    };
    let latency = |row: &Row<'_>| {
        let (p50, p90, _) = row.latency()?;
        Some(Content::Value {
            value: p50.value,
            whisker: Some((p50.value, p90.value)),
            text: three(p50.value),
        })
    };
    let mut charts = vec![
        chart(
            "accuracy",
            "Accuracy",
            "%",
            "Top-1 on the test split. Whiskers: 95 % interval.",
            &accuracy,
            &all,
        ),
        Chart {
            dots: true,
            ..chart(
                "cost",
                "Accuracy against float",
                "points",
                "Difference to the float model of the same framework, on the same images. Whiskers: 95 % interval.",
                &against_float,
                &quantized,
            )
        },
        chart(
            "latency",
            "Latency",
            "ms",
            "Median time of one inference at batch 1. Whiskers: up to the 90th percentile.",
            &latency,
            &all,
        ),
        chart(
            "size",
            "File size",
            "MiB",
            "The file that is deployed.",
            &|row| Some(Content::of(row.mebibytes()?, three)),
            &all,
        ),
        chart(
            "training",
            "Training time",
            "s per epoch",
            "Median over the epochs of this variant.",
            &|row| Some(Content::of(row.seconds_per_epoch()?, three)),
            &[Variant::Float, Variant::FloatFinetuned, Variant::Qat],
        ),
        chart(
            "calibration",
            "Post-training quantization",
            "s",
            "Preparing, calibrating and converting.",
            &|row| Some(Content::of(row.calibration()?, three)),
            &[Variant::PtqStatic],
        ),
    ];
    charts.retain(|chart| chart.bars.iter().any(|bar| matches!(bar.content, Content::Value { .. })));
    charts
}

const WIDTH: f64 = 430.0;
const LEFT: f64 = 156.0;
const RIGHT: f64 = 50.0;
const ROW: f64 = 24.0;
const HEAD: f64 = 28.0;
const AXIS: f64 = 26.0;

impl Chart {
    /// The chart as an SVG element.
    pub fn svg(&self) -> String {
        let groups = self.bars.iter().map(|bar| bar.framework).collect::<std::collections::BTreeSet<_>>();
        let body = groups.len() as f64 * HEAD + self.bars.len() as f64 * ROW;
        let (low, high, step) = self.scale();
        let x = |value: f64| LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT);
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-labelledby=\"{id}-title {id}-desc\">\n\
             <title id=\"{id}-title\">{}, {}</title>\n<desc id=\"{id}-desc\">{}</desc>\n",
            body + AXIS,
            escape(self.title),
            escape(self.unit),
            escape(&self.description()),
            id = self.id,
        );
        let ticks = ((high - low) / step).round() as usize;
        for tick in 0..=ticks {
            let value = low + tick as f64 * step;
            let zero = if value.abs() < step / 1e6 { " zero" } else { "" };
            let (at, end) = (x(value), body + 4.0);
            let _ = write!(
                out,
                "<line class=\"grid{zero}\" x1=\"{at:.1}\" y1=\"4\" x2=\"{at:.1}\" y2=\"{end:.1}\"/>"
            );
            let text = tick_text(value, step);
            let _ =
                writeln!(out, "<text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\">{text}</text>", body + 19.0);
        }
        let mut y = 0.0;
        let mut group = None;
        for bar in &self.bars {
            if group != Some(bar.framework) {
                group = Some(bar.framework);
                let title = bar.framework.title();
                let _ =
                    writeln!(out, "<text class=\"group\" x=\"0\" y=\"{:.1}\">{title}</text>", y + HEAD - 9.0);
                y += HEAD;
            }
            self.bar(&mut out, bar, y, &x);
            y += ROW;
        }
        out.push_str("</svg>\n");
        out
    }

    fn bar(&self, out: &mut String, bar: &Bar, y: f64, x: &dyn Fn(f64) -> f64) {
        let middle = y + ROW / 2.0;
        let base = middle + 4.5;
        let _ = write!(out, "<text class=\"label\" x=\"10\" y=\"{base:.1}\">{}</text>", escape(&bar.label));
        let (value, whisker, text) = match &bar.content {
            Content::Word(word) => {
                let _ = writeln!(
                    out,
                    "<text class=\"word\" x=\"{:.1}\" y=\"{base:.1}\">{word}</text>",
                    x(0.0) + 6.0
                );
                return;
            }
            Content::Value { value, whisker, text } => (*value, *whisker, text),
        };
        let class = variant_name(bar.variant);
        if self.dots {
            let _ =
                write!(out, "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{middle:.1}\" r=\"5\"/>", x(value));
        } else {
            let (from, to) = (x(0.0), x(value).max(x(0.0) + 1.0));
            let _ = write!(
                out,
                "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\"/>",
                y + 4.0,
                to - from,
                ROW - 8.0
            );
        }
        let mut end = x(value);
        if let Some((low, high)) = whisker.filter(|(low, high)| low < high) {
            let (from, to) = (x(low), x(high));
            let _ = write!(
                out,
                "<path class=\"whisker\" d=\"M{from:.1} {middle:.1}H{to:.1}M{to:.1} {top:.1}v8\"/>",
                top = middle - 4.0
            );
            if low < value {
                let _ = write!(out, "<path class=\"whisker\" d=\"M{from:.1} {:.1}v8\"/>", middle - 4.0);
            }
            end = end.max(to);
        }
        let _ = writeln!(
            out,
            "<text class=\"value\" x=\"{:.1}\" y=\"{base:.1}\">{}</text>",
            end + 6.0,
            escape(text)
        );
    }

    /// Ends of the axis and the step between its ticks.
    fn scale(&self) -> (f64, f64, f64) {
        let (mut low, mut high) = (0.0f64, 0.0f64);
        for bar in &self.bars {
            if let Content::Value { value, whisker, .. } = &bar.content {
                let (from, to) = whisker.unwrap_or((*value, *value));
                low = low.min(*value).min(from);
                high = high.max(*value).max(to);
            }
        }
        if high <= low {
            high = low + 1.0;
        }
        let step = nice((high - low) / 4.0);
        ((low / step).floor() * step, (high / step).ceil() * step, step)
    }

    /// The numbers in words, for those who hear the chart.
    fn description(&self) -> String {
        let mut out = String::from(self.legend);
        for bar in &self.bars {
            let value = match &bar.content {
                Content::Value { text, .. } => format!("{text} {}", self.unit),
                Content::Word(word) => (*word).to_owned(),
            };
            let _ = write!(out, " {} {}: {value}.", bar.framework.title(), bar.label);
        }
        out
    }

    /// Title with the unit.
    pub fn heading(&self) -> String {
        format!("{}, {}", self.title, self.unit)
    }
}

/// The next larger 1, 2 or 5 times a power of ten.
fn nice(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough * 0.999);
    factor.unwrap_or(10.0) * power
}

fn tick_text(value: f64, step: f64) -> String {
    fixed(value, (-step.log10().floor()).max(0.0) as usize)
}
