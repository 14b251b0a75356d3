//! The gates: same weights and inputs give the same logits; same start and batches give the same weights.

use std::path::{Path, PathBuf};

use calipers_workers::protocol::{Logits, TrainDrop, TrainEpoch, TrainMode, TrainState};

use crate::cell::Framework;
use crate::crew::Trouble;
use crate::event::Event;
use crate::material::InitialModel;
use crate::record::{Record, key};
use crate::report::{ParityGate, StepGate};
use crate::run::Bench;
use crate::weights::{self, Tensors};

/// Allowed difference of logits, times the larger of 1 and the largest |logit|.
const PARITY: f64 = 1e-4;
/// Allowed relative difference of weights after the steps.
const STEPS: f64 = 1e-4;
/// Rates of the steps: a drop after the third tells update rules apart that agree at a constant rate. They are the
/// gate's own, because at the rates of a training five steps already amplify rounding (activations near zero that fall
/// on different sides) beyond what a wrong rule would do.
const RATES: [f64; 5] = [0.01, 0.01, 0.01, 0.001, 0.001];

impl Bench<'_> {
    /// Compares the logits of all chosen frameworks with those of `reference` on one set of weights.
    pub fn parity(
        &mut self,
        model: &InitialModel,
        seed: u64,
        label: &str,
        weights: Option<(&Path, &str)>,
    ) -> Result<Vec<ParityGate>, Trouble> {
        let frameworks: Vec<Framework> = self.spec.chosen().collect();
        let Some((&reference, others)) = frameworks.split_first() else {
            return Ok(Vec::new());
        };
        let mut reference_logits = None;
        let mut gates = Vec::new();
        for &framework in others {
            let hash = weights.map_or("initial", |(_, hash)| hash);
            let key =
                key(&["parity", &self.base_key(reference, model)?, &self.base_key(framework, model)?, hash]);
            if let Some(Record::Parity { gate, .. }) = self.journal.find(&key)
                && gate.error.is_none()
            {
                let gate = gate.clone();
                self.watcher.event(Event::Parity(&gate));
                gates.push(gate);
                continue;
            }
            let file = weights.map(|(path, _)| path);
            if reference_logits.is_none() {
                reference_logits = Some(self.logits(model, reference, file));
            }
            let ours = self.logits(model, framework, file);
            let compared = match (reference_logits.clone(), ours) {
                (Some(Ok(a)), Ok(b)) => compare_logits(&a, &b),
                (Some(Err(Trouble::Cell(error))), _) | (_, Err(Trouble::Cell(error))) => Err(error.message),
                (Some(Err(Trouble::Interrupted)), _) | (_, Err(Trouble::Interrupted)) => {
                    return Err(Trouble::Interrupted);
                }
                (None, Ok(_)) => Err(String::from("the reference has no logits")),
            };
            let (difference, allowed, samples, error) = match compared {
                Ok(compared) => (Some(compared.difference), compared.allowed, compared.samples, None),
                Err(error) => (None, PARITY, 0, Some(error)),
            };
            let gate = ParityGate {
                seed,
                weights: label.to_owned(),
                framework,
                reference,
                difference,
                allowed,
                samples,
                passed: difference.is_some_and(|difference| difference <= allowed),
                error,
            };
            self.record(Record::Parity { key, gate: gate.clone() })?;
            self.watcher.event(Event::Parity(&gate));
            gates.push(gate);
        }
        Ok(gates)
    }

    fn logits(
        &mut self,
        model: &InitialModel,
        framework: Framework,
        weights: Option<&Path>,
    ) -> Result<Vec<f32>, Trouble> {
        let output = self.scratch.join(format!("parity-{framework}.safetensors"));
        let command = Logits {
            model: model.path.clone(),
            weights: weights.map(Path::to_owned),
            data: self.material.parity.clone(),
            batch: self.spec.calibration.batch,
            output: output.clone(),
        };
        self.crew.call(framework, command, self.watcher)?;
        weights::read_logits(&output)
            .map(|(_, _, logits)| logits)
            .map_err(|error| Trouble::at("evaluate", error))
    }

    /// Compares the weights of all training frameworks after five steps, and BatchNorm's statistics after the first.
    pub fn steps(&mut self, model: &InitialModel, seed: u64) -> Result<Vec<StepGate>, Trouble> {
        let trainers: Vec<Framework> = self.trainers();
        let Some((&reference, others)) = trainers.split_first() else {
            return Ok(Vec::new());
        };
        let mut reference_states = None;
        let mut gates = Vec::new();
        for &framework in others {
            let key = key(&[
                "steps",
                &self.base_key(reference, model)?,
                &self.base_key(framework, model)?,
                &format!("{seed} {RATES:?} {:?}", self.spec.train),
            ]);
            if let Some(Record::Step { gate, .. }) = self.journal.find(&key)
                && gate.error.is_none()
            {
                let gate = gate.clone();
                self.watcher.event(Event::Steps(&gate));
                gates.push(gate);
                continue;
            }
            if reference_states.is_none() {
                reference_states = Some(self.states(model, reference, seed));
            }
            let ours = self.states(model, framework, seed);
            let compared = match (&reference_states, ours) {
                (Some(Ok(a)), Ok(b)) => Ok(compare_states(a, &b)),
                (Some(Err(Trouble::Cell(error))), _) => Err(error.message.clone()),
                (_, Err(Trouble::Cell(error))) => Err(error.message),
                (Some(Err(Trouble::Interrupted)), _) | (_, Err(Trouble::Interrupted)) => {
                    return Err(Trouble::Interrupted);
                }
                (None, Ok(_)) => Err(String::from("the reference has no weights")),
            };
            let mut gate = StepGate {
                seed,
                framework,
                reference,
                steps: RATES.len(),
                weights: None,
                statistics: None,
                worst: None,
                allowed: STEPS,
                passed: false,
                error: None,
            };
            match compared {
                Ok(differences) => {
                    gate.passed = differences.weights <= STEPS
                        && differences.statistics.is_none_or(|difference| difference <= STEPS);
                    gate.weights = Some(differences.weights);
                    gate.worst = Some(differences.worst);
                    gate.statistics = differences.statistics;
                }
                Err(error) => gate.error = Some(error),
            }
            self.record(Record::Step { key, gate: gate.clone() })?;
            self.watcher.event(Event::Steps(&gate));
            gates.push(gate);
        }
        Ok(gates)
    }

    /// Weights after the first and after the last step.
    fn states(
        &mut self,
        model: &InitialModel,
        framework: Framework,
        seed: u64,
    ) -> Result<(Tensors, Tensors), Trouble> {
        self.watcher.event(Event::Step { title: &format!("{}: five training steps", framework.title()) });
        let batch = self.spec.train.batch;
        let trainer = self.begin(model, framework, framework.float_path(), TrainMode::Float, None)?;
        let part = |bench: &mut Self, steps: std::ops::Range<usize>| -> Result<Tensors, Trouble> {
            let data = bench
                .material
                .first_samples(seed, steps.start * batch, steps.len() * batch)
                .map_err(|error| Trouble::at("train", error))?;
            let learning_rates = RATES[steps].to_vec();
            bench.crew.call(framework, TrainEpoch { trainer, data, batch, learning_rates }, bench.watcher)?;
            let output: PathBuf = bench.scratch.join(format!("steps-{framework}.safetensors"));
            bench.crew.call(framework, TrainState { trainer, output: output.clone() }, bench.watcher)?;
            weights::read(&output).map_err(|error| Trouble::at("save", error))
        };
        let first = part(self, 0..1)?;
        let last = part(self, 1..RATES.len())?;
        self.crew.call(framework, TrainDrop { trainer }, self.watcher)?;
        Ok((first, last))
    }
}

