//! Weights and logits files: safetensors, f32, tensors by the names of the graph's constants.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use calipers_ir::{DType, EditError, Graph, GraphEditor, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use thiserror::Error;

/// What is wrong with a weights or logits file, or with the weights in it.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// The file cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Files {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The bytes are no such file.
    #[error("{} is no whole safetensors file: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What the library says.
        source: SafeTensorError,
    },
    /// A tensor is missing, or of another type or shape than expected.
    #[error("{}, tensor `{name}`: expected {expected}, found {found}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What was expected.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A weight is NaN or infinite.
    #[error(
        "{}, tensor `{name}`: element {index} is {value}\nhint: the training diverged, or the file is damaged; a lower learning rate usually helps",
        path.display()
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Position in row-major order.
        index: usize,
        /// The element.
        value: f32,
    },
    /// The graph refuses the weights.
    #[error(transparent)]
    Graph(#[from] EditError),
}

/// An f32 tensor in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Floats {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// The elements.
    pub elements: Vec<f32>,
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, Floats>;

/// All f32 tensors of a file.
pub fn read(path: &Path) -> Result<Tensors, WeightsError> {
    let bytes = std::fs::read(path).map_err(|source| WeightsError::Files {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|source| WeightsError::Format { path: path.to_owned(), source })?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(WeightsError::Tensor {
                path: path.to_owned(),
                name: name.to_owned(),
                expected: String::from("f32"),
                found: format!("{:?}", view.dtype()),
            });
        }
        let elements = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        tensors.insert(name.to_owned(), Floats { shape: view.shape().to_vec(), elements });
    }
    Ok(tensors)
}

/// Writes f32 tensors; the file appears under its name only when it is whole.
pub fn write(path: &Path, tensors: &Tensors) -> Result<(), WeightsError> {
    let failed = |source| WeightsError::Files { action: "write", path: path.to_owned(), source };
    let format = |source| WeightsError::Format { path: path.to_owned(), source };
    let bytes: Vec<Vec<u8>> = tensors
        .values()
        .map(|tensor| tensor.elements.iter().flat_map(|element| element.to_le_bytes()).collect())
        .collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, tensor), bytes)| Ok((name, TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, SafeTensorError>>()
        .map_err(format)?;
    let content = safetensors::serialize(views, None).map_err(format)?;
    crate::material::write_whole(path, &content).map_err(failed)
}

/// The f32 constants of a graph.
pub fn of_graph(graph: &Graph) -> Tensors {
    graph
        .constants()
        .iter()
        .filter_map(|(&id, tensor)| {
            let elements = tensor.as_f32()?.into_owned();
            Some((graph.value(id).name.clone(), Floats { shape: tensor.shape().to_vec(), elements }))
        })
        .collect()
}

/// Writes a logits file: `logits` of `samples`, in sample order.
pub fn write_logits(path: &Path, samples: usize, logits: Vec<f32>) -> Result<(), WeightsError> {
    let shape = vec![samples, logits.len() / samples.max(1)];
    write(path, &Tensors::from([(String::from("logits"), Floats { shape, elements: logits })]))
}

/// The `logits` of a logits file: samples, classes, and values in sample order.
pub fn read_logits(path: &Path) -> Result<(usize, usize, Vec<f32>), WeightsError> {
    let mut tensors = read(path)?;
    match tensors.remove("logits") {
        Some(Floats { shape, elements }) if shape.len() == 2 => Ok((shape[0], shape[1], elements)),
        other => Err(WeightsError::Tensor {
            path: path.to_owned(),
            name: String::from("logits"),
            expected: String::from("f32 [samples, classes]"),
            found: other.map_or_else(|| String::from("nothing"), |tensor| format!("f32 {:?}", tensor.shape)),
        }),
    }
}

/// The graph with the f32 constants of a weights file; the file must have every one of them, finite where the graph's
/// own are.
pub fn apply(graph: &Graph, path: &Path) -> Result<Graph, WeightsError> {
    let mut tensors = read(path)?;
    let mut editor = GraphEditor::edit(graph);
    for (&id, constant) in graph.constants().iter().filter(|(_, constant)| constant.dtype() == DType::F32) {
        let name = &graph.value(id).name;
        let wrong = |found: String| WeightsError::Tensor {
            path: path.to_owned(),
            name: name.clone(),
            expected: format!("f32 {:?}", constant.shape()),
            found,
        };
        let Floats { shape, elements } =
            tensors.remove(name).ok_or_else(|| wrong(String::from("nothing")))?;
        if shape != constant.shape() {
            return Err(wrong(format!("f32 {shape:?}")));
        }
        // Masks hold numbers that are not finite, as the model's author wants it.
        let own = constant.as_f32().unwrap_or_default();
        let diverged = |(element, own): (&f32, &f32)| !element.is_finite() && own.is_finite();
        if let Some(index) = elements.iter().zip(own.iter()).position(diverged) {
            let value = elements[index];
            return Err(WeightsError::NotFinite { path: path.to_owned(), name: name.clone(), index, value });
        }
        let tensor = Tensor::from_vec(shape, elements).map_err(|error| wrong(error.to_string()))?;
        editor.set_constant(id, tensor);
    }
    Ok(editor.build()?)
}

/// The type of a tensor in a safetensors file; `None` of those that no model has.
pub fn storage_type(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::BOOL => DType::Bool,
        Dtype::U8 => DType::U8,
        Dtype::I8 => DType::I8,
        Dtype::I16 => DType::I16,
        Dtype::U16 => DType::U16,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I32 => DType::I32,
        Dtype::U32 => DType::U32,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::I64 => DType::I64,
        Dtype::U64 => DType::U64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Tensors, apply, of_graph, read_logits, write, write_logits};
    use calipers_models::{Options, resnet8};

    #[test]
    fn weights_are_checked_against_the_graph() {
        let graph = resnet8(&Options::default(), 1).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        let weights = of_graph(&graph);
        let applied = |weights: &Tensors| {
            write(&path, weights).unwrap();
            apply(&graph, &path).map_err(|error| error.to_string())
        };
        assert_eq!(applied(&weights).unwrap(), graph);

        let name = weights.keys().next().unwrap().clone();
        let mut damaged = weights.clone();
        damaged.get_mut(&name).unwrap().elements[3] = f32::NAN;
        let message = applied(&damaged).unwrap_err();
        assert!(message.contains(&name) && message.contains("element 3 is NaN"), "{message}");
        damaged.remove(&name);
        let message = applied(&damaged).unwrap_err();
        assert!(message.contains(&name) && message.contains("found nothing"), "{message}");
        assert!(read_logits(&path).unwrap_err().to_string().contains("`logits`"));
    }

    #[test]
    fn a_truncated_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.safetensors");
        write_logits(&path, 1, vec![1.0, 2.0]).unwrap();
        assert_eq!(read_logits(&path).unwrap(), (1, 2, vec![1.0, 2.0]));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        assert!(read_logits(&path).unwrap_err().to_string().contains("cut.safetensors is no whole"));
    }
}
