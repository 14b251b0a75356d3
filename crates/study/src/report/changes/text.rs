//! What changed, for the terminal.

use std::fmt::Write as _;

use calipers_inspect::number::{count, percent2, ratio, three};
use calipers_inspect::table::{Align, Table};

use crate::cell::Cell;
use crate::report::Status;
use crate::report::changes::{Changes, Difference};
use crate::report::row::points;
use crate::report::table::wrapped;

/// Latencies that differ by less than this share are not listed: two runs on one machine differ by as much.
const LISTED: f64 = 0.05;
/// Longest name or value in a table.
const LONGEST: usize = 44;

impl Changes {
    /// The changes as text of at most 110 columns.
    pub fn text(&self) -> String {
        let mut out =
            wrapped(&format!("Changes from the run of {} to that of {}", self.before, self.after), "    ");
        self.cells(&mut out);
        self.accuracy(&mut out);
        self.latency(&mut out);
        self.size(&mut out);
        for (title, differences) in
            [("Versions", &self.versions), ("Machine and data", &self.circumstances), ("Study", &self.study)]
        {
            facts(&mut out, title, differences);
        }
        out.push('\n');
        for caution in &self.cautions {
            out.push_str(&wrapped(&format!("! {caution}"), "    "));
        }
        out
    }

    fn cells(&self, out: &mut String) {
        for (title, cells) in [("only in the newer run", &self.added), ("only in the older run", &self.gone)]
        {
            if !cells.is_empty() {
                let names: Vec<String> = cells.iter().map(Cell::to_string).collect();
                out.push_str(&wrapped(
                    &format!("{} {title}: {}", counted(cells.len()), names.join(", ")),
                    "    ",
                ));
            }
        }
        if !self.withheld.is_empty() {
            let count = counted(self.withheld.len());
            let are = if self.withheld.len() == 1 { "is" } else { "are" };
            out.push_str(&wrapped(&format!("{count} {are} withheld because a gate failed"), "    "));
        }
        let mut table = Table::new([("cell", Align::Left), ("before", Align::Left), ("after", Align::Left)]);
        for moved in &self.statuses {
            table.row([
                moved.cell.to_string(),
                status(moved.before).to_owned(),
                status(moved.after).to_owned(),
            ]);
        }
        section(out, "Status", &table, &unless_none(self.cells_in_both, "cells", "all ended as before"));
    }

    fn accuracy(&self, out: &mut String) {
        let mut table = Table::new([
            ("cell", Align::Left),
            ("before %", Align::Right),
            ("after %", Align::Right),
            ("points [95 %, Newcombe]", Align::Right),
        ]);
        let told = || self.accuracies.iter().filter(|change| change.is_told_apart());
        for change in told() {
            let found = change.difference;
            let difference =
                format!("{} [{}, {}]", points(found.value), points(found.low), points(found.high));
            table.row([change.cell.to_string(), percent2(change.before), percent2(change.after), difference]);
        }
        let nothing =
            unless_none(self.accuracies.len(), "cells", "no difference that can be told from chance");
        section(out, "Accuracy", &table, &nothing);
        rest(out, self.accuracies.len(), told().count(), "cannot be told from before");
    }

    fn latency(&self, out: &mut String) {
        let mut table = Table::new([
            ("cell", Align::Left),
            ("before ms", Align::Right),
            ("after ms", Align::Right),
            ("after / before", Align::Right),
        ]);
        let listed = || self.latencies.iter().filter(|change| (change.ratio - 1.0).abs() >= LISTED);
        for change in listed() {
            table.row([
                change.cell.to_string(),
                three(change.before),
                three(change.after),
                ratio(change.ratio),
            ]);
        }
        section(
            out,
            "Latency, not paired: of other times on the machine",
            &table,
            &unless_none(self.latencies.len(), "cells", "none differs by 5 % or more"),
        );
        rest(out, self.latencies.len(), listed().count(), "differ by less than 5 %");
    }

    fn size(&self, out: &mut String) {
        let mut table = Table::new([
            ("cell", Align::Left),
            ("before bytes", Align::Right),
            ("after bytes", Align::Right),
            ("after / before", Align::Right),
        ]);
        for change in &self.sizes {
            let bytes = [change.before, change.after].map(|bytes| count(bytes as usize));
            table.row([change.cell.to_string()].into_iter().chain(bytes).chain([ratio(change.ratio)]));
        }
        section(out, "Size", &table, &unless_none(self.files_in_both, "files", "all are as large as before"));
    }
}

fn facts(out: &mut String, title: &str, differences: &[Difference]) {
    let mut table = Table::new([("", Align::Left), ("before", Align::Left), ("after", Align::Left)]);
    let short = |text: &str| {
        let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if clean.chars().count() <= LONGEST {
            clean
        } else {
            clean.chars().take(LONGEST - 1).chain(['…']).collect()
        }
    };
    for difference in differences {
        let value = |side: &Option<String>| side.as_deref().map_or_else(|| String::from("–"), short);
        table.row([short(&difference.what), value(&difference.before), value(&difference.after)]);
    }
    section(out, title, &table, "as before");
}

fn section(out: &mut String, title: &str, table: &Table, nothing: &str) {
    if table.is_empty() {
        let _ = write!(out, "\n{title}: {nothing}\n");
    } else {
        let _ = write!(out, "\n{title}\n{}", table.text());
    }
}

/// What is said where nothing differs: of how many, or that there was nothing to compare.
fn unless_none(compared: usize, of_what: &str, nothing: &str) -> String {
    if compared == 0 {
        String::from("nothing to compare")
    } else {
        format!("{nothing} ({compared} {of_what} compared)")
    }
}

/// How many are not listed above.
fn rest(out: &mut String, all: usize, listed: usize, how: &str) {
    if listed > 0 && all > listed {
        let _ = writeln!(out, "  {} more {how}", counted(all - listed));
    }
}

fn counted(cells: usize) -> String {
    if cells == 1 { String::from("1 cell") } else { format!("{cells} cells") }
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Failed => "failed",
        Status::Skipped => "skipped",
    }
}
