//! The gates: same weights and inputs give the same logits; same start and batches give the same weights.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use calipers_workers::protocol::{Logits, TrainEpoch, TrainMode, TrainState, Tuning};

use crate::cell::Framework;
use crate::crew::{Trouble, outcome};
use crate::event::Event;
use crate::material::InitialModel;
use crate::record::{Record, key};
use crate::report::{CellError, ParityGate, StepGate};
use crate::run::{Bench, Sources};
use crate::training::Job;
use crate::weights::{self, Tensors};

/// Allowed difference of logits, times the larger of 1 and the largest |logit|.
const PARITY: f64 = 1e-4;
/// Allowed relative difference of weights after the steps.
const ALLOWED: f64 = 1e-4;
/// Training steps of the step gate.
pub const STEPS: usize = 5;
/// Rates of the steps: a drop after the third tells update rules apart that agree at a constant rate. They are the
/// gate's own, and small: rounding errors of gradients grow with the rate from step to step, in a deep network with
/// BatchNorm by so much that frameworks with the same rule were seen to end 1.4e-3 apart at 0.01, which is more than
/// [`ALLOWED`] and would hide a wrong rule.
const RATES: [f64; STEPS] = [1e-3, 1e-3, 1e-3, 1e-4, 1e-4];
/// Momentum and weight decay of the steps: a decay that is missing, or decoupled from the momentum, shows, since it is as
/// large as the rates are small.
const OPTIMIZER: (f64, f64) = (0.9, 0.5);