struct Parity {
    difference: f64,
    allowed: f64,
    samples: usize,
}

fn compare_logits(a: &[f32], b: &[f32]) -> Result<Parity, String> {
    if a.len() != b.len() || a.is_empty() {
        return Err(format!("{} logits against {}", a.len(), b.len()));
    }
    let largest = a.iter().map(|logit| f64::from(logit.abs())).fold(1.0, f64::max);
    let difference = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, largest_or_nan);
    if !difference.is_finite() {
        return Err(String::from("a logit is NaN or infinite"));
    }
    Ok(Parity { difference, allowed: PARITY * largest, samples: a.len() })
}

/// As [`f64::max`], but NaN wins.
fn largest_or_nan(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

struct Differences {
    weights: f64,
    worst: String,
    statistics: Option<f64>,
}

/// BatchNorm's running statistics go by these endings, as in PyTorch.
fn is_statistic(name: &str) -> bool {
    name.ends_with(".running_mean") || name.ends_with(".running_var")
}

fn compare_states(a: &(Tensors, Tensors), b: &(Tensors, Tensors)) -> Differences {
    let weights: Vec<&String> = a.1.keys().filter(|name| !is_statistic(name)).collect();
    let statistics: Vec<&String> = a.0.keys().filter(|name| is_statistic(name)).collect();
    let worst = weights
        .iter()
        .map(|name| (relative(&[name], &a.1, &b.1), *name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, name)| name.clone());
    Differences {
        weights: relative(&weights, &a.1, &b.1),
        worst,
        statistics: (!statistics.is_empty()).then(|| relative(&statistics, &a.0, &b.0)),
    }
}

/// |a - b| / |a| in the Euclidean norm over all tensors of those names together; infinite where `b` lacks one.
fn relative(names: &[&String], a: &Tensors, b: &Tensors) -> f64 {
    let (mut difference, mut norm) = (0.0, 0.0);
    for name in names {
        let (Some(a), Some(b)) = (a.get(*name), b.get(*name)) else {
            return f64::INFINITY;
        };
        for (&a, &b) in a.elements.iter().zip(&b.elements) {
            difference += (f64::from(a) - f64::from(b)).powi(2);
            norm += f64::from(a).powi(2);
        }
    }
    if difference == 0.0 { 0.0 } else { (difference / norm).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::{Tensors, compare_logits, compare_states};
    use crate::weights::Floats;

    fn tensors(weight: f32, mean: f32) -> Tensors {
        [("conv.weight", weight), ("bn.running_mean", mean)]
            .map(|(name, value)| (name.to_owned(), Floats { shape: vec![2], elements: vec![value, 1.0] }))
            .into()
    }

    #[test]
    fn parity_scales_with_the_largest_logit() {
        let parity = compare_logits(&[10.0, 0.0], &[10.0005, 0.0]).unwrap();
        assert!((parity.allowed - 1e-3).abs() < 1e-9 && parity.difference < parity.allowed);
        assert!(compare_logits(&[1.0], &[f32::NAN]).is_err());
        assert!(compare_logits(&[], &[]).is_err());
    }

    #[test]
    fn statistics_are_compared_after_the_first_step_and_weights_after_the_last() {
        let a = (tensors(1.0, 1.0), tensors(1.0, 1.0));
        let b = (tensors(9.0, 1.0), tensors(1.0, 9.0));
        let same = compare_states(&a, &b);
        assert_eq!((same.weights, same.statistics), (0.0, Some(0.0)));
        let c = (tensors(1.0, 1.1), tensors(1.1, 1.0));
        let other = compare_states(&a, &c);
        assert!(other.weights > 0.05 && other.statistics.is_some_and(|difference| difference > 0.05));
        assert_eq!(other.worst, "conv.weight");
    }

    #[test]
    fn nan_is_a_difference() {
        let a = (tensors(1.0, 1.0), tensors(1.0, 1.0));
        let b = (tensors(1.0, f32::NAN), tensors(f32::NAN, 1.0));
        let differences = compare_states(&a, &b);
        assert!(differences.weights.is_nan() && differences.statistics.is_some_and(f64::is_nan));
    }
}
