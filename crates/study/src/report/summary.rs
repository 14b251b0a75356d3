//! The study in plain words: who won what, by how much, and how sure that is.

mod awareness;
mod schemes;

use std::cmp::Ordering;

use calipers_inspect::number::{count, percent2, ratio, three};

use crate::cell::Cell;
use crate::report::checks::{Sentence, Tone};
use crate::report::row::{
    Estimate, Row, Spread, complete, is_quantized, is_trained, mebibytes, points, probability, rows, shared,
};
use crate::report::{Report, Timing};
use crate::statistics::Interval;

pub(super) use schemes::{SCHEMES, schemes, what_schemes_are};

/// A question of a reader, the answer, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub tone: Tone,
    pub question: &'static str,
    pub answer: String,
    pub sure: String,
}

/// The study in a sentence or two.
pub(super) fn headline(report: &Report) -> Sentence {
    if !report.gates_pass() {
        return Sentence { tone: Tone::Bad, text: String::from("No parity, no comparison.") };
    }
    let mut parts: Vec<String> = Vec::new();
    if let Some(best) = most_accurate(report, &complete(report)) {
        let value = percent2(best.accuracy.value);
        let name = best.row.full_name();
        parts.push(match best.level.len() {
            _ if best.others == 0 => {
                format!("{name} is the only model of the same weights {MOSTLY_8_BIT}, at {value} %.")
            }
            0 => format!("{name} is the most accurate model of the same weights {MOSTLY_8_BIT}, at {value} %."),
            level => {
                let which = if level == best.others { "all" } else { &format!("{level} of") };
                format!(
                    "{name} has the highest accuracy of the models of the same weights {MOSTLY_8_BIT}, {value} %, but the \
                     95 % intervals of {which} {} others overlap with its own.",
                    best.others
                )
            }
        });
    }
    let Some(timing) = &report.timing else {
        parts.push(String::from("Nothing was timed."));
        return Sentence { tone: Tone::Caution, text: parts.join(" ") };
    };
    let all = rows(report);
    let (tone, text) = match winner(report, timing, timing.fastest.as_ref(), timed_on_the_processor(&all)) {
        Ok(cell) => {
            let time =
                milliseconds_of(&all, cell).map_or_else(String::new, |(time, _)| format!(", with {time}"));
            (Tone::Plain, format!("{} is the fastest{time} per inference.", name_of(&all, cell)))
        }
        Err((tone, _)) if !timing.trustworthy => (tone, distrust(timing)),
        Err((tone, why)) => (tone, format!("No fastest model is named. {why}")),
    };
    parts.push(text);
    Sentence { tone, text: parts.join(" ") }
}

/// The questions that the study can answer.
pub(super) fn answers(report: &Report) -> Vec<Answer> {
    let (all, complete) = (rows(report), complete(report));
    let mut answers = Vec::new();
    answers.extend(accuracy(report, &complete));
    answers.extend(kept(report, &complete));
    answers.extend(speed(report, &all));
    answers.extend(throughput(report, &all));
    answers.extend(size(report, &complete));
    answers.extend(memory(report, &complete));
    answers.extend(calibration(report, &complete));
    answers.extend(awareness::against_control(report, &complete));
    answers.extend(awareness::against_notebook(report, &complete));
    answers
}

/// What makes a model one of 8 bit.
const MOSTLY_8_BIT: &str = "that do at least half of their multiply-accumulates in 8 bit";

/// What an accuracy of several seeds is; nothing where there is one.
fn of_seeds(report: &Report) -> &'static str {
    if report.study.seeds.len() > 1 {
        " Accuracies are means over seeds, with Wilson's interval at the size of the test split, which all seeds share."
    } else {
        ""
    }
}

/// The most accurate row, and those whose intervals reach into its own.
struct Best<'a> {
    row: Row<'a>,
    accuracy: Interval,
    level: Vec<Row<'a>>,
    others: usize,
}

