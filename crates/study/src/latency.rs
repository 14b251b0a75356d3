//! Latency: all cells in shuffled, interleaved blocks, and a null test beside them.

use calipers_random::Random;
use calipers_workers::protocol::Time;
use calipers_workers::{Command, Worker};

use crate::cell::{Cell, Framework, Variant};
use crate::crew::{Trouble, ask, outcome};
use crate::event::Event;
use crate::material::InitialModel;
use crate::measure::load;
use crate::record::{CellTiming, Record, key};
use crate::report::{CellError, CellReport, LatencyMetrics, Status, Timing};
use crate::run::Bench;
use crate::statistics::{median, paired_ratio, quantile};

/// Inferences of a warm-up block.
const WARM_UP: usize = 20;
/// Warm-up is over when the medians of this many blocks in a row lie within [`FLAT`].
const FLAT_BLOCKS: usize = 3;
/// Largest over smallest median of a flat run of blocks.
const FLAT: f64 = 1.05;
/// Blocks after which warm-up is given up, and the block is as long as it is.
const WARM_UP_MOST: usize = 25;
/// Fewest and most inferences of a block.
const BLOCK: std::ops::RangeInclusive<usize> = 3..=2_000;
/// Widest null interval, high over low less one, at which a winner is named.
const NULL_WIDTH: f64 = 0.03;

/// One cell in one process.
struct Runner {
    cell: Cell,
    null_twin: bool,
    handle: u64,
    inferences: usize,
    blocks: Vec<Vec<u64>>,
    failure: Option<CellError>,
}

/// Raw times, and the cells that could not be timed.
pub struct Timed {
    /// By cell; the null twin last.
    pub timings: Vec<CellTiming>,
    /// Why a cell has no times.
    pub failures: Vec<(Cell, CellError)>,
}

