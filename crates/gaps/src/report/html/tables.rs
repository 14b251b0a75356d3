//! The paper's table and the capabilities.

use std::fmt::Write as _;

use calipers_inspect::escape;
use calipers_inspect::number::three;

use super::Links;
use crate::framework::Framework;
use crate::report::legend::{answer, today_sign};
use crate::report::plain::{clean, counted};
use crate::report::summary::questions;
use crate::report::{Capability, Report, Today};

/// The table of 2023, row by row.
pub(super) fn paper(out: &mut String, report: &Report, links: &Links) {
    if report.paper.is_empty() {
        return;
    }
    let count = |today: Today| report.paper.iter().filter(|row| row.today == today).count();
    let counts: Vec<String> = [Today::StillTrue, Today::Changed, Today::NoLonger, Today::NotProbed]
        .into_iter()
        .filter(|today| count(*today) > 0)
        .map(|today| format!("{} {}", count(today), today.title()))
        .collect();
    let _ = writeln!(
        out,
        "<section id=\"paper\">\n<h2>The table of 2023, today</h2>\n<p>What the paper listed as issues in 2023, held against \
         what this run found: {}.</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-label=\"The table of 2023\">\n<table class=\"words\">\n<thead><tr><th scope=\"col\">Framework</th>\
         <th scope=\"col\">In 2023</th><th scope=\"col\">Today</th><th scope=\"col\">What was found</th></tr></thead>\n\
         <tbody>",
        counts.join(", ")
    );
    for row in &report.paper {
        let evidence: Vec<String> = row.evidence.iter().map(|key| links.to(key)).collect();
        let evidence = match evidence.is_empty() {
            true => String::new(),
            false => format!("<p class=\"refs\">{}</p>", evidence.join(" ")),
        };
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}<small>{}</small></th><td>{}</td><td><span class=\"today {}\">{} {}</span></td>\
             <td>{}{evidence}</td></tr>",
            escape(row.framework.title()),
            escape(&row.topic),
            escape(&clean(&row.statement)),
            match row.today {
                Today::StillTrue => "still",
                Today::NoLonger => "gone",
                Today::Changed => "changed",
                Today::NotProbed => "unknown",
            },
            today_sign(row.today),
            escape(row.today.title()),
            escape(&clean(&row.finding)),
        );
    }
    out.push_str("</tbody>\n</table>\n</div>\n</section>\n");
}

/// Questions by frameworks.
pub(super) fn capabilities(out: &mut String, report: &Report) {
    if report.capabilities.is_empty() {
        return;
    }
    let frameworks: Vec<Framework> = Framework::ALL
        .into_iter()
        .filter(|framework| report.capabilities.iter().any(|it| it.framework == *framework))
        .collect();
    out.push_str(
        "<section id=\"capabilities\">\n<h2>Capabilities</h2>\n<p>Questions that are not about one layer. Each was answered \
         by trying it.</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Capabilities\">\n\
         <table class=\"words wide\">\n<thead><tr><th scope=\"col\">Question</th>",
    );
    for framework in &frameworks {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escape(framework.title()));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for (question, answers) in questions(report, &frameworks) {
        let _ = write!(out, "<tr><th scope=\"row\">{}</th>", escape(&question.title));
        for (framework, found) in frameworks.iter().zip(answers) {
            match found {
                Some(capability) => cell(out, capability),
                None => {
                    let title = escape(framework.title());
                    let _ =
                        write!(out, "<td data-label=\"{title}\"><span class=\"none\">not asked</span></td>");
                }
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</div>\n</section>\n");
}

fn cell(out: &mut String, capability: &Capability) {
    let (sign, word) = answer(capability.answer);
    let _ = write!(
        out,
        "<td id=\"{}/{}\" data-label=\"{}\"><span class=\"answer {}\">{sign} {word}</span> {}",
        capability.framework,
        escape(&capability.name),
        escape(capability.framework.title()),
        if capability.answer.is_some() { word } else { "unknown" },
        escape(&clean(&capability.summary))
    );
    let numbers = capability
        .numbers
        .iter()
        .map(|(name, number)| format!("{}: {}", name.replace('_', " "), three(*number)));
    let evidence: Vec<String> = numbers.chain(capability.evidence.iter().map(|line| clean(line))).collect();
    if !evidence.is_empty() {
        let _ = write!(
            out,
            "<details><summary>evidence, {}</summary><ul>",
            counted(evidence.len(), "item", "items")
        );
        for line in evidence {
            let _ = write!(out, "<li>{}</li>", escape(&line));
        }
        out.push_str("</ul></details>");
    }
    out.push_str("</td>");
}
