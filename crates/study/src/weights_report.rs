//! The weights of each layer of a deployed file beside the float weights that they were made from.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;

use calipers_formats::onnx::{self, ReadError};
use calipers_inspect::source;
use calipers_ir::{DType, Graph, Node, Op, ValueId};

use crate::report::{Histogram, WeightReport};
use crate::stored::{Stored, StoredWeight};
use crate::weights::Tensors;

/// Bins of the histograms of real numbers.
const BINS: usize = 64;
/// Bins of the histogram of integers that have too many values for one each.
const WIDE_BINS: usize = 256;
/// Two tensors of one size whose numbers correlate less are not the same layer.
const LEAST_CORRELATION: f64 = 0.5;

/// What became of each weight (a float constant of rank 2 or more that a node reads) of the float model in `model`,
/// trained to `weights`, in the order of the graph. Weights that the file does not hold are left out.
///
/// A weight's tensor in the file is the one of its initializer, else of its name, else the one of as many elements whose
/// numbers correlate most with it, and at least by 0.5. The float twin has the BatchNormalization behind it folded in where
/// the file's numbers are nearer to that.
///
/// # Errors
/// A model that cannot be read.
pub fn weight_reports(
    model: &Path,
    weights: &Tensors,
    stored: &[Stored],
) -> Result<Vec<WeightReport>, ReadError> {
    let graph = onnx::read(model)?.graph;
    let twins = twins(&graph, weights);
    let stored: Vec<(&Stored, &StoredWeight)> =
        stored.iter().filter_map(|tensor| Some((tensor, tensor.weight.as_ref()?))).collect();
    let pairs = pairs(&twins, &stored);
    let report = |(twin, at): (&Twin<'_>, Option<usize>)| {
        let (tensor, weight) = stored.get(at?)?;
        Some(report(twin, tensor, weight))
    };
    Ok(twins.iter().zip(pairs).filter_map(report).collect())
}

/// A weight of the float model, as it was trained and as BatchNormalization makes it.
struct Twin<'a> {
    name: &'a str,
    shape: &'a [usize],
    trained: &'a [f32],
    folded: Option<Vec<f32>>,
}

/// The weights in the order in which nodes read them first.
fn twins<'a>(graph: &'a Graph, weights: &'a Tensors) -> Vec<Twin<'a>> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for node in graph.nodes() {
        for (position, &input) in node.inputs.iter().enumerate() {
            let constant = input.and_then(|input| source(graph, input)).filter(|id| {
                let shape = graph.constant(*id).map(|tensor| (tensor.dtype(), tensor.shape().len()));
                matches!(shape, Some((DType::F32, 2..)))
            });
            let Some(id) = constant.filter(|id| seen.insert(*id)) else { continue };
            let name = graph.value(id).name.as_str();
            let Some(trained) = weights.get(name) else { continue };
            let factors = (position == 1).then(|| factors(graph, node, weights)).flatten();
            found.push(Twin {
                name,
                shape: &trained.shape,
                trained: &trained.elements,
                folded: factors.and_then(|(axis, factors)| {
                    let inner: usize = trained.shape.get(axis + 1..)?.iter().product();
                    let scaled = trained.elements.iter().enumerate();
                    let channel = |index: usize| factors.get(index / inner.max(1) % factors.len().max(1));
                    scaled
                        .map(|(index, &weight)| Some((f64::from(weight) * channel(index)?) as f32))
                        .collect()
                }),
            });
        }
    }
    found
}

/// What the BatchNormalization behind a product multiplies its output channels by, and their axis in the weight.
fn factors(graph: &Graph, node: &Node, weights: &Tensors) -> Option<(usize, Vec<f64>)> {
    let axis = match &node.op {
        Op::Conv(_) => 0,
        Op::ConvTranspose(transposed) if transposed.groups == 1 => 1,
        Op::Gemm(gemm) => usize::from(!gemm.transpose_b),
        _ => return None,
    };
    let (_, norm) = graph.only_consumer(*node.outputs.first()?)?;
    let Op::BatchNormalization(attributes) = &norm.op else { return None };
    let parameter = |position: usize| {
        let id: ValueId = norm.input(position)?;
        let trained = weights.get(&graph.value(id).name).map(|tensor| Cow::from(&tensor.elements));
        trained.or_else(|| graph.constant(id)?.as_f32())
    };
    let (scale, variance) = (parameter(1)?, parameter(4)?);
    let factor = |(&scale, &variance): (&f32, &f32)| {
        f64::from(scale) / (f64::from(variance) + f64::from(attributes.epsilon)).sqrt()
    };
    Some((axis, scale.iter().zip(variance.iter()).map(factor).collect()))
}

