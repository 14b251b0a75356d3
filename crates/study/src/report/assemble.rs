//! From everything that was found to the report.

use std::collections::BTreeMap;

use crate::cell::Framework;
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
    let Findings { started, gates, mut cells, timings, mut notes } = findings;
    let seed = bench.spec.seeds.first().copied().unwrap_or_default();
    let timing = digest(&timings, &mut cells, seed);
    if bench.material.facts.dropped_from_training > 0 {
        notes.push(format!(
            "{} training images were left out because the test split holds the same image.",
            bench.material.facts.dropped_from_training
        ));
    }
    notes.push(format!(
        "Post-training quantization is calibrated on {} training images, as in the paper.",
        bench.material.facts.calibration
    ));
    if bench.spec.cells(seed).is_empty() {
        notes.push(String::from("No chosen path makes the chosen variants."));
    }
    let steps = bench.spec.qat.epochs * bench.material.facts.train.div_ceil(bench.spec.train.batch);
    let is_short =
        |cell: &CellReport| cell.cell.path == "tfmot" && cell.status == Status::Ok && steps < SETTLED;
    if cells.iter().any(is_short) {
        notes.push(format!(
            "TFMOT's activation ranges start at -6 and 6 and move by a thousandth each step: after the {steps} steps of \
             this study's QAT they are still mostly where they began, which may cost it accuracy (this study does not test \
             whether it does). PyTorch's ranges start from the first batch."
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
