//! Training by the frameworks' workers: the same epochs, in the same order, with the same rates.
//!
//! Every epoch that ends is kept: a record under the hash of all that led to it, and a checkpoint that a trainer goes on
//! from. So a study that was stopped, or is given more epochs, trains only those that are new.

use std::path::PathBuf;

use calipers_workers::protocol::{
    Epoch, TrainBegin, TrainDrop, TrainEpoch, TrainMode, TrainRestore, TrainSave, TrainState, Tuning,
};

use crate::cell::{Framework, Variant, variant_name};
use crate::crew::{Trouble, outcome};
use crate::event::Event;
use crate::material::{InitialModel, file_hash, make_folder};
use crate::memory;
use crate::record::{EpochRecord, Record, key};
use crate::report::{EpochPoint, TrainingMetrics};
use crate::run::{Bench, Sources};
use crate::statistics::{Interval, median};

/// Trained weights, and how they came about.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Weights file; absent for the model's own weights.
    pub weights: Option<PathBuf>,
    /// Hash of that file, or of the model's.
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
    /// How they are set.
    pub tuning: Tuning,
    /// Float or QAT.
    pub mode: TrainMode,
    /// Seed of the sample order.
    pub seed: u64,
    /// Weights to start from; the model's own without it.
    pub start: Option<&'a Trained>,
    /// Numbers of the epochs, and the rates of each: one, or one a step.
    pub epochs: Vec<(usize, Vec<f64>)>,
}

/// How far a training got before.
struct Reached {
    /// The epochs that are done.
    epochs: Vec<EpochRecord>,
    /// What the next one goes on from; absent where none is done.
    checkpoint: Option<PathBuf>,
}

