//! Latency and throughput: all cells in shuffled, interleaved blocks, and null tests beside them.

use std::collections::BTreeMap;
use std::time::Instant;

use calipers_random::Random;
use calipers_workers::Command;
use calipers_workers::protocol::Time;

use crate::cell::{Cell, Framework, Origin, Variant};
use crate::crew::{Member, Place, Trouble, ask, outcome};
use crate::event::Event;
use crate::material::{InitialModel, deployed_hash};
use crate::measure::load;
use crate::memory;
use crate::record::{CellTiming, Record, key};
use crate::report::{CellError, CellReport, LatencyMetrics, NullTest, Status, ThroughputMetrics, Timing};
use crate::run::{Bench, Sources};
use crate::spec::Spec;
use crate::statistics::{median, paired_ratio, quantile};

/// Inferences of the first block of a warm-up.
const FIRST_BLOCK: usize = 5;
/// Untimed inferences at the beginning of each block, which fill the caches and wake the threads.
const UNTIMED: usize = 3;
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

/// One cell in one process at one batch.
struct Runner {
    cell: Cell,
    null_twin: bool,
    batch: usize,
    inferences: usize,
    blocks: Vec<Vec<u64>>,
    /// Processor seconds and wall-clock seconds of the blocks.
    busy: (f64, f64),
    failure: Option<CellError>,
}

/// Where cells are timed: in the workers of the study, and second processes beside them.
#[derive(Default)]
struct Processes {
    /// Those of the null tests by framework, or why one is not there.
    twins: BTreeMap<Framework, Result<Member, CellError>>,
    /// By folder of a cell and whether it is a null twin: the process that loaded it, and its handle there.
    loaded: BTreeMap<(String, bool), (u32, u64)>,
}