/// For each float weight the position of its tensor in the file; each tensor once.
fn pairs(twins: &[Twin<'_>], stored: &[(&Stored, &StoredWeight)]) -> Vec<Option<usize>> {
    let mut pairs: Vec<Option<usize>> = vec![None; twins.len()];
    let mut taken = vec![false; stored.len()];
    let fits = |twin: &Twin<'_>, at: usize| stored[at].1.real.len() == twin.trained.len();
    // A tensor's initializer is known better than what its name means.
    for by_initializer in [true, false] {
        for (twin, pair) in twins.iter().zip(&mut pairs).filter(|(_, pair)| pair.is_none()) {
            let is_named = |at: usize| match by_initializer {
                true => stored[at].0.initializer.as_deref() == Some(twin.name),
                false => stored[at].0.name == twin.name,
            };
            *pair = (0..stored.len()).find(|&at| !taken[at] && fits(twin, at) && is_named(at));
            if let Some(at) = *pair {
                taken[at] = true;
            }
        }
    }
    let mut candidates: Vec<(f64, usize, usize)> = Vec::new();
    for (index, twin) in twins.iter().enumerate().filter(|(index, _)| pairs[*index].is_none()) {
        for at in (0..stored.len()).filter(|&at| !taken[at] && fits(twin, at)) {
            let forms = twin.forms(stored[at].1);
            let most = forms.iter().map(|form| correlation(form, &stored[at].1.real)).fold(0.0, f64::max);
            if most >= LEAST_CORRELATION {
                candidates.push((most, index, at));
            }
        }
    }
    candidates.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (_, index, at) in candidates {
        if pairs[index].is_none() && !taken[at] {
            pairs[index] = Some(at);
            taken[at] = true;
        }
    }
    pairs
}

impl Twin<'_> {
    /// As trained and with BatchNormalization folded in; matrices also transposed, where the file's shape allows it.
    fn forms(&self, stored: &StoredWeight) -> Vec<Cow<'_, [f32]>> {
        let mut forms = Vec::new();
        for values in std::iter::once(self.trained).chain(self.folded.as_deref()) {
            forms.push(Cow::Borrowed(values));
            if let (&[rows, columns], &[other_rows, other_columns]) = (self.shape, stored.shape.as_slice())
                && (rows, columns) == (other_columns, other_rows)
            {
                let element = |index: usize| values[index % rows * columns + index / rows];
                forms.push((0..values.len()).map(element).collect());
            }
        }
        forms
    }
}

/// Pearson's; 0 where one of them is constant.
fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let count = a.len().max(1) as f64;
    let mean = |values: &[f32]| values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut together, mut of_a, mut of_b) = (0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a) - mean_a, f64::from(b) - mean_b);
        together += a * b;
        of_a += a * a;
        of_b += b * b;
    }
    let product = (of_a * of_b).sqrt();
    if product > 0.0 { together / product } else { 0.0 }
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

fn report(twin: &Twin<'_>, tensor: &Stored, weight: &StoredWeight) -> WeightReport {
    let forms = twin.forms(weight);
    let nearest = forms.iter().map(|form| (distance(form, &weight.real), form));
    let nearest = nearest.min_by(|a, b| a.0.total_cmp(&b.0));
    let float = nearest.map_or(twin.trained, |(_, form)| form);
    let all = float.iter().chain(&weight.real).filter(|value| value.is_finite());
    let bounds = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| {
        (low.min(f64::from(value)), high.max(f64::from(value)))
    });
    let (low, high) = match bounds {
        (low, high) if low < high => (low, high),
        (low, _) if low.is_finite() => (low - 0.5, low + 0.5),
        _ => (-0.5, 0.5),
    };
    let real = |values: &[f32]| histogram(values.iter().map(|&value| f64::from(value)), low, high, BINS);
    WeightReport {
        name: twin.name.to_owned(),
        stored_as: tensor.name.clone(),
        dtype: tensor.dtype.clone(),
        elements: weight.real.len(),
        float: real(float),
        real: real(&weight.real),
        integers: weight.integers.as_ref().map(|integers| of_integers(integers, &tensor.dtype)),
    }
}

