//! UNIDIRECTIONAL_SEQUENCE_LSTM.
//!
//! Its inputs, in the format's order: data, four input weights and four recurrent ones (of the gates input, forget,
//! cell, output), three peephole weights (input, forget, output), four biases, projection weights and bias, the states
//! of output and cell, four normalization weights.

use calipers_ir::{DType, Dim, Movement, Op, Recurrent, Tensor, ValueId};

use super::super::read::{Mapped, Site, keep};
use super::super::tensors::{Described, Quantization};

const INPUT_WEIGHTS: usize = 1;
const RECURRENT_WEIGHTS: usize = 5;
const PEEPHOLES: usize = 9;
const BIASES: usize = 12;
const PROJECTION: usize = 16;
const STATES: [usize; 2] = [18, 19];
const NORMALIZATION: usize = 20;

/// Gates of the representation's operator, as positions among those of the format.
const GATES: [usize; 4] = [0, 3, 1, 2];
/// The same without the cell gate.
const PEEPHOLE_GATES: [usize; 3] = [0, 2, 1];

/// The operator with the parts of each gate put together, where all of it is f32 and nothing of it is only known to
/// TFLite; else with the format's own inputs.
pub(super) fn lstm(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(1, 24, 1)?;
    if site.inputs.len() < 20 {
        return Err(format!("20 or 24 inputs were expected, found {}", site.inputs.len()).into());
    }
    for state in STATES {
        if !site.described(state)?.variable {
            return keep("its states are no variables");
        }
    }
    if site.flag("diagonal_recurrent_tensors") {
        return keep("its recurrent weights are diagonals");
    }
    if site.word("fused_activation_function")? != "tanh" {
        return keep("its activation is not tanh");
    }
    // A step changes a cell by less than 1, so that a limit of as many steps is none.
    let cell_clip = site.float("cell_clip")?;
    let time = site.shape(0)?.get(usize::from(!site.flag("time_major"))).and_then(Dim::known);
    let clipped = cell_clip != 0.0 && time.is_none_or(|time| time as f32 > cell_clip);
    let extra = [PROJECTION, PROJECTION + 1].into_iter().chain(NORMALIZATION..site.inputs.len());
    let plain = extra.clone().all(|position| site.inputs[position].is_none());
    let whole = (INPUT_WEIGHTS..PEEPHOLES).all(|position| site.inputs[position].is_some());
    let float = site.inputs.iter().flatten().all(|&index| {
        let tensor = &site.graph.tensors[index];
        tensor.ty.dtype == DType::F32 && tensor.quantization.is_none()
    });
    if float && (site.inputs[INPUT_WEIGHTS].is_none() || site.inputs[RECURRENT_WEIGHTS].is_none()) {
        return keep("its input gate is what its forget gate leaves");
    }
    if float && plain && whole && !clipped {
        return assembled(site);
    }
    own(site)
}

/// The format's operator on the tensors as they are stored.
fn own(site: &mut Site<'_, '_>) -> Mapped {
    let described = |index: Option<usize>| index.map(|index| &site.graph.tensors[index]);
    let mut parameters = Vec::with_capacity(site.inputs.len());
    for &input in &site.inputs {
        parameters.push(per_tensor(described(input))?);
    }
    let mut inner = Vec::with_capacity(site.intermediates.len());
    for &index in &site.intermediates {
        inner.push(per_tensor(described(Some(index)))?);
    }
    let (output_scale, output_zero_point) = per_tensor(Some(site.result(0)?))?;
    let op = Recurrent::TfliteLstm {
        cell_clip: site.float("cell_clip")?,
        projection_clip: site.float("proj_clip")?,
        time_major: site.flag("time_major"),
        asymmetric_quantize_inputs: site.flag("asymmetric_quantize_inputs"),
        input_scales: parameters.iter().map(|pair| pair.0).collect(),
        input_zero_points: parameters.iter().map(|pair| pair.1).collect(),
        intermediate_scales: inner.iter().map(|pair| pair.0).collect(),
        intermediate_zero_points: inner.iter().map(|pair| pair.1).collect(),
        output_scale,
        output_zero_point,
    };
    let mut inputs = Vec::with_capacity(site.inputs.len());
    for position in 0..site.inputs.len() {
        let present = site.inputs[position].is_some() && !STATES.contains(&position);
        inputs.push(if present { Some(site.stored(position)?) } else { None });
    }
    site.store(0, Op::Recurrent(op), &inputs)?;
    let node = site.result(0)?.name.clone();
    let how = super::window::symmetry(site.flag("asymmetric_quantize_inputs"));
    super::window::hybrid(site, &node, [0, INPUT_WEIGHTS + 1], how)
}