impl Bench<'_> {
    /// Times the cells that have an artefact, all of one seed.
    ///
    /// # Errors
    /// Only what ends the study.
    pub fn time(&mut self, model: &InitialModel, seed: u64, cells: &[&CellReport]) -> Result<Timed, Trouble> {
        let spec = self.spec.latency.clone();
        let mut parts = vec![String::from("latency"), format!("{spec:?}")];
        for report in cells {
            parts.push(report.cell.to_string());
            parts.push(self.base_key(report.cell.framework, model)?);
            let file = report.artefact.as_ref().map(|artefact| self.out.join(&artefact.file));
            parts.push(file.and_then(|file| crate::material::file_hash(&file)).unwrap_or_default());
        }
        let key = key(&parts.iter().map(String::as_str).collect::<Vec<_>>());
        let units = self.timing_units(cells.len());
        if let Some(Record::Latency { timings, .. }) = self.journal.find(&key) {
            let timings = timings.clone();
            self.done(units);
            return Ok(Timed { timings, failures: Vec::new() });
        }
        let Some(null_cell) = null_cell(cells) else {
            return Ok(Timed { timings: Vec::new(), failures: Vec::new() });
        };
        self.watcher.event(Event::Step { title: "latency: warming up" });
        let mut twin = outcome(self.crew.start(null_cell.framework, self.watcher))?.map(|(worker, _)| worker);
        let mut runners: Vec<Runner> = cells.iter().map(|report| runner(&report.cell, false)).collect();
        runners.push(runner(&null_cell, true));
        for runner in &mut runners {
            self.attempt(runner, |bench, runner| {
                bench.load_runner(model, runner, &mut twin)?;
                bench.warm_up(runner, &mut twin)
            })?;
        }
        self.watcher.event(Event::Step { title: "latency: interleaved blocks" });
        let mut random = Random::new(seed, "study/latency");
        for round in 0..spec.rounds {
            for index in random.permutation(runners.len()) {
                let runner = &mut runners[index];
                self.attempt(runner, |bench, runner| {
                    let block = bench.block(runner, &mut twin, runner.inferences)?;
                    runner.blocks.push(block);
                    Ok(())
                })?;
            }
            self.watcher.event(Event::Progress {
                stage: "rounds",
                done: round as u64 + 1,
                total: Some(spec.rounds as u64),
                detail: "",
            });
            self.done(units / spec.rounds);
        }
        let mut timed = Timed { timings: Vec::new(), failures: Vec::new() };
        for Runner { cell, null_twin, blocks, failure, .. } in runners {
            match failure {
                None => timed.timings.push(CellTiming { cell, null_twin, blocks }),
                Some(failure) => timed.failures.push((cell, failure)),
            }
        }
        if timed.failures.is_empty() {
            self.journal.append(Record::Latency { key, timings: timed.timings.clone() })?;
        }
        Ok(timed)
    }

    /// Units of work of the whole timing.
    pub fn timing_units(&self, cells: usize) -> usize {
        (self.spec.latency.rounds as f64 * (cells + 1) as f64 * self.spec.latency.block_milliseconds) as usize
    }

    /// Does something with a runner that has not failed yet; a failure is the runner's.
    fn attempt(
        &mut self,
        runner: &mut Runner,
        act: impl FnOnce(&mut Self, &mut Runner) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        if runner.failure.is_none() {
            runner.failure = outcome(act(self, runner))?.err();
        }
        Ok(())
    }

    fn load_runner(
        &mut self,
        model: &InitialModel,
        runner: &mut Runner,
        twin: &mut Twin,
    ) -> Result<(), Trouble> {
        let folder = self.out.join("artefacts").join(runner.cell.folder());
        let loaded = self.ask_runner(runner, twin, load(model, &runner.cell, &folder))?;
        runner.handle = loaded.handle;
        Ok(())
    }

    /// Runs blocks until their medians are flat, and fits the length of a block.
    fn warm_up(&mut self, runner: &mut Runner, twin: &mut Twin) -> Result<(), Trouble> {
        let mut medians: Vec<f64> = Vec::new();
        let wanted = self.spec.latency.block_milliseconds * 1e6;
        for _ in 0..WARM_UP_MOST {
            let block = self.block(runner, twin, runner.inferences)?;
            let middle = median(&block.iter().map(|&time| time as f64).collect::<Vec<_>>()).max(1.0);
            medians.push(middle);
            runner.inferences = ((wanted / middle) as usize).clamp(*BLOCK.start(), *BLOCK.end());
            let last = &medians[medians.len().saturating_sub(FLAT_BLOCKS)..];
            let largest = last.iter().copied().fold(0.0, f64::max);
            let smallest = last.iter().copied().fold(f64::INFINITY, f64::min);
            if last.len() == FLAT_BLOCKS && largest <= smallest * FLAT {
                break;
            }
        }
        Ok(())
    }

    fn block(&mut self, runner: &Runner, twin: &mut Twin, count: usize) -> Result<Vec<u64>, Trouble> {
        let command = Time {
            handle: runner.handle,
            data: self.material.latency.clone(),
            samples: self.spec.latency.samples,
            count,
        };
        let timed = self.ask_runner(runner, twin, command)?;
        if timed.nanoseconds.is_empty() {
            return Err(Trouble::at("time", format!("{} timed no inference", runner.cell)));
        }
        Ok(timed.nanoseconds)
    }

    fn ask_runner<C: Command>(
        &mut self,
        runner: &Runner,
        twin: &mut Twin,
        command: C,
    ) -> Result<C::Response, Trouble> {
        match (runner.null_twin, twin) {
            (false, _) => self.crew.call(runner.cell.framework, command, self.watcher),
            (true, Ok(twin)) => ask(twin, command, self.watcher),
            (true, Err(error)) => Err(Trouble::Cell(error.clone())),
        }
    }
}

/// The second process of the null test, or why it is not there.
type Twin = Result<Worker, CellError>;

fn runner(cell: &Cell, null_twin: bool) -> Runner {
    Runner {
        cell: cell.clone(),
        null_twin,
        handle: 0,
        inferences: WARM_UP,
        blocks: Vec::new(),
        failure: None,
    }
}

/// The cell that is run in two processes: Calipers' quantized one, else the first one.
fn null_cell(cells: &[&CellReport]) -> Option<Cell> {
    let ours = |report: &&&CellReport| {
        report.cell.framework == Framework::Calipers && report.cell.variant == Variant::PtqStatic
    };
    cells.iter().find(ours).or_else(|| cells.first()).map(|report| report.cell.clone())
}

