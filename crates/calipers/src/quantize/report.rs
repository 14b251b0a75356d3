//! What became of a model, as JSON and as text.

use std::fmt::Write as _;
use std::path::PathBuf;

use calipers_quant::{FloatNode, Summary};
use indexmap::IndexMap;
use indicatif::{DecimalBytes, HumanCount};
use serde::Serialize;

use super::verify::{Share, Verification};

/// What became of a model.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The float model.
    pub model: PathBuf,
    /// The quantized model.
    pub output: PathBuf,
    /// All that was written, the model first.
    pub files: Vec<PathBuf>,
    /// Short name of the precision, or `quantized` for a recipe of the user's own.
    pub precision: String,
    /// The default operator set of the output.
    pub opset: Option<i64>,
    /// Length of the float model's file; with its weights where they are in files beside it.
    pub bytes_before: u64,
    /// Length of the output.
    pub bytes_after: u64,
    /// Share of weights that are stored as integers, from 0 to 1.
    pub share_of_weights: f64,
    /// Share of multiply-accumulates on integers, from 0 to 1.
    pub share_of_macs: f64,
    /// What is quantized and what is not, and why.
    pub summary: Summary,
    /// `None` where nothing is quantized statically.
    pub calibration: Option<Calibration>,
    /// `None` without data.
    pub verification: Option<Verification>,
    /// Whether the written file was loaded and ran.
    pub ran: bool,
    /// What the user may want to know.
    pub notes: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

/// The calibration.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Calibration {
    /// Samples that were run.
    pub samples: u64,
    /// Values whose range was found.
    pub values: usize,
    /// How long it took.
    pub seconds: f64,
    /// The most memory that the process had in use until then, where the system says so.
    pub peak_memory_bytes: Option<u64>,
}

/// Notes that the text has room for.
const NOTES: usize = 8;

/// Output at which the difference is worth a word: below, the noise has more than a tenth of the signal's power.
const POOR_SQNR: f64 = 10.0;

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, content: String| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {name:<13}{content}");
        };
        let ratio = 100.0 * self.bytes_after as f64 / (self.bytes_before.max(1)) as f64;
        line(
            "size",
            format!(
                "{} -> {} ({ratio:.1} %)",
                DecimalBytes(self.bytes_before),
                DecimalBytes(self.bytes_after)
            ),
        );
        line(
            "in integers",
            format!(
                "{:.1} % of the weights, {:.1} % of the multiply-accumulates",
                100.0 * self.share_of_weights,
                100.0 * self.share_of_macs
            ),
        );
        if let Some(calibration) = &self.calibration {
            let memory = calibration
                .peak_memory_bytes
                .map_or(String::new(), |bytes| format!(", {} of memory at most", DecimalBytes(bytes)));
            line(
                "calibration",
                format!(
                    "{} samples, {} values, {:.1} s{memory}",
                    HumanCount(calibration.samples),
                    calibration.values,
                    calibration.seconds
                ),
            );
        }
        match (&self.verification, self.ran) {
            (Some(verification), _) => verified(verification, &mut line),
            (None, true) => {
                line("checked", String::from("loaded and run on zeros; give --data to compare both models"))
            }
            (None, false) => line(
                "checked",
                String::from(
                    "loaded; it was not run, because the float model does not run on zeros; give --data",
                ),
            ),
        }
        let head = format!("{}: {}", self.output.display(), self.precision);
        let opset = self.opset.map_or(String::new(), |opset| format!(", operator set {opset}"));
        let mut text = format!("{head}{opset}, in {:.1} s\n{text}", self.seconds);
        let nodes = self.summary.quantized
            + self.summary.dynamic
            + self.summary.weight_only.len()
            + self.summary.float.len();
        groups(&mut text, "computed in float with integer weights", &self.summary.weight_only, nodes);
        groups(&mut text, "left in float", &self.summary.float, nodes);
        for note in self.notes.iter().take(NOTES) {
            let _ = writeln!(text, "note: {note}");
        }
        if let Some(more) = self.notes.len().checked_sub(NOTES).filter(|&more| more > 0) {
            let _ = writeln!(text, "note: {more} more with --json");
        }
        for file in &self.files {
            let _ = writeln!(text, "wrote {}", file.display());
        }
        text
    }
}

