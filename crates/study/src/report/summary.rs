//! The study in plain words: who won what, by how much, and how sure that is.

mod awareness;
mod schemes;

use std::cmp::Ordering;

use calipers_inspect::number::{count, percent2, ratio, three};

use crate::cell::{Cell, Variant};
use crate::report::Report;
use crate::report::checks::{Sentence, Tone};
use crate::report::row::{Estimate, Row, Spread, is_quantized, is_trained, mebibytes, points, rows, shared};
use crate::statistics::Interval;

pub(super) use schemes::{SCHEMES, schemes};

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
    let all = rows(report);
    let mut parts: Vec<String> = Vec::new();
    if let Some(best) = most_accurate(report, &all) {
        let value = percent2(best.accuracy.value);
        let name = best.row.full_name();
        parts.push(match best.level.len() {
            0 => format!("{name} is the most accurate 8-bit model of the same weights, with {value} %."),
            others => format!(
                "{name} has the highest accuracy of the 8-bit models of the same weights, {value} %, but {} others \
                 cannot be told from it.",
                count(others)
            ),
        });
    }
    let Some(timing) = &report.timing else {
        parts.push(String::from("Nothing was timed."));
        return Sentence { tone: Tone::Caution, text: parts.join(" ") };
    };
    let mut tone = Tone::Plain;
    parts.push(if !timing.trustworthy {
        tone = Tone::Caution;
        String::from("The machine was too noisy to name a winner in speed.")
    } else {
        match &timing.fastest {
            Some(cell) => {
                let time = milliseconds_of(&all, cell)
                    .map_or_else(String::new, |(time, _)| format!(", with {time}"));
                format!("{} is the fastest{time} per inference.", name_of(&all, cell))
            }
            None => String::from("No fastest is named: the two fastest cells cannot be told apart."),
        }
    });
    Sentence { tone, text: parts.join(" ") }
}

/// The questions that the study can answer.
pub(super) fn answers(report: &Report) -> Vec<Answer> {
    let all = rows(report);
    let mut answers = Vec::new();
    answers.extend(accuracy(report, &all));
    answers.extend(kept(report, &all));
    answers.extend(speed(report, &all));
    answers.extend(throughput(report, &all));
    answers.extend(size(report, &all));
    answers.extend(memory(report, &all));
    answers.extend(calibration(report, &all));
    answers.extend(awareness::against_control(report, &all));
    answers.extend(awareness::against_notebook(report, &all));
    answers
}

/// Whether a row is an 8-bit model that runs: of weights alone it is not, nor is one whose products are all seen in float.
fn computes_in_integers(row: &Row<'_>) -> bool {
    let seen = row.integer_macs().is_none_or(|share| share.value > 0.0);
    is_quantized(row.variant) && row.variant != Variant::WeightOnly && seen
}

/// The most accurate row, and those whose intervals reach into its own.
struct Best<'a> {
    row: Row<'a>,
    accuracy: Interval,
    level: Vec<Row<'a>>,
    all: usize,
}

fn best_of<'a>(candidates: Vec<Row<'a>>) -> Option<Best<'a>> {
    let mut known: Vec<(Interval, Row<'a>)> =
        candidates.into_iter().filter_map(|row| Some((row.pooled_accuracy()?, row))).collect();
    // Stable: of equals the first in the report's order.
    known.sort_by(|a, b| b.0.value.total_cmp(&a.0.value));
    let all = known.len();
    let mut known = known.into_iter();
    let (accuracy, row) = known.next()?;
    let level = known.filter(|(other, _)| other.high >= accuracy.low).map(|(_, row)| row).collect();
    Some(Best { row, accuracy, level, all })
}

fn most_accurate<'a>(report: &Report, all: &[Row<'a>]) -> Option<Best<'a>> {
    if !is_trained(report) {
        return None;
    }
    best_of(shared(report, all).into_iter().filter(computes_in_integers).collect())
}

fn accuracy(report: &Report, all: &[Row<'_>]) -> Option<Answer> {
    let best = most_accurate(report, all)?;
    let Interval { value, low, high } = best.accuracy;
    let others = best.all - 1;
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
        sure,
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
    let worst = known
        .iter()
        .filter_map(|row| Some((row.difference()?, row)))
        .min_by(|a, b| a.0.value.total_cmp(&b.0.value))?;
    let gain = if gained > 0 { format!(", {gained} gain") } else { String::new() };
    Some(Answer {
        tone: Tone::Plain,
        question: "What quantization costs in accuracy",
        answer: format!(
            "{level} of {} quantized models lose nothing that can be measured, {lost} lose{gain}",
            known.len()
        ),
        sure: format!(
            "Paired with the float model of the same weights, sample by sample; of twenty that lose nothing, one would seem to by \
             chance. The largest change: {}, {} points.",
            worst.1.full_name(),
            worst.0.text(points)
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

/// The answer to a question about speed where none may be given.
fn unanswered(report: &Report, question: &'static str, is_trustworthy: bool) -> Option<Answer> {
    let sure = if !report.gates_pass() {
        "A gate failed: the frameworks were not shown to compute the same thing."
    } else if !is_trustworthy {
        "The machine was too noisy to name a winner: two processes of one and the same cell differed (the null test). The \
         times are shown all the same; their order may be chance."
    } else {
        return None;
    };
    let answer = String::from("No winner is named");
    Some(Answer { tone: Tone::Caution, question, answer, sure: sure.to_owned() })
}

fn speed(report: &Report, all: &[Row<'_>]) -> Option<Answer> {
    let timing = report.timing.as_ref()?;
    let question = "Fastest, one sample at a time";
    if let Some(none) = unanswered(report, question, timing.trustworthy) {
        return Some(none);
    }
    let Some(cell) = &timing.fastest else {
        return Some(Answer {
            tone: Tone::Plain,
            question,
            answer: String::from("No winner is named"),
            sure: String::from("The interval of the two fastest cells' paired ratio contains 1."),
        });
    };
    let (time, to_float) = milliseconds_of(all, cell).unwrap_or_default();
    Some(Answer {
        tone: Tone::Good,
        question,
        answer: format!("{}: {time}{to_float}", name_of(all, cell)),
        sure: format!(
            "Every null test passed, and it beats the next one in a paired ratio over {} shuffled rounds.",
            timing.rounds
        ),
    })
}

fn throughput(report: &Report, all: &[Row<'_>]) -> Option<Answer> {
    let timing = report.timing.as_ref()?;
    all.iter().find_map(Row::throughput)?;
    let question = "Fastest, many samples at a time";
    if let Some(none) = unanswered(report, question, timing.trustworthy) {
        return Some(none);
    }
    let Some(cell) = &timing.fastest_batch else {
        return Some(Answer {
            tone: Tone::Plain,
            question,
            answer: String::from("No winner is named"),
            sure: String::from("The interval of the two fastest cells' paired ratio contains 1."),
        });
    };
    let row = all.iter().find(|row| row.holds(cell))?;
    let per_second = row.throughput()?;
    Some(Answer {
        tone: Tone::Good,
        question,
        answer: format!("{}: {} samples a second", row.full_name(), three(per_second.value)),
        sure: format!("In batches of {}; the null tests passed.", timing.batch),
    })
}

/// The row of the smallest number among those that are quantized.
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
