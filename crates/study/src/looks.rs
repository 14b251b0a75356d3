//! What is measured of finished cells one by one: a new process up to its first inference, and operator profiles.

use std::collections::BTreeMap;
use std::time::Instant;

use calipers_workers::protocol::{Kind, Loaded, Profile as ProfileCommand, Profiled, Time, Unload};
use serde_json::json;

use crate::cell::Cell;
use crate::crew::{Place, Trouble, ask, outcome};
use crate::event::Event;
use crate::latency::timeable;
use crate::material::{InitialModel, deployed_hash, write_whole};
use crate::measure::load;
use crate::memory;
use crate::record::{Record, key};
use crate::report::{CellReport, KindTime, Profile, Start, kind_name};
use crate::run::{Bench, Sources};

/// Inferences at the larger batch whose memory counts as that of running.
const INFERENCES_FOR_MEMORY: usize = 3;
/// Chrome trace of a cell, in its folder.
const TRACE: &str = "trace.json";
/// Units of work of a start and of a profile.
pub const UNITS_OF_LOOK: usize = 3_000;

impl Bench<'_> {
    /// Follows a new process of each cell to its first inference, and profiles the cell. What cannot be measured is a
    /// note: the cell keeps what it has.
    ///
    /// # Errors
    /// Only what ends the study.
    pub fn look_inside(
        &mut self,
        model: &InitialModel,
        cells: &mut [CellReport],
        seed: u64,
    ) -> Result<(), Trouble> {
        let wanted: Vec<Cell> =
            timeable(&self.spec, cells, seed).into_iter().map(|report| report.cell.clone()).collect();
        for report in cells.iter_mut().filter(|report| wanted.contains(&report.cell)) {
            let file = report.artefact.as_ref().map(|artefact| self.out.join(&artefact.file));
            let hash = file.and_then(|file| deployed_hash(&file)).unwrap_or_default();
            let base = self.base_key(report.cell.framework, model, Sources::Whole)?;
            let inputs = [base.as_str(), &report.cell.to_string(), &hash];
            let start = outcome(self.start(model, &report.cell, &inputs))?;
            let profile = outcome(self.profile(model, &report.cell, &inputs))?;
            for (what, error) in [("start", start.as_ref().err()), ("profile", profile.as_ref().err())] {
                if let Some(error) = error {
                    self.note(format!("{}: no {what}: {}", report.cell, error.message));
                }
            }
            report.metrics.start = start.ok();
            report.metrics.profile = profile.ok().flatten();
            self.done(UNITS_OF_LOOK);
        }
        Ok(())
    }

    /// From a new process to its first inference, of a model that was loaded here before: what an earlier process left in
    /// the file cache, and compiled where a framework keeps that, is there.
    fn start(&mut self, model: &InitialModel, cell: &Cell, inputs: &[&str]) -> Result<Start, Trouble> {
        let spec = self.spec.latency.clone();
        let key = key(&[&["start", &spec.batch.to_string()], inputs].concat());
        if let Some(Record::Start { start, .. }) = self.journal.find(&key) {
            return Ok(*start);
        }
        let title = format!("{} {}: first inference", cell.framework.title(), cell.name());
        self.watcher.event(Event::Step { title: &title });
        let folder = self.out.join("artefacts").join(cell.folder());
        let place = Place::from(cell);
        let (data, samples) = (self.material.latency.clone(), spec.samples.min(self.material.facts.test));
        let time = |handle: u64, batch: usize, count: usize| {
            let (data, warm_up) = (data.clone(), 0);
            Time { handle, data, samples, batch, warm_up, count }
        };
        let Loaded { handle } = self.crew.call(place, load(model, cell, &folder), self.watcher)?;
        self.crew.call(place, time(handle, 1, 1), self.watcher)?;
        self.crew.call(place, Unload { handle }, self.watcher)?;
        let begun = Instant::now();
        let mut member = self.crew.start(place, self.watcher)?;
        let import_seconds = begun.elapsed().as_secs_f64();
        let process = member.worker.id();
        memory::forget_peak(process);
        let Loaded { handle } = ask(&mut member.worker, load(model, cell, &folder), self.watcher)?;
        ask(&mut member.worker, time(handle, 1, 1), self.watcher)?;
        let first_inference_seconds = begun.elapsed().as_secs_f64();
        ask(&mut member.worker, time(handle, spec.batch, INFERENCES_FOR_MEMORY), self.watcher)?;
        let memory = memory::peak(process, member.idle);
        let start = Start { import_seconds, first_inference_seconds, memory };
        self.journal.append(Record::Start { key, cell: cell.clone(), start })?;
        Ok(start)
    }

    /// Where the time of an inference goes; `None` where the study wants no profiles.
    fn profile(
        &mut self,
        model: &InitialModel,
        cell: &Cell,
        inputs: &[&str],
    ) -> Result<Option<Profile>, Trouble> {
        let count = self.spec.profile.inferences;
        if count == 0 {
            return Ok(None);
        }
        let key = key(&[&["profile", &count.to_string()], inputs].concat());
        let relative = format!("artefacts/{}/{TRACE}", cell.folder());
        let trace = self.out.join(&relative);
        if let Some(Record::Profile { profile, .. }) = self.journal.find(&key)
            && trace.exists()
        {
            return Ok(Some(profile.clone()));
        }
        let title = format!("{} {}: profile", cell.framework.title(), cell.name());
        self.watcher.event(Event::Step { title: &title });
        let place = Place::from(cell);
        let folder = self.out.join("artefacts").join(cell.folder());
        let Loaded { handle } = self.crew.call(place, load(model, cell, &folder), self.watcher)?;
        let command = ProfileCommand {
            handle,
            data: self.material.latency.clone(),
            samples: self.spec.latency.samples.min(self.material.facts.test),
            count,
        };
        let profiled = self.crew.call(place, command, self.watcher)?;
        self.crew.call(place, Unload { handle }, self.watcher)?;
        write_whole(&trace, chrome_trace(cell, &profiled).as_bytes())
            .map_err(|error| Trouble::at("save", format!("{}: {error}", trace.display())))?;
        let profile = digest(profiled, relative);
        self.journal.append(Record::Profile { key, cell: cell.clone(), profile: profile.clone() })?;
        Ok(Some(profile))
    }
}

