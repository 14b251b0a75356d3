//! One cell: make its artefact, run the test split through it, and say what came out.

use std::collections::BTreeMap;
use std::path::Path;

use calipers_workers::protocol::{
    Evaluate, Finished, Load, Quantize, Quantized, SaveFloat, Saved, TrainFinish, TrainMode, Unload,
};

use crate::cell::{Cell, Framework, Variant, variant_name};
use crate::crew::Trouble;
use crate::event::Event;
use crate::material::{InitialModel, file_hash, make_folder};
use crate::record::{Record, key};
use crate::report::{Accuracy, Artefact, CalibrationMetrics, CellError, CellReport, Metrics, Status};
use crate::run::Bench;
use crate::statistics::wilson;
use crate::training::{Job, Trained, metrics};
use crate::weights::read_logits;

/// Weights that the cells of one framework and seed start from.
#[derive(Clone, Debug)]
pub struct Weights {
    /// Of the main training.
    pub float: Result<Trained, CellError>,
    /// Trained on in float; absent where no cell asks for it.
    pub finetuned: Option<Result<Trained, CellError>>,
}

/// Logits file of a cell, in its folder.
const LOGITS: &str = "logits.safetensors";

impl Bench<'_> {
    /// Runs a cell, or finds that it is done.
    ///
    /// # Errors
    /// Only what ends the study; everything else is the cell's outcome.
    pub fn measure(
        &mut self,
        model: &InitialModel,
        cell: &Cell,
        weights: &Weights,
    ) -> Result<CellReport, Trouble> {
        if cell.framework == Framework::Calipers && cell.variant == Variant::Qat {
            let report = without_numbers(
                cell,
                Status::Skipped,
                CellError {
                    stage: None,
                    message: String::from(
                        "Calipers does not train yet, so it has no quantization-aware training of its own",
                    ),
                    details: None,
                },
            );
            self.watcher.event(Event::Cell(&report));
            return Ok(report);
        }
        let report = match self.try_measure(model, cell, weights) {
            Ok(report) => report,
            Err(Trouble::Cell(error)) => {
                let report = without_numbers(cell, Status::Failed, error);
                let key = key(&["failed", &cell.to_string()]);
                let cell = Box::new(report.clone());
                self.journal.append(Record::Cell { key, cell, epochs: Vec::new(), hashes: None })?;
                report
            }
            Err(trouble) => return Err(trouble),
        };
        self.watcher.event(Event::Cell(&report));
        Ok(report)
    }

    fn try_measure(
        &mut self,
        model: &InitialModel,
        cell: &Cell,
        weights: &Weights,
    ) -> Result<CellReport, Trouble> {
        let start = match (cell.variant, &weights.finetuned) {
            (Variant::FloatFinetuned, Some(finetuned)) => finetuned,
            _ => &weights.float,
        };
        let start = start.clone().map_err(Trouble::Cell)?;
        let spec = self.spec.clone();
        let settings = match cell.variant {
            Variant::Float | Variant::FloatFinetuned => String::new(),
            Variant::PtqStatic => format!("{:?}", spec.calibration),
            Variant::Qat => format!("{:?} {:?}", spec.qat, spec.train),
        };
        let base = self.base_key(cell.framework, model)?;
        let key = key(&["cell", &base, &cell.to_string(), &start.hash, &settings]);
        let relative = format!("artefacts/{}", cell.folder());
        let folder = self.out.join(&relative);
        let test = self.material.facts.test;
        if let Some(Record::Cell { cell: found, hashes: Some(hashes), .. }) = self.journal.find(&key)
            && let Some(artefact) = &found.artefact
            && self.hashes(&artefact.file, &folder).as_ref() == Some(hashes)
        {
            let report = (**found).clone();
            let training = report.metrics.training.as_ref().filter(|_| cell.variant == Variant::Qat);
            self.done(
                test / 2 + training.map_or(0, |training| 2 * training.epochs * self.material.facts.train),
            );
            return Ok(report);
        }
        let title = format!("{} {} {}", cell.framework.title(), cell.path, variant_name(cell.variant));
        self.watcher.event(Event::Step { title: &title });
        // What is there belongs to other inputs, or was cut off half-way.
        let _ = std::fs::remove_dir_all(&folder);
        make_folder(&folder)?;

        let mut found = Metrics::default();
        let mut qat_epochs = Vec::new();
        let (file, bytes) = match cell.variant {
            Variant::Float | Variant::FloatFinetuned => {
                if cell.framework != Framework::Calipers {
                    found.training = Some(metrics(&start.epochs, None));
                }
                let command = SaveFloat {
                    model: model.path.clone(),
                    weights: start.weights.clone(),
                    artefact: folder.clone(),
                };
                let Saved { file, file_bytes } = self.crew.call(cell.framework, command, self.watcher)?;
                (file, file_bytes)
            }
            Variant::PtqStatic => {
                let data = self.material.calibration(cell.seed)?;
                let command = Quantize {
                    path: cell.path.clone(),
                    model: model.path.clone(),
                    weights: start.weights.clone(),
                    data,
                    batch: spec.calibration.batch,
                    artefact: folder.clone(),
                };
                let quantized: Quantized = self.crew.call(cell.framework, command, self.watcher)?;
                found.calibration = Some(CalibrationMetrics {
                    samples: quantized.samples,
                    prepare_seconds: quantized.prepare_seconds,
                    calibrate_seconds: quantized.calibrate_seconds,
                    convert_seconds: quantized.convert_seconds,
                });
                (quantized.file, quantized.file_bytes)
            }
            Variant::Qat => {
                let rate = spec.qat.learning_rate;
                let job = Job {
                    framework: cell.framework,
                    path: &cell.path,
                    mode: TrainMode::Qat,
                    seed: cell.seed,
                    start: Some(&start.weights),
                    epochs: spec.train.epochs..spec.train.epochs + spec.qat.epochs,
                    rate: &|_| rate,
                };
                let (trainer, epochs) = self.train(model, &job)?;
                let command = TrainFinish { trainer, artefact: folder.clone() };
                let finished: Finished = self.crew.call(cell.framework, command, self.watcher)?;
                found.training = Some(metrics(&epochs, None));
                qat_epochs = epochs;
                found.convert_seconds = Some(finished.convert_seconds);
                (finished.file, finished.file_bytes)
            }
        };
        found.file_bytes = Some(bytes);
        self.evaluate(model, cell, &folder, &mut found)?;

        let file = folder.join(file);
        let file = file.strip_prefix(&self.out).unwrap_or(&file);
        let report = CellReport {
            cell: cell.clone(),
            status: Status::Ok,
            metrics: found,
            artefact: Some(Artefact { folder: relative, file: file.display().to_string() }),
            error: None,
        };
        let hashes = report.artefact.as_ref().and_then(|artefact| self.hashes(&artefact.file, &folder));
        let cell = Box::new(report.clone());
        self.journal.append(Record::Cell { key, cell, epochs: qat_epochs, hashes })?;
        Ok(report)
    }

    /// Hashes of a cell's deployed file and logits; `None` where one is not there.
    fn hashes(&self, file: &str, folder: &Path) -> Option<[String; 2]> {
        Some([file_hash(&self.out.join(file))?, file_hash(&folder.join(LOGITS))?])
    }

    /// Compares the decisions of a seed's cells with those of the float cell of their framework.
    ///
    /// # Errors
    /// [`Trouble::Cell`] for logits that cannot be read again.
    pub fn agree(&self, cells: &mut [CellReport]) -> Result<(), Trouble> {
        let samples = self.material.facts.test;
        let logits = |cell: &Cell| self.out.join("artefacts").join(cell.folder()).join(LOGITS);
        let mut of_float: BTreeMap<Framework, Vec<usize>> = BTreeMap::new();
        let ok: Vec<&mut CellReport> =
            cells.iter_mut().filter(|report| report.status == Status::Ok).collect();
        for report in &ok {
            if report.cell.variant == Variant::Float {
                of_float.insert(report.cell.framework, decisions(&logits(&report.cell), samples)?);
            }
        }
        for report in ok {
            let Some(float) = of_float.get(&report.cell.framework) else { continue };
            if report.cell.variant != Variant::Float {
                let ours = decisions(&logits(&report.cell), samples)?;
                let same = ours.iter().zip(float).filter(|(a, b)| a == b).count();
                report.metrics.agreement_with_float = Some(same as f64 / samples as f64);
            }
        }
        Ok(())
    }

    /// Runs the test split through an artefact.
    fn evaluate(
        &mut self,
        model: &InitialModel,
        cell: &Cell,
        folder: &Path,
        found: &mut Metrics,
    ) -> Result<(), Trouble> {
        let loaded = self.crew.call(cell.framework, load(model, cell, folder), self.watcher)?;
        let output = folder.join(LOGITS);
        let command = Evaluate {
            handle: loaded.handle,
            data: self.material.test.clone(),
            batch: self.spec.calibration.batch,
            output: output.clone(),
        };
        self.crew.call(cell.framework, command, self.watcher)?;
        self.crew.call(cell.framework, Unload { handle: loaded.handle }, self.watcher)?;
        self.done(self.material.facts.test / 2);

        let decisions = decisions(&output, self.material.facts.test)?;
        let labels = self.material.test_labels();
        let correct =
            decisions.iter().zip(labels).filter(|(decision, label)| **decision == **label as usize).count();
        found.accuracy =
            Some(Accuracy { correct, total: labels.len(), share: wilson(correct, labels.len()) });
        found.quantized_operators = loaded.quantized;
        found.float_operators = loaded.float;
        Ok(())
    }
}

