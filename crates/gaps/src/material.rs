//! What every worker is given of a layer: weights, samples, and the outputs that the graph defines.

use std::fs;
use std::path::Path;

use calipers_ir::{DType, Graph, Node, Tensor};
use calipers_passes::canonicalize;
use calipers_runtime::{Session, SessionOptions, evaluate};
use calipers_study::write_whole;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::error::GapsError;
use crate::layer::{Layer, Probe};

/// Samples of each probe: the model is calibrated on all of them, and judged on all of them.
pub const SAMPLES: usize = 4;

/// A probe with its samples and what it computes of them.
#[derive(Debug, Clone)]
pub struct Material {
    /// The model.
    pub probe: Probe,
    /// Inputs by name, for each sample.
    pub samples: Vec<Vec<(String, Tensor)>>,
    /// The output of each sample.
    pub expected: Vec<Tensor>,
}

impl Material {
    /// Draws the samples of a layer's probe and runs its graph.
    ///
    /// # Errors
    /// None for the layers of [`LAYERS`](crate::LAYERS).
    pub fn of(layer: &Layer) -> Result<Material, GapsError> {
        let failed = |reason: String| GapsError::Layer { layer: layer.name.to_owned(), reason };
        let probe = layer.probe().map_err(|error| failed(error.to_string()))?;
        let samples = samples(&probe);
        let expected = run(&probe.graph, &samples).map_err(failed)?;
        Ok(Material { probe, samples, expected })
    }

    /// Writes `weight/NAME`, `input/NAME` and `expected` as a safetensors file, the samples stacked.
    ///
    /// # Errors
    /// [`GapsError::Files`].
    pub fn write(&self, path: &Path) -> Result<(), GapsError> {
        let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        for drawn in &self.probe.weights {
            let bytes = bytes_of(&drawn.values());
            tensors.push((format!("weight/{}", drawn.name), Dtype::F32, drawn.shape.clone(), bytes));
        }
        let stacked = |parts: Vec<&Tensor>| {
            let shape: Vec<usize> = [parts.len()].into_iter().chain(parts[0].shape().to_vec()).collect();
            let bytes: Vec<u8> = parts.iter().flat_map(|part| part.bytes().to_vec()).collect();
            let dtype = if parts[0].dtype() == DType::I64 { Dtype::I64 } else { Dtype::F32 };
            (dtype, shape, bytes)
        };
        for (at, (name, _)) in self.samples[0].iter().enumerate() {
            let (dtype, shape, bytes) = stacked(self.samples.iter().map(|sample| &sample[at].1).collect());
            tensors.push((format!("input/{name}"), dtype, shape, bytes));
        }
        let (dtype, shape, bytes) = stacked(self.expected.iter().collect());
        tensors.push((String::from("expected"), dtype, shape, bytes));
        let failed = GapsError::files("write", path);
        let write = || {
            let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
                let view = TensorView::new(*dtype, shape.clone(), bytes);
                view.map(|view| (name.clone(), view)).map_err(std::io::Error::other)
            });
            let views: Vec<_> = views.collect::<Result<_, _>>()?;
            let whole = safetensors::serialize(views, None).map_err(std::io::Error::other)?;
            fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            write_whole(path, &whole)
        };
        write().map_err(failed)
    }
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The samples: each input is one draw, cut into parts.
fn samples(probe: &Probe) -> Vec<Vec<(String, Tensor)>> {
    let mut samples = vec![Vec::new(); SAMPLES];
    for (id, drawn) in probe.graph.inputs().iter().zip(&probe.inputs) {
        let is_ids = probe.graph.value(*id).ty.dtype == DType::I64;
        let all = crate::draw::Drawn {
            shape: [SAMPLES].into_iter().chain(drawn.shape.iter().copied()).collect(),
            ..drawn.clone()
        };
        let count = drawn.count();
        let (floats, ids) =
            if is_ids { (Vec::new(), all.integers(Probe::IDS)) } else { (all.values(), Vec::new()) };
        for (at, sample) in samples.iter_mut().enumerate() {
            let part = at * count..(at + 1) * count;
            let tensor = if is_ids {
                Tensor::from_vec(drawn.shape.clone(), ids[part].to_vec())
            } else {
                Tensor::from_vec(drawn.shape.clone(), floats[part].to_vec())
            };
            sample.push((drawn.name.clone(), tensor.expect("one element for each position")));
        }
    }
    samples
}

/// The outputs of a graph of one output for each sample, on one thread.
pub fn run(graph: &Graph, samples: &[Vec<(String, Tensor)>]) -> Result<Vec<Tensor>, String> {
    let compute = |node: &Node, inputs: &[Option<&Tensor>]| {
        evaluate(&node.name, &node.op, inputs, node.outputs.len()).ok()
    };
    let canonical = canonicalize(graph, &compute).map_err(|error| error.to_string())?;
    let mut session = Session::new(canonical.graph, SessionOptions::default().with_threads(1))
        .map_err(|error| error.to_string())?;
    let mut outputs = Vec::new();
    for sample in samples {
        let inputs: Vec<(&str, Tensor)> =
            sample.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
        let mut made = session.run(&inputs, &mut ()).map_err(|error| error.to_string())?;
        outputs.push(made.remove(0));
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::{Material, SAMPLES};
    use crate::layers::{LAYERS, SMALL};

    #[test]
    fn every_layer_computes_finite_numbers_of_a_useful_size() {
        for layer in LAYERS.iter().chain([&SMALL]) {
            let material = Material::of(layer).expect(layer.name);
            assert_eq!(material.expected.len(), SAMPLES);
            let values: Vec<f32> = material
                .expected
                .iter()
                .flat_map(|tensor| tensor.as_f32().expect("is f32").to_vec())
                .collect();
            let (low, high) = values.iter().fold((f32::MAX, f32::MIN), |(low, high), &value| {
                assert!(value.is_finite(), "{}", layer.name);
                (low.min(value), high.max(value))
            });
            assert!((0.02..200.0).contains(&(high - low)), "{}: {low} to {high}", layer.name);
        }
    }

    #[test]
    fn layers_are_large_enough_for_every_threshold() {
        for layer in LAYERS {
            let probe = layer.probe().expect(layer.name);
            for drawn in probe.weights.iter().filter(|drawn| drawn.shape.len() >= 2) {
                assert!(
                    drawn.count() >= 1024,
                    "{}: {} has {} elements",
                    layer.name,
                    drawn.name,
                    drawn.count()
                );
            }
        }
    }
}
