//! The inputs of a model as ones that token ids fill: what each is for, and how long it is.

use std::path::Path;

use crate::samples::{ModelInput, SamplesError, listed};

use super::lines::LONGEST_LINE;

/// What an input is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Ids,
    Mask,
    Zeros,
    Positions,
}

/// What each input is for, by its name.
pub(super) fn roles(path: &Path, inputs: &[ModelInput]) -> Result<Vec<Role>, SamplesError> {
    let refuse = |problem: String, hint: &str| SamplesError::Inputs {
        path: path.to_owned(),
        problem,
        expected: listed(inputs),
        found: "lines of token ids".to_owned(),
        hint: hint.to_owned(),
    };
    let roles: Vec<Role> = inputs
        .iter()
        .map(|input| {
            let name = input.name.to_lowercase();
            let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
            if has(&["mask"]) {
                Role::Mask
            } else if has(&["token_type", "segment"]) {
                Role::Zeros
            } else if has(&["position"]) {
                Role::Positions
            } else {
                Role::Ids
            }
        })
        .collect();
    let hint = "give an .npz file with an array for each input";
    let ids: Vec<&ModelInput> =
        inputs.iter().zip(&roles).filter(|(_, role)| **role == Role::Ids).map(|(input, _)| input).collect();
    match ids[..] {
        [input] if input.element.is_integer() => {}
        [input] => {
            return Err(refuse(
                format!("the input '{}' is not of whole numbers, as ids are", input.name),
                hint,
            ));
        }
        [] => return Err(refuse("no input takes token ids".to_owned(), hint)),
        [first, second, ..] => {
            let problem = format!("both '{}' and '{}' might take the ids", first.name, second.name);
            return Err(refuse(problem, hint));
        }
    }
    Ok(roles)
}

/// What the shapes of the inputs say.
pub(super) struct Shapes {
    pub batched: Vec<bool>,
    pub batch: Option<usize>,
    pub length: Option<usize>,
}

/// Batch and length of the inputs, with the length that was `given`.
pub(super) fn shapes(
    path: &Path,
    inputs: &[ModelInput],
    given: Option<usize>,
) -> Result<Shapes, SamplesError> {
    let refuse = |problem: String| SamplesError::Inputs {
        path: path.to_owned(),
        problem,
        expected: listed(inputs),
        found: "lines of token ids".to_owned(),
        hint: "expected inputs [N, tokens], or [tokens], of one number of tokens".to_owned(),
    };
    let mut shapes = Shapes { batched: Vec::new(), batch: None, length: given };
    let mut settled = None;
    for input in inputs {
        let (batched, batch, length) = match input.shape.as_deref() {
            None => (true, None, None),
            Some([batch, length]) => (true, batch.known(), length.known()),
            Some([length]) => (false, Some(1), length.known()),
            Some(_) => return Err(refuse(format!("the input '{}' is not of that shape", input.name))),
        };
        shapes.batched.push(batched);
        if let Some(batch) = batch
            && (batch == 0 || shapes.batch.replace(batch).is_some_and(|other| other != batch))
        {
            return Err(refuse(format!("the input '{}' takes a batch of its own", input.name)));
        }
        if let Some(length) = length
            && settled.replace(length).is_some_and(|other| other != length)
        {
            return Err(refuse(format!("the input '{}' takes {length} tokens", input.name)));
        }
    }
    if let (Some(settled), Some(given)) = (settled, given)
        && settled != given
    {
        return Err(refuse(format!("{given} tokens were asked for, and the model takes {settled}")));
    }
    shapes.length = settled.or(given);
    // A sample is written from memory that its length alone determines.
    if shapes.length.is_some_and(|length| length == 0 || length as u64 > LONGEST_LINE) {
        return Err(refuse(format!("a sample of {} tokens", shapes.length.unwrap_or(0))));
    }
    Ok(shapes)
}

/// Shape of an input without batch axis.
pub(super) fn whole_shape(input: &ModelInput, length: usize) -> Vec<usize> {
    input.shape.iter().flatten().map(|extent| extent.known().unwrap_or(length)).collect()
}
