//! Pages that need nothing else: no script, no font, no image from elsewhere; and charts as inline SVG.

use std::fmt::Write as _;

const STYLE: &str = include_str!("page.css");

/// A whole page around a body of HTML.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// What kind of page it is, in small print above the title.
    pub kicker: &'a str,
    /// Its title.
    pub title: &'a str,
    /// What it is about; each line of the text stands on a line of its own.
    pub subject: &'a str,
    /// CSS after that of every page.
    pub style: &'a str,
    /// HTML before `main`, for those who come by keyboard.
    pub before: &'a str,
    /// HTML of the page itself.
    pub body: &'a str,
}

impl Page<'_> {
    /// The page. Its policy lets it run no script and load nothing.
    pub fn html(&self) -> String {
        let Page { kicker, title, subject, style, before, body } = *self;
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"generator\" content=\"Calipers {}\">\n<title>{title} · Calipers</title>\n\
             <style>\n{STYLE}{style}</style>\n</head>\n<body>\n{before}<main id=\"main\">\n<header>\n\
             <p class=\"kicker\">{}</p>\n<h1>{title}</h1>\n<p class=\"subject\">{}</p>\n</header>\n\
             {body}</main>\n</body>\n</html>\n",
            env!("CARGO_PKG_VERSION"),
            escape(kicker),
            escape(subject).replace('\n', "<br>"),
            title = escape(title),
        )
    }
}

/// A page with nothing but a body.
pub(crate) fn page(kicker: &str, title: &str, subject: &str, body: &str) -> String {
    Page { kicker, title, subject, style: "", before: "", body }.html()
}

/// Text without a meaning for HTML, in elements and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Rows of a table below a line that names them.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// HTML of that line; there is none where it is empty.
    pub title: String,
    /// Class and cells of each row; cells are HTML.
    pub rows: Vec<(&'static str, Vec<String>)>,
}

/// A table; columns with `true` hold numbers. Cells are HTML.
pub(crate) fn table(columns: &[(&str, bool)], rows: &[Vec<String>]) -> String {
    let rows = rows.iter().map(|row| ("", row.clone())).collect();
    grouped_table("", columns, &[Rows { title: String::new(), rows }])
}

