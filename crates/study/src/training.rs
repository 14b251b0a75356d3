//! Training by the frameworks' workers: the same epochs, in the same order, with the same rates.

use std::path::{Path, PathBuf};

use calipers_workers::protocol::{Epoch, TrainBegin, TrainDrop, TrainEpoch, TrainMode, TrainState};

use crate::cell::{Framework, Variant, variant_name};
use crate::crew::Trouble;
use crate::event::Event;
use crate::material::{InitialModel, file_hash, make_folder};
use crate::record::{EpochRecord, Record, Training, key};
use crate::report::TrainingMetrics;
use crate::run::Bench;
use crate::statistics::{Interval, median};

/// Trained weights, and how they came about.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Weights file.
    pub weights: PathBuf,
    /// Hash of that file.
    pub hash: String,
    /// The epochs of this training.
    pub epochs: Vec<EpochRecord>,
}

/// A training to be done.
pub struct Job<'a> {
    /// By whom.
    pub framework: Framework,
    /// Which of its tools.
    pub path: &'a str,
    /// Float or QAT.
    pub mode: TrainMode,
    /// Seed of the sample order.
    pub seed: u64,
    /// Weights to start from; the model's own without it.
    pub start: Option<&'a Path>,
    /// Numbers of the epochs.
    pub epochs: std::ops::Range<usize>,
    /// Learning rate by epoch number.
    pub rate: &'a dyn Fn(usize) -> f64,
}

impl Bench<'_> {
    /// Trains and leaves the trainer with the worker: its handle, and the epochs.
    pub fn train(&mut self, model: &InitialModel, job: &Job<'_>) -> Result<(u64, Vec<EpochRecord>), Trouble> {
        let optimizer = (self.spec.train.momentum, self.spec.train.weight_decay);
        let trainer = self.begin(model, job.framework, job.path, job.mode, job.start, optimizer)?;
        match self.epochs(trainer, job) {
            Ok(epochs) => Ok((trainer, epochs)),
            Err(trouble) => {
                self.drop_trainer(job.framework, trainer);
                Err(trouble)
            }
        }
    }

    fn epochs(&mut self, trainer: u64, job: &Job<'_>) -> Result<Vec<EpochRecord>, Trouble> {
        let units_per_sample = if job.mode == TrainMode::Qat { 2 } else { 1 };
        let mut epochs = Vec::new();
        let last = job.epochs.end;
        for number in job.epochs.clone() {
            let title = format!("{} {}: epoch {} of {last}", job.framework.title(), job.path, number + 1);
            self.watcher.event(Event::Step { title: &title });
            let data = self.material.epoch(job.seed, number)?;
            let rate = (job.rate)(number);
            let batch = self.spec.train.batch;
            let command = TrainEpoch { trainer, data, batch, learning_rates: vec![rate] };
            let Epoch { loss, accuracy, seconds, step_seconds, .. } =
                self.crew.call(job.framework, command, self.watcher)?;
            if !loss.is_finite() {
                return Err(Trouble::at(
                    "train",
                    format!(
                        "the loss of epoch {number} is {loss} at a learning rate of {rate}\nhint: lower train.learning_rate"
                    ),
                ));
            }
            epochs.push(EpochRecord { epoch: number, rate, loss, accuracy, seconds, step_seconds });
            self.done(units_per_sample * self.material.facts.train);
        }
        Ok(epochs)
    }

    /// Frees a trainer after a failure. Where the worker is gone, so is the trainer.
    pub fn drop_trainer(&mut self, framework: Framework, trainer: u64) {
        let _ = self.crew.call(framework, TrainDrop { trainer }, self.watcher);
    }

    /// Makes a trainer; `optimizer` is momentum and weight decay.
    pub fn begin(
        &mut self,
        model: &InitialModel,
        framework: Framework,
        path: &str,
        mode: TrainMode,
        start: Option<&Path>,
        (momentum, weight_decay): (f64, f64),
    ) -> Result<u64, Trouble> {
        let command = TrainBegin {
            model: model.path.clone(),
            weights: start.map(Path::to_owned),
            mode,
            path: path.to_owned(),
            momentum,
            weight_decay,
        };
        Ok(self.crew.call(framework, command, self.watcher)?.trainer)
    }

    /// Float weights: those of the main training, or those trained on for as long as QAT.
    pub fn float_weights(
        &mut self,
        model: &InitialModel,
        framework: Framework,
        variant: Variant,
        seed: u64,
        start: Option<&Trained>,
    ) -> Result<Trained, Trouble> {
        let spec = self.spec.clone();
        let (epochs, rate): (_, Box<dyn Fn(usize) -> f64>) = match variant {
            Variant::FloatFinetuned => {
                let rate = spec.qat.learning_rate;
                (spec.train.epochs..spec.train.epochs + spec.qat.epochs, Box::new(move |_| rate))
            }
            _ => {
                let train = spec.train.clone();
                (0..spec.train.epochs, Box::new(move |epoch| train.rate(epoch)))
            }
        };
        let rates: Vec<f64> = epochs.clone().map(&rate).collect();
        let key = key(&[
            "training",
            &self.base_key(framework, model)?,
            variant_name(variant),
            &format!("{seed} {rates:?} {:?}", spec.train),
            start.map_or("", |start| &start.hash),
        ]);
        let relative =
            format!("artefacts/{framework}/weights/{}-seed-{seed}.safetensors", variant_name(variant));
        let weights = self.out.join(&relative);
        if let Some(Record::Training { training, .. }) = self.journal.find(&key)
            && file_hash(&weights).as_ref() == Some(&training.weights_hash)
        {
            let (hash, epochs) = (training.weights_hash.clone(), training.epochs.clone());
            self.done(epochs.len() * self.material.facts.train);
            return Ok(Trained { weights, hash, epochs });
        }
        let job = Job {
            framework,
            path: framework.float_path(),
            mode: TrainMode::Float,
            seed,
            start: start.map(|start| start.weights.as_path()),
            epochs,
            rate: &rate,
        };
        let (trainer, epochs) = self.train(model, &job)?;
        if let Some(folder) = weights.parent() {
            make_folder(folder)?;
        }
        self.crew.call(framework, TrainState { trainer, output: weights.clone() }, self.watcher)?;
        self.crew.call(framework, TrainDrop { trainer }, self.watcher)?;
        let hash =
            file_hash(&weights).ok_or_else(|| Trouble::at("save", "the worker wrote no weights file"))?;
        let training = Training {
            framework,
            variant,
            seed,
            epochs: epochs.clone(),
            weights: relative,
            weights_hash: hash.clone(),
        };
        self.journal.append(Record::Training { key, training })?;
        Ok(Trained { weights, hash, epochs })
    }
}

/// The cost of a training.
pub fn metrics(epochs: &[EpochRecord], overhead: Option<Interval>) -> TrainingMetrics {
    let of_epochs: Vec<f64> = epochs.iter().map(|epoch| epoch.seconds).collect();
    let of_steps: Vec<f64> = epochs.iter().flat_map(|epoch| epoch.step_seconds.iter().copied()).collect();
    TrainingMetrics {
        epochs: epochs.len(),
        seconds_per_step: median(&of_steps),
        seconds_per_epoch: median(&of_epochs),
        seconds: of_epochs.iter().sum(),
        final_loss: epochs.last().map_or(0.0, |epoch| epoch.loss),
        overhead,
    }
}
