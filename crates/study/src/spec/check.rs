//! What cannot be meant although it can be read.

use super::{AugmentationSpec, Schedule, Source, Spec, SpecError};

/// Fewest rounds of interleaved timing.
const LEAST_ROUNDS: usize = 5;
/// Most epochs of a training, each of which is planned before the first begins.
const MOST_EPOCHS: usize = 100_000;

impl Spec {
    /// Checks all that needs neither the data nor the model.
    pub(super) fn check(&self, origin: &str) -> Result<(), SpecError> {
        let positive = |key: &str, number: usize, hint: &str| {
            if number > 0 { Ok(()) } else { Err(value(origin, key, "1 or more", number, hint)) }
        };
        let epochs = |key: &str, number: usize| {
            let expected = format!("{MOST_EPOCHS} or fewer");
            if number <= MOST_EPOCHS {
                return Ok(());
            }
            Err(value(origin, key, expected, number, "the paper trained for 50 and 5"))
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
        positive("tunings", self.tunings.len(), "list `default`, `tuned` or both")?;
        self.check_model(origin)?;
        self.check_data(origin)?;
        if let Some(train) = &self.train {
            // A model from a file may be quantized as it is, and trained on with quantization.
            if !self.model.is_file() {
                positive("train.epochs", train.epochs, "train for at least one epoch")?;
            }
            epochs("train.epochs", train.epochs)?;
            positive("train.batch", train.batch, "a usual size is 64 or 128")?;
            finite("train.learning_rate", train.learning_rate)?;
            finite("train.momentum", train.momentum)?;
            finite("train.weight_decay", train.weight_decay)?;
            if train.schedule == Schedule::Cosine && !train.milestones.is_empty() {
                let hint = "a cosine falls from step to step; leave the milestones or the schedule out";
                return Err(value(
                    origin,
                    "train.milestones",
                    "nothing with the schedule `cosine`",
                    "numbers",
                    hint,
                ));
            }
        }
        if let Some(qat) = &self.qat {
            positive("qat.epochs", qat.epochs, "leave [qat] out instead")?;
            epochs("qat.epochs", qat.epochs)?;
            finite("qat.learning_rate", qat.learning_rate)?;
            if self.train.is_none() {
                let hint =
                    "QAT trains by the batch size, momentum and decay of [train], whose epochs may be 0";
                return Err(value(origin, "train", "a table, since there is [qat]", "nothing", hint));
            }
        }
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
        if self.latency.batch < 2 {
            let hint = "batch 1 is timed in any case; a usual size is 32";
            return Err(value(origin, "latency.batch", "2 or more", self.latency.batch, hint));
        }
        finite("latency.block_milliseconds", self.latency.block_milliseconds)?;
        for (framework, paths) in &self.frameworks {
            positive(
                &format!("frameworks.{framework}"),
                paths.len(),
                "name a path, or leave the framework out",
            )?;
            for path in paths {
                let known: Vec<&str> = framework.routes().iter().map(|route| route.path).collect();
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

    fn check_model(&self, origin: &str) -> Result<(), SpecError> {
        match (self.model.is_file(), self.model.classes) {
            (false, None | Some(0)) => {
                let hint = "the built-in data sets have 10 classes";
                Err(value(origin, "model.classes", "1 or more for a built-in model", "nothing", hint))
            }
            (true, None) if self.model.batch_norm => {
                let hint = "a file has the layers that it has";
                Err(value(origin, "model.batch_norm", "nothing for a model from a file", true, hint))
            }
            (true, Some(classes)) => {
                let hint = "leave it out: it is read from the file";
                Err(value(origin, "model.classes", "nothing for a model from a file", classes, hint))
            }
            (false, Some(_)) if self.train.is_none() => {
                let hint = "add [train], or name the ONNX file of a trained model";
                Err(value(origin, "train", "a table for a built-in model", "nothing", hint))
            }
            (false, Some(_)) | (true, None) => Ok(()),
        }
    }

    fn check_data(&self, origin: &str) -> Result<(), SpecError> {
        let data = &self.data;
        match data.source {
            Source::Shapes10 | Source::Cifar10 => {
                if data.settings.is_some() {
                    let hint = "a built-in set has mean and deviation; `source = \"files\"` takes settings";
                    return Err(value(
                        origin,
                        "data.settings",
                        "nothing for a built-in set",
                        "a table",
                        hint,
                    ));
                }
                // The channels' mean and deviation go with the images, and are checked there.
                Ok(())
            }
            Source::Files => {
                if !data.mean.is_empty() || !data.deviation.is_empty() {
                    let hint =
                        "say them in [data.settings.preprocessing], as a recipe of `calipers quantize` does";
                    return Err(value(origin, "data.mean", "nothing for files", "numbers", hint));
                }
                if !self.model.is_file() {
                    let hint = "name the ONNX file that the data are for";
                    return Err(value(
                        origin,
                        "model.name",
                        "an ONNX file, since the data are files",
                        &self.model.name,
                        hint,
                    ));
                }
                if self.train.as_ref().is_some_and(|train| train.augmentation != AugmentationSpec::None) {
                    let hint = "images of built-in sets alone are cropped and flipped";
                    return Err(value(origin, "train.augmentation", "none for files", "crop-flip", hint));
                }
                Ok(())
            }
        }
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