/// A profile as the report has it.
fn digest(profiled: Profiled, trace: String) -> Profile {
    let mut kinds: BTreeMap<Kind, KindTime> = BTreeMap::new();
    for operator in &profiled.operators {
        let entry = kinds.entry(operator.kind).or_insert(KindTime {
            kind: operator.kind,
            calls: 0,
            nanoseconds: 0.0,
            bytes: None,
        });
        entry.calls += operator.calls;
        entry.nanoseconds += operator.nanoseconds;
        if let Some(bytes) = operator.bytes {
            *entry.bytes.get_or_insert(0) += bytes;
        }
    }
    let mut kinds: Vec<KindTime> = kinds.into_values().collect();
    kinds.sort_by(|a, b| b.nanoseconds.total_cmp(&a.nanoseconds));
    Profile {
        profiler: profiled.profiler,
        resolution_nanoseconds: profiled.resolution_nanoseconds,
        wall_nanoseconds: profiled.wall_nanoseconds,
        bytes_are: profiled.bytes_are,
        kinds,
        operators: profiled.operators,
        trace,
    }
}

/// One mean inference in the trace event format that Perfetto and Chromium open: the operators one behind the other, and
/// around them the inference.
fn chrome_trace(cell: &Cell, profiled: &Profiled) -> String {
    let microseconds = |nanoseconds: f64| nanoseconds / 1e3;
    let mut events = vec![
        json!({"name": "process_name", "ph": "M", "pid": 1, "args": {"name": cell.to_string()}}),
        json!({
            "name": "inference", "ph": "X", "pid": 1, "tid": 1, "ts": 0.0,
            "dur": microseconds(profiled.wall_nanoseconds), "args": {"profiler": profiled.profiler},
        }),
    ];
    let mut at = 0.0;
    for operator in &profiled.operators {
        events.push(json!({
            "name": operator.name, "cat": kind_name(operator.kind), "ph": "X", "pid": 1, "tid": 2,
            "ts": microseconds(at), "dur": microseconds(operator.nanoseconds),
            "args": {"calls": operator.calls, "bytes": operator.bytes},
        }));
        at += operator.nanoseconds;
    }
    json!({"traceEvents": events, "displayTimeUnit": "ns"}).to_string()
}

#[cfg(test)]
mod tests {
    use calipers_workers::protocol::{Kind, ProfiledOperator};
    use serde_json::Value;

    use super::{Profiled, chrome_trace, digest};
    use crate::cell::{Cell, Framework, Origin, Tuning, Variant};

    fn profiled() -> Profiled {
        let operator = |name: &str, kind, nanoseconds, bytes| ProfiledOperator {
            name: name.to_owned(),
            kind,
            calls: 2,
            nanoseconds,
            bytes,
        };
        Profiled {
            profiler: String::from("a profiler"),
            resolution_nanoseconds: 1,
            wall_nanoseconds: 1_000.0,
            bytes_are: String::new(),
            operators: vec![
                operator("a", Kind::Pooling, 100.0, None),
                operator("b", Kind::Convolution, 300.0, Some(8)),
                operator("c", Kind::Convolution, 200.0, None),
            ],
        }
    }

    #[test]
    fn kinds_are_sums_and_the_rest_is_a_residual() {
        let profile = digest(profiled(), String::new());
        let kinds: Vec<_> =
            profile.kinds.iter().map(|kind| (kind.kind, kind.nanoseconds, kind.bytes)).collect();
        assert_eq!(kinds, [(Kind::Convolution, 500.0, Some(8)), (Kind::Pooling, 100.0, None)]);
        assert!((profile.residual_nanoseconds() - 400.0).abs() < 1e-9);
    }

    #[test]
    fn a_trace_has_the_operators_one_behind_the_other() {
        let (path, tuning, variant) = (String::from("native"), Tuning::Default, Variant::Float);
        let cell =
            Cell { framework: Framework::Calipers, path, tuning, variant, weights: Origin::Own, seed: 1 };
        let trace: Value = serde_json::from_str(&chrome_trace(&cell, &profiled())).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        let of = |name: &str| events.iter().find(|event| event["name"] == name).unwrap();
        assert_eq!((of("b")["ts"].as_f64(), of("c")["ts"].as_f64()), (Some(0.1), Some(0.4)));
        assert_eq!(of("inference")["dur"].as_f64(), Some(1.0));
    }
}