/// Puts the latencies into the cells and says how far they can be trusted.
pub fn digest(timings: &[CellTiming], cells: &mut [CellReport], seed: u64) -> Option<Timing> {
    let rounds = timings.iter().map(|timing| timing.blocks.len()).min()?;
    let medians = |timing: &CellTiming| -> Vec<f64> {
        let middle = |block: &Vec<u64>| median(&block.iter().map(|&time| time as f64).collect::<Vec<_>>());
        timing.blocks.iter().map(middle).collect()
    };
    let of = |cell: &Cell| timings.iter().find(|timing| !timing.null_twin && timing.cell == *cell);
    let first = timings.iter().find(|timing| !timing.null_twin)?;
    for timing in timings.iter().filter(|timing| !timing.null_twin) {
        let Some(report) = cells.iter_mut().find(|report| report.cell == timing.cell) else { continue };
        let mut times: Vec<f64> = timing.blocks.iter().flatten().map(|&time| time as f64 / 1e6).collect();
        times.sort_by(f64::total_cmp);
        let framework = timing.cell.framework;
        let float_cell =
            Cell { path: framework.float_path().to_owned(), variant: Variant::Float, ..timing.cell.clone() };
        let ratio_to = |other: &CellTiming| {
            (other.cell != timing.cell)
                .then(|| paired_ratio(&medians(timing), &medians(other), seed))
                .flatten()
        };
        report.metrics.latency = Some(LatencyMetrics {
            p50: quantile(&times, 0.5),
            p90: quantile(&times, 0.9),
            p99: quantile(&times, 0.99),
            inferences: times.len(),
            to_float: of(&float_cell).and_then(&ratio_to),
            to_first: ratio_to(first),
        });
    }
    let twin = timings.iter().find(|timing| timing.null_twin)?;
    let original = of(&twin.cell)?;
    let null_ratio = paired_ratio(&medians(twin), &medians(original), seed)?;
    let trustworthy = null_ratio.contains(1.0) && null_ratio.relative_width() <= NULL_WIDTH;
    let mut by_speed: Vec<&CellTiming> = timings.iter().filter(|timing| !timing.null_twin).collect();
    by_speed.sort_by(|a, b| median(&medians(a)).total_cmp(&median(&medians(b))));
    let fastest = match by_speed.as_slice() {
        [best, next, ..] if trustworthy => paired_ratio(&medians(best), &medians(next), seed)
            .filter(|ratio| ratio.high < 1.0)
            .map(|_| best.cell.clone()),
        _ => None,
    };
    Some(Timing { rounds, null_cell: twin.cell.clone(), null_ratio, trustworthy, fastest })
}

/// The cells of a seed that can be timed.
pub fn timeable(cells: &[CellReport], seed: u64) -> Vec<&CellReport> {
    cells.iter().filter(|report| report.status == Status::Ok && report.cell.seed == seed).collect()
}

#[cfg(test)]
mod tests {
    use super::digest;
    use crate::cell::{Cell, Framework, Variant};
    use crate::record::CellTiming;
    use crate::report::{CellReport, Metrics, Status};

    fn timing(variant: Variant, null_twin: bool, time: impl Fn(u64) -> u64) -> CellTiming {
        let cell = Cell { framework: Framework::Calipers, path: "native".into(), variant, seed: 1 };
        let blocks = (0..20).map(|round| vec![time(round); 5]).collect();
        CellTiming { cell, null_twin, blocks }
    }

    fn report(variant: Variant) -> CellReport {
        let cell = Cell { framework: Framework::Calipers, path: "native".into(), variant, seed: 1 };
        CellReport { cell, status: Status::Ok, metrics: Metrics::default(), artefact: None, error: None }
    }

    #[test]
    fn a_drifting_machine_leaves_ratios_alone() {
        let drift = |round: u64| 1_000_000 + 100_000 * round;
        let timings = [
            timing(Variant::Float, false, |round| 4 * drift(round)),
            timing(Variant::PtqStatic, false, drift),
            timing(Variant::PtqStatic, true, drift),
        ];
        let mut cells = [report(Variant::Float), report(Variant::PtqStatic)];
        let verdict = digest(&timings, &mut cells, 1).unwrap();
        assert!(verdict.trustworthy);
        assert_eq!(verdict.fastest.unwrap().variant, Variant::PtqStatic);
        let latency = cells[1].metrics.latency.unwrap();
        assert!((latency.to_float.unwrap().value - 0.25).abs() < 1e-9);
        assert_eq!(latency.inferences, 100);
        assert_eq!(cells[0].metrics.latency.unwrap().to_float, None);
    }

    #[test]
    fn a_null_test_that_differs_names_no_winner() {
        let timings = [
            timing(Variant::Float, false, |_| 4_000_000),
            timing(Variant::PtqStatic, false, |_| 1_000_000),
            timing(Variant::PtqStatic, true, |_| 1_100_000),
        ];
        let mut cells = [report(Variant::Float), report(Variant::PtqStatic)];
        let verdict = digest(&timings, &mut cells, 1).unwrap();
        assert!(!verdict.trustworthy);
        assert_eq!(verdict.fastest, None);
    }
}
