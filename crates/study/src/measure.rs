//! One cell: make its artefact, run the test split through it, and say what came out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use calipers_workers::protocol::{
    Class, Evaluate, ExecutedOperator, Finished, Load, Loaded, Operators, Quantize, Quantized, ReadOperators,
    SaveFloat, Saved, StoredTensors, TrainFinish, TrainMode, Unload,
};

use crate::cell::{Cell, Framework, Variant};
use crate::crew::{Place, Trouble, outcome};
use crate::event::Event;
use crate::material::{InitialModel, deployed_bytes, deployed_files, deployed_hash, file_hash, make_folder};
use crate::memory;
use crate::record::{Record, key};
use crate::report::{
    Accuracy, AgainstFloat, Artefact, CalibrationMetrics, CellError, CellReport, IntegerShares, Metrics,
    Status, class_name, kind_name,
};
use crate::run::{Bench, Sources};
use crate::statistics::{mcnemar, paired_difference, wilson};
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
    /// Runs a cell, or finds that it is done. `ours` is the file that Calipers made of the same variant.
    ///
    /// # Errors
    /// Only what ends the study; everything else is the cell's outcome.
    pub fn measure(
        &mut self,
        model: &InitialModel,
        cell: &Cell,
        weights: &Weights,
        ours: Option<&Path>,
    ) -> Result<CellReport, Trouble> {
        let report = match self.excuse(cell)? {
            Some(reason) => {
                let error = CellError { stage: None, message: reason, details: None };
                without_numbers(cell, Status::Skipped, error)
            }
            None => match outcome(self.try_measure(model, cell, weights, ours))? {
                Ok(report) => report,
                Err(error) => {
                    let report = without_numbers(cell, Status::Failed, error);
                    let key = key(&["failed", &cell.to_string()]);
                    let cell = Box::new(report.clone());
                    self.journal.append(Record::Cell { key, cell, operators: Vec::new(), hashes: None })?;
                    report
                }
            },
        };
        if report.status != Status::Ok && cell.variant != Variant::Qat {
            self.done(self.units_of_cell(cell));
        }
        self.watcher.event(Event::Cell(&report));
        Ok(report)
    }

    /// Why a cell is not tried here.
    fn excuse(&mut self, cell: &Cell) -> Result<Option<String>, Trouble> {
        if cell.framework == Framework::Calipers && cell.variant == Variant::Qat {
            let reason = "Calipers does not train yet, so it has no quantization-aware training of its own";
            return Ok(Some(reason.to_owned()));
        }
        if !cell.is_on_gpu() {
            return Ok(None);
        }
        let member = outcome(
            self.crew.member(Place::from(cell), self.watcher).map(|member| member.greeting.devices.clone()),
        )?;
        Ok(match member {
            Ok(devices) if devices.is_empty() => {
                self.crew.retire(Place::from(cell));
                Some(format!("{} sees no GPU on this machine", cell.framework.title()))
            }
            // What is wrong with the worker is told by the attempt.
            Ok(_) | Err(_) => None,
        })
    }

    fn try_measure(
        &mut self,
        model: &InitialModel,
        cell: &Cell,
        weights: &Weights,
        ours: Option<&Path>,
    ) -> Result<CellReport, Trouble> {
        let start = match (cell.variant, &weights.finetuned) {
            (Variant::FloatFinetuned, Some(finetuned)) => finetuned,
            _ => &weights.float,
        };
        let start = start.clone().map_err(Trouble::Cell)?;
        let ours = match (cell.runs_our_file(), ours) {
            (false, _) => None,
            (true, Some(file)) => Some(file),
            (true, None) => {
                return Err(Trouble::at(
                    "load",
                    "Calipers made no file for it to run: see the cell `calipers native`",
                ));
            }
        };
        let settings = match cell.variant {
            Variant::Float | Variant::FloatFinetuned | Variant::WeightOnly => String::new(),
            // The ranges of a batch are those of all its samples.
            Variant::PtqDynamic => self.spec.calibration.batch.to_string(),
            Variant::PtqStatic => format!("{:?}", self.spec.calibration),
            Variant::Qat => format!("{:?} {:?}", self.extra_epochs(), self.spec.train),
        };
        let base = self.base_key(cell.framework, model, Sources::Whole)?;
        let ours_hash = ours.and_then(deployed_hash).unwrap_or_default();
        let key = key(&["cell", &base, &cell.to_string(), &start.hash, &settings, &ours_hash]);
        let relative = format!("artefacts/{}", cell.folder());
        let folder = self.out.join(&relative);
        if let Some(Record::Cell { cell: found, hashes: Some(hashes), operators, .. }) =
            self.journal.find(&key)
            && let Some(artefact) = &found.artefact
            && self.hashes(&artefact.file, &folder).as_ref() == Some(hashes)
        {
            let (mut report, operators) = ((**found).clone(), operators.clone());
            self.done(self.units_of_cell(cell));
            self.add_content(model, &start, &operators, None, &mut report)?;
            return Ok(report);
        }
        let title = format!("{} {}", cell.framework.title(), cell.name());
        self.watcher.event(Event::Step { title: &title });
        // What is there belongs to other inputs, or was cut off half-way.
        let _ = std::fs::remove_dir_all(&folder);
        make_folder(&folder)?;

        let (file, mut found) = match ours {
            Some(ours) => self.copy(ours, &folder)?,
            None => self.make(model, cell, &start, &folder)?,
        };
        let file = folder.join(file);
        let (operators, content) = self.evaluate(model, cell, &folder, &file, &mut found)?;
        let file = file.strip_prefix(&self.out).unwrap_or(&file);
        let mut report = CellReport {
            cell: cell.clone(),
            status: Status::Ok,
            metrics: found,
            artefact: Some(Artefact { folder: relative, file: file.display().to_string() }),
            error: None,
        };
        let hashes = report.artefact.as_ref().and_then(|artefact| self.hashes(&artefact.file, &folder));
        let boxed = Box::new(report.clone());
        self.journal.append(Record::Cell { key, cell: boxed, operators: operators.clone(), hashes })?;
        self.done(self.units_of_cell(cell));
        self.add_content(model, &start, &operators, content, &mut report)?;
        Ok(report)
    }

    /// Makes the artefact of a cell, in a process of its own where memory is measured.
    fn make(
        &mut self,
        model: &InitialModel,
        cell: &Cell,
        start: &Trained,
        folder: &Path,
    ) -> Result<(PathBuf, Metrics), Trouble> {
        let mut found = Metrics::default();
        let place = Place::from(cell);
        let (file, bytes) = match cell.variant {
            Variant::Float | Variant::FloatFinetuned => {
                if !start.epochs.is_empty() && cell.weights == crate::cell::Origin::Own {
                    found.training = Some(metrics(&start.epochs, None));
                }
                let command = SaveFloat {
                    path: cell.path.clone(),
                    tuning: cell.tuning,
                    model: model.path.clone(),
                    weights: start.weights.clone(),
                    artefact: folder.to_owned(),
                };
                let Saved { file, file_bytes, recipe } = self.crew.call(place, command, self.watcher)?;
                found.recipe = recipe;
                (file, file_bytes)
            }
            Variant::PtqStatic | Variant::PtqDynamic | Variant::WeightOnly => {
                let command = Quantize {
                    path: cell.path.clone(),
                    tuning: cell.tuning,
                    variant: cell.variant,
                    model: model.path.clone(),
                    weights: start.weights.clone(),
                    data: self.material.calibration(cell.seed)?,
                    batch: self.spec.calibration.batch,
                    artefact: folder.to_owned(),
                };
                self.crew.retire(place);
                let member = self.crew.member(place, self.watcher)?;
                let (process, idle) = (member.worker.id(), member.idle);
                memory::forget_peak(process);
                let quantized: Quantized = self.crew.call(place, command, self.watcher)?;
                found.calibration = Some(CalibrationMetrics {
                    samples: quantized.samples,
                    prepare_seconds: quantized.prepare_seconds,
                    calibrate_seconds: quantized.calibrate_seconds,
                    convert_seconds: quantized.convert_seconds,
                    memory: memory::peak(process, idle),
                });
                found.recipe = quantized.recipe;
                (quantized.file, quantized.file_bytes)
            }
            Variant::Qat => {
                let job = Job {
                    framework: cell.framework,
                    path: &cell.path,
                    tuning: cell.tuning,
                    mode: TrainMode::Qat,
                    seed: cell.seed,
                    start: Some(start),
                    epochs: self.extra_epochs(),
                };
                let (trainer, epochs) = self.train(model, &job)?;
                let command = TrainFinish { trainer, artefact: folder.to_owned() };
                let finished: Finished = self.crew.call(place, command, self.watcher)?;
                found.training = Some(metrics(&epochs, None));
                found.convert_seconds = Some(finished.convert_seconds);
                found.recipe = finished.recipe;
                (finished.file, finished.file_bytes)
            }
        };
        found.file_bytes = Some(bytes);
        Ok((file, found))
    }

    /// Takes the file that Calipers made as the artefact.
    fn copy(&self, ours: &Path, folder: &Path) -> Result<(PathBuf, Metrics), Trouble> {
        let target = folder.join("model.onnx");
        for file in deployed_files(ours) {
            std::fs::copy(&file, folder.join(file.file_name().unwrap_or_default()))
                .map_err(|error| Trouble::at("load", format!("{}: {error}", file.display())))?;
        }
        let from = ours.strip_prefix(&self.out).unwrap_or(ours).display();
        let recipe = format!("# The file that Calipers made, as it is:\ncp {from} model.onnx\n");
        let file_bytes = deployed_bytes(&target).ok();
        Ok((target, Metrics { recipe, file_bytes, ..Metrics::default() }))
    }

    /// Units of work of making and evaluating a cell.
    pub fn units_of_cell(&self, cell: &Cell) -> usize {
        let evaluation = self.material.facts.test / 2;
        match cell.variant {
            Variant::Qat if cell.framework == Framework::Calipers => 0,
            Variant::Qat => evaluation + self.extra_epochs().len() * self.units_of_epoch(TrainMode::Qat),
            _ => evaluation,
        }
    }

    /// Hashes of all of a cell's deployed file and of its logits; `None` where one is not there.
    fn hashes(&self, file: &str, folder: &Path) -> Option<[String; 2]> {
        Some([deployed_hash(&self.out.join(file))?, file_hash(&folder.join(LOGITS))?])
    }

    /// Adds what is in the artefact, once for each cell of the first seed. Content that cannot be read is a note.
    fn add_content(
        &mut self,
        model: &InitialModel,
        start: &Trained,
        operators: &[ExecutedOperator],
        answer: Option<StoredTensors>,
        report: &mut CellReport,
    ) -> Result<(), Trouble> {
        if !self.wants_content(&report.cell) {
            return Ok(());
        }
        match outcome(self.content(model, start, operators, answer, report))? {
            Ok(()) => {}
            Err(error) => {
                self.note(format!("{}: its content could not be read: {}", report.cell, error.message));
            }
        }
        Ok(())
    }

    /// Compares the decisions of a seed's cells with those of their float cell.
    ///
    /// # Errors
    /// [`Trouble::Cell`] for logits that cannot be read again.
    pub fn against_float(&self, cells: &mut [CellReport]) -> Result<(), Trouble> {
        let samples = self.material.facts.test;
        let mut decided: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for report in cells.iter().filter(|report| report.status == Status::Ok) {
            let path = self.out.join("artefacts").join(report.cell.folder()).join(LOGITS);
            decided.insert(report.cell.folder(), decisions(&path, samples)?);
        }
        for report in cells.iter_mut().filter(|report| report.status == Status::Ok) {
            let float = report.cell.float_cells();
            let Some(float) = float.iter().find_map(|cell| Some((cell, decided.get(&cell.folder())?))) else {
                continue;
            };
            if *float.0 != report.cell {
                let ours = &decided[&report.cell.folder()];
                report.metrics.against_float =
                    Some(compare(ours, float.1, self.material.test_labels(), report.cell.seed));
            }
        }
        Ok(())
    }

    /// Runs the test split through an artefact; what executes in one inference, and what the worker says of its content
    /// where that is wanted.
    fn evaluate(
        &mut self,
        model: &InitialModel,
        cell: &Cell,
        folder: &Path,
        file: &Path,
        found: &mut Metrics,
    ) -> Result<(Vec<ExecutedOperator>, Option<StoredTensors>), Trouble> {
        let place = Place::from(cell);
        let Loaded { handle } = self.crew.call(place, load(model, cell, folder), self.watcher)?;
        let Operators { operators } = self.crew.call(place, ReadOperators { handle }, self.watcher)?;
        let output = folder.join(LOGITS);
        let command = Evaluate {
            handle,
            data: self.material.test.clone(),
            batch: self.spec.calibration.batch,
            output: output.clone(),
        };
        self.crew.call(place, command, self.watcher)?;
        let content = if self.wants_content(cell) {
            outcome(self.ask_for_content(cell, file, handle))?.ok().flatten()
        } else {
            None
        };
        // A worker that died of the question before holds nothing any more.
        outcome(self.crew.call(place, Unload { handle }, self.watcher))?.ok();

        let decisions = decisions(&output, self.material.facts.test)?;
        if let Some(labels) = self.material.test_labels() {
            let right = |(decision, label): &(&usize, &u32)| **decision == **label as usize;
            let correct = decisions.iter().zip(labels).filter(right).count();
            found.accuracy =
                Some(Accuracy { correct, total: labels.len(), share: wilson(correct, labels.len()) });
        }
        found.integer = shares(&operators);
        found.weight_bytes =
            Some(operators.iter().map(|op| op.weights * u64::from(op.weight_bits) / 8).sum());
        for operator in &operators {
            if !matches!(operator.class, Class::Convert | Class::Move) {
                let classes = found.operators.entry(kind_name(operator.kind).to_owned()).or_default();
                *classes.entry(class_name(operator.class).to_owned()).or_default() += 1;
            }
        }
        Ok((operators, content))
    }
}