impl Bench<'_> {
    /// Trains in a process of its own and leaves the trainer with the worker: its handle, and the epochs.
    pub fn train(&mut self, model: &InitialModel, job: &Job<'_>) -> Result<(u64, Vec<EpochRecord>), Trouble> {
        let keys = self.epoch_keys(model, job)?;
        let mut reached = self.reached(&keys);
        self.crew.retire(job.framework);
        let mut trainer = self.begin(model, job)?;
        if let Some(checkpoint) = &reached.checkpoint {
            let command = TrainRestore { trainer, input: checkpoint.clone() };
            if let Err(error) = outcome(self.crew.call(job.framework, command, self.watcher))? {
                let again = "a training began again, since it could not go on from its checkpoint";
                self.note(format!("{} {}: {again}: {}", job.framework.title(), job.path, error.message));
                self.drop_trainer(job.framework, trainer);
                trainer = self.begin(model, job)?;
                reached = Reached { epochs: Vec::new(), checkpoint: None };
            }
        }
        match self.epochs(trainer, job, &keys, reached) {
            Ok(epochs) => Ok((trainer, epochs)),
            Err(trouble) => {
                self.drop_trainer(job.framework, trainer);
                Err(trouble)
            }
        }
    }

    /// The key of each epoch: a hash of everything that it and those before it depend on.
    fn epoch_keys(&mut self, model: &InitialModel, job: &Job<'_>) -> Result<Vec<String>, Trouble> {
        let Job { framework, path, tuning, mode, seed, start, .. } = job;
        let optimizer = self.spec.train.as_ref().map(|train| {
            format!("{} {} {} {:?}", train.batch, train.momentum, train.weight_decay, train.augmentation)
        });
        let sources = match mode {
            TrainMode::Float => Sources::Training,
            TrainMode::Qat => Sources::QuantizedTraining,
        };
        let mut last = key(&[
            "training",
            &self.base_key(*framework, model, sources)?,
            &format!("{path} {tuning:?} {mode:?} {seed} {optimizer:?}"),
            start.map_or("", |start| &start.hash),
        ]);
        let mut keys = Vec::new();
        for (number, rates) in &job.epochs {
            last = key(&[&last, &format!("{number} {rates:?}")]);
            keys.push(last.clone());
        }
        Ok(keys)
    }

    /// The longest run of epochs from the first on that are done and whose last checkpoint is there.
    fn reached(&self, keys: &[String]) -> Reached {
        let mut reached = Reached { epochs: Vec::new(), checkpoint: None };
        let mut epochs = Vec::new();
        for key in keys {
            let Some(Record::Epoch { epoch, checkpoint, checkpoint_hash, .. }) = self.journal.find(key)
            else {
                break;
            };
            epochs.push(epoch.clone());
            let checkpoint = self.out.join(checkpoint);
            if file_hash(&checkpoint).as_ref() == Some(checkpoint_hash) {
                reached = Reached { epochs: epochs.clone(), checkpoint: Some(checkpoint) };
            }
        }
        reached
    }

    fn epochs(
        &mut self,
        trainer: u64,
        job: &Job<'_>,
        keys: &[String],
        reached: Reached,
    ) -> Result<Vec<EpochRecord>, Trouble> {
        let Reached { mut epochs, mut checkpoint } = reached;
        self.done(epochs.len() * self.units_of_epoch(job.mode));
        let folder = self.out.join("checkpoints");
        make_folder(&folder)?;
        let last = job.epochs.last().map_or(0, |(number, _)| number + 1);
        for ((number, rates), key) in job.epochs.iter().zip(keys).skip(epochs.len()) {
            let title = format!("{} {}: epoch {} of {last}", job.framework.title(), job.path, number + 1);
            self.watcher.event(Event::Step { title: &title });
            let epoch = self.epoch(trainer, job, *number, rates)?;
            let name = format!("checkpoints/{key}.safetensors");
            let output = self.out.join(&name);
            let command = TrainSave { trainer, output: output.clone() };
            self.crew.call(job.framework, command, self.watcher)?;
            let checkpoint_hash = file_hash(&output)
                .ok_or_else(|| Trouble::at("save", "the worker wrote no checkpoint of the epoch"))?;
            self.journal.append(Record::Epoch {
                key: key.clone(),
                epoch: epoch.clone(),
                checkpoint: name,
                checkpoint_hash,
            })?;
            if let Some(former) = checkpoint.replace(output) {
                // One checkpoint is enough to go on from; one that stays is in nobody's way.
                let _ = std::fs::remove_file(former);
            }
            epochs.push(epoch);
            self.done(self.units_of_epoch(job.mode));
        }
        Ok(epochs)
    }

    /// Trains one epoch.
    fn epoch(
        &mut self,
        trainer: u64,
        job: &Job<'_>,
        number: usize,
        rates: &[f64],
    ) -> Result<EpochRecord, Trouble> {
        let data = self.material.epoch(job.seed, number)?;
        let batch = self.spec.train.as_ref().map_or(1, |train| train.batch);
        let member = self.crew.member(job.framework, self.watcher)?;
        let (process, idle) = (member.worker.id(), member.idle);
        memory::forget_peak(process);
        let command = TrainEpoch { trainer, data, batch, learning_rates: rates.to_vec() };
        let Epoch { loss, accuracy, seconds, step_seconds, .. } =
            self.crew.call(job.framework, command, self.watcher)?;
        let rate = rates.first().copied().unwrap_or_default();
        if !loss.is_finite() {
            return Err(Trouble::at(
                "train",
                format!(
                    "the loss of epoch {number} is {loss} at a learning rate of {rate}\nhint: lower train.learning_rate"
                ),
            ));
        }
        let memory = memory::peak(process, idle);
        Ok(EpochRecord { epoch: number, rate, loss, accuracy, seconds, step_seconds, memory })
    }

    /// Units of work of an epoch.
    pub fn units_of_epoch(&self, mode: TrainMode) -> usize {
        let cost = if mode == TrainMode::Qat { 2 } else { 1 };
        cost * self.material.facts.train
    }

    /// Frees a trainer after a failure. Where the worker is gone, so is the trainer.
    pub fn drop_trainer(&mut self, framework: Framework, trainer: u64) {
        let _ = self.crew.call(framework, TrainDrop { trainer }, self.watcher);
    }

    /// Makes a trainer with the study's momentum and weight decay.
    pub fn begin(&mut self, model: &InitialModel, job: &Job<'_>) -> Result<u64, Trouble> {
        let optimizer =
            self.spec.train.as_ref().map_or((0.0, 0.0), |train| (train.momentum, train.weight_decay));
        self.begin_with(model, job, optimizer)
    }

    /// Makes a trainer; `optimizer` is momentum and weight decay.
    pub fn begin_with(
        &mut self,
        model: &InitialModel,
        job: &Job<'_>,
        (momentum, weight_decay): (f64, f64),
    ) -> Result<u64, Trouble> {
        let command = TrainBegin {
            model: model.path.clone(),
            weights: job.start.and_then(|start| start.weights.clone()),
            mode: job.mode,
            path: job.path.to_owned(),
            tuning: job.tuning,
            momentum,
            weight_decay,
        };
        Ok(self.crew.call(job.framework, command, self.watcher)?.trainer)
    }

    /// Numbers and rates of the epochs of QAT and of its float control.
    pub fn extra_epochs(&self) -> Vec<(usize, Vec<f64>)> {
        let (Some(train), Some(qat)) = (&self.spec.train, &self.spec.qat) else { return Vec::new() };
        (train.epochs..train.epochs + qat.epochs).map(|number| (number, vec![qat.learning_rate])).collect()
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
        let epochs = match (variant, &self.spec.train) {
            (Variant::FloatFinetuned, _) => self.extra_epochs(),
            (_, Some(train)) => {
                let steps = self.material.steps();
                (0..train.epochs).map(|number| (number, train.rates(number, steps))).collect()
            }
            (_, None) => Vec::new(),
        };
        let job = Job {
            framework,
            path: framework.float_path(),
            tuning: Tuning::Default,
            mode: TrainMode::Float,
            seed,
            start,
            epochs,
        };
        let keys = self.epoch_keys(model, &job)?;
        // Weights that nothing trained are the model's, written once for each framework that quantizes its own.
        let untrained = || key(&[&model.hash, &framework.to_string(), &seed.to_string()]);
        let last = keys.last().cloned().unwrap_or_else(untrained);
        let key = key(&["weights", &last]);
        if let Some(Record::Training { weights, weights_hash, .. }) = self.journal.find(&key) {
            let path = self.out.join(weights);
            if file_hash(&path).as_ref() == Some(weights_hash) {
                let hash = weights_hash.clone();
                let epochs = self.recorded(&keys);
                self.done(epochs.len() * self.units_of_epoch(TrainMode::Float));
                return Ok(Trained { weights: Some(path), hash, epochs });
            }
        }
        let (trainer, epochs) = self.train(model, &job)?;
        let relative = format!(
            "weights/{framework}-{}-seed-{seed}-{}.safetensors",
            variant_name(variant),
            last.get(..8).unwrap_or_default()
        );
        let weights = self.out.join(&relative);
        make_folder(&self.out.join("weights"))?;
        self.crew.call(framework, TrainState { trainer, output: weights.clone() }, self.watcher)?;
        self.crew.call(framework, TrainDrop { trainer }, self.watcher)?;
        let hash =
            file_hash(&weights).ok_or_else(|| Trouble::at("save", "the worker wrote no weights file"))?;
        self.journal.append(Record::Training { key, weights: relative, weights_hash: hash.clone() })?;
        Ok(Trained { weights: Some(weights), hash, epochs })
    }

    /// The epochs of those keys.
    fn recorded(&self, keys: &[String]) -> Vec<EpochRecord> {
        let epoch = |key: &String| match self.journal.find(key) {
            Some(Record::Epoch { epoch, .. }) => Some(epoch.clone()),
            _ => None,
        };
        keys.iter().filter_map(epoch).collect()
    }
}

/// The cost of a training.
pub fn metrics(epochs: &[EpochRecord], overhead: Option<Interval>) -> TrainingMetrics {
    let of_epochs: Vec<f64> = epochs.iter().map(|epoch| epoch.seconds).collect();
    let of_steps: Vec<f64> = epochs.iter().flat_map(|epoch| epoch.step_seconds.iter().copied()).collect();
    let point = |epoch: &EpochRecord| EpochPoint {
        epoch: epoch.epoch,
        rate: epoch.rate,
        loss: epoch.loss,
        accuracy: epoch.accuracy,
    };
    TrainingMetrics {
        epochs: epochs.len(),
        seconds_per_step: median(&of_steps),
        seconds_per_epoch: median(&of_epochs),
        seconds: of_epochs.iter().sum(),
        final_loss: epochs.last().map_or(0.0, |epoch| epoch.loss),
        curve: epochs.iter().map(point).collect(),
        overhead,
        memory: epochs.iter().filter_map(|epoch| epoch.memory).max_by_key(|memory| memory.above_idle()),
    }
}
