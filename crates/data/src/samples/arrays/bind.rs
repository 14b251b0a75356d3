//! Arrays to the inputs of a model: names, types, shapes, and what is said when they disagree.

use std::collections::HashMap;
use std::path::Path;

use crate::samples::{BatchRule, Extent, ModelInput, SampleInput, SamplesError, count, listed};

use super::nearest::nearest;
use super::store::Store;
use super::{ArraySamples, LABEL_NAMES};

/// Gives every input of the model its array, and the labels apart.
///
/// An array of as many axes as the input has its samples along the input's first axis. One of one
/// more axis holds in each sample all that the input takes, and batches are of one sample.
pub(super) fn bind(
    path: &Path,
    inputs: &[ModelInput],
    mut arrays: Vec<(String, Store)>,
) -> Result<ArraySamples, SamplesError> {
    let found = listed(arrays.iter().map(|(name, store)| format!("{name}: {store}")));
    let expected = listed(inputs);
    let refuse = |problem: String, hint: String| SamplesError::Inputs {
        path: path.to_owned(),
        problem,
        expected: expected.clone(),
        found: found.clone(),
        hint,
    };

    let is_input = |name: &str| inputs.iter().any(|input| input.name == name);
    let mut labels =
        arrays.extract_if(.., |(name, _)| !is_input(name) && LABEL_NAMES.contains(&name.as_str()));
    let first_labels = labels.next();
    if let (Some((first, _)), Some((second, _))) = (&first_labels, labels.next()) {
        return Err(refuse(
            format!("both '{first}' and '{second}' would be labels"),
            "keep one of them".to_owned(),
        ));
    }
    drop(labels);
    if inputs.is_empty() {
        return Err(refuse("the model has no inputs".to_owned(), "give another model".to_owned()));
    }
    if let Some((stranger, _)) = arrays.iter().find(|(name, _)| !is_input(name)) {
        let names = inputs.iter().map(|input| input.name.as_str());
        let hint = match nearest(stranger, names) {
            Some(near) => format!("did you mean '{near}'? Arrays are named after inputs"),
            None => format!(
                "name each array after an input, as in numpy.savez(path, **{{\"{}\": array}}); labels are \
                 called {}",
                inputs.first().map_or("x", |input| input.name.as_str()),
                LABEL_NAMES.join(", ")
            ),
        };
        return Err(refuse(format!("'{stranger}' is not an input of the model"), hint));
    }

    let mut binding = Binding::default();
    let mut sources = Vec::with_capacity(inputs.len());
    for input in inputs {
        let Some(place) = arrays.iter().position(|(name, _)| *name == input.name) else {
            let hint = "add the array; every input of the model needs one".to_owned();
            return Err(refuse(format!("there is no array for the input '{}'", input.name), hint));
        };
        let (_, store) = arrays.swap_remove(place);
        let sample = binding.add(input, &store).map_err(|(problem, hint)| {
            refuse(format!("'{}' is {store} for the input {input}: {problem}", input.name), hint)
        })?;
        sources.push((sample, store));
    }
    let len = binding.samples.as_ref().map_or(0, |(samples, _)| *samples);
    if len == 0 {
        return Err(refuse("there is no sample".to_owned(), "give at least one".to_owned()));
    }
    let labels = first_labels.map(|(_, store)| read_labels(path, &store, len)).transpose()?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let inputs = sources.iter().map(|(input, _)| input.clone()).collect();
    Ok(ArraySamples { sources, inputs, rule: binding.rule(), len, labels, name })
}

/// What the arrays bound so far have settled.
#[derive(Default)]
struct Binding {
    /// How many samples, and by which input.
    samples: Option<(usize, String)>,
    /// What each symbolic extent is, and by which input.
    symbols: HashMap<String, (usize, String)>,
    /// The fixed extent of the batch axis.
    batch: Option<usize>,
}

impl Binding {
    fn rule(&self) -> BatchRule {
        self.batch.map_or(BatchRule::Any, BatchRule::Exactly)
    }