/// The command that loads a cell's artefact.
pub fn load(model: &InitialModel, cell: &Cell, folder: &Path) -> Load {
    Load {
        path: cell.path.clone(),
        tuning: cell.tuning,
        variant: cell.variant,
        model: model.path.clone(),
        artefact: folder.to_owned(),
    }
}

/// How much computes on integers of 8 bits or fewer, on both sides of a product; `None` where nothing multiplies.
fn shares(operators: &[ExecutedOperator]) -> Option<IntegerShares> {
    let of = |number: fn(&ExecutedOperator) -> u64, wanted: &dyn Fn(&ExecutedOperator) -> bool| -> u64 {
        operators.iter().filter(|operator| wanted(operator)).map(number).sum()
    };
    let is_small = |operator: &ExecutedOperator| (1..=8).contains(&operator.weight_bits);
    let on_small_integers = |operator: &ExecutedOperator| {
        let on_integers = matches!(operator.class, Class::Integer | Class::Dynamic);
        // A product of two activations has no weights, of 0 bits.
        on_integers && operator.weight_bits <= 8 && operator.activation_bits.is_none_or(|bits| bits <= 8)
    };
    let all = |_: &ExecutedOperator| true;
    let (all_weights, all_macs) = (of(|op| op.weights, &all), of(|op| op.macs, &all));
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    (all_macs > 0).then(|| IntegerShares {
        stored_weights: share(of(|op| op.weights, &is_small), all_weights),
        weights: share(of(|op| op.weights, &on_small_integers), all_weights),
        macs: share(of(|op| op.macs, &on_small_integers), all_macs),
        all_weights,
        all_macs,
    })
}

