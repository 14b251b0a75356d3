//! A study as it goes on, on standard error: one bar for all of it with the time left, one line for the present step.

use std::io::IsTerminal;
use std::time::Duration;

use calipers::study::report::{CellReport, ParityGate, Status, StepGate};
use calipers::study::{Event, Watcher};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Bars on a terminal, plain lines elsewhere.
pub struct Display {
    bars: Option<Bars>,
    step: String,
}

struct Bars {
    all: MultiProgress,
    whole: ProgressBar,
    step: ProgressBar,
}

impl Display {
    /// For this process's standard error.
    pub fn new() -> Display {
        let bars = std::io::stderr().is_terminal().then(|| {
            let all = MultiProgress::new();
            let whole = all.add(ProgressBar::new(0));
            whole.set_style(style("{elapsed_precise} [{wide_bar}] {percent}% {msg}", "=> "));
            let step = all.add(ProgressBar::new(0));
            step.set_style(style("         {spinner} {wide_msg}", "=> "));
            step.enable_steady_tick(Duration::from_millis(120));
            Bars { all, whole, step }
        });
        Display { bars, step: String::new() }
    }

    /// Takes the bars away.
    pub fn finish(&self) {
        if let Some(bars) = &self.bars {
            bars.step.finish_and_clear();
            bars.whole.finish_and_clear();
        }
    }

    fn line(&self, line: &str) {
        match &self.bars {
            // Where the terminal is gone there is nobody to tell.
            Some(bars) => drop(bars.all.println(line)),
            None => eprintln!("{line}"),
        }
    }
}

fn style(template: &str, characters: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars(characters)
}

impl Watcher for Display {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Plan { units } => {
                if let Some(bars) = &self.bars {
                    bars.whole.set_length(units);
                    bars.whole.reset_elapsed();
                }
            }
            Event::Work { units } => {
                if let Some(bars) = &self.bars {
                    bars.whole.inc(units);
                    let left = bars.whole.eta();
                    bars.whole.set_message(if left.is_zero() {
                        String::new()
                    } else {
                        format!("about {} left", duration(left))
                    });
                }
            }
            Event::Step { title } => {
                title.clone_into(&mut self.step);
                match &self.bars {
                    Some(bars) => bars.step.set_message(title.to_owned()),
                    None => eprintln!("{title}"),
                }
            }
            Event::Progress { stage, done, total, detail } => {
                if let Some(bars) = &self.bars {
                    let of = total.map_or(String::new(), |total| format!(" of {total}"));
                    let space = if detail.is_empty() { "" } else { ", " };
                    bars.step.set_message(format!("{}: {stage} {done}{of}{space}{detail}", self.step));
                }
            }
            Event::Parity(gate) => self.line(&parity(gate)),
            Event::Steps(gate) => self.line(&steps(gate)),
            Event::Cell(report) => self.line(&cell(report)),
            Event::Note { text } => self.line(&format!("note    {text}")),
        }
    }
}

fn verdict(passed: bool) -> &'static str {
    if passed { "passed" } else { "FAILED" }
}

fn parity(gate: &ParityGate) -> String {
    let pair = format!("{} and {}", gate.framework.title(), gate.reference.title());
    let found = match (gate.difference, &gate.error) {
        (Some(difference), _) => {
            format!("logits differ by {difference:.1e} at most, {:.1e} allowed", gate.allowed)
        }
        (None, error) => error.clone().unwrap_or_default(),
    };
    format!("{}  parity on weights {}: {pair}: {found}", verdict(gate.passed), gate.weights)
}

fn steps(gate: &StepGate) -> String {
    let pair = format!("{} and {}", gate.framework.title(), gate.reference.title());
    let found = match (gate.weights, &gate.error) {
        (Some(weights), _) => {
            let statistics = gate.statistics.map_or(String::new(), |difference| {
                format!(", statistics after the first by {difference:.1e}")
            });
            format!("weights differ by {weights:.1e}{statistics}, {:.1e} allowed", gate.allowed)
        }
        (None, error) => error.clone().unwrap_or_default(),
    };
    format!("{}  after {} steps: {pair}: {found}", verdict(gate.passed), gate.steps)
}

fn cell(report: &CellReport) -> String {
    let first_line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    let reason = report.error.as_ref().map(|error| first_line(&error.message)).unwrap_or_default();
    match report.status {
        Status::Ok => {
            let accuracy = report
                .metrics
                .accuracy
                .map_or(String::new(), |accuracy| format!(": {:.2} %", 100.0 * accuracy.share.value));
            format!("ok      {}{accuracy}", report.cell)
        }
        Status::Failed => format!("FAILED  {}: {reason}", report.cell),
        Status::Skipped => format!("skipped {}: {reason}", report.cell),
    }
}

/// A duration in words that fit: `45 s`, `12 min`, `3 h 20 min`.
fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..90 => format!("{seconds} s"),
        seconds @ 90..5_400 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    #[test]
    fn durations_are_short() {
        let texts = [45, 600, 12_000].map(|seconds| duration(Duration::from_secs(seconds)));
        assert_eq!(texts, ["45 s", "10 min", "3 h 20 min"]);
    }
}