    /// Checks one array against its input. An error is a problem and a hint.
    fn add(&mut self, input: &ModelInput, store: &Store) -> Result<SampleInput, (String, String)> {
        if !store.element.converts_to(input.element) {
            return Err((
                format!("{} is not converted to {}", store.element, input.element),
                format!("convert it before, as in array.astype(\"{}\")", numpy_name(input.element)),
            ));
        }
        let Some((&samples, shape)) = store.shape.split_first() else {
            return Err(("a single number has no samples".to_owned(), "add a first axis".to_owned()));
        };
        match &self.samples {
            None => self.samples = Some((samples, input.name.clone())),
            Some((others, other)) if *others != samples => {
                return Err((
                    format!("{samples} samples, but '{other}' has {others}"),
                    "give every input as many samples".to_owned(),
                ));
            }
            Some(_) => {}
        }
        let wanted = input.shape.as_deref();
        let (batched, extents) = match wanted {
            None => (true, None),
            Some([first, rest @ ..]) if rest.len() == shape.len() => {
                if let Some(fixed) = first.known() {
                    self.fix_batch(fixed)?;
                }
                (true, Some(rest))
            }
            Some(all) if all.len() == shape.len() => {
                self.fix_batch(1)?;
                (false, Some(all))
            }
            Some(all) => {
                return Err((
                    format!("{} axes, samples first; expected {}", store.shape.len(), all.len().max(1)),
                    "the first axis counts the samples, the others are those of the input".to_owned(),
                ));
            }
        };
        for (axis, (&found, wanted)) in shape.iter().zip(extents.unwrap_or_default()).enumerate() {
            let axis = axis + 1;
            let disagreement = match wanted {
                Extent::Known(extent) if *extent != found => {
                    Some(format!("axis {axis} is {found}; expected {extent}"))
                }
                Extent::Symbolic(name) if !name.is_empty() => {
                    let (extent, other) =
                        self.symbols.entry(name.clone()).or_insert((found, input.name.clone()));
                    (*extent != found)
                        .then(|| format!("axis {axis} is {found}, but {name} is {extent} in '{other}'"))
                }
                Extent::Known(_) | Extent::Symbolic(_) => None,
            };
            if let Some(problem) = disagreement {
                let hint = "bring the array to the shape of the input".to_owned();
                return Err((problem, hint));
            }
        }
        Ok(SampleInput { name: input.name.clone(), element: input.element, shape: shape.to_vec(), batched })
    }

    fn fix_batch(&mut self, extent: usize) -> Result<(), (String, String)> {
        match self.batch.replace(extent) {
            _ if extent == 0 => {
                Err(("the model takes batches of 0 samples".to_owned(), "give another model".to_owned()))
            }
            Some(other) if other != extent => Err((
                format!("a batch would be {extent} samples here and {other} in another input"),
                "export the model with a free batch axis".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

fn read_labels(path: &Path, store: &Store, samples: usize) -> Result<Vec<u32>, SamplesError> {
    let refuse = |problem: String| SamplesError::Labels {
        path: path.to_owned(),
        problem,
        hint: "give a whole number from 0 for each sample, as in numpy.int64 [N]",
    };
    let one_each = count(&store.shape) == Some(samples) && store.samples() == samples;
    if !store.element.is_integer() || !one_each {
        return Err(refuse(format!("found {store} for {samples} samples")));
    }
    let mut labels = Vec::with_capacity(samples);
    let stored = store.read(0, samples)?;
    for (sample, bytes) in stored.chunks_exact(store.element.bytes()).enumerate() {
        let value = store.element.read_integer(bytes);
        labels.push(u32::try_from(value).map_err(|_| refuse(format!("sample {sample} has {value}")))?);
    }
    Ok(labels)
}

fn numpy_name(element: crate::samples::Element) -> String {
    let name = element.to_string();
    match name.as_bytes() {
        [b'f', bits @ ..] => format!("float{}", String::from_utf8_lossy(bits)),
        [b'i', bits @ ..] => format!("int{}", String::from_utf8_lossy(bits)),
        [b'u', bits @ ..] => format!("uint{}", String::from_utf8_lossy(bits)),
        _ => name,
    }
}