impl Bench<'_> {
    /// Times the cells that have an artefact, all of one seed: by cell and batch, the null twins last. What cannot be
    /// timed is a note: the cell keeps what it has.
    ///
    /// # Errors
    /// Only what ends the study.
    pub fn time(
        &mut self,
        model: &InitialModel,
        seed: u64,
        cells: &[&CellReport],
    ) -> Result<Vec<CellTiming>, Trouble> {
        let spec = self.spec.latency.clone();
        let mut parts = vec![String::from("latency"), format!("{spec:?}")];
        for report in cells {
            parts.push(report.cell.to_string());
            parts.push(self.base_key(report.cell.framework, model, Sources::Whole)?);
            let file = report.artefact.as_ref().map(|artefact| self.out.join(&artefact.file));
            parts.push(file.and_then(|file| deployed_hash(&file)).unwrap_or_default());
        }
        let whole = key(&parts.iter().map(String::as_str).collect::<Vec<_>>());
        let units = self.timing_units(cells.len());
        if let Some(Record::Latency { timings, .. }) = self.journal.find(&whole) {
            let timings = timings.clone();
            self.done(units);
            return Ok(timings);
        }
        self.watcher.event(Event::Step { title: "latency: warming up" });
        let mut processes = Processes::default();
        let mut runners = Vec::new();
        for report in cells {
            // Those that worked on something else are gone: each process holds the models that are timed, and no more.
            self.crew.retire(Place::from(&report.cell));
            runners.extend([1, spec.batch].map(|batch| Runner::new(&report.cell, false, batch)));
        }
        for cell in null_cells(cells) {
            let twin = outcome(self.crew.start(cell.framework, self.watcher))?;
            processes.twins.insert(cell.framework, twin);
            runners.push(Runner::new(&cell, true, 1));
        }
        for runner in &mut runners {
            self.attempt(runner, |bench, runner| bench.warm_up(model, runner, &mut processes))?;
        }
        self.watcher.event(Event::Step { title: "latency: interleaved blocks" });
        let mut random = Random::new(seed, "study/latency");
        for round in 0..spec.rounds {
            for index in random.permutation(runners.len()) {
                self.attempt(&mut runners[index], |bench, runner| {
                    bench.timed_block(model, runner, &mut processes)
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
        let (mut timings, mut is_whole) = (Vec::new(), true);
        for Runner { cell, null_twin, batch, blocks, busy, failure, .. } in runners {
            match failure {
                None => {
                    let cores = (busy.1 > 0.0 && busy.0 > 0.0).then(|| busy.0 / busy.1);
                    timings.push(CellTiming { cell, null_twin, batch, blocks, cores });
                }
                Some(error) => {
                    let what = if null_twin { "its null test" } else { "an inference" };
                    self.note(format!(
                        "{cell}: {what} at batch {batch} could not be timed: {}",
                        error.message
                    ));
                    is_whole = false;
                }
            }
        }
        let key = if is_whole { whole } else { key(&["in part", &whole]) };
        self.journal.append(Record::Latency { key, timings: timings.clone() })?;
        Ok(timings)
    }

    /// Units of work of the whole timing.
    pub fn timing_units(&self, cells: usize) -> usize {
        (self.spec.latency.rounds as f64 * 2.0 * cells as f64 * self.spec.latency.block_milliseconds) as usize
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

    /// Runs blocks until their medians are flat, and fits the length of a block.
    fn warm_up(
        &mut self,
        model: &InitialModel,
        runner: &mut Runner,
        processes: &mut Processes,
    ) -> Result<(), Trouble> {
        let mut medians: Vec<f64> = Vec::new();
        let wanted = self.spec.latency.block_milliseconds * 1e6;
        for _ in 0..WARM_UP_MOST {
            let block = self.block(model, runner, processes)?;
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

    /// Times a block, and what the process did meanwhile.
    fn timed_block(
        &mut self,
        model: &InitialModel,
        runner: &mut Runner,
        processes: &mut Processes,
    ) -> Result<(), Trouble> {
        let process = self.process(runner, processes)?;
        let (before, start) = (memory::processor_seconds(process), Instant::now());
        let block = self.block(model, runner, processes)?;
        if let (Some(before), Some(after)) = (before, memory::processor_seconds(process)) {
            runner.busy.0 += after - before;
            runner.busy.1 += start.elapsed().as_secs_f64();
        }
        runner.blocks.push(block);
        Ok(())
    }

    /// One block, in a process that has the model; one that died is started and given it again.
    fn block(
        &mut self,
        model: &InitialModel,
        runner: &Runner,
        processes: &mut Processes,
    ) -> Result<Vec<u64>, Trouble> {
        let process = self.process(runner, processes)?;
        let wanted = (runner.cell.folder(), runner.null_twin);
        let handle = match processes.loaded.get(&wanted) {
            Some(&(holder, handle)) if holder == process => handle,
            _ => {
                let folder = self.out.join("artefacts").join(&wanted.0);
                let handle = self.ask_runner(runner, processes, load(model, &runner.cell, &folder))?.handle;
                processes.loaded.insert(wanted, (process, handle));
                handle
            }
        };
        let command = Time {
            handle,
            data: self.material.latency.clone(),
            samples: self.spec.latency.samples.min(self.material.facts.test),
            batch: runner.batch,
            warm_up: if runner.batch == 1 { UNTIMED } else { 1 },
            count: runner.inferences,
        };
        let timed = self.ask_runner(runner, processes, command)?;
        if timed.nanoseconds.is_empty() {
            return Err(Trouble::at("time", format!("{} timed no inference", runner.cell)));
        }
        Ok(timed.nanoseconds)
    }

    /// The process that a runner is timed in.
    fn process(&mut self, runner: &Runner, processes: &mut Processes) -> Result<u32, Trouble> {
        Ok(if runner.null_twin {
            processes.twin(runner.cell.framework)?.worker.id()
        } else {
            self.crew.member(&runner.cell, self.watcher)?.worker.id()
        })
    }

    fn ask_runner<C: Command>(
        &mut self,
        runner: &Runner,
        processes: &mut Processes,
        command: C,
    ) -> Result<C::Response, Trouble> {
        if runner.null_twin {
            ask(&mut processes.twin(runner.cell.framework)?.worker, command, self.watcher)
        } else {
            self.crew.call(&runner.cell, command, self.watcher)
        }
    }
}

impl Processes {
    fn twin(&mut self, framework: Framework) -> Result<&mut Member, Trouble> {
        match self.twins.get_mut(&framework) {
            Some(Ok(twin)) => Ok(twin),
            Some(Err(error)) => Err(Trouble::Cell(error.clone())),
            None => Err(Trouble::at("start", "the second process of the null test is not there")),
        }
    }
}

impl Runner {
    fn new(cell: &Cell, null_twin: bool, batch: usize) -> Runner {
        Runner {
            cell: cell.clone(),
            null_twin,
            batch,
            inferences: FIRST_BLOCK,
            blocks: Vec::new(),
            busy: (0.0, 0.0),
            failure: None,
        }
    }
}

/// The cell of each framework that is run in two processes: its first quantized one, else its first one.
fn null_cells(cells: &[&CellReport]) -> Vec<Cell> {
    let mut chosen: Vec<Cell> = Vec::new();
    for framework in Framework::ALL {
        let of =
            || cells.iter().filter(|report| report.cell.framework == framework && !report.cell.is_on_gpu());
        let quantized = of().find(|report| report.cell.variant == Variant::PtqStatic);
        chosen.extend(quantized.or_else(|| of().next()).map(|report| report.cell.clone()));
    }
    chosen
}

/// Medians of the blocks of a timing, in milliseconds.
fn medians(timing: &CellTiming) -> Vec<f64> {
    let middle = |block: &Vec<u64>| median(&block.iter().map(|&time| time as f64 / 1e6).collect::<Vec<_>>());
    timing.blocks.iter().map(middle).collect()
}

/// All times of a timing in milliseconds, in rising order.
fn sorted(timing: &CellTiming) -> Vec<f64> {
    let mut times: Vec<f64> = timing.blocks.iter().flatten().map(|&time| time as f64 / 1e6).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// Puts latency and throughput into the cells and says how far they can be trusted.
pub fn digest(timings: &[CellTiming], cells: &mut [CellReport], seed: u64) -> Option<Timing> {
    let rounds = timings.iter().map(|timing| timing.blocks.len()).min()?;
    let batch = timings.iter().map(|timing| timing.batch).max()?;
    let of = |cell: &Cell, batch: usize| {
        timings.iter().find(|timing| !timing.null_twin && timing.cell == *cell && timing.batch == batch)
    };
    let first = timings.iter().find(|timing| !timing.null_twin && timing.batch == 1)?;
    for timing in timings.iter().filter(|timing| !timing.null_twin) {
        let Some(report) = cells.iter_mut().find(|report| report.cell == timing.cell) else { continue };
        let times = sorted(timing);
        let ratio_to = |other: &CellTiming| {
            (other.cell != timing.cell)
                .then(|| paired_ratio(&medians(timing), &medians(other), seed))
                .flatten()
        };
        let float_cells = timing.cell.float_cells();
        let float = float_cells.iter().find_map(|cell| of(cell, timing.batch));
        let to_float = float.and_then(ratio_to);
        let p50 = quantile(&times, 0.5);
        if timing.batch == 1 {
            let mut blocks = medians(timing);
            blocks.sort_by(f64::total_cmp);
            report.metrics.latency = Some(LatencyMetrics {
                p50,
                p90: quantile(&times, 0.9),
                p99: quantile(&times, 0.99),
                of_blocks: [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| quantile(&blocks, share)),
                inferences: times.len(),
                cores: timing.cores,
                to_float,
                to_first: ratio_to(first),
            });
        } else {
            report.metrics.throughput = Some(ThroughputMetrics {
                batch: timing.batch,
                samples_per_second: timing.batch as f64 / (p50 / 1e3),
                p50,
                inferences: times.len(),
                to_float,
            });
        }
    }
    let null_test = |twin: &CellTiming| {
        let ratio = paired_ratio(&medians(twin), &medians(of(&twin.cell, twin.batch)?), seed)?;
        let passed = ratio.contains(1.0) && ratio.relative_width() <= NULL_WIDTH;
        Some(NullTest { cell: twin.cell.clone(), ratio, passed })
    };
    let null_tests: Vec<NullTest> =
        timings.iter().filter(|timing| timing.null_twin).filter_map(null_test).collect();
    // A GPU has no null test: nothing is said of how it compares.
    let on_cpu = || timings.iter().filter(|timing| !timing.null_twin && !timing.cell.is_on_gpu());
    let passed = |framework| null_tests.iter().any(|test| test.passed && test.cell.framework == framework);
    let trustworthy = !null_tests.is_empty() && on_cpu().all(|timing| passed(timing.cell.framework));
    let fastest = |batch: usize| {
        let mut by_speed: Vec<&CellTiming> = on_cpu().filter(|timing| timing.batch == batch).collect();
        by_speed.sort_by(|a, b| median(&medians(a)).total_cmp(&median(&medians(b))));
        match by_speed.as_slice() {
            [best, next, ..] if trustworthy => paired_ratio(&medians(best), &medians(next), seed)
                .filter(|ratio| ratio.high < 1.0)
                .map(|_| best.cell.clone()),
            _ => None,
        }
    };
    let fastest_batch = (batch > 1).then(|| fastest(batch)).flatten();
    Some(Timing { rounds, batch, null_tests, trustworthy, fastest: fastest(1), fastest_batch })
}

/// The cells of a seed that are timed: those that could be made. Where a framework quantizes two sets of weights, its
/// cells run the same operators on both, and those of its own are timed.
pub fn timeable<'a>(spec: &Spec, cells: &'a [CellReport], seed: u64) -> Vec<&'a CellReport> {
    let is_second =
        |cell: &Cell| cell.weights == Origin::Shared && cell.framework.trains() && spec.lender().is_some();
    let is_wanted = |report: &&CellReport| {
        report.status == Status::Ok && report.cell.seed == seed && !is_second(&report.cell)
    };
    cells.iter().filter(is_wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::digest;
    use crate::cell::{Cell, Framework, Origin, Tuning, Variant};
    use crate::record::CellTiming;
    use crate::report::{CellReport, Metrics, Status};

    fn timing(variant: Variant, null_twin: bool, time: impl Fn(u64) -> u64) -> CellTiming {
        let blocks = (0..20).map(|round| vec![time(round); 5]).collect();
        CellTiming { cell: cell(variant), null_twin, batch: 1, blocks, cores: None }
    }

    fn cell(variant: Variant) -> Cell {
        let (path, tuning, weights) = ("native".to_owned(), Tuning::Default, Origin::Shared);
        Cell { framework: Framework::Calipers, path, tuning, variant, weights, seed: 1 }
    }

    fn report(variant: Variant) -> CellReport {
        let cell = cell(variant);
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
        let latency = cells[1].metrics.latency.clone().unwrap();
        assert!((latency.to_float.unwrap().value - 0.25).abs() < 1e-9);
        assert_eq!(latency.inferences, 100);
        assert_eq!(cells[0].metrics.latency.as_ref().unwrap().to_float, None);
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

    #[test]
    fn what_has_no_null_test_is_never_the_fastest() {
        let [float, int8, twin] =
            [(Variant::Float, false, 4), (Variant::PtqStatic, false, 2), (Variant::PtqStatic, true, 2)].map(
                |(variant, null_twin, milliseconds)| timing(variant, null_twin, |_| milliseconds * 1_000_000),
            );
        let mut other = timing(Variant::Float, false, |_| 1_000_000);
        (other.cell.framework, other.cell.path) = (Framework::PyTorch, "gpu".to_owned());
        let on_gpu = [float.clone(), int8.clone(), other.clone(), twin.clone()];
        let verdict = digest(&on_gpu, &mut [], 1).unwrap();
        assert_eq!((verdict.trustworthy, verdict.fastest), (true, Some(int8.cell.clone())));
        "eager".clone_into(&mut other.cell.path);
        let untested = digest(&[float, int8, other, twin], &mut [], 1).unwrap();
        assert_eq!((untested.trustworthy, untested.fastest), (false, None));
    }
}
