//! The paper's figures and tables in the paper's order, each with its numbers of 2023 beside ours.

use std::fmt::Write as _;

use calipers_inspect::escape;
use calipers_inspect::page::{Rows, grouped_table};

use super::legend;
use crate::cell::{VARIANTS, variant_name};
use crate::report::Report;
use crate::report::figures::all_of_the_paper;
use crate::report::paper::{ISSUES, caveat, profile_table, table};
use crate::report::row::rows;

/// The whole part.
pub(super) fn section(report: &Report) -> String {
    let mut out = format!("<p>{}</p>\n", escape(&caveat(report)));
    out.push_str(&legend([
        ("paper", "the paper, 2023"),
        ("float", "float"),
        ("ptq-static", "quantized after training"),
        ("qat", "trained in 8 bit (QAT)"),
    ]));
    for (quantity, chart) in all_of_the_paper(report) {
        out.push_str(&chart.html(3));
        let groups: Vec<Rows> = table(report, quantity)
            .into_iter()
            .map(|(framework, lines)| Rows {
                title: escape(framework.title()),
                rows: lines
                    .iter()
                    .map(|line| {
                        let class = if line.is_paper { "published" } else { "" };
                        let cells = std::iter::once(&line.label).chain(&line.cells);
                        (class, cells.map(|cell| escape(cell)).collect())
                    })
                    .collect(),
            })
            .collect();
        let columns: Vec<(&str, bool)> = std::iter::once(("", false))
            .chain(VARIANTS.map(|variant| (variant_name(variant), true)))
            .collect();
        let _ = write!(
            out,
            "<details><summary>All paths and variants as a table</summary>\n{}</details>\n",
            grouped_table(quantity.title, &columns, &groups)
        );
    }
    profile(&mut out, report);
    if rows(report).iter().any(|row| row.metrics().any(|metrics| !metrics.weights.is_empty())) {
        out.push_str(
            "<h3>Weights of the last layer, float and 8 bit</h3>\n<p>The paper shows a histogram of the last layer’s weights \
             before and after quantization. Here they are of <a href=\"#weights\">every cell</a>, and of every layer.</p>\n",
        );
    }
    let _ = writeln!(
        out,
        "<h3>The table of issues</h3>\n<p>{}</p>",
        escape(ISSUES).replace("`calipers gaps`", "<code>calipers gaps</code>")
    );
    out
}

fn profile(out: &mut String, report: &Report) {
    let groups: Vec<Rows> = profile_table(report)
        .into_iter()
        .map(|(framework, lines)| Rows {
            title: escape(framework.title()),
            rows: lines
                .iter()
                .map(|(label, is_paper, numbers)| {
                    let cells = std::iter::once(label).chain(numbers).map(|cell| escape(cell)).collect();
                    (if *is_paper { "published" } else { "" }, cells)
                })
                .collect(),
        })
        .collect();
    let columns = [
        ("", false),
        ("Time of an inference\nms", true),
        ("in convolutions\n%", true),
        ("in quantizing and dequantizing\n%", true),
    ];
    let has_profiles = rows(report).iter().any(|row| row.metrics().any(|metrics| metrics.profile.is_some()));
    let more = if has_profiles { " All of our profiles are <a href=\"#profiles\">below</a>." } else { "" };
    let _ = write!(
        out,
        "<h3>Operator profile</h3>\n<p>The paper profiled five samples in PyTorch (33 ms in float, 13 ms in 8 bit) and none in \
         TensorFlow.{more}</p>\n{}",
        grouped_table("Operator profile", &columns, &groups)
    );
}