/// Decisions against those of a float model on the same samples.
fn compare(ours: &[usize], float: &[usize], labels: Option<&[u32]>, seed: u64) -> AgainstFloat {
    let samples = ours.len();
    let same = ours.iter().zip(float).filter(|(a, b)| a == b).count();
    let mut against = AgainstFloat {
        agreement: same as f64 / samples.max(1) as f64,
        gained: None,
        lost: None,
        difference: None,
        mcnemar: None,
    };
    if let Some(labels) = labels {
        let right: Vec<(bool, bool)> = ours
            .iter()
            .zip(float)
            .zip(labels)
            .map(|((ours, float), &label)| (*ours == label as usize, *float == label as usize))
            .collect();
        let gained = right.iter().filter(|(ours, float)| *ours && !*float).count();
        let lost = right.iter().filter(|(ours, float)| !*ours && *float).count();
        against.gained = Some(gained);
        against.lost = Some(lost);
        against.difference = Some(paired_difference(gained, lost, samples, seed));
        against.mcnemar = Some(mcnemar(gained, lost));
    }
    against
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

#[cfg(test)]
mod tests {
    use calipers_workers::protocol::{Class, ExecutedOperator, Kind};

    use super::shares;

    #[test]
    fn products_of_activations_count_and_those_of_16_bits_do_not() {
        let operator = |class, macs, weights, weight_bits, activation_bits| ExecutedOperator {
            name: String::from("product"),
            kind: Kind::MatrixProduct,
            class,
            macs,
            weights,
            weight_bits,
            activation_bits,
        };
        let found = shares(&[
            operator(Class::Integer, 30, 10, 8, None),
            operator(Class::Integer, 20, 0, 0, None),
            operator(Class::Integer, 40, 20, 8, Some(16)),
            operator(Class::Float, 10, 10, 32, None),
        ])
        .unwrap();
        assert_eq!((found.macs, found.weights, found.stored_weights), (0.5, 0.25, 0.75));
    }
}