fn best_of<'a>(candidates: Vec<Row<'a>>) -> Option<Best<'a>> {
    let mut known: Vec<(Interval, Row<'a>)> =
        candidates.into_iter().filter_map(|row| Some((row.mean_accuracy()?, row))).collect();
    // Stable: of equals the first in the report's order.
    known.sort_by(|a, b| b.0.value.total_cmp(&a.0.value));
    let mut known = known.into_iter();
    let (accuracy, row) = known.next()?;
    let others = known.len();
    let level = known.filter(|(other, _)| other.high >= accuracy.low).map(|(_, row)| row).collect();
    Some(Best { row, accuracy, level, others })
}

fn most_accurate<'a>(report: &Report, all: &[Row<'a>]) -> Option<Best<'a>> {
    if !is_trained(report) {
        return None;
    }
    best_of(shared(report, all).into_iter().filter(Row::is_mostly_8_bit).collect())
}

fn accuracy(report: &Report, all: &[Row<'_>]) -> Option<Answer> {
    let best = most_accurate(report, all)?;
    let Interval { value, low, high } = best.accuracy;
    let others = best.others;
    let sure = match best.level.len() {
        _ if others == 0 => String::from("It is the only one."),
        0 => format!("Its 95 % interval lies above those of all {others} others."),
        level if level == others => {
            format!("The 95 % intervals of all {others} others overlap with its own.")
        }
        level => {
            let names: Vec<String> = best.level.iter().take(4).map(Row::full_name).collect();
            let more = if level > names.len() {
                format!(" and {} more", level - names.len())
            } else {
                String::new()
            };
            format!(
                "The 95 % intervals of {level} of {others} others overlap with its own: {}{more}.",
                names.join(", ")
            )
        }
    };
    Some(Answer {
        tone: if best.level.is_empty() { Tone::Good } else { Tone::Plain },
        question: "Most accurate in 8 bit, of the same weights",
        answer: format!(
            "{}: {} % [{}, {}]",
            best.row.full_name(),
            percent2(value),
            percent2(low),
            percent2(high)
        ),
        sure: format!("Of the models {MOSTLY_8_BIT}. {sure}{}", of_seeds(report)),
    })
}

/// How many quantized models lose accuracy that can be measured.
fn kept(report: &Report, all: &[Row<'_>]) -> Option<Answer> {
    if !is_trained(report) {
        return None;
    }
    let known: Vec<Row<'_>> = shared(report, all)
        .into_iter()
        .filter(|row| is_quantized(row.variant) && row.difference().is_some())
        .collect();
    let of = |direction| known.iter().filter(|row| row.direction() == direction).count();
    let (lost, gained, level) = (of(Some(Ordering::Less)), of(Some(Ordering::Greater)), of(None));
    // The first of equals.
    let (change, row) = known
        .iter()
        .filter_map(|row| Some((row.difference()?, row)))
        .min_by(|a, b| b.0.value.abs().total_cmp(&a.0.value.abs()))?;
    let gain = if gained > 0 { format!(", {gained} gain") } else { String::new() };
    let together = if report.study.seeds.len() > 1 { ", on the samples of all seeds together" } else { "" };
    let chance = row.probability_of_chance().map_or_else(String::new, |p| format!(" (p {})", probability(p)));
    Some(Answer {
        tone: Tone::Plain,
        question: "What quantization costs in accuracy",
        answer: format!(
            "{level} of {} quantized models lose nothing that can be measured, {lost} lose{gain}",
            known.len()
        ),
        sure: format!(
            "Paired with the float model of the same weights, sample by sample, by McNemar's exact test at p < \
             0.05{together}: by chance alone one in forty that lose nothing would seem to lose. The largest change: {}, {} \
             points{chance}.",
            row.full_name(),
            change.text(points)
        ),
    })
}

fn name_of(all: &[Row<'_>], cell: &Cell) -> String {
    all.iter().find(|row| row.holds(cell)).map_or_else(|| cell.to_string(), Row::full_name)
}

/// Time, and ratio to float.
fn milliseconds_of(all: &[Row<'_>], cell: &Cell) -> Option<(String, String)> {
    let row = all.iter().find(|row| row.holds(cell))?;
    let to_float =
        row.to_float().map_or_else(String::new, |estimate| format!(", {}", against_float(&estimate)));
    Some((format!("{} ms", three(row.milliseconds()?.value)), to_float))
}

/// `2.3× as fast as its float model [2.2, 2.4]`.
pub(super) fn against_float(estimate: &Estimate) -> String {
    let Spread::Interval(low, high) = estimate.spread else {
        return format!("{}× the time of its float model", ratio(estimate.value));
    };
    if high < 1.0 {
        let (fast, least, most) = (ratio(1.0 / estimate.value), ratio(1.0 / high), ratio(1.0 / low));
        format!("{fast}× as fast as its float model [{least}, {most}]")
    } else if low > 1.0 {
        let (slow, least, most) = (ratio(estimate.value), ratio(low), ratio(high));
        format!("{slow}× as slow as its float model [{least}, {most}]")
    } else {
        String::from("as fast as its float model, as far as was measured")
    }
}

/// The fastest cell, or why none may be named, of so many that were timed on the processor.
fn winner<'t>(
    report: &Report,
    timing: &Timing,
    fastest: Option<&'t Cell>,
    timed: usize,
) -> Result<&'t Cell, (Tone, String)> {
    if !report.gates_pass() {
        let why = "A gate failed: the frameworks were not shown to compute the same thing.";
        return Err((Tone::Caution, why.to_owned()));
    }
    if !timing.trustworthy {
        let why = "A null test did not pass, see below: the order of the times may be chance.";
        return Err((Tone::Caution, why.to_owned()));
    }
    let why = match fastest {
        Some(cell) => return Ok(cell),
        None if timed < 2 => {
            "Fewer than two cells were timed on the processor: there was nothing to compare."
        }
        None => "The interval of the two fastest cells' paired ratio reaches 1.",
    };
    Err((Tone::Plain, why.to_owned()))
}

/// What the null tests found wrong.
fn distrust(timing: &Timing) -> String {
    let failed = || timing.null_tests.iter().filter(|test| !test.passed);
    if failed().next().is_none() {
        return String::from("No winner in speed is named: not every framework has a null test.");
    }
    let mut found: Vec<&str> = Vec::new();
    if failed().any(|test| !test.ratio.contains(1.0)) {
        found.push("two processes of one and the same cell differed");
    }
    if failed().any(|test| test.ratio.contains(1.0)) {
        found.push("the ratio of two processes of one and the same cell is not known to 3 %");
    }
    format!(
        "The machine was too noisy to name a winner in speed: {} (the null test), so the order of the times may be chance.",
        found.join(", and ")
    )
}

fn timed_on_the_processor(all: &[Row<'_>]) -> usize {
    all.iter().filter(|row| !row.is_on_gpu() && row.latency().is_some()).count()
}

/// An answer that names no winner.
fn nobody(question: &'static str, (tone, sure): (Tone, String)) -> Answer {
    Answer { tone, question, answer: String::from("No winner is named"), sure }
}

/// What is said of cells on a GPU, where some were timed.
fn of_gpus(all: &[Row<'_>]) -> &'static str {
    if all.iter().any(|row| row.is_on_gpu() && row.latency().is_some()) {
        " Cells on a GPU have no null test, so none of them is named."
    } else {
        ""
    }
}

fn speed(report: &Report, all: &[Row<'_>]) -> Option<Answer> {
    let timing = report.timing.as_ref()?;
    let question = "Fastest, one sample at a time";
    let cell = match winner(report, timing, timing.fastest.as_ref(), timed_on_the_processor(all)) {
        Ok(cell) => cell,
        Err(why) => return Some(nobody(question, why)),
    };
    let (time, to_float) = milliseconds_of(all, cell).unwrap_or_default();
    Some(Answer {
        tone: Tone::Good,
        question,
        answer: format!("{}: {time}{to_float}", name_of(all, cell)),
        sure: format!(
            "Every null test passed, and it beats the next one in a paired ratio over {} shuffled rounds.{}",
            timing.rounds,
            of_gpus(all)
        ),
    })
}

fn throughput(report: &Report, all: &[Row<'_>]) -> Option<Answer> {
    let timing = report.timing.as_ref()?;
    all.iter().find_map(Row::throughput)?;
    let question = "Fastest, many samples at a time";
    let timed = all.iter().filter(|row| !row.is_on_gpu() && row.throughput().is_some()).count();
    let cell = match winner(report, timing, timing.fastest_batch.as_ref(), timed) {
        Ok(cell) => cell,
        Err(why) => return Some(nobody(question, why)),
    };
    let row = all.iter().find(|row| row.holds(cell))?;
    let per_second = row.throughput()?;
    Some(Answer {
        tone: Tone::Good,
        question,
        answer: format!("{}: {} samples a second", row.full_name(), three(per_second.value)),
        sure: format!(
            "In batches of {}, by a paired ratio over {} shuffled rounds; the null tests, which passed, were run at batch 1 \
             only.{}",
            timing.batch,
            timing.rounds,
            of_gpus(all)
        ),
    })
}

/// The row of the smallest number.
fn least<'r, 'a>(
    rows: &'r [Row<'a>],
    get: impl Fn(&Row<'a>) -> Option<Estimate>,
) -> Option<(&'r Row<'a>, f64)> {
    rows.iter().filter_map(|row| Some((row, get(row)?.value))).min_by(|a, b| a.1.total_cmp(&b.1))
}

fn size(report: &Report, all: &[Row<'_>]) -> Option<Answer> {
    let quantized: Vec<Row<'_>> = all.iter().filter(|row| is_quantized(row.variant)).cloned().collect();
    let (row, bytes) = least(&quantized, Row::file_bytes)?;
    let whole = report.model.onnx_bytes as f64;
    Some(Answer {
        tone: Tone::Good,
        question: "Smallest file",
        answer: format!(
            "{}: {} MiB, {} of the float ONNX file's {} MiB",
            row.distinct_name(report),
            mebibytes(bytes),
            ratio(bytes / whole),
            mebibytes(whole)
        ),
        sure: String::from("Sizes are exact; where each byte is, is told with each cell."),
    })
}

fn memory(report: &Report, all: &[Row<'_>]) -> Option<Answer> {
    let (row, bytes) = least(all, |row| row.memory()[2])?;
    Some(Answer {
        tone: Tone::Plain,
        question: "Least memory while running",
        answer: format!("{}: {} MiB above the idle process", row.distinct_name(report), mebibytes(bytes)),
        sure: String::from("Resident memory of one process, measured once: small differences mean nothing."),
    })
}

fn calibration(report: &Report, all: &[Row<'_>]) -> Option<Answer> {
    let calibrated: Vec<Row<'_>> = all
        .iter()
        .filter(|row| row.metrics().any(|it| it.calibration.is_some_and(|it| it.samples > 0)))
        .cloned()
        .collect();
    let (row, seconds) = least(&calibrated, Row::calibration)?;
    let (dearest, most) = calibrated
        .iter()
        .filter_map(|row| Some((row, row.calibration()?.value)))
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(Answer {
        tone: Tone::Plain,
        question: "Cheapest calibration",
        answer: format!(
            "{}: {} s for preparing, calibrating and converting",
            row.distinct_name(report),
            three(seconds)
        ),
        sure: format!(
            "Measured once, not in turns: only large differences count. The dearest: {}, {} s.",
            dearest.distinct_name(report),
            three(most)
        ),
    })
}

/// Counts of the study's size, such as `resnet8 (78,666 parameters) on shapes10 (8,000 training, 2,000 test images)`.
pub(super) fn subject(report: &Report) -> String {
    format!(
        "{} ({} parameters) on {} ({} training, {} test and {} calibration samples)",
        report.model.name,
        count(report.model.parameters),
        report.data.name,
        count(report.data.train),
        count(report.data.test),
        count(report.data.calibration),
    )
}

/// Seeds, threads, processor and day.
pub(super) fn circumstances(report: &Report) -> String {
    let seeds: Vec<String> = report.study.seeds.iter().map(u64::to_string).collect();
    let noun = if seeds.len() == 1 { "seed" } else { "seeds" };
    let threads = if report.threads == 1 { "1 thread" } else { &format!("{} threads", report.threads) };
    let day = report.finished.split('T').next().unwrap_or_default();
    format!("{noun} {} · {threads} · {} · {day}", seeds.join(", "), report.machine.processor)
}