impl Bench<'_> {
    /// Compares the logits of all chosen frameworks on one set of weights with those of the first that gives any.
    pub fn parity(
        &mut self,
        model: &InitialModel,
        seed: u64,
        label: &str,
        weights: Option<(&Path, &str)>,
    ) -> Result<Vec<ParityGate>, Trouble> {
        let frameworks: Vec<Framework> = self.spec.chosen().collect();
        let hash = weights.map_or("initial", |(_, hash)| hash);
        let mut keys = BTreeMap::new();
        for &framework in &frameworks {
            keys.insert(framework, self.base_key(framework, model, Sources::Whole)?);
        }
        let pair = |a: Framework, b: Framework| {
            key(&["parity", &keys[&a], &keys[&b], hash, label, &seed.to_string()])
        };
        let found: Option<Vec<ParityGate>> = frameworks
            .iter()
            .skip(1)
            .map(|&framework| match self.journal.find(&pair(frameworks[0], framework)) {
                Some(Record::Parity { gate, .. }) if gate.error.is_none() => Some(gate.clone()),
                _ => None,
            })
            .collect();
        if let Some(gates) = found {
            gates.iter().for_each(|gate| self.watcher.event(Event::Parity(gate)));
            return Ok(gates);
        }
        let mut results = Vec::new();
        for &framework in &frameworks {
            let logits = self.logits(model, framework, weights.map(|(path, _)| path));
            results.push((framework, outcome(logits)?));
        }
        let (reference, reference_logits, others) = first_that_is_there(results);
        let mut gates = Vec::new();
        for (framework, logits) in others {
            let compared = match (&reference_logits, logits) {
                (Some(ours), Ok(theirs)) => compare_logits(ours, &theirs),
                (None, Ok(_)) => Err(format!("{} has no logits", reference.title())),
                (_, Err(error)) => Err(error.message),
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
            self.journal.append(Record::Parity { key: pair(reference, framework), gate: gate.clone() })?;
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
    ) -> Result<LogitsOfSamples, Trouble> {
        let output = self.scratch.join(format!("parity-{framework}.safetensors"));
        let command = Logits {
            model: model.path.clone(),
            weights: weights.map(Path::to_owned),
            data: self.material.parity.clone(),
            batch: self.spec.calibration.batch,
            output: output.clone(),
        };
        self.crew.call(framework, command, self.watcher)?;
        let (samples, _, logits) =
            weights::read_logits(&output).map_err(|error| Trouble::at("evaluate", error))?;
        Ok(LogitsOfSamples { samples, logits })
    }

    /// Compares the weights of all training frameworks after five steps, and BatchNorm's statistics after the first,
    /// with those of the first framework that has any.
    pub fn steps(&mut self, model: &InitialModel, seed: u64) -> Result<Vec<StepGate>, Trouble> {
        let trainers: Vec<Framework> = self.trainers();
        if trainers.len() < 2 {
            return Ok(Vec::new());
        }
        let settings = format!("{seed} {RATES:?} {OPTIMIZER:?} {:?}", self.spec.train);
        let mut keys = BTreeMap::new();
        for &framework in &trainers {
            keys.insert(framework, self.base_key(framework, model, Sources::Whole)?);
        }
        let pair = |a: Framework, b: Framework| key(&["steps", &keys[&a], &keys[&b], &settings]);
        let found: Option<Vec<StepGate>> = trainers
            .iter()
            .skip(1)
            .map(|&framework| match self.journal.find(&pair(trainers[0], framework)) {
                Some(Record::Step { gate, .. }) if gate.error.is_none() => Some(gate.clone()),
                _ => None,
            })
            .collect();
        if let Some(gates) = found {
            gates.iter().for_each(|gate| self.watcher.event(Event::Steps(gate)));
            return Ok(gates);
        }
        let mut results = Vec::new();
        for &framework in &trainers {
            let states = self.states(model, framework, seed);
            results.push((framework, outcome(states)?));
        }
        let (reference, reference_states, others) = first_that_is_there(results);
        let mut gates = Vec::new();
        for (framework, states) in others {
            let mut gate = StepGate {
                seed,
                framework,
                reference,
                steps: STEPS,
                weights: None,
                statistics: None,
                worst: None,
                allowed: ALLOWED,
                passed: false,
                error: None,
            };
            match (&reference_states, states) {
                (Some(ours), Ok(theirs)) => {
                    let differences = compare_states(ours, &theirs);
                    gate.passed = differences.pass();
                    gate.weights = Some(differences.weights);
                    gate.worst = Some(differences.worst);
                    gate.statistics = differences.statistics;
                }
                (None, Ok(_)) => gate.error = Some(format!("{} has no weights", reference.title())),
                (_, Err(error)) => gate.error = Some(error.message),
            }
            self.journal.append(Record::Step { key: pair(reference, framework), gate: gate.clone() })?;
            self.watcher.event(Event::Steps(&gate));
            gates.push(gate);
        }
        Ok(gates)
    }

    /// Weights after the first and after the last step.
    fn states(&mut self, model: &InitialModel, framework: Framework, seed: u64) -> Result<States, Trouble> {
        self.watcher.event(Event::Step { title: &format!("{}: five training steps", framework.title()) });
        let job = Job {
            framework,
            path: framework.float_path(),
            tuning: Tuning::Default,
            mode: TrainMode::Float,
            seed,
            start: None,
            epochs: Vec::new(),
        };
        let trainer = self.begin_with(model, &job, OPTIMIZER)?;
        let states = self
            .states_after(trainer, framework, seed, 0..1)
            .and_then(|first| Ok((first, self.states_after(trainer, framework, seed, 1..STEPS)?)));
        self.drop_trainer(framework, trainer);
        states
    }

    fn states_after(
        &mut self,
        trainer: u64,
        framework: Framework,
        seed: u64,
        steps: std::ops::Range<usize>,
    ) -> Result<Tensors, Trouble> {
        let batch = self.spec.train.as_ref().map_or(1, |train| train.batch);
        let data = self.material.first_samples(seed, steps.start * batch, steps.len() * batch)?;
        let learning_rates = RATES[steps].to_vec();
        self.crew.call(framework, TrainEpoch { trainer, data, batch, learning_rates }, self.watcher)?;
        let output: PathBuf = self.scratch.join(format!("steps-{framework}.safetensors"));
        self.crew.call(framework, TrainState { trainer, output: output.clone() }, self.watcher)?;
        weights::read(&output).map_err(|error| Trouble::at("save", error))
    }
}

/// What each framework gave, or why it gave nothing.
type Given<T> = Vec<(Framework, Result<T, CellError>)>;

/// The first framework that gave something, what it gave, and the others. Where none did, the first of them all.
fn first_that_is_there<T>(mut results: Given<T>) -> (Framework, Option<T>, Given<T>) {
    let at = results.iter().position(|(_, result)| result.is_ok()).unwrap_or(0);
    let (reference, result) = results.remove(at);
    (reference, result.ok(), results)
}

struct LogitsOfSamples {
    samples: usize,
    logits: Vec<f32>,
}

/// Weights after the first and after the last step.
type States = (Tensors, Tensors);

struct Parity {
    difference: f64,
    allowed: f64,
    samples: usize,
}

fn compare_logits(ours: &LogitsOfSamples, theirs: &LogitsOfSamples) -> Result<Parity, String> {
    let (a, b) = (&ours.logits, &theirs.logits);
    if a.len() != b.len() || a.is_empty() {
        return Err(format!("{} logits against {}", a.len(), b.len()));
    }
    let largest = a.iter().map(|logit| f64::from(logit.abs())).fold(1.0, f64::max);
    let difference = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, largest_or_nan);
    if !difference.is_finite() {
        return Err(String::from("a logit is NaN or infinite"));
    }
    Ok(Parity { difference, allowed: PARITY * largest, samples: ours.samples })
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

impl Differences {
    fn pass(&self) -> bool {
        self.weights <= ALLOWED && self.statistics.is_none_or(|difference| difference <= ALLOWED)
    }
}

/// BatchNorm's running statistics go by these endings, as in PyTorch.
fn is_statistic(name: &str) -> bool {
    name.ends_with(".running_mean") || name.ends_with(".running_var")
}

fn compare_states(a: &States, b: &States) -> Differences {
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
    use super::{
        LogitsOfSamples, OPTIMIZER, RATES, Tensors, compare_logits, compare_states, first_that_is_there,
    };
    use crate::cell::Framework;
    use crate::report::CellError;
    use crate::weights::Floats;

    fn tensors(weight: f32, mean: f32) -> Tensors {
        [("conv.weight", weight), ("bn.running_mean", mean)]
            .map(|(name, value)| (name.to_owned(), Floats { shape: vec![2], elements: vec![value, 1.0] }))
            .into()
    }

    fn logits(logits: &[f32]) -> LogitsOfSamples {
        LogitsOfSamples { samples: 1, logits: logits.to_vec() }
    }

    #[test]
    fn parity_scales_with_the_largest_logit() {
        let parity = compare_logits(&logits(&[10.0, 0.0]), &logits(&[10.0005, 0.0])).unwrap();
        assert!((parity.allowed - 1e-3).abs() < 1e-9 && parity.difference < parity.allowed);
        assert!(compare_logits(&logits(&[1.0]), &logits(&[f32::NAN])).is_err());
        assert!(compare_logits(&logits(&[]), &logits(&[])).is_err());
    }

    #[test]
    fn a_framework_that_is_not_there_is_no_reference() {
        let error = CellError { stage: None, message: String::from("gone"), details: None };
        let results = vec![(Framework::PyTorch, Err(error.clone())), (Framework::TensorFlow, Ok(1))];
        let (reference, value, others) = first_that_is_there(results);
        assert_eq!((reference, value, others.len()), (Framework::TensorFlow, Some(1), 1));
        let (reference, value, others) = first_that_is_there::<u8>(vec![
            (Framework::PyTorch, Err(error.clone())),
            (Framework::TensorFlow, Err(error)),
        ]);
        assert_eq!((reference, value, others.len()), (Framework::PyTorch, None, 1));
    }

    /// Five steps on `loss = w^2 / 2 + w` by the project's rule, without decay, with decoupled decay, and by the rule
    /// that folds the rate into the velocity.
    #[test]
    fn other_update_rules_fail() {
        let (momentum, decay) = OPTIMIZER;
        let train = |rule: &dyn Fn(f64, f64, f64, f64) -> (f64, f64)| {
            let (mut weight, mut velocity) = (1.0, 0.0);
            for rate in RATES {
                (weight, velocity) = rule(weight, velocity, weight + 1.0, rate);
            }
            let floats = Floats { shape: vec![1], elements: vec![weight as f32] };
            (Tensors::new(), Tensors::from([(String::from("w"), floats)]))
        };
        let ours = train(&|w, v, g, rate| {
            let v = momentum * v + g + decay * w;
            (w - rate * v, v)
        });
        assert!(compare_states(&ours, &ours).pass());
        let without_decay = train(&|w, v, g, rate| {
            let v = momentum * v + g;
            (w - rate * v, v)
        });
        let decoupled = train(&|w, v, g, rate| {
            let v = momentum * v + g;
            (w - rate * v - rate * decay * w, v)
        });
        let folded = train(&|w, v, g, rate| {
            let v = momentum * v - rate * (g + decay * w);
            (w + v, v)
        });
        for other in [without_decay, decoupled, folded] {
            let differences = compare_states(&ours, &other);
            assert!(!differences.pass(), "{}", differences.weights);
        }
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