fn verified(verification: &Verification, line: &mut impl FnMut(&str, String)) {
    let of = if verification.held_out { "not used for calibration" } else { "used for calibration too" };
    let samples = format!("on {} samples, {of}", HumanCount(verification.samples as u64));
    if let (Some(before), Some(after)) = (&verification.accuracy_before, &verification.accuracy_after) {
        line("accuracy", format!("{} -> {} {samples}", share(before), share(after)));
    }
    if let Some(agreement) = &verification.agreement {
        line(
            "agreement",
            format!("{} of {} decisions {samples}", share(agreement), HumanCount(agreement.of as u64)),
        );
    }
    for output in &verification.outputs {
        let noise = match output.sqnr {
            Some(sqnr) => format!("SQNR {sqnr:.1} dB, differs by {:.3e} at most", output.largest_difference),
            None => String::from("no difference"),
        };
        let samples = if verification.agreement.is_none() { format!(" {samples}") } else { String::new() };
        line("output", format!("{}: {noise}{samples}", output.name));
    }
}

/// What in a verification asks for a closer look.
pub fn doubts(verification: &Verification) -> Option<String> {
    let poor = verification.outputs.iter().find(|output| output.sqnr.is_some_and(|sqnr| sqnr < POOR_SQNR))?;
    Some(format!(
        "output `{}` differs much from that of the float model; `calipers compare` names the layer to blame, and \
         --exclude leaves it in float",
        poor.name
    ))
}

fn share(share: &Share) -> String {
    format!("{:.2} % ({:.2} to {:.2})", 100.0 * share.value, 100.0 * share.low, 100.0 * share.high)
}

/// Nodes by the reason why they are where they are: how many of each operator, and the first names.
fn groups(text: &mut String, title: &str, nodes: &[FloatNode], all: usize) {
    if nodes.is_empty() {
        return;
    }
    let _ = writeln!(text, "{title}: {} of {all} nodes", nodes.len());
    let mut by_reason: IndexMap<&str, Vec<&FloatNode>> = IndexMap::new();
    for node in nodes {
        by_reason.entry(&node.reason).or_default().push(node);
    }
    for (reason, nodes) in by_reason {
        let mut operators: IndexMap<&str, usize> = IndexMap::new();
        for node in &nodes {
            *operators.entry(&node.operator).or_default() += 1;
        }
        let operators: Vec<String> =
            operators.iter().map(|(operator, count)| format!("{count} {operator}")).collect();
        let mut names: Vec<&str> = nodes.iter().take(3).map(|node| node.name.as_str()).collect();
        if nodes.len() > names.len() {
            names.push("...");
        }
        let _ = writeln!(text, "  {} ({}): {reason}", operators.join(", "), names.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use calipers_quant::FloatNode;

    use super::groups;

    #[test]
    fn nodes_are_grouped_by_reason() {
        let node = |name: &str, operator: &str, reason: &str| FloatNode {
            name: name.to_owned(),
            operator: operator.to_owned(),
            reason: reason.to_owned(),
        };
        let nodes = [
            node("a", "TopK", "no form"),
            node("b", "Conv", "excluded"),
            node("c", "TopK", "no form"),
            node("d", "Erf", "no form"),
            node("e", "Erf", "no form"),
        ];
        let mut text = String::new();
        groups(&mut text, "left in float", &nodes, 9);
        assert_eq!(
            text,
            "left in float: 5 of 9 nodes\n  2 TopK, 2 Erf (a, c, d, ...): no form\n  1 Conv (b): excluded\n"
        );
    }
}
