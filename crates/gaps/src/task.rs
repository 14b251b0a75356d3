//! What a run consists of: cells, controls and questions.

use std::collections::BTreeSet;
use std::fmt;

use crate::capability::{QUESTIONS, Question};
use crate::error::GapsError;
use crate::framework::Framework;
use crate::layer::Layer;
use crate::layers::{CONTROLS, Control, LAYERS};
use crate::path::{PATHS, Path};

/// Which cells a run has.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only these layers.
    pub layers: Option<Vec<String>>,
    /// Only these frameworks.
    pub frameworks: Option<Vec<String>>,
    /// Only these paths, as `framework/path` or by the name alone.
    pub paths: Option<Vec<String>>,
    /// Only the quick subset.
    pub quick: bool,
}

/// A selection with its names resolved.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// Rows.
    pub layers: Vec<&'static Layer>,
    /// Columns.
    pub paths: Vec<&'static Path>,
    /// Questions, where the whole of a framework is looked at.
    pub questions: Vec<&'static Question>,
}

/// One piece of work.
#[derive(Debug, Clone, Copy)]
pub enum Task {
    /// A layer on a path.
    Cell(&'static Path, &'static Layer),
    /// A control on a framework's first path.
    Control(&'static Path, &'static Control),
    /// A question.
    Ask(Framework, &'static Question),
}

impl Selection {
    /// Resolves the names.
    ///
    /// # Errors
    /// [`GapsError::Unknown`] for a name that is not known, [`GapsError::Empty`] where nothing is left.
    pub fn resolve(&self) -> Result<Chosen, GapsError> {
        let frameworks: BTreeSet<Framework> = match &self.frameworks {
            None => Framework::ALL.into_iter().collect(),
            Some(names) => names.iter().map(|name| framework(name)).collect::<Result<_, _>>()?,
        };
        let mut paths: Vec<&Path> =
            PATHS.iter().filter(|path| frameworks.contains(&path.framework)).collect();
        if let Some(names) = &self.paths {
            for name in names {
                let known = |path: &&Path| is_called(path, name);
                if !PATHS.iter().any(|path| known(&path)) {
                    return Err(unknown(
                        "path",
                        name,
                        PATHS.iter().map(|path| format!("{}/{}", path.framework, path.name)),
                    ));
                }
            }
            paths.retain(|path| names.iter().any(|name| is_called(path, name)));
        }
        let mut layers: Vec<&Layer> = LAYERS.iter().collect();
        if let Some(names) = &self.layers {
            for name in names {
                if !LAYERS.iter().any(|layer| layer.name == name) {
                    return Err(unknown("layer", name, LAYERS.iter().map(|layer| layer.name.to_owned())));
                }
            }
            layers.retain(|layer| names.iter().any(|name| layer.name == name));
        }
        let narrowed = self.layers.is_some() || self.paths.is_some();
        if self.quick {
            paths.retain(|path| path.quick || self.paths.is_some());
            layers.retain(|layer| layer.quick || self.layers.is_some());
        }
        if !paths.iter().any(|path| layers.iter().any(|layer| path.takes(layer.name))) {
            return Err(GapsError::Empty {
                reason: String::from("the paths that were named are not for the layers that were named"),
            });
        }
        let questions =
            QUESTIONS.iter().filter(|question| !narrowed && (question.quick || !self.quick)).collect();
        Ok(Chosen { layers, paths, questions })
    }
}

impl Chosen {
    /// The frameworks, in order.
    pub fn frameworks(&self) -> Vec<Framework> {
        Framework::ALL
            .into_iter()
            .filter(|framework| self.paths.iter().any(|path| path.framework == *framework))
            .collect()
    }

    /// All of the work: the controls first, so that a broken detector shows early.
    pub fn tasks(&self) -> Vec<Task> {
        let mut tasks = Vec::new();
        for framework in self.frameworks() {
            for control in CONTROLS {
                if let Some(path) = control.path(framework) {
                    tasks.push(Task::Control(path, control));
                }
            }
            let questions = self.questions.iter().filter(|question| question.is_for(framework));
            tasks.extend(questions.map(|question| Task::Ask(framework, question)));
        }
        for layer in &self.layers {
            let paths = self.paths.iter().filter(|path| path.takes(layer.name));
            tasks.extend(paths.map(|path| Task::Cell(path, layer)));
        }
        tasks
    }
}

impl Task {
    /// Whose.
    pub fn framework(&self) -> Framework {
        match self {
            Task::Cell(path, _) | Task::Control(path, _) => path.framework,
            Task::Ask(framework, _) => *framework,
        }
    }

