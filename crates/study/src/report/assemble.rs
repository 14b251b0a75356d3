//! From everything that was found to the report.

use std::collections::BTreeMap;

use crate::cell::{Framework, Tuning};
use crate::latency::digest;
use crate::material::InitialModel;
use crate::record::Record;
use crate::report::{CellReport, FrameworkFacts, Report, Status, VERSION};
use crate::run::{Bench, Findings, now};

/// Steps after which a moving average of constant 0.001 has left nine tenths of its start behind.
const SETTLED: usize = 2_300;

/// The report of a study that ran to its end.
pub(crate) fn assemble(
    bench: &Bench<'_>,
    model: &InitialModel,
    command: Vec<String>,
    findings: Findings,
) -> Report {
    let Findings { started, gates, mut cells, timings } = findings;
    let mut notes = bench.notes.clone();
    let seed = bench.spec.seeds.first().copied().unwrap_or_default();
    let timing = digest(&timings, &mut cells, seed);
    if bench.material.facts.dropped_from_training > 0 {
        notes.push(format!(
            "{} training images were left out because the test split holds the same image.",
            bench.material.facts.dropped_from_training
        ));
    }
    let calibration = bench.material.facts.calibration;
    notes.push(if bench.spec.train.is_some() {
        format!("Static quantization is calibrated on {calibration} training samples, as in the paper.")
    } else {
        format!("Static quantization is calibrated on {calibration} samples that are not test samples.")
    });
    if let Some(lender) = bench.spec.lender().filter(|_| bench.spec.chosen().count() > 1) {
        notes.push(format!(
            "Shared weights are those that {} trained; ONNX Runtime, OpenVINO and Calipers quantize and run those alone, since \
             they train nothing here.",
            lender.title()
        ));
    }
    let mut labels = std::collections::BTreeSet::new();
    for cell in
        cells.iter().filter(|cell| cell.metrics.integer.is_some_and(|shares| differs(model, shares.all_macs)))
    {
        labels.insert(format!("{} {}", cell.cell.framework.title(), cell.cell.path));
    }
    if !labels.is_empty() {
        notes.push(format!(
            "The multiply-accumulates that were seen to execute are not those of the model ({}) in: {}.",
            calipers_inspect::number::count(usize::try_from(model.facts.macs).unwrap_or(usize::MAX)),
            labels.into_iter().collect::<Vec<_>>().join(", ")
        ));
    }
    if bench.spec.cells(seed).is_empty() {
        notes.push(String::from("No chosen path makes the chosen variants."));
    }
    let steps = bench.extra_epochs().len() * bench.material.steps();
    let is_short = |cell: &CellReport| {
        cell.cell.path == "tfmot"
            && cell.cell.tuning == Tuning::Default
            && cell.status == Status::Ok
            && steps < SETTLED
    };
    if cells.iter().any(is_short) {
        notes.push(format!(
            "TFMOT's activation ranges start at -6 and 6 and move by a thousandth each step: after the {steps} steps of \
             this study's QAT they are still mostly where they began. What that costs, the tuned line shows, whose ranges \
             start from the data."
        ));
    }
    let failed = cells.iter().filter(|cell| cell.status == Status::Failed).count();
    if failed > 0 {
        notes.push(format!(
            "{failed} of {} cells failed; they are tried again by the same command.",
            cells.len()
        ));
    }
    let mut newest: BTreeMap<Framework, FrameworkFacts> = BTreeMap::new();
    for record in bench.journal.records() {
        if let Record::Framework(facts) = record {
            newest.insert(facts.framework, facts.clone());
        }
    }
    Report {
        version: VERSION,
        calipers: env!("CARGO_PKG_VERSION").to_owned(),
        command,
        started,
        finished: now(),
        machine: bench.machine.clone(),
        threads: bench.crew.threads,
        study: bench.spec.clone(),
        model: model.facts.clone(),
        data: bench.material.facts.clone(),
        frameworks: bench.spec.chosen().filter_map(|framework| newest.remove(&framework)).collect(),
        gates,
        cells,
        timing,
        notes,
    }
}

/// Whether the multiply-accumulates that executed differ from the model's by more than a hundredth.
fn differs(model: &InitialModel, found: u64) -> bool {
    let (found, expected) = (found as f64, model.facts.macs as f64);
    expected > 0.0 && (found - expected).abs() > 0.01 * expected
}
