//! Results of a model as real numbers, sample by sample, whatever its format, layout and batch.

use calipers_data::samples::{Samples, batches};
use calipers_ir::{Graph, QuantParams, Tensor};
use calipers_runtime::{Probe, Session};

use crate::distribution::numbers;
use crate::{InspectError, OpenedModel, named_tensors};

/// A model and the samples that are bound to its inputs.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The model.
    pub model: &'a OpenedModel,
    /// Samples for it.
    pub samples: &'a dyn Samples,
}

/// An output for some samples.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rows {
    /// Its name.
    pub name: String,
    /// Its shape, of one sample.
    pub shape: Vec<usize>,
    /// The numbers, sample by sample.
    pub numbers: Vec<f32>,
    /// Whether they stand for real numbers, not for positions or classes.
    pub is_real: bool,
}

impl Rows {
    /// Numbers of one sample.
    pub fn width(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The numbers that a tensor stands for: integers by their parameters, everything else as it is.
pub(crate) fn real(tensor: &Tensor, params: Option<&QuantParams>) -> Option<Vec<f32>> {
    let stored = numbers(tensor)?;
    let Some(params) = params.filter(|_| tensor.dtype().integer_range().is_some()) else {
        return Some(stored.into_owned());
    };
    // Which scale an element has: that of its place along the axis.
    let (inner, extent) = match params.axis {
        Some(axis) => {
            let inner: usize = tensor.shape().get(axis + 1..)?.iter().product();
            (inner.max(1), *tensor.shape().get(axis)?)
        }
        None => (1, 1),
    };
    if params.block.is_some() || extent > params.scale.len() {
        return None;
    }
    let place = |index: usize| if params.axis.is_some() { index / inner % extent } else { 0 };
    let scaled = stored.iter().enumerate().map(|(index, &stored)| {
        let at = place(index);
        let zero = params.zero_point.get(at).copied().unwrap_or(0);
        params.scale.get(at).copied().unwrap_or(f32::NAN) * (stored - zero as f32)
    });
    Some(scaled.collect())
}

/// Runs a model on batches that it takes, and gives its outputs sample by sample.
pub(crate) struct Runner<'a> {
    pub side: Side<'a>,
    session: Session,
    params: Vec<Option<QuantParams>>,
}

impl<'a> Runner<'a> {
    pub fn new(side: Side<'a>, threads: usize) -> Result<Runner<'a>, InspectError> {
        let session = side.model.session(threads)?;
        let params = output_params(session.graph());
        Ok(Runner { side, session, params })
    }

    /// The outputs for some samples, in the order of the model.
    pub fn rows(&mut self, indices: &[usize], batch: usize) -> Result<Vec<Rows>, InspectError> {
        let mut rows: Vec<Rows> = Vec::new();
        for batch in batches(self.side.samples, indices, batch) {
            let batch = batch?;
            let (wanted, given) = (batch.indices.len(), batch.indices.len() + batch.padded);
            let inputs = named_tensors(batch)?;
            let outputs = run(self.side.model, &mut self.session, &inputs, &mut ())?;
            let graph = self.side.model.graph();
            for (index, (tensor, &id)) in outputs.iter().zip(graph.outputs()).enumerate() {
                let name = &graph.value(id).name;
                let params = self.params.get(index).and_then(Option::as_ref);
                let mut part = split(self.side.model, name, tensor, params, given)?;
                part.numbers.truncate(wanted * part.width());
                match rows.get_mut(index) {
                    Some(known) if known.shape == part.shape => known.numbers.extend(part.numbers),
                    Some(known) => {
                        return Err(self.side.model.request(
                            format!(
                                "output `{name}` has the shape {:?} for some samples and {:?} for others",
                                known.shape, part.shape
                            ),
                            "give --limit 1, or samples of one length",
                        ));
                    }
                    None => rows.push(part),
                }
            }
        }
        Ok(rows)
    }
}

/// How the integers of each output stand for real numbers.
pub(crate) fn output_params(graph: &Graph) -> Vec<Option<QuantParams>> {
    graph.outputs().iter().map(|&id| graph.quant_params(id)).collect()
}

/// One run of a session that was made of a model.
pub(crate) fn run(
    model: &OpenedModel,
    session: &mut Session,
    inputs: &[(String, Tensor)],
    probe: &mut dyn Probe,
) -> Result<Vec<Tensor>, InspectError> {
    let inputs: Vec<(&str, Tensor)> =
        inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
    session.run(&inputs, probe).map_err(|source| model.run_error(source))
}

fn split(
    model: &OpenedModel,
    name: &str,
    tensor: &Tensor,
    params: Option<&QuantParams>,
    samples: usize,
) -> Result<Rows, InspectError> {
    let is_integer = tensor.dtype().integer_range().is_some();
    let numbers = real(tensor, params).ok_or_else(|| {
        model.request(
            format!(
                "output `{name}` is {}, which holds no numbers that can be compared",
                tensor.tensor_type()
            ),
            "take the output out of the model",
        )
    })?;
    let shape = match tensor.shape() {
        [first, rest @ ..] if *first == samples => rest.to_vec(),
        whole if samples == 1 => whole.to_vec(),
        whole => {
            return Err(model.request(
                format!(
                    "output `{name}` has the shape {whole:?} for {samples} samples: no axis is the batch"
                ),
                "give --batch 1",
            ));
        }
    };
    Ok(Rows { name: name.to_owned(), shape, numbers, is_real: !is_integer || params.is_some() })
}