    /// Seconds of one core that it takes, roughly, for estimates of the time left.
    pub fn cost(&self) -> u64 {
        match self {
            Task::Cell(path, _) | Task::Control(path, _) => match path.framework {
                Framework::PyTorch if path.name.starts_with("pt2e") => 8,
                Framework::PyTorch => 1,
                Framework::TensorFlow => 4,
                Framework::OnnxRuntime | Framework::Calipers => 1,
            },
            Task::Ask(..) => 8,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Task::Cell(path, layer) => write!(formatter, "{}/{}/{}", path.framework, path.name, layer.name),
            Task::Control(path, control) => {
                write!(formatter, "{}/{}/{}", path.framework, path.name, control.name)
            }
            Task::Ask(framework, question) => write!(formatter, "{framework}/{}", question.name),
        }
    }
}

fn is_called(path: &Path, name: &str) -> bool {
    match name.split_once('/') {
        Some((framework, name)) => path.framework.name() == framework && path.name == name,
        None => path.name == name,
    }
}

/// The framework of that name.
///
/// # Errors
/// [`GapsError::Unknown`].
pub fn framework(name: &str) -> Result<Framework, GapsError> {
    Framework::ALL.into_iter().find(|framework| framework.name() == name).ok_or_else(|| {
        unknown("framework", name, Framework::ALL.into_iter().map(|framework| framework.name().to_owned()))
    })
}

/// The path and the layer of `framework/path/layer`.
///
/// # Errors
/// [`GapsError::Unknown`].
pub fn cell(name: &str) -> Result<(&'static Path, &'static Layer), GapsError> {
    let mut parts = name.splitn(3, '/');
    let (Some(of), Some(path_name), Some(layer_name)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(unknown("cell", name, [String::from("FRAMEWORK/PATH/LAYER, such as pytorch/fx/lstm")]));
    };
    let of = framework(of)?;
    let path = Path::of(of)
        .find(|path| path.name == path_name)
        .ok_or_else(|| unknown("path", path_name, Path::of(of).map(|path| path.name.to_owned())))?;
    let layer = LAYERS
        .iter()
        .find(|layer| layer.name == layer_name)
        .ok_or_else(|| unknown("layer", layer_name, LAYERS.iter().map(|layer| layer.name.to_owned())))?;
    Ok((path, layer))
}

fn unknown(kind: &'static str, name: &str, known: impl IntoIterator<Item = String>) -> GapsError {
    GapsError::Unknown { kind, name: name.to_owned(), known: known.into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use super::{Selection, Task, cell};
    use crate::layers::LAYERS;

    fn names(selection: &Selection) -> Vec<String> {
        selection.resolve().unwrap().tasks().iter().map(Task::to_string).collect()
    }

    #[test]
    fn a_selection_is_a_rectangle_with_the_controls_of_its_frameworks() {
        let only = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let selection = Selection {
            layers: only(&["lstm", "embedding"]),
            paths: only(&["fx", "onnxruntime/qdq", "eager-embedding"]),
            ..Selection::default()
        };
        let cells: Vec<String> =
            names(&selection).into_iter().filter(|name| !name.contains("control_")).collect();
        assert_eq!(
            cells,
            [
                "pytorch/eager-embedding/embedding",
                "pytorch/fx/embedding",
                "onnxruntime/qdq/embedding",
                "pytorch/fx/lstm",
                "onnxruntime/qdq/lstm"
            ]
        );
        let unknown = Selection { layers: only(&["lsmt"]), ..Selection::default() };
        let error = unknown.resolve().unwrap_err().to_string();
        assert!(error.contains("`lsmt`") && error.contains("lstm_cell"), "{error}");
        let nothing =
            Selection { layers: only(&["lstm"]), paths: only(&["eager-embedding"]), ..Selection::default() };
        assert!(nothing.resolve().unwrap_err().to_string().contains("no cell is left"));
    }

    #[test]
    fn the_whole_matrix_is_the_whole_matrix() {
        let all = names(&Selection::default());
        let cells =
            all.iter().filter(|name| name.matches('/').count() == 2 && !name.contains("control_")).count();
        assert!(cells > 2_000, "{cells} cells");
        assert!(names(&Selection { quick: true, ..Selection::default() }).len() < 400);
        let mut unique = all.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), all.len());
    }

    #[test]
    fn a_cell_has_three_names() {
        let (path, layer) = cell("pytorch/fx/multihead_attention").unwrap();
        assert_eq!((path.name, layer.name), ("fx", "multihead_attention"));
        for wrong in ["pytorch", "pytorch/fx", "torch/fx/lstm", "pytorch/eager/lsmt", "pytorch/qdq/lstm"] {
            assert!(cell(wrong).is_err(), "{wrong}");
        }
        assert!(LAYERS.len() > 60);
    }
}