/// Scale and zero point of a tensor, 0 where it has none.
fn per_tensor(tensor: Option<&Described>) -> Mapped<(f32, i64)> {
    let Some(Quantization { scale, zero_point, .. }) = tensor.and_then(|tensor| tensor.quantization.as_ref())
    else {
        return Ok((0.0, 0));
    };
    match scale.as_f32().as_deref() {
        Some(&[scale]) => {
            let points = zero_point.as_ref().and_then(Tensor::to_integers);
            Ok((scale, points.and_then(|points| points.first().copied()).unwrap_or(0)))
        }
        _ => keep("one of its tensors has several scales"),
    }
}

/// The operator of the representation, which has the gates of each weight in one tensor.
fn assembled(site: &mut Site<'_, '_>) -> Mapped {
    let [hidden, inner] = matrix(site, RECURRENT_WEIGHTS + 1)?;
    let input = matrix(site, INPUT_WEIGHTS + 1)?[1];
    if hidden != inner {
        return Err(format!("square recurrent weights were expected, found [{hidden}, {inner}]").into());
    }
    let gates = |first: usize| GATES.map(|gate| first + gate);
    let w = joined(site, &gates(INPUT_WEIGHTS), &[hidden, input])?;
    let r = joined(site, &gates(RECURRENT_WEIGHTS), &[hidden, hidden])?;
    let mut b = joined(site, &gates(BIASES), &[hidden])?;
    // The recurrent products have no biases of their own.
    b.resize(8 * hidden, 0.0);
    let w = site.add_constant("W", Tensor::from_vec([1, 4 * hidden, input], w))?;
    let r = site.add_constant("R", Tensor::from_vec([1, 4 * hidden, hidden], r))?;
    let b = site.add_constant("B", Tensor::from_vec([1, 8 * hidden], b))?;
    let peepholes = PEEPHOLE_GATES.map(|gate| PEEPHOLES + gate);
    let p = match peepholes.iter().any(|&position| site.inputs[position].is_some()) {
        false => None,
        true => {
            let p = joined(site, &peepholes, &[hidden])?;
            Some(site.add_constant("P", Tensor::from_vec([1, 3 * hidden], p))?)
        }
    };
    let time_major = site.flag("time_major");
    let mut x = site.stored(0)?;
    let swap = || Op::Transpose { permutation: vec![1, 0, 2] };
    if !time_major {
        x = site.step("Transpose", swap(), &[Some(x)], DType::F32)?;
    }
    let op = Op::Recurrent(Recurrent::Lstm {
        activation_alpha: Vec::new(),
        activation_beta: Vec::new(),
        activations: Vec::new(),
        clip: None,
        direction: String::from("forward"),
        hidden_size: Some(hidden as i64),
        input_forget: false,
        layout: 0,
    });
    let inputs = [Some(x), Some(w), Some(r), Some(b), None, None, None, p];
    let inputs = if p.is_some() { &inputs[..] } else { &inputs[..4] };
    let y = site.step("LSTM", op, inputs, DType::F32)?;
    let axes = site.integer_list("axes", vec![1])?;
    let squeeze = Op::Movement(Movement::Squeeze);
    let squeezed = [Some(y), Some(axes)];
    if time_major {
        return site.store(0, squeeze, &squeezed);
    }
    let y: ValueId = site.step("Squeeze", squeeze, &squeezed, DType::F32)?;
    site.store(0, swap(), &[Some(y)])
}

/// The extents of constant weights.
fn matrix(site: &Site<'_, '_>, position: usize) -> Mapped<[usize; 2]> {
    let Some(constant) = site.constant(position) else { return keep("its weights are computed") };
    let shape = constant.shape();
    shape.try_into().map_err(|_| format!("weights of rank 2 were expected, found {shape:?}").into())
}

/// Constants of that shape, one after the other.
fn joined(site: &Site<'_, '_>, positions: &[usize], shape: &[usize]) -> Mapped<Vec<f32>> {
    let mut all = Vec::new();
    for &position in positions {
        let Some(constant) = site.constant(position) else {
            return keep("its weights are computed or absent");
        };
        if constant.shape() != shape {
            return Err(format!(
                "shape {shape:?} was expected for input {position}, found {:?}",
                constant.shape()
            )
            .into());
        }
        let Some(elements) = constant.as_f32() else { return keep("its weights are no floats") };
        all.extend_from_slice(&elements);
    }
    Ok(all)
}
