//! Einstein summation.

use std::collections::BTreeMap;

use calipers_ir::Tensor;

use crate::Error;
use crate::accumulate::Accumulate;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::shape::{Walk, strides};

/// A letter of the equation, or an axis that the ellipsis stands for, counted from the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Ellipsis(usize),
    Letter(char),
}

/// The sum over all labels that the result lacks of the product of the inputs' elements.
pub(super) fn einsum(equation: &str, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let wrong = |expected: &str| inputs.argument(expected, format!("equation `{equation}`"));
    let text: String = equation.chars().filter(|letter| !letter.is_whitespace()).collect();
    let (left, right) = match text.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (text.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != inputs.len() {
        return Err(wrong(&format!("a term for each of {} inputs", inputs.len())));
    }
    let mut extents: BTreeMap<Label, usize> = BTreeMap::new();
    let mut labels = Vec::new();
    for (index, term) in terms.iter().enumerate() {
        let shape = inputs.tensor(index)?.shape();
        let letters = term.replace("...", "").chars().count();
        let covered = shape.len().checked_sub(letters).filter(|&rest| rest == 0 || term.contains("..."));
        let term = covered.and_then(|covered| parse(term, covered));
        let term = term.ok_or_else(|| wrong(&format!("a letter for each axis of the shape {shape:?}")))?;
        for (&label, &extent) in term.iter().zip(shape) {
            let known = extents.entry(label).or_insert(extent);
            match (*known, extent) {
                (known, extent) if known == extent || extent == 1 => {}
                (1, _) => *known = extent,
                _ => return Err(wrong(&format!("equal extents of {label:?}, not {known} and {extent}"))),
            }
        }
        labels.push(term);
    }
    let ellipsis = extents.keys().filter(|label| matches!(label, Label::Ellipsis(_))).count();
    let out: Vec<Label> = match right {
        Some(right) => parse(right, if right.contains("...") { ellipsis } else { 0 })
            .filter(|out| out.iter().all(|label| extents.contains_key(label)))
            .filter(|out| (1..out.len()).all(|place| !out[..place].contains(&out[place])))
            .ok_or_else(|| wrong("labels of the inputs, each once, after the arrow"))?,
        None => {
            let times = |label: &Label| labels.iter().flatten().filter(|&other| other == label).count();
            let shared = (0..ellipsis).rev().map(Label::Ellipsis);
            let letters = extents.keys().copied().filter(|label| matches!(label, Label::Letter(_)));
            shared.chain(letters.filter(|label| times(label) == 1)).collect()
        }
    };
    let summed: Vec<Label> = extents.keys().copied().filter(|label| !out.contains(label)).collect();
    let all: Vec<Label> = out.iter().chain(&summed).copied().collect();
    let steps = (0..labels.len())
        .map(|index| {
            let shape = inputs.tensor(index)?.shape();
            let own = strides(shape);
            // A label that stands several times reads the diagonal.
            let step = |label: &Label| -> isize {
                let axes = labels[index].iter().zip(&own).zip(shape);
                axes.filter(|((other, _), extent)| *other == label && **extent != 1)
                    .map(|((_, step), _)| step)
                    .sum()
            };
            Ok(all.iter().map(step).collect())
        })
        .collect::<Result<Vec<Vec<isize>>, Error>>()?;
    let extent = |labels: &[Label]| -> Vec<usize> { labels.iter().map(|label| extents[label]).collect() };
    let contraction = Contraction { shape: extent(&out), summed: extent(&summed), steps };
    inputs.count(&contraction.shape)?;
    inputs.count(&contraction.summed)?;
    let dtype = inputs.tensor(0)?.dtype();
    let mixed = || inputs.unsupported_type(dtype, "inputs of one type of numbers");
    macro_rules! contract {
        ($class:ident, $one:expr) => {{
            let mut values = Vec::new();
            for index in 0..inputs.len() {
                match inputs.numbers(index)? {
                    Numbers::$class(numbers) => values.push(numbers),
                    _ => return Err(mixed()),
                }
            }
            Numbers::$class(contraction.run(&values, $one))
        }};
    }
    let numbers = match inputs.numbers(0)? {
        Numbers::F32(_) => contract!(F32, 1.0),
        Numbers::F64(_) => contract!(F64, 1.0),
        Numbers::I64(_) => contract!(I64, 1),
        Numbers::U64(_) => contract!(U64, 1),
        Numbers::Bool(_) => return Err(mixed()),
    };
    Ok(vec![inputs.result(dtype, &contraction.shape, numbers)?])
}

/// The labels of a term in which an ellipsis stands for `covered` axes.
fn parse(term: &str, covered: usize) -> Option<Vec<Label>> {
    let letters = |part: &str| -> Option<Vec<Label>> {
        part.chars().map(|letter| letter.is_ascii_alphabetic().then_some(Label::Letter(letter))).collect()
    };
    match term.split_once("...") {
        None => letters(term),
        Some((before, after)) => {
            let mut labels = letters(before)?;
            labels.extend((0..covered).rev().map(Label::Ellipsis));
            labels.extend(letters(after)?);
            Some(labels)
        }
    }
}

/// A loop over the labels of the result, and inside over those summed; steps of each input for both in that order.
struct Contraction {
    shape: Vec<usize>,
    summed: Vec<usize>,
    steps: Vec<Vec<isize>>,
}

impl Contraction {
    fn run<T: Accumulate>(&self, values: &[Vec<T>], one: T) -> Vec<T> {
        let rank = self.shape.len();
        let count: usize = self.shape.iter().product();
        let starts: Vec<Vec<usize>> =
            self.steps.iter().map(|steps| Walk::new(&self.shape, &steps[..rank], 0).collect()).collect();
        let inner: Vec<Vec<usize>> =
            self.steps.iter().map(|steps| Walk::new(&self.summed, &steps[rank..], 0).collect()).collect();
        let terms: usize = self.summed.iter().product();
        let sum = |at: usize| {
            (0..terms).fold(T::default(), |sum, term| match (values, &inner[..], &starts[..]) {
                ([a, b], [inner_a, inner_b], [start_a, start_b]) => {
                    sum.plus_product(a[start_a[at] + inner_a[term]], b[start_b[at] + inner_b[term]])
                }
                _ => {
                    let factors =
                        (0..values.len()).map(|input| values[input][starts[input][at] + inner[input][term]]);
                    sum.plus_product(
                        one,
                        factors.fold(one, |product, factor| T::default().plus_product(product, factor)),
                    )
                }
            })
        };
        (0..count).map(sum).collect()
    }
}