/// The command that loads a cell's artefact.
pub fn load(model: &InitialModel, cell: &Cell, folder: &Path) -> Load {
    Load {
        path: cell.path.clone(),
        variant: cell.variant,
        model: model.path.clone(),
        artefact: folder.to_owned(),
    }
}

fn without_numbers(cell: &Cell, status: Status, error: CellError) -> CellReport {
    CellReport { cell: cell.clone(), status, metrics: Metrics::default(), artefact: None, error: Some(error) }
}

/// The class of the largest logit of each sample; the first one of equal logits.
fn decisions(path: &Path, samples: usize) -> Result<Vec<usize>, Trouble> {
    let (found, classes, logits) = read_logits(path).map_err(|error| Trouble::at("evaluate", error))?;
    if found != samples || classes == 0 {
        return Err(Trouble::at("evaluate", format!("logits of {found} samples, expected {samples}")));
    }
    logits
        .chunks_exact(classes)
        .enumerate()
        .map(|(sample, logits)| {
            if logits.iter().any(|logit| logit.is_nan()) {
                return Err(Trouble::at("evaluate", format!("a logit of test sample {sample} is NaN")));
            }
            let largest =
                (0..classes).fold(0, |best, class| if logits[class] > logits[best] { class } else { best });
            Ok(largest)
        })
        .collect()
}
