//! What is in a cell's artefact: the ledger of its bytes, and its weights beside the float ones that they were made from.

use std::path::{Path, PathBuf};

use calipers_formats::onnx;
use calipers_workers::protocol::{ExecutedOperator, Loaded, ReadWeights, StoredTensors, Unload};

use crate::cell::Cell;
use crate::crew::{Place, Trouble};
use crate::ledger::ledger;
use crate::material::{InitialModel, file_hash};
use crate::measure::load;
use crate::record::{Record, key};
use crate::report::CellReport;
use crate::run::{Bench, Sources};
use crate::stored::{self, Stored};
use crate::training::Trained;
use crate::weights;
use crate::weights_report::weight_reports;

impl Bench<'_> {
    /// Whether a report is to say what is in a cell's artefact: those of the first seed do.
    pub fn wants_content(&self, cell: &Cell) -> bool {
        self.spec.seeds.first() == Some(&cell.seed)
    }

    /// What a worker says of the tensors of an artefact that it has loaded; its numbers go to [`Self::numbers`]. `None`
    /// where the format of the file is known here.
    pub fn ask_for_content(
        &mut self,
        cell: &Cell,
        file: &Path,
        handle: u64,
    ) -> Result<Option<StoredTensors>, Trouble> {
        if is_known(file) {
            return Ok(None);
        }
        let command = ReadWeights { handle, output: self.numbers() };
        Ok(Some(self.crew.call(Place::from(cell), command, self.watcher)?))
    }

    fn numbers(&self) -> PathBuf {
        self.scratch.join("weights.safetensors")
    }

    /// Adds the ledger and the weights of a finished cell; `operators` are what executes in it, and `answer` what the
    /// worker said that has just run it.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn content(
        &mut self,
        model: &InitialModel,
        start: &Trained,
        operators: &[ExecutedOperator],
        answer: Option<StoredTensors>,
        report: &mut CellReport,
    ) -> Result<(), Trouble> {
        let Some(artefact) = report.artefact.clone() else { return Ok(()) };
        let file = self.out.join(&artefact.file);
        let hash = file_hash(&file).unwrap_or_default();
        let base = self.base_key(report.cell.framework, model, Sources::Whole)?;
        let key = key(&["content", &base, &report.cell.to_string(), &start.hash, &hash]);
        if let Some(Record::Content { ledger, weights, .. }) = self.journal.find(&key) {
            report.metrics.ledger = Some(ledger.clone());
            report.metrics.weights.clone_from(weights);
            return Ok(());
        }
        let failed = |error: &dyn std::fmt::Display| Trouble::at("load", error);
        let stored = self.stored(model, report, &file, answer)?;
        let float = match &start.weights {
            Some(weights) => weights::read(weights).map_err(|error| failed(&error))?,
            None => weights::of_graph(&onnx::read(&model.path).map_err(|error| failed(&error))?.graph),
        };
        let weights = weight_reports(&model.path, &float, &stored).map_err(|error| failed(&error))?;
        let bytes = report.metrics.file_bytes.unwrap_or_default();
        let ledger = ledger(bytes, &stored, report.cell.variant, operators);
        report.metrics.ledger = Some(ledger.clone());
        report.metrics.weights.clone_from(&weights);
        self.journal.append(Record::Content { key, cell: report.cell.clone(), ledger, weights })?;
        Ok(())
    }

    /// The tensors of a deployed file: read here where we know the format, else by the framework that made it.
    fn stored(
        &mut self,
        model: &InitialModel,
        report: &CellReport,
        file: &Path,
        answer: Option<StoredTensors>,
    ) -> Result<Vec<Stored>, Trouble> {
        let failed = |error: &dyn std::fmt::Display| Trouble::at("load", error);
        let answer = match answer {
            Some(answer) => Some(answer),
            None if is_known(file) => None,
            None => {
                let place = Place::from(&report.cell);
                let folder = self.out.join("artefacts").join(report.cell.folder());
                let load = load(model, &report.cell, &folder);
                let Loaded { handle, .. } = self.crew.call(place, load, self.watcher)?;
                let answer = self.ask_for_content(&report.cell, file, handle)?;
                self.crew.call(place, Unload { handle }, self.watcher)?;
                answer
            }
        };
        match answer {
            None => stored::of_model_file(file).map_err(|error| failed(&error)),
            Some(answer) => {
                stored::of_answer(&answer.tensors, &self.numbers()).map_err(|error| failed(&error))
            }
        }
    }
}

/// Whether the format of a deployed file is one that is read here.
fn is_known(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "onnx" || extension == "tflite")
}
