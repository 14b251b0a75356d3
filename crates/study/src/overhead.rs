//! What quantization-aware training costs: its steps against float steps, in alternating blocks of one process.

use calipers_workers::protocol::{TrainDrop, TrainEpoch, TrainMode, Tuning};

use crate::cell::Cell;
use crate::crew::Trouble;
use crate::event::Event;
use crate::material::InitialModel;
use crate::record::{Record, key};
use crate::run::{Bench, Sources};
use crate::statistics::{Interval, paired_ratio};
use crate::training::{Job, Trained};

/// Pairs of blocks, after one that warms up.
const ROUNDS: usize = 8;
/// Training steps of a block.
const STEPS: usize = 4;

/// Training steps of a whole measurement.
pub const STEPS_IN_ALL: usize = 2 * (ROUNDS + 1) * STEPS;

impl Bench<'_> {
    /// Time of a QAT step of a cell over that of a float step of the same framework.
    pub fn overhead(
        &mut self,
        model: &InitialModel,
        cell: &Cell,
        start: &Trained,
    ) -> Result<Option<Interval>, Trouble> {
        let batch = self.spec.train.as_ref().map_or(1, |train| train.batch);
        let key = key(&[
            "overhead",
            &self.base_key(cell.framework, model, Sources::QuantizedTraining)?,
            &cell.name(),
            &start.hash,
            &batch.to_string(),
        ]);
        let (float_seconds, qat_seconds) = match self.journal.find(&key) {
            Some(Record::Overhead { float_seconds, qat_seconds, .. }) => {
                (float_seconds.clone(), qat_seconds.clone())
            }
            _ => {
                let title = format!("{} {}: steps of QAT against float", cell.framework.title(), cell.path);
                self.watcher.event(Event::Step { title: &title });
                let measured = self.alternate(model, cell, start, batch)?;
                let (float_seconds, qat_seconds) = measured.clone();
                self.journal.append(Record::Overhead { key, float_seconds, qat_seconds })?;
                measured
            }
        };
        self.done(STEPS_IN_ALL * batch);
        Ok(paired_ratio(&qat_seconds, &float_seconds, cell.seed))
    }

    /// Seconds of blocks of float steps and of QAT steps, in pairs.
    fn alternate(
        &mut self,
        model: &InitialModel,
        cell: &Cell,
        start: &Trained,
        batch: usize,
    ) -> Result<(Vec<f64>, Vec<f64>), Trouble> {
        let framework = cell.framework;
        let rate = self.spec.qat.as_ref().map_or(0.0, |qat| qat.learning_rate);
        let mut trainers = Vec::new();
        for (path, tuning, mode) in [
            (framework.float_path(), Tuning::Default, TrainMode::Float),
            (cell.path.as_str(), cell.tuning, TrainMode::Qat),
        ] {
            let (seed, start, epochs) = (cell.seed, Some(start), Vec::new());
            let job = Job { framework, path, tuning, mode, seed, start, epochs };
            trainers.push(self.begin(model, &job)?);
        }
        let data = self.material.first_samples(cell.seed, 0, STEPS * batch)?;
        let mut seconds = [Vec::new(), Vec::new()];
        for round in 0..=ROUNDS {
            // Whoever goes first changes from round to round.
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for which in order {
                let command = TrainEpoch {
                    trainer: trainers[which],
                    data: data.clone(),
                    batch,
                    learning_rates: vec![rate],
                };
                let epoch = self.crew.call(framework, command, self.watcher)?;
                if round > 0 {
                    seconds[which].push(epoch.step_seconds.iter().sum());
                }
            }
        }
        for trainer in trainers {
            self.crew.call(framework, TrainDrop { trainer }, self.watcher)?;
        }
        let [float_seconds, qat_seconds] = seconds;
        Ok((float_seconds, qat_seconds))
    }
}
