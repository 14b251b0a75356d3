//! All of static post-training quantization in one call.

use std::borrow::Borrow;

use calipers_ir::{Fate, Graph, Node, Op, Renames, Tensor};
use calipers_passes::{Note, canonicalize};
use calipers_runtime::evaluate;

use crate::parameters::finite;
use crate::recipe::{glob, named};
use crate::{
    Batch, CalibrationOptions, CalibrationTable, QuantAssignment, QuantError, Recipe, Summary, assign,
    calibrate, insert_qdq,
};

/// A quantized graph and everything that led to it.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// The graph in QDQ form: f32 inputs and outputs, integers in between.
    pub graph: Graph,
    /// The float graph that was calibrated: the canonical form of the one given.
    pub float: Graph,
    /// What became of the values of the graph given that the canonical form does not have.
    pub renames: Renames,
    /// What the passes nearly rewrote, and why they did not.
    pub notes: Vec<Note>,
    /// What calibration found.
    pub table: CalibrationTable,
    /// What was decided.
    pub assignment: QuantAssignment,
    /// The decision in numbers: what stayed in float and why, the share of quantized weights.
    pub summary: Summary,
}

/// Quantizes a float graph: canonical form (BatchNorm and activations fused), calibration on the batches,
/// decision, edit. `progress` is called after each calibration batch. The recipe's names are those of the canonical form,
/// which keeps the names of the nodes that it keeps; exclusions may also name values that it fused or renamed. A graph
/// that is given away is dropped before the calibration, so that weights that were folded are not in memory twice.
///
/// # Errors
/// No data; weights or values that are not finite; a graph that is quantized already or that does not run.
pub fn quantize(
    graph: impl Borrow<Graph>,
    batches: impl IntoIterator<Item = Batch>,
    recipe: &Recipe,
    options: &CalibrationOptions,
    progress: impl FnMut(&CalibrationTable),
) -> Result<Quantized, QuantError> {
    // Before constants are folded into each other, so that the one that is broken is named.
    check_parameters(graph.borrow())?;
    let compute = |node: &Node, inputs: &[Option<&Tensor>]| {
        evaluate(&node.name, &node.op, inputs, node.outputs.len()).ok()
    };
    let canonical = canonicalize(graph.borrow(), &compute)?;
    drop(graph);
    let followed = follow(recipe, &canonical.graph, &canonical.renames);
    let recipe = &followed;
    let table = calibrate(&canonical.graph, batches, recipe, options, progress)?;
    let assignment = assign(&canonical.graph, &table, recipe)?;
    let quantized = insert_qdq(&canonical.graph, &assignment)?;
    let summary = assignment.summary(&canonical.graph);
    Ok(Quantized {
        graph: quantized,
        float: canonical.graph,
        renames: canonical.renames,
        notes: canonical.notes,
        table,
        assignment,
        summary,
    })
}

/// The recipe with exclusions of what became of the values that it excludes by their former names.
fn follow(recipe: &Recipe, graph: &Graph, renames: &Renames) -> Recipe {
    let mut exclude: Vec<String> = Vec::new();
    for pattern in &recipe.exclude {
        let former = renames.0.iter().filter(|(name, _)| glob(pattern, name));
        let now: Vec<&String> = former.map(|(_, Fate::Renamed(now) | Fate::Fused(now))| now).collect();
        let still = graph.nodes().iter().any(|node| named(pattern, graph, node));
        let kept = Some(pattern).filter(|_| still || now.is_empty());
        for pattern in kept.into_iter().chain(now) {
            if !exclude.contains(pattern) {
                exclude.push(pattern.clone());
            }
        }
    }
    Recipe { exclude, ..recipe.clone() }
}

/// Whether the constants of the operators that have parameters are finite.
fn check_parameters(graph: &Graph) -> Result<(), QuantError> {
    for node in graph.nodes() {
        match &node.op {
            Op::Conv(_) | Op::Gemm(_) | Op::MatMul | Op::BatchNormalization(_) => {}
            Op::Unary(_)
            | Op::Binary(..)
            | Op::Clip(_)
            | Op::Pool(_)
            | Op::GlobalPool(..)
            | Op::Reshape
            | Op::Flatten { .. }
            | Op::Transpose { .. }
            | Op::QuantizeLinear(_)
            | Op::DequantizeLinear(_)
            | Op::ConvTranspose(_)
            | Op::ConvInteger(_)
            | Op::Product(_)
            | Op::Variadic(_)
            | Op::Select(_)
            | Op::Normalize(_)
            | Op::Reduce(_)
            | Op::Scanning(_)
            | Op::Movement(_)
            | Op::Indexing(_)
            | Op::Creation(_)
            | Op::Image(_)
            | Op::Signal(_)
            | Op::Recurrent(_)
            | Op::Control(_)
            | Op::DynamicQuantizeLinear
            | Op::Opaque(_) => continue,
        }
        for &id in node.inputs.iter().flatten() {
            if let Some(tensor) = graph.constant(id).filter(|tensor| tensor.as_f32().is_some()) {
                finite(&graph.value(id).name, tensor)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use calipers_ir::{GraphEditor, Tensor};
    use calipers_models::{Options, resnet8};

    use super::quantize;
    use crate::{CalibrationOptions, Placement, QuantError, Recipe};

    #[test]
    fn an_exclusion_follows_what_was_fused() {
        let graph = resnet8(&Options::default(), 1).unwrap();
        let recipe = Recipe { exclude: vec![String::from("bn1")], ..Recipe::default() };
        let image = Tensor::from_vec([1, 3, 32, 32], vec![0.5f32; 3072]).unwrap();
        let batch = vec![(String::from("input"), image)];
        let result = quantize(&graph, [batch], &recipe, &CalibrationOptions::default(), |_| {}).unwrap();
        let Placement::Float { reason } = &result.assignment.nodes["conv1"].placement else {
            panic!("{:?}", result.assignment.nodes["conv1"])
        };
        assert!(reason.starts_with("the recipe excludes"), "{reason}");
        assert_eq!(result.summary.float.len(), 1);
        assert_eq!(result.assignment.notes, Vec::<String>::new());
    }

    #[test]
    fn a_parameter_that_is_not_finite_is_named_as_the_user_knows_it() {
        let graph = resnet8(&Options::default(), 1).unwrap();
        for (name, count, at) in
            [("conv1.weight", 16 * 27, vec![0, 2, 1, 1]), ("bn1.running_var", 16, vec![7])]
        {
            let id = graph.value_named(name).unwrap();
            let mut data = vec![0.5f32; count];
            data[if at.len() == 1 { 7 } else { 22 }] = f32::INFINITY;
            let mut editor = GraphEditor::edit(&graph);
            editor.set_constant(id, Tensor::from_vec(graph.constant(id).unwrap().shape(), data).unwrap());
            let broken = editor.build().unwrap();
            let image = Tensor::from_vec([1, 3, 32, 32], vec![0.5f32; 3072]).unwrap();
            let batch = vec![(String::from("input"), image)];
            let options = CalibrationOptions::default();
            let error = quantize(&broken, [batch], &Recipe::default(), &options, |_| {}).unwrap_err();
            assert!(
                matches!(&error, QuantError::InitializerNotFinite { initializer, index, .. }
                    if initializer == name && *index == at),
                "{error}"
            );
        }
    }
}