/// Integers of a storage type, each value in the middle of its bin; those of more than 8 bits, several to a bin.
fn of_integers(integers: &[i32], dtype: &str) -> Histogram {
    let is_signed = dtype.starts_with('i');
    let bits: u32 = dtype.trim_start_matches(['i', 'u']).parse().unwrap_or(32);
    let (first, count) = match bits {
        0..=16 => (if is_signed { -f64::from(1u32 << bits) / 2.0 } else { 0.0 }, f64::from(1u32 << bits)),
        _ => {
            let low = integers.iter().copied().min().unwrap_or(0);
            let high = integers.iter().copied().max().unwrap_or(0);
            (f64::from(low), f64::from(high) - f64::from(low) + 1.0)
        }
    };
    let bins = if bits <= 8 { count as usize } else { WIDE_BINS };
    histogram(integers.iter().map(|&integer| f64::from(integer)), first - 0.5, first - 0.5 + count, bins)
}

/// Counts of the finite values, which lie from `low` to `high`.
fn histogram(values: impl Iterator<Item = f64>, low: f64, high: f64, bins: usize) -> Histogram {
    let mut counts = vec![0u64; bins];
    for value in values.filter(|value| value.is_finite()) {
        let place = ((value - low) / (high - low) * bins as f64) as usize;
        counts[place.min(bins - 1)] += 1;
    }
    Histogram { low, high, counts }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use calipers_ir::Model;
    use calipers_models::{Options, resnet8};
    use calipers_quant::{CalibrationOptions, Recipe, quantize};

    use super::{of_integers, weight_reports};
    use crate::stored::{Stored, StoredWeight, of_model_file};
    use crate::weights::{Tensors, apply, of_graph, write};

    /// The float model in a file, and its weights with variances that folding must not overlook.
    fn float(folder: &Path) -> Tensors {
        let graph = resnet8(&Options::default(), 3).unwrap();
        let mut weights = of_graph(&graph);
        for (name, tensor) in &mut weights {
            if name.ends_with("running_var") {
                tensor.elements.iter_mut().for_each(|variance| *variance *= 16.0);
            }
        }
        calipers_formats::onnx::write(&Model::new(graph), folder.join("model.onnx")).unwrap();
        write(&folder.join("weights"), &weights).unwrap();
        weights
    }

    fn bounds(values: &[f32]) -> (f64, f64) {
        let of = |fold: fn(f32, f32) -> f32| f64::from(values.iter().copied().reduce(fold).unwrap());
        (of(f32::min), of(f32::max))
    }

    #[test]
    fn every_layer_stands_beside_its_folded_twin() {
        let folder = tempfile::tempdir().unwrap();
        let weights = float(folder.path());
        let graph = resnet8(&Options::default(), 3).unwrap();
        let trained = apply(&graph, &folder.path().join("weights")).unwrap();
        let recipe = Recipe::of_precision("w8").unwrap();
        let made = quantize(&trained, [], &recipe, &CalibrationOptions::default(), |_| {}).unwrap();
        let file = folder.path().join("quantized.onnx");
        calipers_formats::onnx::write(&Model::new(made.graph.clone()), &file).unwrap();

        let stored = of_model_file(&file).unwrap();
        let reports = weight_reports(&folder.path().join("model.onnx"), &weights, &stored).unwrap();
        assert_eq!(reports.len(), 10);
        assert_eq!((reports[0].name.as_str(), reports[9].name.as_str()), ("conv1.weight", "fc.weight"));
        for report in &reports {
            let folded = of_graph(&made.float)[&report.name].elements.clone();
            let (low, high) = bounds(&folded);
            // Symmetric scales say the largest weight to half a step of 127.
            let step = low.abs().max(high) / 127.0;
            assert!(report.float.low <= low && low - report.float.low <= step / 2.0, "{}", report.name);
            assert!(report.float.high >= high && report.float.high - high <= step / 2.0, "{}", report.name);
            let all = folded.len() as u64;
            assert_eq!(report.elements, folded.len());
            let integers = report.integers.as_ref().unwrap();
            for histogram in [&report.float, &report.real, integers] {
                assert_eq!(histogram.counts.iter().sum::<u64>(), all);
            }
            assert_eq!((integers.low, integers.high, integers.counts.len()), (-128.5, 127.5, 256));
            // Every output channel has a weight at the end of the range.
            let ends = integers.counts[1] + integers.counts[255];
            let channels = weights[&report.name].shape[0] as u64;
            assert!(ends >= channels && integers.counts[0] == 0, "{}: {ends} of {channels}", report.name);
            assert_eq!(report.stored_as, format!("{}_quantized", report.name));
        }
        // Without the folding, it would be four times as wide.
        let (low, high) = bounds(&weights["conv1.weight"].elements);
        let widest = low.abs().max(high);
        assert!(reports[0].float.high.max(-reports[0].float.low) < widest / 2.0);
    }

    fn anonymous(name: &str, shape: &[usize], real: Vec<f32>) -> Stored {
        Stored {
            name: name.to_owned(),
            initializer: None,
            dtype: String::from("f16"),
            rank: shape.len(),
            elements: real.len() as u64,
            bytes: 2 * real.len() as u64,
            role: None,
            reason: None,
            weight: Some(StoredWeight { shape: shape.to_vec(), integers: None, real }),
        }
    }

    #[test]
    fn tensors_without_names_are_found_by_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let weights = float(folder.path());
        let model = folder.path().join("model.onnx");
        let of = |name: &str| weights[name].elements.clone();
        // Both convolutions of the first block are of one size; the matrix is stored the other way round.
        let transposed = (0..640).map(|index| of("fc.weight")[index % 10 * 64 + index / 10]).collect();
        let noise = (0..2304).map(|index| ((index * 7919 % 1000) as f32 - 500.0) / 1000.0).collect();
        let names: Vec<&String> =
            weights.keys().filter(|name| weights[*name].elements.len() == 2304).collect();
        let [first, second] = names[..] else { panic!("{names:?}") };
        let stored = [
            anonymous("a", &[64, 10], transposed),
            anonymous("b", &[16, 16, 3, 3], of(second)),
            anonymous("c", &[16, 16, 3, 3], of(first)),
            anonymous("d", &[16, 16, 3, 3], noise),
        ];
        let reports = weight_reports(&model, &weights, &stored).unwrap();
        let found: Vec<(&str, &str)> =
            reports.iter().map(|report| (report.name.as_str(), report.stored_as.as_str())).collect();
        assert_eq!(found, [(first.as_str(), "c"), (second.as_str(), "b"), ("fc.weight", "a")]);
        for report in &reports {
            assert_eq!((&report.float, &report.integers), (&report.real, &None), "{}", report.name);
            let (low, high) = bounds(&of(&report.name));
            assert_eq!((report.float.low, report.float.high), (low, high));
        }
        // A file that holds nothing like them has no report.
        assert_eq!(weight_reports(&model, &weights, &stored[3..]).unwrap(), []);
    }

    #[test]
    fn integers_have_the_bins_of_their_type() {
        let four = of_integers(&[-8, -8, 7, 0], "i4");
        assert_eq!((four.low, four.high, four.counts.len()), (-8.5, 7.5, 16));
        assert_eq!((four.counts[0], four.counts[8], four.counts[15]), (2, 1, 1));
        let bytes = of_integers(&[0, 255, 255], "u8");
        assert_eq!((bytes.counts[0], bytes.counts[255], bytes.low), (1, 2, -0.5));
        let wide = of_integers(&[-32768, 32767, 0], "i16");
        assert_eq!((wide.counts[0], wide.counts[128], wide.counts[255]), (1, 1, 1));
    }
}