/// A table in groups, which scrolls inside its own box; columns with `true` hold numbers, and a line break in the name of
/// a column is one. `name` is for those who hear the page.
pub fn grouped_table(name: &str, columns: &[(&str, bool)], groups: &[Rows]) -> String {
    let region = match name {
        "" => String::new(),
        name => format!(" role=\"region\" aria-label=\"{}\"", escape(name)),
    };
    let mut out = format!("<div class=\"scroll\" tabindex=\"0\"{region}>\n<table>\n<thead><tr>");
    let class = |number: bool| if number { " class=\"number\"" } else { "" };
    for (name, number) in columns {
        let name = escape(name).replace('\n', "<br>");
        let _ = write!(out, "<th scope=\"col\"{}>{name}</th>", class(*number));
    }
    out.push_str("</tr></thead>\n");
    for Rows { title, rows } in groups {
        out.push_str("<tbody>\n");
        if !title.is_empty() {
            let span = columns.len();
            let _ = writeln!(
                out,
                "<tr class=\"group\"><th colspan=\"{span}\" scope=\"rowgroup\"><span>{title}</span></th></tr>"
            );
        }
        for (of, row) in rows {
            match *of {
                "" => out.push_str("<tr>"),
                of => out.push_str(&format!("<tr class=\"{of}\">")),
            }
            for (index, ((_, number), cell)) in columns.iter().zip(row).enumerate() {
                match index {
                    0 => out.push_str(&format!("<th scope=\"row\">{cell}</th>")),
                    _ => out.push_str(&format!("<td{}>{cell}</td>", class(*number))),
                }
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody>\n");
    }
    out.push_str("</table>\n</div>\n");
    out
}

/// A bar of a chart.
pub(crate) struct Bar {
    pub label: String,
    /// `None` where there is no number.
    pub value: Option<f64>,
    /// The number as it is written.
    pub text: String,
    pub marked: bool,
}

const WIDTH: f64 = 960.0;
const LEFT: f64 = 330.0;
/// Width of a character of a number, at most.
const CHARACTER: f64 = 7.5;
const ROW: f64 = 20.0;

/// Horizontal bars from zero, to the left where they are negative.
pub(crate) fn bars(title: &str, legend: &str, bars: &[Bar]) -> String {
    let values = || bars.iter().filter_map(|bar| bar.value).filter(|value| value.is_finite());
    let low = values().fold(0.0f64, f64::min);
    let high = values().fold(0.0f64, f64::max);
    let span = if high > low { high - low } else { 1.0 };
    let longest = bars.iter().map(|bar| bar.text.chars().count()).max().unwrap_or(0);
    let right = 16.0 + CHARACTER * longest.min(40) as f64;
    let x = |value: f64| LEFT + (value.clamp(low, high) - low) / span * (WIDTH - LEFT - right);
    let height = bars.len() as f64 * ROW + 8.0;
    let mut out = format!(
        "<figure>\n<figcaption><strong>{}</strong><span>{}</span></figcaption>\n<svg viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\" aria-label=\"{}\">\n",
        escape(title),
        escape(legend),
        escape(title)
    );
    let zero = x(0.0);
    let _ =
        writeln!(out, "<line class=\"zero\" x1=\"{zero:.1}\" y1=\"0\" x2=\"{zero:.1}\" y2=\"{height}\"/>");
    for (index, bar) in bars.iter().enumerate() {
        let top = index as f64 * ROW + 4.0;
        let base = top + 13.0;
        let _ = write!(
            out,
            "<text class=\"label\" x=\"{:.1}\" y=\"{base:.1}\">{}</text>",
            LEFT - 10.0,
            escape(&bar.label)
        );
        let mut end = zero;
        if let Some(value) = bar.value.filter(|value| value.is_finite()) {
            let (from, to) = (zero.min(x(value)), zero.max(x(value)));
            end = to;
            let class = if bar.marked { "marked" } else { "bar" };
            let _ = write!(
                out,
                "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\"/>",
                (to - from).max(1.0),
                ROW - 6.0
            );
        }
        let _ = writeln!(
            out,
            "<text class=\"value\" x=\"{:.1}\" y=\"{base:.1}\">{}</text>",
            end + 6.0,
            escape(&bar.text)
        );
    }
    out.push_str("</svg>\n</figure>\n");
    out
}

/// A histogram of the size of a line; heights by square root, so that tails can be seen.
pub(crate) fn histogram(bins: &[u64], label: &str) -> String {
    let most = bins.iter().copied().max().unwrap_or(0).max(1) as f64;
    let (width, height) = (4.0, 26.0);
    let mut out = format!(
        "<svg class=\"histogram\" viewBox=\"0 0 {:.0} {height:.0}\" role=\"img\" aria-label=\"{}\">",
        bins.len() as f64 * width,
        escape(label)
    );
    for (index, &count) in bins.iter().enumerate().filter(|(_, count)| **count > 0) {
        let tall = ((count as f64 / most).sqrt() * height).max(1.0);
        let _ = write!(
            out,
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"/>",
            index as f64 * width,
            height - tall,
            width - 0.6
        );
    }
    out.push_str("</svg>");
    out
}

#[cfg(test)]
mod tests {
    use super::{Bar, bars, escape, page};

    #[test]
    fn what_comes_from_files_has_no_meaning() {
        assert_eq!(escape("<a b='\"&\u{7}>"), "&lt;a b=&#39;&quot;&amp;\u{fffd}&gt;");
        let bar = |value| Bar { label: String::from("<x>"), value, text: String::from("&"), marked: false };
        let chart = bars("t", "l", &[bar(Some(1.0)), bar(Some(f64::NAN)), bar(None)]);
        let page = page("k", "<script>", "s", &chart);
        assert!(!page.contains("<script") && !page.contains("<x>") && !page.contains("NaN"), "{page}");
        assert_eq!(page.matches("<rect").count(), 1);
    }
}
