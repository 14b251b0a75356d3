//! An evaluation as text for a terminal.

use std::fmt::Write as _;

use crate::number::{count, fixed, percent2, three};
use crate::table::{Align, Table};

use super::{Evaluation, Share};

/// The evaluation as text.
pub fn text(evaluation: &Evaluation) -> String {
    let mut out = format!("{}\n  {} samples\n", evaluation.model.display(), count(evaluation.samples));
    let mut line = |label: &str, share: Option<Share>| {
        if let Some(share) = share {
            let _ = writeln!(out, "  {label:<10} {}", share_text(&share));
        }
    };
    line("top-1", evaluation.top1);
    line("top-5", evaluation.top5);
    if let Some(against) = &evaluation.against {
        let _ = writeln!(out, "against {}", against.model.display());
        let mut line = |label: &str, share: Option<Share>| {
            if let Some(share) = share {
                let _ = writeln!(out, "  {label:<10} {}", share_text(&share));
            }
        };
        line("its top-1", against.top1);
        line("its top-5", against.top5);
        line("agreement", against.agreement);
        if let Some(difference) = against.accuracy_difference {
            let points =
                |share: f64| format!("{}{}", if share > 0.0 { "+" } else { "" }, fixed(100.0 * share, 2));
            let _ = writeln!(
                out,
                "  accuracy   {} points [{}, {}] against it",
                points(difference.value),
                points(difference.low),
                points(difference.high)
            );
        }
        let mut table = Table::new([
            ("output", Align::Left),
            ("largest difference", Align::Right),
            ("mean", Align::Right),
            ("SQNR dB", Align::Right),
        ]);
        for output in &against.outputs {
            let name = match output.name == output.other {
                true => output.name.clone(),
                false => format!("{} / {}", output.name, output.other),
            };
            let sqnr = output.sqnr.map_or(String::from("equal"), |sqnr| fixed(sqnr, 1));
            table.row([name, three(output.largest), three(output.mean), sqnr]);
        }
        out.push_str(&table.text());
    }
    for note in &evaluation.notes {
        let _ = writeln!(out, "note: {note}");
    }
    out
}

/// `91.20 % [90.63, 91.74], 9,120 of 10,000`.
fn share_text(share: &Share) -> String {
    format!(
        "{} % [{}, {}], {} of {}",
        percent2(share.share.value),
        percent2(share.share.low),
        percent2(share.share.high),
        count(share.hits),
        count(share.of)
    )
}
