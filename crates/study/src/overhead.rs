//! What quantization-aware training costs: its steps against float steps, in alternating blocks of one process.

use calipers_workers::protocol::{TrainDrop, TrainEpoch, TrainMode};

use crate::cell::Framework;
use crate::crew::Trouble;
use crate::event::Event;
use crate::material::InitialModel;
use crate::record::{Record, key};
use crate::run::Bench;
use crate::statistics::{Interval, paired_ratio};
use crate::training::Trained;

/// Pairs of blocks, after one that warms up.
const ROUNDS: usize = 8;
/// Training steps of a block.
const STEPS: usize = 4;

/// Samples that the measurement trains on, in multiples of a batch.
pub const STEPS_IN_ALL: usize = 2 * (ROUNDS + 1) * STEPS;

impl Bench<'_> {
    /// Time of a QAT step over that of a float step of the same framework.
    pub fn overhead(
        &mut self,
        model: &InitialModel,
        framework: Framework,
        path: &str,
        seed: u64,
        start: &Trained,
    ) -> Result<Option<Interval>, Trouble> {
        let batch = self.spec.train.batch;
        let key =
            key(&["overhead", &self.base_key(framework, model)?, path, &start.hash, &batch.to_string()]);
        let (float_seconds, qat_seconds) = match self.journal.find(&key) {
            Some(Record::Overhead { float_seconds, qat_seconds, .. }) => {
                (float_seconds.clone(), qat_seconds.clone())
            }
            _ => {
                let title = format!("{} {path}: steps of QAT against float", framework.title());
                self.watcher.event(Event::Step { title: &title });
                let measured = self.alternate(model, framework, path, seed, start)?;
                let (float_seconds, qat_seconds) = measured.clone();
                self.journal.append(Record::Overhead { key, float_seconds, qat_seconds })?;
                measured
            }
        };
        self.done(STEPS_IN_ALL * batch);
        Ok(paired_ratio(&qat_seconds, &float_seconds, seed))
    }

    /// Seconds of blocks of float steps and of QAT steps, in pairs.
    fn alternate(
        &mut self,
        model: &InitialModel,
        framework: Framework,
        path: &str,
        seed: u64,
        start: &Trained,
    ) -> Result<(Vec<f64>, Vec<f64>), Trouble> {
        let batch = self.spec.train.batch;
        let weights = Some(start.weights.as_path());
        let optimizer = (self.spec.train.momentum, self.spec.train.weight_decay);
        let trainers = [
            self.begin(model, framework, framework.float_path(), TrainMode::Float, weights, optimizer)?,
            self.begin(model, framework, path, TrainMode::Qat, weights, optimizer)?,
        ];
        let data = self.material.first_samples(seed, 0, STEPS * batch)?;
        let mut seconds = [Vec::new(), Vec::new()];
        for round in 0..=ROUNDS {
            // Whoever goes first changes from round to round.
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for which in order {
                let command = TrainEpoch {
                    trainer: trainers[which],
                    data: data.clone(),
                    batch,
                    learning_rates: vec![self.spec.qat.learning_rate],
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
