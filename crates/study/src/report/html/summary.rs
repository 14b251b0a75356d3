//! The first part of the page: what was found, in plain words.

use std::fmt::Write as _;

use calipers_inspect::escape;
use calipers_inspect::page::{Rows, grouped_table};

use super::tone_class;
use crate::report::Report;
use crate::report::checks::{Sentence, Tone, checks};
use crate::report::summary::{SCHEMES, answers, headline, schemes, what_schemes_are};

/// The summary with its headline.
pub(super) fn section(out: &mut String, report: &Report) {
    let Sentence { tone, text } = headline(report);
    let more = match tone {
        Tone::Bad => {
            "<small>The frameworks were not shown to compute or to train the same thing, so quantized rows that \
             depend on it are withheld. The gates below say where.</small>"
        }
        Tone::Good | Tone::Plain | Tone::Caution => "",
    };
    let _ = writeln!(
        out,
        "<section id=\"summary\" aria-label=\"Summary\">\n<h2 class=\"unseen\">Summary</h2>\n\
         <p class=\"headline {}\">{}{more}</p>",
        tone_class(tone),
        escape(&text)
    );
    out.push_str("<dl class=\"answers\">\n");
    for answer in answers(report) {
        let _ = writeln!(
            out,
            "<div class=\"{}\"><dt>{}</dt><dd><strong>{}</strong><span>{}</span></dd></div>",
            tone_class(answer.tone),
            escape(answer.question),
            escape(&answer.answer),
            escape(&answer.sure)
        );
    }
    out.push_str("</dl>\n");
    let lines = schemes(report);
    if !lines.is_empty() {
        let columns = SCHEMES.map(|title| (title, title != SCHEMES[0] && title != SCHEMES[2]));
        let rows = lines.iter().map(|line| ("", line.iter().map(|cell| escape(cell)).collect())).collect();
        out.push_str("<h3>Which scheme, at what price</h3>\n");
        out.push_str(&grouped_table("Schemes", &columns, &[Rows { title: String::new(), rows }]));
        let _ = writeln!(out, "<p class=\"fine\">{}</p>", escape(&what_schemes_are(report)));
    }
    out.push_str("<h3>How far to trust it</h3>\n<ul class=\"findings\">\n");
    for Sentence { tone, text } in checks(report) {
        let _ = writeln!(out, "<li class=\"{}\">{}</li>", tone_class(tone), escape(&text));
    }
    out.push_str("</ul>\n</section>\n");
}
