//! What cannot be meant although it can be read.

use super::{Spec, SpecError};

/// Fewest rounds of interleaved timing.
const LEAST_ROUNDS: usize = 5;

impl Spec {
    /// The channels' mean and deviation go with the images; the rest is checked here.
    pub(super) fn check(&self, origin: &str) -> Result<(), SpecError> {
        let positive = |key: &str, number: usize, hint: &str| {
            if number > 0 { Ok(()) } else { Err(value(origin, key, "1 or more", number, hint)) }
        };
        let finite = |key: &str, number: f64| {
            if number.is_finite() && number >= 0.0 {
                return Ok(());
            }
            Err(value(origin, key, "a number of 0 or more", number, "give a plain decimal number"))
        };
        if self.name.is_empty()
            || !self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        {
            let hint = "the output folder is called so";
            return Err(value(origin, "name", "letters, digits, - and _", format!("{:?}", self.name), hint));
        }
        positive("seeds", self.seeds.len(), "list at least one seed, such as seeds = [1]")?;
        positive("variants", self.variants.len(), "list at least one variant")?;
        positive("frameworks", self.frameworks.len(), "name at least one framework with its paths")?;
        positive("model.classes", self.model.classes, "the data sets have 10 classes")?;
        positive("train.epochs", self.train.epochs, "train for at least one epoch")?;
        positive("train.batch", self.train.batch, "a usual size is 64 or 128")?;
        positive(
            "qat.epochs",
            self.qat.epochs,
            "leave the variants `qat` and `float-finetuned` out instead",
        )?;
        positive("calibration.samples", self.calibration.samples, "a usual number is 512")?;
        positive("calibration.batch", self.calibration.batch, "a usual size is 64")?;
        if self.latency.rounds < LEAST_ROUNDS {
            let hint = "an interval over fewer rounds says nothing; a usual number is 30";
            return Err(value(
                origin,
                "latency.rounds",
                format!("{LEAST_ROUNDS} or more"),
                self.latency.rounds,
                hint,
            ));
        }
        if let Some(seed) = self
            .seeds
            .iter()
            .enumerate()
            .find_map(|(at, seed)| self.seeds[..at].contains(seed).then_some(seed))
        {
            return Err(value(
                origin,
                "seeds",
                "each seed once",
                format!("{seed} twice"),
                "leave one of them out",
            ));
        }
        positive("latency.samples", self.latency.samples, "a usual number is 16")?;
        finite("train.learning_rate", self.train.learning_rate)?;
        finite("train.momentum", self.train.momentum)?;
        finite("train.weight_decay", self.train.weight_decay)?;
        finite("qat.learning_rate", self.qat.learning_rate)?;
        finite("latency.block_milliseconds", self.latency.block_milliseconds)?;
        for (framework, paths) in &self.frameworks {
            positive(
                &format!("frameworks.{framework}"),
                paths.len(),
                "name a path, or leave the framework out",
            )?;
            for path in paths {
                let known: Vec<&str> = framework.paths().iter().map(|(name, _)| *name).collect();
                if !known.contains(&path.as_str()) {
                    let expected = format!("one of {}", known.join(", "));
                    return Err(value(
                        origin,
                        &format!("frameworks.{framework}"),
                        expected,
                        path,
                        "see the README",
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The error of a value that cannot be meant.
pub(super) fn value(
    origin: &str,
    key: &str,
    expected: impl Into<String>,
    found: impl std::fmt::Display,
    hint: &str,
) -> SpecError {
    SpecError::Value {
        origin: origin.to_owned(),
        key: key.to_owned(),
        expected: expected.into(),
        found: found.to_string(),
        hint: hint.to_owned(),
    }
}
